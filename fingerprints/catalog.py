"""Resolve the name of a model, as a user or an endpoint writes it, to what is known: vendor, family, lineage, tokenizer, dates.
It takes a name (any provider's spelling) and gives a `Model`, a `Claim` or near misses, from data/catalog.toml and its rules alone.
It must never guess: a name that no rule explains is not in the catalog, because a wrong tokenizer here becomes a false accusation later.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

# A near miss scores SequenceMatcher's ratio (0 to 1) plus this much for every leading part ("gpt", "4", "o") shared with the name.
_LEADING_PART_BONUS = 0.15
# Below this score a suggestion is noise: chosen by eye so that random words and Korean text suggest nothing (test_catalog.py).
_SUGGESTION_FLOOR = 0.6
# Names longer than this are cut before matching, so that a hostile name costs no time; the longest real one (a Bedrock ARN) has about 130.
_MAX_NAME_CHARACTERS = 300


class UnknownFamilyError(ValueError):
    """`--family` names nothing that the catalog knows, or contradicts what it knows; the message is one line and says what to write."""


@dataclass(frozen=True, slots=True)
class Model:
    """One model of the catalog; the source of every row is data/catalog.toml."""

    name: str
    """Canonical, lower case: "gpt-4o", "llama-3.1-70b-instruct"."""
    vendor: str
    family: str
    """What attribution names: "gpt-4o", "claude-3", "gemma"."""
    lineage: str
    """Whose weights and tokenizer it inherits ("llama-3" for a Korean Llama-3 fine-tune); one lineage has at most one tokenizer."""
    tokenizer: str | None
    """Vocabulary name of fingerprints.tokenizers; None where none is known, or where the name alone does not decide it."""
    released: str | None
    """"2024-05" or "2024-05-13"."""
    cutoff: str | None
    """Knowledge cut-off as the vendor states it, "2023-10"."""
    wires: tuple[str, ...]
    """API flavours it is served in, the vendor's own first: "openai", "responses", "anthropic", "gemini"."""
    aliases: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Claim:
    """What an endpoint is said to serve, as far as the catalog (or `--family`) explains it."""

    model: str
    """As the user wrote it."""
    family: str | None
    tokenizer: str | None
    lineage: str | None
    in_catalog: bool


@dataclass(frozen=True, slots=True)
class _Catalog:
    models: tuple[Model, ...]
    index: dict[str, Model]
    families: dict[str, str | None]
    family_of: dict[str, str]
    prefixes: tuple[str, ...]
    rewrites: tuple[tuple[re.Pattern[str], str], ...]


@lru_cache(maxsize=4096)
def find(name: str) -> Model | None:
    """The model that `name` means: a canonical name or an alias, else what the catalog's rules (provider prefixes, dates, quantisation,
    settings) reduce it to. None for anything else, an unknown fine-tune of a known model included. Never raises on any text."""
    catalog = _catalog()
    for form in _forms(_fold(name), catalog):
        if model := catalog.index.get(_skeleton(form)):
            return model
    return None


def claim(model: str, family: str | None = None) -> Claim:
    """The claim "this endpoint serves `model`". `family` (`--family`) names a family, a lineage or a known model, for a claim that the
    catalog does not know or whose tokenizer its name leaves open.

    Raises UnknownFamilyError where `family` is unknown, or contradicts the catalog."""
    found = find(model)
    lineage = None if family is None else _lineage(family)
    if found is None:
        if lineage is None:
            return Claim(model, None, None, None, False)
        catalog = _catalog()
        return Claim(model, catalog.family_of[lineage], catalog.families[lineage], lineage, False)
    if lineage in (None, found.lineage, found.family):
        return Claim(model, found.family, found.tokenizer, found.lineage, True)
    catalog = _catalog()
    if found.tokenizer is None and found.family == catalog.family_of[lineage]:  # the user settles what the name leaves open
        return Claim(model, found.family, catalog.families[lineage], lineage, True)
    raise UnknownFamilyError(f"the catalog knows {model!r} as lineage {found.lineage}, not {lineage}: leave --family out")


def suggest(name: str, n: int = 3) -> list[str]:
    """At most `n` canonical names that look like `name`, best first; empty where nothing is near."""
    return _nearest(name, {skeleton: model.name for skeleton, model in _catalog().index.items()}, n)


def models() -> tuple[Model, ...]:
    """Every model, in the catalog's order."""
    return _catalog().models


def families() -> dict[str, str | None]:
    """Every family and lineage that `--family` takes -> its tokenizer; None where none is known or where the family's members differ
    ("mistral": name the lineage instead, "mistral-v1" or "mistral-tekken")."""
    return dict(_catalog().families)


def digest() -> str:
    """SHA-256, in hex, of the catalog file's bytes."""
    return hashlib.sha256(_bytes()).hexdigest()


def _bytes() -> bytes:
    return files("fingerprints").joinpath("data/catalog.toml").read_bytes()


