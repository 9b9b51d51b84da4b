"""The lineage says which of three kinds it looks like and how sure; it hedges where evidence is thin, and it never accuses."""

from __future__ import annotations

import math

import pytest

from fingerprints import catalog, tokenizers
from probes.probe import Ask, Block, Evidence, Reply, Usage
from verifier import lineage as module
from verifier.attribution import attribute
from verifier.decide import decide
from verifier.lineage import CLOSED, FINE_TUNE, NEITHER, PRIOR, SUREST, UNDECIDED, WRAPPER, Lineage, lineage
from verifier.report import texts_verdict
from verifier.report.texts import texts

MODELS = ("gpt-4o", "claude-3-5-sonnet", "llama-3.1-70b-instruct", "qwen2.5-72b-instruct", "mistral-7b-instruct")
FAR = -math.log(400.0)


def tokens(vocabulary: str, channel: str = "truncation") -> Evidence:
    """A tokenizer channel that is sure."""
    fits = dict.fromkeys((*tokenizers.names(), "unknown"), -9.0) | {vocabulary: 0.0}
    return Evidence(channel, Block.TOKENIZER, True, log_likelihood=fits, best=vocabulary)


def style(best: str | None, *more: str) -> Evidence:
    """A style channel that finds `best`, or none of its references, likeliest."""
    logs = dict.fromkeys((*MODELS, *more, "unknown"), FAR) | {best or "unknown": 0.0}
    return Evidence("style", Block.STYLE, True, log_likelihood=logs, best=best)


def said(*evidence: Evidence, replies: tuple[Reply, ...] = ()) -> Lineage:
    found = lineage(evidence, attribute(evidence), replies)
    assert found is not None
    assert math.isclose(sum(share for _, share in found.kinds), 1.0, abs_tol=1e-9)
    assert all(0.0 <= share <= SUREST for _, share in found.kinds)
    return found


def test_without_tokenizer_and_behaviour_nothing_is_said() -> None:
    untested = Evidence("usage", Block.TOKENIZER, False, "no counts")
    assert lineage([untested], attribute([untested])) is None
    surface = Evidence("identity", Block.SURFACE, True, log_likelihood={"claude-3": 0.0, "unknown": -0.3})
    assert lineage([surface], attribute([surface])) is None


def test_a_closed_vendors_tokens_and_style_are_that_model_passed_on() -> None:
    found = said(tokens("claude3"), style("claude-3-5-sonnet"))
    assert (found.kind, found.of) == (WRAPPER, "claude-3") and found.posterior >= 0.9
    assert "claude-3" in found.text


def test_nobody_fine_tunes_weights_that_were_never_published() -> None:
    assert dict(said(tokens("claude3")).kinds)[FINE_TUNE] < 0.02
    assert {model.lineage for model in catalog.models()} >= CLOSED


def test_a_bases_tokens_with_a_known_fine_tunes_style_are_a_fine_tune_of_that_base() -> None:
    found = said(tokens("llama3"), style("fusechat-llama-3.1-8b-instruct", "fusechat-llama-3.1-8b-instruct"))
    assert (found.kind, found.of) == (FINE_TUNE, "llama-3")


def test_a_bases_tokens_with_its_vendors_own_style_are_that_model_itself() -> None:
    found = said(tokens("llama3"), style("llama-3.1-70b-instruct"))
    assert (found.kind, found.of) == (WRAPPER, "llama-3")


def test_a_style_that_no_reference_has_leaves_a_published_base_undecided() -> None:
    """A version without references writes as strangely as a fine-tune does: measured, and so not told apart."""
    found = said(tokens("llama3"), style(None))
    assert found.kind == UNDECIDED and dict(found.kinds)[FINE_TUNE] > dict(found.kinds)[WRAPPER] > dict(found.kinds)[NEITHER]


def test_the_tokenizer_alone_leaves_a_published_base_undecided_and_says_why() -> None:
    found = said(tokens("llama3"))
    assert found.kind == UNDECIDED and "without behaviour references" in found.text
    assert [source for source, _ in found.evidence] == ["tokenizer", "behaviour", "accounting"]


