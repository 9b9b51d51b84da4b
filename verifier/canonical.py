"""One way to write a JSON value as bytes (RFC 8785), so that a digest or a signature has exactly one text that it fits.

Takes JSON values and gives bytes, takes bytes and gives the value. Bytes that are not the canonical form of what they say (another
order, a space, a key twice, a number written otherwise) are refused: nothing here mends what it reads.
"""

from __future__ import annotations

import json
from typing import Any

import rfc8785

from verifier.errors import TruenameError

LARGEST_INTEGER = 2**53 - 1
"""Beyond it a JSON number is a double for every reader (RFC 8785 section 3.2.2.3, RFC 7493)."""


class TamperedError(TruenameError):
    """The bytes are not those that were signed: a signature, a digest, a form or a place in the ledger is wrong."""

    exit_code = 1


def canonical(value: Any) -> bytes:
    """The value in its canonical form, UTF-8. Raises ValueError for what JSON cannot hold: NaN, infinities, lone surrogates."""
    return rfc8785.dumps(value)


def read_json(data: bytes) -> Any:
    """The value that `data` holds. Raises ValueError where it is not JSON in UTF-8, names a key twice or holds no finite number."""
    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=_object, parse_constant=_constant, parse_int=_integer)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def read_canonical(data: bytes, name: str, remedy: str) -> Any:
    """The value that `data` holds in canonical form. Raises TamperedError, naming the bytes `name`, where it is in any other."""
    try:
        value = read_json(data)
        own = canonical(value)
    except (ValueError, RecursionError) as error:
        why = "is not UTF-8" if isinstance(error, UnicodeError) else f"is not JSON ({error})"
        raise TamperedError(f"{name} {why}", remedy) from error
    if own != data:
        raise TamperedError(f"{name} is not in its canonical form (RFC 8785)", remedy)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key stands there twice")
    return value


def _constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _integer(digits: str) -> int | float:
    """An integer, or the double that digits beyond the safe range stand for (1e20 is written without an exponent)."""
    number = int(digits)
    if abs(number) <= LARGEST_INTEGER:
        return number
    try:
        return float(number)
    except OverflowError:
        raise ValueError("a number is out of range") from None
