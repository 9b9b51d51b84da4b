"""The posterior: bounded by block, open to the unknown, and never more certain than its channels."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from fingerprints import catalog
from probes.probe import Block, Evidence
from verifier.attribution import ANOTHER, BLOCK_BOUNDS, SURFACE_BOUND, SURFACE_BOUNDS, UNKNOWN_PRIOR, attribute

MODELS = ("gpt-4o", "gpt-4o-mini", "claude-3-opus")
VOCABULARIES = ("o200k", "cl100k", "claude3", "llama3")


def fits(block: Block, best: str, lead: float, channel: str = "", unknown: float | None = None) -> Evidence:
    names = VOCABULARIES if block is Block.TOKENIZER else MODELS
    logs = {name: (0.0 if name == best else -lead) for name in names} | {"unknown": -lead if unknown is None else unknown}
    return Evidence(channel or str(block), block, True, log_likelihood=logs, best=best)


def test_nothing_tested_is_unknown() -> None:
    nothing = attribute([Evidence("usage", Block.TOKENIZER, False, why_not="no usage")])
    assert (nothing.unknown, nothing.unknown_tokenizer, nothing.candidates, nothing.credible) == (1.0, 1.0, (), ())


@pytest.mark.parametrize("block", [Block.CHOICE, Block.STYLE])
def test_no_block_is_worth_more_than_its_bound(block: Block) -> None:
    sure = attribute([fits(block, "claude-3-opus", 1e6)])
    ratio = sure.of_model("claude-3-opus") / sure.unknown
    prior = math.exp(BLOCK_BOUNDS[block]) / UNKNOWN_PRIOR
    assert 0.0 < ratio < prior


def test_two_channels_of_one_block_share_its_bound() -> None:
    one = attribute([fits(Block.CHOICE, "claude-3-opus", 1e6)])
    two = attribute([fits(Block.CHOICE, "claude-3-opus", 1e6), fits(Block.CHOICE, "claude-3-opus", 1e6, "letters")])
    assert two.unknown == pytest.approx(one.unknown)


def test_blocks_add_up() -> None:
    one = attribute([fits(Block.CHOICE, "claude-3-opus", 3.0)])
    two = attribute([fits(Block.CHOICE, "claude-3-opus", 3.0), fits(Block.STYLE, "claude-3-opus", 3.0)])
    assert two.of_model("claude-3-opus") > one.of_model("claude-3-opus")


@pytest.mark.parametrize(("channel", "bound"), [("surface", SURFACE_BOUND), *SURFACE_BOUNDS.items()])
def test_a_mark_or_self_report_is_worth_no_more_than_its_bound(channel: str, bound: float) -> None:
    plain = attribute([fits(Block.CHOICE, "gpt-4o", 0.0)])
    marked = attribute([fits(Block.CHOICE, "gpt-4o", 0.0), fits(Block.SURFACE, "gpt-4o", 1e6, channel)])
    odds = (marked.of_model("gpt-4o") / marked.of_model("gpt-4o-mini")) / (plain.of_model("gpt-4o") / plain.of_model("gpt-4o-mini"))
    assert odds == pytest.approx(math.exp(bound))


def test_statistics_of_the_same_answers_count_once() -> None:
    cuts = fits(Block.TOKENIZER, "llama3", 4.0, "truncation")
    edges = Evidence("stream", Block.TOKENIZER, True, log_likelihood=dict(cuts.log_likelihood), answers="truncation")
    assert attribute([cuts, edges]).tokenizer[0][1] == pytest.approx(attribute([cuts]).tokenizer[0][1])


def test_tokens_and_choices_together_name_one_model_of_the_family_that_both_allow() -> None:
    both = attribute([fits(Block.TOKENIZER, "o200k", 9.0), fits(Block.CHOICE, "gpt-4o", 5.0)])
    assert both.candidates[0].name == "gpt-4o"
    assert both.of_model("claude-3-opus") < 1e-4


def test_a_version_that_no_reference_holds_is_a_candidate_of_its_own() -> None:
    seen = attribute([fits(Block.TOKENIZER, "o200k", 9.0), fits(Block.CHOICE, "gpt-4o", 0.0)])
    assert "gpt-4o" + ANOTHER in {c.name for c in seen.candidates}
    assert seen.of_family("gpt-4o") == pytest.approx(math.fsum(c.posterior for c in seen.candidates if c.family == "gpt-4o"))


def test_the_set_of_candidates_is_empty_where_the_unknown_is_needed() -> None:
    assert attribute([fits(Block.CHOICE, "gpt-4o", 8.0, unknown=0.0)]).credible == ()
    assert attribute([fits(Block.CHOICE, "gpt-4o", 9.0)]).credible == ("gpt-4o",)


def test_families_that_share_a_vocabulary_stay_together_in_the_set_and_weigh_as_many_models_as_the_catalog_knows() -> None:
    seen = attribute([fits(Block.TOKENIZER, "o200k", 12.0)])
    known = Counter(model.family for model in catalog.models() if model.tokenizer == "o200k")
    assert {"gpt-4o", "gpt-5", "o3"} <= set(seen.credible) and seen.tokenizer[0][0] == "o200k"
    assert seen.of_family("gpt-5") / seen.of_family("gpt-4o") == pytest.approx(known["gpt-5"] / known["gpt-4o"])


def test_a_vocabulary_is_put_down_to_the_family_that_made_it_and_not_to_a_single_fine_tune() -> None:
    seen = attribute([fits(Block.TOKENIZER, "llama3", 12.0)])
    assert seen.candidates[0].family == "llama-3"
    assert seen.of_family("llama-3") > 30 * seen.of_family("varco") > 0.0


def test_a_family_of_several_vocabularies_is_named_by_the_one_that_fits() -> None:
    logs = {"deepseek-v3": 0.0, "deepseek-v2": -12.0, "o200k": -12.0, "unknown": -12.0}
    tokens = Evidence("usage", Block.TOKENIZER, True, log_likelihood=logs, best="deepseek-v3")
    alone = attribute([tokens])
    assert (alone.candidates[0].name, alone.candidates[0].family) == ("deepseek (deepseek-v3 vocabulary)", "deepseek")
    assert alone.of_family("deepseek") > 0.95
    likes = Evidence("choice", Block.CHOICE, True, log_likelihood={"deepseek-v3": 0.0, "gpt-4o": -3.0, "unknown": -3.0}, best="deepseek-v3")
    both = attribute([tokens, likes])
    assert (both.candidates[0].name, both.of_family("deepseek") > 0.99) == ("deepseek-v3", True)
