"""`truename demo` on real models: it exposes the two that pose, clears the one that does not, and its transcripts re-judge offline."""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.real.command import Outcome, python, truename
from verifier import judge
from verifier.transcript import Transcript

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("demo"), pytest.mark.timeout(300)]

EXPECTED = {
    "honest-smollm2": ("consistent", "smollm"),
    "smollm2-as-gpt-4o": ("inconsistent", "smollm"),
    "gemma3-as-llama-3.1-70b": ("inconsistent", "gemma3"),
}
REPLAYED = ("verdict", "findings", "blocks", "mixture", "switches")
"""Parts of a report that a replay gives back exactly."""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Outcome, Path]:
    """One run of the demo and the folder that it wrote."""
    out = tmp_path_factory.mktemp("demo") / "reports"
    return truename("demo", "--out", str(out)), out


def _report(out: Path, case: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((out / case / "report.json").read_text(encoding="utf-8"))
    return data


def test_the_demo_ends_well_and_leaves_a_folder_per_audit(demo: tuple[Outcome, Path]) -> None:
    outcome, out = demo
    assert outcome.code == 0, outcome.stdout[-3000:] + outcome.stderr[-3000:]
    assert {path.name for path in out.iterdir()} == set(EXPECTED)
    for case in EXPECTED:
        assert {path.name for path in (out / case).iterdir()} == {"report.json", "report.html", "report.dsse.json", "transcript.jsonl.gz"}


def test_the_demos_reports_are_signed_and_verify(demo: tuple[Outcome, Path]) -> None:
    verified = truename("verify", str(demo[1]), "--json")
    assert verified.code == 0, verified.stdout + verified.stderr
    reports = verified.json["reports"]
    assert [Path(report["place"]).name for report in reports] == sorted(EXPECTED)
    assert {check["state"] for report in reports for check in report["checks"]} == {"held"}
    assert len(reports[0]["checks"]) == 4


@pytest.mark.parametrize("case", EXPECTED)
def test_the_demo_exposes_who_poses_clears_who_does_not_and_names_the_tokenizer(demo: tuple[Outcome, Path], case: str) -> None:
    verdict = _report(demo[1], case)["verdict"]
    assert (verdict["outcome"], verdict["tokenizer"][0]["family"]) == EXPECTED[case]


@pytest.mark.parametrize("case", EXPECTED)
def test_a_demo_audit_costs_at_most_15_requests_and_2500_tokens(demo: tuple[Outcome, Path], case: str) -> None:
    cost = _report(demo[1], case)["cost"]
    assert cost["requests"] <= 15
    assert cost["prompt_tokens"] + cost["completion_tokens"] <= 2500


@pytest.mark.parametrize("case", EXPECTED)
def test_a_demo_transcript_judged_again_gives_the_same_conclusions(demo: tuple[Outcome, Path], case: str) -> None:
    again = judge(*Transcript.load(demo[1] / case))
    assert {part: json.loads(again.to_json())[part] for part in REPLAYED} == {part: _report(demo[1], case)[part] for part in REPLAYED}


def _without_network() -> list[str]:
    """The words before a command that give it a network namespace of its own; skips where this machine allows none."""
    for words in (["unshare", "-rn"], ["unshare", "-n"]):
        try:
            subprocess.run([*words, "true"], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            continue
        return words
    pytest.skip("unshare may not make a network namespace here")


def test_demo_transcripts_are_judged_to_the_same_conclusions_without_a_network(demo: tuple[Outcome, Path]) -> None:
    words = _without_network()
    with socket.create_server(("127.0.0.1", 0)) as listening:  # the control: what answers here is out of reach there
        address = repr(listening.getsockname()[:2])
        control = python("-c", f"import socket; socket.create_connection({address}, 2)", before=words)
    assert control.code == 1 and "OSError" in control.stderr
    for case, (expected, _) in EXPECTED.items():
        judged = truename("judge", str(demo[1] / case), "--json", before=words)
        assert judged.code == {"consistent": 0, "inconsistent": 1}[expected], judged.stderr
        assert judged.stderr == ""
        stored = _report(demo[1], case)
        assert {part: judged.json[part] for part in REPLAYED} == {part: stored[part] for part in REPLAYED}
