"""Signed reports: one form per report, one bit changed is one refusal, and a key that is its owner's alone."""

from __future__ import annotations

import base64
import json
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from securesystemslib.dsse import Envelope

from tests.conftest import REPOSITORY
from tests.verifier.signed import NOW, flips, published, signer, small_report
from verifier.canonical import TamperedError, canonical, read_canonical, read_json
from verifier.errors import CannotRunError, UsageError
from verifier.key_store import KeyStore
from verifier.ledger import next_entry
from verifier.report.model import rounded
from verifier.signing import (
    ENVELOPE,
    PAGE,
    PAYLOAD_TYPE,
    REPORT,
    SUBJECTS,
    TRANSCRIPT,
    Keys,
    Signer,
    UnknownKeyError,
    read_envelope,
    sign,
    verify_envelope,
)
from verifier.transcript import digest
from verifier.verifying import State, check_files


def envelope() -> bytes:
    return published().files[ENVELOPE]


def refused(data: bytes) -> str:
    """Why this envelope is refused."""
    with pytest.raises(TamperedError) as stop:
        verify_envelope(data, signer().public)
    return str(stop.value)


def test_what_is_signed_is_the_reports_bytes_and_every_files_digest() -> None:
    signed = verify_envelope(envelope(), signer().public)
    assert signed.report == published().files[REPORT] == published().report.to_bytes()
    assert signed.report in read_envelope(envelope()).payload  # verbatim, not written anew
    assert list(signed.digests) == list(SUBJECTS) and signed.keyids == (signer().keyid,)


def test_every_flipped_byte_of_every_signed_file_is_refused_with_its_name() -> None:
    signed = verify_envelope(envelope(), signer().public)
    files = dict(published().files)
    for name in SUBJECTS:
        whole = files[name]
        ends = (range(0, 12), range(len(whole) - 12, len(whole)))  # gzip's header and trailer among them
        for at, flipped in flips(whole, every_bit=ends if name == TRANSCRIPT else ()):
            check = check_files(signed, {**files, name: flipped})
            assert check.state is State.FAILED and check.text.startswith(f"{name} is not the file that was signed"), (name, at)
    assert check_files(signed, files).state is State.HELD


def test_every_flipped_byte_of_the_envelope_is_refused() -> None:
    keys, whole = signer().public, envelope()
    padding = whole.index(b'","payloadType"')
    tail = (range(padding - 8, len(whole)),)  # base64 padding, payload type, key id, signature: every bit of them
    for at, flipped in flips(whole, every_bit=tail):
        with pytest.raises(TamperedError) as stop:
            verify_envelope(flipped, keys)
        assert ENVELOPE in str(stop.value), at


def changed(**fields: object) -> bytes:
    return canonical({**json.loads(envelope()), **fields})


def signature(**fields: object) -> dict[str, Any]:
    return {**json.loads(envelope())["signatures"][0], **fields}


def spare_bits(text: str) -> str:
    """The same bytes in base64 whose unused last bits are set."""
    body, padding = text.rstrip("="), text[len(text.rstrip("=")) :]
    assert padding
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    other = body[:-1] + alphabet[alphabet.index(body[-1]) + 1] + padding
    assert base64.b64decode(other) == base64.b64decode(text)
    return other


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (lambda: envelope() + b"\n", "canonical form"),
        (lambda: b" " + envelope(), "canonical form"),
        (lambda: json.dumps(json.loads(envelope())).encode(), "canonical form"),
        (lambda: changed(note="hello"), "canonical form"),
        (lambda: changed(signatures=[signature(sig=spare_bits(signature()["sig"]))]), "canonical form"),
        (lambda: changed(signatures=[signature(sig=signature()["sig"].replace("=", ""))]), "not base64"),
        (lambda: changed(signatures=[signature(sig=signature()["sig"] + "\n")]), "not base64"),
        (lambda: changed(signatures=[signature(note="hello")]), "nothing else"),
        (lambda: changed(signatures=[]), "nothing else"),
        (lambda: changed(signatures=[signature(), signature()]), "double"),
        (lambda: changed(signatures=[signature(keyid=signature()["keyid"].upper())]), "malformed"),
        (lambda: changed(signatures="x"), "not a DSSE envelope"),
        (lambda: envelope().replace(b'{"payload"', b'{"payload":"","payload"'), "twice"),
        (lambda: envelope().decode().encode("utf-16"), "not a DSSE envelope"),
        (lambda: b"\xef\xbb\xbf" + envelope(), "not a DSSE envelope"),
        (lambda: b"", "not a DSSE envelope"),
        (lambda: b"[" * 100_000, "not a DSSE envelope"),
        (lambda: b"9" * 10_000, "not a DSSE envelope"),
        (lambda: b" " * 32_000_001, "larger than"),
    ],
)
def test_an_envelope_has_one_form(data: Any, why: str) -> None:
    said = refused(data())
    assert why in said and "; ask whoever gave you the files" in said


