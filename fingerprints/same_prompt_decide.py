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
_Z_SCORES = (-4.0, 8.0)
"""Bounds of one similarity, so that no single answer decides."""
_NO_COSINE = -1.5
"""Of answers to questions to which the best model has no references: what a stranger's would show."""
_ABSENT = -1000.0
"""Combined score of a model without any reference: out of the question."""
ABSENCE = 1.0
"""Answers of middling likeness that a model is granted where it has references to only some of the questions; 0 to 4 were tried on half of
misguided_attention and on arena_hard_en and _ko, .5 to 2 did equally well."""
FADING = 0.5
"""Habits weigh answers ** -FADING: they help to name the version from one answer, but many answers say the same of them, and a version that
the references lack has other ones. 0, .5 and 1 were tried on half of misguided_attention: at 10 answers .5 named as many exact models as 0
and the family of more unseen versions (.81 against .79)."""
NEXT_VERSION = 0.15
"""Weight of a family's second nearest version in how near the family is; 0 to .5 were tried on the same answers."""


@dataclass(frozen=True, slots=True)
class Constants:
    """What was fitted; see `unknown_features` and `gaps` for what the arrays weigh."""

    weights: Floats
    """(5,): of the four z-scores (see Near) and of the style profile's log-likelihood."""
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
    """Sum of combined scores (`totals`)."""
    cosine: Floats
    """Mean cosine in units of rivals (see Near), less the model's own consistency; NaN for a model without references here."""
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
    return together(scores, np.concatenate([one.cosine for one, _ in parts]), np.concatenate([style for _, style in parts]), references)


def together(scores: Floats, cosines: Floats, style: Floats, references: References) -> Pooled:
    """Answers (first axis) with their combined scores, their cosines (see Near) and their centred style, as one audit."""
    seen = np.isfinite(cosines).sum(axis=0)
    cosine = np.where(np.isfinite(cosines), cosines, 0).sum(axis=0) / np.where(seen, seen, np.nan) - references.consistency
    return Pooled(len(scores), totals(scores, references.families), cosine, strangeness(style.mean(axis=0), len(style), references))


def combined(one: Near, style: Floats, references: References, constants: Constants) -> Floats:
    """(answers, models, 3) weighted similarities: to a model's answers to the same question, NaN where it has none; to its habits over all
    questions; to its style profile."""
    alike = np.stack([one.average, one.regressed, one.manner])
    same = np.tensordot(constants.weights[:3], np.clip(alike, *_Z_SCORES), axes=1)
    distance = ((style[:, None, :] - references.profiles[None]) ** 2).sum(axis=2) / (1 + 1 / np.maximum(references.profile_rows, 1))
    there = np.isfinite(distance)
    habits = constants.weights[3] * np.clip(np.where(there, one.habit, 0), *_Z_SCORES)
    profile = np.where(there, -constants.weights[4] * distance / 2, _ABSENT)
    return np.stack([same, habits, profile], axis=2)


def summed(scores: Floats, fading: float = FADING) -> Floats:
    """(models,) sum of combined scores over answers; where a model has no references its likeness at the other questions stands in."""
    same, present = scores[:, :, 0], np.isfinite(scores[:, :, 0])
    share = (len(scores) + ABSENCE) / (present.sum(axis=0) + ABSENCE)
    habits = scores[:, :, 1].sum(axis=0) * len(scores) ** -fading
    total: Floats = np.where(present, same, 0).sum(axis=0) * share + habits + scores[:, :, 2].sum(axis=0)
    return total


def totals(scores: Floats, families: Sequence[str]) -> Floats:
    """`summed`, less a part of what the nearest version of a model's family is ahead of the next: several near versions speak for a family,
    and a version that the references lack is seldom like one of them alone."""
    total = summed(scores)
    present = np.isfinite(scores[:, :, 0]).any(axis=0)
    names = np.array(families)
    for family in set(families):
        members = np.sort(total[present & (names == family)])
        if len(members) > 1:
            total[names == family] -= NEXT_VERSION * (members[-1] - members[-2])
    return total


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
    """How like the best model the answers are, in absolute terms, each also weighed by 1 / sqrt(answers): cosine beside what the model's
    own answers show, lead over other families, strangeness of style."""
    best = int(np.argmax(pooled.total))
    names = np.array(families)
    others = pooled.total[names != names[best]]
    lead = (pooled.total[best] - others.max()) / pooled.answers if len(others) else 0.0
    cosine = pooled.cosine[best] if np.isfinite(pooled.cosine[best]) else _NO_COSINE
    strange = pooled.strangeness[best] if np.isfinite(pooled.strangeness[best]) else 10.0
    plain = np.clip([cosine, lead / 4, strange / 2], -10, 10)
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
