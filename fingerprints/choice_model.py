"""What each reference model is likely to choose next, smoothed from its recorded counts, and how well new answers fit that.

Takes counts alone and gives predictive distributions: every weight is fitted on those counts by leaving one answer out, so there is
nothing to tune and nothing to leak. It must never see the answers under test.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

CONCENTRATIONS = (10.0, 100.0, 1000.0)
"""How closely an unseen model may follow the background: Dirichlet concentrations, mixed evenly. The grid spans what the recorded models
show, from a few favourites to nearly uniform."""
STRAY = 0.02
"""Share of a model's answers that attribution lets come from the background, so that one stray answer never excludes a model. Costs
.005 of exact attributions on undisturbed answers (number-picks, 20 of its models, split halves)."""
LEAST_SAMPLES = 5
"""Recorded answers below which a model says nothing about a question."""
_ROUNDS = 40  # of expectation-maximisation; the leave-one-out likelihood moves less than 1e-4 an answer after 30
_PRIOR_ANSWERS = 2.0  # answers' worth of the average model's weights, per source, that steady a model with few answers
_BACKGROUND_UNIFORM = 0.5  # of the background; the other half is the average of the models
_BACKGROUND_MODELS = 8  # fewer of them are a smaller share of it: the average of two models is half of each, and unlike any third
_LEAST_CONFIDENCE = 0.02  # of the own counts' weight, where it is turned into a concentration
_SPREADS = 35.0  # widths in a range of whole numbers: 10 of 355
_WIDE_SPREADS = 14.0
_ENDINGS = 10
_LEAST_RANGE = 50  # whole numbers below which neighbours and endings say nothing


@dataclass(frozen=True, slots=True)
class Predictive:
    """What is expected of M models over K categories of one question ("no choice" left out)."""

    expected: Array
    """(M, K), rows sum to 1: probability of the next answer."""
    concentration: Array
    """(M,): how many answers the expectation is worth, for the error of the reference itself."""
    background: Array
    """(K,), sums to 1: what a model that is not among them may choose."""
    samples: Array
    """(M,): recorded answers."""


def predictive(counts: Counts, interval: tuple[int, int] | None) -> Predictive:
    """Smooth `counts` (M, K). `interval` is (low, high) where the first categories are whole numbers in order.

    A model's distribution is a mixture of its own counts, the average of the other models, the uniform distribution and, for whole
    numbers, its counts spread over neighbours and over numbers with the same ending. Weights maximise the leave-one-out likelihood
    (deleted interpolation: Jelinek and Mercer, 1980), steadied by the average weights over models."""
    c = counts.astype(np.float64)
    total = c.sum(1, keepdims=True)
    seen = np.maximum(total, 1.0)
    own_left_out = np.maximum(c - 1, 0) / np.maximum(total - 1, 1)
    sources = np.stack([own_left_out, *_sources(c, interval, left_out=True)])  # (S, M, K)
    count, models = sources.shape[:2]
    weights = np.full((count, models), 1 / count)
    average = weights.mean(1, keepdims=True)
    for _ in range(_ROUNDS):
        mixed = np.einsum("sm,smk->mk", weights, sources)
        share = weights * np.einsum("smk,mk->sm", sources, c / np.maximum(mixed, 1e-300))
        weights = share + _PRIOR_ANSWERS * count * average
        weights /= weights.sum(0)
        average = weights.mean(1, keepdims=True)
    expected = np.einsum("sm,smk->mk", weights, np.stack([c / seen, *_sources(c, interval, left_out=False)]))
    expected /= expected.sum(1, keepdims=True)
    steadied = total[:, 0] * (1 - weights[0]) / np.maximum(weights[0], _LEAST_CONFIDENCE)
    return Predictive(expected, np.maximum(total[:, 0] + steadied, 1.0), background(c), total[:, 0])


def background(counts: Array) -> Array:
    """(K,): half uniform, half the average model of `counts` (M, K); more uniform where the models are few."""
    total = counts.sum(1, keepdims=True)
    shares = (counts / np.maximum(total, 1.0))[total[:, 0] > 0]
    average = shares.mean(0) if len(shares) else np.full(counts.shape[1], 1 / counts.shape[1])
    known = (1 - _BACKGROUND_UNIFORM) * min(1.0, len(shares) / _BACKGROUND_MODELS)
    mixed: Array = (1 - known) / counts.shape[1] + known * average
    return mixed


def log_likelihoods(model: Predictive, answers: Counts) -> Array:
    """(B, M + 1): natural log-likelihood of each row of `answers` (B, K counts) under each model and, last, an unknown one.

    Dirichlet-multinomial, so that the reference's own sampling error counts. A model with fewer than LEAST_SAMPLES recorded answers gets
    the unknown one's likelihood: it says nothing."""
    steady = (1 - STRAY) * model.expected + STRAY * model.background
    known = _polya(answers, steady * model.concentration[:, None])
    unknown = log_mean(_polya(answers, np.array(CONCENTRATIONS)[:, None] * model.background), 1)[:, None]
    known = np.where(model.samples >= LEAST_SAMPLES, known, unknown)
    return np.concatenate([known, unknown], 1)


