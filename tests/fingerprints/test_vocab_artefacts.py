"""The data files of the vocabularies are the ones that the table names, and say what their publishers say."""

from __future__ import annotations

import base64
import hashlib
import tomllib
from pathlib import Path

import pytest

from fingerprints import tokenizers
from fingerprints.pieces import PieceTable, read_tokens, write_pieces

DATA = tokenizers.DATA
TABLE = tomllib.loads((DATA / "vocabularies.toml").read_text(encoding="utf-8"))
SHIPPED = {name: row for name, row in TABLE["families"].items() if "file" in row}
# SHA-256 of the .tiktoken files that tiktoken 0.14 pins for these encodings.
PUBLISHED = {
    "o200k": "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    "cl100k": "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    "p50k": "94b5ca7dff4d00767bc256fdd1b27e5b17361d7b8a5f968547f9f23eb70d2069",
}


@pytest.mark.parametrize("name", SHIPPED)
def test_every_artefact_has_the_sha256_of_the_table(name: str) -> None:
    content = (DATA / "vocab" / SHIPPED[name]["file"]).read_bytes()
    assert hashlib.sha256(content).hexdigest() == SHIPPED[name]["sha256"]


def test_no_artefact_lies_beside_the_table() -> None:
    assert {path.name for path in (DATA / "vocab").iterdir()} == {row["file"] for row in SHIPPED.values()}


@pytest.mark.parametrize("name", PUBLISHED)
def test_openai_vocabularies_are_byte_for_byte_the_published_ones(name: str) -> None:
    tokens = read_tokens(DATA / "vocab" / f"{name}.npz.xz")
    lines = b"".join(base64.b64encode(token) + b" %d\n" % rank for rank, token in enumerate(tokens) if token)
    assert hashlib.sha256(lines).hexdigest() == PUBLISHED[name]


def test_every_shipped_family_has_a_pinned_source_and_a_row_on_its_rights() -> None:
    sources = (DATA / "SOURCES.md").read_text(encoding="utf-8")
    for name, row in TABLE["families"].items():
        assert f"| {name} |" in sources, name
        if "file" in row:
            pin = TABLE["packages"][row["source"]["package"]]
            assert len(pin["sha256"]) == 64
            assert pin["version"] in sources


def test_gated_vocabularies_are_not_redistributed() -> None:
    gated = {"llama2", "llama3", "llama4", "gemma2", "gemma3"}
    assert gated.isdisjoint(SHIPPED)
    assert all(len(TABLE["families"][name]["digest"]) == 64 for name in gated)


def test_a_table_finds_each_token_by_bytes_and_by_id_and_nothing_else() -> None:
    tokens = [b"a", b"", b"ab", bytes([0xFF]), "한".encode(), b"abc" * 100]
    table = PieceTable(tokens, ranks=[9, 0, 7, 5, 3, 1], splits=[0, 0, 1, 0, 0, 3])
    assert [table.token(i) for i in range(-1, 7)] == [None, b"a", None, b"ab", b"\xff", "한".encode(), b"abc" * 100, None]
    assert [table.rank(token) for token in (b"a", b"ab", b"b", b"")] == [9, 7, -1, -1]
    assert table.merge_rank(b"ab", 1) == 7
    assert table.merge_rank(b"abc" * 100, 3) == 1
    assert table.merge_rank(b"abc" * 100, 6) == -1
    assert b"" not in table


def test_the_same_tokens_always_give_the_same_file(tmp_path: Path) -> None:
    tokens = [bytes([i]) for i in range(256)] + [b"he", b"", b"x" * 300]
    for copy in ("first", "second"):
        write_pieces(tmp_path / copy, tokens, None, None)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
    assert read_tokens(tmp_path / "first") == tokens
