"""A compact table of byte strings: the tokens of one vocabulary, looked up by content or by id.

It takes a vocabulary's tokens in id order and gives a token's rank, a token's bytes and membership. It must never hold one Python
object per token: a dict of o200k is about 40 MB where this table is 5 MB, and an audit keeps 20 and more vocabularies loaded at once.
"""

from __future__ import annotations

import hashlib
import io
import lzma
from array import array
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

NOT_A_TOKEN = -1
ANY_SPLIT = 0


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
        self._shift = 32 - bits
        buckets = hashes >> np.uint32(self._shift)
        order = np.argsort(buckets, kind="stable")
        self._bytes = b"".join(map(present.__getitem__, order.tolist()))
        self._starts = _unsigned(np.concatenate(([0], np.cumsum(lengths[ids][order]))))
        self._first = _unsigned(np.concatenate(([0], np.cumsum(np.bincount(buckets, minlength=1 << bits)))))
        ordered = ids[order]
        self._ids = _unsigned(ordered)
        self._ranks = self._ids if ranks is None else _unsigned(np.asarray(ranks)[ordered])
        self._splits = None if splits is None else array("H", np.asarray(splits, dtype=np.uint16)[ordered].tobytes())
        self.size = len(present)

    def _find(self, piece: bytes) -> int:
        bucket = crc32(piece) >> self._shift
        starts = self._starts
        for slot in range(self._first[bucket], self._first[bucket + 1]):
            if self._bytes[starts[slot] : starts[slot + 1]] == piece:
                return slot
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
        return None if slot < 0 else self._bytes[self._starts[slot] : self._starts[slot + 1]]


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
