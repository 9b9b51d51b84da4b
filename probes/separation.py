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
    margins = np.minimum(worst, worst.T)
    np.fill_diagonal(margins, np.inf)
    return margins


@dataclass(frozen=True, slots=True)
class Question:
    """One measuring text and its predicted count per vocabulary (same order as the vocabularies it was planned with)."""

    text: str
    counts: tuple[int, ...]


def choose(
    pool: Sequence[str],
    count: Callable[[str], Sequence[int]],
    *,
    questions: int,
    lines_each: int,
    margin: float,
    rng: random.Random,
    draws: int = 600,
) -> tuple[tuple[Question, ...], float]:
    """The cheapest of `draws` random sets of questions whose worst pair of vocabularies is at least `margin` tokens apart.

    `pool` holds candidate lines; `count(text)` gives the count of a text per vocabulary, in a fixed order. Returns the set
    and its worst margin in tokens, recounted exactly on the joined texts. Where no draw reaches `margin`, the widest is
    returned: the caller sees the margin and must treat closer pairs as one.
    """
    per_line = np.array([count(text) for text in pool], dtype=np.float64).T  # (vocabularies, lines)
    best: tuple[bool, float, tuple[tuple[int, ...], ...]] | None = None
    for _ in range(draws):
        picked = rng.sample(range(len(pool)), questions * lines_each)
        groups = tuple(tuple(picked[i * lines_each : (i + 1) * lines_each]) for i in range(questions))
        table = np.stack([per_line[:, group].sum(axis=1) for group in groups], axis=1)
        worst = float(scaled_margins(table).min())
        enough = worst >= margin + 1.0  # one token of slack: counts of joined lines are recounted below
        score = -float(table.mean(axis=0).sum()) if enough else worst
        if best is None or (enough, score) > best[:2]:
            best = (enough, score, groups)
    assert best is not None  # noqa: S101 - draws >= 1 by construction
    texts = ["\n".join(pool[i] for i in group) for group in best[2]]
    chosen = tuple(Question(text, tuple(count(text))) for text in texts)
    exact = np.array([question.counts for question in chosen], dtype=np.float64).T
    return chosen, float(scaled_margins(exact).min())
