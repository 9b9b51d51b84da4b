"""What the one long streamed copy of an audit asks for, and what its edges may and may not conclude."""

from __future__ import annotations

import dataclasses
import math
from itertools import pairwise
from statistics import fmean

import pytest

from benchmarks import edges
from benchmarks.simulated import Endpoint
from probes import echo, suite
from probes.plan import Plan
from probes.probe import Chunk, Evidence, Reply
from probes.stream import StreamProbe
from probes.truncation import TruncationProbe
from tests.endpoints import answer, claim_of


def probe(claimed: str | None = None, seed: int = 11, long_echo: bool = True) -> StreamProbe:
    return StreamProbe(Plan(seed=seed, claim=claim_of(claimed), echo_trials=4, long_echo=long_echo))


def alone(endpoint: Endpoint, claimed: str, seed: int = 11) -> Evidence:
    """Evidence of the long copy without any short one."""
    reader = probe(claimed, seed)
    return reader.read(answer(endpoint, reader.next_round([])))


def test_the_long_string_is_fresh_for_each_seed_and_the_same_for_the_same_one() -> None:
    (one,), (again,), (other,) = probe().next_round([]), probe().next_round([]), probe(seed=12).next_round([])
    assert one == again and one.payload != other.payload
    assert not set(one.payload.split()) >= set(other.payload.split())
    for ask in (one, other):
        assert (ask.probe, ask.key, ask.stream, ask.temperature) == ("stream", "stream/long", True, 0.0)
        assert 120 <= len(ask.payload) <= echo.LONG_CHARACTERS and ask.messages[0][1].endswith(ask.payload)
        assert ask.payload == ask.payload.strip() and "  " not in ask.payload


def test_only_suites_that_have_the_time_ask_for_it_and_only_once() -> None:
    asked = {}
    for name, chosen in suite.SUITES.items():
        stream = next(p for p in suite.build(chosen, claim_of("llama3"), 3, 0.01) if p.name == "stream")
        asked[name] = [ask.key for ask in stream.next_round([])]
    assert asked == {"quick": [], "standard": ["stream/long"], "deep": ["stream/long"]}
    asks = probe().next_round([])
    assert not probe().next_round(answer(Endpoint("llama3"), asks))
    assert not probe(long_echo=False).next_round([])


def test_it_is_not_asked_where_no_short_copy_came_in_chunks() -> None:
    asks = TruncationProbe(probe().plan).next_round([])
    copies = answer(Endpoint("llama3"), asks)
    assert probe().next_round(copies)
    assert not probe().next_round(answer(Endpoint("llama3", copies=False), asks))
    assert not probe().next_round([dataclasses.replace(reply, chunks=(Chunk(reply.text, 0.0),)) for reply in copies])


@pytest.mark.parametrize(("true", "claimed"), [("gemma3", "llama3"), ("llama3", "o200k"), ("deepseek-v3", "qwen2.5"), ("smollm", "o200k")])
def test_one_long_copy_contradicts_a_false_claim(true: str, claimed: str) -> None:
    found = alone(Endpoint(true), claimed)
    assert found.requests == found.rounds == 1
    assert found.best == true and found.log_e >= math.log(10)


@pytest.mark.parametrize("name", ["o200k", "cl100k", "llama3", "gemma3", "qwen2.5", "deepseek-v3", "smollm", "llama2"])
@pytest.mark.parametrize("keep", [1.0, 0.3, 0.1])
def test_one_long_copy_never_speaks_against_an_honest_endpoint(name: str, keep: float) -> None:
    for seed in range(3):
        assert alone(Endpoint(name, keep=keep, seed=seed), name, seed).log_e <= 0


@pytest.mark.parametrize("size", [1, 3, 4, 7, 20])
def test_a_long_copy_in_chunks_cut_anew_is_no_evidence(size: int) -> None:
    def rechunk(reply: Reply) -> Reply:
        pieces = tuple(Chunk(reply.text[i : i + size], 0.0) for i in range(0, len(reply.text), size))
        return dataclasses.replace(reply, chunks=pieces)

    for claimed in ("llama3", "o200k"):
        reader = probe(claimed)
        replies = [rechunk(reply) for reply in answer(Endpoint("llama3"), reader.next_round([]))]
        found = reader.read(replies)
        assert found.log_e <= 0 and not found.supports_claim


