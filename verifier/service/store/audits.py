"""Audits: submit, read, list, cancel. What happens to one while a worker has it is in `runs`.

An audit moves queued -> running -> done, failed or cancelled, and from running back to queued where its worker is lost. Every
move is guarded in SQL and leaves a `status` event in the same transaction.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, delete, func, select, update

from verifier.service.errors import IdempotencyConflictError
from verifier.service.store import events
from verifier.service.store.common import as_row, columns, insert_or, page_of, values_of
from verifier.service.store.engine import Transaction
from verifier.service.store.models import audits, sealed
from verifier.service.store.rows import AuditRow, AuditStatus, NewAudit, Outcome, Page, Submitted

_COLUMNS = columns(audits, AuditRow)


async def submit(tx: Transaction, new: NewAudit, now: datetime) -> Submitted:
    """Queue an audit, or give the one that the owner's same idempotency key made.

    Raises IdempotencyConflictError where that one came from another request. Seal the request's secrets only where it was created.
    """
    values = values_of(new)
    if new.idempotency_key is None:
        values["request_digest"] = None
    statement = insert_or(tx, audits).values(
        **values, status="queued", requests=0, planned=0, attempts=0, cancel_requested=False, created=now, last_event=0
    )
    statement = statement.on_conflict_do_nothing(index_elements=["owner", "idempotency_key"]).returning(audits.c.id)
    if await tx.scalar(statement) is not None:
        await events.append(tx, new.id, "status", {"status": "queued"}, now)
        return Submitted(await _certain(tx, new.id), created=True)
    same = select(*_COLUMNS).where(audits.c.owner == new.owner, audits.c.idempotency_key == new.idempotency_key)
    earlier = as_row(AuditRow, (await tx.execute(same)).mappings().one())
    if earlier.request_digest != new.request_digest:
        raise IdempotencyConflictError("this Idempotency-Key was used before with another request", "use a new key for a new request")
    return Submitted(earlier, created=False)


async def get(tx: Transaction, audit_id: str, owner: str | None = None) -> AuditRow | None:
    """One audit; None where there is none, or where it is not `owner`'s. Owner None sees all."""
    query = select(*_COLUMNS).where(audits.c.id == audit_id, *_of(owner))
    found = (await tx.execute(query)).mappings().one_or_none()
    return as_row(AuditRow, found) if found is not None else None


async def page(
    tx: Transaction,
    owner: str | None,
    *,
    claim: str | None = None,
    outcome: Outcome | None = None,
    status: AuditStatus | None = None,
    origin: str | None = None,
    schedule_id: str | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Page[AuditRow]:
    """One page of audits, newest first, of one owner (None: of all). Raises CursorError."""
    wanted = {"claim": claim, "outcome": outcome, "status": status, "origin": origin, "schedule_id": schedule_id}
    filters = [audits.c[name] == value for name, value in wanted.items() if value is not None]
    return await page_of(tx, audits, AuditRow, [*_of(owner), *filters], cursor, limit)


async def request_cancel(tx: Transaction, audit_id: str, now: datetime, owner: str | None = None) -> AuditRow | None:
    """Cancel a queued audit at once, and ask the worker of a running one to stop; a finished one stays as it is.

    Gives the audit afterwards; None where there is none, or where it is not `owner`'s.
    """
    queued = update(audits).where(audits.c.id == audit_id, audits.c.status == "queued", *_of(owner))
    ended = await tx.scalar(queued.values(status="cancelled", cancel_requested=True, finished=now).returning(audits.c.id))
    if ended is not None:
        await forget_keys(tx, audit_id)
        await events.append(tx, audit_id, "status", {"status": "cancelled"}, now)
    else:
        running = update(audits).where(audits.c.id == audit_id, audits.c.status == "running", *_of(owner))
        await tx.execute(running.values(cancel_requested=True))
    return await get(tx, audit_id, owner)


async def queued(tx: Transaction, limit: int = 1000) -> tuple[str, ...]:
    """Ids of audits that wait for a worker, oldest first: what the queue must hold, and is given again after it lost something."""
    query = select(audits.c.id).where(audits.c.status == "queued").order_by(audits.c.created, audits.c.id).limit(limit)
    return tuple((await tx.scalars(query)).all())


async def oldest_queued(tx: Transaction) -> str | None:
    """The id of the audit that has waited longest; in PostgreSQL held for this transaction, so that each of many workers sees another."""
    query = select(audits.c.id).where(audits.c.status == "queued").order_by(audits.c.created, audits.c.id)
    found: str | None = await tx.scalar(query.limit(1).with_for_update(skip_locked=True))
    return found


async def counts(tx: Transaction) -> dict[AuditStatus, int]:
    """How many audits stand in each state."""
    totals: dict[AuditStatus, int] = {"queued": 0, "running": 0, "done": 0, "failed": 0, "cancelled": 0}
    for status, count in await tx.execute(select(audits.c.status, func.count()).group_by(audits.c.status)):
        totals[status] = count
    return totals


async def nth_newest(tx: Transaction, origin: str, n: int) -> datetime | None:
    """When the n-th newest audit of an origin, by all owners, was submitted (n from 1); None where there are fewer."""
    query = select(audits.c.created).where(audits.c.origin == origin).order_by(audits.c.created.desc()).offset(n - 1).limit(1)
    found: datetime | None = await tx.scalar(query)
    return found


async def forget_keys(tx: Transaction, audit_id: str) -> None:
    """Remove the endpoint keys that were given for this audit alone; a schedule's own stay, and so does a webhook's signing key."""
    await tx.execute(delete(sealed).where(sealed.c.holder == audit_id, sealed.c.purpose != "webhook"))


async def _certain(tx: Transaction, audit_id: str) -> AuditRow:
    return as_row(AuditRow, (await tx.execute(select(*_COLUMNS).where(audits.c.id == audit_id))).mappings().one())


def _of(owner: str | None) -> list[ColumnElement[bool]]:
    return [] if owner is None else [audits.c.owner == owner]
