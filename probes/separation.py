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


def scaled_margins(counts: Counts) -> Counts:
    """Pairwise separation of vocabularies under an unknown common scale.

    `counts` has shape (vocabularies, questions), in tokens. The result has shape (vocabularies, vocabularies): entry (u, v)
    is min over s > 0 of max over questions of |s * counts[u] - counts[v]|, the Chebyshev distance after the best scaling, in
    tokens; the smaller of (u, v) and (v, u), so it is symmetric. The diagonal is infinite. The closed form is the largest
    residual of the best line through the origin through any two questions.
    """
    n = counts.shape[1]
    worst = np.zeros((counts.shape[0], counts.shape[0]))
    for i in range(n):
        for j in range(i + 1, n):
            a_i, a_j = counts[:, None, i], counts[:, None, j]
            b_i, b_j = counts[None, :, i], counts[None, :, j]
            residual = np.abs(b_i * a_j - b_j * a_i) / np.maximum(a_i + a_j, 1.0)
            worst = np.maximum(worst, residual)
    closest: Counts = np.minimum(worst, worst.T)
    np.fill_diagonal(closest, np.inf)
    return closest


def margins(counts: Counts) -> Counts:
    """Pairwise separation at scale 1: the largest difference over questions, in tokens. Shapes as for `scaled_margins`."""
    widest: Counts = np.abs(counts[:, None, :] - counts[None, :, :]).max(axis=2)
    np.fill_diagonal(widest, np.inf)
    return widest


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
    per_line = np.array([count(text) for text in pool], dtype=np.float64).T  # (vocabularies, lines)
    cost = per_line.mean(axis=0)
    slack = 1.0  # counts of joined lines add up to within a token (measured: exactly, for lines bounded by letters)

    def table(lines: Sequence[int]) -> Counts:
        grouped: Counts = per_line[:, lines].reshape(len(per_line), questions, lines_each)
        return np.asarray(grouped.sum(axis=2))

    def missing(margin: Counts, want: float) -> float:
        """How much the pairs that are too close miss in all, in units of the wanted margin."""
        return float(np.maximum(0.0, 1.0 - margin / want).sum())

    def score(lines: Sequence[int]) -> tuple[float, float]:
        counts = table(lines)
        short = missing(margins(counts), wanted.native + slack) + missing(scaled_margins(counts), wanted.scaled + 0.5 * slack)
        return -short, -float(cost[lines].sum())

    chosen = rng.sample(range(len(pool)), questions * lines_each)
    best = score(chosen)
    for _ in range(steps):
        trial = list(chosen)
        i = rng.randrange(len(trial))
        if rng.random() < 0.25:
            j = rng.randrange(len(trial))
            trial[i], trial[j] = trial[j], trial[i]
        else:
            trial[i] = rng.choice([line for line in range(len(pool)) if line not in chosen])
        if (better := score(trial)) > best:
            chosen, best = trial, better
    texts = ["\n".join(pool[i] for i in chosen[q * lines_each : (q + 1) * lines_each]) for q in range(questions)]
    return tuple(Question(text, tuple(count(text))) for text in texts)
