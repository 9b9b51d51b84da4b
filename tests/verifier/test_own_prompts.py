"""The user's own questions: read with caps, asked as they stand, kept in the header so that a replay plans the same questions."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from pathlib import Path

import pytest

from benchmarks.simulated import Endpoint
from tests.endpoints import claim_of, header_for
from verifier.auditing import conclude, make_header, probes_for
from verifier.conversation import interrogate
from verifier.errors import UsageError
from verifier.options import Settings
from verifier.own_prompts import MOST_CHARACTERS, MOST_PROMPTS, read_prompts
from verifier.target import Target
from verifier.transcript import Transcript

PROMPTS = tuple((f"질문-{number}", f"Tell me about the number {number}.\nAnd why it matters.") for number in range(6))


def written(folder: Path, rows: list[object]) -> Path:
    file = folder / "prompts.jsonl"
    file.write_text("\n\n".join(row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    return file


def test_questions_are_read_in_order_with_korean_and_line_breaks(tmp_path: Path) -> None:
    assert read_prompts(written(tmp_path, [{"id": name, "prompt": text, "note": 1} for name, text in PROMPTS])) == PROMPTS


@pytest.mark.parametrize(
    "rows",
    [
        [],
        ["not json"],
        ["[" * 100_000],
        [["id", "prompt"]],
        [{"id": "a"}],
        [{"id": 7, "prompt": "x"}],
        [{"id": "../a", "prompt": "x"}],
        [{"id": "a\u202eb", "prompt": "x"}],
        [{"id": "a", "prompt": " "}],
        [{"id": "a", "prompt": "x\u001b[31m"}],
        [{"id": "a", "prompt": "\ud800"}],
        [{"id": "a", "prompt": "x" * (MOST_CHARACTERS + 1)}],
        [{"id": "a", "prompt": "x"}, {"id": "a", "prompt": "y"}],
        [{"id": str(number), "prompt": "x"} for number in range(MOST_PROMPTS + 1)],
    ],
)
def test_anything_else_is_refused_with_one_line(tmp_path: Path, rows: list[object]) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8")
    with pytest.raises(UsageError) as refused:
        read_prompts(file)
    assert "\n" not in str(refused.value)


def test_a_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_prompts(tmp_path / "nowhere.jsonl")


def test_an_audit_asks_them_and_its_transcript_judges_the_same_again() -> None:
    header = dataclasses.replace(header_for(claim_of("llama3"), suite="standard", early_stop=False), prompts=PROMPTS)
    replies, early = asyncio.run(interrogate(Endpoint("llama3").ask_all, probes_for(header, header.claim), header))
    transcript = Transcript(header, tuple(replies), early)
    asked = [(reply.ask.key, reply.ask.messages[0][1]) for reply in transcript.replies if reply.ask.probe == "style-alone"]
    assert asked[:4] == [(f"style-alone/{name}", text) for name, text in PROMPTS][:4]
    data = transcript.to_bytes()
    again = Transcript.from_bytes(data)
    assert again.header.prompts == PROMPTS and again.to_bytes() == data
    first, second = conclude(transcript, data), conclude(again, data)
    assert first.data == second.data and first.data["blocks"]["style"]["style-alone"]["requests"] >= 4


def test_without_them_a_header_is_written_as_before() -> None:
    target = Target("https://api.example.com/v1", "m")
    plain = make_header(target, claim_of("llama3"), Settings(seed=1))
    assert b'"prompts"' not in Transcript(plain, ()).to_bytes() and probes_for(plain, plain.claim)
    assert make_header(target, claim_of("llama3"), Settings(seed=1, prompts=PROMPTS)).prompts == PROMPTS
