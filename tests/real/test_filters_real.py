"""Real models behind a gateway that hides names of models: found by copies; the same models honestly: never said to filter."""

from __future__ import annotations

import pytest

from benchmarks import filters, gateways

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("filters"), pytest.mark.timeout(600)]

SEEDS = range(2, 5)
ONLY_DEEP = ("reply refused", "reply emptied", "cut at the word")
"""Dropped replies and cut ones lose the controls too, so they take more strings than the standard suite asks."""

# The screen of eight questions was seen to miss lower case in two of these three seeds, and to find the other ways in two or more.


@pytest.mark.parametrize("way", [way for way in filters.WAYS if way not in ONLY_DEEP])
def test_a_filter_in_front_of_a_llama_is_found_by_the_standard_suite(llama3_echo: str, way: str) -> None:
    with gateways.serve(llama3_echo, filters.WAYS[way]) as base_url:
        seen = [filters.filtered(filters.ask(base_url, "llama3-echo", seed, filters.ASKS["standard"])) for seed in SEEDS]
    assert sum(text is not None for text in seen) >= (1 if way == "lower case" else 2), seen


@pytest.mark.parametrize("way", ONLY_DEEP)
def test_dropped_and_cut_replies_of_a_llama_are_found_by_the_deep_suite(llama3_echo: str, way: str) -> None:
    with gateways.serve(llama3_echo, filters.WAYS[way]) as base_url:
        deep = filters.ask(base_url, "llama3-echo", 0, filters.ASKS["deep"])
    assert ("the reply ends" if way == "cut at the word" else "the whole reply") in (filters.filtered(deep) or "")


def test_a_filter_in_front_of_smollm2_is_found(smollm2: str) -> None:
    with gateways.serve(smollm2, filters.WAYS["lower case"]) as base_url:
        found = filters.filtered(filters.ask(base_url, "smollm2", 1000, filters.ASKS["deep"]))
    assert found is not None and "another case" in found


def test_a_llama_without_a_filter_is_not_said_to_have_one(llama3_echo: str) -> None:
    suites = [filters.ASKS["standard"]] * 4 + [filters.ASKS["deep"]]
    seen = [filters.ask(llama3_echo, "llama3-echo", 20 + i, asks) for i, asks in enumerate(suites)]
    assert [filters.filtered(evidence) for evidence in seen] == [None] * len(suites)
    assert sum(evidence.tested for evidence in seen) >= 4


def test_a_smollm2_without_a_filter_is_not_said_to_have_one(smollm2: str) -> None:
    seen = [filters.ask(smollm2, "smollm2", seed, filters.ASKS["standard"]) for seed in range(2)]
    assert [filters.filtered(evidence) for evidence in seen] == [None, None]


def test_a_gateway_that_rewrites_leaves_the_count_and_the_rest_of_the_text_alone(llama3_echo: str) -> None:
    with gateways.serve(llama3_echo, filters.WAYS["deleted"]) as base_url:
        evidence = filters.ask(base_url, "llama3-echo", 3, filters.ASKS["standard"])
    lost = {word for row in evidence.measured for word in row.get("lost", ())}
    assert {"Claude", "Anthropic"} & lost
