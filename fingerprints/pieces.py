"""A compact table of byte strings: the tokens of one vocabulary, looked up by content or by id.

It takes a vocabulary's tokens in id order and gives a token's rank, a token's bytes and membership; a shelf of tables looks many pieces
up at once. It must never hold one Python object per token: a dict of o200k is about 40 MB where this table is 5 MB, and an audit keeps 20
and more vocabularies loaded at once.
"""

from __future__ import annotations

import hashlib
import io
import lzma
from array import array
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

NOT_A_TOKEN = -1
ANY_SPLIT = 0
NOT_MERGING = (1 << 24) - 1
"""Rank, above all others, of a pair that does not merge, where many are looked up at once."""
WORD = 8
"""Bytes that are compared at a time; a text to look pieces up in ends with as many to spare."""

Integers = NDArray[np.int64]
_Numbers: TypeAlias = "array[int] | memoryview[int]"


class PieceTable:
    """Byte strings with ids and ranks.

    ``tokens[i]`` is the token with id ``i``; an empty one is an id that text never produces. ``ranks[i]`` is its merge priority
    (lower merges first), the id itself where not given. ``splits[i]`` is the length in bytes of the left half of the only pair
    that merges into it, or ``ANY_SPLIT``.
    """

    def __init__(self, tokens: Sequence[bytes], ranks: Sequence[int] | None = None, splits: Sequence[int] | None = None) -> None:
        lengths = np.fromiter(map(len, tokens), dtype=np.uint32, count=len(tokens))
        ids = np.flatnonzero(lengths)
        present = [token for token in tokens if token]
        hashes = np.fromiter(map(crc32, present), dtype=np.uint32, count=len(present))
        bits = max(4, len(present).bit_length())
        self.shift = 32 - bits
        buckets = hashes >> np.uint32(self.shift)
        order = np.argsort(buckets, kind="stable")
        text = b"".join(map(present.__getitem__, order.tolist()))
        starts = _unsigned(np.concatenate(([0], np.cumsum(lengths[ids][order]))))
        first = _unsigned(np.concatenate(([0], np.cumsum(np.bincount(buckets, minlength=1 << bits)))))
        ordered = ids[order]
        self._ids: _Numbers = _unsigned(ordered)
        self._ranks: _Numbers = self._ids if ranks is None else _unsigned(np.asarray(ranks)[ordered])
        self._splits: _Numbers | None = None if splits is None else array("H", np.asarray(splits, dtype=np.uint16)[ordered].tobytes())
        self.size, self.length = len(present), len(text)
        # Tokens, their starts, first slot of each bucket; and the bucket and slot where this table begins in these, which others share
        # on a shelf. In one assignment, so that a thread that looks up meanwhile sees the old place or the new one.
        self._place: tuple[bytes | bytearray, _Numbers, _Numbers, int, int] = (text, starts, first, 0, 0)

    def _find(self, piece: bytes) -> int:
        text, starts, first, bucket, base = self._place
        bucket += crc32(piece) >> self.shift
        for slot in range(first[bucket], first[bucket + 1]):
            if text[starts[slot] : starts[slot + 1]] == piece:
                return slot - base
        return NOT_A_TOKEN

    def __contains__(self, piece: bytes) -> bool:
        return self._find(piece) >= 0

    def rank(self, piece: bytes) -> int:
        """Merge priority of a token, or ``NOT_A_TOKEN``."""
        slot = self._find(piece)
        return NOT_A_TOKEN if slot < 0 else self._ranks[slot]

    def merge_rank(self, piece: bytes, left: int) -> int:
        """Merge priority of the pair ``piece[:left]``, ``piece[left:]``, or ``NOT_A_TOKEN`` where that pair does not merge."""
        slot = self._find(piece)
        if slot < 0:
            return NOT_A_TOKEN
        if self._splits is not None and self._splits[slot] not in (ANY_SPLIT, left):
            return NOT_A_TOKEN
        return self._ranks[slot]

    @cached_property
    def _slot_of_id(self) -> array[int]:
        slots = np.zeros(max(self._ids, default=0) + 1, dtype=np.uint32)
        slots[np.frombuffer(self._ids, dtype=np.uint32)] = np.arange(1, self.size + 1)
        return _unsigned(slots)

    def token(self, token_id: int) -> bytes | None:
        """The bytes of a token id, or None for an id that no text produces."""
        if not 0 <= token_id < len(self._slot_of_id):
            return None
        slot = self._slot_of_id[token_id] - 1
        text, starts, _, _, base = self._place
        return None if slot < 0 else bytes(text[starts[base + slot] : starts[base + slot + 1]])

    def moved(self, shelf: Shelf, bucket: int, slot: int, text: int) -> tuple[int, int, int]:
        """Copy this table to the shelf, at these places of its arrays, and live there; gives the places behind it."""
        old, starts, first, own_bucket, own = self._place
        begin, end, buckets = starts[own], starts[own + self.size], 1 << 32 - self.shift
        slots = slice(slot, slot + self.size)
        shelf.text[text : text + end - begin] = old[begin:end]
        shelf.starts[slots] = np.asarray(starts)[own : own + self.size] + np.uint32(text) - np.uint32(begin)
        shelf.starts[slots.stop] = text + end - begin
        shelf.first[bucket : bucket + buckets] = np.asarray(first)[own_bucket : own_bucket + buckets] + np.uint32(slot) - np.uint32(own)
        shelf.first[bucket + buckets] = slots.stop
        shelf.ranks[slots] = np.asarray(self._ranks)
        shelf.splits[slots] = ANY_SPLIT if self._splits is None else np.asarray(self._splits)
        ids_are_ranks = self._ids is self._ranks
        self._ranks, self._splits = shelf.ranks[slots].data, shelf.splits[slots].data
        if ids_are_ranks:
            self._ids = self._ranks
        self._place = (shelf.text, shelf.starts.data, shelf.first.data, bucket, slot)
        return bucket + buckets, slots.stop, text + end - begin


