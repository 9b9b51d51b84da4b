"""A batch is judged as one: its error rate covers all rows, and no row is lost, whatever happens to its neighbours."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from api.cli import main
from benchmarks.simulated import Endpoint
from tests.endpoints import claim_of, report_on
from verifier.batch import Batch, Result, judge_together
from verifier.errors import CannotRunError
from verifier.options import Settings
from verifier.report.batch import show
from verifier.target import Target
from verifier.targets import Row
from verifier.transcript import Transcript


def row(name: str, tokenizer: str) -> Row:
    return Row(name, Target.parse("https://a.example/v1", "m"), claim_of(tokenizer), False)


def result(name: str, claimed: str, true: str, rows: int, copies: bool = False) -> Result:
    report = report_on(Endpoint(true, copies=copies), claim_of(claimed), alpha=0.01 / rows, suite="standard")
    return Result(row(name, claimed), report)


def judged(*results: Result) -> Batch:
    return judge_together(results, Settings(suite="standard"))


def exit_code(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)


def outcomes(batch: Batch) -> list[str | None]:
    return [each["outcome"] for each in batch.to_json()["rows"]]


def test_honest_rows_are_not_accused_and_the_cheat_among_them_is() -> None:
    batch = judged(result("a", "llama3", "llama3", 3, True), result("b", "o200k", "smollm", 3), result("c", "smollm", "smollm", 3, True))
    assert outcomes(batch) == ["consistent", "inconsistent", "consistent"]
    assert batch.exit_code == 1 and batch.to_json()["accused"] == 1


def test_evidence_for_one_endpoint_is_not_enough_among_many_and_the_row_says_so() -> None:
    """Two rounds of counts reach e = 240: enough at 0.01 alone, not for one of twelve."""
    weak = report_on(Endpoint("smollm", copies=False), claim_of("o200k"), alpha=0.01, suite="standard")
    rows = [Result(row("weak", "o200k"), weak), *(result(f"honest {i}", "smollm", "smollm", 12, True) for i in range(2))]
    failed = [Result(row(f"down {i}", "o200k"), None, CannotRunError("refused", "start it")) for i in range(9)]
    batch = judged(*rows, *failed)
    assert weak.outcome == "inconsistent"
    first = batch.results[0].report
    assert first is not None and first.outcome == "inconclusive"
    assert first.data["verdict"]["reasons"][0]["code"] == "batch-error"


def test_stricter_rows_ask_further_rounds_so_that_a_lone_cheat_is_still_found() -> None:
    cheat = result("cheat", "o200k", "smollm", 12)
    honest = [result(f"honest {i}", "smollm", "smollm", 12, True) for i in range(11)]
    assert outcomes(judged(cheat, *honest))[0] == "inconsistent"


def test_a_row_of_a_batch_is_judged_again_exactly_from_its_transcript() -> None:
    from verifier import judge

    batch = judged(result("a", "o200k", "smollm", 2), result("b", "smollm", "smollm", 2, True))
    for each in batch.results:
        assert each.report is not None
        again = judge(Transcript.from_bytes(each.report.transcript), each.report.transcript)
        assert again.data == each.report.data


def test_the_table_holds_a_line_for_every_row_and_hostile_names_are_inert(tmp_path: Path) -> None:
    hostile = Result(
        Row("[red]\x1b[2J<b>", Target.parse("https://a.example", "m"), claim_of("o200k"), False), None, CannotRunError("it is down", "wait")
    )
    batch = judged(hostile, result("정직한 중계", "smollm", "smollm", 2, True))
    console = Console(record=True, width=160, force_terminal=False)
    show(batch, console)
    text = console.export_text()
    assert "\x1b" not in text and "[red]" in text and "정직한 중계" in text and "it is down; wait" in text
    batch.save(tmp_path / "out")
    stored = json.loads((tmp_path / "out" / "batch.json").read_text(encoding="utf-8"))
    assert [one["outcome"] for one in stored["rows"]] == [None, "consistent"]
    assert (tmp_path / "out" / stored["rows"][1]["folder"] / "report.json").is_file()


def test_the_worst_row_is_the_exit_code() -> None:
    down = Result(row("down", "o200k"), None, CannotRunError("refused", "start it"))
    fine = result("fine", "smollm", "smollm", 2, True)
    assert Batch((fine,), 0.01, 0.01).exit_code == 0
    assert Batch((fine, down), 0.01, 0.005).exit_code == 4
    assert Batch((down, result("cheat", "o200k", "smollm", 2)), 0.01, 0.005).exit_code == 1


def test_the_command_refuses_a_batch_beside_a_single_endpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "targets.toml"
    file.write_text("[[targets]]\nbase_url = 'http://127.0.0.1:9'\nclaim = 'gpt-4o'\n", encoding="utf-8")
    assert exit_code("audit", "http://127.0.0.1:9", "--claim", "gpt-4o", "--targets", str(file)) == 2
    assert exit_code("audit") == 2
    assert exit_code("audit", "--targets", str(file), "--dry-run") == 0
    assert "127.0.0.1:9" in capsys.readouterr().out


def test_a_batch_whose_endpoints_are_all_down_exits_with_4_and_names_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "targets.jsonl"
    file.write_text('{"base_url": "http://127.0.0.1:9", "claim": "gpt-4o", "name": "nobody"}\n', encoding="utf-8")
    assert exit_code("audit", "--targets", str(file), "--json", "--timeout", "2") == 4
    assert json.loads(capsys.readouterr().out)["rows"][0]["error"]