def test_a_long_copy_in_chunks_of_words_is_no_evidence() -> None:
    reader = probe("o200k")
    (reply,) = answer(Endpoint("llama3"), reader.next_round([]))
    starts = [0, *(i for i, sign in enumerate(reply.text) if sign == " "), len(reply.text)]
    words = tuple(Chunk(reply.text[a:b], 0.0) for a, b in pairwise(starts) if b > a)
    found = reader.read([dataclasses.replace(reply, chunks=words)])
    assert found.log_e <= 0 and not found.supports_claim


def test_a_long_string_that_is_not_copied_leaves_the_short_copies_their_say() -> None:
    reader = probe("llama3")
    short = answer(Endpoint("llama3"), TruncationProbe(reader.plan).next_round([]))
    (ask,) = reader.next_round(short)
    refused = Reply(ask, status=200, text="I cannot repeat that.", finish="stop", chunks=(Chunk("I cannot repeat that.", 0.0),))
    without, found = reader.read(short), reader.read([*short, refused])
    assert found.tested and found.requests == 1
    assert (found.log_e, found.best, found.discriminating) == (without.log_e, without.best, without.discriminating)


def test_the_long_copy_excludes_what_the_research_promises() -> None:
    """Few strings and all true vocabularies here; the figure with its interval is that of `python -m benchmarks edges`."""
    arms = edges.run(limit=3)["arms"]
    assert arms["one token a chunk"]["mean_excluded"] >= 0.9
    assert arms["10 % of edges survive"]["mean_excluded"] >= 0.55
    assert all(arm["own_vocabulary_excluded"] == 0 for arm in arms.values())


@pytest.mark.parametrize(("true", "claimed"), [("gemma3", "llama3"), ("deepseek-v3", "qwen2.5"), ("smollm", "o200k"), ("llama3", "o200k")])
def test_with_the_long_copy_edges_still_contradict_where_three_in_ten_are_left(true: str, claimed: str) -> None:
    """The four short copies alone do so in few of these audits; at one edge in ten neither suffices, for a gateway that cuts at any place
    explains so few edges as well."""
    reached = []
    for seed in range(4):
        reader = probe(claimed, seed)
        short = answer(Endpoint(true, keep=0.3, seed=seed), TruncationProbe(reader.plan).next_round([]))
        long = answer(Endpoint(true, keep=0.3, seed=seed), reader.next_round([]))
        reached.append(reader.read([*short, *long]).log_e >= math.log(10))
    assert fmean(reached) >= 0.75


@pytest.mark.parametrize("keep", [0.3, 0.1, 0.05])
@pytest.mark.parametrize(("true", "claimed"), [("gemma3", "llama3"), ("llama3", "o200k"), ("llama3", "cl100k"), ("cl100k", "llama3")])
def test_few_edges_that_fit_a_false_claim_by_chance_clear_nothing(true: str, claimed: str, keep: float) -> None:
    for seed in range(8):
        reader = probe(claimed, seed)
        endpoint = Endpoint(true, keep=keep, seed=seed)
        asks = [*TruncationProbe(reader.plan).next_round([]), *reader.next_round([])]
        assert reader.read(answer(endpoint, asks)).discriminating == 0


@pytest.mark.parametrize("name", ["o200k", "llama3", "gemma3", "smollm"])
def test_edges_of_every_token_clear_an_honest_claim(name: str) -> None:
    reader = probe(name)
    replies = answer(Endpoint(name), [*TruncationProbe(reader.plan).next_round([]), *reader.next_round([])])
    found = reader.read([dataclasses.replace(reply, finish="stop") for reply in replies])
    assert found.supports_claim and found.discriminating >= 2 and found.rounds >= 3  # cuts after 8 tokens may be too short uncut
