"""What a token forced by its id may and may not conclude. Endpoints number tokens by splintr or tiktoken, never by our own tables."""

from __future__ import annotations

import dataclasses
import math
from functools import cache
from typing import Any

import pytest
import splintr
from hypothesis import given, settings
from hypothesis import strategies as st

from fingerprints import tokenizers
from probes.bias import IDS, BiasProbe
from probes.plan import Plan
from probes.probe import Ask, Evidence, Reply, ReplyError
from tests.endpoints import claim_of

SECOND = {"llama3": "llama3", "qwen2.5": "qwen2.5", "deepseek-v3": "deepseek_v3", "tekken": "mistral_v3", "o200k": "o200k_base"}
IGNORED = "The sea is blue and very"
SAME_IDS = ({"cl100k", "llama3"}, {"glm4", "glm4.7"})
"""Families that share the ids which are asked for."""


@cache
def numbered(pretrained: str) -> Any:
    return splintr.Tokenizer.from_pretrained(pretrained)


def forced(ask: Ask, pretrained: str) -> str:
    """What a server of this tokenizer writes that applies the bias."""
    ((token_id, bias),) = ask.logit_bias
    assert bias == 100
    piece: bytes = numbered(pretrained).decode_token_bytes(token_id)
    return (piece * ask.max_tokens).decode("utf-8", "replace")


def asked(probe: BiasProbe, pretrained: str | None, text: str | None = None) -> list[Reply]:
    """The replies of a server of this tokenizer, or of one that ignores the bias."""
    replies: list[Reply] = []
    while asks := probe.next_round(replies):
        replies += [Reply(ask, status=200, text=text or (forced(ask, pretrained) if pretrained else IGNORED)) for ask in asks]
    return replies


def probe_of(claimed: str | None, seed: int = 5) -> BiasProbe:
    return BiasProbe(Plan(seed=seed, claim=claim_of(claimed) if claimed else None))


def found(claimed: str | None, pretrained: str | None, seed: int = 5) -> Evidence:
    probe = probe_of(claimed, seed)
    return probe.read(asked(probe, pretrained))


@pytest.mark.parametrize("name", SECOND)
def test_an_honest_endpoint_writes_the_claimed_vocabularys_token_and_supports_the_claim(name: str) -> None:
    evidence = found(name, SECOND[name])
    assert evidence.tested and evidence.supports_claim and evidence.best == name
    assert evidence.log_e <= 0 and evidence.findings == ()
    assert (evidence.rounds, evidence.requests) == (2, 2) and evidence.discriminating >= 1


@pytest.mark.parametrize(("true", "claimed"), [("llama3", "o200k"), ("o200k", "llama3"), ("qwen2.5", "deepseek-v3"), ("tekken", "smollm")])
def test_another_vocabularys_tokens_contradict_the_claim_and_name_it(true: str, claimed: str) -> None:
    evidence = found(claimed, SECOND[true])
    assert evidence.log_e >= math.log(10) and not evidence.supports_claim
    assert evidence.best == (None if true == "llama3" else true)  # cl100k has the same ids
    assert [finding.code for finding in evidence.findings] == ["tokenizer-mismatch"]
    assert true in evidence.findings[0].text and claimed in evidence.findings[0].text
    assert max(evidence.log_likelihood, key=lambda name: evidence.log_likelihood[name]) in (true, "cl100k")


@pytest.mark.parametrize("pretrained", ["mistral_v1", "mistral_v2"])
def test_either_numbering_of_mistral_supports_a_mistral_claim(pretrained: str) -> None:
    evidence = found("mistral-v1", pretrained)
    assert evidence.supports_claim and evidence.log_e <= 0


def test_a_vocabulary_that_holds_the_claimed_ones_ids_is_no_contradiction() -> None:
    assert found("cl100k", "llama3").supports_claim
    assert found("llama3", "cl100k_base").supports_claim


@pytest.mark.parametrize("claimed", ["o200k", "claude4.7", None])
def test_a_server_that_ignores_the_bias_is_not_tested_and_asked_once(claimed: str | None) -> None:
    evidence = found(claimed, None)
    assert not evidence.tested and evidence.why_not and evidence.requests == 1
    assert evidence.log_e == 0.0 and evidence.findings == ()


