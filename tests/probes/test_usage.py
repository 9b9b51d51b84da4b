"""What prompt-token counts may and may not conclude."""

from __future__ import annotations

import dataclasses
import math

import pytest

from benchmarks.simulated import Endpoint
from fingerprints.catalog import claim
from probes.plan import Plan
from probes.probe import Evidence, Reply, Usage
from probes.usage import UsageProbe
from tests.endpoints import answer, claim_of


def evidence(endpoint: Endpoint, claimed: str | None, change: object = None, rounds: int = 2) -> Evidence:
    """The usage probe's evidence on an endpoint; `change(i, reply)` may alter replies on their way."""
    probe = UsageProbe(Plan(seed=3, claim=claim_of(claimed), usage_rounds=rounds))
    replies: list[Reply] = []
    while asks := probe.next_round(replies):
        got = answer(endpoint, asks)
        replies += [change(len(replies) + i, reply) for i, reply in enumerate(got)] if callable(change) else got
    return probe.read(replies)


def with_prompt_tokens(reply: Reply, count: int | None) -> Reply:
    return dataclasses.replace(reply, usage=Usage(prompt_tokens=count, completion_tokens=1))


@pytest.mark.parametrize("true", ["llama3", "claude3", "claude4.7", "smollm", "gemma3", "qwen2.5"])
def test_counts_of_a_foreign_vocabulary_on_two_rounds_contradict_a_gpt_4o_claim(true: str) -> None:
    found = evidence(Endpoint(true, template=2, hidden=30), "o200k")
    assert found.best == true
    assert found.rounds == 2
    assert found.log_e >= math.log(100)
    assert "tokenizer-mismatch" in {f.code for f in found.findings}


@pytest.mark.parametrize("counter", ["o200k", "cl100k"])
def test_a_recount_with_a_common_tokenizer_is_reported_and_not_held_against_the_claim(counter: str) -> None:
    found = evidence(Endpoint("llama3", recount=counter), "llama3")
    assert found.recounted
    assert found.log_e <= 0
    assert [f.code for f in found.findings] == ["usage-recounted"]


@pytest.mark.parametrize("scale", [0.5, 0.8, 1.25, 1.5, 2.4])
def test_a_multiplied_count_still_shows_its_vocabulary_and_the_percentage(scale: float) -> None:
    found = evidence(Endpoint("claude3", scale=scale), "claude3")
    assert found.supports_claim and found.log_e <= 0
    (inflated,) = [f for f in found.findings if f.code == "usage-inflated"]
    percent = float(inflated.text.split("reported ")[1].split(" %")[0])
    assert percent == pytest.approx(abs(scale - 1) * 100, abs=2.5)


def test_a_multiplied_count_of_a_foreign_vocabulary_contradicts_the_claim_all_the_same() -> None:
    found = evidence(Endpoint("smollm", scale=1.3), "claude3")
    assert found.best == "smollm" and found.log_e >= math.log(100)


def test_a_hidden_system_prompt_changes_nothing() -> None:
    assert evidence(Endpoint("claude3", hidden=300), "claude3").supports_claim


@pytest.mark.parametrize(("words", "told"), [(0, False), (60, True)])
def test_a_hidden_prompt_is_reported_with_its_size_and_held_against_nobody(words: int, told: bool) -> None:
    probe = UsageProbe(Plan(seed=3, claim=claim("gpt-4o")))
    endpoint = Endpoint("o200k", template=5, hidden=words)
    replies: list[Reply] = []
    while asks := probe.next_round(replies):
        replies += answer(endpoint, asks)
    found = probe.read(replies)
    assert ("hidden-prompt" in {f.code for f in found.findings}) == told
    assert found.supports_claim and found.log_e <= 0


def test_an_unlisted_vocabulary_is_unknown_and_never_the_nearest() -> None:
    found = evidence(Endpoint("o200k"), "llama3", lambda i, r: with_prompt_tokens(r, 40 + len(r.ask.payload.encode())))
    assert found.tested and found.best is None
    assert found.log_e < math.log(10)
    assert found.findings[0].code == "tokenizer-mismatch" and found.findings[0].strength == "weak"


def test_missing_usage_is_not_tested_and_says_so() -> None:
    found = evidence(Endpoint("o200k"), "o200k", lambda i, r: dataclasses.replace(r, usage=None))
    assert not found.tested and found.why_not and found.log_e == 0
    assert [f.code for f in found.findings] == ["usage-missing"]


def test_a_count_that_never_moves_is_not_tested() -> None:
    found = evidence(Endpoint("o200k"), "o200k", lambda i, r: with_prompt_tokens(r, 20))
    assert not found.tested and "same count" in str(found.why_not)


def test_identical_requests_counted_far_apart_are_not_tested() -> None:
    found = evidence(Endpoint("o200k"), "claude3", lambda i, r: with_prompt_tokens(r, (r.usage.prompt_tokens or 0) + 37 * i))
    assert not found.tested and "random" in str(found.why_not)


@pytest.mark.parametrize("true", ["o200k", "claude3", "llama3"])
def test_three_tokens_of_jitter_neither_hide_nor_change_the_vocabulary(true: str) -> None:
    found = evidence(Endpoint(true), true, lambda i, r: with_prompt_tokens(r, (r.usage.prompt_tokens or 0) + (0, 3, 1, 2)[i % 4]))
    assert found.best == true and found.supports_claim


@pytest.mark.parametrize("true", ["o200k", "gemma3", "qwen2.5"])
def test_noise_that_the_baselines_do_not_show_is_told_from_another_vocabulary_by_many_counts(true: str) -> None:
    noise = (0, 0, 3, -3, 2, -2, 1, 3, -1, -3)
    found = evidence(Endpoint(true), true, lambda i, r: with_prompt_tokens(r, (r.usage.prompt_tokens or 0) + noise[i % 10]), rounds=4)
    assert found.best == true
    assert found.log_e < math.log(10)


def test_one_round_alone_can_never_accuse_at_one_percent() -> None:
    probe = UsageProbe(Plan(seed=3, claim=claim_of("o200k")))
    replies = answer(Endpoint("smollm"), probe.next_round([]))
    replies += answer(Endpoint("smollm"), probe.next_round(replies))
    found = probe.read(replies)
    assert found.rounds == 1 and 0 < found.log_e < math.log(100)


def test_a_stricter_alpha_asks_more_rounds() -> None:
    assert UsageProbe(Plan(seed=1, claim=None, alpha=0.0001)).rounds > UsageProbe(Plan(seed=1, claim=None)).rounds


def test_without_a_known_vocabulary_the_claim_cannot_be_contradicted() -> None:
    found = evidence(Endpoint("smollm"), None)
    assert found.best == "smollm" and found.log_e == 0.0
