"""Whose words an endpoint uses when a request goes over a limit or a reply ends: wordings of errors, finish reasons, stated limits.

It takes the text of an error or a finish reason and data/wordings.toml, and gives who is known to write so. All of it is easily copied
or passed on by a gateway: a foreign wording is a finding and never decides a verdict; a framework's or gateway's own says nothing.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data" / "wordings.toml"
_MAX_CHARACTERS = 1000
"""Characters of an error that are looked at; stored ones have 300."""


@dataclass(frozen=True, slots=True)
class Wording:
    """One known wording in an error's text."""

    owner: str
    """A vendor of models, an engine of open weights, a framework, a gateway, or `several`."""
    kind: str
    """vendor, engine, framework, gateway or common."""
    what: str
    """The wording's name, in its own words."""
    context: int | None = None
    """Tokens of context that the text says are the most."""
    output: int | None = None
    """Tokens of output that the text says are the most."""
    model: str | None = None
    """The model that the text names."""


def wordings(text: str) -> tuple[Wording, ...]:
    """Known wordings in an error's text, in the table's order. Never raises on any text."""
    found = []
    for row, pattern in _patterns():
        if match := pattern.search(text[:_MAX_CHARACTERS]):
            said = match.groupdict()
            limits = {name: int(said[name]) for name in ("context", "output") if said.get(name)}
            found.append(Wording(row["owner"], row["kind"], row["what"], model=said.get("model"), **limits))
    return tuple(found)


def context_window(family: str | None) -> int | None:
    """The fewest tokens of context that the vendor states for a family which only it can serve; None for any other."""
    tokens: int | None = _table()["context"].get(family)
    return tokens


def finish_owner(word: str, wire: str) -> str | None:
    """The vendor whose own word for the end of a reply this is; None for a wire's usual words and for those of several vendors."""
    word = word.lower()
    if word in _table()["finish"]["wires"].get(wire, ()):
        return None
    return next((vendor for vendor, words in _table()["finish"]["vendors"].items() if word in words), None)


@cache
def _patterns() -> tuple[tuple[dict[str, Any], re.Pattern[str]], ...]:
    return tuple((row, re.compile(row["pattern"])) for row in _table()["error"])


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(DATA.read_text(encoding="utf-8"))
