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

WHOLE_STAKE = 0.6
"""Share of the bet against a claim that lies on "another model gives all replies"; the rest is on "it gives some" (verifier/mixture.py).
Both are e-values of the same null hypothesis, so their average is one."""


def needed_rounds(alpha: float) -> int:
    """Rounds of counts after which the bet can reach 1/alpha."""
    return math.ceil(math.log(1.0 / (WHOLE_STAKE * alpha)) / hedged(math.inf))


def _log_window(residual: Array, width: Array | float) -> Array:
    """Log density of integer residuals of shape (…, questions) for windows of +-width around the prediction."""
    inside = np.abs(residual) <= width
    hit = np.log((1.0 - BACKGROUND) / (2.0 * np.floor(width) + 1.0) + BACKGROUND / SPAN)
    logs: Array = np.where(inside, hit, math.log(BACKGROUND / SPAN))
    return logs


@dataclass(frozen=True, slots=True)
class Fit:
    """The best scale of one vocabulary for one round and how far the counts stay off it."""

    log_scaled: float
    """Largest log likelihood over scale 1 and every scale in SCALES."""
    log_mixed: float
    """Log likelihood averaged over the prior of scales."""
    scale: float
    """The scale that leaves the smallest largest residual."""
    residual: float
    """Largest |count - scale 1 prediction| in tokens."""
    residual_scaled: float
    """Largest |count - scale * prediction| in tokens at the best-fitting scale."""
    spread: float
    """Half the range of count - prediction in tokens: what is left when one common error of the baseline is taken away."""


def fit(measured: Array, predicted: Array, jitter: float) -> list[Fit]:
    """Fit every vocabulary to one round. `measured` has shape (questions,), `predicted` (vocabularies, questions), in tokens.

    `jitter` is the spread in tokens seen between identical baseline requests: windows widen by twice as much. A scaled
    count is rounded by the gateway before the baseline is subtracted, which costs one further token.
    """
    width = 2.0 * jitter
    native = _log_window(measured - predicted, width).sum(axis=1)
    residuals = np.abs(measured - SCALES[:, None] * predicted[:, None, :])  # (vocabularies, scales, questions)
    grid_step = 0.001 * np.abs(predicted).max(axis=1, initial=0.0)
    scaled_width = 1.0 + width + 0.5 * np.ceil(grid_step)
    per_scale = _log_window(residuals, scaled_width[:, None, None]).sum(axis=2)
    peak = per_scale.max(axis=1)
    log_spread = peak + np.log(np.mean(np.exp(per_scale - peak[:, None]), axis=1))
    mixed = np.logaddexp(math.log(NATIVE_PRIOR) + native, math.log(1.0 - NATIVE_PRIOR) + log_spread)
    worst = residuals.max(axis=2)
    best = worst.argmin(axis=1)
    off = np.abs(measured - predicted).max(axis=1)
    return [
        Fit(
            log_scaled=float(max(native[i], peak[i])),
            log_mixed=float(mixed[i]),
            scale=float(SCALES[best[i]]),
            residual=float(off[i]),
            residual_scaled=float(worst[i, best[i]]),
            spread=float(np.ptp(measured - predicted[i]) / 2.0),
        )
        for i in range(len(predicted))
    ]


def background(n: int) -> float:
    """Log likelihood of n counts under "no known vocabulary": every count anywhere in SPAN tokens."""
    return -n * math.log(SPAN)


def hedged(log_ratio: float) -> float:
    """Log e-value of one round whose likelihood ratio is exp(log_ratio): half of the bet stays in hand.

    The mean of 1 and an e-value is an e-value, and one that never falls below 1/2: counts that an honest gateway explains
    leave what the text says standing. Bounded above by ROUND_BOUND before hedging.
    """
    return math.log(0.5 + 0.5 * math.exp(min(math.log(ROUND_BOUND), log_ratio)))


def log_mean_exp(values: list[float]) -> float:
    """Log of the mean of exp(values); minus infinity for an empty list."""
    if not values:
        return -math.inf
    peak = max(values)
    if peak == -math.inf:
        return -math.inf
    return peak + math.log(sum(math.exp(value - peak) for value in values) / len(values))
