"""Recorded answers as a table of style features with labels, and draws of several answers of one endpoint to different questions.

Takes corpora as ../shared/corpora and gives sparse rows; the texts are dropped at once. An endpoint is one model of one source in one
language and setting.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from fingerprints.build.same_prompt_style import read_corpus
from fingerprints.style import free_text
from fingerprints.style_features import LEAST_CHARACTERS, features, language

Names = npt.NDArray[np.str_]
Floats = npt.NDArray[np.floating[Any]]
Mask = npt.NDArray[np.bool_]

FITTED = {
    **{"alpaca_eval": 100, "arena_hard_en": 100, "arena_hard_ko": 90, "m_ifeval": 90, "misguided_attention": 70, "wildbench": 100},
    **{"zeroeval": 50, "fofo": 80, "xstest": 80, "llmonitor": 30, "korean_mt_bench": 160, "japanese_eval": 40},
}
"""Source -> most answers per model that are read. All state an open licence, so numbers fitted on them may ship."""
TESTED_ONLY = {"flask": 100, "divergent_words": 50, "logickor_ko": 90, "nonraw_mixtures": 100}
"""Sources without a stated licence, and the mixtures: never fitted."""
GROUPS = {"arena_hard_en": "arena_hard", "arena_hard_ko": "arena_hard", "nonraw_mixtures": "alpaca_eval"}
"""Sources that share their questions are left out together."""
SHIFTS = ("concise", "verbose")
_FAMILY = {
    "claude": "claude",
    **dict.fromkeys(("gpt-4", "gpt-4o", "gpt-4.1", "gpt-4.5", "gpt-5", "gpt-oss", "o1", "o3", "o4-mini"), "gpt"),
    **dict.fromkeys(("llama-3", "llama-3.1+", "llama-4"), "llama"),
    **dict.fromkeys(("gemini", "gemma"), "google"),
    **{name: name for name in ("qwen", "mistral", "deepseek")},
    **dict.fromkeys(("gpt-3.5", "llama-2", "palm"), ""),
}
"""A record's family -> ours; "" for ancestors of a listed family, which are neither it nor another; all others are "other"."""
_REWRITTEN = {
    **{"_claude-3": "claude", "_gpt-4": "gpt", "_qwen1.5": "qwen", "gpt4_gamed": "gpt"},
    **{"MoA:Qwen": "qwen", "SelfMoA_gemma": "google"},
}
"""Part of the name of a rewritten, gamed or self-mixed model -> the family that an attribution may name."""


_LABELS = ("source", "group", "model", "weights", "family", "manner", "lineage", "language", "prompt", "kind", "spoken")


@dataclass(frozen=True, slots=True)
class Table:
    """Answers, one row each."""

    values: sparse.csr_matrix
    """(answers, style_features.feature_count())"""
    source: Names
    group: Names
    model: Names
    """Name in the source, with the setting that changes its style."""
    weights: Names
    """Normalised name across sources."""
    family: Names
    """One of style.FAMILIES, "other", or "" for what is neither."""
    manner: Names
    """One of style.CLASSES: the family, GPT divided; "" likewise."""
    lineage: Names
    """The record's own family: "grok", "command"."""
    language: Names
    prompt: Names
    kind: Names
    """raw, finetune, shift (concise, verbose), or the kind of a mixture."""
    spoken: Names
    """What the answer is written in, as `style_features.language` sees it."""
    characters: npt.NDArray[np.intp]
    free: Mask
    """Whether it is free text (`style.free_text`)."""

    def endpoints(self, mask: Mask) -> dict[tuple[str, str, str], npt.NDArray[np.intp]]:
        """(source, model, language) -> rows."""
        rows: defaultdict[tuple[str, str, str], list[int]] = defaultdict(list)
        for row in np.flatnonzero(mask):
            rows[str(self.source[row]), str(self.model[row]), str(self.language[row])].append(int(row))
        return {key: np.array(found) for key, found in sorted(rows.items())}


