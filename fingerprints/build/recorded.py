"""Reads recorded traffic as plain rows with the truth about where each came from; for fitting and for benchmarks only.

It takes a folder with completions.jsonl.gz and, for dates and endpoint paths, interactions.jsonl.gz beside it, and gives one
:class:`Recorded` a completion. The truth must never reach what is tested: that is handed `Recorded.row` alone.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cache
from pathlib import Path
from typing import Any

from fingerprints import catalog, tokenizers
from fingerprints.stack_likelihood import Completion

STANDS_FOR = {"gemini": "gemma3"}
"""Vocabulary for families whose catalog entry names none: Gemini 2 and later count like Gemma 3, off by a token or two at times."""
_CUT = {"length", "max_tokens", "MAX_TOKENS", "incomplete"}
# Request fields that put no text into the prompt. Anything else (schemas, server tools, raw instructions) leaves the prompt side unread.
_HARMLESS = {"include", "prompt"}
_REASONING = {"reasoning", "reasoning_effort", "thinking"}
_ENDPOINTS = (
    (r"generateContent", "generateContent"),
    (r"/converse", "converse"),
    (r"/invoke", "invoke"),
    (r"/api/(chat|generate)$", "ollama"),
    (r"/v[12]/chat$", "cohere"),
    (r"/messages", "messages"),
    (r"/responses", "responses"),
    (r"/chat/completions", "chat"),
    (r"/completions", "completions"),
)


@dataclass(frozen=True, slots=True)
class Recorded:
    """One recorded completion: what accounting may see, and the truth about where it came from."""

    row: Completion
    repository: str
    """owner/name"""
    project: str
    """The name alone: forks of one project replay each other's traffic, so they are one independent source."""
    provider: str
    model: str
    """As the endpoint named it, or else as it was asked for."""
    family: str
    """Catalog family; empty where the catalog has no such model."""
    vocabulary: str | None
    reasoning: bool
    """Hidden or visible reasoning was asked for or reported."""
    plain: bool
    date: str


def read(folder: Path) -> list[Recorded]:
    """All completions of a folder of recorded traffic. Raises FileNotFoundError where completions.jsonl.gz is missing."""
    beside = folder / "interactions.jsonl.gz"
    known = {record["sha"]: _context(record) for record in _lines(beside)} if beside.exists() else {}
    return [_recorded(record, *known.get(record["sha"], ("", ""))) for record in _lines(folder / "completions.jsonl.gz")]


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        yield from map(json.loads, stream)


def _context(record: dict[str, Any]) -> tuple[str, str]:
    """Endpoint path without its query, and the date of a recording, empty where it carries none."""
    date = str(record.get("recorded_at") or "")[:10]
    header = (record.get("response_headers") or {}).get("date")
    if not date and isinstance(header, str) and re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT", header):
        date = parsedate_to_datetime(header).date().isoformat()
    return str(record.get("endpoint") or "").split("?")[0], date if re.fullmatch(r"20\d\d-\d\d-\d\d", date) else ""


def _recorded(record: dict[str, Any], endpoint: str, date: str) -> Recorded:
    # What was asked for counts only where the reply names nothing: an Azure deployment may be called anything.
    named = str(record["model"] or record["requested_model"] or "")
    model = _find(named)
    family = model.family if model else ""
    vocabulary = (model.tokenizer if model else None) or STANDS_FOR.get(family)
    extras = set(record["extra_params"])
    plain = bool(record["prompt_plain"])
    row = Completion(
        text=record["completion_text"] or "",
        completion_tokens=int(record["completion_tokens"] or 0),
        length=record["finish_reason"] in _CUT,
        tools=bool(record["has_tools"]),
        prompt_tokens=record["prompt_tokens"] if plain and not record["has_tools"] and extras <= _HARMLESS else None,
        messages=tuple((str(role), str(text)) for role, text in record["messages"] or ()),
        pieces=_pieces(record),
        flavour=next((flavour for pattern, flavour in _ENDPOINTS if re.search(pattern, endpoint)), record["kind"]),
    )
    return Recorded(
        row=row,
        repository=str(record["repo"]),
        project=str(record["repo"]).split("/")[-1],
        provider=record["provider"],
        model=model.name if model else named,
        family=family,
        vocabulary=vocabulary if vocabulary in tokenizers.names() else None,
        reasoning=bool(record["reasoning_tokens"] or record["has_reasoning_text"] or extras & _REASONING),
        plain=plain,
        date=date,
    )


def _pieces(record: dict[str, Any]) -> tuple[str, ...]:
    """Tokens of a log-probability listing, else streamed deltas, where they are the text and nothing else."""
    for pieces in (record["logprob_tokens"], record["deltas"]):
        if pieces and all(isinstance(piece, str) for piece in pieces) and "".join(pieces) == record["completion_text"]:
            return tuple(pieces)
    return ()


@cache
def _find(name: str) -> catalog.Model | None:
    return catalog.find(name)
