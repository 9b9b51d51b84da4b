"""What the tokens spelled by log probabilities may and may not conclude."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.second import second
from fingerprints import strings, tokenizers
from probes.logprobs import LogprobsProbe, contains_all
from probes.plan import Plan
from probes.probe import Evidence, Reply, TokenBytes
from tests.endpoints import claim_of

TEXTS = (
    "the wandering glacier remembers 하늘 아래 작은 도서관 앞에서",
    "PANTHER 자전거 정거장 人工智能 图书馆 thunderstorm",
    "umbrella 도서관 사진 旅行 的 梦想",
)
RARER = (" ".join(strings.words("chinese")), " ".join(strings.words("korean")), " ".join(strings.words("english")).upper())
"""More tokens, as alternatives bring them: among them some that only the vocabulary itself has."""


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
    found = read(name, spelled(name, (*TEXTS, *RARER)))
    assert found.tested and found.supports_claim and found.log_e <= 0


@pytest.mark.parametrize(("true", "claimed"), [("llama3", "o200k"), ("o200k", "llama3"), ("gemma3", "o200k"), ("deepseek-v3", "qwen2.5")])
def test_tokens_that_the_claimed_vocabulary_lacks_contradict_it(true: str, claimed: str) -> None:
    found = read(claimed, spelled(true))
    assert found.log_e >= math.log(10)
    assert [f.code for f in found.findings] == ["tokenizer-mismatch"]


def test_a_vocabulary_inside_the_claimed_one_is_no_contradiction() -> None:
    assert read("llama3", spelled("cl100k")).log_e <= 0


COMMON = "the of and to in for that with as on by at from an be this which or".split()
"""Words that every vocabulary has as one token, with the blank before them."""


@pytest.mark.parametrize(("true", "claimed"), [("gemma3", "llama3"), ("llama3", "o200k"), ("smollm", "qwen2.5"), ("o200k", "glm4.7")])
def test_tokens_that_other_vocabularies_hold_too_are_no_support(true: str, claimed: str) -> None:
    tokens = [TokenBytes(f" {word}".encode()) for word in COMMON]
    assert all(tokenizers.vocabulary(name).contains(token.token) for name in (true, claimed) for token in tokens)
    found = read(claimed, tokens)
    assert found.tested and found.best is None and not found.supports_claim
    assert found.log_e <= 0 and found.findings == ()


def test_one_token_that_only_the_claimed_vocabulary_holds_breaks_the_tie() -> None:
    tokens = [TokenBytes(f" {word}".encode()) for word in COMMON]
    own = next(token for token in spelled("llama3") if read("llama3", [*tokens, token]).supports_claim)
    assert not any(tokenizers.vocabulary(name).contains(own.token) for name in tokenizers.names() if name not in ("llama3", "claude3"))


def test_a_tie_with_a_vocabulary_that_contains_the_claimed_one_supports_it() -> None:
    """Nothing that cl100k writes could ever be told from Llama 3, which has all of it."""
    pieces = filter(None, map(tokenizers.vocabulary("cl100k").token_text, range(1000, 100_000, 97)))
    tokens = [TokenBytes(piece) for piece in pieces if piece.isascii()]
    found = read("cl100k", tokens)
    assert found.best == "cl100k" and found.supports_claim
    assert not read("llama3", tokens).supports_claim


def test_containment_is_what_the_whole_lists_say() -> None:
    known = [name for name in tokenizers.names() if tokenizers.vocabulary(name).contains(b"a") is not None]
    found = {(name, inner) for name in known for inner in known if name != inner and contains_all(name, inner)}
    assert found == {("llama3", "cl100k"), ("glm4.7", "glm4")}
    for name, inner in found:
        pieces = filter(None, map(tokenizers.vocabulary(inner).token_text, range(0, 300_000)))
        assert all(tokenizers.vocabulary(name).contains(piece) for piece in pieces)


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
