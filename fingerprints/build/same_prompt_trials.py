"""Draws audits from recorded answers: some answers of one model to a few questions, compared with references that lack those very answers.

Shared by the fit of the constants and by the benchmark. Takes a corpus, gives `Pooled` audits of genuine models, of versions that the
references lack and of families that they lack. Nothing is fitted here.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fingerprints.build.same_prompt_style import hash_id, read_corpus, weights_class
from fingerprints.same_prompt_decide import Constants, Pooled, combined, together
from fingerprints.same_prompt_features import LEAST_CHARACTERS, PREFIX_CHARACTERS, traits
from fingerprints.same_prompt_references import Floats, Integers, Near, References, Rows, near, prepare

Mask = npt.NDArray[np.bool_]
SAMPLES = 3
"""Of one model's answers to one question, at most this many take their turn under test."""
_BATCH = 500


@dataclass(frozen=True, slots=True)
class Table:
    """Recorded answers of one corpus as sketches, and whose they are."""

    rows: Rows
    rank: Integers
    """Which of its model's answers to its question a row is."""
    questions: tuple[str, ...]
    models: tuple[str, ...]
    classes: tuple[str, ...]
    """Per model: the name of its weights."""
    families: tuple[str, ...]

    def of_class(self, name: str) -> Mask:
        """Rows of the models with these weights."""
        return np.array([each == name for each in self.classes])[self.rows.model]

    def of_family(self, name: str) -> Mask:
        """Rows of this family."""
        return np.array([each == name for each in self.families])[self.rows.model]


@dataclass(frozen=True, slots=True)
class Compared:
    """Answers under test against references, before anything is pooled; first axis over answers."""

    row: Integers
    z_scores: Floats
    """(answers, 4, models)"""
    cosine: Floats
    style: Floats
    references: References

    def scores(self, constants: Constants) -> Floats:
        """(answers, models, 3) combined scores."""
        average, regressed, manner, habit = self.z_scores.transpose(1, 0, 2)
        one = Near(average, regressed, manner, habit, self.cosine)
        return combined(one, self.style, self.references, constants)

    def pooled(self, chosen: Integers, scores: Floats) -> Pooled:
        """The audit that consists of the answers `chosen` (positions)."""
        return together(scores[chosen], self.cosine[chosen], self.style[chosen], self.references)


def read_table(
    data: Path,
    corpus: str,
    dimensions: int,
    project: Callable[[Floats], Floats],
    keep: Callable[[dict[str, Any]], bool] = lambda record: True,
    name: Callable[[dict[str, Any]], str] = lambda record: str(record["model"]),
    characters: int = PREFIX_CHARACTERS,
) -> Table:
    """The answers of a corpus that are long enough. Raises FileNotFoundError."""
    records = [r for r in read_corpus(data, corpus) if len(str(r["response"]).strip()) >= LEAST_CHARACTERS and keep(r)]
    content, style = [], []
    for start in range(0, len(records), _BATCH):
        found = traits([str(record["response"]) for record in records[start : start + _BATCH]], dimensions, characters)
        content.append(found.content)
        style.append(project(found.style))
    models = sorted({name(record) for record in records})
    questions = sorted({hash_id(record) for record in records})
    described = {name(record): (weights_class(record), str(record.get("family"))) for record in records}
    seen: Counter[tuple[str, str]] = Counter()
    rank = []
    for record in records:
        key = (name(record), hash_id(record))
        rank.append(seen[key])
        seen[key] += 1
    position = {question: index for index, question in enumerate(questions)}
    place = {model: index for index, model in enumerate(models)}
    rows = Rows(
        np.concatenate(content),
        np.concatenate(style),
        np.array([position[hash_id(record)] for record in records]),
        np.array([place[name(record)] for record in records]),
    )
    classes, families = zip(*(described[model] for model in models), strict=True)
    return Table(rows, np.array(rank), tuple(questions), tuple(models), classes, families)


