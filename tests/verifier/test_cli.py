"""The command line: exit codes, one line per error, and nothing secret on any stream."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks.simulated import Endpoint
from tests.endpoints import claim_of, transcript_of
from tests.verifier.truename import truename
from verifier.auditing import conclude

DEAD = "http://127.0.0.1:9/v1"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An audit's folder: SmolLM's vocabulary claimed as Llama 3's."""
    transcript = transcript_of(Endpoint("smollm", copies=False), claim_of("llama3"))
    conclude(transcript, transcript.to_bytes()).save(tmp_path)
    return tmp_path


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = truename(capsys, "--help")
    assert code == 0
    assert all(command in out for command in ("audit", "identify", "judge", "demo", "catalog"))


def test_a_dead_endpoint_is_exit_4_and_one_line_that_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = truename(capsys, "audit", DEAD, "--claim", "gpt-4o")
    (line,) = [line for line in err.splitlines() if line.startswith("truename:")]
    assert code == 4 and out == ""
    assert "unreachable" in line and "check the URL" in line and "Traceback" not in err


@pytest.mark.parametrize(
    "arguments",
    [
        ("audit", DEAD),
        ("audit", DEAD, "--claim", ""),
        ("audit", "not a url", "--claim", "gpt-4o"),
        ("audit", "ftp://x/v1", "--claim", "gpt-4o"),
        ("audit", "http://user:pw@x/v1", "--claim", "gpt-4o"),
        ("audit", DEAD, "--claim", "gpt-4o", "--suite", "huge"),
        ("audit", DEAD, "--claim", "gpt-4o", "--alpha", "2"),
        ("audit", DEAD, "--claim", "gpt-4o", "--wire", "smoke-signals"),
        ("audit", DEAD, "--claim", "gpt-4o", "--format", "papyrus"),
        ("audit", DEAD, "--claim", "gpt-4o", "--api-key-env", "NO_SUCH_VARIABLE_HERE"),
        ("audit", DEAD, "--claim", "gpt-4o", "--header", "no colon"),
        ("audit", DEAD, "--claim", "reflection-70b", "--family", "no-such-family"),
        ("identify", DEAD),
        ("no-such-command",),
    ],
)
def test_wrong_usage_is_exit_2(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
    code, out, err = truename(capsys, *arguments)
    assert code == 2 and out == "" and err and "Traceback" not in err


def test_metadata_addresses_are_refused_by_the_guard(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = truename(capsys, "audit", "http://169.254.169.254/v1", "--claim", "gpt-4o")
    assert code == 4 and "169.254.169.254" in err


def test_judge_repeats_the_stored_conclusions(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    code, out, _ = truename(capsys, "judge", str(folder), "--json")
    assert code == 1
    assert json.loads(out)["verdict"] == json.loads((folder / "report.json").read_text(encoding="utf-8"))["verdict"]


def test_judge_against_another_claim_and_as_text(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    code, out, _ = truename(capsys, "judge", str(folder / "transcript.jsonl.gz"), "--claim", "smollm2-135m")
    assert code == 0 and out.startswith("CONSISTENT with smollm2-135m")
    code, out, _ = truename(capsys, "judge", str(folder))
    assert code == 1 and "INCONSISTENT" in out and "smollm" in out


def test_a_missing_or_broken_transcript_is_exit_4(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert truename(capsys, "judge", str(tmp_path / "none"))[0] == 4
    (tmp_path / "transcript.jsonl.gz").write_bytes(b"no gzip")
    code, _, err = truename(capsys, "judge", str(tmp_path))
    assert code == 4 and len(err.splitlines()) == 1


def test_a_dry_run_sends_nothing_and_states_the_cost(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = truename(capsys, "audit", DEAD, "--claim", "gpt-4o", "--suite", "quick", "--dry-run", "--seed", "5", "--json")
    plan = json.loads(out)
    assert code == 0
    assert 0 < plan["requests"] <= 15 and plan["prompt_tokens"] > 100 and plan["dollars"] > 0
    assert len(plan["questions"]) == plan["requests"] and plan["seed"] == 5
    again = json.loads(truename(capsys, "audit", DEAD, "--claim", "gpt-4o", "--suite", "quick", "--dry-run", "--seed", "5", "--json")[1])
    assert again == plan
    code, out, _ = truename(capsys, "audit", DEAD, "--claim", "some-private-model", "--suite", "quick", "--dry-run")
    assert code == 0 and "price unknown" in out and "Nothing was sent" in out


def test_the_catalog_lists_and_shows_and_suggests(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = truename(capsys, "catalog", "list", "--json")
    assert code == 0 and len(json.loads(out)) >= 300
    assert "gpt-4o" in truename(capsys, "catalog", "list")[1]
    assert json.loads(truename(capsys, "catalog", "show", "GPT-4o")[1])["tokenizer"] == "o200k"
    code, _, err = truename(capsys, "catalog", "show", "gpt-4oo")
    assert code == 4 and "gpt-4o" in err


def test_a_key_never_reaches_a_stream(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUENAME_API_KEY", "sk-canary-3141592653589793")
    code, out, err = truename(capsys, "audit", DEAD, "--claim", "gpt-4o", "--header-env", "X-Auth=TRUENAME_API_KEY")
    assert code == 4 and "canary" not in out + err


def test_a_body_file_must_hold_an_object(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "body.json").write_text("[1]", encoding="utf-8")
    assert truename(capsys, "audit", DEAD, "--claim", "gpt-4o", "--body", str(tmp_path / "body.json"))[0] == 4
    assert truename(capsys, "audit", DEAD, "--claim", "gpt-4o", "--body", str(tmp_path / "none.json"))[0] == 4


def test_debug_adds_the_traceback_and_keeps_the_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = truename(capsys, "--debug", "audit", DEAD, "--claim", "gpt-4o")
    assert code == 4 and "Traceback" in err and "unreachable" in err.splitlines()[-1]


@pytest.mark.parametrize("debug", [(), ("--debug",)])
def test_a_bug_of_ours_is_exit_4_and_never_reads_as_an_accusation(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, folder: Path, debug: tuple[str, ...]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("sk-canary-in-an-unexpected-message")

    monkeypatch.setattr("verifier.auditing.judge", broken)
    code, out, err = truename(capsys, *debug, "judge", str(folder))
    last = err.splitlines()[-1]
    assert code == 4 and out == ""
    assert last.startswith("truename: unexpected error (ZeroDivisionError in test_cli.py:") and "canary" not in last
    assert ("Traceback" in err) == bool(debug) and ("--debug" in last) != bool(debug)


def test_a_reader_that_closes_the_pipe_is_exit_4(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """typer would end with 1, which is the code of an accusation."""

    def closed(*_: object, **__: object) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("verifier.auditing.judge", closed)
    streams = sys.stdout, sys.stderr
    try:
        assert truename(capsys, "judge", str(folder))[0] == 4
    finally:
        sys.stdout, sys.stderr = streams
