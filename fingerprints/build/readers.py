"""Readers of the files in which tokenizers are published: each takes the file's bytes and gives tokens in id order with merge rules.

An empty token is an id that text never produces (special tokens, gaps). Nothing here downloads or writes.
"""

from __future__ import annotations

import base64
import json
import re
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from fingerprints.claude_text import BEGIN, CAPS, END, SHIFT

ANY_SPLIT = 0
NEVER = 0xFFFF
SPACE_MARK = "\u2581"
_BYTE_PIECE = re.compile(r"<0x[0-9A-F]{2}>")


@dataclass(frozen=True)
class Tokens:
    """Tokens in id order; ``ranks`` and ``splits`` as in :class:`fingerprints.pieces.PieceTable`, None where they say nothing."""

    tokens: list[bytes]
    ranks: list[int] | None = None
    splits: list[int] | None = None


def by_id(pairs: Iterable[tuple[int, bytes]]) -> list[bytes]:
    """A list indexed by id; ids that are not named hold an empty token."""
    named = dict(pairs)
    return [named.get(i, b"") for i in range(max(named) + 1)]


def length_prefixed(data: bytes) -> Tokens:
    """A u32 count, then records of u16 length, bytes, u32 rank, all little-endian."""
    pairs: list[tuple[int, bytes]] = []
    at = 4
    while at < len(data):
        (length,) = struct.unpack_from("<H", data, at)
        token = data[at + 2 : at + 2 + length]
        (rank,) = struct.unpack_from("<I", data, at + 2 + length)
        pairs.append((rank, token))
        at += 6 + length
    return Tokens(by_id(pairs))


def tiktoken_lines(data: bytes) -> Tokens:
    """Lines of base64 token and decimal rank."""
    rows = (line.split() for line in data.splitlines() if line.strip())
    return Tokens(by_id((int(rank), base64.b64decode(token)) for token, rank in rows))


def tekken(data: bytes) -> Tokens:
    """Mistral's tekken JSON: ids are ranks after a block of special tokens."""
    document = json.loads(data)
    config = document["config"]
    first = config["default_num_special_tokens"]
    kept = config["default_vocab_size"] - first
    rows = (row for row in document["vocab"] if row["rank"] < kept)
    return Tokens(by_id((first + row["rank"], base64.b64decode(row["token_bytes"])) for row in rows))


def huggingface(data: bytes) -> Tokens:
    """A tokenizer.json with a byte-level BPE model. Of the added tokens only single characters are kept: the others never stand for
    ordinary text."""
    document = json.loads(data)
    added = {row["id"]: row["content"] for row in document.get("added_tokens", ())}
    vocabulary = {token: i for token, i in document["model"]["vocab"].items() if i not in added}
    merges = [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in document["model"]["merges"]]
    parsed = byte_level(vocabulary, merges)
    letters = {i: content.encode() for i, content in added.items() if len(content) == 1}
    if not letters:
        return parsed
    gap = max(letters) + 1 - len(parsed.tokens)
    tokens = [letters.get(i, token) for i, token in enumerate([*parsed.tokens, *[b""] * gap])]
    return Tokens(tokens, parsed.ranks, None if parsed.splits is None else [*parsed.splits, *[NEVER] * gap])


def huggingface_pieces(data: bytes) -> Tokens:
    """A tokenizer.json that was made from a SentencePiece BPE model: all pairs of a piece are listed, so it merges by content."""
    document = json.loads(data)
    special = {row["id"] for row in document.get("added_tokens", ())}
    tokens = by_id(
        (i, b"" if i in special or _BYTE_PIECE.fullmatch(piece) else piece.replace(SPACE_MARK, " ").encode())
        for piece, i in document["model"]["vocab"].items()
    )
    ids = {token: i for i, token in enumerate(tokens) if token}
    splits = [ANY_SPLIT if len(token.decode()) < 2 else NEVER for token in tokens]
    ranks = [0] * len(tokens)
    for rank, pair in enumerate(document["model"]["merges"]):
        merged = ids["".join(pair if isinstance(pair, list) else pair.split(" ")).replace(SPACE_MARK, " ").encode()]
        if splits[merged] == NEVER:
            ranks[merged], splits[merged] = rank, ANY_SPLIT
    return Tokens(tokens, ranks, splits if NEVER in splits else None)


def byte_level(vocabulary: dict[str, int], merges: list[tuple[str, ...]]) -> Tokens:
    """Tokens spelled with one printable character a byte, and their merge pairs in order of priority."""
    spelled = {spelling: byte for byte, spelling in enumerate(byte_spelling())}
    tokens = by_id((i, bytes(spelled[c] for c in token)) for token, i in vocabulary.items() if all(c in spelled for c in token))
    ids = {token: i for i, token in enumerate(tokens) if token}
    ranks = [0] * len(tokens)
    splits = [ANY_SPLIT if len(token) < 2 else NEVER for token in tokens]
    for rank, (left, right) in enumerate(merges):
        half = bytes(spelled[c] for c in left)
        merged = ids[half + bytes(spelled[c] for c in right)]
        if splits[merged] != NEVER:
            return Tokens(tokens)  # every split of a token is listed: the vocabulary merges by content, in id order
        ranks[merged], splits[merged] = rank, len(half)
    order = [rank for rank, split in zip(ranks, splits, strict=True) if split not in (ANY_SPLIT, NEVER)]
    return Tokens(tokens, None if order == sorted(order) else ranks, splits)


