"""Questions that do not separate vocabularies are never sent; the margin is what brute force says it is."""

from __future__ import annotations

import hashlib
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fingerprints import tokenizers
from probes.echo import bounded_vocabularies, cuts, plan_cuts, plan_long
from probes.separation import Margins, choose, margins, scaled_margins
from probes.usage import WANTED, plan_round

counts = st.lists(st.integers(1, 120), min_size=3, max_size=5)


@settings(deadline=None, max_examples=60)
@given(st.integers(3, 5).flatmap(lambda n: st.tuples(*[st.lists(st.integers(1, 120), min_size=n, max_size=n)] * 2)))
def test_the_margin_is_the_best_that_any_common_scale_can_do(pair: tuple[list[int], list[int]]) -> None:
    a, b = (np.array(row, dtype=float) for row in pair)
    scales = np.linspace(0.0, 130.0, 200_001)[1:, None]
    forwards = np.abs(scales * a - b).max(axis=1).min()
    backwards = np.abs(scales * b - a).max(axis=1).min()
    margin = scaled_margins(np.array([a, b]))[0, 1]
    assert margin <= min(forwards, backwards) + 1e-6
    assert margin == pytest.approx(min(forwards, backwards), abs=0.05)


def test_counts_that_are_multiples_of_each_other_are_not_separated() -> None:
    assert scaled_margins(np.array([[10.0, 20.0, 30.0], [15.0, 30.0, 45.0]]))[0, 1] == pytest.approx(0.0)


def test_the_climb_reaches_wanted_margins_and_counts_the_joined_texts_themselves() -> None:
    pool = ["aaaa", "bb", "cccccc", "d", "ee", "ffffff", "gg", "h"]

    def count(text: str) -> tuple[int, int, int]:
        return (len(text), len(text) * 2 + text.count("f") * 9, text.count("c") * 7 + 3)

    questions = choose(pool, count, questions=3, lines_each=2, wanted=Margins(4, 2), rng=random.Random(3), steps=200)
    table = np.array([q.counts for q in questions], dtype=float).T
    assert margins(table).min() >= 4 and scaled_margins(table).min() >= 2
    assert all(len(q.text.split("\n")) == 2 and q.counts == count(q.text) for q in questions)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_round_separates_all_known_vocabularies_by_the_margin_even_under_an_unknown_scale(seed: int) -> None:
    for questions in (plan_round(seed, number, tokenizers.names()) for number in range(2)):
        table = np.array([q.counts for q in questions], dtype=float).T
        assert margins(table).min() >= 4
        assert scaled_margins(table).min() >= 2.5
        assert np.median(np.sort(margins(table), axis=None)[: len(table)]) >= WANTED.native - 1


def test_rounds_and_seeds_share_no_line() -> None:
    lines = [
        line for seed in (0, 1) for number in range(2) for q in plan_round(seed, number, tokenizers.names()) for line in q.text.split("\n")
    ]
    assert len(lines) == len(set(lines))


def test_the_same_seed_asks_the_same_questions_again() -> None:
    plan_round.cache_clear()
    first = plan_round(5, 0, tokenizers.names())
    plan_round.cache_clear()
    assert plan_round(5, 0, tokenizers.names()) == first


ALWAYS_ASKED = {
    0: ("893ce2fa85e32b49", "202d22705f0876a5", "8d7ce8cb72781cb3"),
    1: ("cc02f48d29cde123", "732c98a1d951fa90", "02559a2c11a637a4"),
}
"""Per seed the start of the SHA-256 of six cut strings, of six that leave 16 tokens at least, and of the long string; made by the plain
planner of November 2026, which merged one piece at a time."""


@pytest.mark.parametrize("seed", ALWAYS_ASKED)
def test_a_seed_asks_what_it_has_always_asked(seed: int) -> None:
    names = bounded_vocabularies()
    asked = [repr([(cut.text, cut.tokens) for cut in plan_cuts(seed, 6, names, least)]) for least in (1, 16)]
    digests = [hashlib.sha256(text.encode()).hexdigest()[:16] for text in (*asked, plan_long(seed, names))]
    assert tuple(digests) == ALWAYS_ASKED[seed]


def test_more_trials_go_on_from_what_fewer_have_chosen() -> None:
    names = bounded_vocabularies()[:4]
    first = plan_cuts(3, 2, names)
    assert plan_cuts(3, 5, names)[: len(first)] == first
    assert plan_cuts(3, 2, names) == first


def test_three_cuts_tell_the_most_claimed_vocabularies_apart() -> None:
    names = bounded_vocabularies()
    common = [name for name in ("o200k", "cl100k", "llama3", "gemma3", "smollm", "qwen2.5", "deepseek-v3") if name in names]
    for seed in range(3):
        planned = plan_cuts(seed, 3, names)
        ends = {name: [cuts(name, "", cut.text)[cut.tokens - 1] for cut in planned] for name in common}
        together = [(a, b) for a in common for b in common if a < b and ends[a] == ends[b]]
        assert not together


def test_claude_is_never_asked_for_its_boundaries() -> None:
    assert not {name for name in bounded_vocabularies() if name.startswith(("claude3", "claude4"))}
