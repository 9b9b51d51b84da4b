"""Pack files are the same bytes for the same pack, give back what went in, and refuse everything that was made to mislead."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from datetime import date
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fingerprints import pack_file
from fingerprints.pack_file import Signature, pack_bytes, packs_bytes, read_pack, read_packs, signature_of
from fingerprints.packs import NotAPackError, Pack, PackError, PackModel, canonical, digest_of, installed, stale
from fingerprints.questions import Question, Source, text_digest

OURS = "Name one fruit."
THEIRS = "A question that somebody else wrote."
SOURCE = Source("somebody/questions", "a" * 40, "data/questions.jsonl", {"id_key": "id", "id": "7", "key": "prompt"}, "CC0-1.0")
QUESTIONS = (
    Question("fruit", text_digest(OURS), "choice", "en", OURS, None, 8, 1.0),
    Question("theirs", text_digest(THEIRS), "choice", "ko", None, SOURCE, 64, None),
)
MODELS = (PackModel("gpt-4o", "gpt-4o", "gpt-4o", "gpt-4o", 50), PackModel("made-up-1", "made-up", "made-up", "made-up-1", 3))
COUNTS = np.arange(12, dtype=np.uint32).reshape(2, 2, 3)


def pack(**changes: Any) -> Pack:
    values: dict[str, Any] = {
        "name": "fruit",
        "version": "1",
        "kind": "choices",
        "created": "2026-01-02",
        "expires": "2027-01-02",
        "origin": "made for a test",
        "licence": "CC0-1.0",
        "questions": QUESTIONS,
        "models": MODELS,
        "arrays": {"counts": COUNTS},
        "extra": {"categories": [["apple", "pear", "other"], ["a", "b", "other"]]},
    }
    return Pack(**(values | changes))


def remade(change: Callable[[dict[str, bytes]], object], data: bytes | None = None, **how: Any) -> bytes:
    """A pack file with its members changed, zipped again."""
    with zipfile.ZipFile(io.BytesIO(data or pack_bytes(pack()))) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, body in members.items():
            archive.writestr(name, body, **how)
    return out.getvalue()


def with_manifest(change: Callable[[dict[str, Any]], object]) -> bytes:
    """A pack file whose manifest was changed and is canonical again."""

    def replace(members: dict[str, bytes]) -> None:
        manifest = json.loads(members["manifest.json"])
        change(manifest)
        members["manifest.json"] = canonical(manifest)

    return remade(replace)


def npy(array: Any, pickled: bool = False) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=pickled)
    return out.getvalue()


def test_what_is_written_is_read_back_and_the_bytes_are_the_same_every_time() -> None:
    data = pack_bytes(pack())
    assert data == pack_bytes(pack())
    back = read_pack(data)
    assert (back.name, back.questions, back.models, back.extra) == ("fruit", QUESTIONS, MODELS, pack().extra)
    assert np.array_equal(back.arrays["counts"], COUNTS) and back.arrays["counts"].dtype == np.uint32
    assert back.digest == pack().digest and pack_bytes(back) == data


def test_a_file_holds_one_pack_of_each_kind_and_each_keeps_its_own_digest() -> None:
    other = pack(kind="answers", arrays={"rows": np.zeros(4, np.float16)}, extra={})
    both = packs_bytes([other, pack()])
    assert both == packs_bytes([pack(), other])
    assert [(each.kind, each.digest) for each in read_packs(both)] == [("choices", pack().digest), ("answers", other.digest)]
    assert digest_of([pack(), other]) == digest_of([other, pack(), other]) != digest_of([pack()])
    with pytest.raises(PackError, match="several"):
        read_pack(both)
    with pytest.raises(PackError, match="one of each kind"):
        packs_bytes([pack(), pack()])
    with pytest.raises(PackError, match="one of each kind"):
        packs_bytes([])


def test_a_text_that_others_wrote_is_never_written_and_does_not_change_the_digest() -> None:
    filled = pack(questions=(QUESTIONS[0], dataclasses.replace(QUESTIONS[1], text=THEIRS)))
    assert filled.digest == pack().digest
    assert pack_bytes(filled) == pack_bytes(pack())
    assert THEIRS.encode() not in zipfile.ZipFile(io.BytesIO(pack_bytes(filled))).read("manifest.json")
    assert read_pack(pack_bytes(filled)).questions[1].text is None


def test_arrays_are_read_only_and_big_endian_ones_are_the_same_pack() -> None:
    big = pack(arrays={"counts": COUNTS.astype(">u4")})
    assert big.digest == pack().digest
    with pytest.raises(ValueError, match="read-only"):
        read_pack(pack_bytes(pack())).arrays["counts"][0, 0, 0] = 9


def test_a_pack_says_since_when_it_is_stale() -> None:
    assert stale(pack(), date(2027, 1, 2)) is None
    line = stale(pack(), date(2027, 1, 3))
    assert line is not None and "expired on 2027-01-02" in line and "\n" not in line
    assert stale(pack(expires=None), date(2999, 1, 1)) is None


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"kind": "other"}, "no kind"),
        ({"name": ""}, "one line"),
        ({"origin": "two\nlines"}, "one line"),
        ({"created": "2026-1-2"}, "YYYY-MM-DD"),
        ({"expires": "20270102"}, "YYYY-MM-DD"),
        ({"questions": ()}, "1 to"),
        ({"models": ()}, "1 to"),
        ({"models": (MODELS[0], MODELS[0])}, "twice"),
        ({"models": (dataclasses.replace(MODELS[0], samples=0),)}, "whole number"),
        ({"questions": (QUESTIONS[0], dataclasses.replace(QUESTIONS[0], id="b"))}, "twice"),
        ({"questions": (dataclasses.replace(QUESTIONS[0], text="Name two fruits."),)}, "digest"),
        ({"questions": (dataclasses.replace(QUESTIONS[0], text=None),)}, "neither a text nor a source"),
        ({"questions": (dataclasses.replace(QUESTIONS[0], kind="riddle"),)}, "neither a choice nor open"),
        ({"questions": (dataclasses.replace(QUESTIONS[0], temperature=float("nan")),)}, "temperature"),
        ({"questions": (dataclasses.replace(QUESTIONS[0], max_tokens=0),)}, "whole number"),
        ({"questions": (dataclasses.replace(QUESTIONS[0], language="../../"),)}, "language"),
        ({"questions": (dataclasses.replace(QUESTIONS[1], source=dataclasses.replace(SOURCE, path="../x")),)}, "leaves"),
        ({"questions": (dataclasses.replace(QUESTIONS[1], source=dataclasses.replace(SOURCE, path="/etc/passwd")),)}, "leaves"),
        ({"questions": (dataclasses.replace(QUESTIONS[1], source=dataclasses.replace(SOURCE, repository="x.example/a/b")),)}, "owner/name"),
        ({"questions": (dataclasses.replace(QUESTIONS[1], source=dataclasses.replace(SOURCE, commit="main")),)}, "commit"),
        ({"arrays": {"counts": np.array([{}], dtype=object)}}, "packs do not hold"),
        ({"arrays": {"counts": np.array(["a"])}}, "packs do not hold"),
        ({"arrays": {"counts": np.zeros(3, dtype="c8")}}, "packs do not hold"),
        ({"arrays": {"../counts": COUNTS}}, "not a name"),
        ({"arrays": {"counts": [1, 2]}}, "not an array"),
        ({"arrays": {"counts": np.zeros((1, 1, 1, 1, 1), np.uint8)}}, "dimensions"),
        ({"extra": {"x": float("nan")}}, "plain JSON"),
        ({"extra": {"x": object()}}, "plain JSON"),
    ],
)
def test_an_unsound_pack_cannot_be_made(change: dict[str, Any], why: str) -> None:
    with pytest.raises(PackError, match=why) as refused:
        pack(**change)
    assert "\n" not in str(refused.value)


def one_more(name: str, body: bytes = b"x") -> bytes:
    return remade(lambda members: members.update({name: body}))


def other_array(body: bytes) -> bytes:
    return remade(lambda members: members.update({"arrays/choices/counts.npy": body}))


def twice() -> bytes:
    out = io.BytesIO(pack_bytes(pack()))
    with zipfile.ZipFile(out, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("manifest.json", b"{}")
    return out.getvalue()


def bomb() -> bytes:
    """A member that says it is small and unpacks to more."""
    data = bytearray(one_more("arrays/choices/bomb.npy", b"\0" * 1_000_000))
    size = struct.pack("<L", 1_000_000)
    assert data.count(size) >= 2
    return bytes(data.replace(size, struct.pack("<L", 10)))


def huge_shape() -> bytes:
    """An array header that promises more than memory holds."""
    header = repr({"descr": "<u4", "fortran_order": False, "shape": (2**40, 2, 3)}).encode()
    header += b" " * (63 - (len(header) + 10) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header


HOSTILE = {
    "nothing": b"",
    "no zip": b"PK\x03\x04 not really",
    "a pickle": pickle.dumps({"counts": [1, 2]}),
    "an empty zip": b"PK\x05\x06" + b"\0" * 18,
    "a path that climbs": one_more("../../evil.npy"),
    "an absolute path": one_more("/tmp/evil.npy"),
    "a member of another kind": one_more("code.py"),
    "an array that the manifest does not name": one_more("arrays/choices/spare.npy", npy(COUNTS)),
    "a missing array": remade(lambda members: [members.pop("arrays/choices/counts.npy")]),
    "a missing manifest": remade(lambda members: [members.pop("manifest.json")]),
    "a member twice": twice(),
    "an array of objects": other_array(npy(np.array([{}], dtype=object), pickled=True)),
    "another dtype": other_array(npy(COUNTS.astype(np.int64))),
    "another shape": other_array(npy(COUNTS.reshape(4, 3))),
    "another order": other_array(npy(np.asfortranarray(COUNTS))),
    "other numbers": other_array(npy(COUNTS + 1)),
    "a cut array": other_array(npy(COUNTS)[:-1]),
    "a huge shape": other_array(huge_shape()),
    "no array": other_array(b"\x93NUMPY\x09\x00"),
    "another compression": remade(lambda members: None, compress_type=zipfile.ZIP_BZIP2),
    "a zip bomb": bomb(),
    "a manifest that is a list": remade(lambda members: members.update({"manifest.json": b"[]"})),
    "a deep manifest": remade(lambda members: members.update({"manifest.json": b"[" * 100_000})),
    "spaces in the manifest": remade(lambda members: members.update({"manifest.json": members["manifest.json"] + b"\n"})),
    "a key twice": remade(lambda m: m.update({"manifest.json": m["manifest.json"].replace(b'{"format"', b'{"format":1,"format"')})),
    "another format": with_manifest(lambda manifest: manifest.update({"format": "truename.pack/9"})),
    "no packs": with_manifest(lambda manifest: manifest.update({"packs": []})),
    "a pack that is a string": with_manifest(lambda manifest: manifest.update({"packs": ["x"]})),
    "the same pack twice": with_manifest(lambda manifest: manifest.update({"packs": manifest["packs"] * 2})),
    "an extra field": with_manifest(lambda manifest: manifest["packs"][0].update({"code": "x"})),
    "a field less": with_manifest(lambda manifest: [manifest["packs"][0].pop("licence")]),
    "models that are numbers": with_manifest(lambda manifest: manifest["packs"][0].update({"models": [1]})),
    "a dtype that is a list": with_manifest(lambda manifest: manifest["packs"][0]["arrays"]["counts"].update({"dtype": []})),
    "a dtype of objects": with_manifest(lambda manifest: manifest["packs"][0]["arrays"]["counts"].update({"dtype": "|O"})),
    "a shape of truths": with_manifest(lambda manifest: manifest["packs"][0]["arrays"]["counts"].update({"shape": [True, 2, 3]})),
    "a shape beyond memory": with_manifest(lambda manifest: manifest["packs"][0]["arrays"]["counts"].update({"shape": [2**60, 2, 3]})),
    "another digest": with_manifest(lambda manifest: manifest["packs"][0]["arrays"]["counts"].update({"sha256": "0" * 64})),
    "another text": with_manifest(lambda manifest: manifest["packs"][0]["questions"][0].update({"text": "Name a car."})),
    "a position of lists": with_manifest(lambda manifest: manifest["packs"][0]["questions"][1]["source"].update({"position": [1]})),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_with_one_line(name: str) -> None:
    with pytest.raises(PackError) as refused:
        read_packs(HOSTILE[name])
    assert "\n" not in str(refused.value) and len(str(refused.value)) <= 300


def test_a_file_that_is_no_pack_is_told_apart_from_one_that_does_not_hold() -> None:
    for name in ("nothing", "no zip", "a pickle", "a missing manifest"):
        with pytest.raises(NotAPackError):
            read_packs(HOSTILE[name])
    with pytest.raises(PackError) as refused:
        read_packs(HOSTILE["other numbers"])
    assert not isinstance(refused.value, NotAPackError)


def test_a_file_larger_than_the_cap_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pack_file, "MAX_FILE_BYTES", 100)
    with pytest.raises(PackError, match="larger than 100 bytes"):
        read_packs(pack_bytes(pack()))


def test_members_that_unpack_to_more_than_the_cap_together_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pack_file, "MAX_UNPACKED_BYTES", 500)
    with pytest.raises(PackError, match="unpacks to more"):
        read_packs(pack_bytes(pack()))


def test_a_signature_travels_with_the_file_and_leaves_the_packs_as_they_are() -> None:
    signed = packs_bytes([pack()], lambda manifest: Signature("ab" * 32, hashlib.sha512(manifest).hexdigest()))
    assert read_pack(signed).digest == pack().digest
    found = signature_of(signed)
    assert found is not None and found[0].signature == hashlib.sha512(found[1]).hexdigest()
    assert signature_of(pack_bytes(pack())) is None
    with pytest.raises(PackError, match="Ed25519"):
        signature_of(remade(lambda members: members.update({"signature.json": b'{"algorithm":"none"}'}), signed))


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400))
def test_no_bytes_are_taken_for_a_pack_or_raise_anything_else(data: bytes) -> None:
    with pytest.raises(PackError):
        read_packs(data)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 255), st.booleans())
def test_a_damaged_byte_is_refused_or_changes_nothing(at: int, value: int, cut: bool) -> None:
    whole = pack_bytes(pack())
    at %= len(whole)
    damaged = whole[:at] if cut else whole[:at] + bytes([value]) + whole[at + 1 :]
    try:
        back = read_packs(damaged)
    except PackError:
        return
    assert [each.digest for each in back] == [pack().digest]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(["name", "questions", "models", "arrays", "extra", "kind", "created", "version"]), _JSON)
def test_no_value_in_the_manifest_raises_anything_but_a_pack_error(field: str, value: Any) -> None:
    data = with_manifest(lambda manifest: manifest["packs"][0].update({field: value}))
    try:
        read_packs(data)
    except PackError as refused:
        assert "\n" not in str(refused)


def test_every_installed_pack_is_sound_and_within_its_budget() -> None:
    packs = installed()
    names = [each.name for each in packs]
    assert len(set(names)) == len(names)
    for each in packs:
        assert read_pack(pack_bytes(each)).digest == each.digest
        assert all(question.text is None for question in each.questions if question.source is not None)
    assert sum(len(pack_bytes(each)) for each in packs) <= 20_000_000