def byte_spelling() -> list[str]:
    """The printable character that stands for each byte in byte-level vocabularies (GPT-2's table)."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    spare = iter(range(0x100, 0x200))
    return [chr(byte if byte in printable else next(spare)) for byte in range(256)]


def sentencepiece(data: bytes) -> Tokens:
    """A SentencePiece model (protobuf) of BPE type which merges by score. The space mark is written as a space."""
    tokens: list[bytes] = []
    scores: list[tuple[int, float]] = []
    for field, payload in _messages(data):
        if field != 1 or not isinstance(payload, bytes):
            continue
        piece, score, kind = b"", 0.0, 1
        for inner, value in _messages(payload):
            if inner == 1 and isinstance(value, bytes):
                piece = value
            elif inner == 2 and isinstance(value, bytes):
                (score,) = struct.unpack("<f", value)
            elif inner == 3 and isinstance(value, int):
                kind = value
        ordinary = kind in (1, 4)  # normal, user-defined; not unknown, control, unused or byte
        if ordinary and kind == 1 and len(piece.decode()) > 1:
            scores.append((len(tokens), score))
        tokens.append(piece.decode().replace(SPACE_MARK, " ").encode() if ordinary else b"")
    if scores == sorted(scores, key=lambda row: -row[1]) and len({score for _, score in scores}) == len(scores):
        return Tokens(tokens)
    order = {score: rank for rank, score in enumerate(sorted({score for _, score in scores}, reverse=True))}
    ranks = [0] * len(tokens)
    for token_id, score in scores:
        ranks[token_id] = order[score]  # pieces of one score (runs of spaces) merge leftmost first
    return Tokens(tokens, ranks)


def _messages(data: bytes) -> Iterable[tuple[int, int | bytes]]:
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        if tag & 7 == 0:
            value, at = _varint(data, at)
            yield tag >> 3, value
            continue
        if tag & 7 == 2:
            size, at = _varint(data, at)
        else:
            size = {1: 8, 5: 4}[tag & 7]
        yield tag >> 3, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def gguf(data: bytes) -> Tokens:
    """The byte-level BPE vocabulary in a GGUF model file's metadata."""
    metadata = gguf_metadata(data)
    kinds = metadata["tokenizer.ggml.token_type"]
    tokens = metadata["tokenizer.ggml.tokens"]
    vocabulary = {token: i for i, (token, kind) in enumerate(zip(tokens, kinds, strict=True)) if kind == 1}
    return byte_level(vocabulary, [tuple(m.split(" ")) for m in metadata["tokenizer.ggml.merges"]])


def gguf_metadata(data: bytes) -> dict[str, Any]:
    """All key-value pairs at the head of a GGUF file (version 2 or 3)."""
    magic, _version, _tensors, pairs = struct.unpack_from("<4sIQQ", data)
    if magic != b"GGUF":
        raise ValueError("not a GGUF file")
    at = 24
    out: dict[str, Any] = {}
    for _ in range(pairs):
        key, at = _gguf_string(data, at)
        (kind,) = struct.unpack_from("<I", data, at)
        out[key], at = _gguf_value(data, at + 4, kind)
    return out


_GGUF_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}


def _gguf_value(data: bytes, at: int, kind: int) -> tuple[Any, int]:
    if kind == 8:
        return _gguf_string(data, at)
    if kind == 9:
        inner, size = struct.unpack_from("<IQ", data, at)
        at += 12
        values = []
        for _ in range(size):
            value, at = _gguf_value(data, at, inner)
            values.append(value)
        return values, at
    code = "<" + _GGUF_NUMBERS[kind]
    return struct.unpack_from(code, data, at)[0], at + struct.calcsize(code)


def _gguf_string(data: bytes, at: int) -> tuple[str, int]:
    (size,) = struct.unpack_from("<Q", data, at)
    return data[at + 8 : at + 8 + size].decode("utf-8", "replace"), at + 8 + size


def claude(data: bytes) -> Tokens:
    """A ctok vocabulary: its pieces with each marker as one private-use character, and its byte prefixes, sorted; no witnesses."""
    document = json.loads(data)
    tokens: set[bytes] = set()
    for group, pieces in document["tokens"].items():
        for spelling in pieces:
            if group == "bytes_fallback":
                tokens.add(bytes.fromhex(spelling))
                continue
            piece = spelling
            for atom, marker in _MARKERS.items():
                piece = piece.replace(atom, marker)
            tokens.add(piece.encode())
            if group == "contractions":
                tokens.add((piece + END).encode())  # listed without the end marker that text always gives it
    return Tokens(sorted(tokens))


_MARKERS = {"⟨bow⟩": BEGIN, "⟨eow⟩": END, "⟨shift⟩": SHIFT, "⟨caps⟩": CAPS}

READERS: dict[str, Callable[[bytes], Tokens]] = {
    "length-prefixed": length_prefixed,
    "tiktoken": tiktoken_lines,
    "tekken": tekken,
    "huggingface": huggingface,
    "sentencepiece": sentencepiece,
    "gguf": gguf,
    "huggingface-pieces": huggingface_pieces,
    "claude": claude,
}
