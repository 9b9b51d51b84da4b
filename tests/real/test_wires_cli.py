"""Every wire from the command line against a real model: llama.cpp speaks three, two are translated from its real replies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.real import other_wires
from tests.real.command import CANARY, truename
from tests.real.other_wires import API_VERSION, TENANT

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("wires"), pytest.mark.timeout(300)]

CLAIM = "smollm2-135m-instruct"


def _audit(out: Path, base_url: str, claim: str, *more: str) -> tuple[int, dict[str, Any]]:
    """Exit code and report.json of `truename audit` as a user runs it."""
    ended = truename("audit", base_url, "--claim", claim, "--suite", "quick", "--seed", "5", "--out", str(out), *more)
    assert (out / "report.json").is_file(), ended.stderr
    report: dict[str, Any] = json.loads((out / "report.json").read_text(encoding="utf-8"))
    print(report["target"], report["verdict"]["outcome"], [reason["text"] for reason in report["verdict"]["reasons"]])
    assert CANARY not in ended.stdout + ended.stderr + (out / "report.json").read_text(encoding="utf-8")
    return ended.code, report


def _cleared(ended: tuple[int, dict[str, Any]], wire: str) -> None:
    code, report = ended
    assert (code, report["verdict"]["outcome"], report["target"]["wire"]) == (0, "consistent", wire)
    assert report["verdict"]["tokenizer"][0]["family"] == "smollm"


def _exposed(ended: tuple[int, dict[str, Any]], wire: str) -> None:
    code, report = ended
    assert (code, report["verdict"]["outcome"], report["target"]["wire"]) == (1, "inconsistent", wire)
    assert report["verdict"]["tokenizer"][0]["family"] == "smollm"


@pytest.mark.parametrize(
    ("path", "asked", "wire"),
    [
        ("", "openai", "openai"),
        ("", "responses", "responses"),
        ("", "anthropic", "anthropic"),
        ("", "auto", "openai"),
        ("/messages", "auto", "anthropic"),
    ],
)
def test_an_honest_model_is_cleared_on_every_wire_that_llama_cpp_speaks(
    smollm2: str, tmp_path: Path, path: str, asked: str, wire: str
) -> None:
    _cleared(_audit(tmp_path, smollm2 + path, CLAIM, "--wire", asked), wire)


@pytest.mark.parametrize("wire", ["responses", "anthropic"])
def test_a_model_that_poses_as_gpt_4o_is_exposed_on_the_other_wires_too(smollm2: str, tmp_path: Path, wire: str) -> None:
    _exposed(_audit(tmp_path, smollm2, "gpt-4o", "--wire", wire), wire)


@pytest.mark.parametrize(("claim", "verdict"), [(CLAIM, _cleared), ("gpt-4o", _exposed)])
def test_googles_wire_carries_an_audit_from_end_to_end(smollm2: str, tmp_path: Path, claim: str, verdict: Any) -> None:
    with other_wires.gemini(smollm2) as served:
        verdict(_audit(tmp_path, served.base_url, claim, "--wire", "gemini"), "gemini")
    assert {path.partition(":")[2] for path, _, _ in served.requests} >= {
        "generateContent",
        "streamGenerateContent?alt=sse",
    } or claim != CLAIM
    assert {headers["x-goog-api-key"] for _, headers, _ in served.requests} == {CANARY}


def test_azures_path_query_header_and_extra_fields_go_with_every_request(smollm2: str, tmp_path: Path) -> None:
    fields = tmp_path / "fields.json"
    fields.write_text(json.dumps({"user": TENANT}), encoding="utf-8")
    with other_wires.azure(smollm2) as served:
        options = ["--query", f"api-version={API_VERSION}", "--header", f"x-tenant: {TENANT}", "--header-env", "api-key=TRUENAME_API_KEY"]
        ended = _audit(tmp_path / "out", served.base_url, CLAIM, "--wire", "openai", "--body", str(fields), *options)
    _cleared(ended, "openai")
    assert {headers["api-key"] for _, headers, _ in served.requests} == {CANARY}
    assert {body["user"] for _, _, body in served.requests} == {TENANT}
    stored = (tmp_path / "out" / "report.json").read_text(encoding="utf-8")
    assert API_VERSION not in stored and TENANT not in stored
