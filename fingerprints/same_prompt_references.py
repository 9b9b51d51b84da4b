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


@dataclass(frozen=True, slots=True)
class References:
    """Everything known of a set of models' answers to a set of questions."""

    questions: tuple[QuestionReferences | None, ...]
    """None where fewer than LEAST_MODELS models answered."""
    profiles: Floats
    """(M, style dimensions): mean style relative to each question's centre; NaN without any row."""
    profile_rows: Floats
    """(M,) answers that each profile rests on."""


def prepare(rows: Rows, questions: int, families: Sequence[str]) -> References:
    """References from `rows`; `families[m]` is the family of model m."""
    by_question = [np.flatnonzero(rows.question == question) for question in range(questions)]
    prepared = tuple(_question(rows, index, families) for index in by_question)
    total = np.zeros((len(families), rows.style.shape[1]))
    count = np.zeros(len(families))
    for index, one in zip(by_question, prepared, strict=True):
        if one is not None:
            np.add.at(total, rows.model[index], rows.style[index] - one.style_centre)
            np.add.at(count, rows.model[index], 1)
    with np.errstate(invalid="ignore"):
        return References(prepared, (total / np.where(count, count, np.nan)[:, None]).astype(np.float32), count.astype(np.float32))


def near(references: QuestionReferences, content: Floats, style: Floats) -> Near:
    """Nearness of answers (rows of `content` and `style`) to every model. Shapes as `Rows`."""
    kernel = _unit(content - references.content_centre) @ references.directions.T
    average = kernel @ references.averaging
    distance = ((style - references.style_centre)[:, None, :] - references.style[None]) ** 2
    values = (average, kernel @ references.regression, -distance.mean(axis=2))
    masked = [np.where(references.present, value, np.nan).astype(np.float32) for value in values]
    cosine = (masked[0] - references.rival_mean) / references.rival_deviation
    return Near(_standard(masked[0]), _standard(masked[1]), _standard(masked[2]), cosine.astype(np.float32))


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
    return QuestionReferences(content_centre, style_centre, directions, averaging, regression, mean_style, present, mean, deviation)


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
