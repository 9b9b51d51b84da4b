"""Brands of models as replies spell them: who a self-report names, and which words a gateway may strip.

Takes text in five languages and data/brands.toml, gives the brands that the text claims to be (negations and comparisons left out), and the
stock of words, frames and questions that the probe `identity` draws on. A model's word about itself is often wrong: it may never accuse.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from fingerprints import catalog

DATA = Path(__file__).parent / "data" / "brands.toml"
_MAX_CHARACTERS = 4000
"""Characters of a self-report that are read: hostile replies may have any length."""
_ENDS = re.compile(r"[.!?](?=\s|$)|[。！？;；\n]")
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2060-\u2064\ufeff]")


@dataclass(frozen=True, slots=True)
class Brand:
    """One brand, its vendor as the catalog names it, and the families that may call themselves so."""

    name: str
    vendor: str
    families: frozenset[str]


def named(text: str) -> tuple[Brand, ...]:
    """Brands that `text` says its writer is or comes from, each once, in the table's order. Never raises on any text."""
    folded = _INVISIBLE.sub("", unicodedata.normalize("NFKC", text[:_MAX_CHARACTERS])).casefold()
    found: set[str] = set()
    for statement in _statements(folded):
        denied = [match.end() for match in _negation()["before"].finditer(statement)]
        for brand, pattern in _patterns():
            for match in pattern.finditer(statement):
                before = any(end <= match.start() for end in denied)
                if not before and not _negation()["after"].match(statement, match.end()):
                    found.add(brand.name)
    return tuple(brand for brand in brands() if brand.name in found)


@cache
def brands() -> tuple[Brand, ...]:
    """Every brand of the table; families that share a lineage with a listed family belong to it too."""
    lineages: dict[str, set[str]] = {}
    owners: dict[str, tuple[str, str]] = {}
    for model in catalog.models():
        lineages.setdefault(model.lineage, set()).add(model.family)
        owners.setdefault(model.lineage, (model.vendor, model.family))  # fine-tunes come after the base in the catalog
    result = []
    for row in table()["brand"]:
        families = set(row["families"])
        for lineage, (vendor, family) in owners.items():
            if vendor == row["vendor"] and family in row["families"]:
                families |= lineages[lineage]
        result.append(Brand(row["name"], row["vendor"], frozenset(families)))
    return tuple(result)


@cache
def table() -> dict[str, Any]:
    """The parsed table, on first use."""
    return tomllib.loads(DATA.read_text(encoding="utf-8"))


def _statements(text: str) -> list[str]:
    """Pieces of `text` in which one negation reaches to the end: sentences, cut again where a contrast or a new statement begins."""
    pieces = []
    for sentence in _ENDS.split(text):
        starts = sorted({0, *(match.start() for name in ("contrast", "start") for match in _negation()[name].finditer(sentence))})
        pieces += [sentence[a:b] for a, b in zip(starts, [*starts[1:], len(sentence)], strict=True)]
    return pieces


@cache
def _negation() -> dict[str, re.Pattern[str]]:
    return {name: re.compile(pattern, re.IGNORECASE) for name, pattern in table()["negation"].items()}


@cache
def _patterns() -> tuple[tuple[Brand, re.Pattern[str]], ...]:
    """Spellings of all languages, since replies mix them; letters of Latin script on either side make it another word."""
    result = []
    for brand, row in zip(brands(), table()["brand"], strict=True):
        spellings = [spelling for of_language in row["spellings"].values() for spelling in of_language]
        result.append((brand, re.compile(rf"(?<![a-z])(?:{'|'.join(spellings)})(?![a-z])", re.IGNORECASE)))
    return tuple(result)
