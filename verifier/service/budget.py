"""What one attempt may send to each origin: reserved for the UTC day before the first question, returned where it was not sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from verifier.service.errors import BudgetSpentError, OptedOutError
from verifier.service.store import origins
from verifier.service.store.engine import Transaction

IN_FLIGHT = 10
"""Requests that may have arrived uncounted where an audit is broken off: those in flight to target and reference, and wire detection."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """Requests reserved with each of the origins."""

    origins: Sequence[str]
    day: date
    requests: int


async def reserve(tx: Transaction, asked: Sequence[str], day: date, requests: int, budget: int) -> Reservation:
    """Reserve `requests` with every origin, or none at all. Raises BudgetSpentError, OptedOutError."""
    for origin in asked:
        await refuse_opted_out(tx, origin)
        if not await origins.reserve(tx, origin, day, requests, budget):
            raise BudgetSpentError(origin, budget)
    return Reservation(tuple(asked), day, requests)


async def give_back(tx: Transaction, reserved: Reservation | None, sent: int) -> None:
    """Return what was reserved beyond `sent` requests; nothing where nothing was reserved."""
    if reserved is not None and reserved.requests > sent:
        for origin in reserved.origins:
            await origins.give_back(tx, origin, reserved.day, reserved.requests - sent)


async def refuse_opted_out(tx: Transaction, *asked: str) -> None:
    """Raises OptedOutError where the owner of one of the origins does not want it audited."""
    for origin in asked:
        if await origins.opted_out(tx, origin) is not None:
            raise OptedOutError(origin)