def compare(table: Table, reference: Mask, suspect: Mask) -> Compared:
    """Answers of the rows `suspect` against references from the rows `reference`."""
    asked = np.unique(table.rows.question[suspect])
    references = prepare(table.rows.kept(reference), len(table.questions), table.families)  # profiles rest on all questions
    rows, z_scores, cosines, styles = [], [], [], []
    for question in asked:
        ready = references.questions[question]
        index = np.flatnonzero(suspect & (table.rows.question == question))
        if ready is None or not len(index):
            continue
        found = near(references, int(question), table.rows.content[index], table.rows.style[index])
        rows.append(index)
        z_scores.append(np.stack([found.average, found.regressed, found.manner, found.habit], axis=1))
        cosines.append(found.cosine)
        styles.append(table.rows.style[index] - ready.style_centre)
    if not rows:
        models, dimensions = len(table.models), table.rows.style.shape[1]
        return Compared(np.zeros(0, int), np.zeros((0, 4, models)), np.zeros((0, models)), np.zeros((0, dimensions)), references)
    return Compared(np.concatenate(rows), np.concatenate(z_scores), np.concatenate(cosines), np.concatenate(styles), references)


def known_comparisons(table: Table) -> Iterator[Compared]:
    """Each answer of rank 0, 1, … against the answers of other ranks: genuine models, their own other answers among the references."""
    cell = table.rows.question * len(table.models) + table.rows.model
    repeated = np.bincount(cell)[cell] > 1
    for rank in range(min(SAMPLES, int(table.rank.max()) + 1)):
        yield compare(table, table.rank != rank, repeated & (table.rank == rank))


def unseen_versions(table: Table) -> Iterator[Compared]:
    """Per class of weights that is not its family's only one: its answers against references without it."""
    for name in sorted(set(table.classes)):
        family = table.families[table.classes.index(name)]
        if len({c for c, f in zip(table.classes, table.families, strict=True) if f == family}) > 1:
            mine = table.of_class(name)
            yield compare(table, ~mine, mine & (table.rank < SAMPLES))


def other_settings(table: Table) -> Iterator[Compared]:
    """Per model whose weights another one shares: its answers against references without it, its twin among them."""
    for place, name in enumerate(table.classes):
        if table.classes.count(name) > 1:
            mine = table.rows.model == place
            yield compare(table, ~mine, mine & (table.rank < SAMPLES))


def unseen_families(table: Table) -> Iterator[Compared]:
    """Per family: its answers against references without it."""
    for family in sorted(set(table.families)):
        mine = table.of_family(family)
        yield compare(table, ~mine, mine & (table.rank < SAMPLES))


def draw(
    table: Table, compared: Compared, sizes: Sequence[int], draws: int, rng: np.random.Generator, questions: Mask | None = None
) -> Iterator[tuple[int, int, Integers]]:
    """(model, answers, positions in `compared`): audits of one answer each to as many questions, `draws` per model and number."""
    question, model, rank = (values[compared.row] for values in (table.rows.question, table.rows.model, table.rank))
    allowed = np.ones(len(question), bool) if questions is None else questions[question]
    for one in np.unique(model[allowed]):
        for size in sizes:
            for each in range(draws):
                ranks = rank[allowed & (model == one)]
                turn = np.unique(ranks)[each % len(np.unique(ranks))]
                candidates = np.flatnonzero(allowed & (model == one) & (rank == turn))
                if len(candidates) >= size:
                    yield int(one), size, rng.choice(candidates, size, replace=False)


def macro(hits: Sequence[tuple[str, float]]) -> float:
    """Mean over groups of each group's mean."""
    groups: dict[str, list[float]] = {}
    for group, hit in hits:
        groups.setdefault(group, []).append(hit)
    return math.fsum(math.fsum(values) / len(values) for values in groups.values()) / max(len(groups), 1)
