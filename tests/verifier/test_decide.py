"""The contract's rules on what an accusation and a clearance may rest on, one claim each."""

from __future__ import annotations

import math
from itertools import combinations

import pytest

from fingerprints import catalog
from probes.probe import Block, Evidence, Finding
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
    assert "channel made of text" in verdict.next


def test_recounted_usage_and_one_text_channel_accuse() -> None:
    counts = channel("usage", "o200k", 0.25, recounted=True, rounds=2)
    assert outcome("llama3", counts, channel("truncation", "o200k", 5000)) == "inconsistent"


def test_recounted_usage_and_choices_accuse_only_where_both_look_like_the_same_model() -> None:
    counts = channel("usage", "o200k", 0.25, recounted=True, rounds=2)
    assert outcome("llama3", counts, behaviour(Block.CHOICE, "gpt-4o-mini", 500)) == "inconsistent"
    assert outcome("llama3", counts, behaviour(Block.CHOICE, "claude-3-opus", 500)) == "inconclusive"
    assert outcome("llama3", counts, behaviour(Block.CHOICE, None, 500)) == "inconclusive"


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
    assert verdict.outcome == "inconclusive" and verdict.who.unknown == 1.0
    assert [r.code for r in verdict.reasons] == ["not-tested"] * 3


def test_a_stricter_alpha_needs_more_evidence() -> None:
    counts = channel("usage", "smollm", 200, rounds=2)
    assert outcome("o200k", counts, alpha=0.01) == "inconsistent"
    assert outcome("o200k", counts, alpha=0.001) == "inconclusive"


def test_probabilities_add_up_to_one() -> None:
    verdict = decide([channel("usage", "smollm", 3.0)], claim_of("o200k"), 0.01)
    assert math.fsum(p for _, p in verdict.tokenizer) + verdict.who.unknown_tokenizer == pytest.approx(1.0)
    assert math.fsum(c.posterior for c in verdict.who.candidates) + verdict.who.unknown == pytest.approx(1.0)


def named(best: str, *channels: str) -> Verdict:
    return decide([channel(each, best) for each in channels], None, 0.01)


def test_without_a_claim_a_vocabulary_is_named_unless_it_may_be_a_gateways_own() -> None:
    assert named("smollm", "usage").outcome == "consistent"
    assert named("o200k", "usage").outcome == "inconclusive"
    assert named("o200k", "usage", "truncation").outcome == "consistent"


MODELS = ("gpt-4o", "gpt-4o-mini", "claude-3-opus", "llama-3.1-70b-instruct", "llama-3.1-8b-instruct")


def behaviour(block: Block, best: str | None, e: float = 1.0, lead: float = 8.0, **fields: object) -> Evidence:
    """Evidence of a behaviour channel that fits `best` by `lead` nats with e-value `e` against the claim."""
    logs = {name: (0.0 if name == best else -lead) for name in (*MODELS, "unknown")}
    fields.setdefault("resolution", "model")
    return Evidence(str(block), block, True, log_e=math.log(e), log_likelihood=logs, best=best, **fields)  # type: ignore[arg-type]


GPT = catalog.claim("gpt-4o")


def test_choices_and_style_that_look_like_the_same_other_model_accuse_and_name_it() -> None:
    verdict = decide([behaviour(Block.CHOICE, "claude-3-opus", 20), behaviour(Block.STYLE, "claude-3-opus", 12)], GPT, 0.01)
    assert (verdict.outcome, verdict.resolution, verdict.who.credible) == ("inconsistent", "model", ("claude-3-opus",))
    assert {r.code for r in verdict.reasons} == {"choices-contradict", "style-contradict"}


def test_choices_and_style_that_a_system_prompt_may_have_moved_do_not_accuse() -> None:
    apart = [behaviour(Block.CHOICE, "claude-3-opus", 500), behaviour(Block.STYLE, "llama-3.1-70b-instruct", 500)]
    verdict = decide(apart, GPT, 0.01)
    assert verdict.outcome == "inconclusive"
    assert "one-explanation" in {r.code for r in verdict.reasons}
    nobody = [behaviour(Block.CHOICE, None, 500), behaviour(Block.STYLE, None, 500)]
    assert decide(nobody, GPT, 0.01).outcome == "inconclusive"


@pytest.mark.parametrize(
    ("choices", "style", "outcome"), [(500, 4, "inconsistent"), (50, 4, "inconclusive"), (500, 2, "inconclusive"), (12, 12, "inconsistent")]
)
def test_the_weaker_of_two_that_look_alike_needs_less_where_the_stronger_stands_alone(choices: float, style: float, outcome: str) -> None:
    both = [behaviour(Block.CHOICE, "claude-3-opus", choices), behaviour(Block.STYLE, "claude-3-opus", style)]
    assert decide(both, GPT, 0.01).outcome == outcome


