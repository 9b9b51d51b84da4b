"""With what does the other backend go: streaming, the length of the question, or the time?

Takes the questions that were the one and the other backend's, gives a sentence where one feature of the request separates them so well
that chance would not. Pure; it describes and never accuses.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from probes.probe import Reply

RARE = 0.001
"""Probability, under random routing, of a separation as sharp as the one reported; shared by all features that are tried."""
SHARPNESS = 0.9
"""Share of the told questions that a rule must sort right before it is called one."""
QUANTILES = 16
"""Lengths and times at which a boundary is tried."""


@dataclass(frozen=True, slots=True)
class _Rule:
    """A feature of a request, and which of the told questions have it."""

    having: str
    lacking: str
    has: tuple[bool, ...]


def goes_with(replies: Sequence[Reply], others: Sequence[int], claimed: Sequence[int]) -> str | None:
    """What the questions at positions `others` have in common that those at `claimed` lack; None where nothing separates them."""
    told = sorted({*others, *claimed})
    mine = [place in set(others) for place in told]
    asked = [replies[place] for place in told]
    rules = [_Rule("streamed questions", "questions that are not streamed", tuple(reply.ask.stream for reply in asked))]
    lengths = [sum(len(content) for _, content in reply.ask.messages) for reply in asked]
    for length in _boundaries(lengths):
        has = tuple(each > length for each in lengths)
        rules.append(_Rule(f"questions of more than {length} characters", f"questions of at most {length} characters", has))
    best: tuple[float, str] | None = None
    for rule in rules:
        for has, name in ((rule.has, rule.having), (tuple(not each for each in rule.has), rule.lacking)):
            right = sum(a == b for a, b in zip(has, mine, strict=True))
            if right < SHARPNESS * len(told):
                continue
            chance = _tail(len(told), sum(has), sum(mine), sum(a and b for a, b in zip(has, mine, strict=True))) * 2 * len(rules)
            if chance <= RARE and (best is None or chance < best[0]):
                best = (chance, name)
    return best[1] if best is not None else None


def _boundaries(values: Sequence[int]) -> list[int]:
    ranked = sorted(values)
    return sorted({ranked[(len(ranked) * i) // QUANTILES] for i in range(1, QUANTILES)} - {ranked[-1]}) if ranked else []


def _tail(n: int, marked: int, drawn: int, hits: int) -> float:
    """Probability that of `drawn` among n, `marked` of which are marked, at least `hits` are marked (hypergeometric)."""
    whole = _log_choose(n, drawn)
    terms = range(hits, min(marked, drawn) + 1)
    return math.fsum(
        math.exp(_log_choose(marked, k) + _log_choose(n - marked, drawn - k) - whole) for k in terms if drawn - k <= n - marked
    )


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