class Shelf:
    """Tables side by side in the same arrays, so that pieces of all of them are looked up together.

    The tables give up arrays of their own for these, one after the other; what each of them says stays the same.
    """

    def __init__(self, tables: Sequence[PieceTable]) -> None:
        size = sum(table.size for table in tables)
        self.text = bytearray(sum(table.length for table in tables) + WORD)
        self.starts, self.ranks = np.zeros(size + 1, dtype=np.uint32), np.empty(size, dtype=np.uint32)
        self._shift = np.array([table.shift for table in tables], dtype=np.uint32)
        self.first = np.zeros(sum(1 << 32 - table.shift for table in tables) + 1, dtype=np.uint32)
        self.splits = np.empty(size, dtype=np.uint16)
        self._bucket = np.zeros(len(tables), dtype=np.uint32)
        at = (0, 0, 0)
        for row, table in enumerate(tables):
            self._bucket[row] = at[0]
            at = table.moved(self, *at)
        self._words = _words(self.text)

    def merge_ranks(
        self, tables: Integers, checksums: NDArray[np.uint32], text: bytes, at: Integers, lengths: Integers, lefts: Integers
    ) -> Integers:
        """`PieceTable.merge_rank` of many pieces ``text[at : at + length]``, each in a table of its own, NOT_MERGING where it is
        NOT_A_TOKEN. ``tables`` are places on this shelf, ``checksums`` CRC-32 of the pieces."""
        buckets = self._bucket[tables] + (checksums >> self._shift[tables])
        slots = self.first[buckets].astype(np.int64)
        sizes = self.first[buckets + np.uint32(1)] - slots
        piece = np.repeat(np.arange(len(checksums)), sizes)  # one entry for every token in the bucket of a piece
        slot = np.arange(len(piece)) + np.repeat(slots - np.cumsum(sizes) + sizes, sizes)
        token = self.starts[slot]
        same = np.flatnonzero(self.starts[slot + 1] - token == lengths[piece])
        piece, slot, token = piece[same], slot[same], token[same]
        words = _words(text)
        for done in range(0, int(lengths[piece].max(initial=0)), WORD):
            mask = _MASKS[np.clip(lengths[piece] - done, 0, WORD)]
            skipped = np.minimum(done, lengths[piece])  # where a piece has ended, nothing more is compared
            same = np.flatnonzero((self._words[token + skipped] ^ words[at[piece] + skipped]) & mask == 0)
            piece, slot, token = piece[same], slot[same], token[same]
        splits = self.splits[slot]
        same = np.flatnonzero((splits == ANY_SPLIT) | (splits == lefts[piece]))
        ranks = np.full(len(checksums), NOT_MERGING)
        ranks[piece[same]] = self.ranks[slot[same]]
        return ranks


