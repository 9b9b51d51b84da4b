"""Which vendor's or host's software wrote a reply, by its marks: header names, id shapes, fingerprint shapes, body and error fields.

It takes plain strings (names and ids, never header values) and data/surface.toml, which `python -m fingerprints.build surface` fits from
recorded traffic, and gives markers. All of it is trivially forged or dropped: a foreign marker is a finding, a matching one nearly
nothing, and none of them may ever decide a verdict.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from fingerprints import wordings

DATA = Path(__file__).parent / "data" / "surface.toml"
FIELDS = ("body", "usage", "error")
"""Where marks are fields of an API flavour, which other vendors speak too: fitted without one of them, these were the false marks."""
MAX_LISTED = 400
"""Strings of one kind that are looked at: a hostile reply may hold any number."""
_MAX_CHARACTERS = 200
_MAX_DEPTH = 3


@dataclass(frozen=True, slots=True)
class Marker:
    """One mark of a vendor of models, or of a host that serves several vendors' models."""

    owner: str
    """Catalog vendor ("anthropic"), or the host's name where `host`."""
    where: str
    """header, id, fingerprint, body, usage or error."""
    what: str
    """The header or field name, or the name of the shape: "toolu_01…"."""
    strength: str
    """weak, moderate or strong: how exclusively the recorded traffic ties it to its owner, and on how many replies."""
    host: bool
    n: int
    """Recorded replies that carry it."""


def markers(
    headers: Iterable[str] = (),
    ids: Iterable[str] = (),
    system_fingerprint: str | None = None,
    body_keys: Iterable[str] = (),
    usage_keys: Iterable[str] = (),
    error: Mapping[str, Any] | None = None,
) -> tuple[Marker, ...]:
    """Marks in one reply, each once, in the table's order.

    `headers` are response header names; `ids` every id of the body (reply, tool calls); `body_keys` its top-level fields; `usage_keys`
    the fields of its usage object, nested ones dotted; `error` the parsed body of an error reply. Never raises on any strings.
    """
    table = _table()
    seen = {("header", name.lower()) for name in _some(headers)}
    seen |= {("body", key) for key in _some(body_keys)} | {("usage", key) for key in _some(usage_keys)}
    seen |= {("id", shape) for text in _some(ids) for shape in id_shapes(text)}
    if isinstance(system_fingerprint, str):
        seen |= {("fingerprint", shape) for shape in fingerprint_shapes(system_fingerprint)}
    if error is not None:
        seen.add(("error", error_shape(error)))
    return tuple(marker for key, marker in table.items() if key in seen)


def foreign(found: Sequence[Marker], vendor: str) -> tuple[Marker, ...]:
    """Those of `found` that do not belong under a claim of this catalog vendor's models: another vendor's marks, and marks of hosts that
    were never recorded serving the vendor (kept weak: hosts add models). A vendor's fields are left out: they tell the API flavour."""
    return tuple(
        marker
        for marker in found
        if (vendor not in serves(marker.owner) if marker.host else marker.owner != vendor and marker.where not in FIELDS)
    )


def serves(host: str) -> frozenset[str]:
    """Vendors whose models a host was recorded to serve; empty for a host that is not in the table."""
    return frozenset(_raw()["serves"].get(host, ()))


def id_shapes(text: str) -> tuple[str, ...]:
    """Names of the id shapes that a string has; usually one or none."""
    return _shapes("id", text)


def fingerprint_shapes(text: str) -> tuple[str, ...]:
    """Names of the shapes that a system_fingerprint has."""
    return _shapes("fingerprint", text)


def error_shape(body: Mapping[str, Any]) -> str:
    """The fields of an error body, nested and sorted, values left out: "{error:{message,type},request_id,type}"."""
    return _fields(body, _MAX_DEPTH)


def digest() -> str:
    """SHA-256, in hex, of the bytes of both tables: marks and wordings."""
    return hashlib.sha256(DATA.read_bytes() + wordings.DATA.read_bytes()).hexdigest()


def _fields(body: Mapping[str, Any], depth: int) -> str:
    parts = []
    for key in sorted(_some(body)):
        inner = body[key]
        parts.append(f"{key}:{_fields(inner, depth - 1)}" if isinstance(inner, Mapping) and inner and depth > 1 else key)
    return "{" + ",".join(parts) + "}"


def _some(texts: Iterable[str]) -> list[str]:
    kept: list[str] = []
    for text in texts:
        if len(kept) == MAX_LISTED:
            break
        if isinstance(text, str) and len(text) <= _MAX_CHARACTERS:
            kept.append(text)
    return kept


def _shapes(kind: str, text: str) -> tuple[str, ...]:
    return tuple(name for name, pattern in _patterns(kind).items() if pattern.fullmatch(text)) if len(text) <= _MAX_CHARACTERS else ()


@cache
def _patterns(kind: str) -> dict[str, re.Pattern[str]]:
    return {name: re.compile(pattern) for name, pattern in _raw()["shapes"][kind].items()}


@cache
def _table() -> dict[tuple[str, str], Marker]:
    return {
        (row["where"], row["what"]): Marker(row["owner"], row["where"], row["what"], row["strength"], row["host"], row["n"])
        for row in _raw()["markers"]
    }


@cache
def _raw() -> dict[str, Any]:
    return tomllib.loads(DATA.read_text(encoding="utf-8"))
