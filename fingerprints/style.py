"""Which family wrote these answers, from style alone: no reference answers to the same questions are needed.

Takes the raw answers of one endpoint, pools them before anything is decided (summed log-probabilities of single answers are confidently
wrong), and gives calibrated probabilities with an explicit unknown. It abstains where the answers are few, short, in a language or a
manner that the fit has not seen: style attributes, it must never accuse.
"""

from __future__ import annotations

import io
import json
import math
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt

from fingerprints.questions import Question, text_digest
from fingerprints.scored import UNKNOWN
from fingerprints.style_features import LEAST_CHARACTERS, Language, features, language

Floats = npt.NDArray[np.floating[Any]]

FAMILIES = ("claude", "gpt", "llama", "google", "qwen", "mistral", "deepseek")
"""GPT is 4, 4o and later; Llama is 3 and later; Google is Gemini and Gemma."""
CLASSES = (
    *("claude", "gpt/early", "gpt/turbo", "gpt/4o", "gpt/4.1", "gpt/reasoning"),
    *("llama", "google", "qwen", "mistral", "deepseek", "other"),
)
"""What the classifier tells apart: GPT is several manners of writing, and one class for all of them named it half as often."""
LISTED = ("claude", "gpt", "llama", "google")
CATALOG = {
    "claude": ("claude-1", "claude-2", "claude-3", "claude-4", "claude-4.7", "claude-5"),
    "gpt": ("gpt-4", "gpt-4o", "gpt-4.1", "gpt-4.5", "gpt-5", "gpt-6", "gpt-oss", "o1", "o3", "o4-mini"),
    "llama": ("llama-3", "llama-4"),
    "google": ("gemini", "gemini-1", "gemma"),
    "qwen": ("qwen",),
    "mistral": ("mistral",),
    "deepseek": ("deepseek",),
}
"""Family -> the catalog's families of it."""
LANGUAGES: tuple[Language, ...] = ("english", "korean")
SIZES = (1, 5, 10, 20)
"""Numbers of answers for which log odds are calibrated; between two of them the logarithm of the number is interpolated."""
LEAST_MEAN_CHARACTERS = 150
"""Mean length of the answers below which there is too little style: lists of words and labels."""
BOUND = math.log(30.0)
"""Largest log-likelihood ratio against the unknown: about 300 endpoints of 8 sources calibrate it, too few to show rarer errors."""
_FLOOR = 1e-3


@dataclass(frozen=True, slots=True)
class Model:
    """The fitted numbers of data/style.npz."""

    selected: npt.NDArray[np.int32]
    """(selected,) indices of features of `style_features.features`."""
    centre: Floats
    """(selected,) mean of pooled training endpoints."""
    scale: Floats
    """(selected,) their standard deviation."""
    weights: Floats
    """(selected, CLASSES) linear classifier on standardised pooled features."""
    bias: Floats
    """(CLASSES,)"""
    calibration: Floats
    """(FAMILIES, SIZES, 2) intercept and slope from log odds to calibrated log odds."""
    thresholds: Floats
    """(LANGUAGES, FAMILIES, SIZES) probability from which a family is named; above 1 it never is."""
    novelty: Floats
    """(SIZES,) mean squared standardised feature above which answers are like nothing in the fit."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the style of some answers says."""

    family: str | None
    """The family that is named; None where the reading abstains."""
    posterior: Mapping[str, float]
    """Family -> calibrated probability, and UNKNOWN; sums to 1. Empty where nothing can be said."""
    log_likelihood: Mapping[str, float]
    """Family -> log-likelihood ratio against UNKNOWN (which is 0), within ±BOUND. Empty where nothing can be said."""
    answers: int
    """Answers long enough to be read."""
    why_not: str | None
    """One line, set where no family is named."""


def read(answers: Sequence[str], model: Model | None = None) -> Reading:
    """Read raw answers of one endpoint to different questions: those in the language of most of them. Never raises on any text."""
    long = [answer for answer in answers if len(answer.strip()) >= LEAST_CHARACTERS]
    if not long:
        return Reading(None, {}, {}, 0, "no answer is long enough to show a style")
    free = [(language(answer), answer) for answer in long if free_text(answer)]
    if 2 * len(free) <= len(long):
        return Reading(None, {}, {}, len(free), "most answers are data rather than text; ask for free text")
    spoken = Counter(each for each, _ in free).most_common(1)[0][0]
    used = [answer for each, answer in free if each == spoken]
    if (mean := sum(len(answer.strip()) for answer in used) / len(used)) < LEAST_MEAN_CHARACTERS:
        return Reading(None, {}, {}, len(used), f"answers of {mean:.0f} characters on average are too short; ask for free text")
    if spoken not in LANGUAGES:
        return Reading(None, {}, {}, len(used), "style is calibrated for English and Korean answers only")
    return judge(pooled(used, model or shipped())[None], len(used), spoken, model or shipped())[0]


