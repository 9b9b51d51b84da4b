"""The cautious test of "these answers come from the claimed model": an e-value, the only thing about choices that may accuse.

Takes what the reference expects and fixes odds before any answer is seen; the null lets a tenth of the answers be anything, the
temperature be another and the reference be off by its own sampling error. It must never adapt its odds to the answers under test.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fingerprints.choice_model import LEAST_SAMPLES, Array, Counts, Predictive, log_mean

TOLERANCE = 0.10
"""Share of answers that an honest configuration (system prompt, engine) may draw from anywhere. Held-out halves of the number picks with
20 % of another model's answers mixed in still reached 100 within 50 answers in at most .2 % of audits of any model."""
TEMPERATURES = (1.0, 0.7, 0.5, 0.3, 1.3)
"""An endpoint may ignore the temperature that was asked for: each is part of the null. Between and around them (.4, .6, .85, 1.4,
and top_p .7 to .95) halves of the number picks reached 100 in at most .8 % of audits of any model; at .22 and below up to half did."""
CAP = 10_000.0
"""Most that choices may say against a claim or, as 1 / CAP, for it, as an e-value."""
_MISJUDGED = 1e-6  # probability, over the reference's sampling error, that any price is too low; paid for in the e-value
_CAPS = (2.0, 4.0, 8.0, 16.0, 32.0)  # most that one answer may multiply a bet by; the one that promises the fastest growth is taken
_FLOOR = 0.02  # least that one answer may multiply a bet by
_STAKES = (2.0, 4.0, 8.0)  # what an unknown model's favourite, or a rare choice, multiplies a bet on it by, mixed evenly
_RARE = (0.02, 0.05, 0.1, 0.2)  # shares of the claimed model's answers that count as its rare choices
_LAMBDAS = (0.01, 0.03, 0.07, 0.12, 0.2, 0.3, 0.45, 0.6, 0.75, 0.85, 0.92, 0.96, 0.98, 0.99)  # any gives a valid bound: a grid suffices
_BISECTIONS = 20


@dataclass(frozen=True, slots=True)
class Bets:
    """Fixed odds against one claimed model."""

    gains: tuple[tuple[Array, ...], ...]
    """[temperature][question] (bets, K): what each answer adds to the log of each bet on a known rival, the background or rare choices."""
    prices: tuple[tuple[Array, ...], ...]
    """[temperature][question] (stakes, K): log of the price of a bet that an unknown model favours that category."""

    def log_e(self, draws: Sequence[Counts]) -> Array:
        """(B,): natural log of the e-value of B sets of answers (per question: B x n categories, in any order), within log CAP of 0.

        Valid at any stopping time. Each bet is a supermartingale under every model (1 - TOLERANCE) P + TOLERANCE Q, Q changing at will,
        whose P lies where the reference's posterior puts all but _MISJUDGED. The average over known rivals and the average over an
        unknown model's favourites share the stake; the least over temperatures covers all of them."""
        logs = [self._log_e(gains, prices, draws) for gains, prices in zip(self.gains, self.prices, strict=True)]
        least = np.clip(np.min(logs, axis=0), -math.log(CAP), math.log(CAP))
        cautious: Array = least - math.log1p(_MISJUDGED * CAP + 1 / CAP)  # what misjudged prices and the lower bound may add to its mean
        return cautious

    @staticmethod
    def _log_e(gains: Sequence[Array], prices: Sequence[Array], draws: Sequence[Counts]) -> Array:
        sets = len(draws[0])
        rivals = np.zeros((len(gains[0]), sets))
        favourites = np.zeros(sets)
        for gain, price, drawn in zip(gains, prices, draws, strict=True):
            rivals += gain[:, drawn].sum(2)
            size = price.shape[1]
            flat = (drawn + np.arange(sets)[:, None] * size).ravel()
            counts = np.bincount(flat, minlength=sets * size).reshape(sets, size)
            bets = counts[:, None, :] * np.log(_STAKES)[:, None] - drawn.shape[1] * price  # (sets, stakes, K)
            favourites += log_mean(bets.reshape(sets, -1), 1)
        return log_mean(np.stack([log_mean(rivals, 0), favourites]), 0)


def bets(models: Sequence[Predictive], claimed: int, rivals: Sequence[int]) -> Bets:
    """Odds against model `claimed` over all questions `models`: one bet per model of `rivals`, one on the background, some that choices
    rare for the claimed model are common, and one per favourite of an unknown model.

    The price of a bet is the most that the null can give it on average (Huber, 1965: a clipped likelihood ratio is robust to a share of
    arbitrary answers), with the reference's sampling error bounded by Chernoff over its Dirichlet posterior (Baudry et al., 2021)."""
    misjudged = _MISJUDGED / (2 * len(models))
    each = misjudged / (len(rivals) + 1 + len(_RARE))
    gains = [tuple(_gains(model, claimed, rivals, heat, each) for model in models) for heat in TEMPERATURES]
    prices = [tuple(_prices(model, claimed, heat, misjudged / model.expected.shape[1]) for model in models) for heat in TEMPERATURES]
    return Bets(tuple(gains), tuple(prices))


