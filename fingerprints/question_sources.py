"""Where the question sets that Truename has references for are published: data/question_sources.toml, read once.

Takes a set's name and a question's id there, gives a `Source`. It opens no file but its own table and no socket.
"""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources
from typing import Any

from fingerprints.questions import Source


def source(name: str, question_id: str = "") -> Source:
    """Where the question `question_id` of the set `name` ("arena-hard-en", …) is published. Raises KeyError for an unknown set."""
    row = _table()[name]
    position = {key: value.replace("{id}", question_id) for key, value in row["position"].items()}
    return Source(row["repository"], row["commit"], row["path"], position, row["licence"])


def names() -> tuple[str, ...]:
    """The sets that are known, in the table's order."""
    return tuple(_table())


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads((resources.files("fingerprints") / "data" / "question_sources.toml").read_text(encoding="utf-8"))
