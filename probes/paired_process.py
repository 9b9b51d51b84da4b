"""A betting e-process on pairs of answers: do two endpoints answer the same questions by the same law, up to a tolerance?

Takes described answers pair by pair, gives an e-value that is valid whenever one stops, and the mean separation of the best learnt
score with an upper bound. Bets are predictable: a score bets on a pair before it learns from it. No randomness, no clock.

**Null hypothesis.** For every pair, given all earlier pairs and the kind of the question, what a score sees of the reference's answer Y
has some law P, what it sees of the target's answer Z some law Q, over the fresh name and wording of the question and over whatever
the endpoints draw; the total variation distance of P and Q is at most tau (the tolerance). Y and Z may depend on one another: they
answer one question, and two endpoints that always give their likeliest answer often give the same. P and Q may be different at each
pair: nothing is assumed to be identically distributed.

**Bet.** Let g be a score in [-1, 1] and lam a stake in (0, 1), both fixed by the earlier pairs, R <= 2 the range of g over all possible
answers to questions of this kind, and

    e = (1 + lam (g(Z) - g(Y))/2) / (1 + lam tau R/2).

*Claim: E[e | past] <= 1.* E_Q[g] <= E_P[g] + tau R, because a function of range R has means that differ by at most R times the total
variation distance; so the numerator's expectation is at most 1 + lam tau R/2. (Equality is possible: the divisor cannot be smaller.)
So the product over pairs is a test supermartingale, an average of such products with weights fixed in advance is one too, and by
Ville's inequality it ever reaches 1/alpha with probability at most alpha. A score that knows nothing (R = 0) pays nothing.

A bet on both answers apart, (1 - lam g(Y)) (1 + lam g(Z)), wins twice as much where two models never answer alike, but it is one only
where Y and Z are independent given the question and the tolerance holds question by question. At temperature 0 neither is so: the
same weights on two engines gave other answers to a quarter of the questions, at random, by laws that are the same over questions.

Sources: Shekhar & Ramdas 2023 (nonparametric two-sample testing by betting); Podkopaev & Ramdas 2023 (sequential predictive
two-sample tests).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from probes.counts import log_mean_exp
from probes.paired_features import DIMENSIONS, VIEWS, VIEWS_BY_KIND, Described, Vector

TOLERANCE = 0.10
"""Total variation distance that the answers of honest deployments of one model may differ by, over fresh questions of a kind. The
literature's synthetic cells gave 0.10 (it stopped the alarms on benign drift and kept swaps detectable). Measured (`python -m benchmarks
drift` and `compare`): at temperature 1 a first token's law drifts by 0.04 with another cache and batch, by 0.11 to 0.18 with a short system
prompt, and by 0.38 with a sampler's default top-k, top-p and min-p. At temperature 0, where pairs are asked, no sampler matters, and the
same weights on two engines answered a quarter of 107 questions otherwise, yet no score told them apart even at tolerance 0: what is left
to cover is how a system prompt or a coarser quantisation shifts the answers, and that it covers only in part."""
STAKES = (0.4, 0.9)
"""Fractions lam of the wealth that scores bet; averaged. Small ones for faint differences, large ones for swaps."""
SMOOTHING = 0.25
"""Pseudo-count of a cell's two predictive probabilities; a half needed 5 % more pairs on simulated cells."""
RIDGE = 0.3
"""Penalty of the learner's regression, in units of an answer's squared length, which is 1."""
MAX_GAIN = 4.0
"""Largest factor by which the learner's leave-one-out calibration may stretch its score."""
GAIN_PRIOR = 1.0
"""Answers' worth of evidence that keep a young learner's score small."""
BURN_IN = 12
"""Pairs before the learnt score is held to mean anything: it is left out of the separation's bound."""


def bet(stake: float, allowed: float, reference: float, target: float) -> float:
    """Log e-value of one pair from the scores of its two answers; `allowed` is tau R/2."""
    return math.log1p(stake * (target - reference) / 2.0) - math.log1p(stake * allowed)


@dataclass(slots=True)
class Cells:
    """A score that counts one view's symbols: how much more often the target gave this one than the reference."""

    view: str
    counts: dict[str, dict[str, tuple[int, int]]] = field(default_factory=dict)
    """Per table (a kind, or all of them) and symbol: how often the reference and the target gave it."""

    def score(self, answer: Described) -> float:
        """In -1..1; 0 for a symbol never seen."""
        return _excess(self._table(answer.kind).get(self._symbol(answer), (0, 0)))

    def span(self, kind: str) -> float:
        """The range of the score over all answers to a question of this kind, seen or not."""
        scores = [_excess(counted) for counted in self._table(kind).values()]
        return max(0.0, *scores) - min(0.0, *scores) if scores else 0.0

    def learn(self, reference: Described, target: Described) -> None:
        """Count one pair."""
        for answer, (a, b) in ((reference, (1, 0)), (target, (0, 1))):
            table, symbol = self._table(answer.kind), self._symbol(answer)
            old = table.get(symbol, (0, 0))
            table[symbol] = (old[0] + a, old[1] + b)

    def _table(self, kind: str) -> dict[str, tuple[int, int]]:
        return self.counts.setdefault(kind if self.view in VIEWS_BY_KIND else "", {})

    def _symbol(self, answer: Described) -> str:
        return answer.symbols[VIEWS.index(self.view)]


def _excess(counted: tuple[int, int]) -> float:
    a, b = counted
    return (b - a) / (b + a + 2.0 * SMOOTHING)


class Learner:
    """A ridge regression of "which endpoint" on an answer's features, calibrated by its own leave-one-out predictions.

    Works on the Gram matrix of the n answers seen (n <= 600): the inverse grows by bordering, so learning costs O(n^2) per answer.
    """

    def __init__(self) -> None:
        self._n = 0
        self._vectors: NDArray[np.float64] = np.zeros((64, DIMENSIONS))
        self._inverse: NDArray[np.float64] = np.zeros((64, 64))
        self._labels: NDArray[np.float64] = np.zeros(64)
        self._weights: NDArray[np.float64] = np.zeros(0)
        self._gain = 0.0
        self._longest = 0.0
        self._middle = 0.0

    def score(self, answer: Described) -> float:
        """In -1..1: positive where the answer looks like the target's; 0 before anything was learnt."""
        return max(-1.0, min(1.0, self._gain * self._predict(answer.vector)))

    def span(self, kind: str) -> float:
        """The range of the score: a vector of length 1 is predicted within the length of the regression's coefficients."""
        return 2.0 * min(1.0, self._gain * self._longest)

    def above(self, answer: Described) -> bool:
        """Whether the answer's prediction is above the middle of all predictions so far: a score that never degenerates."""
        return self._predict(answer.vector) > self._middle

    def learn(self, reference: Described, target: Described) -> None:
        """Take one pair in and fit anew."""
        self._border(reference.vector, -1.0)
        self._border(target.vector, 1.0)
        n = self._n
        inverse, labels = self._inverse[:n, :n], self._labels[:n]
        self._weights = inverse @ labels
        left_out = labels - self._weights / np.diag(inverse)
        gain = float(labels @ left_out) / (float(left_out @ left_out) + GAIN_PRIOR)
        self._gain = max(0.0, min(MAX_GAIN, gain))
        self._middle = float(np.sort(left_out)[n // 2 - 1 : n // 2 + 1].mean())  # n is even
        squared = float(self._weights @ (labels - RIDGE * self._weights))  # w'Gw, because (G + RIDGE) w = labels
        self._longest = math.sqrt(max(0.0, squared)) * (1.0 + 1e-9)

    def _predict(self, vector: Vector) -> float:
        return float((self._vectors[: self._n] @ vector) @ self._weights) if self._n else 0.0

    def _border(self, vector: Vector, label: float) -> None:
        """Add one answer: the inverse of [[A, k], [k', c]] from the inverse of A."""
        n = self._n
        if n == len(self._labels):
            self._grow()
        k = self._vectors[:n] @ vector
        old = self._inverse[:n, :n]
        u = old @ k
        schur = float(vector @ vector) + RIDGE - float(k @ u)  # at least RIDGE: the vectors have length 1
        self._inverse[:n, :n] = old + u[:, None] * (u / schur)
        self._inverse[:n, n] = self._inverse[n, :n] = -u / schur
        self._inverse[n, n] = 1.0 / schur
        self._vectors[n], self._labels[n] = vector, label
        self._n = n + 1

    def _grow(self) -> None:
        n = self._n
        self._vectors = np.vstack([self._vectors, np.zeros((n, DIMENSIONS))])
        self._labels = np.concatenate([self._labels, np.zeros(n)])
        self._inverse = np.pad(self._inverse, ((0, n), (0, n)))


@dataclass(slots=True)
class Component:
    """One bettor: a score and its stake, with the log of its wealth."""

    name: str
    score: Cells | Learner
    stake: float
    weight: float
    log_wealth: float = 0.0


class PairedProcess:
    """The e-process over pairs. Feed each pair once, in the order of the plan, and read `log_e` at any time."""

    def __init__(self, tolerance: float = TOLERANCE) -> None:
        """Raises ValueError where `tolerance` is not in 0..1."""
        if not 0.0 <= tolerance <= 1.0:
            raise ValueError("the tolerance is a total variation distance, from 0 to 1")
        self.tolerance = tolerance
        self.pairs = 0
        self.separations: list[int] = []
        """Per pair after BURN_IN: +1, 0 or -1, the learnt score's verdict on the target's answer minus that on the reference's."""
        self._learner = Learner()
        self._scores: tuple[tuple[str, Cells | Learner], ...] = (*((view, Cells(view)) for view in VIEWS), ("learnt", self._learner))
        weight = 1.0 / (len(self._scores) * len(STAKES))
        self.components = tuple(Component(name, score, stake, weight) for name, score in self._scores for stake in STAKES)

    @property
    def log_e(self) -> float:
        """Natural log of the e-value: the weighted average of the bettors' wealth."""
        return _log_sum([component.log_wealth + math.log(component.weight) for component in self.components])

    @property
    def log_e_by_score(self) -> dict[str, float]:
        """The same per score, for the report: each is an e-value of its own."""
        return {
            name: log_mean_exp([component.log_wealth for component in self.components if component.score is score])
            for name, score in self._scores
        }

    @property
    def separation(self) -> float:
        """Mean separation of the endpoints by the learnt score, from -1 to 1; 0 for no pair after BURN_IN."""
        return sum(self.separations) / len(self.separations) if self.separations else 0.0

    def separation_bound(self, error: float, planned: int) -> float:
        """Upper bound, at confidence 1 - error whenever one stops, of the mean over pairs of E[separation | past]; at most 1.

        Hoeffding's supermartingale for values in -1..1, tuned to `planned` pairs (fixed before the first answer). A negative mean
        is luck and counts as 0, so that a bound of 0.5 at error 0.01 takes a plan of at least 49 pairs.
        """
        n = len(self.separations)
        if n == 0:
            return 1.0
        log_error = math.log(1.0 / error)
        kappa = math.sqrt(2.0 * log_error / max(1, planned - BURN_IN))
        return min(1.0, max(0.0, self.separation) + log_error / (kappa * n) + kappa / 2.0)

    def add(self, reference: Described, target: Described) -> None:
        """Bet on one pair (two answers to one question) with what the earlier ones taught, then learn from it."""
        for _, score in self._scores:
            points, allowed = (score.score(reference), score.score(target)), self.tolerance * score.span(reference.kind) / 2.0
            for component in self.components:
                if component.score is score:
                    component.log_wealth += bet(component.stake, allowed, *points)
        if self.pairs >= BURN_IN:
            self.separations.append(int(self._learner.above(target)) - int(self._learner.above(reference)))
        for _, score in self._scores:
            score.learn(reference, target)
        self.pairs += 1


def _log_sum(logs: list[float]) -> float:
    peak = max(logs)
    return peak + math.log(math.fsum(math.exp(value - peak) for value in logs))
