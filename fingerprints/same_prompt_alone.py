"""Comparison with one model's own reference answers where too few other models are known, as after enrolling a private endpoint.

Takes the reference rows of the claimed model and fresh answers, gives a rank test of "these are further answers of the same model". It
assumes the same settings as at enrolment, which an honest endpoint may have changed, and so its e-value is bounded low.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]

LEAST_SAMPLES = 2
"""Reference answers to a question: with fewer there is no spread to compare with."""
MAX_LOG_E = math.log(5)
"""Low, because an honest endpoint under other settings fails this test too: in 14 % of trials on misguided_attention with references
recorded with thinking on and answers with it off, or the reverse (0 of 153 trials under the same settings reached 5)."""
SUPPORTS = 0.2
"""p-value from which answers support the claim: other families' reach it in about one trial of ten."""
REJECTS = 0.01
"""p-value below which answers are not taken for the model's, however much liker they are to its than to any other's."""
MARGIN = 0.02
"""A cosine must be lower by this much to count as lower: engines round differently."""
REPEATING = 0.97
"""Mean cosine of reference answers with one another from which they were recorded without randomness and say nothing of its spread."""
_EXPONENT = 0.5
LEAST_E = _EXPONENT
"""Least e-value, of a p-value of 1."""


def compare(references: Sequence[Floats], answers: Sequence[Floats]) -> tuple[float, float] | None:
    """(log e-value, p-value) of the hypothesis that each of `answers` ((n, dimensions) sketches, one array a question) is exchangeable
    with the `references` to its question; None where no question has enough references that differ.

    Exact for independent answers: an answer's rank in likeness to the rest is uniform (as in conformal prediction)."""
    ranks: list[float] = []
    sizes: list[int] = []
    for known, fresh in zip(references, answers, strict=True):
        if len(known) < LEAST_SAMPLES or _within(known) > REPEATING:
            continue
        for each in fresh[:1]:  # further answers to the same question share its references and are no fresh ranks
            ranks.append(_rank(known, each))
            sizes.append(len(known) + 1)
    if not ranks:
        return None
    p_value = _lower_tail(sum(ranks), sizes)
    log_e = math.log(_EXPONENT) + (_EXPONENT - 1) * math.log(p_value)
    return min(log_e, MAX_LOG_E), p_value


def _within(rows: Floats) -> float:
    cosines = _unit(rows) @ _unit(rows).T
    return float((cosines.sum() - len(rows)) / (len(rows) * (len(rows) - 1)))


def _rank(known: Floats, fresh: Floats) -> float:
    """1 for an answer less like the others than any reference is, more for a likelier one."""
    rows = _unit(np.vstack([known, fresh]))
    likeness = (rows @ rows.T - np.eye(len(rows))).sum(axis=1) / (len(rows) - 1)
    return 1 + float((likeness[:-1] <= likeness[-1] + MARGIN).sum())


def _lower_tail(total: float, sizes: Sequence[int]) -> float:
    """Probability that uniform ranks from 1 to each size sum to at most `total`."""
    distribution = np.ones(1)
    for size in sizes:
        distribution = np.convolve(distribution, np.full(size, 1 / size))
    reached = math.floor(total) - len(sizes)
    return float(min(1.0, max(distribution[: reached + 1].sum(), 1e-12)))


def _unit(rows: Floats) -> Floats:
    unit: Floats = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    return unit
