"""The contract's rules on what an accusation and a clearance may rest on, one claim each."""

from __future__ import annotations

import math

import pytest

from probes.probe import Block, Evidence
from tests.endpoints import claim_of
from verifier.decide import Verdict, decide

NAMES = ("o200k", "cl100k", "llama3", "claude3", "smollm")


def channel(name: str, best: str | None, e: float = 1.0, **fields: object) -> Evidence:
    """Evidence of one tokenizer channel that matched `best` with e-value `e`."""
    logs = {each: (0.0 if each == best else -12.0) for each in (*NAMES, "unknown")}
    if name == "stream":
        fields["answers"] = "truncation"  # it reads the truncated copies
    return Evidence(name, Block.TOKENIZER, True, log_e=math.log(e), log_likelihood=logs, best=best, **fields)  # type: ignore[arg-type]


def untested(name: str) -> Evidence:
    return Evidence(name, Block.TOKENIZER, False, why_not="the model does not copy the string")


def outcome(claimed: str | None, *evidence: Evidence, alpha: float = 0.01) -> str:
    return decide(evidence, claim_of(claimed), alpha).outcome


def test_counts_that_match_a_foreign_vocabulary_twice_accuse() -> None:
    assert outcome("o200k", channel("usage", "smollm", 200, rounds=2), untested("truncation")) == "inconsistent"


def test_the_same_counts_once_do_not() -> None:
    assert outcome("o200k", channel("usage", "smollm", 200, rounds=1)) == "inconclusive"


def test_counts_that_match_nothing_known_never_accuse_alone() -> None:
    assert outcome("o200k", channel("usage", None, 200, rounds=2)) == "inconclusive"


def test_recounted_usage_alone_is_inconclusive_and_says_what_would_settle_it() -> None:
    verdict = decide([channel("usage", "o200k", 0.25, recounted=True, rounds=2), untested("truncation")], claim_of("llama3"), 0.01)
    assert verdict.outcome == "inconclusive"
    assert {r.code for r in verdict.reasons} == {"usage-recounted", "not-tested"}
    assert "text channel" in verdict.next


def test_recounted_usage_and_one_text_channel_accuse() -> None:
    counts = channel("usage", "o200k", 0.25, recounted=True, rounds=2)
    assert outcome("llama3", counts, channel("truncation", "o200k", 5000)) == "inconsistent"


def test_one_text_channel_against_matching_counts_is_not_enough() -> None:
    counts = channel("usage", "o200k", 0.25, supports_claim=True, rounds=2)
    verdict = decide([counts, channel("truncation", "llama3", 27000), untested("stream")], claim_of("o200k"), 0.01)
    assert verdict.outcome == "inconclusive"
    assert "usage-rewritten" in {f.code for f in verdict.findings}


def test_two_text_channels_against_matching_counts_accuse_and_name_the_rewriting() -> None:
    counts = channel("usage", "o200k", 0.25, supports_claim=True, rounds=2)
    verdict = decide([counts, channel("truncation", "llama3", 27000), channel("stream", "llama3", 27000)], claim_of("o200k"), 0.01)
    assert verdict.outcome == "inconsistent"
    assert "usage-rewritten" in {f.code for f in verdict.findings}


def test_text_that_is_the_claimed_models_own_stops_an_accusation_by_counts() -> None:
    own = channel("truncation", "llama3", 0.9, supports_claim=True, discriminating=3)
    assert outcome("llama3", channel("usage", "smollm", 240, rounds=2), own) == "inconclusive"


def test_statistics_of_the_same_answers_average_and_fresh_answers_multiply() -> None:
    same = decide([channel("truncation", "llama3", 8.0), channel("stream", "llama3", 2.0)], claim_of("o200k"), 0.01)
    assert math.exp(same.log_e) == pytest.approx(5.0)
    fresh = decide([channel("usage", "llama3", 3.0), channel("truncation", "llama3", 8.0)], claim_of("o200k"), 0.01)
    assert math.exp(fresh.log_e) == pytest.approx(24.0)


def test_counts_that_match_a_claim_no_gateway_recounts_with_clear_it_at_tokenizer_resolution() -> None:
    verdict = decide([channel("usage", "claude3", 0.25, supports_claim=True, rounds=2, discriminating=8)], claim_of("claude3"), 0.01)
    assert (verdict.outcome, verdict.resolution) == ("consistent", "tokenizer")
    assert verdict.excludes_share == pytest.approx(1 - 0.01 ** (1 / 8))
    assert "counts-only" in {r.code for r in verdict.reasons}


def test_counts_that_any_recounting_gateway_shows_do_not_clear_a_claim() -> None:
    verdict = decide([channel("usage", "o200k", 0.25, supports_claim=True, rounds=2, discriminating=8)], claim_of("o200k"), 0.01)
    assert verdict.outcome == "inconclusive"
    assert "counts-recountable" in {r.code for r in verdict.reasons}


def test_text_clears_a_claim_whose_counts_are_recountable() -> None:
    counts = channel("usage", "o200k", 0.25, supports_claim=True, rounds=2, discriminating=8)
    verdict = decide([counts, channel("truncation", "o200k", 0.2, supports_claim=True, discriminating=3)], claim_of("o200k"), 0.01)
    assert verdict.outcome == "consistent"
    assert verdict.excludes_share == pytest.approx(1 - 0.01 ** (1 / 3))


def test_any_channel_that_leans_against_the_claim_prevents_clearing_it() -> None:
    counts = channel("usage", "claude3", 0.25, supports_claim=True, rounds=2, discriminating=8)
    assert outcome("claude3", counts, channel("truncation", "llama3", 1.5)) == "inconclusive"


def test_a_claim_without_a_known_vocabulary_is_neither_cleared_nor_accused() -> None:
    verdict = decide([channel("usage", "smollm", 1.0, rounds=2)], claim_of(None), 0.01)
    assert verdict.outcome == "inconclusive"
    assert verdict.reasons[0].code == "no-vocabulary-known"


def test_nothing_tested_is_inconclusive_with_every_reason() -> None:
    verdict = decide([untested("usage"), untested("truncation"), untested("stream")], claim_of("o200k"), 0.01)
    assert verdict.outcome == "inconclusive" and verdict.unknown == 1.0
    assert [r.code for r in verdict.reasons] == ["not-tested"] * 3


def test_a_stricter_alpha_needs_more_evidence() -> None:
    counts = channel("usage", "smollm", 200, rounds=2)
    assert outcome("o200k", counts, alpha=0.01) == "inconsistent"
    assert outcome("o200k", counts, alpha=0.001) == "inconclusive"


def test_probabilities_add_up_to_one() -> None:
    verdict = decide([channel("usage", "smollm", 3.0)], claim_of("o200k"), 0.01)
    assert math.fsum(p for _, p in verdict.tokenizer) + verdict.unknown == pytest.approx(1.0)
    assert math.fsum(p for _, p in verdict.attribution) <= 1.0 + 1e-9


def named(best: str, *channels: str) -> Verdict:
    return decide([channel(each, best) for each in channels], None, 0.01)


def test_without_a_claim_a_vocabulary_is_named_unless_it_may_be_a_gateways_own() -> None:
    assert named("smollm", "usage").outcome == "consistent"
    assert named("o200k", "usage").outcome == "inconclusive"
    assert named("o200k", "usage", "truncation").outcome == "consistent"
