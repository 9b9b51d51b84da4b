"""A small signed report for the tests of signing, the ledger and verify, and every way to flip a byte of a file."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache

from benchmarks.simulated import Endpoint
from tests.endpoints import claim_of, report_on
from verifier.publishing import Published, sealed
from verifier.report.model import Report
from verifier.signing import Signer

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@cache
def small_report() -> Report:
    """SmolLM's vocabulary claimed as Llama 3's: an accusation, in a few replies."""
    return report_on(Endpoint("smollm", copies=False), claim_of("llama3"))


@cache
def signer() -> Signer:
    """One key for a whole run of tests."""
    return Signer.generate()


@cache
def published() -> Published:
    """The small report as the first of a ledger."""
    return sealed(small_report(), None, signer(), NOW)


def flips(data: bytes, *, every_bit: tuple[range, ...] = ()) -> Iterator[tuple[int, bytes]]:
    """`data` with one bit of each byte flipped in turn (another bit from byte to byte), and each bit of the bytes in `every_bit`."""
    copy = bytearray(data)
    for at in range(len(data)):
        bits = range(8) if any(at in each for each in every_bit) else (at % 8,)
        for bit in bits:
            copy[at] ^= 1 << bit
            yield at, bytes(copy)
            copy[at] ^= 1 << bit
