"""Fits the projection from style features to the style space in which models differ most, on recorded answers of many models.

Takes corpora (never misguided_attention, on which the rest is developed) and gives indices of features and a matrix. A linear
discriminant analysis with models as classes, after each question's mean was taken away; numpy alone.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fingerprints.same_prompt_features import traits

Floats = npt.NDArray[np.floating[Any]]

SOURCES = {"arena_hard_en": 70, "arena_hard_ko": 70, "alpaca_eval": 70, "m_ifeval": 200, "wildbench": 150}
"""Corpus -> questions drawn from it. All state an open licence."""
SETTINGS = (
    r"[:_-](low|medium|high|max|minimal)$",
    r"[:_-]long$",
    r"[:_-](think|thinking|nothink|no-think|reasoning)$",
    r"\s*\((low|medium|high|think|thinking)\)$",
    r":(free|beta|extended)$",
)
"""Endings of names that tell settings of the same weights apart: the rule of same-weights.json beside the corpora."""
MODELS_PER_SOURCE = 90
FEATURES = 1000
DIMENSIONS = 64
FAMILY_SHARE = 0.3
"""How much of the between-class scatter is of families rather than models: unseen versions are known by what a family shares."""
SHRINKAGE = 0.1
LEAST_ANSWERS = 8
LEAST_CHARACTERS = 30


@dataclass(frozen=True, slots=True)
class _Scatter:
    centred: Floats
    model: npt.NDArray[np.intp]
    means: Floats
    counts: Floats
    families: tuple[str, ...]


def read_corpus(data: Path, name: str) -> list[dict[str, Any]]:
    """Records of one corpus. Raises FileNotFoundError."""
    with gzip.open(data / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def read_prompts(data: Path, name: str) -> dict[str, str]:
    """Prompt id -> text. Raises FileNotFoundError."""
    with gzip.open(data / f"{name}.prompts.json.gz", "rt", encoding="utf-8") as file:
        prompts: dict[str, str] = json.load(file)
    return prompts


def weights_class(record: dict[str, Any]) -> str:
    """The name of the record's model without the settings that leave its weights the same."""
    name, before = str(record.get("model_id") or record["model"]), ""
    while name != before:
        before = name
        for pattern in SETTINGS:
            name = re.sub(pattern, "", name)
    return name


def fit_style(data: Path, seed: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float16]]:
    """(FEATURES,) feature indices and (FEATURES, DIMENSIONS) matrix; a model's own spread is about 1 in each dimension."""
    scatters = [_scatter(data, name, count, seed) for name, count in SOURCES.items()]
    within = np.mean([_within_diagonal(scatter) for scatter in scatters], axis=0)
    between = np.mean([_between_diagonal(scatter, _within_diagonal(scatter)) for scatter in scatters], axis=0)
    selected = np.sort(np.argsort(-between / (within + 1e-4 * within.mean()))[:FEATURES])
    scale = 1 / np.sqrt(within[selected] + 0.05 * within[selected].mean())
    pooled_within, pooled_between = np.zeros((FEATURES, FEATURES)), np.zeros((FEATURES, FEATURES))
    for scatter in scatters:
        one_within, one_between = _scatter_matrices(scatter, selected, scale)
        pooled_within += one_within / len(scatters)
        pooled_between += one_between / len(scatters)
    pooled_within += SHRINKAGE * np.trace(pooled_within) / FEATURES * np.eye(FEATURES)
    whiten = np.linalg.inv(np.linalg.cholesky(pooled_within))
    values, vectors = np.linalg.eigh(whiten @ pooled_between @ whiten.T)
    chosen = np.argsort(-values)[:DIMENSIONS]
    matrix = scale[:, None] * (whiten.T @ vectors[:, chosen])
    return selected.astype(np.int32), matrix.astype(np.float16)


def _scatter(data: Path, name: str, questions: int, seed: int) -> _Scatter:
    """Style features of a draw of questions and models, each question's mean taken away."""
    drawn = list(_drawn(read_corpus(data, name), questions, np.random.default_rng(seed)))
    models = sorted({str(record["model"]) for record in drawn})
    family = {str(record["model"]): str(record.get("family")) for record in drawn}
    model = np.array([models.index(str(record["model"])) for record in drawn])
    asked = np.array([hash_id(record) for record in drawn])
    values = traits([str(record["response"]) for record in drawn], 256).style
    for question in np.unique(asked):
        values[asked == question] -= values[asked == question].mean(axis=0)
    counts = np.bincount(model, minlength=len(models)).astype(float)
    means = np.zeros((len(models), values.shape[1]), np.float32)
    np.add.at(means, model, values)
    return _Scatter(values, model, means / counts[:, None], counts, tuple(family[name] for name in models))


def hash_id(record: dict[str, Any]) -> str:
    """The question of a record: its id and turn."""
    return f"{record['prompt_id']}/{record['turn']}"


def _drawn(records: list[dict[str, Any]], questions: int, rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    usable = [r for r in records if len(str(r["response"])) >= LEAST_CHARACTERS and r.get("kind") in ("raw", "finetune")]
    models = sorted({str(record["model"]) for record in usable})
    asked = sorted({hash_id(record) for record in usable})
    kept_models = {models[i] for i in rng.permutation(len(models))[:MODELS_PER_SOURCE]}
    kept_questions = {asked[i] for i in rng.permutation(len(asked))[:questions]}
    candidates = [r for r in usable if str(r["model"]) in kept_models and hash_id(r) in kept_questions]
    count = {model: sum(str(r["model"]) == model for r in candidates) for model in kept_models}
    yield from (record for record in candidates if count[str(record["model"])] >= LEAST_ANSWERS)


def _within_diagonal(scatter: _Scatter) -> Floats:
    return np.asarray(((scatter.centred - scatter.means[scatter.model]) ** 2).mean(axis=0))


def _between_diagonal(scatter: _Scatter, within: Floats) -> Floats:
    return np.asarray((scatter.means**2).mean(axis=0) - within * np.mean(1 / scatter.counts))


def _scatter_matrices(scatter: _Scatter, selected: npt.NDArray[np.intp], scale: Floats) -> tuple[Floats, Floats]:
    """Within- and between-class scatter of the selected features; the means' own sampling error is taken out of the latter."""
    residual = (scatter.centred[:, selected] - scatter.means[scatter.model][:, selected]) * scale
    within = residual.T @ residual / len(residual)
    means = scatter.means[:, selected] * scale
    of_models = means.T @ means / len(means) - within * np.mean(1 / scatter.counts)
    names = np.array(scatter.families)
    family_means = np.array([means[names == family].mean(axis=0) for family in sorted(set(scatter.families))])
    of_families = family_means.T @ family_means / len(family_means)
    return within, (1 - FAMILY_SHARE) * of_models + FAMILY_SHARE * of_families
