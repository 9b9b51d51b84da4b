"""What single replies say about the vocabulary behind them, for endpoints that do not answer every question from one backend.

Takes replies, gives one `Reading` per reply of text that tells vocabularies apart and one `Counted` per reply with a reported prompt
count. A reading compares candidates with the most that an allowed configuration of the claimed model could give *this* reply, whatever
it gave the others: so a gateway that recounts, shifts or re-chunks reply by reply is never mistaken for another backend. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, runtime_checkable

from fingerprints import tokenizers
from probes.probe import Reply

UNKNOWN = "unknown"
"""The candidate that stands for every vocabulary that is not known."""
EXACT_PROBE = "usage"
"""The probe whose messages begin and end alike, so that no vocabulary joins them to the chat template in one question only."""
TEMPLATE_WIDTH = 1
"""Tokens by which the count of any other message may differ from its own tokens plus the template: signs at its ends may join it."""
UNCOUNTED = frozenset({"protocol"})
"""Probes whose questions have limits, tools or broken fields as their subject: what is counted there is not the message alone."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One reply as one channel reads it."""

    key: str
    channel: str
    logs: Mapping[str, float]
    """Log likelihood per vocabulary that the channel can speak of, and of `unknown`."""
    null: float | None
    """The largest log likelihood under the claimed vocabulary in any allowed configuration; None where the channel cannot speak of it."""


@dataclass(frozen=True, slots=True)
class Counted:
    """One reported prompt count against every vocabulary's count of the message."""

    key: str
    residuals: tuple[int, ...]
    """Reported minus counted tokens, per vocabulary in the order of `tokenizers.names()`: one constant for the vocabulary that counts."""
    width: int
    """Tokens by which the residual of the right vocabulary may be off its constant."""


@runtime_checkable
class TellsEach(Protocol):
    """A probe whose channel can be read reply by reply."""

    def readings(self, replies: Sequence[Reply]) -> Sequence[Reading]:
        """One reading for each of `replies` (to the asks of `reads`) that says something."""
        ...


def counted(replies: Sequence[Reply], cached_apart: bool) -> list[Counted]:
    """The replies to single user messages that report a prompt count; `cached_apart` adds what a prompt cache took over."""
    found = []
    for reply in replies:
        usage = reply.usage
        plain = reply.ask.raw is None and len(reply.ask.messages) == 1 and reply.ask.to == "target" and reply.ask.probe not in UNCOUNTED
        if not plain or not reply.ok or usage is None or usage.prompt_tokens is None:
            continue
        reported = usage.prompt_tokens + ((usage.cached_tokens or 0) if cached_apart else 0)
        counts = _counts(reply.ask.messages[0][1])
        width = 0 if reply.ask.probe == EXACT_PROBE else TEMPLATE_WIDTH
        found.append(Counted(reply.ask.key, tuple(reported - count for count in counts), width))
    return found


@lru_cache(maxsize=4096)
def _counts(text: str) -> tuple[int, ...]:
    return tuple(tokenizers.vocabulary(name).count(text) for name in tokenizers.names())
