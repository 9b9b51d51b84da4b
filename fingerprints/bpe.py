"""Byte-pair encoding: how one vocabulary cuts a text into tokens.

It takes a table of tokens with merge priorities, the family's pre-split pattern and its Unicode normalisation, and gives the number
of tokens, where each ends and which boundaries fall between characters. It treats special strings as ordinary text and must never
guess: what it says is compared token by token with other implementations in tests/fingerprints.

Measured (`python -m benchmarks vocabularies`, two shared cores): a table takes 4 MB for o200k where a tiktoken.Encoding takes about 50 MB,
a process that keeps all 23 vocabularies loaded and plans with them peaks at 205 MB, and a fresh 150-character probe takes 1 to 3 ms.
tiktoken counts long texts 3 to 5 times faster; with its memory, or splintr's, all vocabularies together would not fit the 300 MB that an
audit may take.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import accumulate, chain, islice, pairwise
from typing import Literal

import regex

from fingerprints.merging import MOST_BYTES, Start, merge, merge_many
from fingerprints.normalise import Form, apply, original_offsets
from fingerprints.pieces import PieceTable, Shelf

# Words recur within a suite, long pieces do not. Emptied when full: a plain dict stays correct whichever thread counts.
CACHED_PIECES, CACHED_LENGTH = 4096, 64
PREPARED_TEXTS = 2048
"""Texts whose pieces and characters are kept: those that one audit plans, for every vocabulary in turn (2 MB)."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a family does besides merging.

    ``splits`` are applied one after the other, each cutting what the one before it left into matches and the text between them;
    ``units`` is what merging starts from; ``whole`` says that a pre-split piece which is a token is taken without merging;
    ``prefix`` is put before a non-empty text; ``atoms`` are tokens that are matched first, longest first, and never merge.
    """

    splits: tuple[str, ...]
    units: Literal["bytes", "characters"] = "bytes"
    form: Form = "none"
    whole: bool = True
    prefix: str = ""
    replace: tuple[tuple[str, str], ...] = ()
    atoms: frozenset[str] = frozenset()


class BytePairVocabulary:
    """One family's tokenizer; see :class:`fingerprints.tokenizers.Vocabulary` for the meaning of each method."""

    def __init__(self, name: str, table: PieceTable, recipe: Recipe) -> None:
        self.name = name
        self._table = table
        self._recipe = recipe
        self._cache: dict[str, tuple[int, ...]] = {}

    def count(self, text: str) -> int:
        return sum(len(self._lengths(piece)) for piece in self._pieces(self._prepared(text)))

    def cuts(self, text: str, most: int | None = None) -> tuple[int, ...]:
        prepared = self._prepared(text)
        ends = islice(self._ends(prepared), most)
        if prepared == text and text.isascii():
            return tuple(ends)  # bytes are characters, and normalisation leaves them
        complete, offsets = _complete(prepared), original_offsets(self._recipe.form, text, self._recipe.prefix)
        return tuple(offsets(complete[at])[0] for at in ends)

    def edges(self, text: str) -> frozenset[int]:
        prepared, offsets = self._prepared(text), original_offsets(self._recipe.form, text, self._recipe.prefix)
        complete = _complete(prepared)
        whole = [offsets(complete[at]) for at in self._ends(prepared) if complete[at - 1] != complete[at]]
        return frozenset([0, len(text), *(offset for offset, on_boundary in whole if on_boundary)])

    def contains(self, piece: bytes) -> bool:
        return piece in self._table

    def token_text(self, token_id: int) -> bytes | None:
        return self._table.token(token_id)

    def _prepared(self, text: str) -> str:
        if not text:
            return ""
        for old, new in self._recipe.replace:
            text = text.replace(old, new)
        return self._recipe.prefix + apply(self._recipe.form, text)

    def _pieces(self, text: str) -> tuple[str, ...]:
        return _split(self._recipe.splits, self._recipe.atoms, text)

    def _lengths(self, piece: str) -> tuple[int, ...]:
        """Length in bytes of each token of one pre-split piece."""
        lengths = self._cache.get(piece)
        if lengths is None:
            lengths = self._encode(piece)
            if len(self._cache) >= CACHED_PIECES:
                self._cache.clear()
            if len(piece) <= CACHED_LENGTH:
                self._cache[piece] = lengths
        return lengths

    def _encode(self, piece: str) -> tuple[int, ...]:
        encoded = piece.encode("utf-8", "replace")
        if self._taken_whole(piece, encoded):
            return (len(encoded),)
        return self._between(encoded, merge(self._table, encoded, self._units(encoded)))

    def _unknown(self, texts: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """Pieces of these texts that are to be merged, and are not in the cache but may be kept in it."""
        for piece in dict.fromkeys(chain.from_iterable(self._pieces(self._prepared(text)) for text in texts)):
            if piece not in self._cache and len(piece) <= CACHED_LENGTH:
                encoded = piece.encode("utf-8", "replace")
                if len(encoded) <= MOST_BYTES and not self._taken_whole(piece, encoded):
                    yield piece, encoded

    def _keep(self, found: dict[str, tuple[int, ...]]) -> None:
        if len(self._cache) + len(found) > CACHED_PIECES:
            self._cache.clear()
        self._cache |= found

    def _taken_whole(self, piece: str, encoded: bytes) -> bool:
        return piece in self._recipe.atoms or (self._recipe.whole and encoded in self._table)

    def _units(self, encoded: bytes) -> Sequence[int]:
        """Where merging starts: the bounds of bytes or of characters."""
        if self._recipe.units == "bytes":
            return range(len(encoded) + 1)
        return [*(i for i, byte in enumerate(encoded) if byte & 0xC0 != 0x80), len(encoded)]

    def _between(self, encoded: bytes, bounds: Sequence[int]) -> tuple[int, ...]:
        """Lengths of the tokens that merging left."""
        if self._recipe.units == "bytes":
            return tuple(end - start for start, end in pairwise(bounds))
        lengths: list[int] = []
        for start, end in pairwise(bounds):
            # A character that the vocabulary lacks falls back to one token for each of its bytes.
            known = encoded[start:end] in self._table
            lengths.extend([end - start] if known else [1] * (end - start))
        return tuple(lengths)

    def _ends(self, prepared: str) -> Iterator[int]:
        """Where each token ends, in bytes; worked out as far as it is read."""
        return accumulate(chain.from_iterable(map(self._lengths, self._pieces(prepared))))


def learn(vocabularies: Sequence[BytePairVocabulary], texts: Sequence[str]) -> None:
    """Merge the pieces of texts that are about to be counted or cut in each vocabulary, all together; changes no answer."""
    shelf = _shelved(tuple(vocabulary._table for vocabulary in vocabularies))
    unknown = [(row, piece, encoded) for row, each in enumerate(vocabularies) for piece, encoded in each._unknown(texts)]
    starts = [Start(row, encoded, vocabularies[row]._units(encoded)) for row, _, encoded in unknown]
    found: list[dict[str, tuple[int, ...]]] = [{} for _ in vocabularies]
    for (row, piece, encoded), kept in zip(unknown, merge_many(shelf, starts), strict=True):
        found[row][piece] = vocabularies[row]._between(encoded, kept)
    for vocabulary, pieces in zip(vocabularies, found, strict=True):
        vocabulary._keep(pieces)


def release() -> None:
    """Drop the shelf and what is known of texts."""
    for kept in (_shelved, _split, _complete):
        kept.cache_clear()


@lru_cache(maxsize=1)
def _shelved(tables: tuple[PieceTable, ...]) -> Shelf:
    return Shelf(tables)


@lru_cache(maxsize=PREPARED_TEXTS)
def _complete(prepared: str) -> Sequence[int]:
    """[n]: whole characters in the first n bytes."""
    if prepared.isascii():
        return range(len(prepared) + 1)
    complete: list[int] = []
    for index, character in enumerate(prepared):
        complete.extend([index] * len(character.encode("utf-8", "replace")))
    return [*complete, len(prepared)]


@lru_cache(maxsize=PREPARED_TEXTS)
def _split(splits: tuple[str, ...], atoms: frozenset[str], text: str) -> tuple[str, ...]:
    """The pieces of a text that are merged apart. Families that split alike share them."""
    pieces = [text] if text else []
    if atoms:
        pieces = _cut(_either(atoms), pieces, frozenset())
    for pattern in splits:
        pieces = _cut(_compiled(pattern), pieces, atoms)
    return tuple(pieces)


_compiled = cache(regex.compile)


@cache
def _either(atoms: frozenset[str]) -> regex.Pattern[str]:
    return regex.compile("|".join(map(regex.escape, sorted(atoms, key=lambda atom: (-len(atom), atom)))))


def _cut(pattern: regex.Pattern[str], pieces: Sequence[str], kept: frozenset[str]) -> list[str]:
    """Each piece as the pattern's matches and the text between them; pieces in ``kept`` stay whole."""
    parts: list[str] = []
    for piece in pieces:
        if piece in kept:
            parts.append(piece)
            continue
        matches = pattern.findall(piece)
        if not pattern.groups and sum(map(len, matches)) == len(piece):
            parts.extend(filter(None, matches))  # nothing between them
            continue
        at = 0
        for match in pattern.finditer(piece):
            start, end = match.span()
            if start > at:
                parts.append(piece[at:start])
            if end > start:
                parts.append(piece[start:end])
            at = end
        if at < len(piece):
            parts.append(piece[at:])
    return parts
