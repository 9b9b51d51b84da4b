"""Schedules: which audits run again and when, and what they have shown so far.

A firing is a compare-and-set on the time it was due, so that two processes that both see it due fire it once. The cron text is not
read here.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, delete, insert, select, update

from verifier.service.store.common import as_row, columns, page_of, values_of
from verifier.service.store.engine import Transaction
from verifier.service.store.models import audits, schedules, sealed
from verifier.service.store.rows import AuditRow, NewSchedule, Outcome, Page, ScheduleRow

CHANGEABLE = frozenset("request origin suite claim key_holder webhook cron timezone enabled notify_on jitter_s catch_up next_due".split())
"""Fields that `change` may set."""

_COLUMNS = columns(schedules, ScheduleRow)


async def create(tx: Transaction, new: NewSchedule, now: datetime) -> ScheduleRow:
    """Store a schedule."""
    statement = insert(schedules).values(**values_of(new), carried_looks=0, carried_log_sum=float("-inf"), created=now)
    return as_row(ScheduleRow, (await tx.execute(statement.returning(*_COLUMNS))).mappings().one())


async def get(tx: Transaction, schedule_id: str, owner: str | None = None) -> ScheduleRow | None:
    """One schedule; None where there is none, or where it is not `owner`'s. Owner None sees all."""
    found = (await tx.execute(select(*_COLUMNS).where(schedules.c.id == schedule_id, *_of(owner)))).mappings().one_or_none()
    return as_row(ScheduleRow, found) if found is not None else None


async def page(tx: Transaction, owner: str | None, *, cursor: str | None = None, limit: int = 50) -> Page[ScheduleRow]:
    """One page of schedules, newest first, of one owner (None: of all). Raises CursorError."""
    return await page_of(tx, schedules, ScheduleRow, _of(owner), cursor, limit)


async def change(tx: Transaction, schedule_id: str, owner: str | None = None, **values: Any) -> ScheduleRow | None:
    """Set fields of CHANGEABLE. Another endpoint, claim or suite begins a new e-process, because the old one speaks of another claim.

    Gives the schedule afterwards; None where there is none, or where it is not `owner`'s. Raises ValueError for another field.
    """
    if not values.keys() <= CHANGEABLE:
        raise ValueError(f"not to be changed: {sorted(values.keys() - CHANGEABLE)}")
    if values.keys() & {"request", "origin", "claim", "suite"}:
        values |= {"carried_looks": 0, "carried_log_sum": float("-inf"), "last_outcome": None}
    if values:
        await tx.execute(update(schedules).where(schedules.c.id == schedule_id, *_of(owner)).values(**values))
    return await get(tx, schedule_id, owner)


async def remove(tx: Transaction, schedule_id: str, owner: str | None = None) -> bool:
    """Delete a schedule and its sealed secrets; its audits stay. False where there is none, or where it is not `owner`'s."""
    gone = await tx.scalar(delete(schedules).where(schedules.c.id == schedule_id, *_of(owner)).returning(schedules.c.id))
    if gone is None:
        return False
    await tx.execute(delete(sealed).where(sealed.c.holder == schedule_id))
    return True


async def due(tx: Transaction, now: datetime, limit: int = 100) -> tuple[ScheduleRow, ...]:
    """Enabled schedules whose time has come, longest overdue first."""
    query = select(*_COLUMNS).where(schedules.c.enabled, schedules.c.next_due <= now).order_by(schedules.c.next_due, schedules.c.id)
    return tuple(as_row(ScheduleRow, each) for each in (await tx.execute(query.limit(limit))).mappings())


async def fire(tx: Transaction, schedule_id: str, was_due: datetime, next_due: datetime, now: datetime, *, ran: bool = True) -> bool:
    """Move a schedule from `was_due` to `next_due`; submit its audit in the same transaction. False: another process fired it.

    `ran` False moves it without a run (catch_up "skip").
    """
    moved = update(schedules).where(schedules.c.id == schedule_id, schedules.c.next_due == was_due, schedules.c.enabled)
    moved = moved.values(next_due=next_due, last_run=now) if ran else moved.values(next_due=next_due)
    return await tx.scalar(moved.returning(schedules.c.id)) is not None


async def record(tx: Transaction, schedule_id: str, outcome: Outcome, log_e: float) -> tuple[ScheduleRow, ScheduleRow] | None:
    """Add one audit's natural log e-value and outcome to the schedule: call it once, in the transaction of `runs.complete`.

    Gives the schedule before and after; None where it was removed meanwhile.
    """
    query = select(*_COLUMNS).where(schedules.c.id == schedule_id).with_for_update()
    found = (await tx.execute(query)).mappings().one_or_none()
    if found is None:
        return None
    before = as_row(ScheduleRow, found)
    carried = before.carried.after(log_e)
    changed = update(schedules).where(schedules.c.id == schedule_id)
    changed = changed.values(carried_looks=carried.looks, carried_log_sum=carried.log_sum, last_outcome=outcome)
    after = as_row(ScheduleRow, (await tx.execute(changed.returning(*_COLUMNS))).mappings().one())
    return before, after


async def unfinished(tx: Transaction, schedule_id: str) -> AuditRow | None:
    """The schedule's audit that is still queued or running, if any: the next firing need not pile up on it."""
    query = select(*columns(audits, AuditRow)).where(audits.c.schedule_id == schedule_id, audits.c.status.in_(["queued", "running"]))
    found = (await tx.execute(query.order_by(audits.c.created.desc()).limit(1))).mappings().one_or_none()
    return as_row(AuditRow, found) if found is not None else None


async def history(tx: Transaction, schedule_id: str, limit: int = 500) -> tuple[AuditRow, ...]:
    """The schedule's newest finished audits, oldest first."""
    query = select(*columns(audits, AuditRow)).where(audits.c.schedule_id == schedule_id, audits.c.finished.is_not(None))
    found = (await tx.execute(query.order_by(audits.c.created.desc(), audits.c.id.desc()).limit(limit))).mappings().all()
    return tuple(as_row(AuditRow, each) for each in reversed(found))


def _of(owner: str | None) -> list[ColumnElement[bool]]:
    return [] if owner is None else [schedules.c.owner == owner]
