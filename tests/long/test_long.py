"""Cheating and honest endpoints as one rents them: LiteLLM routes, another engine on the same weights, a larger model."""

from __future__ import annotations

from typing import Any

import pytest

from tests.checking import check_reasons
from verifier import Settings, audit
from verifier.transcript import Transcript

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("long"), pytest.mark.timeout(2400)]  # the first run installs

SMOLLM2 = "smollm2-135m-instruct"
QWEN = "qwen2.5-coder-1.5b-instruct"
SEED = 11


def _audit(base_url: str, claim: str, model: str | None = None, seed: int = SEED, key: str | None = None) -> dict[str, Any]:
    """The report of an audit; what it concluded is printed beside a failure."""
    report = audit(base_url, claim, model=model, api_key=key, settings=Settings(seed=seed, timeout_s=60.0))
    verdict = report.data["verdict"]
    check_reasons(report.data, Transcript.from_bytes(report.transcript))
    channels = {n: (c["best"], c["e_value"]) for block in report.data["blocks"].values() for n, c in block.items() if c["tested"]}
    print(model, claim, verdict["outcome"], [r["code"] for r in verdict["reasons"]], channels, [f["code"] for f in report.data["findings"]])
    return dict(report.data)


def _tokenizer(report: dict[str, Any]) -> str:
    return str(report["verdict"]["tokenizer"][0]["family"])


def test_an_honest_route_of_litellm_is_cleared(litellm: tuple[str, str]) -> None:
    report = _audit(litellm[0], SMOLLM2, "honest-smollm2", key=litellm[1])
    assert (report["verdict"]["outcome"], _tokenizer(report)) == ("consistent", "smollm")


def test_a_litellm_route_that_serves_another_model_as_gpt_4o_is_exposed(litellm: tuple[str, str]) -> None:
    report = _audit(litellm[0], "gpt-4o", "gpt-4o", key=litellm[1])
    assert (report["verdict"]["outcome"], _tokenizer(report)) == ("inconsistent", "smollm")


@pytest.mark.parametrize("seed", range(5))
def test_a_litellm_route_that_serves_another_model_for_three_requests_in_ten_is_never_said_to_be_free_of_it(
    litellm: tuple[str, str], seed: int
) -> None:
    report = _audit(litellm[0], SMOLLM2, "mixed", seed, litellm[1])
    excluded = report["verdict"]["excludes_share"]
    assert report["verdict"]["outcome"] != "consistent" or excluded is None or excluded > 0.3


@pytest.mark.parametrize("claim", ["gpt-4o", "claude-sonnet-4", "llama-3.1-8b-instruct"])
def test_a_canned_answer_is_never_cleared(litellm: tuple[str, str], claim: str) -> None:
    report = _audit(litellm[0], claim, "canned", key=litellm[1])
    assert report["verdict"]["outcome"] != "consistent"


@pytest.mark.parametrize("seed", range(3))
def test_another_engine_on_the_claimed_weights_is_not_accused(transformers_serve: tuple[str, str], seed: int) -> None:
    base_url, model = transformers_serve
    report = _audit(base_url, SMOLLM2, model, seed)
    assert report["verdict"]["outcome"] != "inconsistent"
    assert _tokenizer(report) == "smollm"


@pytest.mark.parametrize("seed", [301, 302])
def test_the_same_weights_on_two_engines_are_not_called_different(transformers_serve: tuple[str, str], smollm2: str, seed: int) -> None:
    settings = Settings(suite="standard", seed=seed, timeout_s=120.0)
    named = {"model": transformers_serve[1], "reference": smollm2, "reference_model": SMOLLM2}
    report = audit(transformers_serve[0], None, **named, settings=settings)  # type: ignore[arg-type]
    assert report.outcome != "inconsistent" and report.data["verdict"]["e_value"] < 1
    check_reasons(report.data, Transcript.from_bytes(report.transcript))


def test_another_engine_on_other_weights_than_claimed_is_exposed(transformers_serve: tuple[str, str]) -> None:
    base_url, model = transformers_serve
    report = _audit(base_url, "gpt-4o", model)
    assert (report["verdict"]["outcome"], _tokenizer(report)) == ("inconsistent", "smollm")


def test_a_qwen_under_its_own_name_is_cleared(qwen: str) -> None:
    report = _audit(qwen, QWEN)
    assert (report["verdict"]["outcome"], _tokenizer(report)) == ("consistent", "qwen2.5")


@pytest.mark.parametrize("claim", ["gpt-4o", "llama-3.1-8b-instruct"])
def test_a_qwen_that_poses_as_another_is_exposed(qwen: str, claim: str) -> None:
    report = _audit(qwen, claim)
    assert (report["verdict"]["outcome"], _tokenizer(report)) == ("inconsistent", "qwen2.5")
