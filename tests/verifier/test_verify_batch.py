"""The summary of a batch is signed over every row's report, and `truename verify` says which file of which row is another."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from tests.endpoints import claim_of
from tests.verifier.signed import flips, small_report
from tests.verifier.truename import truename
from verifier.batch import Result, judge_together
from verifier.batch_signing import ENVELOPE, PAGE, SUMMARY, sign_batch
from verifier.canonical import canonical
from verifier.errors import CannotRunError
from verifier.key_store import KeyStore
from verifier.ledger import Ledger
from verifier.options import Settings
from verifier.signing import Signer
from verifier.target import Target
from verifier.targets import Row
from verifier.transcript import digest
from verifier.verifying import State, Trust
from verifier.verifying_batch import verify_batch

ALPHA = 0.05
"""Error rate of the batch at which the small reports' two rounds of questions suffice among three endpoints."""


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a batch of two rows and one that could not be audited (`out`), beside the data directory that signed it."""
    home = tmp_path_factory.mktemp("batch")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("TRUENAME_DATA_DIR", str(home / "data"))
        batch_of(3).save(home / "out")
    return home


@pytest.fixture
def home(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it for one test to damage."""
    shutil.copytree(saved, tmp_path, dirs_exist_ok=True)
    monkeypatch.setenv("TRUENAME_DATA_DIR", str(tmp_path / "data"))
    return tmp_path


def batch_of(rows: int) -> Any:
    made = [Row(f"row {n}", Target.parse("http://127.0.0.1:9/v1", "m"), claim_of("llama3"), False) for n in range(rows)]
    down = Result(made[-1], None, CannotRunError("it is down", "wait"))
    return judge_together([*(Result(row, small_report()) for row in made[:-1]), down], Settings(suite="quick", alpha=ALPHA))


def verify(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `truename verify`."""
    return truename(capsys, "verify", *arguments)


def trust() -> Trust:
    return Trust(KeyStore.of_user().trusted())


def failed(folder: Path) -> str:
    """The check that fails, or what made verifying impossible."""
    verification = verify_batch(folder, trust())
    names = [check.name for check in verification.checks if check.state is State.FAILED]
    return names[0] if names else str(verification.error or "")


def test_a_batch_holds_with_its_rows_and_says_how_many(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = verify(capsys, home / "out")
    assert code == 0 and out.count("HOLDS") == 3 and "2 reports, 1 could not be audited" in out and "2 of 3 accused" in out
    code, out, _ = verify(capsys, home / "out" / SUMMARY, "--json")
    told = json.loads(out)
    assert code == 0 and len(told["batches"]) == 1 and len(told["reports"]) == 2
    summary = json.loads((home / "out" / SUMMARY).read_bytes())
    assert [row.get("report") for row in summary["rows"]] == [
        digest((home / "out" / row["folder"] / "report.json").read_bytes()) if row["outcome"] else None for row in summary["rows"]
    ]


def test_one_row_can_still_be_verified_by_itself(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = verify(capsys, next((home / "out").glob("001-*")))
    assert code == 0 and "(batch)" not in out


@pytest.mark.parametrize(("name", "step", "check"), [(SUMMARY, 3, "files"), (PAGE, 61, "files"), (ENVELOPE, 7, "signature")])
def test_no_changed_byte_of_the_batchs_files_holds(name: str, step: int, check: str, home: Path) -> None:
    whole = (home / "out" / name).read_bytes()
    for at, changed in islice(flips(whole), 0, None, step):
        (home / "out" / name).write_bytes(changed)
        assert failed(home / "out") == check, at


def test_a_row_that_was_exchanged_for_another_signed_report_is_named(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both reports are the signer's own and hold by themselves: only the summary's signature knows which belongs to the batch."""
    first, second = sorted((home / "out").glob("00[12]-*"))
    shutil.rmtree(first)
    shutil.copytree(second, first)
    code, out, _ = verify(capsys, home / "out")
    assert code == 1 and f"{first.name}/report.json is not the report that was signed with the batch" in out
    assert out.count(": HOLDS") == 2


def test_a_row_that_was_taken_away_is_named(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gone = next((home / "out").glob("001-*"))
    shutil.rmtree(gone)
    code, out, _ = verify(capsys, home / "out")
    assert code == 1 and f"{gone.name}/report.json is missing" in out


@pytest.mark.parametrize(
    "lie",
    [
        lambda data: data["rows"][0].update(outcome="consistent"),
        lambda data: data["rows"][0].update(e_value=1.0),
        lambda data: data["rows"][1].update(findings=[]),
        lambda data: data.update(accused=0),
        lambda data: data.update(endpoints=200),
        lambda data: data.update(row_alpha=0.5),
    ],
)
def test_a_signed_summary_that_says_what_its_reports_do_not_is_refused(lie: Callable[[dict[str, Any]], None], home: Path) -> None:
    """A signer cannot sum their own rows up otherwise than the reports say."""
    data = json.loads((home / "out" / SUMMARY).read_bytes())
    lie(data)
    rewrite(home, data, KeyStore.of_user().signer())
    assert failed(home / "out") == "summary"


def test_a_summary_under_a_key_that_is_not_known_is_refused(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rewrite(home, json.loads((home / "out" / SUMMARY).read_bytes()), Signer.generate())
    code, out, _ = verify(capsys, home / "out")
    assert code == 1 and "is not known here" in out


@pytest.mark.parametrize("folder", ["../data", "001-a/../..", "/etc", "001-a\x00", "x"])
def test_a_signed_summary_that_names_a_folder_elsewhere_is_refused(folder: str, home: Path) -> None:
    data = json.loads((home / "out" / SUMMARY).read_bytes())
    data["rows"][0]["folder"] = folder
    rewrite(home, data, KeyStore.of_user().signer())
    assert failed(home / "out") == "signature"


def test_a_summary_without_a_signature_is_unreadable_and_its_rows_still_hold(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "out" / ENVELOPE).unlink()
    code, out, _ = verify(capsys, home / "out")
    assert code == 4 and "rely on the rows' own reports" in out and out.count(": HOLDS") == 2


def test_the_page_of_an_earlier_batch_goes_where_this_one_has_none(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any, **options: Any) -> bytes:
        raise ValueError("cannot be drawn")

    monkeypatch.setattr("verifier.report.html.render_batch_html", broken)
    batch_of(2).save(home / "out")
    assert not (home / "out" / PAGE).exists() and failed(home / "out") == ""
    assert len(Ledger.of_user().read(trust().keys).entries) == 3


def test_a_batch_of_which_nothing_could_be_audited_is_signed_too(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    batch_of(1).save(home / "none")
    code, out, _ = verify(capsys, home / "none")
    assert code == 0 and "0 reports, 1 could not be audited" in out


def rewrite(home: Path, data: dict[str, Any], signer: Signer) -> None:
    (home / "out" / SUMMARY).write_bytes(canonical(data))
    (home / "out" / ENVELOPE).write_bytes(sign_batch(data, (home / "out" / PAGE).read_bytes(), signer))
