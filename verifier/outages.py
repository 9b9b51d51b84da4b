"""Findings about questions that were not answered: outages and refusals, which are missing evidence and never bad evidence.

Takes replies, gives findings that say how many questions failed and how, so that "not answered" cannot read as "clean".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from probes.probe import Finding, Reply

REFUSALS = frozenset({"bad-request", "refused-key", "not-found"})
"""Error kinds with which an endpoint turns a question down, as against failing at it."""


def findings(replies: Sequence[Reply]) -> list[Finding]:
    """One finding for failures and one for refusals, where there are any."""
    found = []
    replies = [reply for reply in replies if not _answered_by_refusal(reply)]
    for code, refused in (("outage", False), ("probe-refused", True)):
        failed = [reply for reply in replies if reply.error is not None and (reply.error.kind in REFUSALS) == refused]
        if not failed:
            continue
        kinds = Counter(reply.error.kind for reply in failed if reply.error is not None)
        listed = ", ".join(f"{kind} {n}" for kind, n in sorted(kinds.items()))
        verb = "were refused" if refused else "failed"
        text = f"{len(failed)} of {len(replies)} questions {verb} ({listed}); they count neither for nor against the claim."
        strength = "moderate" if len(failed) * 2 > len(replies) else "weak"
        found.append(Finding(code, strength, text, tuple(reply.ask.key for reply in failed)))
    return found


def _answered_by_refusal(reply: Reply) -> bool:
    """Whether being refused is an answer: to what is wrong on purpose, and to what tries where a limit lies."""
    return reply.ask.raw is not None or (reply.ask.probe == "protocol" and reply.error is not None and reply.error.kind in REFUSALS)
