"""The table of recorded stacks (provider, API flavour, model family): what each adds to a prompt and a completion, and how usual that is.

It takes data/accounting.toml (or a fit on other rows) and gives prior probabilities of completion offsets and prompt templates, for one
vocabulary or one model family. Pure arithmetic on counts; it must never see a text.
"""

from __future__ import annotations

import hashlib
import math
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data" / "accounting.toml"
UNKNOWN = "unknown"
"""The candidate "a tokenizer that is not installed"; its recorded templates are counted with o200k."""

FOREIGN = 0.1
"""Prior weight of offsets and templates that no recorded stack of the vocabulary had, however many stacks were recorded; half of it
for those of other vocabularies, half for new ones."""
FOREIGN_TO_CLAIM = 0.02
"""The same for a claimed model: its own bookkeeping is part of the claim."""
OTHER_FLAVOUR = 0.2
"""Weight of stacks of another API flavour where the flavour is known: gateways translate flavours and keep the upstream's usage.
Assumed, not measured."""
NEW_OFFSETS = range(-3, 21)
"""Offsets that a stack never seen may have: recorded ones lie in -1 to 9; hidden markers of reasoning models cost more. A fit outside is
no bookkeeping."""
NEW_BASES = 200
"""Tokens over which the base overhead of a template never seen is spread: recorded ones without injected text lie in 0 to 77. A
fit outside is somebody's text, not a template."""
NEW_STEPS = ((4, 4), (5, 4), (0, 5), (0, 3), (0, 0))
"""(system, turn) steps of a template never seen: those of ChatML, ChatML with newlines, Llama 3.1, Claude, Gemini."""

Shape = tuple[int, int, int]
"""How many system messages, turns and raw prompts a request has."""
Template = tuple[int | None, int | None, int | None, int | None]
"""Tokens around the first turn, for each system message, for each further turn, around a raw prompt; None where never seen."""


def shape(roles: Iterable[str]) -> Shape:
    """The shape of a request with messages of these roles, in any vendor's spelling; "prompt" is a raw prompt without a template."""
    kinds = Counter("system" if role in ("system", "developer") else "raw" if role == "prompt" else "turn" for role in roles)
    return kinds["system"], kinds["turn"], kinds["raw"]


def template_of(row: Mapping[str, Any]) -> Template:
    """The template of one row of the table's overheads."""
    return row.get("first"), row.get("system"), row.get("turn"), row.get("raw")


def overhead(template: Template, form: Shape) -> int | None:
    """Tokens of a template around messages of one shape; None for a shape that the template does not cover."""
    first, system, turn, raw = template
    systems, turns, raws = form
    if raws:
        return raw if not systems and not turns and raws == 1 else None
    if first is None or (systems and system is None) or (turns > 1 and turn is None):
        return None
    return first + (system or 0) * systems + (turn or 0) * max(0, turns - 1)


def new_templates(seen: Iterable[tuple[Shape, int]]) -> list[Template]:
    """Templates never recorded that would explain at least one of the (shape, overhead) pairs."""
    return sorted(
        {
            (base, system, turn, base)
            for (systems, turns, _), tokens in seen
            for system, turn in NEW_STEPS
            for base in [tokens - system * systems - turn * max(0, turns - 1)]
            if 0 <= base < NEW_BASES
        }
    )