def signed_statement(**fields: object) -> bytes:
    """An envelope of a trusted key around another statement."""
    statement = {**json.loads(read_envelope(envelope()).payload), **fields}
    return canonical(signer().envelope(canonical(statement), PAYLOAD_TYPE).to_dict())


def signed_report(**fields: object) -> bytes:
    """An envelope of a trusted key around another report, with the digest that fits it."""
    report = {**published().report.data, **fields}
    digests = {REPORT: digest(canonical(report)), TRANSCRIPT: digest(published().files[TRANSCRIPT])}
    return signed_statement(predicate=report, subject=[{"name": name, "digest": {"sha256": each}} for name, each in digests.items()])


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (lambda: signed_statement(predicate={**small_report().data, "seed": 1}), "covers another report.json"),
        (lambda: signed_statement(predicateType="urn:else"), "not about a Truename report"),
        (lambda: signed_statement(predicate=[{}]), "not about a Truename report"),
        (lambda: signed_report(verdict={"outcome": "guilty"}), "not about a Truename report"),
        (lambda: signed_report(digests={}), "not about a Truename report"),
        (lambda: signed_report(digests={"transcript": "0" * 64, "previous": None}), "drawn from another transcript"),
        (lambda: signed_statement(predicate={}), "not about a Truename report"),
        (lambda: signed_statement(subject=[]), "not about a Truename report"),
        (lambda: signed_statement(subject=[{"name": "../x", "digest": {"sha256": "0" * 64}}]), "not about a Truename report"),
        (lambda: canonical(signer().envelope(b"{ }", PAYLOAD_TYPE).to_dict()), "canonical form"),
        (lambda: canonical(signer().envelope(b"[]", PAYLOAD_TYPE).to_dict()), "not about a Truename report"),
        (lambda: canonical(signer().envelope(read_envelope(envelope()).payload, "text/plain").to_dict()), "not hold an in-toto statement"),
    ],
)
def test_a_trusted_key_makes_no_other_statement_pass(data: Any, why: str) -> None:
    assert why in refused(data())


def test_a_ledger_entrys_signature_passes_for_no_report() -> None:
    entry = next_entry(None, "0" * 64, signer(), NOW).signed()
    assert entry.payload_type != PAYLOAD_TYPE
    taken = Envelope(entry.payload, PAYLOAD_TYPE, entry.signatures)
    assert "does not hold" in refused(canonical(taken.to_dict()))


def test_an_unknown_key_is_refused_with_what_to_do() -> None:
    with pytest.raises(UnknownKeyError, match=r"not known here; get the signer's public key .* --key"):
        verify_envelope(envelope(), Signer.generate().public)
    with pytest.raises(UnknownKeyError):
        verify_envelope(envelope(), Keys())


def test_a_second_signature_counts_only_if_it_holds_too() -> None:
    other = Signer.generate()
    both = read_envelope(envelope())
    added = other.envelope(both.payload, PAYLOAD_TYPE).signatures[other.keyid]
    both.signatures = dict(sorted({**both.signatures, other.keyid: added}.items()))
    data = canonical(both.to_dict())
    assert len(verify_envelope(data, signer().public | other.public).keyids) == 2
    with pytest.raises(UnknownKeyError):
        verify_envelope(data, signer().public)
    both.signatures[other.keyid].signature = "0" * 128
    with pytest.raises(TamperedError, match="does not hold"):
        verify_envelope(canonical(both.to_dict()), signer().public | other.public)


def test_a_report_cannot_be_signed_over_another_transcript() -> None:
    report = small_report()
    with pytest.raises(ValueError, match="another transcript"):
        sign(type(report)(report.data, b"else"), None, signer())


def test_a_report_without_a_page_is_signed_without_one() -> None:
    assert PAGE not in verify_envelope(sign(small_report(), None, signer()), signer().public).digests


numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers()
texts = st.text(st.characters(codec=None))
values = st.recursive(
    st.none() | st.booleans() | numbers | texts, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=10
)


@given(values)
def test_whatever_a_report_may_hold_is_written_and_read_back_the_same(value: Any) -> None:
    written = canonical(rounded(value))
    assert canonical(read_canonical(written, "it", "")) == written


