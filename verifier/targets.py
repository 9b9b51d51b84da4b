"""A file of endpoints to audit together: TOML with [[targets]] tables, or JSON lines, one object each.

Takes a path, gives rows with parsed targets and claims. Every mistake is one UsageError that names the row; a key is never in
the file, only the name of the variable that holds it.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fingerprints.catalog import Claim
from fingerprints.wire import Wire
from verifier.errors import CannotRunError, TruenameError, UsageError
from verifier.options import named_wire, resolve_claim
from verifier.target import Target

MAX_ROWS = 1000
MAX_BYTES = 4_000_000
KEY_VARIABLE = "TRUENAME_API_KEY"
_STRINGS = ("base_url", "claim", "name", "model", "family", "wire", "api_key_env")
_TABLES = ("headers", "headers_env", "query", "body")
_FORM = 'write [[targets]] tables (TOML) or one JSON object a line, each with "base_url" and "claim"'


@dataclass(frozen=True, slots=True)
class Row:
    """One endpoint of a batch."""

    name: str
    """The row's own name, else its origin and claim; unique in the file."""
    target: Target
    claim: Claim
    auto: bool
    """Whether the wire is to be found out."""


def read_targets(path: Path) -> tuple[Row, ...]:
    """The rows of a file. Raises CannotRunError where it cannot be read, UsageError for what it says."""
    try:
        data = path.read_bytes()
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise CannotRunError(f"{path} cannot be read ({error.strerror})", "give --targets a TOML or JSON-lines file") from error
    except UnicodeDecodeError as error:
        raise CannotRunError(f"{path} is not UTF-8 text", _FORM) from error
    if len(data) > MAX_BYTES:
        raise CannotRunError(f"{path} is larger than {MAX_BYTES} bytes", "split it")
    raw = _tables(text, path)
    if not 0 < len(raw) <= MAX_ROWS:
        raise UsageError(f"{path} names {len(raw)} endpoints", f"name 1 to {MAX_ROWS}; {_FORM}")
    rows: list[Row] = []
    taken: set[str] = set()
    for number, fields in enumerate(raw, start=1):
        try:
            row = _row(fields)
        except TruenameError as error:
            raise UsageError(f"{path}, target {number}: {error.problem}", error.remedy) from None
        name = row.name if row.name not in taken else f"{row.name} ({number})"
        taken.add(name)
        rows.append(Row(name, row.target, row.claim, row.auto))
    return tuple(rows)


def _tables(text: str, path: Path) -> list[Any]:
    """The raw rows: JSON lines where the first character says so, TOML otherwise."""
    if text.lstrip().startswith("{"):
        rows = []
        for number, line in enumerate(text.splitlines(), start=1):
            if line.strip():
                try:
                    rows.append(json.loads(line))
                except (ValueError, RecursionError):
                    raise UsageError(f"{path}, line {number} is not JSON", _FORM) from None
        return rows
    try:
        tables = tomllib.loads(text).get("targets", [])
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"{path} is not TOML ({error})", _FORM) from None
    return tables if isinstance(tables, list) else []


def _row(fields: Any) -> Row:
    if not isinstance(fields, Mapping):
        raise UsageError("it is not a table of fields", _FORM)
    unknown = sorted(set(fields) - {*_STRINGS, *_TABLES})
    if unknown:
        raise UsageError(f"there is no field {unknown[0]!r:.60}", f"fields are {', '.join((*_STRINGS, *_TABLES))}")
    for name in _STRINGS:
        if not isinstance(fields.get(name, ""), str):
            raise UsageError(f"the field {name} is not a string", _FORM)
    for name in _TABLES:
        if not isinstance(fields.get(name, {}), Mapping):
            raise UsageError(f"the field {name} is not a table", 'write {"name": "value"}')
    if not fields.get("base_url") or not fields.get("claim"):
        raise UsageError("base_url or claim is missing", _FORM)
    wire = named_wire(fields.get("wire", "auto"))
    headers = [(name, _text(value)) for name, value in fields.get("headers", {}).items()]
    headers += [(name, _variable(_text(variable))) for name, variable in fields.get("headers_env", {}).items()]
    target = Target.parse(
        fields["base_url"],
        fields.get("model", fields["claim"]),
        wire=wire or Wire.OPENAI,
        api_key=_variable(fields["api_key_env"]) if "api_key_env" in fields else os.environ.get(KEY_VARIABLE),
        headers=headers,
        query=[(name, _text(value)) for name, value in fields.get("query", {}).items()],
        body=dict(fields.get("body", {})),
    )
    claim = resolve_claim(fields["claim"], fields.get("family"))
    assert claim is not None  # noqa: S101 - a claim was given
    return Row(fields.get("name") or f"{target.origin} as {claim.model}", target, claim, wire is None)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise UsageError("a header or query parameter is not a string", "put it in quotes")
    return value


def _variable(name: str) -> str:
    if name not in os.environ:
        raise UsageError(f"the variable {name} is not set", "export it")
    return os.environ[name]
