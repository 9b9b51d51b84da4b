"""Notifications to be delivered: written in the transaction of what they tell, delivered at least once, given up in the end."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import insert, select, update

from verifier.service.store.common import as_row, columns
from verifier.service.store.engine import Transaction
from verifier.service.store.models import outbox
from verifier.service.store.rows import OutboxRow, new_id

DELIVERY = timedelta(seconds=60)
"""How long one delivery may take before another process tries it."""
MAX_ERROR_CHARS = 300

_COLUMNS = columns(outbox, OutboxRow)


async def add(
    tx: Transaction, owner: str, url: str, body: bytes, now: datetime, *, audit_id: str | None = None, key_holder: str | None = None
) -> OutboxRow:
    """Queue a notification, due at once."""
    statement = insert(outbox).values(
        id=new_id("wh"), owner=owner, audit_id=audit_id, key_holder=key_holder, url=url, body=body, attempts=0, next_try=now, created=now
    )
    return as_row(OutboxRow, (await tx.execute(statement.returning(*_COLUMNS))).mappings().one())


async def take(tx: Transaction, now: datetime, limit: int = 20, delivery: timedelta = DELIVERY) -> tuple[OutboxRow, ...]:
    """Notifications that are due, counted as tried: no other process gives them out within `delivery`."""
    waiting = select(outbox.c.id).where(outbox.c.done.is_(None), outbox.c.failed.is_(None), outbox.c.next_try <= now)
    mine = waiting.order_by(outbox.c.next_try, outbox.c.id).limit(limit).with_for_update(skip_locked=True)
    taken = update(outbox).where(outbox.c.id.in_(mine)).values(attempts=outbox.c.attempts + 1, next_try=now + delivery)
    found = (await tx.execute(taken.returning(*_COLUMNS))).mappings().all()
    return tuple(as_row(OutboxRow, each) for each in found)


async def delivered(tx: Transaction, notification_id: str, now: datetime) -> bool:
    """Mark it delivered; False where it was settled before."""
    settled = update(outbox).where(outbox.c.id == notification_id, outbox.c.done.is_(None), outbox.c.failed.is_(None))
    return await tx.scalar(settled.values(done=now, last_error=None).returning(outbox.c.id)) is not None


async def retry(tx: Transaction, notification_id: str, next_try: datetime, error: str) -> bool:
    """Try again at `next_try`; False where it was settled before."""
    waiting = update(outbox).where(outbox.c.id == notification_id, outbox.c.done.is_(None), outbox.c.failed.is_(None))
    return await tx.scalar(waiting.values(next_try=next_try, last_error=_line(error)).returning(outbox.c.id)) is not None


async def give_up(tx: Transaction, notification_id: str, now: datetime, error: str) -> bool:
    """Stop trying; False where it was settled before."""
    settled = update(outbox).where(outbox.c.id == notification_id, outbox.c.done.is_(None), outbox.c.failed.is_(None))
    return await tx.scalar(settled.values(failed=now, last_error=_line(error)).returning(outbox.c.id)) is not None


async def of_audit(tx: Transaction, audit_id: str) -> tuple[OutboxRow, ...]:
    """The notifications about one audit, oldest first."""
    found = await tx.execute(select(*_COLUMNS).where(outbox.c.audit_id == audit_id).order_by(outbox.c.created, outbox.c.id))
    return tuple(as_row(OutboxRow, each) for each in found.mappings())


def _line(error: str) -> str:
    return " ".join(error.replace("\0", " ").split())[:MAX_ERROR_CHARS]
