"""Byte-pair encoding: how one vocabulary cuts a text into tokens.

It takes a table of tokens with merge priorities, the family's pre-split pattern and its Unicode normalisation, and gives the number
of tokens, where each ends and which boundaries fall between characters. It treats special strings as ordinary text and must never
guess: what it says is compared token by token with other implementations in tests/fingerprints.

Measured (`python -m benchmarks vocabularies`, two shared cores): a table takes 4 MB for o200k where a tiktoken.Encoding takes about 50 MB,
a process that keeps all 23 vocabularies loaded peaks at 170 MB, and a fresh 150-character probe takes 1 to 3 ms. tiktoken counts long texts
3 to 5 times faster; with its memory, or splintr's, all vocabularies together would not fit the 300 MB that an audit may take.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from itertools import pairwise
from typing import Literal

import regex

from fingerprints.normalise import Form, apply, original_offsets
from fingerprints.pieces import PieceTable

# Words recur within a suite, long pieces do not. Emptied when full: a plain dict stays correct whichever thread counts.
CACHED_PIECES, CACHED_LENGTH = 4096, 64
_POSITION_BITS = 32
_POSITION = (1 << _POSITION_BITS) - 1


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
        self._patterns = tuple(regex.compile(pattern) for pattern in recipe.splits)
        by_length = sorted(recipe.atoms, key=lambda atom: (-len(atom), atom))
        self._atoms = regex.compile("|".join(map(regex.escape, by_length))) if by_length else None
        self._cache: dict[str, tuple[int, ...]] = {}

    def count(self, text: str) -> int:
        return sum(len(self._lengths(piece)) for piece in self._pieces(self._prepared(text)))

    def cuts(self, text: str) -> tuple[int, ...]:
        return tuple(self._ends(text)[0])

    def edges(self, text: str) -> frozenset[int]:
        ends, whole = self._ends(text)
        return frozenset([0, len(text), *(end for end, complete in zip(ends, whole, strict=True) if complete)])

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

    def _pieces(self, text: str) -> Iterator[str]:
        pieces: Iterator[str] = iter((text,) if text else ())
        if self._atoms is not None:
            pieces = _cut(self._atoms, pieces)
        for pattern in self._patterns:
            pieces = _cut(pattern, pieces, self._recipe.atoms)
        return pieces

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
        if piece in self._recipe.atoms or (self._recipe.whole and encoded in self._table):
            return (len(encoded),)
        if self._recipe.units == "bytes":
            bounds = merge(self._table, encoded, range(len(encoded) + 1))
            return tuple(end - start for start, end in pairwise(bounds))
        starts = [i for i, byte in enumerate(encoded) if byte & 0xC0 != 0x80]
        bounds = merge(self._table, encoded, [*starts, len(encoded)])
        lengths: list[int] = []
        for start, end in pairwise(bounds):
            # A character that the vocabulary lacks falls back to one token for each of its bytes.
            known = encoded[start:end] in self._table
            lengths.extend([end - start] if known else [1] * (end - start))
        return tuple(lengths)

    def _ends(self, text: str) -> tuple[list[int], list[bool]]:
        """For each token the characters of ``text`` complete after it, and whether it ends exactly there."""
        prepared = self._prepared(text)
        complete: list[int] = []  # complete[b]: whole characters in the first b bytes
        for index, character in enumerate(prepared):
            complete.extend([index] * len(character.encode("utf-8", "replace")))
        complete.append(len(prepared))
        offsets = original_offsets(self._recipe.form, text, self._recipe.prefix)
        ends: list[int] = []
        exact: list[bool] = []
        at = 0
        for piece in self._pieces(prepared):
            for length in self._lengths(piece):
                at += length
                characters = complete[at]
                offset, on_boundary = offsets(characters)
                ends.append(offset)
                exact.append(complete[at - 1] != characters and on_boundary)
        return ends, exact


def _cut(pattern: regex.Pattern[str], pieces: Iterator[str], kept: frozenset[str] = frozenset()) -> Iterator[str]:
    for piece in pieces:
        if piece in kept:
            yield piece
            continue
        at = 0
        for match in pattern.finditer(piece):
            start, end = match.span()
            if start > at:
                yield piece[at:start]
            if end > start:
                yield piece[start:end]
            at = end
        if at < len(piece):
            yield piece[at:]


def merge(table: PieceTable, piece: bytes, bounds: Sequence[int]) -> list[int]:
    """Merge neighbours, lowest rank first and leftmost among equals, until no pair is a token.

    ``bounds`` are the byte offsets where the starting units begin, with ``len(piece)`` last; the result holds those that remain.
    """
    at = list(bounds)
    last = len(at) - 1
    following = list(range(1, last + 2))
    preceding = list(range(-1, last))
    ranks = [-1] * (last + 1)
    queue: list[int] = []

    def consider(left: int) -> None:
        middle = following[left]
        rank = -1
        if middle < last:
            start = at[left]
            rank = table.merge_rank(piece[start : at[following[middle]]], at[middle] - start)
        ranks[left] = rank
        if rank >= 0:
            heappush(queue, rank << _POSITION_BITS | left)

    for left in range(last - 1):
        rank = table.merge_rank(piece[at[left] : at[left + 2]], at[left + 1] - at[left])
        ranks[left] = rank
        if rank >= 0:
            queue.append(rank << _POSITION_BITS | left)
    heapify(queue)
    while queue:
        entry = heappop(queue)
        left = entry & _POSITION
        if ranks[left] != entry >> _POSITION_BITS:
            continue  # this pair has changed since it was queued
        middle = following[left]
        right = following[middle]
        following[left] = right
        if right <= last:
            preceding[right] = left
        ranks[middle] = -1
        consider(left)
        if preceding[left] >= 0:
            consider(preceding[left])
    kept = [0]
    while kept[-1] != last and last > 0:
        kept.append(following[kept[-1]])
    return [at[i] for i in kept]
