"""Fits the constants of `same_prompt_decide` on one half of the questions of misguided_attention and on setting variants elsewhere.

Takes tables of recorded answers (same_prompt_trials), gives `Constants`. The other half of the questions is never looked at here; the
SHA-256 of a question's id decides its half.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from fingerprints.build.same_prompt_trials import (
    Compared,
    Mask,
    Table,
    draw,
    known_comparisons,
    other_settings,
    unseen_families,
    unseen_versions,
)
from fingerprints.same_prompt_decide import Constants, Floats, Pooled, gaps, summed, unknown_features

SIZES = (1, 2, 3, 5, 8, 10, 14)
"""Answers per audit; half of misguided_attention has 14 to 16 questions that most models answered."""
KNOWN_SIZES, UNSEEN_SIZE = (1, 3), 3
"""Answers of the audits on which the weights are fitted: where the references hold the model, and where they hold its family only."""
DRAWS = 6
FALSE_ALARMS = 0.05
LEVELS = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01)
_RIDGE = 1e-4
"""Of the logistic regression; 1e-3 detected fewer strangers in a cross-validation by family on the developed half (.86 against .88)."""


def developed(questions: Sequence[str]) -> Mask:
    """Which questions constants may be fitted on."""
    return np.array([int(hashlib.sha256(question.encode()).hexdigest(), 16) % 2 == 0 for question in questions])


def fit(main: Table, shifted: Sequence[Table], seed: int) -> Constants:
    """Constants from `main` (several samples per question and model) and from tables whose models come in several settings."""
    rng = np.random.default_rng(seed)
    mine = developed(main.questions)
    known, versions, families = list(known_comparisons(main)), list(unseen_versions(main)), list(unseen_families(main))
    constants = Constants(
        _weights(main, known, versions, mine, rng), np.array([1.0, 0.5]), np.zeros(8), np.zeros((2, 1)), np.array(SIZES, float),
        np.array(LEVELS), np.zeros((2, len(SIZES), len(LEVELS))), np.ones((2, len(SIZES))),
    )  # fmt: skip
    genuine = _audits(main, known, constants, mine, rng)
    constants = replace(constants, temperature=_temperature(main, genuine))
    strangers = _audits(main, families, constants, mine, rng)
    constants = replace(constants, unknown=_unknown(main, genuine, strangers))
    constants = replace(constants, rejection=_rejection(main, genuine, constants))
    honest = [_gaps(main, genuine), _gaps(main, _audits(main, other_settings(main), constants, mine, rng))]
    honest += [_gaps(table, _audits(table, other_settings(table), constants, None, rng)) for table in shifted]
    return replace(constants, **_honest(honest))


Audit = tuple[int, Pooled]


def _audits(table: Table, compared: Iterable[Compared], constants: Constants, mine: Mask | None, rng: np.random.Generator) -> list[Audit]:
    """(model, pooled answers) of audits of all SIZES."""
    made = []
    for one in compared:
        if len(one.row):
            scores = one.scores(constants)
            made += [(model, one.pooled(chosen, scores)) for model, _, chosen in draw(table, one, SIZES, DRAWS, rng, mine)]
    return made


def _weights(table: Table, known: list[Compared], versions: list[Compared], mine: Mask, rng: np.random.Generator) -> Floats:
    """Conditional logit: the right class of weights where it is among the references, the right family where only that is."""
    inputs, targets = [], []
    for group, labels, sizes in ((known, table.classes, KNOWN_SIZES), (versions, table.families, (UNSEEN_SIZE,))):
        for one in group:
            parts = [one.scores(_unit_constants(place)) for place in range(5)] if len(one.row) else []
            for model, _, chosen in draw(table, one, sizes, DRAWS, rng, mine) if parts else ():
                inputs.append([summed(part[chosen], fading=0) for part in parts])
                targets.append([label == labels[model] for label in labels])
    return _ascend(np.array(inputs), np.array(targets))


def _unit_constants(place: int) -> Constants:
    weights = np.zeros(5)
    weights[place] = 1
    empty = np.zeros(0)
    return Constants(weights, empty, empty, empty, empty, empty, empty, empty)


def _ascend(values: Floats, right: Mask) -> Floats:
    """Maximise the mean log share of the right candidates over weights by gradient steps with backtracking."""
    scale = np.array([1.0, 1.0, 1.0, 1.0, 0.1])
    there = values[:, 0] > -500  # models without references score far below
    scaled = np.where(there[:, None], values, 0) * scale[None, :, None]
    right = right & there
    weights, step = np.full(5, 0.1), 0.1

    def loss(at: Floats) -> tuple[float, Floats]:
        logits = np.where(there, np.einsum("acm,c->am", scaled, at), -np.inf)
        total = np.logaddexp.reduce(logits, axis=1)
        hits = np.logaddexp.reduce(np.where(right, logits, -np.inf), axis=1)
        share, mine = np.exp(logits - total[:, None]), np.where(right, np.exp(logits - hits[:, None]), 0)
        return float((total - hits).mean()), np.einsum("acm,am->c", scaled, share - mine) / len(scaled)

    value, slope = loss(weights)
    for _ in range(300):
        new_value, new_slope = loss(weights - step * slope)
        if new_value < value:
            weights, value, slope, step = weights - step * slope, new_value, new_slope, step * 1.3
        else:
            step /= 2
    return np.asarray(weights * scale)


def _temperature(table: Table, genuine: list[Audit]) -> Floats:
    """(a, b) that give the genuine classes of weights the best mean log share over all sizes."""
    classes = np.array(table.classes)
    best, chosen = np.inf, (1.0, 0.5)
    for factor in np.geomspace(0.2, 3, 15):
        for exponent in np.linspace(0, 1, 11):
            loss = 0.0
            for model, pooled in genuine:
                logits = pooled.total * factor * pooled.answers**-exponent
                loss += float(np.logaddexp.reduce(logits) - np.logaddexp.reduce(logits[classes == classes[model]]))
            if loss < best:
                best, chosen = loss, (float(factor), float(exponent))
    return np.array(chosen)


def _unknown(table: Table, genuine: list[Audit], strangers: list[Audit]) -> Floats:
    """Logistic regression, both sides weighing the same, by Newton's method."""
    features = np.array([[*unknown_features(pooled, table.families), 1.0] for _, pooled in (*genuine, *strangers)])
    label = np.repeat([1.0, 0.0], [len(genuine), len(strangers)])
    share = np.where(label == 1, 0.5 / len(genuine), 0.5 / len(strangers))
    weights = np.zeros(features.shape[1])
    ridge = _RIDGE * np.eye(len(weights))
    for _ in range(30):
        probability = 1 / (1 + np.exp(-np.clip(features @ weights, -30, 30)))
        slope = features.T @ (share * (label - probability)) - ridge @ weights
        bend = (features * (share * probability * (1 - probability))[:, None]).T @ features + ridge
        weights += np.linalg.solve(bend, slope)
    return weights


