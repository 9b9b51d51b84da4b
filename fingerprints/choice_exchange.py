"""The cautious test of choices where references are small: an e-value that holds whatever the claimed model's law, however few its answers.

Takes reference counts and new answers of several questions. A bet is priced at what it pays on average over the reference answers and the
new one together, for under the null these are exchangeable: so the reference's own sampling error is part of the price, and nothing
about it has to be bounded. It must never choose its bets by the answers under test, or by those that price them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fingerprints.choice_bets import CAP, TEMPERATURES, TOLERANCE
from fingerprints.choice_model import LEAST_SAMPLES, Array, Counts, log_mean, predictive

_STAKE = 4.0
"""Most that one answer may multiply a bet by; its inverse is the least. On made-up laws (Dirichlet .1 over 64 choices) with 12 reference
answers to 20 questions, 4 told .90 of impostors at 1 %, 8 told .71, 16 told .37; with 24 answers 1.00, .99 and .91."""
_RARE = (0.1, 0.3)
"""Shares of the claimed model's answers that count as its rare choices."""
_FIRST = 0.8
"""Share of the stake on the first answers to each question; what is left goes to the sets of two, of three and so on."""
_SPLITS = 3  # ways to halve the references, each half fixing the bets that the other prices: their e-values average


@dataclass(frozen=True, slots=True)
class _Half:
    """One half of the references fixes the bets, the other prices them."""

    factors: Array
    """(bets, K): what an answer multiplies each bet by."""
    weights: Array
    """(temperatures, K): how much likelier each choice becomes at another temperature."""
    paid: Array
    """(temperatures, bets): sum over the pricing answers of weight times factor."""
    weight: Array
    """(temperatures,): sum over the pricing answers of their weights."""
    made: npt.NDArray[np.bool_]
    """(bets,): whether a bet promises to grow here; one that does not is not made, and costs nothing."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """Fixed bets against one claimed model: that the answers are a rival's, an average model's, or rare for the claimed one."""

    questions: tuple[tuple[_Half, ...], ...]
    """A question with too few references has no half: nothing is bet on it."""
    rivals: int
    """The first so many bets are on known models; they share half of the stake."""

    def log_e(self, draws: Sequence[Counts], passes: int) -> Array:
        """(B,): natural log of the e-value of B sets of answers (per question: B x n categories in the order given), within log CAP of 0.

        `passes` is the number of answers that every question asked so far has got. One answer to each question is a product of e-values
        with references of their own, valid at any stopping time; the product over the first r answers to each is an e-value too (each
        price holds the answers before it), and counts once all of them are there. With TOLERANCE of the answers changed at will the same
        holds, for then a bet is priced at the mixture of its average and its stake (Huber, 1965), which changed answers only raise.
        """
        sets = len(draws[0])
        total = np.full((len(TEMPERATURES), sets), -np.inf)
        for count in range(1, max(1, passes) + 1):
            share = _FIRST if count == 1 else (1 - _FIRST) / (count * (count - 1))
            total = np.logaddexp(total, math.log(share) + self._log_products(draws, count))
        least = np.clip(total.min(0), -math.log(CAP), math.log(CAP))
        cautious: Array = least - math.log1p(1 / CAP)  # what the lower bound may add to its mean
        return cautious

    def _log_products(self, draws: Sequence[Counts], count: int) -> Array:
        """(temperatures, B): all bets together on the first `count` answers to each question."""
        logs = np.zeros((len(TEMPERATURES), self.rivals + 1 + len(_RARE), len(draws[0])))
        for halves, drawn in zip(self.questions, draws, strict=True):
            if halves and drawn.shape[1]:
                logs += log_mean(np.stack([_log_bets(half, drawn[:, :count]) for half in halves]), 0)
        unknown = log_mean(logs[:, self.rivals :], 1)
        return log_mean(np.stack([log_mean(logs[:, : self.rivals], 1), unknown]), 0) if self.rivals else unknown


def exchange(counts: Sequence[Counts], intervals: Sequence[tuple[int, int] | None], claimed: int, rivals: Sequence[int]) -> Exchange:
    """Bets against model `claimed` from the reference `counts` (per question: models x K), where `rivals` are the other known models."""
    questions = tuple(_halves(each, interval, claimed, rivals) for each, interval in zip(counts, intervals, strict=True))
    return Exchange(questions, len(rivals))


def _log_bets(half: _Half, drawn: Counts) -> Array:
    """(temperatures, bets, B): log of what each bet has become after the answers to one question."""
    paid = np.repeat(half.paid[:, :, None], len(drawn), axis=2)
    weight = np.repeat(half.weight[:, None], len(drawn), axis=1)
    logs = np.zeros_like(paid)
    for answer in drawn.T:
        factor, weights = half.factors[:, answer], half.weights[:, answer]
        paid = paid + weights[:, None] * factor
        weight = weight + weights
        price = (1 - TOLERANCE) * paid / weight[:, None] + TOLERANCE * _STAKE
        logs += np.where(half.made[:, None], np.log(factor) - np.log(price), 0.0)
    return logs


def _halves(counts: Counts, interval: tuple[int, int] | None, claimed: int, rivals: Sequence[int]) -> tuple[_Half, ...]:
    labels = np.repeat(np.arange(counts.shape[1]), counts[claimed])
    if len(labels) < 2 * LEAST_SAMPLES:
        return ()
    rng, size, halves = np.random.default_rng(0), counts.shape[1], []
    for _ in range(_SPLITS):
        shuffled = rng.permutation(labels)
        one, other = (np.bincount(shuffled[start::2], minlength=size) for start in range(2))
        halves += [_half(counts, fixing, pricing, interval, claimed, rivals) for fixing, pricing in ((one, other), (other, one))]
    return tuple(halves)


def _half(counts: Counts, fixing: Counts, pricing: Counts, interval: tuple[int, int] | None, claimed: int, rivals: Sequence[int]) -> _Half:
    seen = counts.copy()
    seen[claimed] = fixing
    fitted = predictive(seen, interval)
    expected = fitted.expected[claimed]
    known = fitted.samples[list(rivals)] >= LEAST_SAMPLES
    against = np.where(known[:, None], fitted.expected[list(rivals)], expected)  # a rival without answers here bets on nothing
    order = np.argsort(expected, kind="stable")
    below = np.empty_like(expected)
    below[order] = np.cumsum(expected[order])
    rare = np.where(below <= np.array(_RARE)[:, None], _STAKE, 1.0)
    meant = np.concatenate([against, np.repeat(fitted.background[None], 1 + len(_RARE), axis=0)])
    factors = np.clip(np.concatenate([meant[: len(rivals) + 1] / expected, rare]), 1 / _STAKE, _STAKE)
    price = (1 - TOLERANCE) * factors @ expected + TOLERANCE * _STAKE
    made = (meant * np.log(factors)).sum(1) > np.log(price)
    weights = np.stack([expected ** (1 / heat - 1) for heat in TEMPERATURES])
    priced = weights * pricing
    return _Half(factors, weights, priced @ factors.T, priced.sum(1), made)
