"""Packs of kind "answers": int8 sketches of reference answers to fixed open questions, and short open questions of our own.

Takes answers and gives a pack, or a pack and gives its rows back as numbers. No sentence of an answer can be read out of a sketch. A
stranger's pack is checked before any of its numbers is used.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt

from fingerprints.packs import Pack, PackError, PackModel
from fingerprints.questions import Question, text_digest
from fingerprints.same_prompt_decide import load
from fingerprints.same_prompt_features import CONTENT_BUCKETS, LEAST_CHARACTERS, PREFIX_CHARACTERS, traits
from fingerprints.same_prompt_references import Floats, Rows

DIMENSIONS = 512
"""Of a content sketch. At 10 answers 512 name the exact model as often as 1,024 (.98), at one answer less often (.73 against .76)."""
SPARSE_CHARACTERS = 600
"""Characters read of an answer in Korean, Chinese or Japanese, which say about twice as much each and cost about twice the tokens."""
_SPARSE_LANGUAGES = ("ko", "zh", "ja")
_FEATURES_VERSION = 1
# Steps of the int8 code: a sketch entry has a deviation of 1 / sqrt(dimensions), a style entry one of about 2.
_CONTENT_STEPS = 16.0
_STYLE_STEPS = 4.0
_BATCH = 256
_MOST_ROWS = 60_000


def build_pack(
    name: str,
    version: str,
    created: str,
    questions: Sequence[Question],
    answers: Mapping[tuple[str, str], Sequence[str]],
    models: Sequence[PackModel],
    origin: str,
    licence: str,
    expires: str | None = None,
    dimensions: int = DIMENSIONS,
) -> Pack:
    """The pack that `answers` ((question id, model name) -> texts, in any order) make. Raises PackError where nothing can be compared."""
    characters = [_characters(question) for question in questions]
    place = {model.name: index for index, model in enumerate(models)}
    texts: list[tuple[int, int, str]] = []
    for position, question in enumerate(questions):
        for model in models:
            for text in answers.get((question.id, model.name), ()):
                if len(text.strip()) >= LEAST_CHARACTERS:
                    texts.append((position, place[model.name], text))
    if not texts:
        raise PackError(f"no answer of {LEAST_CHARACTERS} characters or more: a pack of answers needs some")
    content = np.zeros((len(texts), dimensions), np.int8)
    style = np.zeros((len(texts), load()["projection"].shape[1]), np.int8)
    for start in range(0, len(texts), _BATCH):
        for length in sorted(set(characters)):
            batch = [row for row in range(start, min(start + _BATCH, len(texts))) if characters[texts[row][0]] == length]
            if batch:
                found = traits([texts[row][2] for row in batch], dimensions, length)
                content[batch] = _coded(found.content * _CONTENT_STEPS * math.sqrt(dimensions))
                style[batch] = _coded(projected(found.style) * _STYLE_STEPS)
    arrays: dict[str, npt.NDArray[Any]] = {
        "content": content,
        "style": style,
        "question": np.array([row[0] for row in texts], np.uint16),
        "model": np.array([row[1] for row in texts], np.uint16),
    }
    extra = {"dimensions": dimensions, "characters": characters, "features": _FEATURES_VERSION}
    return Pack(name, version, "answers", created, expires, origin, licence, tuple(questions), tuple(models), arrays, extra)


def read_rows(pack: Pack) -> Rows:
    """The reference rows of a pack. Raises PackError for arrays that do not fit one another, or features of another version."""
    dimensions, characters = pack.extra.get("dimensions"), pack.extra.get("characters")
    if pack.kind != "answers" or pack.extra.get("features") != _FEATURES_VERSION:
        raise PackError(f"the pack {pack.name} does not hold answers as this version of Truename reads them: build it again")
    if not isinstance(dimensions, int) or not 64 <= dimensions <= 4096 or CONTENT_BUCKETS % dimensions:
        raise PackError(f"the pack {pack.name} has sketches of a size that cannot be")
    lengths = characters if isinstance(characters, list) else []
    if len(lengths) != len(pack.questions) or not all(isinstance(each, int) and 50 <= each <= 4000 for each in lengths):
        raise PackError(f"the pack {pack.name} does not say how much of each answer was read")
    content, style = _array(pack, "content", 2, "|i1"), _array(pack, "style", 2, "|i1")
    question, model = _array(pack, "question", 1, "<u2"), _array(pack, "model", 1, "<u2")
    rows = len(content)
    if not rows == len(style) == len(question) == len(model) or rows > _MOST_ROWS:
        raise PackError(f"the pack {pack.name} has arrays of different lengths, or more than {_MOST_ROWS} answers")
    if content.shape[1] != dimensions or style.shape[1] != load()["projection"].shape[1]:
        raise PackError(f"the pack {pack.name} has sketches of another size than it says")
    if rows == 0 or question.max() >= len(pack.questions) or model.max() >= len(pack.models):
        raise PackError(f"the pack {pack.name} has answers to questions or of models that it does not name")
    return Rows(
        content.astype(np.float32) / np.float32(_CONTENT_STEPS * math.sqrt(dimensions)),
        style.astype(np.float32) / np.float32(_STYLE_STEPS),
        question.astype(np.intp),
        model.astype(np.intp),
    )


def projected(style: Floats) -> Floats:
    """Style features (answers, features) in the space of data/same_prompt.npz."""
    constants = load()
    space: Floats = style[:, constants["selected"]] @ constants["projection"].astype(np.float32)
    return space


@cache
def own_questions() -> tuple[Question, ...]:
    """Short open questions of our own, for enrolling a private endpoint; data/open_questions.toml."""
    raw = tomllib.loads((files("fingerprints") / "data" / "open_questions.toml").read_text(encoding="utf-8"))
    return tuple(
        Question(row["id"], text_digest(row["text"]), "open", row["language"], row["text"], None, raw["max_tokens"], raw["temperature"])
        for row in raw["question"]
    )


def _characters(question: Question) -> int:
    return SPARSE_CHARACTERS if question.language in _SPARSE_LANGUAGES else PREFIX_CHARACTERS


def _coded(values: Floats) -> npt.NDArray[np.int8]:
    return np.clip(np.round(values), -127, 127).astype(np.int8)


def _array(pack: Pack, name: str, dimensions: int, dtype: str) -> npt.NDArray[Any]:
    array = pack.arrays.get(name)
    if array is None or array.ndim != dimensions or array.dtype.str != dtype:
        raise PackError(f"the pack {pack.name} lacks the array {name}, or holds it in another form")
    return array
