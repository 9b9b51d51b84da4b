"""The tokens benchmark: which rows it takes, what it hides from what it tests, and the fields that the contract promises."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import tokens
from fingerprints import tokenizers
from fingerprints.accounting import Completion, StackEvidence
from fingerprints.build.recorded import Recorded, read

WORDS = "amber lighthouse quarterly Photosynthesis 1482 archipelago's restructuring {json: [1, 2]} 한국어 문장 Daejeon harbour".split()


def record(number: int, model: str, vocabulary: str, offset: int) -> dict[str, Any]:
    """One line of completions.jsonl.gz: a reply of 30 words that the vocabulary counts."""
    text = " ".join(WORDS[(number * 7 + i * (1 + number % 5)) % len(WORDS)] for i in range(30 + number))
    count = tokenizers.vocabulary(vocabulary).count
    return {
        "sha": f"{model}{number}",
        "repo": "someone/something",
        "provider": "secret-provider",
        "kind": "chat",
        "requested_model": model,
        "model": model,
        "messages": [["user", "Say something."]],
        "prompt_plain": True,
        "has_tools": False,
        "extra_params": [],
        "prompt_tokens": count("Say something.") + 7,
        "completion_text": text,
        "completion_tokens": count(text) + offset,
        "reasoning_tokens": 0,
        "has_reasoning_text": False,
        "finish_reason": "stop",
        "deltas": None,
        "logprob_tokens": None,
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [record(i, "gpt-4o", "o200k", 0) for i in range(6)] + [record(i, "claude-sonnet-4-5", "claude3", 3) for i in range(6)]
    with gzip.open(tmp_path / "completions.jsonl.gz", "wt", encoding="utf-8") as stream:
        stream.writelines(json.dumps(row) + "\n" for row in rows)
    return tmp_path


def test_the_result_holds_the_contract_s_fields_and_json_takes_it(folder: Path) -> None:
    result = tokens.run(folder, 0, 2)
    promised = {"accept_true_claim", "accept_false_claim", "family_from_5", "per_family", "abstained", "eligible"}
    assert promised <= set(json.loads(json.dumps(result)))
    assert "claims accepted" in tokens.table(result)


def test_honest_rows_are_accepted_named_and_false_claims_refused(folder: Path) -> None:
    result = tokens.run(folder, 0, 3)
    assert result["accept_true_claim"] == 1.0
    assert result["accept_false_claim"] == 0.0
    assert {name: row["right"] for name, row in result["per_family"].items()} == {"o200k": 1.0, "claude": 1.0}


def test_families_of_too_few_repositories_stay_out_of_the_macro(folder: Path) -> None:
    result = tokens.run(folder, 0, 1)
    assert result["family_from_5"] is None
    assert not any(row["in_macro"] for row in result["per_family"].values())


def test_what_is_tested_sees_no_provider_no_model_and_no_native_flavour(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Completion] = []

    def spy(rows: list[Completion], claim: str | None = None, table: object = None) -> StackEvidence:
        seen.extend(rows)
        assert claim in (None, tokens.CLAIM)
        return StackEvidence({}, "o200k", 0.0, len(rows))

    monkeypatch.setattr(tokens, "completion_evidence", spy)
    tokens.run(folder, 0, 1)
    assert seen
    assert not any("secret-provider" in repr(row) or "claude-sonnet" in repr(row) for row in seen)
    assert {row.flavour for row in seen} == {"chat", "(chat)"}


@pytest.mark.parametrize(
    "changes",
    [
        {"completion_tokens": 19},
        {"has_tools": True},
        {"prompt_plain": False},
        {"reasoning_tokens": 4},
        {"has_reasoning_text": True},
        {"extra_params": ["reasoning"]},
        {"completion_text": ""},
        {"model": "a-model-that-nobody-knows"},
    ],
)
def test_rows_with_tools_reasoning_or_few_tokens_are_not_eligible(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert len(tokens.eligible(one(tmp_path, {}))) == 1
    assert tokens.eligible(one(tmp_path, changes)) == []


def test_a_deployment_s_own_name_is_not_taken_for_the_model(tmp_path: Path) -> None:
    (row,) = one(tmp_path, {"requested_model": "gpt-4", "model": "my-deployment-2025-04-14"})
    assert (row.family, row.vocabulary) == ("", None)


def test_a_reply_counts_once_however_often_it_was_recorded(tmp_path: Path) -> None:
    (row,) = one(tmp_path, {})
    assert len(tokens.eligible([row, row])) == 1


def one(folder: Path, changes: dict[str, Any]) -> list[Recorded]:
    with gzip.open(folder / "completions.jsonl.gz", "wt", encoding="utf-8") as stream:
        stream.write(json.dumps(record(1, "gpt-4o", "o200k", 0) | changes) + "\n")
    return read(folder)
