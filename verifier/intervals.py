"""Exact bounds on rates, from counts: what a benchmark may say after k hits in n trials."""

from __future__ import annotations

import math
from collections.abc import Callable


def upper_bound(hits: int, trials: int, error: float = 0.05) -> float:
    """One-sided Clopper-Pearson upper bound of a rate at confidence 1 - error; 1 where nothing was tried."""
    if trials == 0 or hits >= trials:
        return 1.0
    return _solve(lambda p: _binomial_cdf(hits, trials, p) - error)


def lower_bound(hits: int, trials: int, error: float = 0.05) -> float:
    """One-sided Clopper-Pearson lower bound of a rate at confidence 1 - error; 0 where nothing was tried."""
    return 1.0 - upper_bound(trials - hits, trials, error) if trials else 0.0


def _binomial_cdf(k: int, n: int, p: float) -> float:
    if p <= 0.0:
        return 1.0
    if p >= 1.0:
        return float(k >= n)
    logs = (
        math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) + i * math.log(p) + (n - i) * math.log1p(-p) for i in range(k + 1)
    )
    return math.fsum(math.exp(value) for value in logs)


def _solve(decreasing: Callable[[float], float]) -> float:
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2.0
        if decreasing(middle) > 0.0:
            low = middle
        else:
            high = middle
    return high