def _rejection(table: Table, genuine: list[Audit], constants: Constants) -> Floats:
    """Log odds that FALSE_ALARMS of genuine audits of each size fall below."""
    odds = {size: [] for size in SIZES}  # type: dict[int, list[float]]
    for _, pooled in genuine:
        odds[pooled.answers].append(float(unknown_features(pooled, table.families) @ constants.unknown[:-1] + constants.unknown[-1]))
    return np.array([SIZES, [np.quantile(odds[size], FALSE_ALARMS) for size in SIZES]])


def _gaps(table: Table, audits: list[Audit]) -> list[tuple[int, float, float]]:
    """(answers, gap to other weights, gap to other families) of honest audits, whose claim is their own class of weights."""
    rows = []
    for model, pooled in audits:
        claimed = [place for place, name in enumerate(table.classes) if name == table.classes[model] and np.isfinite(pooled.cosine[place])]
        if claimed:
            rows.append((pooled.answers, *gaps(pooled, claimed, table.families, table.classes)))
    return rows


def _honest(groups: list[list[tuple[int, float, float]]]) -> dict[str, Floats]:
    """Quantiles and tails of the gaps, every group weighing the same."""
    quantiles = np.zeros((2, len(SIZES), len(LEVELS)))
    tails = np.ones((2, len(SIZES)))
    for which in (0, 1):
        for place, size in enumerate(SIZES):
            parts = [np.array([row[1 + which] for row in group if row[0] == size]) for group in groups]
            parts = [part for part in parts if len(part)]
            drawn = np.sort(np.concatenate([np.resize(part, max(map(len, parts))) for part in parts]))
            quantiles[which, place] = np.quantile(drawn, [1 - level for level in LEVELS])
            beyond = drawn[drawn > quantiles[which, place, -2]] - quantiles[which, place, -2]
            tails[which, place] = max(float(beyond.mean()), 0.05)
    return {"honest_quantiles": quantiles, "honest_tails": tails}
