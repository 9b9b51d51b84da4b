"""`truename verify`: what holds, what does not and why, what could not be judged again, and what is no report at all."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from api.cli import main
from benchmarks.simulated import Endpoint
from fingerprints import signatures
from tests.conftest import REPOSITORY
from tests.endpoints import claim_of, report_on
from tests.verifier.signed import NOW, published, signer, small_report
from tests.verifier.truename import truename
from verifier import verifying
from verifier.batch import Result, judge_together
from verifier.canonical import canonical
from verifier.key_store import KeyStore
from verifier.ledger import Chain, Ledger, next_entry
from verifier.options import Settings
from verifier.publishing import Publisher
from verifier.report.model import Report
from verifier.signing import ENVELOPE, PAGE, REPORT, TRANSCRIPT, Signer, sign, verify_envelope
from verifier.target import Target
from verifier.targets import Row

FILES = (REPORT, TRANSCRIPT, PAGE, ENVELOPE)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory of the test's own."""
    monkeypatch.setenv("TRUENAME_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def folder(home: Path, tmp_path: Path) -> Path:
    """A saved report, the second in its ledger of three."""
    for name in ("before", "out", "after"):
        small_report().save(tmp_path / name)
    return tmp_path / "out"


def verify(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `truename verify`."""
    return truename(capsys, "verify", *arguments)


def failed(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, str]:
    """Failed checks by name, with their reason."""
    code, out, _ = verify(capsys, *arguments, "--json")
    (report,) = json.loads(out)["reports"]
    found = {check["name"]: check["text"] for check in report["checks"] if check["state"] == "failed"}
    assert code == (1 if found else report["exit_code"])
    return found


def test_a_saved_report_holds_and_says_so_in_one_screen(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == set(FILES)
    code, out, err = verify(capsys, folder)
    assert code == 0 and err == ""
    assert re.search(r"out: HOLDS \(inconsistent\)\n", out)
    assert [line.split()[:2] for line in out.splitlines()[1:]] == [["✓", name] for name in ("signature", "files", "ledger", "conclusions")]
    assert "entry 2 of 3" in out and "drawn again, the same" in out and len(out.splitlines()) < 20
    for name in FILES:
        assert verify(capsys, folder / name)[0] == 0


@pytest.mark.parametrize(
    ("name", "check", "why"),
    [
        (REPORT, "files", "report.json is not the file that was signed"),
        (TRANSCRIPT, "files", "transcript.jsonl.gz is not the file that was signed"),
        (PAGE, "files", "report.html is not the file that was signed"),
        (ENVELOPE, "signature", "report.dsse.json"),
    ],
)
def test_one_flipped_byte_is_exit_1_with_the_right_reason(
    capsys: pytest.CaptureFixture[str], folder: Path, name: str, check: str, why: str
) -> None:
    whole = (folder / name).read_bytes()
    for at in (0, 9, len(whole) // 2, len(whole) - 1):
        (folder / name).write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        found = failed(capsys, folder)
        assert list(found) == [check] and why in found[check]


def test_a_flipped_byte_in_the_ledger_is_exit_1_wherever_it_is(capsys: pytest.CaptureFixture[str], folder: Path, home: Path) -> None:
    ledger = home / "ledger.jsonl"
    whole = ledger.read_bytes()
    for at in (5, len(whole) // 2, len(whole) - 1):
        ledger.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        found = failed(capsys, folder)
        assert list(found) == ["ledger"] and "of the ledger" in found["ledger"]


def test_the_same_transcript_packed_anew_is_another_file(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    text = gzip.decompress((folder / TRANSCRIPT).read_bytes())
    (folder / TRANSCRIPT).write_bytes(gzip.compress(text, mtime=1))
    assert "transcript.jsonl.gz is not" in failed(capsys, folder)["files"]


def test_a_missing_file_and_one_that_nobody_signed_are_refused(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    page = (folder / PAGE).read_bytes()
    (folder / PAGE).unlink()
    assert "report.html is missing, though the signature covers it" in failed(capsys, folder)["files"]
    (folder / ENVELOPE).write_bytes(sign(small_report(), None, Publisher().keys.signer()))
    (folder / REPORT).write_bytes(small_report().to_bytes())
    (folder / PAGE).write_bytes(page)
    assert "report.html is not covered by the signature" in failed(capsys, folder)["files"]


def test_a_file_from_another_report_is_refused(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    shutil.copy(folder.parent / "before" / REPORT, folder / REPORT)
    assert "report.json is not the file" in failed(capsys, folder)["files"]


def test_a_report_that_its_ledger_does_not_hold_is_refused(capsys: pytest.CaptureFixture[str], folder: Path, home: Path) -> None:
    lines = (home / "ledger.jsonl").read_bytes().splitlines(keepends=True)
    (home / "ledger.jsonl").write_bytes(lines[0])
    assert "the report is not in the ledger" in failed(capsys, folder)["ledger"]
    (home / "ledger.jsonl").unlink()
    code, out, _ = verify(capsys, folder)
    assert code == 0 and "– ledger       the signer's ledger is not here" in out


def test_somebody_elses_report_needs_their_key_and_can_use_their_ledger(
    capsys: pytest.CaptureFixture[str], folder: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main_keys = tmp_path / "signer.pem"
    with pytest.raises(SystemExit):
        main(["keys", "export", "--out", str(main_keys)])
    monkeypatch.setenv("TRUENAME_DATA_DIR", str(tmp_path / "elsewhere"))
    found = failed(capsys, folder)
    assert list(found) == ["signature"] and "--key" in found["signature"]
    small_report().save(tmp_path / "own")  # a ledger of one's own says nothing about others' reports
    code, out, _ = verify(capsys, folder, "--key", main_keys)
    assert code == 0 and "ledger is not here" in out
    code, out, _ = verify(capsys, folder, "--key", main_keys, "--ledger", home / "ledger.jsonl")
    assert code == 0 and "entry 2 of 3" in out
    stolen = tmp_path / "copy.jsonl"
    stolen.write_bytes((home / "ledger.jsonl").read_bytes().splitlines(keepends=True)[0])
    assert "not in the ledger" in failed(capsys, folder, "--key", main_keys, "--ledger", stolen)["ledger"]
    for wrong in (tmp_path / "none.pem", folder / REPORT):
        code, _, err = verify(capsys, folder, "--key", wrong)
        assert code == 4 and len(err.splitlines()) == 1
    assert verify(capsys, folder, "--key", main_keys, "--ledger", tmp_path / "none")[0] == 4


def test_a_report_from_before_a_rotation_still_holds(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    with pytest.raises(SystemExit):
        main(["keys", "rotate"])
    small_report().save(folder.parent / "rotated")
    capsys.readouterr()
    assert verify(capsys, folder)[0] == verify(capsys, folder.parent / "rotated")[0] == 0
    with pytest.raises(SystemExit):
        main(["keys", "show", "--json"])
    rows = json.loads(capsys.readouterr().out)
    assert [row["signs"] for row in rows].count(True) == 1 and len(rows) == 2
    assert "PRIVATE" not in json.dumps(rows)


def test_other_signatures_installed_are_exit_3_and_say_so(
    capsys: pytest.CaptureFixture[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signatures, "digest", lambda: "0" * 64)
    code, out, _ = verify(capsys, folder)
    assert code == 3 and "HOLDS, BUT WAS NOT JUDGED AGAIN" in out
    assert "judged anew with another signatures than the transcript names: inconsistent, as the report says" in out


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("verdict", {"outcome": "consistent"}, "verdict come out otherwise from the transcript (inconsistent)"),
        ("findings", [], "findings come out otherwise"),
        ("mixture", {"share": 0.5, "low": 0.1, "high": 0.9}, "mixture come out otherwise"),
        ("claim", {"model": "gpt-4o"}, "claim in the report are not what the transcript says"),
        ("target", {"origin": "https://api.example.com"}, "target in the report"),
    ],
)
def test_a_signer_who_writes_other_conclusions_than_the_transcript_gives_is_found_out(
    capsys: pytest.CaptureFixture[str], home: Path, tmp_path: Path, name: str, value: Any, why: str
) -> None:
    report = small_report()
    other = {**report.data[name], **value} if name in ("verdict", "claim", "target") else value
    Report({**report.data, name: other}, report.transcript).save(tmp_path / "out")
    found = failed(capsys, tmp_path / "out")
    assert list(found) == ["conclusions"] and why in found["conclusions"]


def test_a_folder_of_reports_is_verified_whole_and_ends_with_the_worst(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    code, out, _ = verify(capsys, folder.parent)
    assert code == 0 and out.count("HOLDS") == 3
    (folder.parent / "unsigned").mkdir()
    (folder.parent / "unsigned" / REPORT).write_bytes(small_report().to_bytes())
    code, out, _ = verify(capsys, folder.parent)
    assert code == 4 and out.count("HOLDS") == 3 and "UNREADABLE" in out and "truename judge" in out
    (folder / TRANSCRIPT).write_bytes(b"")
    code, out, _ = verify(capsys, folder.parent)
    assert code == 1 and "DOES NOT HOLD" in out


def test_every_row_of_a_batch_is_signed_and_holds(capsys: pytest.CaptureFixture[str], home: Path, tmp_path: Path) -> None:
    claims = [claim_of("llama3"), claim_of("smollm")]
    rows = [Row(f"row {n}", Target.parse("http://127.0.0.1:9/v1", "m"), claim, False) for n, claim in enumerate(claims)]
    results = [Result(row, report_on(Endpoint("smollm", copies=False), row.claim)) for row in rows]
    judge_together(results, Settings(suite="quick")).save(tmp_path / "out")
    code, out, _ = verify(capsys, tmp_path / "out")
    assert code == 0 and out.count("HOLDS") == 3 and "entry 2 of 2" in out


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir(), lambda path: path.write_bytes(b"hello")])
def test_what_is_no_report_is_one_line(capsys: pytest.CaptureFixture[str], home: Path, tmp_path: Path, make: Any) -> None:
    path = tmp_path / "x"
    make(path)
    code, _, err = verify(capsys, path)
    assert code == (1 if path.is_file() else 4) and "Traceback" not in err
    assert not home.exists()  # verifying makes no key and no ledger


def test_files_that_are_too_large_are_not_read(capsys: pytest.CaptureFixture[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifying, "MAX_FILE_BYTES", 1_000)
    code, out, _ = verify(capsys, folder)
    assert code == 4 and "is larger than 1000 bytes" in out


def test_hostile_names_do_not_reach_the_terminal(capsys: pytest.CaptureFixture[str], home: Path, tmp_path: Path) -> None:
    place = tmp_path / "a\x1b[31m\u202eb"
    small_report().save(place)
    code, out, _ = verify(capsys, place)
    assert code == 0 and "\x1b" not in out and "\u202e" not in out


def test_the_report_on_stdout_is_the_canonical_one_and_a_line_end(capsysbinary: pytest.CaptureFixture[bytes], folder: Path) -> None:
    with pytest.raises(SystemExit):
        main(["judge", str(folder), "--json"])
    assert capsysbinary.readouterr().out == small_report().to_bytes() + b"\n"


def test_auditing_alone_makes_no_key(home: Path) -> None:
    report_on(Endpoint("smollm", copies=False), claim_of("llama3"))
    assert not home.exists()


def test_what_could_not_be_written_is_found_out_before_anything_is_asked(
    capsys: pytest.CaptureFixture[str], home: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    dead = "http://127.0.0.1:9/v1"
    commands = (("audit", dead, "--claim", "gpt-4o"), ("identify", dead, "--model", "m"), ("compare", dead, dead, "--model", "m"))
    for command in commands:
        with pytest.raises(SystemExit) as stop:
            main([*command, "--out", str(tmp_path / "file" / "out")])
        err = capsys.readouterr().err
        assert stop.value.code == 4 and "--out" in err and "unreachable" not in err
        with pytest.raises(SystemExit) as stop:
            main([*command, "--out", str(tmp_path / "out")])
        assert stop.value.code == 4 and "unreachable" in capsys.readouterr().err  # the control, which leaves no folder behind
        assert not (tmp_path / "out").exists()
    shutil.rmtree(home)
    home.write_text("in the way", encoding="utf-8")
    with pytest.raises(SystemExit) as stop:
        main([*commands[0], "--out", str(tmp_path / "out")])
    assert stop.value.code == 4 and "TRUENAME_DATA_DIR" in capsys.readouterr().err


def test_the_services_way_another_store_and_ledger(home: Path, tmp_path: Path) -> None:
    key = Signer.generate()
    store = KeyStore(tmp_path / "service" / "keys", SecretStr(key.private_pem.decode()))
    publisher = Publisher(store, Ledger(tmp_path / "service" / "ledger.jsonl"))
    done = publisher.publish(small_report(), tmp_path / "out")
    trust = verifying.Trust(key.public, publisher.ledger.read(key.public))
    assert verifying.verify_files(done.files, trust).exit_code == 0
    assert not home.exists()


def test_an_entry_by_another_key_than_the_reports_does_not_hold() -> None:
    signed = verify_envelope(published().files[ENVELOPE], signer().public)
    own = Chain((published().entry,))
    assert verifying.check_ledger(signed, verifying.Trust(signer().public, own)).state is verifying.State.HELD
    other = Chain((next_entry(None, published().entry.report, Signer.generate(), NOW),))
    check = verifying.check_ledger(signed, verifying.Trust(signer().public, other))
    assert check.state is verifying.State.FAILED and "another key than the report" in check.text


def documented(language: str) -> str:
    """The first block of that language in docs/verifying.md."""
    page = (REPOSITORY / "docs" / "verifying.md").read_text(encoding="utf-8")
    found = re.search(rf"```{language}\n(.*?)```", page, re.DOTALL)
    assert found is not None
    return found[1]


def test_the_three_lines_in_the_documentation_verify_a_report_without_us(
    capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(SystemExit):
        main(["keys", "export", "--out", str(folder / "signer.pem")])
    code = documented("python")
    assert "verifier" not in re.findall(r"import (\w+)|from (\w+)", code)
    plain = [sys.executable, "-I", "-W", "error", "-c", code]
    assert subprocess.run(plain, cwd=folder, capture_output=True, text=True, timeout=60, check=False).returncode == 0
    envelope = json.loads((folder / ENVELOPE).read_bytes())
    envelope["payload"] = envelope["payload"].replace("a", "b", 1)
    (folder / ENVELOPE).write_bytes(canonical(envelope))
    broken = subprocess.run(plain, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert broken.returncode != 0 and "InvalidSignature" in broken.stderr