@dataclass(frozen=True, slots=True)
class Draws:
    """Audits: several answers of one endpoint to different questions."""

    rows: npt.NDArray[np.intp]
    """(audits, answers) rows of the table."""

    def pooled(self, table: Table, selected: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
        """(audits, selected) mean features."""
        audits, size = self.rows.shape
        places = (np.full(audits * size, 1 / size, np.float32), (np.repeat(np.arange(audits), size), self.rows.ravel()))
        mean = sparse.csr_matrix(places, shape=(audits, table.values.shape[0])) @ table.values
        return np.asarray(mean[:, selected].toarray(), np.float32)


def family_of(record: dict[str, Any]) -> str:
    """Our family of a record: "other" for fine-tunes (a base's weights, a teacher's style), the first for a rewritten or gamed one."""
    if record.get("kind", "raw") == "raw":
        return _FAMILY.get(str(record["family"]), "other")
    if record.get("kind") == "finetune":
        return "other"
    return next((family for part, family in _REWRITTEN.items() if part in str(record["model"])), "other")


def _manner(record: dict[str, Any]) -> str:
    family, lineage, weights = family_of(record), str(record["family"]), str(record.get("model_id") or record["model"])
    if family != "gpt":
        return family
    if lineage == "gpt-4":
        return "gpt/turbo" if any(part in weights for part in ("1106", "0125", "turbo")) else "gpt/early"
    newer = {"gpt-4.1": "gpt/4.1", "gpt-4.5": "gpt/4.1", **dict.fromkeys(("o1", "o3", "o4-mini", "gpt-5", "gpt-oss"), "gpt/reasoning")}
    return newer.get(lineage, "gpt/4o")


def read_table(data: Path, sources: dict[str, int]) -> Table:
    """Features of every source that is in the folder `data`. Raises FileNotFoundError where none is."""
    blocks: list[sparse.csr_matrix] = []
    labels: list[tuple[str, ...]] = []
    characters: list[int] = []
    free: list[bool] = []
    for source in sources:
        if not (data / f"{source}.jsonl.gz").exists():
            continue
        for record in _sampled(read_corpus(data, source), sources[source]):
            blocks.append(sparse.csr_matrix(features(str(record["response"]))))
            labels.append(_labels(source, record))
            free.append(free_text(str(record["response"])))
            characters.append(len(str(record["response"]).strip()))
    if not blocks:
        raise FileNotFoundError(2, "no corpus of answers", str(data / f"{next(iter(sources))}.jsonl.gz"))
    values = sparse.vstack(blocks, format="csr", dtype=np.float32)
    named = {name: np.array(column) for name, column in zip(_LABELS, zip(*labels, strict=True), strict=True)}
    return Table(values=values, characters=np.array(characters), free=np.array(free), **named)


def _sampled(records: list[dict[str, Any]], limit: int) -> Iterator[dict[str, Any]]:
    """At most `limit` answers a model and language, the same questions for all, at most two to one question."""
    order = {id(record): hashlib.sha256(f"{record['prompt_id']}/{record.get('turn', 0)}".encode()).hexdigest() for record in records}
    taken: Counter[tuple[str, ...]] = Counter()
    for record in sorted(records, key=lambda each: order[id(each)]):
        one = (_name(record), str(record.get("lang", "en")))
        asked = (*one, f"{record['prompt_id']}/{record.get('turn', 0)}")
        if len(str(record["response"]).strip()) < LEAST_CHARACTERS or taken[one] >= limit or taken[asked] >= 2:
            continue
        taken[one] += 1
        taken[asked] += 1
        yield record


def _name(record: dict[str, Any]) -> str:
    setting = str(record.get("setting") or "")
    return str(record["model"]) + (f"/{setting}" if setting in SHIFTS else "")


def _labels(source: str, record: dict[str, Any]) -> tuple[str, ...]:
    setting = str(record.get("setting") or "")
    group = "alpaca_eval" if setting.startswith("alpaca_eval") else GROUPS.get(source, source)
    kind = "shift" if setting in SHIFTS else str(record.get("kind", "raw"))
    weights = str(record.get("model_id") or record["model"])
    names = (_name(record), weights, family_of(record), _manner(record), str(record["family"]), str(record.get("lang", "en")))
    return (source, group, *names, f"{record['prompt_id']}/{record.get('turn', 0)}", kind, language(str(record["response"])))


def balanced(*levels: Names) -> Floats:
    """Weights that sum to 1 and are even over the values of the first level, inside each over those of the next, and so on."""
    weights = np.ones(len(levels[0]))
    path = np.zeros(len(levels[0]), np.intp)
    for level in levels:
        joined = np.char.add(np.char.add(path.astype(str), "|"), level.astype(str))
        names, new_path = np.unique(joined, return_inverse=True)
        parent = np.zeros(len(names), np.intp)
        parent[new_path] = path
        weights = weights / np.bincount(parent)[parent][new_path]
        path = new_path
    weights = weights / np.bincount(path)[path]
    return np.asarray(weights / weights.sum())


def draw(table: Table, endpoints: Sequence[npt.NDArray[np.intp]], size: int, times: int, rng: np.random.Generator) -> Draws:
    """`times` audits of `size` answers of every endpoint with enough questions."""
    made: list[npt.NDArray[np.intp]] = []
    for rows in endpoints:
        asked, place = np.unique(table.prompt[rows], return_inverse=True)
        if len(asked) < size:
            continue
        by_question = [rows[place == question] for question in range(len(asked))]
        for _ in range(times):
            chosen = rng.choice(len(asked), size, replace=False)
            made.append(np.array([rng.choice(by_question[question]) for question in chosen]))
    return Draws(np.array(made, np.intp).reshape(-1, size))
