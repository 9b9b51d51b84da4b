"""Fits the style model: a linear classifier of pooled answers that ignores how sources differ, calibrated on sources it has not seen.

Takes a table of answers (style_corpora) and gives a `style.Model`. Features are kept if several sources use them; classes are
contrasted inside each source only, and directions in which sources differ are shrunk; calibration and thresholds come from leaving one
group of sources out at a time. scikit-learn and scipy stay in this package.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.utils.extmath import randomized_svd

from fingerprints.build.style_corpora import Draws, Mask, Names, Table, balanced, draw
from fingerprints.style import CLASSES, FAMILIES, LANGUAGES, LEAST_MEAN_CHARACTERS, LISTED, SIZES, Floats, Model, calibrated, log_odds
from fingerprints.style_features import feature_count, group_features, layout_features

TRAINING_SIZE = 10
TRAINING_DRAWS = 12
CALIBRATION_DRAWS = 8
COMMON = {"letters": (0.12, 5), **dict.fromkeys(("words", "word pairs", "skeleton", "line starts", "openings"), (0.03, 4))}
"""Group of features -> (share of answers, number of sources) that have to use a feature: topics are not common to sources."""
DIMENSIONS = 400
SOURCE_SHRINKAGE = 3.0
"""How much directions in which sources differ count against a feature: 1 to 30 did the same on a first half of the trials."""
INVERSE_PENALTY = 1e-3
"""scikit-learn's C; 1e-4 to 1e-3 named families alike on sources left out, 1e-2 and more worse."""
INNER = ("alpaca_eval", "arena_hard", "misguided_attention", "m_ifeval", "wildbench", "fofo")
"""Groups of sources that are left out in turn to calibrate; each holds a listed family and free text (zeroeval forces JSON, and
`style.read` refuses that; xstest holds refusals of three models)."""
CALIBRATED_LANGUAGES = {"english": ("en",), "korean": ("ko",)}
LISTED_WRONG = 0.01
"""Of endpoints that are given a family, so many may be of another listed one: a third of the target, because sources differ."""
FOREIGN_SHARE = 0.02
"""Share of endpoints of unlisted families that may be given one family: the target is 0.1 for four."""
LEAST_THRESHOLD = 0.5
NEVER = 2.0
NOVEL_SHARE = 0.01


@dataclass(frozen=True, slots=True)
class _Space:
    """Pooled training audits in the leading dimensions."""

    selected: npt.NDArray[np.int32]
    centre: Floats
    scale: Floats
    axes: Floats
    """(selected, dimensions)"""

    def project(self, table: Table, draws: Draws) -> Floats:
        pooled = draws.pooled(table, self.selected)
        return np.asarray(((pooled - self.centre) / self.scale) @ self.axes)


@dataclass(frozen=True, slots=True)
class Scored:
    """Log odds of audits of one size on sources that the classifier had not seen."""

    odds: Floats
    rows: npt.NDArray[np.intp]
    """(audits,) one row of the table each, which bears the labels."""


def fit(table: Table, mask: Mask, seed: int) -> Model:
    """A model from the answers in `mask`; nothing else is looked at."""
    rng = np.random.default_rng(seed)
    mask = mask & np.isin(table.kind, ("raw", "finetune"))
    training = draw(table, list(table.endpoints(mask & (table.family != "")).values()), TRAINING_SIZE, TRAINING_DRAWS, rng)
    space = _space(table, mask, training, seed)
    projected, first = space.project(table, training), training.rows[:, 0]
    weights, bias = _classifier(table, projected, first)
    held = {size: _held_out(table, mask, space, projected, first, size, rng) for size in SIZES}
    calibration = np.stack([_calibration(table, held[size]) for size in SIZES], axis=1)
    limits = np.stack([_thresholds(table, held[size], size, calibration) for size in SIZES], axis=-1)
    novelty = np.array([_novelty(table, mask, space, size, rng) for size in SIZES])
    arrays = (space.centre, space.scale, space.axes @ weights, bias, calibration, limits, novelty)
    return Model(space.selected, *(np.asarray(array, np.float32) for array in arrays))


