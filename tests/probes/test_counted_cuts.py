"""Claude's token boundaries are unknown, its counts are not: a copy cut at k tokens counts k, and one that counts more is not Claude's."""

from __future__ import annotations

import math
from functools import cache

import pytest

from benchmarks.second import second
from benchmarks.simulated import token_pieces
from fingerprints.catalog import Claim
from probes import counted_cuts, echo, truncation
from probes.plan import Plan
from probes.probe import Evidence, Reply
from probes.truncation import LEAST_LIMITS, SHIFTS, TruncationProbe

ACCUSES = math.log(100.0)


@cache
def written(vocabulary: str, text: str, limit: int) -> str:
    """What a model of `vocabulary` writes of `text` in `limit` tokens, by the second implementation."""
    implementation = second(vocabulary)
    assert implementation is not None
    if implementation.encode is not None:
        return "".join(token_pieces(vocabulary, text, limit))
    frame = implementation.count("a") - 1
    return max((text[:i] for i in range(len(text) + 1) if implementation.count(text[:i]) - frame <= limit), key=len)


@cache
def read(claimed: str, true: str, seed: int, limits: int = 0) -> Evidence:
    """What six copies by a model of vocabulary `true` say of a claim, where limits below `limits` are raised to it."""
    probe = TruncationProbe(Plan(seed=seed, claim=Claim("m", None, claimed, None, False), echo_trials=6))
    asks = probe.next_round([])
    copies = [written(true, ask.payload, max(limits, ask.max_tokens)) for ask in asks]
    return probe.read([Reply(ask, status=200, text=copy, finish="length") for ask, copy in zip(asks, copies, strict=True)])


@pytest.mark.parametrize("vocabulary", ["claude3", "claude4.7"])
def test_a_genuine_claude_is_never_held_against_its_claim_and_mostly_supports_it(vocabulary: str) -> None:
    seen = [read(vocabulary, vocabulary, seed) for seed in range(4)]
    assert all(evidence.log_e < 0.0 and evidence.best in (vocabulary, None) for evidence in seen)
    assert sum(evidence.supports_claim for evidence in seen) >= 2


def test_a_gateway_that_raises_a_genuine_claudes_limits_is_not_held_against_it() -> None:
    assert all(read("claude3", "claude3", seed, max(LEAST_LIMITS)).log_e <= 0.0 for seed in range(4))


def test_reasoning_that_eats_into_a_genuine_claudes_limits_is_not_held_against_it() -> None:
    probe = TruncationProbe(Plan(seed=1, claim=Claim("m", None, "claude3", None, False), echo_trials=6))
    asks = probe.next_round([])
    copies = [written("claude3", ask.payload, ask.max_tokens - 1 - i % 4) for i, ask in enumerate(asks)]
    assert probe.read([Reply(ask, status=200, text=copy, finish="length") for ask, copy in zip(asks, copies, strict=True)]).log_e <= 0.0


@pytest.mark.parametrize("vocabulary", ["claude3", "gemma3"])
def test_an_empty_thought_that_takes_as_much_of_every_limit_is_what_an_engine_does(vocabulary: str) -> None:
    probe = TruncationProbe(Plan(seed=2, claim=Claim("m", None, vocabulary, None, False), echo_trials=6))
    asks = probe.next_round([])
    copies = [written(vocabulary, ask.payload, ask.max_tokens - 4) for ask in asks]
    replies = [Reply(ask, status=200, text=copy, finish="length") for ask, copy in zip(asks, copies, strict=True)]
    aligned = [copy for reply in replies if isinstance(copy := echo.align(reply, reply.ask.max_tokens), echo.Echo)]
    shortened = truncation._log_shortened(vocabulary, aligned)
    assert shortened > len(aligned) * math.log(0.5) > truncation._log_null(vocabulary, aligned)


@pytest.mark.parametrize(("claimed", "true"), [("claude4.7", "o200k"), ("llama3", "claude4.7")])
def test_a_swap_from_or_to_claude_shows_in_where_copies_end(claimed: str, true: str) -> None:
    seen = [read(claimed, true, seed) for seed in range(4)]
    assert all(evidence.log_e >= ACCUSES and not evidence.supports_claim for evidence in seen)
    assert true in {evidence.best for evidence in seen}


def test_every_place_that_counts_alike_is_given_the_whole_probability_under_the_claim() -> None:
    copy = echo.Echo("kupici kocoho dolawe ciweni", 5, "", 0, ())
    counts = counted_cuts.counts("claude3", "", copy.text)
    ends = [i for i, count in enumerate(counts) if count == copy.tokens]
    assert len(ends) > 1
    for length in ends:
        there = echo.Echo(copy.text, copy.tokens, "", length, ())
        assert counted_cuts.log_null("claude3", [there], tuple(SHIFTS), LEAST_LIMITS) == 0.0
    beyond = echo.Echo(copy.text, 2, "", len(copy.text), ())
    assert counted_cuts.log_null("claude3", [beyond], tuple(SHIFTS), (0,)) == math.log(counted_cuts.ELSEWHERE)


def test_only_vocabularies_without_boundaries_are_counted() -> None:
    assert set(counted_cuts.counted()) == {"claude3", "claude4.7"} and not set(counted_cuts.counted()) & set(echo.bounded_vocabularies())
