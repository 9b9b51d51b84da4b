"""The ledger: every report that this service signed, each entry naming the one before, so that none can be taken out unseen.

Entries are made one at a time, and are never changed or removed; retention does not touch them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime

from sqlalchemy import insert, select, text

from verifier.service.store.common import as_row, columns, values_of
from verifier.service.store.engine import Transaction
from verifier.service.store.models import ledger
from verifier.service.store.rows import LedgerRow

_APPEND_LOCK = 0x7472_6E6F

SignEntry = Callable[[int, str | None], bytes]
"""Takes an entry's sequence and the SHA-256 (hex) of the entry before (None for the first); gives the signed entry's bytes."""


async def append(tx: Transaction, report_sha256: str, sign: SignEntry, now: datetime) -> LedgerRow:
    """Add the entry of one report. `sign` runs while no other process can append, so it must be quick and must not wait."""
    last = await turn(tx)
    sequence, previous = (last.sequence + 1, last.entry_sha256) if last else (1, None)
    entry = sign(sequence, previous)
    row = LedgerRow(sequence, report_sha256, previous, entry, hashlib.sha256(entry).hexdigest(), now)
    await tx.execute(insert(ledger).values(**values_of(row)))
    return row


async def turn(tx: Transaction) -> LedgerRow | None:
    """Keep every other process from appending until this write transaction ends; gives the newest entry, as `head` does."""
    if tx.dialect.name == "postgresql":
        await tx.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _APPEND_LOCK})
    return await head(tx)


async def head(tx: Transaction) -> LedgerRow | None:
    """The newest entry; None where there is none."""
    query = select(*columns(ledger, LedgerRow)).order_by(ledger.c.sequence.desc()).limit(1)
    found = (await tx.execute(query)).mappings().one_or_none()
    return as_row(LedgerRow, found) if found is not None else None


async def of_report(tx: Transaction, report_sha256: str) -> LedgerRow | None:
    """The entry of a report, by the report's SHA-256 (hex)."""
    query = select(*columns(ledger, LedgerRow)).where(ledger.c.report_sha256 == report_sha256)
    found = (await tx.execute(query)).mappings().one_or_none()
    return as_row(LedgerRow, found) if found is not None else None


async def after(tx: Transaction, sequence: int = 0, limit: int = 1000) -> tuple[LedgerRow, ...]:
    """The entries that follow number `sequence`, oldest first."""
    query = select(*columns(ledger, LedgerRow)).where(ledger.c.sequence > sequence).order_by(ledger.c.sequence).limit(limit)
    return tuple(as_row(LedgerRow, each) for each in (await tx.execute(query)).mappings())
