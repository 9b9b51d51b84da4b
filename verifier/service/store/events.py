"""The events of an audit, numbered without gaps, so that a reader which lost its connection goes on where it stopped."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select, update

from verifier.service.store.common import as_row, columns
from verifier.service.store.engine import Transaction
from verifier.service.store.models import audits, events
from verifier.service.store.rows import EventRow

MAX_EVENTS = 500
"""Most events that one reading gives."""


async def append(tx: Transaction, audit_id: str, kind: str, data: Mapping[str, Any], now: datetime) -> EventRow | None:
    """Add one event; None where there is no such audit. Writers of one audit wait for each other on its row."""
    seq = await tx.scalar(
        update(audits).where(audits.c.id == audit_id).values(last_event=audits.c.last_event + 1).returning(audits.c.last_event)
    )
    if seq is None:
        return None
    row = EventRow(audit_id, seq, kind, dict(data), now)
    await tx.execute(insert(events).values(audit_id=audit_id, seq=seq, kind=kind, data=row.data, created=now))
    return row


async def after(tx: Transaction, audit_id: str, seq: int = 0, limit: int = MAX_EVENTS) -> tuple[EventRow, ...]:
    """The events that follow number `seq` (Last-Event-ID), oldest first; from the first with 0."""
    query = select(*columns(events, EventRow)).where(events.c.audit_id == audit_id, events.c.seq > seq)
    found = await tx.execute(query.order_by(events.c.seq).limit(min(limit, MAX_EVENTS)))
    return tuple(as_row(EventRow, each) for each in found.mappings())