def log_mean(values: Array, axis: int) -> Array:
    """Natural log of the mean of exponentials along `axis`, without overflow."""
    top = values.max(axis, keepdims=True)
    mean: Array = (top + np.log(np.exp(values - top).mean(axis, keepdims=True))).squeeze(axis)
    return mean


def _sources(c: Array, interval: tuple[int, int] | None, left_out: bool) -> list[Array]:
    """What a model's own counts are mixed with, each (M, K); with `left_out`, as one answer of the category itself would find them."""
    models, size = c.shape
    uniform = np.full((models, size), 1 / size)
    total = c.sum(1, keepdims=True)
    shares = c / np.maximum(total, 1.0)
    recorded = (total[:, 0] > 0).astype(np.float64)
    others = np.maximum(recorded.sum() - recorded, 1.0)[:, None]
    average = (shares.sum(0) - shares) / others
    average = 0.999 * average + 0.001 / size if models > 1 else uniform
    if interval is None or interval[1] - interval[0] + 1 < _LEAST_RANGE:
        return [uniform, average]
    span = interval[1] - interval[0] + 1
    inside = c[:, :span]
    left = 1.0 if left_out else 0.0
    rest = np.maximum(inside.sum(1, keepdims=True) - left, 1.0)
    near, wide = _spread(span, span / _SPREADS), _spread(span, span / _WIDE_SPREADS)
    beside = (inside @ near - left * np.diag(near)) / rest
    broad = (inside @ wide - left * np.diag(wide) + 0.5 / span) / (rest + 0.5)
    ending = (np.arange(span) + interval[0]) % _ENDINGS
    per_ending = np.stack([inside[:, ending == digit].sum(1) for digit in range(_ENDINGS)], 1)
    habit = _ENDINGS * broad * (per_ending[:, ending] - left + 0.5) / (rest + 0.5 * _ENDINGS)
    padding = np.full((models, size - span), 1e-9)
    return [uniform, average, *(np.concatenate([np.maximum(part, 1e-9), padding], 1) for part in (beside, habit))]


@lru_cache(maxsize=16)
def _spread(span: int, width: float) -> Array:
    """(span, span): how an answer at a row spreads over numbers within about `width`; rows sum to 1."""
    places = np.arange(span)
    weights = np.exp(-0.5 * ((places[:, None] - places) / width) ** 2)
    spread: Array = weights / weights.sum(1, keepdims=True)
    return spread


def _polya(answers: Counts, pseudo: Array) -> Array:
    """(B, A): log-likelihood of the answers, in their order, under A Dirichlet-multinomials with `pseudo` (A, K) pseudo-counts."""
    totals = answers.sum(1)
    most = int(totals.max(initial=0))
    steps = np.log(pseudo.sum(1)[:, None] + np.arange(most))
    out: Array = -np.concatenate([np.zeros((len(pseudo), 1)), np.cumsum(steps, 1)], 1)[:, totals].T
    used = np.flatnonzero(answers.any(0))
    slim, pseudo = answers[:, used], pseudo[:, used]
    for already in range(int(slim.max(initial=0))):
        out = out + (slim > already).astype(np.float64) @ np.log(pseudo + already).T
    return out
