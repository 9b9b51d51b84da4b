"""The exact test of "these answers come from the claimed model": could they be any of the reference's own?

Takes the reference's counts and new answers, gives permutation p-values that hold for an unchanged model whatever its distribution and
however small its reference. It knows no tolerance, so it never accuses by itself; randomness comes from the generator handed in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fingerprints.choice_model import CONCENTRATIONS, LEAST_SAMPLES, STRAY, Array, Counts, background, log_mean, predictive

PERMUTATIONS = 1_999
"""Most random reassignments behind one p-value."""
_FIRST_BATCH = 8
_FACTORS = 25  # of 1e-4 to 1e4, multiplied before one logarithm is taken: far from what a double can hold
_ENOUGH_EXCEEDANCES = 10  # Besag and Clifford, 1991: stop once so many reassignments are as extreme
_TIE = 1e-9
_MOST_CELLS = 4_000_000  # of reassigned answers at a time, for memory


@dataclass(frozen=True, slots=True)
class SameModel:
    """Permutation test for one claimed model against its reference counts, question by question."""

    labels: tuple[Counts, ...]
    """Per question: the category of each recorded answer of the claimed model."""
    rivals: tuple[Array, ...]
    """Per question (K, R): log of what each other model is expected to choose, fitted without the claimed model."""
    new: tuple[Array, ...]
    """Per question (C, K): pseudo-counts that an unknown model may be drawn with, mixed evenly."""

    @classmethod
    def of(cls, counts: Sequence[Counts], intervals: Sequence[tuple[int, int] | None], claimed: int, rivals: Sequence[int]) -> SameModel:
        """From the reference `counts` (per question: models x K)."""
        labels = tuple(np.repeat(np.arange(each.shape[1]), each[claimed]) for each in counts)
        others = [each[list(rivals)] for each in counts]
        fits = [predictive(each, interval) for each, interval in zip(others, intervals, strict=True)] if len(rivals) else []
        bases = [np.stack([background(each.astype(np.float64)), np.full(each.shape[1], 1 / each.shape[1])]) for each in others]
        new = [np.concatenate([concentration * base for concentration in CONCENTRATIONS]) for base in bases]
        logs = [np.log((1 - STRAY) * fit.expected + STRAY * fit.background).T.copy() for fit in fits]
        logs = logs or [np.zeros((each.shape[1], 0)) for each in new]
        return cls(labels, tuple(logs), tuple(new))

    def p_values(
        self, draws: Sequence[Counts], rng: np.random.Generator, most: int = PERMUTATIONS, enough: int = _ENOUGH_EXCEEDANCES
    ) -> Array:
        """(B,): p-values of B sets of answers, `draws` (per question: B x n categories), against the reference."""
        recorded = [np.broadcast_to(labels, (len(drawn), len(labels))) for labels, drawn in zip(self.labels, draws, strict=True)]
        return self.compare(draws, recorded, rng, most, enough)

    def compare(self, draws: Sequence[Counts], recorded: Sequence[Counts], rng: np.random.Generator, most: int, enough: int) -> Array:
        """(B,): p-values of "`draws` (per question: B x n categories) come from what `recorded` (B x N) came from", row by row.

        Exact whatever the model: under the hypothesis a set is exchangeable with its reference. Sequential (Besag and Clifford, 1991): at
        most `most` random reassignments, fewer once `enough` are as extreme as what was seen."""
        asked = [i for i, each in enumerate(draws) if each.shape[1] and recorded[i].shape[1] >= LEAST_SAMPLES]
        sets = draws[0].shape[0]
        if not asked:
            return np.ones(sets)
        pools = [np.concatenate([draws[i], recorded[i]], 1) for i in asked]
        lengths = [draws[i].shape[1] for i in asked]
        pooled = [self._pooled(i, pool, pool.shape[1] - n) for i, pool, n in zip(asked, pools, lengths, strict=True)]
        given = [pool[:, None, :n] for pool, n in zip(pools, lengths, strict=True)]
        observed = self._statistic(asked, pooled, given, np.arange(sets))[:, 0]
        widest = max(pool.shape[1] for pool in pools)
        p = np.ones(sets)
        open_, exceeded, done, batch = np.arange(sets), np.zeros(sets, dtype=np.int64), 0, _FIRST_BATCH
        while len(open_) and done < most:
            batch = max(1, min(batch, most - done, _MOST_CELLS // (len(open_) * widest)))
            shuffled = [_subsets(pool[open_], n, batch, rng) for pool, n in zip(pools, lengths, strict=True)]
            extreme = self._statistic(asked, pooled, shuffled, open_) >= observed[open_, None] - _TIE
            running = exceeded[open_, None] + np.cumsum(extreme, 1)
            stops = running[:, -1] >= enough
            at = np.argmax(running >= enough, 1) + 1
            p[open_[stops]] = enough / (done + at[stops])
            exceeded[open_] = running[:, -1]
            done += batch
            batch *= 3
            open_ = open_[~stops]
        p[open_] = (exceeded[open_] + 1) / (done + 1)
        return p

    def _pooled(self, question: int, pool: Counts, remaining: int) -> tuple[Counts, Array]:
        """Counts (rows, K) of each pool, and (rows, C): log-likelihood of all of it as new, with the norm of what a subset leaves."""
        rows, size = len(pool), self.new[question].shape[1]
        counts = np.bincount((pool + np.arange(rows)[:, None] * size).ravel(), minlength=rows * size).reshape(rows, size)
        steps = np.arange(int(counts.max(initial=0)))
        whole = np.zeros((rows, len(self.new[question])))
        for c, pseudo in enumerate(self.new[question]):
            table = np.concatenate([np.zeros((size, 1)), np.cumsum(np.log(pseudo[:, None] + steps), 1)], 1)
            whole[:, c] = table[np.arange(size), counts].sum(1) - np.log(pseudo.sum() + np.arange(remaining)).sum()
        return counts, whole

    def _statistic(self, asked: Sequence[int], pooled: Sequence[tuple[Counts, Array]], subsets: Sequence[Counts], rows: Counts) -> Array:
        """(rows, S): log odds that a subset and the rest of its pool come from two models, up to a constant of the pool.

        The subset's model is a rival or a new one; the rest's is a new one, drawn with any of the pseudo-counts `new`."""
        rivals = np.zeros((len(rows), subsets[0].shape[1], self.rivals[0].shape[1]))
        new = np.zeros((len(rows), subsets[0].shape[1], len(self.new[0])))
        rest = np.zeros_like(new)
        for i, (counts, whole), subset in zip(asked, pooled, subsets, strict=True):
            ordered = np.sort(subset, axis=2)
            rank = _ranks(ordered)
            left = counts[rows[:, None, None], ordered] - 1 - rank
            rivals += self.rivals[i][ordered].sum(2)
            for c, pseudo in enumerate(self.new[i]):
                drawn = pseudo[ordered]
                new[:, :, c] += _log_product(drawn + rank) - np.log(pseudo.sum() + np.arange(subset.shape[2])).sum()
                rest[:, :, c] += whole[rows, c, None] - _log_product(drawn + left)
        from_new = log_mean(new, 2)
        both = np.stack([from_new, log_mean(rivals, 2)], 2) if rivals.shape[2] else from_new[:, :, None]
        statistic: Array = log_mean(both, 2) + log_mean(rest, 2)
        return statistic


def _subsets(pool: Counts, n: int, count: int, rng: np.random.Generator) -> Counts:
    """(rows, count, n): subsets of each row of `pool` (rows, N), drawn without replacement."""
    rows, size = pool.shape
    if size < n * n:  # beyond, fewer than 4 draws in 10 take a place twice, and drawing again is quicker than shuffling
        return rng.permuted(np.broadcast_to(pool[:, None, :], (rows, count, size)), axis=2)[:, :, :n]
    places = np.sort(rng.integers(size, size=(rows * count, n)), axis=1)
    while len(twice := np.flatnonzero((places[:, 1:] == places[:, :-1]).any(1))):  # draw again the rows that took a place twice
        places[twice] = np.sort(rng.integers(size, size=(len(twice), n)), axis=1)
    return pool[np.arange(rows)[:, None, None], places.reshape(rows, count, n)]


def _log_product(factors: Array) -> Array:
    """Log of the product along the last axis, with few logarithms."""
    chunks = (factors[..., start : start + _FACTORS].prod(-1) for start in range(0, factors.shape[-1], _FACTORS))
    logs: Array = sum((np.log(chunk) for chunk in chunks), start=np.zeros(factors.shape[:-1]))
    return logs


def _ranks(ordered: Counts) -> Counts:
    """For each entry of sorted rows, how many equal ones stand before it."""
    places = np.broadcast_to(np.arange(ordered.shape[2]), ordered.shape)
    first = np.ones(ordered.shape, dtype=bool)
    first[:, :, 1:] = ordered[:, :, 1:] != ordered[:, :, :-1]
    return places - np.maximum.accumulate(np.where(first, places, 0), axis=2)