def _heated(model: Predictive, claimed: int, temperature: float) -> Array:
    expected: Array = model.expected[claimed] ** (1 / temperature)
    heated: Array = expected / expected.sum()
    return heated


def _gains(model: Predictive, claimed: int, rivals: Sequence[int], temperature: float, misjudged: float) -> Array:
    """(bets, K): log of the priced bet by category; 0 throughout where the reference lacks answers or the bet would lose."""
    expected = _heated(model, claimed, temperature)
    concentration = float(model.concentration[claimed])
    against = np.concatenate([model.expected[list(rivals)], model.background[None]])
    gains = np.zeros_like(against)
    if model.samples[claimed] < LEAST_SAMPLES:
        return np.zeros((len(against) + len(_RARE) * len(_STAKES), against.shape[1]))
    growth = np.zeros(len(against))
    ratio = against / expected
    for cap in _CAPS:
        factor = np.clip(ratio, _FLOOR, cap)
        most = factor.max(1)
        mean = _upper_mean(concentration, expected, factor, most, misjudged)
        gain = np.log(factor) - np.log((1 - TOLERANCE) * mean + TOLERANCE * most)[:, None]
        promised = (against * gain).sum(1)
        better = promised > growth
        gains[better], growth[better] = gain[better], promised[better]
    known = np.append(model.samples[list(rivals)] >= LEAST_SAMPLES, True)
    gains[~known] = 0.0
    return np.concatenate([gains, _rare(expected, concentration, misjudged)])


def _rare(expected: Array, concentration: float, misjudged: float) -> Array:
    """(rare sets * stakes, K): log of bets that the answers are choices which the claimed model rarely makes."""
    order = np.argsort(expected, kind="stable")
    below = np.empty_like(expected)
    below[order] = np.cumsum(expected[order])
    rare = below <= np.array(_RARE)[:, None]  # (sets, K)
    share = _upper_share(concentration, rare @ expected, misjudged)
    rows = [np.where(rare, math.log(stake), 0.0) - _price(stake, share)[:, None] for stake in _STAKES]
    return np.concatenate(rows)


def _prices(model: Predictive, claimed: int, temperature: float, misjudged: float) -> Array:
    """(stakes, K): log of the most that the null gives, on average, to a bet that multiplies by a stake at one category.

    Where the reference lacks answers the null may choose that category always, and the bet cannot win."""
    expected = _heated(model, claimed, temperature)
    if model.samples[claimed] < LEAST_SAMPLES:
        share = np.ones_like(expected)
    else:
        share = _upper_share(float(model.concentration[claimed]), expected, misjudged)
    return np.stack([_price(stake, share) for stake in _STAKES])


def _price(stake: float, share: Array) -> Array:
    """Log of the most that the null gives, on average, to a bet that multiplies by `stake` where its share is at most `share`."""
    price: Array = np.log((1 - TOLERANCE) * (1 + (stake - 1) * share) + TOLERANCE * stake)
    return price


def _upper_mean(concentration: float, expected: Array, factor: Array, most: Array, misjudged: float) -> Array:
    """(bets,): a mean of `factor` (bets, K) that a Dirichlet(concentration * expected) exceeds with at most probability `misjudged`.

    P(mean >= u) <= prod_x (1 - l (factor_x - u)) ** (-concentration * expected_x) for every l < 1 / (most - u)."""
    needed = -math.log(misjudged) / concentration
    low, high = factor @ expected, most.copy()
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        scaled = (factor - middle[:, None]) / np.maximum(most - middle, 1e-12)[:, None]
        reached = np.max([np.log1p(-step * scaled) @ expected for step in _LAMBDAS], axis=0)
        enough = reached >= needed
        high, low = np.where(enough, middle, high), np.where(enough, low, middle)
    return high


def _upper_share(concentration: float, expected: Array, misjudged: float) -> Array:
    """The same for the share of one category or set of them, in closed form: P(share >= u) <= exp(-concentration * KL(expected, u))."""
    needed = -math.log(misjudged) / concentration
    p = np.clip(expected, 1e-12, 1 - 1e-12)
    low, high = p.copy(), np.ones_like(p)
    for _ in range(2 * _BISECTIONS):
        middle = np.minimum((low + high) / 2, 1 - 1e-12)
        enough = p * np.log(p / middle) + (1 - p) * np.log((1 - p) / (1 - middle)) >= needed
        high, low = np.where(enough, middle, high), np.where(enough, low, middle)
    return high
