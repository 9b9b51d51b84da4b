"""Reference answers to the same questions, ready for comparison: how near an answer lies to each model's answers to that question.

Takes sketches (of a pack, or fresh ones) and gives, for answers to one question, the similarities on which `same_prompt` decides. All are
relative to the other models' answers to that question, so that neither the topic nor the length of its answers matters. No decision is
taken here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Integers = npt.NDArray[np.intp]

LEAST_MODELS = 4
"""Models that a question needs references of: below, there is no spread to compare with."""
RIDGE = 0.5
"""Of the per-question regression, in units of a sketch's squared length: .3 to 1 did equally well on misguided_attention (one answer)."""
HABIT_SHRINKAGE = 0.1
"""Of the discriminant's covariance towards its diagonal: .02, .1 and .5 did equally well there."""
HABIT_PRIOR = 8.0
"""Answers that the common mean counts for in a model's own mean: 2 to 30 did equally well there."""
CONSISTENCY = 1.5
"""Cosine (see Near) of answers of the same model to the same question, mean over models of misguided_attention; where there are several
answers of no model to any question."""
CONSISTENCY_PRIOR = 5.0
"""Questions that the mean over models counts for in what is known of one model's consistency."""
_CONTENT_SCALE = 30.0
"""Brings a content sketch (a unit vector) to the size of the style entries (about 1)."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Reference answers, one a row."""

    content: Floats
    """(rows, dimensions) content sketches; only differences within a question matter."""
    style: Floats
    """(rows, style dimensions) in the projected space, where a model's own spread is about 1 a dimension."""
    question: Integers
    model: Integers

    def kept(self, keep: npt.NDArray[np.bool_]) -> Rows:
        """The rows where `keep` is true."""
        return Rows(self.content[keep], self.style[keep], self.question[keep], self.model[keep])


@dataclass(frozen=True, slots=True)
class Near:
    """How near some answers to one question lie to each model; (answers, models), NaN for a model without references there."""

    average: Floats
    """Mean cosine of content with the model's answers, as a z-score over models."""
    regressed: Floats
    """Kernel ridge regression of "is this model's" on content, as a z-score over models."""
    manner: Floats
    """Nearness of style to the model's style at this question, as a z-score over models."""
    habit: Floats
    """Discriminant between the models' answers to all questions, each relative to its question, as a z-score over models; known also for
    models that have no reference to this question."""
    cosine: Floats
    """Mean cosine of content, in units of how near answers of different families come to one another here: about 0 for the nearest of
    them, well above for another sample of the same model."""


@dataclass(frozen=True, slots=True)
class QuestionReferences:
    """What `near` needs of one question. Arrays over the question's reference rows (R) and all models (M)."""

    content_centre: Floats
    style_centre: Floats
    directions: Floats
    """(R, dimensions), unit rows."""
    averaging: Floats
    """(R, M)."""
    regression: Floats
    """(R, M)."""
    style: Floats
    """(M, style dimensions), NaN where absent."""
    present: npt.NDArray[np.bool_]
    rival_mean: float
    rival_deviation: float
    own: Floats
    """(M,) mean cosine of a model's answers with its other answers, in units of rivals; NaN where there are not several."""


@dataclass(frozen=True, slots=True)
class References:
    """Everything known of a set of models' answers to a set of questions."""

    questions: tuple[QuestionReferences | None, ...]
    """None where fewer than LEAST_MODELS models answered."""
    families: tuple[str, ...]
    """Of each model."""
    profiles: Floats
    """(M, style dimensions): mean style relative to each question's centre; NaN without any row."""
    profile_rows: Floats
    """(M,) answers that each profile rests on."""
    habits: Floats
    """(1 + content + style dimensions, M): the discriminant, its offsets first; NaN without any row."""
    consistency: Floats
    """(M,) cosine (see Near) that a model's further answers are expected to show with its references."""


def prepare(rows: Rows, questions: int, families: Sequence[str]) -> References:
    """References from `rows`; `families[m]` is the family of model m."""
    by_question = [np.flatnonzero(rows.question == question) for question in range(questions)]
    prepared = tuple(_question(rows, index, families) for index in by_question)
    content, style = np.zeros_like(rows.content), np.zeros_like(rows.style)
    comparable = np.zeros(len(rows.model), bool)
    for index, one in zip(by_question, prepared, strict=True):
        if one is not None:
            content[index], style[index] = rows.content[index] - one.content_centre, rows.style[index] - one.style_centre
            comparable[index] = True
    model, content, style = rows.model[comparable], content[comparable], style[comparable]
    count = np.bincount(model, minlength=len(families)).astype(np.float32)
    profiles = _means(style, model, count)
    habits = _habits(np.hstack([content * _CONTENT_SCALE, style]), model, count)
    own = [one.own for one in prepared if one is not None]
    return References(prepared, tuple(families), profiles, count, habits, _consistency(np.array(own).reshape(-1, len(families))))