@pytest.mark.parametrize("text", ["", "\ufffd\ufffd\ufffd\ufffd", "####", " the the the the", "Sea. Sea. Sea. Sea."])
def test_text_of_no_known_vocabulary_is_nothing(text: str) -> None:
    probe = probe_of("o200k")
    (ask,) = probe.next_round([])
    evidence = probe.read([Reply(ask, status=200, text=text)])
    assert not evidence.tested and evidence.log_e == 0.0


def test_a_single_word_is_an_answer_and_not_a_forced_token() -> None:
    probe = probe_of("o200k")
    (ask,) = probe.next_round([])
    one = forced(dataclasses.replace(ask, max_tokens=1), "llama3").strip()
    assert not probe.read([Reply(ask, status=200, text=one)]).tested


def test_white_space_that_a_server_trims_changes_nothing() -> None:
    probe = probe_of("o200k")
    (ask,) = probe.next_round([])
    evidence = probe.read([Reply(ask, status=200, text=forced(ask, "o200k_base").strip())])
    assert evidence.supports_claim


def test_one_reply_alone_never_carries_an_accusation_at_one_percent() -> None:
    probe = probe_of("o200k")
    (ask,) = probe.next_round([])
    evidence = probe.read([Reply(ask, status=200, text=forced(ask, "llama3"))])
    assert evidence.tested and 0 < evidence.log_e < math.log(100)


def test_replies_of_two_vocabularies_contradict_nothing_by_themselves() -> None:
    probe = probe_of("o200k")
    first = asked(probe, "o200k_base")
    mixed = [first[0], dataclasses.replace(first[1], text=forced(first[1].ask, "llama3"))]
    evidence = probe.read(mixed)
    assert evidence.log_e < math.log(10) and not evidence.supports_claim and evidence.best is None


def test_a_claude_claim_is_never_contradicted_for_its_ids_are_unknown() -> None:
    evidence = found("claude4.7", "llama3")
    assert evidence.tested and evidence.log_e == 0.0 and not evidence.supports_claim and evidence.findings == ()


def test_without_a_claim_the_vocabulary_is_named() -> None:
    assert found(None, "deepseek_v3").best == "deepseek-v3"


def test_failed_requests_are_not_tested_and_end_the_asking() -> None:
    probe = probe_of("o200k")
    (ask,) = probe.next_round([])
    failed = [Reply(ask, status=500, text="x x", error=ReplyError("server-error", "boom"))]
    assert probe.next_round(failed) == [] and not probe.read(failed).tested


def test_a_suite_without_trials_asks_nothing() -> None:
    probe = probe_of("o200k")
    probe.trials = 0
    assert probe.next_round([]) == [] and not probe.read([]).tested


def test_the_same_seed_asks_the_same_and_another_seed_asks_other_ids() -> None:
    def ids(seed: int) -> list[tuple[tuple[int, int], ...]]:
        probe = probe_of("o200k", seed)
        return [reply.ask.logit_bias for reply in asked(probe, "o200k_base")]

    assert ids(1) == ids(1) and ids(1) != ids(2)


def test_ids_stay_below_the_size_of_every_known_vocabulary() -> None:
    """An id that a model lacks has crashed engines; smollm, llama2 and mistral-v1 are the smallest."""
    sizes = [max(i for i in range(31_000, 270_000) if tokenizers.vocabulary(name).token_text(i)) for name in probe_of(None).names]
    assert max(IDS) < min(sizes)


@pytest.mark.parametrize("claimed", probe_of(None).names)
def test_two_ids_tell_every_vocabulary_from_all_that_number_otherwise(claimed: str) -> None:
    probe = probe_of(claimed)
    texts = [probe._texts(token_id) for token_id in probe.ids]
    same = {name for name in probe.names if all(set(found.get(name, ())) & set(found[claimed]) for found in texts)}
    untold = {name for name in probe.names if all(name not in found for found in texts)}
    shared = next((group for group in SAME_IDS if claimed in group), set())
    assert same <= {claimed, *shared}
    assert untold == set()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=20), max_size=4), st.lists(st.tuples(st.integers(), st.integers()), max_size=2))
def test_hostile_replies_never_break_the_reading(texts: list[str], bias: list[tuple[int, int]]) -> None:
    probe = probe_of("o200k")
    ask = Ask("bias", "bias/1", (("user", "x"),), 4, logit_bias=tuple(bias))
    assert math.isfinite(probe.read([Reply(ask, status=200, text=text) for text in texts]).log_e)