@cache
def _catalog() -> _Catalog:
    """The parsed file, on first use: importing this module reads nothing."""
    raw = tomllib.loads(_bytes().decode())
    known = tuple(model for group in raw["group"] for model in _group(group))
    index: dict[str, Model] = {}
    for model in known:
        for name in (model.name, *model.aliases):
            index.setdefault(_skeleton(name), model)
    for model in known:  # an instruction-tuned model also answers to its bare name, where no other model owns that
        for suffix in raw["rules"]["tuned"]:
            bare = model.name.removesuffix(suffix)
            if bare != model.name and any(map(str.isdigit, bare)):  # without a number it is a brand ("deepseek"), not a model
                index.setdefault(_skeleton(bare), model)
    rewrites = tuple((re.compile(pattern), replacement) for pattern, replacement in raw["rules"]["rewrite"])
    return _Catalog(known, index, _tokenizers(known), _families(known), tuple(raw["rules"]["prefixes"]), rewrites)


def _group(group: dict[str, Any]) -> Iterator[Model]:
    """Models of one [[group]]: what a row leaves out it takes from its group."""
    for row in group["models"]:
        own = {"name": row} if isinstance(row, str) else row
        family = own.get("family", group["family"])
        yield Model(
            name=own["name"],
            vendor=own.get("vendor", group["vendor"]),
            family=family,
            lineage=own.get("lineage", group.get("lineage", family)),
            tokenizer=own.get("tokenizer", group.get("tokenizer")) or None,  # "" in a row: none known, whatever its group says
            released=own.get("released"),
            cutoff=own.get("cutoff", group.get("cutoff")),
            wires=tuple(own.get("wires", group.get("wires", ("openai",)))),
            aliases=tuple(own.get("aliases", ())),
        )


def _tokenizers(known: tuple[Model, ...]) -> dict[str, str | None]:
    """Lineage or family -> tokenizer. A lineage's is the one that its members share, those with none known aside (an extended vocabulary
    says nothing of its base); a family that is no lineage has one only where all its members do."""
    by_lineage: dict[str, set[str | None]] = {}
    by_family: dict[str, set[str | None]] = {}
    for model in known:
        by_lineage.setdefault(model.lineage, {None}).add(model.tokenizer)
        by_family.setdefault(model.family, set()).add(model.tokenizer)
    shared = by_family | {lineage: found - {None} for lineage, found in by_lineage.items()}
    return {name: next(iter(found)) if len(found) == 1 else None for name, found in sorted(shared.items())}


def _families(known: tuple[Model, ...]) -> dict[str, str]:
    """Lineage or family -> family. A lineage that fine-tunes of several families share belongs to the first that declares it."""
    own = {model.family: model.family for model in known}
    for model in known:
        own.setdefault(model.lineage, model.family)
    return own


def _lineage(family: str) -> str:
    """`family` as the catalog spells it; a model's name stands for its lineage."""
    by_skeleton = {_skeleton(name): name for name in _catalog().families}
    if found := by_skeleton.get(_skeleton(_fold(family))):
        return found
    if model := find(family):
        return model.lineage
    near = _nearest(family, by_skeleton, 3) or ["llama-3", "gpt-4o", "claude-4"]
    raise UnknownFamilyError(f"no family {family!r} in the catalog: use one of {', '.join(near)}, or see `truename catalog list`")


def _nearest(name: str, candidates: dict[str, str], n: int) -> list[str]:
    """Names (values of `candidates`, keyed by skeleton) nearest to `name`, each once."""
    wanted = _skeleton(_fold(name))
    matcher = SequenceMatcher(autojunk=False)
    matcher.set_seq2(wanted)
    best: dict[str, float] = {}
    for skeleton, canonical in candidates.items():
        matcher.set_seq1(skeleton)
        shared = _leading_parts(skeleton.split("-"), wanted.split("-"))
        best[canonical] = max(best.get(canonical, 0.0), matcher.ratio() + _LEADING_PART_BONUS * shared)
    near = [canonical for canonical, score in best.items() if score >= _SUGGESTION_FLOOR]
    return sorted(near, key=lambda canonical: (-best[canonical], canonical))[:n]


def _leading_parts(one: list[str], other: list[str]) -> int:
    count = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        count += 1
    return count


def _fold(name: str) -> str:
    return " ".join(name[:_MAX_NAME_CHARACTERS].split()).lower()


def _forms(name: str, catalog: _Catalog) -> Iterator[str]:
    """`name`, then what remains after each rule that applies, one rule at a time, so that the least-stripped form wins."""
    seen: set[str] = set()
    form: str | None = name
    while form and form not in seen:
        seen.add(form)
        yield form
        form = _shorter(form, catalog)


def _shorter(form: str, catalog: _Catalog) -> str | None:
    """`form` after the first rule that changes it: prefixes, then rewrites from the top; None where none does."""
    if form.startswith(catalog.prefixes):
        return form.removeprefix(max(filter(form.startswith, catalog.prefixes), key=len))
    rewritten = (pattern.sub(replacement, form, count=1) for pattern, replacement in catalog.rewrites)
    return next((new for new in rewritten if new != form), None)


def _skeleton(name: str) -> str:
    """Spelling without punctuation: runs of letters and of digits, so that llama3.1:70b, Llama-3.1-70B and llama_3_1_70b are one name."""
    return "-".join(re.findall(r"[^\W\d_]+|\d+", name.lower()))
