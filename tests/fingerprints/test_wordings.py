"""Whose words an error or a finish reason is in, and what it says of limits."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fingerprints import catalog, surface, wordings
from fingerprints.wire import Wire


@pytest.mark.parametrize(
    ("text", "owner", "context", "output", "model"),
    [
        ("HTTP 400: max_tokens: 9 > 8192, which is the maximum allowed number of output tokens for c-1", "anthropic", None, 8192, "c-1"),
        ("prompt is too long: 210000 tokens > 200000 maximum", "anthropic", 200000, None, None),
        ("The input token count (317740) exceeds the maximum number of tokens allowed (131072).", "google", 131072, None, None),
        ("request (8107 tokens) exceeds the available context size (4096 tokens), try increasing it", "llamacpp", 4096, None, None),
        ("Requested tokens (3040) exceed context window of 2048", "llama-cpp-python", 2048, None, None),
        ("max_tokens is too large: 6000. This model supports at most 4096 completion tokens", "several", None, 4096, None),
        ("This model's maximum context length is 8192 tokens. However, you requested 8256", "several", 8192, None, None),
        ("Invalid 'temperature': decimal above maximum value. Expected a value <= 2, but got 9 instead.", "openai", None, None, None),
    ],
)  # fmt: skip
def test_a_known_wording_names_its_owner_and_the_limits_that_it_states(
    text: str, owner: str, context: int | None, output: int | None, model: str | None
) -> None:
    (found,) = wordings.wordings(text)
    assert (found.owner, found.context, found.output, found.model) == (owner, context, output, model)


def test_a_gateway_that_passes_an_engines_words_on_shows_both() -> None:
    text = "litellm.BadRequestError: OpenAIException - Field 'max_tokens': [json.exception.type_error.302] type must be number"
    assert {found.owner for found in wordings.wordings(text)} == {"litellm", "llamacpp"}


def test_every_family_with_a_stated_context_is_in_the_catalog_and_its_weights_are_not_public() -> None:
    families = {model.family for model in catalog.models()}
    stated = [family for family in families if wordings.context_window(family) is not None]
    assert {"gpt-4o", "claude-4", "gemini"} <= set(stated)
    assert not {"gpt-oss", "gemma", "llama-3", "qwen", "mistral", "deepseek", "grok"} & set(stated)
    assert set(wordings._table()["context"]) <= families


@pytest.mark.parametrize("wire", Wire)
def test_the_usual_words_of_a_wire_are_nobodys_own(wire: Wire) -> None:
    assert wordings.finish_owner("stop", wire) is None and wordings.finish_owner("length", wire) is None
    assert wordings.finish_owner("pause_turn", wire) == (None if wire is Wire.ANTHROPIC else "anthropic")
    assert wordings.finish_owner("SAFETY", wire) == (None if wire is Wire.GEMINI else "google")


def test_the_table_is_part_of_the_digest_of_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    before = surface.digest()
    monkeypatch.setattr(wordings, "DATA", surface.DATA)
    assert surface.digest() != before


@given(st.text(max_size=400))
def test_no_text_breaks_it(text: str) -> None:
    wordings.wordings(text)
    wordings.finish_owner(text, "openai")


def test_a_hostile_text_costs_no_time() -> None:
    began = time.perf_counter()
    for text in ("max_tokens: " * 10_000, "input token count " + "9" * 100_000, "Invalid '" + "x" * 100_000, "a" * 1_000_000):
        wordings.wordings(text)
    assert time.perf_counter() - began < 1.0