def test_a_hidden_prompt_takes_away_what_choices_and_style_say_together() -> None:
    both = [behaviour(Block.CHOICE, "claude-3-opus", 500), behaviour(Block.STYLE, "claude-3-opus", 500)]
    assert decide(both, GPT, 0.01).outcome == "inconsistent"
    assert decide(both, GPT, 0.01, [Finding("hidden-prompt", "weak", "about 200 tokens")]).outcome == "inconclusive"


@pytest.mark.parametrize("block", [Block.CHOICE, Block.STYLE, Block.KNOWLEDGE])
def test_no_behaviour_channel_accuses_alone(block: Block) -> None:
    assert decide([behaviour(block, "claude-3-opus", 1e30)], GPT, 0.01).outcome == "inconclusive"


def test_every_accusation_but_foreign_counts_is_replicated_by_another_channel() -> None:
    """The rule of the code: of all sets of channels, none with fewer than two that stand against the claim accuses."""
    channels = [
        channel("truncation", "llama3", 1e6),
        channel("stream", "llama3", 1e6),
        channel("logprobs", None, 1e6),
        behaviour(Block.CHOICE, "claude-3-opus", 1e6),
        behaviour(Block.STYLE, "claude-3-opus", 1e6),
        Evidence("surface", Block.SURFACE, True, log_e=30.0, best="anthropic"),
        Evidence("identity", Block.SURFACE, True, log_e=30.0, best="anthropic"),
    ]
    for n in range(len(channels) + 1):
        for some in combinations(channels, n):
            replicated = sum(e.block is not Block.SURFACE for e in some) >= 2
            assert (decide(some, GPT, 0.01).outcome == "inconsistent") == replicated, [e.channel for e in some]


def test_marks_and_self_reports_never_move_the_e_value() -> None:
    marks = [Evidence(name, Block.SURFACE, True, log_e=30.0, best="anthropic") for name in ("surface", "identity")]
    counts = channel("usage", "claude3", 99, rounds=2)
    assert decide([counts, *marks], GPT, 0.01).log_e == decide([counts], GPT, 0.01).log_e
    assert decide([counts, *marks], GPT, 0.01).outcome == "inconclusive"


def test_choices_of_the_claimed_model_clear_it_where_its_tokens_could_not_be_seen() -> None:
    own = behaviour(Block.CHOICE, "gpt-4o", 0.5, supports_claim=True)
    verdict = decide([untested("usage"), untested("truncation"), own], GPT, 0.01)
    assert (verdict.outcome, verdict.resolution) == ("consistent", "model")
    assert {r.code for r in verdict.reasons} == {"choices-match", "not-tested"}


def test_choices_of_the_claimed_model_do_not_clear_counts_of_another() -> None:
    own = behaviour(Block.CHOICE, "gpt-4o", 0.5, supports_claim=True)
    assert decide([channel("usage", "claude3", 0.9, rounds=1), own], GPT, 0.01).outcome == "inconclusive"


def test_forged_counts_do_not_clear_a_claim_whose_choices_look_like_another_model() -> None:
    """Seen on real endpoints: Gemma behind a relay that counts with SmolLM2's tokenizer, with too few references to accuse."""
    forged = channel("usage", "claude3", 0.25, supports_claim=True, rounds=2, discriminating=8)
    claim = catalog.claim("claude-3-opus")
    assert decide([forged], claim, 0.01).outcome == "consistent"
    assert decide([forged, behaviour(Block.CHOICE, "gpt-4o", 0.04)], claim, 0.01).outcome == "inconclusive"
    assert decide([forged, behaviour(Block.STYLE, "gpt-4o", 0.04)], claim, 0.01).outcome == "inconclusive"


def test_a_sibling_that_fits_better_is_no_clearance_at_the_models_level() -> None:
    sibling = behaviour(Block.CHOICE, "gpt-4o-mini", 5.0)
    assert decide([untested("usage"), sibling], GPT, 0.01).outcome == "inconclusive"


def test_a_pair_with_the_reference_is_one_channel_and_another_must_agree() -> None:
    paired = Evidence("paired", Block.CHOICE, True, log_e=math.log(1e9), rounds=60)
    assert decide([paired], GPT, 0.01).outcome == "inconclusive"
    assert decide([paired, behaviour(Block.STYLE, None, 1e3)], GPT, 0.01).outcome == "inconclusive"
    assert decide([paired, channel("truncation", "llama3", 20)], GPT, 0.01).outcome == "inconsistent"


def test_without_a_claim_behaviour_names_the_model() -> None:
    verdict = decide([behaviour(Block.CHOICE, "claude-3-opus", lead=9.0)], None, 0.01)
    assert (verdict.outcome, verdict.resolution) == ("consistent", "model")
