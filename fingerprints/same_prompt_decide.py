"""From nearness to conclusions: which model, whether none of them, and how surprising the answers are if the claim is true.

Takes what `same_prompt_references.near` gives for the answers of one audit and the constants that ship (data/same_prompt.npz, fitted by
fingerprints.build.same_prompt); gives calibrated log-likelihoods and an e-value. No constant is ever fitted on the answers under test.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt

from fingerprints.same_prompt_references import Near, References

Floats = npt.NDArray[np.floating[Any]]

MAX_LOG_E = math.log(1000)
"""Style never says more than this against a claim, however far the answers lie: a style can be changed by a prompt."""
MIN_LOG_E = math.log(0.5)
MAX_LOG_ODDS = 8.0
"""Bound on what style says for one candidate against another (about 3,000 to 1)."""
_EXPONENT = 0.5
"""Of the calibrator e = a p^(a-1) that makes an e-value of a p-value (Vovk and Wang 2021)."""
_ABSENT = -1000.0
"""Combined score of a model without any reference: out of the question."""


@dataclass(frozen=True, slots=True)
class Constants:
    """What was fitted; see `unknown_features` and `gaps` for what the arrays weigh."""

    weights: Floats
    """(4,): of the three z-scores and of the style profile's log-likelihood."""
    temperature: Floats
    """(2,): a, b of the factor a * answers**-b on summed scores, so that correlated answers are not counted as independent."""
    unknown: Floats
    """Logistic regression of "is one of these models" on `unknown_features`, the intercept last."""
    rejection: Floats
    """(2, sizes): numbers of answers, and the log odds of "one of these" below which 5 % of genuine answers of that many lie."""
    honest_sizes: Floats
    """Numbers of answers for which the next two are given."""
    honest_levels: Floats
    """Tail probabilities, decreasing."""
    honest_quantiles: Floats
    """(2, sizes, levels): gaps (`gaps`) that honest endpoints exceed with those probabilities."""
    honest_tails: Floats
    """(2, sizes): mean excess beyond the last quantile, for the exponential tail."""


@dataclass(frozen=True, slots=True)
class Pooled:
    """All answers of an audit together; arrays over models."""

    answers: int
    total: Floats
    """Sum of combined scores."""
    cosine: Floats
    """Mean cosine in units of rivals (see Near); NaN for a model without references to these questions."""
    strangeness: Floats
    """Mean squared distance a dimension between the mean style of the answers and each profile, less what sampling explains."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What the answers say about who wrote them."""

    log_likelihood: Floats
    """Per model; with `unknown` it is a log posterior under even odds of known and unknown."""
    unknown: float
    best: int
    rejected: bool
    """Whether the answers fit no reference model, at 5 % false alarms."""


def pool(parts: Sequence[tuple[Near, Floats]], references: References, constants: Constants | None = None) -> Pooled:
    """Join the answers to several questions; each part has the nearness and the centred style of the answers to one."""
    constants = constants or shipped()
    scores = np.concatenate([combined(one, style, references, constants) for one, style in parts])
    with np.errstate(invalid="ignore"):
        cosines = np.concatenate([one.cosine for one, _ in parts])
        seen = np.isfinite(cosines)
        cosine = np.where(seen, cosines, 0).sum(axis=0) / np.where(seen.any(axis=0), seen.sum(axis=0), np.nan)
    style = np.concatenate([style for _, style in parts])
    return Pooled(len(scores), scores.sum(axis=0), cosine, strangeness(style.mean(axis=0), len(style), references))


def combined(one: Near, style: Floats, references: References, constants: Constants) -> Floats:
    """(answers, models) weighted sum of the similarities; what a model has no references for is neutral, no references at all are not."""
    z_scores = np.stack([one.average, one.regressed, one.manner])
    z_scores = np.where(np.isfinite(z_scores), np.clip(z_scores, -4, 8), 0)
    distance = ((style[:, None, :] - references.profiles[None]) ** 2).sum(axis=2) / (1 + 1 / np.maximum(references.profile_rows, 1))
    there = np.isfinite(distance)
    likeness = np.tensordot(constants.weights[:3], z_scores, axes=1) - constants.weights[3] * np.where(there, distance, 0) / 2
    scores: Floats = np.where(there, likeness, _ABSENT)
    return scores


def strangeness(mean_style: Floats, answers: int, references: References) -> Floats:
    """See Pooled."""
    distance = ((mean_style - references.profiles) ** 2).mean(axis=1)
    return np.asarray(distance - 1 / answers - 1 / np.maximum(references.profile_rows, 1))


