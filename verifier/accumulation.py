"""How the evidence against the claim grew while the audit went on, for the report's picture of it.

Takes the probes and the replies, gives the e-value after a few looks at a growing part of the replies. Pure, so that a stored transcript
gives the same looks again; decides nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from probes.probe import Block, Evidence, Probe, Reply
from verifier.decide import evidence_against

MOST_LOOKS = 20
"""Looks at one audit at most: enough to draw a curve, few enough to cost little beside the questions themselves."""


def accumulated(probes: Sequence[Probe], replies: Sequence[Reply]) -> list[dict[str, Any]]:
    """Looks {requests, log_e}: after that many questions, the natural log of this audit's own e-value against the claim."""
    if not replies:
        return []
    each = -(-len(replies) // MOST_LOOKS)
    looks = sorted({*range(each, len(replies), each), len(replies)})
    counting = [probe for probe in probes if probe.block is not Block.SURFACE]
    read: dict[str, tuple[int, Evidence]] = {}
    found = []
    for n in looks:
        for probe in counting:
            own = [reply for reply in replies[:n] if reply.ask.probe in probe.reads]
            if probe.name not in read or read[probe.name][0] != len(own):  # a channel that has heard nothing new says nothing new
                read[probe.name] = (len(own), probe.read(own))
        found.append({"requests": n, "log_e": evidence_against([evidence for _, evidence in read.values()])})
    return found
