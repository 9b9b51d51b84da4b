"""Reference packs: statistics of named models' answers to fixed questions, and the digest that names a pack.

A pack is plain data that is sound once it exists: making one checks every field and raises PackError with one line. It never
ships a text that others wrote, only its digest and where it is published. Reading and writing files is fingerprints.pack_file.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from importlib import resources
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

from fingerprints.questions import Question, Source, text_digest

PackKind = Literal["choices", "answers", "knowledge"]
KINDS: tuple[PackKind, ...] = ("choices", "answers", "knowledge")

MAX_QUESTIONS = 5_000
MAX_MODELS = 2_000
MAX_ARRAYS = 32
MAX_ARRAY_BYTES = 64_000_000
MAX_LINE_CHARACTERS = 500
"""Of a name, an origin, a licence or a path."""
MAX_TEXT_CHARACTERS = 100_000
"""Of a question; the longest of the corpora at hand has about 25,000."""
MAX_ANSWER_TOKENS = 100_000

DTYPES = frozenset("|b1 |u1 |i1 <u2 <i2 <u4 <i4 <u8 <i8 <f2 <f4 <f8".split())
"""What an array may hold: numbers of a fixed size, little endian. Never objects, never text."""

_ARRAY_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}/[A-Za-z0-9._-]{1,100}")
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")


class PackError(ValueError):
    """A pack file, or what should become a pack, is not sound; the message is one line."""

    def __init__(self, problem: str) -> None:
        super().__init__(" ".join(problem.split())[:300])


class NotAPackError(PackError):
    """The bytes are no pack file at all."""


@dataclass(frozen=True, slots=True)
class PackModel:
    """One model that a pack holds statistics of."""

    name: str
    """The catalog's spelling where the catalog knows the model."""
    family: str
    """The catalog's family, or the corpus's."""
    base: str
    """The lineage whose weights it inherits."""
    weights: str
    """Names that differ by a setting of the same weights share one class; this is the class's name."""
    samples: int
    """Answers that its statistics rest on."""


