"""Choosing questions that tell every known vocabulary from every other, before anything is sent.

Takes a table of token counts (vocabularies by questions), gives margins in tokens: how far two vocabularies stay apart even
when the endpoint multiplies all counts by an unknown constant. Pure arithmetic over numpy arrays.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.float64]


BATCH = 64
"""Exchanges of lines that the climb scores together at most: most are refused, so that few are scored in vain."""


def scaled_margins(counts: Counts) -> Counts:
    """Pairwise separation of vocabularies under an unknown common scale.

    `counts` has shape (vocabularies, questions), in tokens. The result has shape (vocabularies, vocabularies): entry (u, v)
    is min over s > 0 of max over questions of |s * counts[u] - counts[v]|, the Chebyshev distance after the best scaling, in
    tokens; the smaller of (u, v) and (v, u), so it is symmetric. The diagonal is infinite. The closed form is the largest
    residual of the best line through the origin through any two questions.
    """
    square: Counts = _square(_scaled(*_pairs(counts[None])), len(counts), np.inf)[0]
    return square


def margins(counts: Counts) -> Counts:
    """Pairwise separation at scale 1: the largest difference over questions, in tokens. Shapes as for `scaled_margins`."""
    square: Counts = _square(_native(*_pairs(counts[None])), len(counts), np.inf)[0]
    return square


def _pairs(counts: Counts) -> tuple[Counts, Counts]:
    """Counts (sets, vocabularies, questions) of the first and of the second vocabulary of every pair, each (questions, sets, pairs)."""
    first, second = np.triu_indices(counts.shape[1], 1)
    questions = np.moveaxis(counts, 2, 0)
    return np.ascontiguousarray(questions[:, :, first]), np.ascontiguousarray(questions[:, :, second])


def _native(first: Counts, second: Counts) -> Counts:
    widest: Counts = np.abs(first - second).max(axis=0)
    return widest


def _scaled(first: Counts, second: Counts) -> Counts:
    worst, worst_back = np.zeros(first.shape[1:]), np.zeros(first.shape[1:])
    for i in range(len(first)):
        for j in range(i + 1, len(first)):
            apart = np.abs(second[i] * first[j] - second[j] * first[i])
            np.maximum(worst, apart / np.maximum(first[i] + first[j], 1.0), out=worst)
            np.maximum(worst_back, apart / np.maximum(second[i] + second[j], 1.0), out=worst_back)
    return np.minimum(worst, worst_back)


def _square(values: Counts, size: int, diagonal: float) -> Counts:
    """Values per pair (sets, pairs) as symmetric matrices (sets, size, size)."""
    first, second = np.triu_indices(size, 1)
    square = np.full((len(values), size, size), diagonal)
    square[:, first, second] = square[:, second, first] = values
    return square


Score = tuple[float, float]
"""Minus what the margins miss, then minus the cost: the larger the better."""
NO_SCORE: Score = (-np.inf, -np.inf)


@dataclass(frozen=True, slots=True)
class Question:
    """One measuring text and its predicted count per vocabulary (same order as the vocabularies it was planned with)."""

    text: str
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Margins:
    """How far apart the closest two vocabularies are to be, in tokens: at scale 1, and at their worst common scale."""

    native: float
    scaled: float


def choose(
    pool: Sequence[str],
    count: Callable[[str], Sequence[int]],
    *,
    questions: int,
    lines_each: int,
    wanted: Margins,
    rng: random.Random,
    steps: int = 1500,
) -> tuple[Question, ...]:
    """A cheap set of questions, made of lines of `pool`, whose closest pair of vocabularies is as far apart as `wanted`.

    `count(text)` gives the count of a text per vocabulary, in a fixed order. A hill climb exchanges lines: first towards the
    wanted margins, then, keeping them, towards fewer tokens. Where the margins cannot be reached the widest set is returned:
    the reading compares counts exactly and calls what fits two vocabularies undecided, so nothing is assumed of them.
    """
    slack = 1.0  # counts of joined lines add up to within a token (measured: exactly, for lines bounded by letters)
    per_line = np.array([count(text) for text in pool], dtype=np.float64).T  # (vocabularies, lines)
    scored = _Scored(per_line, questions, Margins(wanted.native + slack, wanted.scaled + 0.5 * slack))
    chosen = rng.sample(range(len(pool)), questions * lines_each)
    begun = scored.first_above([chosen], NO_SCORE)
    best = begun[1] if begun is not None else NO_SCORE
    left, batch = steps, 1
    while left:
        others, before = [line for line in range(len(pool)) if line not in chosen], rng.getstate()
        trials = [_moved(chosen, others, rng) for _ in range(min(batch, left))]
        better = scored.first_above(trials, best)
        if better is None:
            left, batch = left - len(trials), min(2 * batch, BATCH)
            continue
        taken, best = better
        chosen, left, batch = trials[taken], left - taken - 1, max(1, batch // 2)
        rng.setstate(before)  # the trials after the taken one were drawn in vain
        for _ in range(taken + 1):
            _moved(chosen, others, rng)
    texts = ["\n".join(pool[i] for i in chosen[q * lines_each : (q + 1) * lines_each]) for q in range(questions)]
    return tuple(Question(text, tuple(count(text))) for text in texts)


@dataclass(frozen=True, slots=True)
class _Scored:
    """Scores of sets of lines."""

    per_line: Counts
    questions: int
    wanted: Margins

    def first_above(self, sets: Sequence[Sequence[int]], best: Score) -> tuple[int, Score] | None:
        """The first set that scores above `best`, by its index, and its score; None for none."""
        lines, size = np.array(sets), len(self.per_line)
        cost = self.per_line.mean(axis=0)[lines].sum(axis=1)
        counts = self.per_line[:, lines].reshape(size, len(sets), self.questions, -1).sum(axis=3)
        first, second = _pairs(counts.swapaxes(0, 1))
        short = self._missing(_native(first, second), self.wanted.native)
        hopeful = np.flatnonzero(-short >= best[0])  # what the other margins miss comes on top
        short[hopeful] += self._missing(_scaled(first[:, hopeful], second[:, hopeful]), self.wanted.scaled)
        for i in hopeful.tolist():
            if (score := (-float(short[i]), -float(cost[i]))) > best:
                return i, score
        return None

    def _missing(self, margin: Counts, want: float) -> Counts:
        """How much the pairs that are too close miss in all, in units of the wanted margin: one number a set."""
        short = _square(np.maximum(0.0, 1.0 - margin / want), len(self.per_line), 0.0)
        summed: Counts = short.reshape(len(short), len(self.per_line) ** 2).sum(axis=1)
        return summed


def _moved(lines: Sequence[int], others: Sequence[int], rng: random.Random) -> list[int]:
    """The lines after one exchange, among themselves or with one of the others."""
    trial = list(lines)
    i = rng.randrange(len(trial))
    if rng.random() < 0.25:
        j = rng.randrange(len(trial))
        trial[i], trial[j] = trial[j], trial[i]
    else:
        trial[i] = rng.choice(others)
    return trial
