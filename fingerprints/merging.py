"""Byte-pair merging: one piece of text, or many at once.

It takes a table of tokens with merge priorities and the units where merging starts, and gives the boundaries that remain. Both ways give
the same boundaries (tests/fingerprints/test_vocab_merging.py); an audit plans with thousands of fresh words in every vocabulary, which
merged together in numpy take a fifth of the processor time.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from heapq import heapify, heappop, heappush
from itertools import pairwise
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from fingerprints.pieces import NOT_MERGING, WORD, Integers, PieceTable, Shelf

MOST_BYTES = 96
"""Longest piece that is merged together with others: rows are as wide as the longest, and 4 kB of shift table stand for each length."""
WIDTHS = (10, 32)
"""Units up to which pieces are merged together, apart from longer ones."""
_POSITION_BITS = 32
_POSITION = (1 << _POSITION_BITS) - 1
_PLACE_BITS = 7  # MOST_BYTES fits
_PLACE = (1 << _PLACE_BITS) - 1
_NONE = NOT_MERGING << _PLACE_BITS
_POLYNOMIAL = 0xEDB88320


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


@dataclass(frozen=True, slots=True)
class Start:
    """A piece before merging: the place of its table on the shelf, its bytes (MOST_BYTES at most), where its units begin and it ends."""

    table: int
    piece: bytes
    bounds: Sequence[int]


def merge_many(shelf: Shelf, starts: Sequence[Start]) -> list[list[int]]:
    """What ``merge`` gives for each piece, all in one go: every step makes the next merge of every piece."""
    merged: list[list[int]] = [[]] * len(starts)
    order = sorted(range(len(starts)), key=lambda i: len(starts[i].bounds))
    sizes = [len(starts[i].bounds) - 1 for i in order]
    for narrow, wide in pairwise((0, *WIDTHS, MOST_BYTES)):  # rows of about one length, since all are as wide as the longest
        group = order[bisect_right(sizes, narrow) : bisect_right(sizes, wide)]
        if group:
            for i, kept in zip(group, _merged(shelf, [starts[i] for i in group]), strict=True):
                merged[i] = kept
    return merged


def _merged(shelf: Shelf, starts: Sequence[Start]) -> list[list[int]]:
    """``merge_many`` of pieces of about one length. Arrays are (units, pieces): what belongs to the n-th unit of each piece is a row."""
    text = _Text(shelf, starts)
    count, width = len(starts), max(len(start.bounds) for start in starts)
    at = np.array([[*start.bounds, *[start.bounds[-1]] * (width + 1 - len(start.bounds))] for start in starts], dtype=np.int64).T.copy()
    last = np.array([len(start.bounds) - 1 for start in starts])
    units = np.arange(width + 1)[:, None]
    following = np.minimum(units + 1, last).ravel()  # flat: [unit * count + piece]
    preceding = np.repeat(units - 1, count)
    flat, at = np.arange(count), at.ravel()
    # Rank and place in one number, whose minimum is the lowest rank and of equals the leftmost.
    ranked = np.full((width, count), _NONE)
    pair, piece = np.nonzero(units[:-1] < last - 1)
    ranked[pair, piece] = text.ranked(pair, piece, *(at[(pair + i) * count + piece] for i in range(3)))
    active = flat
    while active.size:
        best = ranked.min(axis=0)
        going = np.flatnonzero(best < _NONE)
        if 2 * going.size < best.size:  # rows that are done cost little until they are most of them
            ranked, active = np.ascontiguousarray(ranked[:, going]), active[going]
            continue
        left, piece = best[going] & _PLACE, active[going]
        middle = following[left * count + piece]
        right = following[middle * count + piece]
        following[left * count + piece] = right
        preceding[right * count + piece] = left
        ranked[middle, going] = _NONE
        before = preceding[left * count + piece]
        # The merged unit makes a new pair with the unit after it and with the one before it.
        after = np.flatnonzero(right < last[piece])
        ahead = np.flatnonzero(before >= 0)
        ranked[left, going] = _NONE
        unit, column = np.concatenate((left[after], before[ahead])), np.concatenate((after, ahead))
        own = piece[column]
        second = following[unit * count + own]
        third = following[second * count + own]
        bounds = (at[each * count + own] for each in (unit, second, third))
        ranked[unit, going[column]] = text.ranked(unit, own, *bounds)
    merged = []
    for i in range(count):
        kept = [0]
        while kept[-1] != last[i]:
            kept.append(int(following[kept[-1] * count + i]))
        merged.append([starts[i].bounds[each] for each in kept])
    return merged


class _Text:
    """Pieces as rows of bytes, of whose slices the checksums are known without reading them again."""

    def __init__(self, shelf: Shelf, starts: Sequence[Start]) -> None:
        self._shelf = shelf
        self._tables = np.array([start.table for start in starts])
        self._width = max(len(start.piece) for start in starts) + WORD
        self._bytes = b"".join(start.piece.ljust(self._width, b"\0") for start in starts)
        columns = np.frombuffer(self._bytes, dtype=np.uint8).reshape(len(starts), self._width)
        one = _byte_table()
        registers = np.zeros((self._width - WORD + 1, len(starts)), dtype=np.uint32)  # [n, piece]: after n bytes, from 0, not inverted
        for n in range(self._width - WORD):
            registers[n + 1] = one[(registers[n] ^ columns[:, n]) & 0xFF] ^ (registers[n] >> np.uint32(8))
        self._registers = registers.ravel()

    def ranked(self, unit: Integers, piece: Integers, starts: Integers, middles: Integers, ends: Integers) -> Integers:
        """The merge rank of the pair ``starts:middles``, ``middles:ends`` of each piece, with its first unit; _NONE where none merges."""
        lengths, count = ends - starts, len(self._tables)
        shift, zeros = _shift_tables()
        before = self._registers[starts * count + piece]
        moved = shift[lengths * 1024 + (before & 0xFF)]
        for place in (1, 2, 3):
            moved ^= shift[lengths * 1024 + place * 256 + (before >> np.uint32(8 * place) & 0xFF)]
        checksums = self._registers[ends * count + piece] ^ moved ^ zeros[lengths]
        ranks = self._shelf.merge_ranks(
            self._tables[piece], checksums, self._bytes, piece * self._width + starts, lengths, middles - starts
        )
        return np.where(ranks < NOT_MERGING, ranks << _PLACE_BITS | unit, _NONE)


@cache
def _byte_table() -> NDArray[np.uint32]:
    """The register of CRC-32 after each single byte."""
    register = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        register = np.where(register & 1, register >> np.uint32(1) ^ np.uint32(_POLYNOMIAL), register >> np.uint32(1))
    return register


@cache
def _shift_tables() -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """[n, k, b], flat: what n further zero bytes make of byte b at place k of a register; and CRC-32 of n zero bytes.

    CRC-32 is linear: a slice's is that of the text up to its end, less that of the text before it moved on by the slice's length.
    """
    one = _byte_table()
    table = np.empty((MOST_BYTES + 1, 4, 256), dtype=np.uint32)
    table[0] = np.arange(256, dtype=np.uint32) << np.array([[0], [8], [16], [24]], dtype=np.uint32)
    for n in range(MOST_BYTES):
        table[n + 1] = one[table[n] & 0xFF] ^ (table[n] >> np.uint32(8))
    return table.ravel(), np.array([crc32(bytes(n)) for n in range(MOST_BYTES + 1)], dtype=np.uint32)