def test_canonical_bytes_are_rfc_8785() -> None:
    value = {"\ud83d\ude00": 1, "ﬀ": 1e21, "é": [1e20, 1.0, -0.0, 1e-7, 0.000001], "a": "\x07\u2028/"}
    text = '{"a":"\\u0007\u2028/","é":[100000000000000000000,1,0,1e-7,0.000001],"😀":1,"ﬀ":1e+21}'
    assert canonical(rounded(value)) == text.encode()
    for wrong in ("[1.0]", "[1e5]", "[ 1]", '{"b":1,"a":1}', '["\\u0041"]', '["\\/"]', "[01]", "[NaN]", "[1e999]", "[" + "9" * 400 + "]"):
        with pytest.raises(TamperedError):
            read_canonical(wrong.encode(), "it", "")
    with pytest.raises(ValueError, match="twice"):
        read_json(b'{"a":1,"a":1}')


# Keys


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    return KeyStore(tmp_path / "data" / "keys")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_first_use_makes_a_key_that_only_its_owner_can_read(store: KeyStore) -> None:
    assert store.current() is None and not list(store.trusted()) and not store.folder.exists()
    made = store.signer()
    assert store.signer().keyid == made.keyid == store.current() and list(store.trusted()) == [made.keyid]
    assert mode(store.folder) == mode(store.folder.parent) == 0o700
    assert {mode(file) for file in store.folder.iterdir()} == {0o600}


def test_processes_that_make_a_key_at_once_get_the_same_one(store: KeyStore) -> None:
    code = f"from pathlib import Path; from verifier.key_store import KeyStore; print(KeyStore(Path({str(store.folder)!r})).signer().keyid)"
    running = [subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    said = [each.communicate(timeout=60)[0].strip() for each in running]
    assert all(each.returncode == 0 for each in running)
    assert set(said) == {store.current()} and list(store.trusted()) == [store.current()]


def test_rotation_keeps_old_public_keys_and_no_old_private_one(store: KeyStore) -> None:
    old = store.signer()
    data = sign(small_report(), None, old)
    new = store.rotate()
    assert set(store.trusted()) == {old.keyid, new.keyid}
    assert store.signer().keyid == new.keyid != old.keyid
    assert verify_envelope(data, store.trusted()).keyids == (old.keyid,)
    assert [file for file in store.folder.iterdir() if old.private_pem in file.read_bytes()] == []


def test_exported_keys_are_read_back_and_anything_else_is_refused(store: KeyStore) -> None:
    store.signer()
    store.rotate()
    assert set(Keys.from_pem(store.trusted().pem())) == set(store.trusted())
    for wrong in (b"", b"hello", store.signer().private_pem, store.trusted().pem().replace(b"M", b"N", 1)):
        with pytest.raises(CannotRunError, match="no Ed25519 public key"):
            Keys.from_pem(wrong)


def test_the_setting_signs_in_place_of_the_stored_key_and_empty_means_unset(store: KeyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUENAME_DATA_DIR", str(store.folder.parent))
    made = store.signer()
    given = Signer.generate()
    raw = given.private.private_bytes_raw()
    for text in (given.private_pem.decode(), base64.b64encode(raw).decode(), raw.hex()):
        monkeypatch.setenv("TRUENAME_SIGNING_KEY", text)
        assert KeyStore.of_user().signer().keyid == KeyStore.of_user().current() == given.keyid
    with pytest.raises(UsageError, match="TRUENAME_SIGNING_KEY"):
        KeyStore.of_user().rotate()
    monkeypatch.setenv("TRUENAME_SIGNING_KEY", "")
    assert KeyStore.of_user().signer().keyid == made.keyid
    assert given.keyid in KeyStore.of_user().trusted()  # its reports still verify once the setting is gone


def test_no_error_and_no_repr_shows_a_private_key(store: KeyStore) -> None:
    for text in ("canary-no-key", "-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----"):
        broken = KeyStore(store.folder, SecretStr(text))
        with pytest.raises(UsageError, match=r"TRUENAME_SIGNING_KEY is not .*; give an Ed25519") as stop:
            broken.signer()
        assert "canary" not in f"{stop.value!r}{stop.value.__cause__!r}{broken!r}"
    assert signer().private_pem.decode().splitlines()[1] not in repr(signer())


def test_a_damaged_key_file_is_said_and_not_replaced(store: KeyStore) -> None:
    made = store.signer()
    (store.folder / "signing.pem").write_bytes(b"\xff")
    with pytest.raises(CannotRunError, match=r"signing\.pem cannot be read .*; restore it"):
        store.signer()
    public = store.folder / f"{made.keyid}.public.pem"
    public.write_bytes(Signer.generate().public_pem)
    with pytest.raises(CannotRunError, match="another key than its name says; delete it"):
        store.trusted()