def long_enough(table: Table, audits: Draws) -> Draws:
    """The audits that `style.read` does not refuse for the shortness of their answers."""
    return Draws(audits.rows[table.characters[audits.rows].mean(axis=1) >= LEAST_MEAN_CHARACTERS])


def mix(table: Table, rows: npt.NDArray[np.intp]) -> Floats:
    """Weights of audits: sources weigh the same, in each the four listed families and all unlisted ones together, in each its models."""
    category = np.where(np.isin(table.family[rows], LISTED), table.family[rows], "unlisted")
    return balanced(table.source[rows], category, table.model[rows])


def _space(table: Table, mask: Mask, training: Draws, seed: int) -> _Space:
    selected = _selected(table, mask)
    pooled = training.pooled(table, selected)
    centre, scale = pooled.mean(axis=0), pooled.std(axis=0) + 1e-6
    pooled -= centre
    pooled /= scale
    even = np.sqrt(balanced(table.source[training.rows[:, 0]]) * len(pooled)).astype(np.float32)
    _, _, axes = randomized_svd(pooled * even[:, None], min(DIMENSIONS, len(pooled) - 1), n_iter=2, random_state=seed)
    return _Space(selected, centre, scale, axes.T)


def _selected(table: Table, mask: Mask) -> npt.NDArray[np.int32]:
    """Features that are common in several sources, and all layout counts."""
    sources = sorted(set(table.source[mask]))
    use = np.zeros((len(sources), feature_count()), np.float32)
    for place, source in enumerate(sources):
        rows = np.flatnonzero(mask & (table.source == source))
        use[place] = np.bincount(table.values[rows].indices, minlength=feature_count()) / len(rows)
    kept = [layout_features()]
    for name, (share, count) in COMMON.items():
        among = group_features(name)
        kept.append(among[(use[:, among] >= share).sum(axis=0) >= min(count, len(sources))])
    return np.sort(np.concatenate(kept)).astype(np.int32)


def _classifier(table: Table, projected: Floats, first: npt.NDArray[np.intp]) -> tuple[Floats, Floats]:
    """(dimensions, classes) weights and (classes,) bias: logistic regression on contrasts inside sources."""
    domain = np.char.add(np.char.add(table.source[first], "/"), table.language[first])
    family = table.family[first]
    centres = {name: _domain_centre(projected, domain == name, family, table.kind[first] == "raw") for name in sorted(set(domain))}
    middle = np.mean(list(centres.values()), axis=0)
    contrast = projected - np.array([centres[name] for name in domain])
    shifts = np.array(list(centres.values())) - middle
    spread = np.mean(contrast.var(axis=0))
    values, vectors = np.linalg.eigh(np.eye(len(middle)) * spread + SOURCE_SHRINKAGE * shifts.T @ shifts / len(shifts))
    whiten = vectors / np.sqrt(values)
    manner = table.manner[first]
    share = balanced(manner, domain, table.weights[first])
    model = LogisticRegression(C=INVERSE_PENALTY, max_iter=200).fit(contrast @ whiten, manner, sample_weight=share * len(share))
    place = [list(model.classes_).index(name) if name in model.classes_ else None for name in CLASSES]
    weights = np.stack([np.zeros(len(middle)) if at is None else whiten @ model.coef_[at] for at in place], axis=1)
    bias = np.array([-30.0 if at is None else model.intercept_[at] for at in place])
    return weights, bias - middle @ weights


def _domain_centre(projected: Floats, here: Mask, family: Names, raw: Mask) -> Floats:
    """Mean over families, so that a source's own selection of models does not move it."""
    used = here & raw if (here & raw).any() else here
    return np.asarray(np.mean([projected[used & (family == name)].mean(axis=0) for name in sorted(set(family[used]))], axis=0))


