"""A signed pack says what its signer signed, by whom, and nothing else after any byte of it was changed."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from fingerprints.pack_file import Signature, packs_bytes
from fingerprints.packs import Pack
from tests.verifier.pack_stubs import question
from tests.verifier.test_packs_cli import made
from tests.verifier.truename import truename
from verifier import pack_files
from verifier.errors import CannotRunError
from verifier.key_store import KeyStore
from verifier.pack_files import DoesNotHoldError
from verifier.signing import Signer

OURS = (question("Which door do you take?"),)


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUENAME_DATA_DIR", str(tmp_path / "data"))


@pytest.fixture
def signed(tmp_path: Path) -> Path:
    path = tmp_path / "signed.pack"
    pack_files.save(path, [made(OURS)], pack_files.own_signature())
    return path


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """This installation's public key, as its owner would publish it."""
    path = tmp_path / "signer.pem"
    path.write_bytes(KeyStore.of_user().signer().public_pem)
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `truename packs`."""
    return truename(capsys, "packs", *arguments)


def verified(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    code, out, _ = run(capsys, "verify", *arguments, "--json")
    return code, json.loads(out)


def test_a_pack_is_checked_against_the_key_that_its_signer_published(signed: Path, key: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, (row,) = verified(capsys, str(signed), "--key", str(key))
    assert code == 0 and row["holds"] and row["key_known"] and row["keyid"] == KeyStore.of_user().signer().keyid
    assert row["digest"] == made(OURS).digest
    code, out, _ = run(capsys, "verify", str(signed))
    assert code == 0 and f"key {row['keyid'][:16]}" in out and "known here" in out


def test_a_pack_of_another_signer_holds_and_is_said_to_be_a_strangers(
    signed: Path, tmp_path: Path, key: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stranger = Signer.generate()
    theirs = tmp_path / "theirs.pem"
    theirs.write_bytes(stranger.public_pem)
    KeyStore.of_user().rotate()
    assert verified(capsys, str(signed), "--key", str(key))[0] == 0  # an earlier key of the signer's
    code, (row,) = verified(capsys, str(signed), "--key", str(theirs))
    assert code == 1 and not row["holds"] and "another key" in row["why"]
    again = _signed_by(stranger, made(OURS), tmp_path / "again.pack")
    code, out, _ = run(capsys, "verify", str(again))
    assert code == 0 and "not known here" in out


def test_a_signature_that_was_taken_away_or_replaced_does_not_hold_against_a_key(
    signed: Path, key: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    signed.write_bytes(packs_bytes([made(OURS)]))
    code, (row,) = verified(capsys, str(signed), "--key", str(key))
    assert code == 1 and "not signed" in row["why"]
    assert verified(capsys, str(signed))[0] == 0
    _signed_by(Signer.generate(), made(OURS), signed)
    assert verified(capsys, str(signed), "--key", str(key))[0] == 1


@pytest.mark.parametrize("flip", [0x01, 0x80, 0xFF])
def test_no_changed_byte_makes_a_signed_pack_say_something_else(flip: int, signed: Path) -> None:
    """Whatever byte is changed, the file is refused, or (in what a zip notes beside its members, such as dates) says the same."""
    whole, genuine = signed.read_bytes(), pack_files.load(signed)
    refused = 0
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= flip
        signed.write_bytes(changed)
        try:
            found = pack_files.load(signed)
        except CannotRunError:
            refused += 1
        else:
            assert [pack.digest for pack in found.packs] == [pack.digest for pack in genuine.packs], place
            assert found.signed_by == genuine.signed_by, place
            assert all(pack.arrays["counts"].tolist() == [[1]] for pack in found.packs), place
    assert refused > 0.7 * len(whole)


@pytest.mark.parametrize("length", [0, 1, 4, 30, -1, -2, -22])
def test_a_file_that_was_cut_is_refused(length: int, signed: Path) -> None:
    signed.write_bytes(signed.read_bytes()[:length])
    with pytest.raises(CannotRunError):
        pack_files.load(signed)


def test_an_array_that_was_replaced_under_the_signature_is_refused(signed: Path) -> None:
    other = made((question("Which hole do you take?"),))
    with zipfile.ZipFile(signed) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    signed.write_bytes(packs_bytes([other]))
    with zipfile.ZipFile(signed, "a") as archive:
        archive.writestr("signature.json", members["signature.json"])
    with pytest.raises(DoesNotHoldError, match="signature"):
        pack_files.load(signed)


def test_a_key_file_that_is_none_is_one_line(signed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "no.pem").write_text("nothing", encoding="utf-8")
    for name in ("no.pem", "absent.pem"):
        code, out, err = run(capsys, "verify", str(signed), "--key", str(tmp_path / name))
        assert code == 4 and not out and len(err.splitlines()) == 1


def test_packs_that_are_built_again_can_be_signed(
    tmp_path: Path, key: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from fingerprints.build import packs as builder

    def build(arguments: list[str]) -> int:
        (Path(arguments[-1]) / "doors.pack").write_bytes(packs_bytes([made(OURS)]))
        return 0

    monkeypatch.setattr(builder, "main", build)
    out = tmp_path / "out"
    out.mkdir()
    (out / "else.pack").write_bytes(b"somebody else's")
    for options, signer in (((), None), (("--sign",), KeyStore.of_user().signer().keyid)):
        code, said, _ = run(capsys, "build", "--data", str(tmp_path), "--out", str(out), "--json", *options)
        (row,) = json.loads(said)
        assert code == 0 and row["keyid"] == signer and row["digest"] == made(OURS).digest
    assert verified(capsys, str(out / "doors.pack"), "--key", str(key))[0] == 0
    assert (out / "else.pack").read_bytes() == b"somebody else's" and len(list(out.iterdir())) == 2


def _signed_by(signer: Signer, pack: Pack, path: Path) -> Path:
    def sign(manifest: bytes) -> Signature:
        return Signature(signer.private.public_key().public_bytes_raw().hex(), signer.private.sign(manifest).hex())

    pack_files.save(path, [pack], sign)
    return path