@dataclass(frozen=True, slots=True, eq=False)
class Pack:
    """Reference statistics of one kind. Raises PackError for a field that does not hold what it should."""

    name: str
    version: str
    kind: PackKind
    created: str
    """YYYY-MM-DD."""
    expires: str | None
    """YYYY-MM-DD: served models drift, and old references must not accuse new ones. None never expires."""
    origin: str
    """One line: who recorded it, when, from where."""
    licence: str
    questions: tuple[Question, ...]
    models: tuple[PackModel, ...]
    arrays: Mapping[str, npt.NDArray[Any]]
    """Read-only, little endian, of DTYPES and at most 4 dimensions."""
    extra: Mapping[str, Any]
    """What the kind adds to the manifest: plain JSON."""
    digest: str = field(init=False)
    """SHA-256 (hex) of `canonical(section(pack))`, which names the digest of every array. Computed, and so never out of step; the same
    whether or not the texts of published questions have been filled in."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "arrays", {name: _array(name, self.arrays[name]) for name in sorted(self.arrays)})
        _check(self)
        object.__setattr__(self, "digest", hashlib.sha256(canonical(section(self))).hexdigest())

    def __eq__(self, other: object) -> bool:
        """Packs of one digest are one pack, so that what is made ready of it is kept when texts of its questions are filled in."""
        return isinstance(other, Pack) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)


def stale(pack: Pack, today: date) -> str | None:
    """One line that says since when the pack is out of date; None while it is not."""
    if pack.expires is None or today.isoformat() <= pack.expires:
        return None
    return f"the pack {pack.name} {pack.version} expired on {pack.expires} (recorded {pack.created}): its models may have changed since"


@cache
def installed() -> tuple[Pack, ...]:
    """The packs that ship with Truename, by file name. Raises PackError where the installation is damaged."""
    from fingerprints.pack_file import read_packs

    folder = resources.files("fingerprints") / "data" / "packs"
    if not folder.is_dir():
        return ()
    files = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".pack")), key=lambda entry: entry.name)
    return tuple(pack for entry in files for pack in read_packs(entry.read_bytes()))


def digest_of(packs: Sequence[Pack]) -> str:
    """SHA-256 (hex) that names a set of packs, whatever their order."""
    return hashlib.sha256("\n".join(sorted({pack.digest for pack in packs})).encode()).hexdigest()


def section(pack: Pack) -> dict[str, Any]:
    """The pack as plain JSON without its arrays, which are named by digest; texts of published questions are left out."""
    return {
        "name": pack.name,
        "version": pack.version,
        "kind": pack.kind,
        "created": pack.created,
        "expires": pack.expires,
        "origin": pack.origin,
        "licence": pack.licence,
        "questions": [question_json(question) for question in pack.questions],
        "models": [dataclasses.asdict(model) for model in pack.models],
        "arrays": {
            name: {"dtype": array.dtype.str, "shape": list(array.shape), "sha256": hashlib.sha256(array.tobytes()).hexdigest()}
            for name, array in pack.arrays.items()
        },
        "extra": dict(pack.extra),
    }


def canonical(value: Any) -> bytes:
    """The one JSON spelling of a value: sorted keys, no spaces, UTF-8. Raises PackError for what is not plain JSON."""
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError):
        raise PackError("a pack's manifest holds something that is not plain JSON") from None


def pack_from(section: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> Pack:
    """The pack that `section` describes. Raises PackError for a missing field, an unknown one or a wrong type."""
    values = _fields(section, Pack, "the pack", without={"digest"})
    questions = tuple(question_from(each) for each in _list(values["questions"], "questions"))
    models = tuple(PackModel(**_fields(each, PackModel, "a model")) for each in _list(values["models"], "models"))
    return Pack(**(values | {"questions": questions, "models": models, "arrays": arrays}))


def question_json(question: Question) -> dict[str, Any]:
    """The question as plain JSON, without its text where others wrote it."""
    values = dataclasses.asdict(question)
    if question.source is not None:  # what others wrote is never shipped
        values["text"] = None
        values["source"]["position"] = dict(question.source.position)
    return values


def question_from(value: Any) -> Question:
    """The question that `question_json` wrote. Raises PackError for other fields; their values are checked when a Pack is made."""
    values = _fields(value, Question, "a question")
    if values["source"] is not None:
        values["source"] = Source(**_fields(values["source"], Source, "a question's source"))
    return Question(**values)


def _fields(value: Any, kind: type, what: str, without: set[str] = frozenset()) -> dict[str, Any]:  # type: ignore[assignment]
    names = {each.name for each in dataclasses.fields(kind)} - without
    if not isinstance(value, Mapping) or set(value) != names:
        raise PackError(f"{what} does not have exactly the fields {', '.join(sorted(names))}")
    return dict(value)


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise PackError(f"the pack's {what} are not a list")
    return value


def _array(name: object, array: Any) -> npt.NDArray[Any]:
    if not isinstance(name, str) or not _ARRAY_NAME.fullmatch(name):
        raise PackError(f"{name!r:.80} is not a name for an array")
    if not isinstance(array, np.ndarray):
        raise PackError(f"the array {name} is not an array")
    plain = array.astype(array.dtype.newbyteorder("<")) if array.dtype.byteorder == ">" else array
    if plain.dtype.str not in DTYPES:
        raise PackError(f"the array {name} has the type {array.dtype.str!r:.40}, which packs do not hold")
    if plain.ndim > 4 or plain.nbytes > MAX_ARRAY_BYTES:
        raise PackError(f"the array {name} has more than 4 dimensions or {MAX_ARRAY_BYTES} bytes")
    if plain.flags.c_contiguous and not plain.flags.writeable:
        return plain
    copy = np.array(plain, order="C")
    copy.setflags(write=False)
    return copy


def _check(pack: Pack) -> None:
    """Raise PackError for the first field that does not hold what it should."""
    for what in ("name", "version", "origin", "licence"):
        _line(getattr(pack, what), f"the pack's {what}")
    if pack.kind not in KINDS:
        raise PackError(f"there is no kind of pack {pack.kind!r:.40}")
    _day(pack.created, "created")
    if pack.expires is not None:
        _day(pack.expires, "expires")
    if not 0 < len(pack.questions) <= MAX_QUESTIONS or not 0 < len(pack.models) <= MAX_MODELS or len(pack.arrays) > MAX_ARRAYS:
        raise PackError(f"a pack has 1 to {MAX_QUESTIONS} questions, 1 to {MAX_MODELS} models and at most {MAX_ARRAYS} arrays")
    for question in pack.questions:
        _check_question(question)
    for model in pack.models:
        for what in ("name", "family", "base", "weights"):
            _line(getattr(model, what), f"a model's {what}")
        _count(model.samples, "a model's samples", 2**53)
    for what, names in (
        ("questions", [question.id for question in pack.questions]),
        ("digests of questions", [question.sha256 for question in pack.questions]),
        ("models", [model.name for model in pack.models]),
    ):
        if len(set(names)) < len(names):
            raise PackError(f"the pack names one of its {what} twice")
    if not isinstance(pack.extra, Mapping) or not all(isinstance(key, str) for key in pack.extra):
        raise PackError("the pack's extra fields are not a JSON object")


def _check_question(question: Question) -> None:
    _line(question.id, "a question's id")
    if not isinstance(question.sha256, str) or not _SHA256.fullmatch(question.sha256):
        raise PackError(f"the question {question.id} has no SHA-256 of 64 lower-case hexadecimal digits")
    if question.kind not in ("choice", "open", "knowledge"):
        raise PackError(f"the question {question.id} is neither a choice nor open nor of knowledge")
    if not isinstance(question.language, str) or not _LANGUAGE.fullmatch(question.language):
        raise PackError(f"the question {question.id} has a language that is no language code")
    _count(question.max_tokens, f"the answer length of {question.id}", MAX_ANSWER_TOKENS)
    heat = question.temperature
    if heat is not None and (isinstance(heat, bool) or not isinstance(heat, int | float) or not 0 <= heat <= 2):
        raise PackError(f"the question {question.id} has a temperature outside 0 to 2")
    if question.text is None and question.source is None:
        raise PackError(f"the question {question.id} has neither a text nor a source")
    if question.text is not None:
        if not isinstance(question.text, str) or not 0 < len(question.text) <= MAX_TEXT_CHARACTERS:
            raise PackError(f"the text of the question {question.id} is empty or longer than {MAX_TEXT_CHARACTERS} characters")
        if text_digest(question.text) != question.sha256:
            raise PackError(f"the text of the question {question.id} does not have the digest that the pack names")
    if question.source is not None:
        _check_source(question.source)


def _check_source(source: Source) -> None:
    if not isinstance(source.repository, str) or not _REPOSITORY.fullmatch(source.repository):
        raise PackError("a question's source is not a repository of the form owner/name")
    if not isinstance(source.commit, str) or not _COMMIT.fullmatch(source.commit):
        raise PackError("a question's source has no commit of 7 to 64 hexadecimal digits")
    _line(source.path, "a source's path")
    if source.path.startswith("/") or "\\" in source.path or {"..", ".", ""} & set(source.path.split("/")):
        raise PackError("a source's path leaves its repository")
    _line(source.licence, "a source's licence")
    if source.file_sha256 is not None and not (isinstance(source.file_sha256, str) and _SHA256.fullmatch(source.file_sha256)):
        raise PackError("a source's file has no SHA-256 of 64 lower-case hexadecimal digits")
    if not isinstance(source.position, Mapping) or len(source.position) > 8:
        raise PackError("a source's position is not a small object of strings")
    for key, value in source.position.items():
        _line(key, "a source's position")
        _line(value, "a source's position")


def _line(value: object, what: str) -> None:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_LINE_CHARACTERS or not value.isprintable():
        raise PackError(f"{what} is not one line of 1 to {MAX_LINE_CHARACTERS} printable characters")


def _day(value: object, what: str) -> None:
    try:
        good = date.fromisoformat(cast(str, value)).isoformat() == value
    except (TypeError, ValueError):
        good = False
    if not good:
        raise PackError(f"the pack's date {what!r} is not YYYY-MM-DD")


def _count(value: object, what: str, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= most:
        raise PackError(f"{what} is not a whole number from 1 to {most}")
