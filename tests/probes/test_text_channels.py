"""What truncated copies and chunk edges may and may not conclude."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.simulated import Endpoint
from probes.echo import Echo, align
from probes.plan import Plan
from probes.probe import Ask, Chunk, Evidence, Reply, Usage
from probes.stream import StreamProbe
from probes.truncation import TruncationProbe
from tests.endpoints import answer, claim_of


def both(endpoint: Endpoint, claimed: str | None, trials: int = 6, change: object = None) -> tuple[Evidence, Evidence]:
    """Evidence of the truncation and the stream channel on one endpoint."""
    plan = Plan(seed=11, claim=claim_of(claimed), echo_trials=trials)
    probe = TruncationProbe(plan)
    replies = answer(endpoint, probe.next_round([]))
    assert not probe.next_round(replies)
    if callable(change):
        replies = [change(reply) for reply in replies]
    return probe.read(replies), StreamProbe(plan).read(replies)


@pytest.mark.parametrize(("true", "claimed"), [("llama3", "o200k"), ("smollm", "o200k"), ("o200k", "llama3"), ("gemma3", "qwen2.5")])
def test_cuts_and_edges_of_another_vocabulary_contradict_the_claim(true: str, claimed: str) -> None:
    cuts, edges = both(Endpoint(true), claimed)
    assert cuts.best == edges.best == true
    assert cuts.log_e >= math.log(10) and edges.log_e >= math.log(10)


@pytest.mark.parametrize("name", ["o200k", "llama3", "smollm", "gemma3", "deepseek-v3"])
def test_an_honest_copy_supports_its_claim(name: str) -> None:
    cuts, edges = both(Endpoint(name), name)
    assert cuts.supports_claim and edges.supports_claim
    assert cuts.log_e < 0 and edges.log_e < 0
    assert cuts.discriminating >= 2 and edges.discriminating >= 2


@pytest.mark.parametrize("keep", [0.5, 0.25, 0.1])
def test_merged_chunks_of_an_honest_endpoint_never_speak_against_it(keep: float) -> None:
    for seed in range(5):
        _, edges = both(Endpoint("llama3", keep=keep, seed=seed), "llama3")
        assert edges.log_e <= 0


def rechunk(reply: Reply, size: int) -> Reply:
    pieces = [reply.text[i : i + size] for i in range(0, len(reply.text), size)]
    return dataclasses.replace(reply, chunks=tuple(Chunk(piece, 0.0) for piece in pieces))


@pytest.mark.parametrize("size", [1, 3, 4, 7])
def test_chunks_cut_anew_by_characters_are_no_evidence_against_the_claim(size: int) -> None:
    _, edges = both(Endpoint("llama3"), "llama3", change=lambda r: rechunk(r, size))
    assert edges.log_e <= math.log(10)
    _, edges = both(Endpoint("llama3"), "o200k", change=lambda r: rechunk(r, size))
    assert edges.log_e <= math.log(10)


def test_chunks_cut_anew_by_words_are_no_evidence_against_the_claim() -> None:
    def by_words(reply: Reply) -> Reply:
        words = reply.text.split(" ")
        chunks = [word + " " for word in words[:-1]] + words[-1:]
        return dataclasses.replace(reply, chunks=tuple(Chunk(c, 0.0) for c in chunks if c))

    _, edges = both(Endpoint("llama3"), "o200k", change=by_words)
    assert edges.log_e <= math.log(10)


def test_an_engine_whose_limit_is_off_by_one_is_still_honest() -> None:
    plan = Plan(seed=11, claim=claim_of("llama3"), echo_trials=6)
    probe = TruncationProbe(plan)
    asks = probe.next_round([])
    early = answer(Endpoint("llama3"), [dataclasses.replace(ask, max_tokens=ask.max_tokens - 1) for ask in asks])
    replies = [dataclasses.replace(reply, ask=ask) for ask, reply in zip(asks, early, strict=True)]
    found = probe.read(replies)
    assert found.supports_claim and found.log_e < math.log(10)


def test_claude_claims_are_contradicted_by_copies_that_count_too_much_and_never_by_edges() -> None:
    cuts, edges = both(Endpoint("llama3"), "claude3")
    assert cuts.log_e > 0.0 == edges.log_e
    assert cuts.best == "llama3"


def reply_to(text: str, **fields: object) -> Reply:
    ask = Ask("truncation", "truncation/1", (("user", "x"),), 8, payload="ALPHA BETA GAMMA delta", stream=True)
    return Reply(ask, status=200, text=text, **{"finish": "length", **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "fields", "why"),
    [
        ("I cannot do that", {}, "does not copy"),
        ("", {}, "empty"),
        ("ALPHA BE", {"finish": "stop"}, "not cut"),
        ("ALPHA BETA GAMMA delta", {}, "whole string"),
        ("ALPHA", {"usage": Usage(reasoning_tokens=6)}, "reasoning"),
    ],
)
def test_what_is_no_cut_copy_is_not_tested_and_says_why(text: str, fields: dict[str, object], why: str) -> None:
    assert why in str(align(reply_to(text, **fields), 8))


def stopped(reply: Reply) -> Reply:
    return dataclasses.replace(reply, finish="stop")


@pytest.mark.parametrize("name", ["o200k", "llama3", "smollm", "gemma3"])
def test_edges_are_read_where_a_gateway_says_stop_at_the_end_of_every_stream(name: str) -> None:
    cuts, edges = both(Endpoint(name), name, change=stopped)
    assert not cuts.tested and "not cut" in str(cuts.why_not)
    assert edges.tested and edges.supports_claim and edges.discriminating >= 2 and edges.log_e < 0
    _, edges = both(Endpoint(name), "qwen2.5", change=stopped)
    assert edges.best == name and edges.log_e >= math.log(10) and edges.discriminating == 0


@pytest.mark.parametrize("size", [1, 3, 4, 7])
def test_chunks_cut_anew_of_an_uncut_copy_clear_and_accuse_nobody(size: int) -> None:
    for claimed in ("llama3", "o200k"):
        _, edges = both(Endpoint("llama3"), claimed, change=lambda r: stopped(rechunk(r, size)))
        assert edges.log_e <= math.log(10) and edges.discriminating == 0 and not edges.supports_claim


@pytest.mark.parametrize(
    ("text", "length"),
    [("ALPHA BETA GAMMA delta", 22), ('"ALPHA BETA GAMMA delta".', 22), ("ALPHA BETA GAMMA delta。", None), ("ALPHA BETA GA", 13)],
)
def test_a_copy_need_not_be_cut_where_only_its_edges_count(text: str, length: int | None) -> None:
    copy = align(reply_to(text, finish="stop"), 8, cut=False)
    assert (copy.length if isinstance(copy, Echo) else None) == length


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("ALPHA BET", "too little"),
        ("ALPHA BETA GAMMA delta and more", "more came back"),
        ("ALPHA BETA OMEGA delta", "not copy"),
        ("", "empty"),
    ],
)
def test_what_is_no_copy_is_none_uncut_either(text: str, why: str) -> None:
    assert why in str(align(reply_to(text, finish="stop"), 8, cut=False))


@pytest.mark.parametrize("lead", ["", " ", "\n", '"', "“"])
def test_a_leading_blank_or_quote_is_part_of_the_copy(lead: str) -> None:
    copy = align(reply_to(lead + "ALPHA BET"), 8)
    assert isinstance(copy, Echo) and copy.lead == lead and copy.length == 9


@settings(max_examples=80, deadline=None)
@given(st.text(max_size=60), st.lists(st.text(max_size=8), max_size=12), st.sampled_from(["length", "stop", None]))
def test_hostile_replies_never_break_the_reading(text: str, chunks: list[str], finish: str | None) -> None:
    plan = Plan(seed=11, claim=claim_of("o200k"))
    replies = [reply_to(text, finish=finish, chunks=tuple(Chunk(c, 0.0) for c in chunks))] * 3
    assert math.isfinite(TruncationProbe(plan).read(replies).log_e)
    assert math.isfinite(StreamProbe(plan).read(replies).log_e)