def judge(pooled: Pooled, families: Sequence[str], constants: Constants | None = None) -> Judged:
    """Calibrated log-likelihoods of the models and of "none of them"."""
    constants = constants or shipped()
    scaled = pooled.total * temperature(pooled.answers, constants)
    log_share = np.maximum(scaled - scaled.max(), -MAX_LOG_ODDS)
    log_share -= np.logaddexp.reduce(log_share)
    odds = known_log_odds(pooled, families, constants)
    rejected = odds < float(np.interp(pooled.answers, *constants.rejection))
    bounded = float(np.clip(odds, -MAX_LOG_ODDS, MAX_LOG_ODDS))
    known, unknown = -math.log1p(math.exp(-bounded)), -math.log1p(math.exp(bounded))
    return Judged(log_share + known, unknown, int(np.argmax(pooled.total)), rejected)


def temperature(answers: int, constants: Constants) -> float:
    """Factor on summed scores."""
    return float(constants.temperature[0] * answers ** -constants.temperature[1])


def known_log_odds(pooled: Pooled, families: Sequence[str], constants: Constants) -> float:
    """Log odds that one of the models, rather than a stranger to all their families, wrote the answers."""
    return float(unknown_features(pooled, families) @ constants.unknown[:-1] + constants.unknown[-1])


def unknown_features(pooled: Pooled, families: Sequence[str]) -> Floats:
    """How like the best model the answers are, in absolute terms, each also weighed by 1 / sqrt(answers): cosine in units of rivals, lead
    over other families, z-score, strangeness of style."""
    best = int(np.argmax(pooled.total))
    names = np.array(families)
    others = pooled.total[names != names[best]]
    lead = (pooled.total[best] - others.max()) / pooled.answers if len(others) else 0.0
    cosine = pooled.cosine[best] if np.isfinite(pooled.cosine[best]) else 0.0
    strange = pooled.strangeness[best] if np.isfinite(pooled.strangeness[best]) else 10.0
    plain = np.clip([cosine, lead / 4, pooled.total[best] / pooled.answers / 8, strange / 2], -10, 10)
    shrinking = 1 / math.sqrt(pooled.answers)
    return np.concatenate([plain, plain * shrinking, [shrinking]])


def against_claim(
    pooled: Pooled, claimed: Sequence[int], families: Sequence[str], weights: Sequence[str], constants: Constants | None = None
) -> tuple[float, float]:
    """(log e-value, p-value) of the answers if the claimed model wrote them. The gaps' e-values average; the smaller p-value doubles."""
    constants = constants or shipped()
    p_values = [
        _tail(gap, which, pooled.answers, constants)
        for which, gap in enumerate(gaps(pooled, claimed, families, weights))
        if math.isfinite(gap)
    ]
    if not p_values:
        return 0.0, 1.0
    e_values = [_EXPONENT * p ** (_EXPONENT - 1) for p in p_values]
    log_e = float(np.clip(math.log(sum(e_values) / len(e_values)), MIN_LOG_E, MAX_LOG_E))
    return log_e, min(1.0, len(p_values) * min(p_values))


def gaps(pooled: Pooled, claimed: Sequence[int], families: Sequence[str], weights: Sequence[str]) -> tuple[float, float]:
    """By how much, an answer, the nearest model of other weights, and the nearest of another family, is nearer than the claimed one.

    Negative infinity where there is none."""
    claim = pooled.total[list(claimed)].max()
    same_weights = {weights[index] for index in claimed}
    same_family = {families[index] for index in claimed}
    sibling = [total for total, name in zip(pooled.total, weights, strict=True) if name not in same_weights]
    stranger = [total for total, name in zip(pooled.total, families, strict=True) if name not in same_family]
    first, second = (float(max(group) - claim) / pooled.answers if group else -math.inf for group in (sibling, stranger))
    return first, second


def _tail(gap: float, which: int, answers: int, constants: Constants) -> float:
    """Probability that an honest endpoint shows at least this gap: quantiles, then an exponential tail."""
    sizes = constants.honest_sizes
    nearest = int(np.searchsorted(sizes, answers, side="right") - 1)  # the next smaller size strays further: the careful side
    quantiles = constants.honest_quantiles[which, max(nearest, 0)]
    if gap > quantiles[-1]:
        beyond = (gap - quantiles[-1]) / constants.honest_tails[which, max(nearest, 0)]
        return max(float(constants.honest_levels[-1] * math.exp(-min(beyond, 50.0))), 1e-9)
    return float(np.interp(gap, quantiles, constants.honest_levels))


@cache
def shipped() -> Constants:
    """The constants of data/same_prompt.npz."""
    return Constants(**{name: load()[name] for name in Constants.__dataclass_fields__})


@cache
def load() -> Mapping[str, npt.NDArray[Any]]:
    """All arrays of data/same_prompt.npz: the constants, and the style projection's `selected` and `projection`."""
    with (files("fingerprints") / "data" / "same_prompt.npz").open("rb") as file, np.load(file, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}
