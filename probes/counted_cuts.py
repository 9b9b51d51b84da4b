"""Where a truncated copy may end under a vocabulary that can be counted but not seen: Claude's.

Takes a copy and its token limit, gives how likely its end is for a model of that vocabulary, and the most that any allowed engine of it
gives. What a reply of k tokens may be is known although boundaries are not: the text that was written counts k tokens. On the recorded
replies of Claude 3 to 4.6 that `max_tokens` ended, it did so exactly in 39 of 42, and never by more than one above
(`python -m benchmarks claude`). Pure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

from fingerprints import tokenizers
from probes.echo import Echo

MISSES = {0: 0.93, -1: 0.04, 1: 0.03}
"""Tokens by which a count may miss the limit, and how often (recorded: 39, 1 and 1 of 42, one more at -2): a blank or a mark without a
visible character came last, or the vendor wrote a word in other pieces than its count has."""
BESIDE = 0.15
"""Probability that a genuine reply counts one token beside what its engine's limit says: 2 of 42 did, this is the most that they leave
(one-sided, 95 %)."""
ELSEWHERE = 0.08
"""Probability that a reply counts otherwise still; none of 42 did, so one in fourteen is the most that they leave (one-sided, 95 %)."""


EXACT = 2 / 3
"""Share of the copies that count exactly where all count like this vocabulary. Blanks at a copy's end, which servers strip, cost one."""


@lru_cache(maxsize=1)
def counted() -> tuple[str, ...]:
    """Installed vocabularies that give counts and no boundaries."""
    return tuple(name for name in tokenizers.names() if tokenizers.vocabulary(name).cuts("a") is None)


@lru_cache(maxsize=2048)
def counts(name: str, lead: str, text: str) -> tuple[int, ...]:
    """``counts[i]`` is the number of tokens of `lead` and the first i characters of `text`."""
    vocabulary = tokenizers.vocabulary(name)
    return tuple(vocabulary.count(lead + text[:i]) for i in range(len(text) + 1))


def hit(name: str, copy: Echo, shift: int) -> bool:
    """Whether what came back counts exactly the limit plus `shift`."""
    return counts(name, copy.lead, copy.text)[copy.length] == copy.tokens + shift


def fits(name: str, copies: Sequence[Echo]) -> bool:
    """Whether all copies count their limits, a few of them but for a miss that is known of genuine replies."""
    misses = [counts(name, copy.lead, copy.text)[copy.length] - copy.tokens for copy in copies]
    return set(misses) <= MISSES.keys() and misses.count(0) >= EXACT * len(misses)


def end(name: str, copy: Echo) -> int | None:
    """The last place, in characters, at which the copy would count its limit; None where it has fewer tokens."""
    found = counts(name, copy.lead, copy.text)
    return max((i for i, count in enumerate(found) if count == copy.tokens), default=None)


def log_density(name: str, copies: Sequence[Echo], shift: int) -> float:
    """Log probability of all ends for a model of vocabulary `name` on an engine whose limit is off by `shift` tokens."""
    total = 0.0
    for copy in copies:
        found = counts(name, copy.lead, copy.text)
        here = found[copy.length] - copy.tokens - shift
        among = found.count(found[copy.length])  # any of the places that count alike
        total += math.log((1.0 - ELSEWHERE) * MISSES.get(here, 0.0) / among + ELSEWHERE / len(copy.text))
    return total


def log_null(name: str, copies: Sequence[Echo], shifts: Sequence[int], least_limits: Sequence[int]) -> float:
    """The largest log probability of the ends under any allowed engine of `name`: any shift, any least limit, the same for all copies,
    and unreported reasoning that eats any part of every limit.

    Where among the places that count alike a reply ends is not known, so each of them is given all that they have together: a bound,
    never an accusation by a guess at boundaries.
    """
    best = -math.inf
    for least in least_limits:
        limits = [max(least, copy.tokens) for copy in copies]
        over = [counts(name, c.lead, c.text)[c.length] - limit for c, limit in zip(copies, limits, strict=True)]
        for shift in shifts:
            best = max(best, math.fsum(_log_beside(abs(n - shift)) for n in over))
        best = max(
            best, math.fsum(max(-math.log(limit) if n <= 0 else -math.inf, _log_beside(n)) for n, limit in zip(over, limits, strict=True))
        )
    return best


def _log_beside(tokens: int) -> float:
    """Log probability, at most, of a count so many tokens beside the expected one."""
    return 0.0 if tokens == 0 else math.log(BESIDE if tokens == 1 else ELSEWHERE)