def near(references: References, question: int, content: Floats, style: Floats) -> Near:
    """Nearness of answers to one question (rows of `content` and `style`) to every model. Shapes as `Rows`.

    Raises ValueError for a question whose references are None."""
    ready = references.questions[question]
    if ready is None:
        raise ValueError(f"question {question} has too few references")
    content_apart, style_apart = content - ready.content_centre, style - ready.style_centre
    kernel = _unit(content_apart) @ ready.directions.T
    average = kernel @ ready.averaging
    distance = (style_apart[:, None, :] - ready.style[None]) ** 2
    values = (average, kernel @ ready.regression, -distance.mean(axis=2))
    masked = [np.where(ready.present, value, np.nan).astype(np.float32) for value in values]
    habit = np.hstack([content_apart * _CONTENT_SCALE, style_apart]) @ references.habits[1:] + references.habits[0]
    cosine = (masked[0] - ready.rival_mean) / ready.rival_deviation
    return Near(_standard(masked[0]), _standard(masked[1]), _standard(masked[2]), _standard(habit), cosine.astype(np.float32))


def _means(values: Floats, model: Integers, count: Floats) -> Floats:
    total = np.zeros((len(count), values.shape[1]), np.float32)
    np.add.at(total, model, values)
    means: Floats = total / np.where(count, count, np.nan)[:, None]
    return means


def _consistency(own: Floats) -> Floats:
    """See References; `own` has a row a question."""
    known = np.isfinite(own)
    usual = float(own[known].mean()) if known.any() else CONSISTENCY
    summed = np.where(known, own, 0).sum(axis=0) + CONSISTENCY_PRIOR * usual
    return np.asarray(summed / (known.sum(axis=0) + CONSISTENCY_PRIOR), np.float32)


def _habits(values: Floats, model: Integers, count: Floats) -> Floats:
    """Linear discriminant (Fisher) with models as classes; `values` are answers relative to their questions."""
    if not len(values):
        return np.full((1 + values.shape[1], len(count)), np.nan, np.float32)
    means = _means(values, model, count)
    apart = values - means[model]
    scatter = (apart.T @ apart).astype(np.float64) / max(len(values) - int((count > 0).sum()), 1)
    diagonal = np.diag(scatter)
    scatter = (1 - HABIT_SHRINKAGE) * scatter + np.diag(HABIT_SHRINKAGE * diagonal + 1e-3 * diagonal.mean() + 1e-6)
    shrunk = np.nan_to_num(means) * (count / (count + HABIT_PRIOR))[:, None]
    directions = np.linalg.solve(scatter, shrunk.T)
    habits = np.vstack([-(shrunk * directions.T).sum(axis=1) / 2, directions]).astype(np.float32)
    habits[:, count == 0] = np.nan
    return habits


def _question(rows: Rows, index: Integers, families: Sequence[str]) -> QuestionReferences | None:
    models = rows.model[index]
    per_model = np.bincount(models, minlength=len(families)).astype(np.float32)
    present = per_model > 0
    if present.sum() < LEAST_MODELS:
        return None
    weights = 1 / per_model[models]  # every model counts once, however many samples it has
    content, style = rows.content[index], rows.style[index]
    content_centre = np.average(content, axis=0, weights=weights).astype(np.float32)
    style_centre = np.average(style, axis=0, weights=weights).astype(np.float32)
    directions = _unit(content - content_centre)
    averaging = np.zeros((len(index), len(families)), np.float32)
    averaging[np.arange(len(index)), models] = weights
    kernel = directions @ directions.T
    regression = np.linalg.solve(kernel.astype(np.float64) + RIDGE * np.eye(len(index)), averaging).astype(np.float32)
    mean_style = np.full((len(families), style.shape[1]), np.nan, np.float32)
    mean_style[present] = (averaging.T @ (style - style_centre))[present]
    mean, deviation = _rivals(kernel @ averaging, models, present, families)
    own = (_own(kernel, models, per_model) - mean) / deviation
    return QuestionReferences(content_centre, style_centre, directions, averaging, regression, mean_style, present, mean, deviation, own)


def _own(kernel: Floats, models: Integers, per_model: Floats) -> Floats:
    """(M,) mean of `kernel` over pairs of different answers of the same model; NaN where there are none."""
    pairs = np.where(models[:, None] == models[None, :], kernel, 0) - np.diag(np.diag(kernel))
    total = np.bincount(models, weights=pairs.sum(axis=1), minlength=len(per_model))
    number = per_model * (per_model - 1)
    return np.asarray(total / np.where(number > 0, number, np.nan), np.float32)


def _rivals(similarity: Floats, models: Integers, present: npt.NDArray[np.bool_], families: Sequence[str]) -> tuple[float, float]:
    """Mean and deviation, over reference answers, of the cosine with the nearest model of another family."""
    names = np.array(families)
    other = (names[models][:, None] != names[None, :]) & present
    nearest = np.where(other, similarity, -np.inf).max(axis=1)
    nearest = nearest[np.isfinite(nearest)]
    if not len(nearest):
        return 0.0, 1.0
    return float(nearest.mean()), max(float(nearest.std()), 0.02)  # the floor keeps a question that all answer alike from dividing by 0


def _standard(values: Floats) -> Floats:
    """z-scores over the models of each answer; NaN stays NaN."""
    mean = np.nanmean(values, axis=1, keepdims=True)
    deviation = np.nanstd(values, axis=1, keepdims=True)
    standard: Floats = ((values - mean) / (deviation + 1e-6)).astype(np.float32)
    return standard


def _unit(values: Floats) -> Floats:
    unit: Floats = (values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-9)).astype(np.float32)
    return unit
