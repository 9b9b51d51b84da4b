"""List prices per model: the table that ships, and over it the user's own, which needs no release to be right.

The user's table is the file that TRUENAME_PRICES names, or prices.toml in the data directory. It is read anew whenever it has changed, so
that a running service prices by it at once. Prices estimate what an audit costs; they are no evidence, and no verdict rests on them.
"""

from __future__ import annotations

import math
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache, lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from fingerprints import catalog
from verifier.errors import UsageError
from verifier.places import data_directory

PRICES_VARIABLE = "TRUENAME_PRICES"
FILE = "prices.toml"
"""In the data directory."""
MAX_BYTES = 1_000_000
MOST_DOLLARS = 1e6
"""Per million tokens; beyond it a price is a slip of the pen."""
_AS_OF = re.compile(r"\d{4}-\d{2}(?:-\d{2})?")
_FIELDS = {"input", "output", "as_of"}
_REMEDY = 'write one line a model: "gpt-4o" = { input = 2.5, output = 10.0, as_of = "2026-11" }'


@dataclass(frozen=True, slots=True)
class Price:
    """What a model costs, in US dollars per million tokens."""

    input: float
    output: float
    as_of: str
    """YYYY-MM or YYYY-MM-DD: when the price was read."""
    own: bool = False
    """Whether it is from the user's table."""

    def dollars(self, prompt_tokens: int, completion_tokens: int) -> float:
        """The cost of so many tokens."""
        return (prompt_tokens * self.input + completion_tokens * self.output) / 1e6


def price_of(model: str, data_dir: Path | None = None) -> Price | None:
    """The price of a model by any of its names; None where neither table has it. Raises UsageError as `prices`."""
    table = prices(data_dir)
    found = catalog.find(model)
    return table.get(_key(model)) or (table.get(_key(found.name)) if found is not None else None)


def prices(data_dir: Path | None = None) -> Mapping[str, Price]:
    """Both tables together, by lower-case name, the user's own counting where both have a model. `data_dir`: in place of the user's.

    Raises UsageError for a table of the user's that cannot be read or is none."""
    own = _own_file(data_dir)
    if own is None:
        return _shipped()
    try:
        state = own.stat()
    except OSError as error:
        raise _unreadable(own, error) from error
    return _both(own, state.st_mtime_ns, state.st_size)


def read_prices(data: bytes, where: str, *, own: bool) -> dict[str, Price]:
    """The table in `data` by lower-case name. Raises UsageError with one line that names the place and the model."""
    try:
        table = tomllib.loads(data.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{where} is not TOML ({str(error)[:100]})", _REMEDY) from error
    found: dict[str, Price] = {}
    for model, row in table.items():
        key = _key(model)
        if key in found:
            raise UsageError(f"{where} prices {model[:80]!r} twice, in two spellings", "keep one of them")
        found[key] = _price(row, f"{where}: {model[:80]!r}", own)
    return found


def _price(row: Any, where: str, own: bool) -> Price:
    if not isinstance(row, Mapping) or set(row) != _FIELDS:
        raise UsageError(f"{where} does not have exactly the fields {', '.join(sorted(_FIELDS))}", _REMEDY)
    for name in ("input", "output"):
        amount = row[name]
        number = isinstance(amount, int | float) and not isinstance(amount, bool) and math.isfinite(amount)
        if not number or not 0 <= amount <= MOST_DOLLARS:
            raise UsageError(f"{where}: {name} is no number of dollars from 0 to {MOST_DOLLARS:g} per million tokens", _REMEDY)
    as_of = row["as_of"].isoformat() if type(row["as_of"]) is date else row["as_of"]
    if not isinstance(as_of, str) or not _AS_OF.fullmatch(as_of):
        raise UsageError(f"{where}: as_of is not a month or day such as 2026-11", _REMEDY)
    return Price(float(row["input"]), float(row["output"]), as_of, own)


def _key(model: str) -> str:
    return model.strip().casefold()


def _own_file(data_dir: Path | None) -> Path | None:
    """The user's table: what the variable names, whether or not it is there, else the data directory's where there is one."""
    if named := os.environ.get(PRICES_VARIABLE, "").strip():
        return Path(named).expanduser()
    file = (data_dir or data_directory()) / FILE
    return file if file.exists() else None


@lru_cache(maxsize=4)
def _both(own: Path, changed_ns: int, size: int) -> Mapping[str, Price]:
    """The shipped table under `own`, whose time and size are part of what is remembered."""
    try:
        with own.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise _unreadable(own, error) from error
    if len(data) > MAX_BYTES:
        raise UsageError(f"the price table {own} is larger than {MAX_BYTES} bytes", "keep the models that you use")
    return {**_shipped(), **read_prices(data, f"the price table {own}", own=True)}


@cache
def _shipped() -> Mapping[str, Price]:
    data = (resources.files("verifier") / "data" / FILE).read_bytes()
    return read_prices(data, "the price table that ships", own=False)


def _unreadable(own: Path, error: OSError) -> UsageError:
    return UsageError(f"the price table {own} cannot be read ({error.strerror})", f"name another in {PRICES_VARIABLE}, or unset it")
