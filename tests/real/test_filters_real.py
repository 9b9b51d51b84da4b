"""Real models behind a gateway that hides names of models: found by copies; the same models honestly: never said to filter."""

from __future__ import annotations

import pytest

from benchmarks import filters

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("filters"), pytest.mark.timeout(600)]

SEEDS = range(2, 5)
WITHIN_STANDARD = [way for way in filters.WAYS if way not in ("reply refused", "reply emptied")]
"""Dropped replies say nothing about places, so they take more strings than the standard suite asks."""


@pytest.mark.parametrize("way", WITHIN_STANDARD)
def test_a_filter_in_front_of_a_llama_is_found(llama3_echo: str, way: str) -> None:
    with filters.serve(llama3_echo, filters.WAYS[way]) as base_url:
        seen = [filters.filtered(filters.ask(base_url, "llama3-echo", seed, filters.ASKS["standard"])) for seed in SEEDS]
    assert sum(text is not None for text in seen) >= 2, seen


@pytest.mark.parametrize("way", ["reply refused", "reply emptied"])
def test_dropped_replies_of_a_llama_are_found_by_the_deep_suite(llama3_echo: str, way: str) -> None:
    with filters.serve(llama3_echo, filters.WAYS[way]) as base_url:
        deep = filters.ask(base_url, "llama3-echo", 0, filters.ASKS["deep"])
    assert "the whole reply" in (filters.filtered(deep) or "")


def test_a_filter_in_front_of_smollm2_is_found(smollm2: str) -> None:
    with filters.serve(smollm2, filters.WAYS["lower case"]) as base_url:
        found = filters.filtered(filters.ask(base_url, "smollm2", 0, filters.ASKS["standard"]))
    assert found is not None and "another case" in found


def test_a_llama_without_a_filter_is_not_said_to_have_one(llama3_echo: str) -> None:
    seen = [filters.ask(llama3_echo, "llama3-echo", seed, asks) for seed, asks in ((20, 12), (21, 12), (22, 12), (23, 12), (24, 30))]
    assert all(evidence.tested and filters.filtered(evidence) is None for evidence in seen)


def test_a_smollm2_without_a_filter_is_not_said_to_have_one(smollm2: str) -> None:
    seen = [filters.ask(smollm2, "smollm2", seed, filters.ASKS["standard"]) for seed in range(2)]
    assert [filters.filtered(evidence) for evidence in seen] == [None, None]
