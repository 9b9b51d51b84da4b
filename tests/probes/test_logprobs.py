"""What the tokens spelled by log probabilities may and may not conclude."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.second import second
from probes.logprobs import LogprobsProbe
from probes.plan import Plan
from probes.probe import Evidence, Reply, TokenBytes
from tests.endpoints import claim_of

TEXTS = (
    "the wandering glacier remembers 하늘 아래 작은 도서관 앞에서",
    "PANTHER 자전거 정거장 人工智能 图书馆 thunderstorm",
    "umbrella 도서관 사진 旅行 的 梦想",
)


def spelled(vocabulary: str, texts: Sequence[str] = TEXTS) -> list[TokenBytes]:
    implementation = second(vocabulary)
    assert implementation is not None
    return [TokenBytes(token) for text in texts for token in implementation.encode(text)]


def read(claimed: str | None, tokens: Sequence[TokenBytes]) -> Evidence:
    probe = LogprobsProbe(Plan(seed=1, claim=claim_of(claimed)))
    (ask,) = probe.next_round([])
    assert ask.logprobs
    text = b"".join(token.token for token in tokens).decode("utf-8", "replace")
    return probe.read([Reply(ask, status=200, text=text, tokens=tuple(tokens))])


@pytest.mark.parametrize("name", ["o200k", "llama3", "gemma3", "smollm", "deepseek-v3"])
def test_the_models_own_tokens_support_its_claim(name: str) -> None:
    found = read(name, spelled(name))
    assert found.tested and found.supports_claim and found.log_e <= 0


@pytest.mark.parametrize(("true", "claimed"), [("llama3", "o200k"), ("o200k", "llama3"), ("gemma3", "o200k"), ("deepseek-v3", "qwen2.5")])
def test_tokens_that_the_claimed_vocabulary_lacks_contradict_it(true: str, claimed: str) -> None:
    found = read(claimed, spelled(true))
    assert found.log_e >= math.log(10)
    assert [f.code for f in found.findings] == ["tokenizer-mismatch"]


def test_a_vocabulary_inside_the_claimed_one_is_no_contradiction() -> None:
    assert read("llama3", spelled("cl100k")).log_e <= 0


def test_special_tokens_are_not_held_against_a_claim() -> None:
    tokens = [*spelled("llama3"), TokenBytes(b"<|eot_id|>"), TokenBytes(b"[INST]"), TokenBytes("\ufffd".encode())]
    assert read("llama3", tokens).supports_claim


@pytest.mark.parametrize("odd", [" \ufffd", "\ufffda", "\u2581the", "\u2581\u2581\u2581qzx", "\u2581the\ufffd"])
def test_a_spelling_that_hides_the_bytes_is_no_foreign_token(odd: str) -> None:
    """Gemini's strings have no bytes, old vLLM writes SentencePiece's marks: neither says which entry it was."""
    tokens = [*spelled("llama3"), TokenBytes(odd.encode(), alternatives=(odd.encode(), b"the"))]
    evidence = read("llama3", tokens)
    assert evidence.supports_claim and evidence.log_e <= 0 and evidence.findings == ()


@pytest.mark.parametrize("hidden", [b"", "\ufffd".encode(), " \ufffd".encode(), b"<0xF0>"])
def test_tokens_whose_bytes_are_unknown_leave_a_gap_and_the_others_still_speak(hidden: bytes) -> None:
    probe = LogprobsProbe(Plan(seed=1, claim=claim_of("gemma3")))
    (ask,) = probe.next_round([])
    text = TEXTS[0] + " 🦜 " + TEXTS[1]
    implementation = second("gemma3")
    assert implementation is not None
    first, last = ([TokenBytes(token) for token in implementation.encode(part)] for part in (TEXTS[0], TEXTS[1]))
    for gap in (1, 3):
        reply = Reply(ask, status=200, text=text, tokens=(*first, *[TokenBytes(hidden)] * gap, *last))
        assert probe.read([reply]).supports_claim
        foreign = LogprobsProbe(Plan(seed=1, claim=claim_of("o200k"))).read([reply])
        assert foreign.tested and foreign.log_e >= math.log(10)


def test_gaps_do_not_make_the_tokens_of_another_text_speak() -> None:
    probe = LogprobsProbe(Plan(seed=1, claim=claim_of("gemma3")))
    (ask,) = probe.next_round([])
    tokens = spelled("o200k")
    half = len(tokens) // 2
    reply = Reply(ask, status=200, text="something else was said", tokens=(*tokens[:half], TokenBytes(b""), *tokens[half:]))
    assert not probe.read([reply]).tested


def test_too_few_legible_tokens_between_gaps_are_not_tested() -> None:
    probe = LogprobsProbe(Plan(seed=1, claim=claim_of("o200k")))
    (ask,) = probe.next_round([])
    tokens = [piece for letter in b"abcdefghijkl" for piece in (TokenBytes(bytes([letter])), TokenBytes(b""))]
    text = "a" + "🦜🦜🦜".join("bcdefghijkl")
    assert not probe.read([Reply(ask, status=200, text=text, tokens=tuple(tokens))]).tested


def test_raw_pieces_that_do_not_spell_the_text_are_not_tested() -> None:
    raw = [TokenBytes(("Ġ" + word).encode()) for word in "many words here that no vocabulary has as they are written now then".split()]
    probe = LogprobsProbe(Plan(seed=1, claim=claim_of("o200k")))
    (ask,) = probe.next_round([])
    assert not probe.read([Reply(ask, status=200, text="many words here", tokens=tuple(raw))]).tested


def test_without_log_probabilities_the_channel_is_not_tested_and_asks_no_more() -> None:
    probe = LogprobsProbe(Plan(seed=1, claim=claim_of("o200k"), logprob_trials=4))
    replies = [Reply(ask, status=200, text="x") for ask in probe.next_round([])]
    assert not probe.next_round(replies)
    assert not probe.read(replies).tested


def test_claude_claims_are_never_contradicted_by_tokens() -> None:
    assert read("claude3", spelled("llama3")).log_e == 0.0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=6), max_size=40))
def test_hostile_tokens_never_break_the_reading(pieces: list[bytes]) -> None:
    assert math.isfinite(read("o200k", [TokenBytes(piece) for piece in pieces]).log_e)
