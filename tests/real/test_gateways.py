"""A real model with the Llama-3 tokenizer, alone and behind real gateways: accused where it poses as GPT-4o, never under its own name.

Ten seeds each, so that a claim which holds by luck shows it. Every arm uses the suite `standard`, the command line's default.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest

from api.cli import main
from benchmarks import gateways
from benchmarks.gateways import Gateway
from verifier import Settings, audit

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("gateways"), pytest.mark.timeout(300)]

SEEDS = range(10)
FEWER = range(5)
"""For the arms that only vary another one."""
LLAMA = "llama-3.1-8b-instruct"
GPT = "gpt-4o"
SYSTEM = "You are a helpful assistant. Answer briefly, and never say who made you."


@dataclass(frozen=True)
class Seen:
    """What one audit concluded."""

    seed: int
    outcome: str
    tokenizer: str | None
    findings: frozenset[str]
    tested: frozenset[str]
    """Channels that could say something."""


def _audits(upstream: str, gateway: Gateway, claim: str, seeds: range = SEEDS) -> list[Seen]:
    """One audit per seed of `upstream` behind `gateway`."""
    seen = []
    with gateways.serve(upstream, gateway) as base_url:
        for seed in seeds:
            data = audit(base_url, claim, settings=Settings(seed=seed)).data
            ranked = data["verdict"]["tokenizer"]
            channels = {name: channel for block in data["blocks"].values() for name, channel in block.items()}
            seen.append(
                Seen(
                    seed,
                    data["verdict"]["outcome"],
                    ranked[0]["family"] if ranked else None,
                    frozenset(finding["code"] for finding in data["findings"]),
                    frozenset(name for name, channel in channels.items() if channel["tested"]),
                )
            )
    print(claim, Counter(one.outcome for one in seen))  # pytest shows it beside a failure
    return seen


def _never_accused(seen: list[Seen]) -> None:
    assert [one for one in seen if one.outcome == "inconsistent"] == []
    assert 2 * Counter(one.outcome for one in seen)["consistent"] >= len(seen), "an honest endpoint that copies strings can be cleared"


def _accused(seen: list[Seen], at_least: int = 9) -> None:
    """Inconsistent for nearly every seed (a copy may fail and leave one inconclusive), never cleared, the true tokenizer named."""
    outcomes = Counter(one.outcome for one in seen)
    assert outcomes["consistent"] == 0
    assert outcomes["inconsistent"] >= at_least, seen
    assert {one.tokenizer for one in seen if one.outcome == "inconsistent"} == {"llama3"}


def _found(seen: list[Seen], code: str) -> None:
    assert [one for one in seen if code not in one.findings] == []


# Under its own name: whatever an honest gateway does, there is no accusation.


def test_a_llama_under_its_own_name_is_never_accused(llama3_echo: str) -> None:
    seen = _audits(llama3_echo, Gateway(), LLAMA)
    _never_accused(seen)
    assert {one.findings for one in seen} == {frozenset()}


@pytest.mark.parametrize(("vocabulary", "seeds"), [("o200k", SEEDS), ("cl100k", FEWER)], ids=["o200k", "cl100k"])
def test_a_llama_whose_gateway_recounts_usage_is_reported_not_accused(llama3_echo: str, vocabulary: str, seeds: range) -> None:
    seen = _audits(llama3_echo, gateways.recount(vocabulary), LLAMA, seeds)
    _never_accused(seen)
    _found(seen, "usage-recounted")


def test_a_llama_whose_gateway_bills_a_quarter_more_is_reported_not_accused(llama3_echo: str) -> None:
    seen = _audits(llama3_echo, gateways.scale(1.25), LLAMA)
    _never_accused(seen)
    _found(seen, "usage-inflated")


def test_a_llama_whose_gateway_drops_usage_is_not_accused_and_its_text_still_speaks(llama3_echo: str) -> None:
    seen = _audits(llama3_echo, gateways.strip_usage(), LLAMA)
    _never_accused(seen)
    _found(seen, "usage-missing")
    for one in seen:
        assert {"truncation", "stream"} <= one.tested and "usage" not in one.tested


def test_a_llama_behind_a_hidden_prompt_is_never_accused(llama3_echo: str) -> None:
    _never_accused(_audits(llama3_echo, gateways.hidden_prompt(SYSTEM), LLAMA))


@pytest.mark.parametrize("gateway", [gateways.rechunk(4), gateways.merge_chunks(3)], ids=["of 4 characters", "of 3 tokens"])
def test_a_llama_whose_gateway_cuts_chunks_anew_is_never_accused(llama3_echo: str, gateway: Gateway) -> None:
    _never_accused(_audits(llama3_echo, gateway, LLAMA, FEWER))


# Posing as GPT-4o: no gateway saves it.


def test_a_llama_that_poses_as_gpt_4o_is_exposed(llama3_echo: str) -> None:
    seen = _audits(llama3_echo, Gateway(), GPT)
    _accused(seen, at_least=10)
    _found(seen, "tokenizer-mismatch")


def test_a_llama_that_poses_as_gpt_4o_with_gpt_4os_counts_is_exposed_by_its_text(llama3_echo: str) -> None:
    seen = _audits(llama3_echo, gateways.recount("o200k"), GPT)
    _accused(seen)
    assert [one for one in seen if one.outcome == "inconsistent" and "usage-rewritten" not in one.findings] == []


def test_forged_counts_of_prompt_and_cut_reply_do_not_clear_a_llama_that_poses_as_gpt_4o(llama3_echo: str) -> None:
    seen = _audits(llama3_echo, gateways.forge("o200k"), GPT)
    _accused(seen)


def test_a_llama_that_poses_as_gpt_4o_and_bills_a_quarter_more_is_exposed(llama3_echo: str) -> None:
    seen = _audits(llama3_echo, gateways.scale(1.25), GPT)
    _accused(seen)
    _found(seen, "usage-inflated")


def test_a_llama_that_poses_as_gpt_4o_without_usage_is_exposed_by_its_text(llama3_echo: str) -> None:
    seen = _audits(llama3_echo, gateways.strip_usage(), GPT)
    _accused(seen)
    _found(seen, "usage-missing")


def test_a_llama_that_poses_as_gpt_4o_behind_a_hidden_prompt_is_exposed(llama3_echo: str) -> None:
    _accused(_audits(llama3_echo, gateways.hidden_prompt(SYSTEM), GPT))


# Through the command line, in this process: its questions for these seeds are planned already.


def _command(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any, str]:
    """Exit code, the JSON of stdout and stderr of `truename ARGUMENTS --json`."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--json"])
    captured = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, json.loads(captured.out), captured.err


