"""Writes that outlast a database which is gone for a moment: tried again until it is back or a minute has passed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeVar

from verifier.service.errors import StoreError
from verifier.service.store.engine import Store, Transaction

T = TypeVar("T")

WAITS_S = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0, 8.0, 8.0, 8.0)
"""Pauses between tries: a minute in all. Later a run's lease has long passed on."""


def utc_now() -> datetime:
    """The time, aware and in UTC."""
    return datetime.now(UTC)


async def steadily(store: Store, action: Callable[[Transaction], Awaitable[T]]) -> T:
    """Run `action` in a write transaction, again where the database is lost in it; it must bear being run twice.

    Raises StoreError where the database stays away, and what `action` raises.
    """
    for wait in WAITS_S:
        try:
            async with store.write() as tx:
                return await action(tx)
        except StoreError:
            await asyncio.sleep(wait)
    async with store.write() as tx:
        return await action(tx)