def test_tokens_of_one_vendor_with_the_style_of_another_are_no_sure_wrapper() -> None:
    conflicting = dict(said(tokens("claude3"), style("gpt-4o")).kinds)
    agreeing = dict(said(tokens("claude3"), style("claude-3-5-sonnet")).kinds)
    assert conflicting[NEITHER] > 3 * agreeing[NEITHER] and conflicting[WRAPPER] < agreeing[WRAPPER]


def test_a_vocabulary_that_is_not_installed_and_a_strange_style_are_neither() -> None:
    fits = dict.fromkeys(tokenizers.names(), -9.0) | {"unknown": 0.0}
    found = said(Evidence("truncation", Block.TOKENIZER, True, log_likelihood=fits), style(None))
    assert found.kind in (NEITHER, UNDECIDED) and dict(found.kinds)[NEITHER] > PRIOR[NEITHER]


def test_several_vendors_families_of_one_vocabulary_are_named_by_their_vendor() -> None:
    found = said(tokens("claude3"))
    assert found.of == "anthropic"


def counted(text: str, prompt: int, completion: int, i: int) -> Reply:
    ask = Ask("style", f"style/{i}", (("user", "Say something short."),), 64)
    return Reply(ask, status=200, text=text, finish="stop", usage=Usage(prompt, completion))


def test_bookkeeping_moves_the_kinds_within_its_bound_and_only_between_models_of_one_vocabulary() -> None:
    words = ["Blue skies today.", "A quiet river.", "The cat sat down.", "Seven green apples."]
    count = tokenizers.vocabulary("claude3").count
    replies = tuple(counted(text, count("Say something short.") + 7, count(text) + 3, i) for i, text in enumerate(words))
    usage = tokens("claude3", "usage")
    plain, told = said(usage), said(usage, replies=replies)
    assert any(source == "accounting" and "recorded stacks" in text for source, text in told.evidence)
    ratio = dict(told.kinds)[WRAPPER] / dict(told.kinds)[NEITHER] / (dict(plain.kinds)[WRAPPER] / dict(plain.kinds)[NEITHER])
    assert 1 / 10.01 <= ratio <= 10.01


def test_recounted_usage_says_nothing_about_the_stack() -> None:
    recounted = Evidence("usage", Block.TOKENIZER, True, log_likelihood=tokens("o200k").log_likelihood, best="o200k", recounted=True)
    found = said(recounted, replies=(counted("Hello there.", 20, 5, 0),))
    assert ("accounting", "not tested: counts are missing or recounted") in found.evidence


@pytest.mark.parametrize("model", MODELS)
def test_it_never_enters_the_verdict(model: str) -> None:
    """A verdict is the same whatever the lineage looks like: it is no part of what decide is given."""
    evidence = (tokens("llama3"), style("gpt-4o"))
    before = decide(evidence, catalog.claim(model), 0.01)
    said(*evidence)
    assert decide(evidence, catalog.claim(model), 0.01) == before
    assert "lineage" not in {code for code in (finding.code for finding in before.findings)}


@pytest.mark.parametrize("lang", ["en", "ko"])
def test_every_kind_has_a_sentence_in_every_language(lang: str) -> None:
    told = said(tokens("llama3")).to_json()
    for kind in (WRAPPER, FINE_TUNE, NEITHER, UNDECIDED):
        for of in ("llama-3", None):
            line = texts_verdict.lineage({"lineage": told | {"kind": kind, "of": of}}, texts(lang))
            assert line and "None" not in line and ("0." in line or "0," in line)
    assert texts_verdict.lineage({"lineage": None}, texts(lang)) is None and texts_verdict.lineage({}, texts(lang)) is None


def test_hostile_names_and_empty_numbers_are_survived() -> None:
    odd = Evidence("style", Block.STYLE, True, log_likelihood={"\u202eevil": 0.0, "unknown": -1.0}, best="\u202eevil")
    assert said(odd).kind == UNDECIDED
    assert module.maker("no such base") is None
