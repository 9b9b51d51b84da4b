"""How well measured token counts fit a vocabulary: likelihoods over scale and noise, and the anytime-valid e-value.

Takes measured differences (tokens of a question minus tokens of the baseline) and predictions per vocabulary, gives log
likelihoods. The model of one round: with probability 1 - BACKGROUND every count is the prediction times one common scale,
off by no more than a small window; otherwise it is anything in SPAN tokens. Pure arithmetic; knows nothing of replies.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

BACKGROUND = 0.02
"""Probability that one honest count is decoupled from the tokenizer (tool notes, image tokens, a retried request)."""
SPAN = 400.0
"""Tokens over which a decoupled count is taken to be spread evenly; longer than any question's count difference."""
SCALES = np.exp(np.linspace(math.log(0.4), math.log(3.0), 2001))
"""Constants by which gateways multiply usage: resellers' multipliers seen in the wild lie in 0.5 to 2.5. Steps of 0.1 %."""
NATIVE_PRIOR = 0.9
"""Prior weight of unscaled counts; the rest is spread evenly over SCALES."""
RECOUNT_PRIOR = 0.1
"""Prior weight, in attribution only, of a gateway that recounts with o200k or cl100k (half each)."""
ROUND_BOUND = 30.0
"""Largest likelihood ratio that one round of fresh strings may contribute. All counts of a round share one cause (how this
gateway counts), so a round alone never reaches 1/alpha = 100 and two independent rounds do: the contract's "on fresh
strings twice"."""


def _log_window(residual: Array, width: Array | float) -> Array:
    """Log density of integer residuals of shape (…, questions) for windows of +-width around the prediction."""
    inside = np.abs(residual) <= width
    hit = (1.0 - BACKGROUND) / (2.0 * np.floor(width) + 1.0) + BACKGROUND / SPAN
    logs: Array = np.where(inside, np.log(hit), math.log(BACKGROUND / SPAN))
    return logs


@dataclass(frozen=True, slots=True)
class Fit:
    """The best scale of one vocabulary for one round and how far the counts stay off it."""

    log_native: float
    """Log likelihood at scale 1."""
    log_scaled: float
    """Largest log likelihood over every scale in SCALES and scale 1."""
    log_mixed: float
    """Log likelihood averaged over the prior of scales."""
    scale: float
    """Least-squares scale through the origin."""
    residual: float
    """Largest |count - scale 1 prediction| in tokens."""
    residual_scaled: float
    """Largest |count - scale * prediction| in tokens at the best-fitting scale."""


def fit(measured: Array, predicted: Array, jitter: float) -> Fit:
    """Fit one vocabulary to one round. `measured` and `predicted` have shape (questions,), in tokens.

    `jitter` is the spread in tokens seen between identical baseline requests: windows widen by twice as much. A scaled
    count is rounded by the gateway before the baseline is subtracted, which costs one further token.
    """
    width = 2.0 * jitter
    native = float(_log_window(measured - predicted, width).sum())
    residuals = measured[None, :] - SCALES[:, None] * predicted[None, :]
    grid_step = 0.001 * float(np.max(np.abs(predicted), initial=0.0))
    scaled_width = 1.0 + width + math.ceil(grid_step) * 0.5
    per_scale = _log_window(residuals, scaled_width).sum(axis=1)
    peak = float(per_scale.max())
    log_spread = peak + math.log(float(np.mean(np.exp(per_scale - peak))))
    best = int(np.argmin(np.abs(residuals).max(axis=1)))
    return Fit(
        log_native=native,
        log_scaled=max(native, peak),
        log_mixed=float(np.logaddexp(math.log(NATIVE_PRIOR) + native, math.log(1.0 - NATIVE_PRIOR) + log_spread)),
        scale=float(SCALES[best]),
        residual=float(np.abs(measured - predicted).max()),
        residual_scaled=float(np.abs(residuals[best]).max()),
    )


def background(n: int) -> float:
    """Log likelihood of n counts under "no known vocabulary": every count anywhere in SPAN tokens."""
    return -n * math.log(SPAN)


def log_mean_exp(values: list[float]) -> float:
    """Log of the mean of exp(values); minus infinity for an empty list."""
    if not values:
        return -math.inf
    peak = max(values)
    if peak == -math.inf:
        return -math.inf
    return peak + math.log(sum(math.exp(value - peak) for value in values) / len(values))