def free_text(answer: str) -> bool:
    """Whether an answer is text rather than a JSON document, in which a model's habits hardly show."""
    return not answer.lstrip().startswith(("{", "[", "```json"))


def pooled(answers: Sequence[str], model: Model) -> Floats:
    """(selected,) mean of the selected features over answers."""
    return np.asarray(np.mean([features(answer)[model.selected] for answer in answers], axis=0))


def judge(rows: Floats, answers: int, spoken: Language, model: Model) -> list[Reading]:
    """Readings of (endpoints, selected) pooled features, each of so many answers in that language."""
    standard = standardised(rows, model)
    probability = calibrated(log_odds(standard @ model.weights + model.bias), answers, model.calibration)
    limits = _at(model.thresholds[LANGUAGES.index(spoken)], answers)
    far = np.mean(standard**2, axis=1) > float(_at(model.novelty, answers))
    return [_reading(one, limits, answers, bool(novel)) for one, novel in zip(probability, far, strict=True)]


def standardised(rows: Floats, model: Model) -> Floats:
    """Pooled features in standard deviations of the training endpoints."""
    return np.asarray((rows - model.centre) / model.scale)


def log_odds(logits: Floats) -> Floats:
    """(rows, FAMILIES): each family against all other classes together, from (rows, CLASSES) logits."""
    logits = np.asarray(logits, np.float64)
    shares = np.exp(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))
    owner = np.array([name.partition("/")[0] for name in CLASSES])
    summed = np.stack([shares[:, owner == name].sum(axis=1) for name in FAMILIES], axis=1)
    summed = np.clip(summed, 1e-9, 1 - 1e-9)
    return np.asarray(np.log(summed / (1 - summed)))


def calibrated(odds: Floats, answers: int, calibration: Floats) -> Floats:
    """(rows, FAMILIES + 1) probabilities, the unknown last, from raw log odds of that many pooled answers."""
    line = _at(np.moveaxis(calibration, 1, 2), answers)
    each = 1 / (1 + np.exp(-np.clip(line[:, 0] + line[:, 1] * odds, -30, 30)))
    total = each.sum(axis=1, keepdims=True)
    each = each * np.minimum(1.0, (1 - _FLOOR) / np.maximum(total, 1e-12))
    return np.hstack([each, 1 - each.sum(axis=1, keepdims=True)])


def _at(values: Floats, answers: int) -> Floats:
    """`values` (…, SIZES) at a number of answers."""
    place = float(np.interp(math.log(answers), np.log(SIZES), np.arange(len(SIZES))))
    low = min(int(place), len(SIZES) - 2)
    return np.asarray(values[..., low] * (low + 1 - place) + values[..., low + 1] * (place - low))


def _reading(probability: Floats, limits: Floats, answers: int, novel: bool) -> Reading:
    posterior = {name: float(value) for name, value in zip((*FAMILIES, UNKNOWN), probability, strict=True)}
    prior = 1 / (len(LISTED) + 1)
    unknown = math.log(posterior[UNKNOWN] / prior)
    ratio = {name: math.log(max(posterior[name], _FLOOR) / prior) - unknown for name in FAMILIES}
    bounded = {name: min(max(value, -BOUND), BOUND) for name, value in ratio.items()} | {UNKNOWN: 0.0}
    best = int(np.argmax(probability[:-1]))
    if novel:
        return Reading(None, {}, {}, answers, "the answers are written unlike anything that the style model was fitted on")
    if probability[best] < limits[best]:
        likeliest = f"{FAMILIES[best]} ({probability[best]:.2f})"
        return Reading(None, posterior, bounded, answers, f"the style of {answers} answers names no family: at best {likeliest}")
    return Reading(FAMILIES[best], posterior, bounded, answers, None)


@cache
def shipped() -> Model:
    """The model of data/style.npz."""
    return load((files("fingerprints") / "data" / "style.npz").read_bytes())


@cache
def own_questions() -> tuple[Question, ...]:
    """Open questions of our own that ask for a few paragraphs, English and Korean; data/style_questions.toml."""
    raw = tomllib.loads((files("fingerprints") / "data" / "style_questions.toml").read_text(encoding="utf-8"))
    return tuple(
        Question(row["id"], text_digest(row["text"]), "open", row["language"], row["text"], None, raw["max_tokens"], raw["temperature"])
        for row in raw["question"]
    )


def load(data: bytes) -> Model:
    """A model from the bytes of an npz. Raises ValueError or KeyError on anything else."""
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return Model(**{name: np.array(arrays[name]) for name in Model.__dataclass_fields__})


@cache
def manifest() -> Mapping[str, Any]:
    """Sources, versions and counts of the fit, as data/style.json tells them."""
    told: dict[str, Any] = json.loads((files("fingerprints") / "data" / "style.json").read_text(encoding="utf-8"))
    return told