def _held_out(
    table: Table, mask: Mask, space: _Space, projected: Floats, first: npt.NDArray[np.intp], size: int, rng: np.random.Generator
) -> Scored:
    """Every inner group scored by a classifier that was fitted without it."""
    odds, rows = [], []
    spoken = [code for codes in CALIBRATED_LANGUAGES.values() for code in codes]
    for group in INNER:
        here = mask & (table.group == group) & (table.family != "") & (table.kind == "raw") & np.isin(table.language, spoken)
        audits = long_enough(table, draw(table, list(table.endpoints(here).values()), size, CALIBRATION_DRAWS, rng))
        if len(audits.rows):
            others = table.group[first] != group
            weights, bias = _classifier(table, projected[others], first[others])
            odds.append(log_odds(space.project(table, audits) @ weights + bias))
            rows.append(audits.rows[:, 0])
    return Scored(np.concatenate(odds), np.concatenate(rows))


def _calibration(table: Table, held: Scored) -> Floats:
    """(FAMILIES, 2) intercept and slope of each family's log odds (Platt 1999), the slope never negative."""
    lines = []
    weights = mix(table, held.rows) * len(held.rows)
    for place, name in enumerate(FAMILIES):
        right = table.family[held.rows] == name
        if not right.any():
            lines.append((-10.0, 0.0))
            continue
        line = LogisticRegression(C=1e3).fit(held.odds[:, [place]], right, sample_weight=weights)
        lines.append((float(line.intercept_[0]), max(float(line.coef_[0, 0]), 0.0)))
    return np.array(lines)


def _thresholds(table: Table, held: Scored, size: int, calibration: Floats) -> Floats:
    """(LANGUAGES, FAMILIES): the lowest probability from which no more than LISTED_WRONG and FOREIGN_SHARE go wrong.

    Only listed families are ever named."""
    probability = calibrated(held.odds, size, calibration)
    best = probability[:, : len(FAMILIES)].argmax(axis=1)
    limits = np.full((len(LANGUAGES), len(FAMILIES)), NEVER)
    for row, codes in enumerate(CALIBRATED_LANGUAGES.values()):
        spoken = np.isin(table.language[held.rows], codes)
        for place, name in enumerate(LISTED):
            here = spoken & (best == place)
            if here.any():
                weights = mix(table, held.rows[spoken])
                limits[row, place] = _threshold(table, held.rows[spoken], probability[spoken, place], here[spoken], weights, name)
    limits[1] = np.maximum(limits[1], limits[0])  # few Korean sources: never bolder than in English
    return limits


def _threshold(table: Table, rows: npt.NDArray[np.intp], value: Floats, said: Mask, weights: Floats, name: str) -> float:
    right = table.family[rows] == name
    unlisted = ~np.isin(table.family[rows], LISTED) & ~right
    order = np.flatnonzero(said)[np.argsort(-value[said], kind="stable")]
    given = np.cumsum(weights[order])
    rivals, strangers = (np.cumsum(np.where(mask[order], weights[order], 0)) for mask in (~right & ~unlisted, unlisted))
    good = (rivals / given <= LISTED_WRONG) & (value[order] >= LEAST_THRESHOLD)
    good &= strangers / max(float(weights[unlisted].sum()), 1e-12) <= FOREIGN_SHARE
    return float(value[order][np.flatnonzero(good)[-1]]) if good.any() else NEVER


def _novelty(table: Table, mask: Mask, space: _Space, size: int, rng: np.random.Generator) -> float:
    """Mean squared standardised feature that NOVEL_SHARE of audits exceed, the most lenient of the sources."""
    limits = []
    for source in sorted(set(table.source[mask])):
        here = mask & (table.source == source) & np.isin(table.language, ("en", "ko"))
        audits = draw(table, list(table.endpoints(here).values()), size, 2, rng)
        if len(audits.rows) >= 20:
            standard = (audits.pooled(table, space.selected) - space.centre) / space.scale
            limits.append(float(np.quantile(np.mean(standard**2, axis=1), 1 - NOVEL_SHARE)))
    return max(limits)
