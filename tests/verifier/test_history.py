"""Over the audits of one endpoint: who answers turned into another, and when; seeing less closely is no change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from verifier.history import Change, changes

START = datetime(2026, 11, 1, 3, tzinfo=UTC)


def audits(*verdicts: dict[str, Any]) -> list[tuple[str, datetime, dict[str, Any]]]:
    return [(f"a{i}", START + timedelta(days=i), verdict) for i, verdict in enumerate(verdicts)]


def saw(vocabulary: str | None = None, model: str | None = None, posterior: float = 0.99) -> dict[str, Any]:
    return {
        "tokenizer": [{"family": vocabulary, "posterior": posterior}] if vocabulary else [],
        "attribution": [{"candidate": model, "family": "f", "posterior": posterior}] if model else [],
    }


def test_an_endpoint_that_turns_from_one_vocabulary_to_another_and_back_is_dated_twice() -> None:
    found = changes(audits(saw("claude3"), saw("claude3"), saw("o200k"), saw("o200k"), saw("claude3")))
    assert found == (
        Change("a2", START + timedelta(days=2), "claude3", "o200k"),
        Change("a4", START + timedelta(days=4), "o200k", "claude3"),
    )


def test_a_sibling_of_the_same_vocabulary_is_a_change_of_model() -> None:
    (found,) = changes(audits(saw("o200k", "gpt-4o"), saw("o200k", "gpt-4o-mini")))
    assert (found.before, found.after) == ("gpt-4o", "gpt-4o-mini")


def test_an_audit_that_named_nothing_or_saw_less_closely_is_no_change() -> None:
    assert not changes(audits(saw("o200k", "gpt-4o"), saw(), saw("llama3", posterior=0.6), saw("o200k"), saw("o200k", "gpt-4o")))


def test_a_change_during_an_outage_is_dated_at_the_first_audit_that_names_again() -> None:
    (found,) = changes(audits(saw("o200k"), saw(), saw(), saw("llama3")))
    assert (found.audit, found.before, found.after) == ("a3", "o200k", "llama3")