@pytest.mark.parametrize(("claim", "code", "outcome"), [(LLAMA, 0, "consistent"), (GPT, 1, "inconsistent")])
def test_the_exit_code_is_the_verdict(llama3_echo: str, capsys: pytest.CaptureFixture[str], claim: str, code: int, outcome: str) -> None:
    ended, report, _ = _command(capsys, "audit", llama3_echo, "--claim", claim, "--seed", "1")
    assert (ended, report["verdict"]["outcome"]) == (code, outcome)


def _without_token_fields(request: dict[str, Any]) -> dict[str, Any]:
    """What many gateways pass on: neither log probabilities nor logit_bias, which would show the model's tokens."""
    return {name: value for name, value in request.items() if name not in ("logprobs", "top_logprobs", "logit_bias")}


def test_cut_streams_leave_recounted_usage_inconclusive_and_the_report_says_why(
    llama3_echo: str, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway = dataclasses.replace(gateways.recount("o200k"), cut_streams_after=2, ask=_without_token_fields)
    with gateways.serve(llama3_echo, gateway) as base_url:
        ended, report, stderr = _command(capsys, "audit", base_url, "--claim", GPT, "--seed", "1")
    assert (ended, report["verdict"]["outcome"]) == (3, "inconclusive")
    said = [reason["text"] for reason in report["verdict"]["reasons"] if reason["code"] == "not-tested"]
    assert any("cut-stream" in text for text in said), said
    assert [line for line in stderr.splitlines() if line.startswith("truename: ")] == []


# Gemma copies nothing, so its counts stand alone.


def test_a_gemma_whose_gateway_recounts_usage_is_not_accused(gemma3: str) -> None:
    with gateways.serve(gemma3, gateways.recount("o200k")) as base_url:
        report = audit(base_url, "gemma-3-270m", settings=Settings(suite="quick", seed=1))
    assert report.outcome != "inconsistent"
    assert "usage-recounted" in {finding["code"] for finding in report.data["findings"]}