@dataclass(frozen=True, slots=True)
class Table:
    """The constants of data/accounting.toml, or of a fit on other rows."""

    offsets: tuple[Mapping[str, Any], ...]
    overheads: tuple[Mapping[str, Any], ...]
    noise: Mapping[str, tuple[float, ...]]
    """Vocabulary (and "" for the rest) -> probability that a count is off by exactly 0, 1, 2, 3 tokens (either sign); what is missing
    to 1 is a count that has nothing to do with the text."""
    repositories: Mapping[str, int]
    """Vocabulary (and UNKNOWN) -> recorded repositories that used it."""
    _memo: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> Table:
        """From the parsed TOML. Raises KeyError on a table that lacks a section."""
        noise = {name: tuple(row) for name, row in raw["noise"].items()}
        return cls(tuple(raw["offsets"]), tuple(raw["overheads"]), noise, dict(raw["repositories"]))

    def offset_prior(self, vocabulary: str, flavour: str | None, tools: bool, family: str | None = None) -> Mapping[int, float]:
        """Probability of each completion offset of a reply that was not cut, by how many repositories showed it. `family` narrows the
        vocabulary's own stacks to one model family (a claim)."""
        key = ("offset", vocabulary, flavour, tools, family)
        if key not in self._memo:
            own: defaultdict[int, float] = defaultdict(float)
            foreign: defaultdict[int, float] = defaultdict(float)
            for row in self.offsets:
                if not row["length"] and row["tools"] == tools:
                    for tokens, replies in row["seen"]:
                        part = own if _native(row, vocabulary, family) else foreign
                        part[tokens] += _weight(row, flavour) * replies / row["n"]
            self._memo[key] = _blend(own, foreign, dict.fromkeys(NEW_OFFSETS, 1.0), family)
        prior: Mapping[int, float] = self._memo[key]
        return prior

    def template_prior(self, vocabulary: str, flavour: str | None, family: str | None = None) -> Mapping[Template | None, float]:
        """Probability of each template, by how many repositories showed it; None stands for a template never seen."""
        key = ("template", vocabulary, flavour, family)
        if key not in self._memo:
            own: defaultdict[Template, float] = defaultdict(float)
            foreign: defaultdict[Template, float] = defaultdict(float)
            for row in self.overheads:
                (own if _native(row, vocabulary, family) else foreign)[template_of(row)] += _weight(row, flavour)
            self._memo[key] = _blend(_completed(own), _completed(foreign), {None: 1.0}, family)
        prior: Mapping[Template | None, float] = self._memo[key]
        return prior

    def popularity(self, vocabulary: str) -> float:
        """Log prior weight of a vocabulary (or UNKNOWN): how many recorded repositories used it, and one more."""
        return math.log(1 + self.repositories.get(vocabulary, 0))


@cache
def shipped() -> Table:
    """The table that ships, read on first use."""
    return Table.parse(tomllib.loads(DATA.read_text(encoding="utf-8")))


def digest() -> str:
    """SHA-256, in hex, of the shipped table's bytes."""
    return hashlib.sha256(DATA.read_bytes()).hexdigest()


def _native(row: Mapping[str, Any], vocabulary: str, family: str | None) -> bool:
    return row["vocabulary"] == vocabulary and family in (None, row["family"])


def _weight(row: Mapping[str, Any], flavour: str | None) -> float:
    return float(row["repositories"]) * (1.0 if flavour in (None, row["flavour"]) else OTHER_FLAVOUR)


def _blend(own: Mapping[Any, float], foreign: Mapping[Any, float], new: Mapping[Any, float], family: str | None) -> dict[Any, float]:
    """Own stacks, and the rest at a weight that shrinks as more own stacks are known."""
    floor = FOREIGN if family is None else FOREIGN_TO_CLAIM
    share = floor + (1.0 - floor) / (1.0 + sum(own.values()) * (1.0 if family is None else 10.0))
    weights: defaultdict[Any, float] = defaultdict(float)
    for part, weight in ((own, 1.0 - share), (foreign, share / 2.0), (new, share / 2.0)):
        for key, value in part.items():
            weights[key] += weight * value / sum(part.values())
    return {key: weight for key, weight in weights.items() if weight > 0.0}


def _completed(templates: Mapping[Template, float]) -> dict[Template, float]:
    """Steps that a stack never showed are taken from the commonest template that did."""
    known = {template: weight for template, weight in templates.items() if template[1] is not None and template[2] is not None}
    _, system, turn, _ = max(known, key=lambda template: known[template], default=(0, 4, 4, None))
    filled: defaultdict[Template, float] = defaultdict(float)
    for (first, own_system, own_turn, raw), weight in templates.items():
        filled[first, system if own_system is None else own_system, turn if own_turn is None else own_turn, raw] += weight
    return dict(filled)