_MASKS = np.array([(1 << 8 * n) - 1 for n in range(WORD + 1)], dtype="<u8")


def _words(data: bytes | bytearray) -> NDArray[np.uint64]:
    """The eight bytes from each offset on, as one number."""
    return np.ndarray((len(data) - WORD + 1,), dtype="<u8", buffer=data, strides=(1,))


def _unsigned(values: np.ndarray) -> array[int]:
    # array.array indexes about twice as fast from Python as a numpy array, at the same four bytes an entry.
    out = array("I")
    out.frombytes(values.astype(np.uint32).tobytes())
    return out


def write_pieces(path: Path, tokens: Sequence[bytes], ranks: Sequence[int] | None, splits: Sequence[int] | None) -> None:
    """Write tokens as an npz inside xz: ``bytes`` (uint8), ``lengths`` (uint8 each token in id order), ``ranks`` (uint32) and
    ``splits`` (uint16) where they say anything. The same tokens always give the same file."""
    arrays = {
        "bytes": np.frombuffer(b"".join(tokens), dtype=np.uint8),
        "lengths": np.asarray([len(t) for t in tokens], dtype=np.uint16 if max(map(len, tokens)) > 255 else np.uint8),
    }
    if ranks is not None:
        arrays["ranks"] = np.asarray(ranks, dtype=np.uint32)
    if splits is not None:
        arrays["splits"] = np.asarray(splits, dtype=np.uint16)
    plain = io.BytesIO()
    np.savez(plain, allow_pickle=False, **arrays)
    path.write_bytes(lzma.compress(plain.getvalue(), preset=9 | lzma.PRESET_EXTREME))


def read_pieces(path: Path) -> PieceTable:
    """Read a file of :func:`write_pieces`. Raises ``OSError`` or ``lzma.LZMAError``."""
    with _arrays(path) as arrays:
        return PieceTable(_tokens(arrays), arrays.get("ranks"), arrays.get("splits"))


def read_tokens(path: Path) -> list[bytes]:
    """The tokens of a file of :func:`write_pieces` in id order."""
    with _arrays(path) as arrays:
        return _tokens(arrays)


def _arrays(path: Path) -> Any:
    return np.load(io.BytesIO(lzma.decompress(path.read_bytes())), allow_pickle=False)


def _tokens(arrays: Any) -> list[bytes]:
    ends = np.cumsum(arrays["lengths"], dtype=np.int64).tolist()
    blob = arrays["bytes"].tobytes()
    return [blob[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]


def digest(tokens: Sequence[bytes]) -> str:
    """SHA-256 (hex) over the lengths of tokens in id order (two bytes each, low byte first), then their bytes."""
    lengths = np.fromiter(map(len, tokens), dtype="<u2", count=len(tokens))
    return hashlib.sha256(lengths.tobytes() + b"".join(tokens)).hexdigest()
