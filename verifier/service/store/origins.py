"""What origins are owed: nobody may hammer a third party through this service, and an owner can be put on the opt-out list.

Requests are reserved before they are sent, per origin and UTC day, in one statement, so that workers together stay within the budget.
"""

from __future__ import annotations

import ipaddress
from datetime import date, datetime
from urllib.parse import urlsplit

from sqlalchemy import case, delete, select, update

from verifier.service.store.common import as_row, columns, insert_or
from verifier.service.store.engine import Transaction
from verifier.service.store.models import opt_outs, origin_days
from verifier.service.store.rows import OptOutRow


async def reserve(tx: Transaction, origin: str, day: date, requests: int, budget: int) -> bool:
    """Reserve requests to an origin on a UTC day; False, and nothing reserved, where the day's budget does not hold them."""
    if requests > budget:
        return False
    statement = insert_or(tx, origin_days).values(origin=origin, day=day, requests=requests)
    statement = statement.on_conflict_do_update(
        index_elements=["origin", "day"],
        set_={"requests": origin_days.c.requests + requests},
        where=origin_days.c.requests + requests <= budget,
    )
    return await tx.scalar(statement.returning(origin_days.c.requests)) is not None


async def give_back(tx: Transaction, origin: str, day: date, requests: int) -> None:
    """Return what was reserved and not sent; the count never falls below zero."""
    left = origin_days.c.requests - requests
    kept = case((left > 0, left), else_=0)
    await tx.execute(update(origin_days).where(origin_days.c.origin == origin, origin_days.c.day == day).values(requests=kept))


async def reserved(tx: Transaction, origin: str, day: date) -> int:
    """Requests to an origin on a UTC day: sent or reserved."""
    return await tx.scalar(select(origin_days.c.requests).where(origin_days.c.origin == origin, origin_days.c.day == day)) or 0


async def opt_out(tx: Transaction, host: str, reason: str, now: datetime) -> OptOutRow:
    """Put a host, and all names below it, on the opt-out list; the reason is replaced where it is there already."""
    row = OptOutRow(_plain(host), reason, now)
    statement = insert_or(tx, opt_outs).values(host=row.host, reason=reason, created=now)
    await tx.execute(statement.on_conflict_do_update(index_elements=["host"], set_={"reason": reason}))
    return row


async def opt_in(tx: Transaction, host: str) -> bool:
    """Take a host from the list; False where it was not on it."""
    return await tx.scalar(delete(opt_outs).where(opt_outs.c.host == _plain(host)).returning(opt_outs.c.host)) is not None


async def opted_out(tx: Transaction, origin: str) -> OptOutRow | None:
    """The entry that forbids auditing this origin, or None: its host's, or that of a name above it."""
    names = _and_above(_plain(urlsplit(origin).hostname or ""))
    query = select(*columns(opt_outs, OptOutRow)).where(opt_outs.c.host.in_(names)).order_by(opt_outs.c.host).limit(1)
    found = (await tx.execute(query)).mappings().one_or_none()
    return as_row(OptOutRow, found) if found is not None else None


async def opt_out_list(tx: Transaction) -> tuple[OptOutRow, ...]:
    """Every entry, by host."""
    found = await tx.execute(select(*columns(opt_outs, OptOutRow)).order_by(opt_outs.c.host))
    return tuple(as_row(OptOutRow, each) for each in found.mappings())


def _plain(host: str) -> str:
    """One spelling of a host: a trailing dot and capitals name the same one."""
    return host.strip().strip("[]").rstrip(".").lower()


def _and_above(host: str) -> list[str]:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        labels = host.split(".")
        return [".".join(labels[start:]) for start in range(len(labels))]
    return [host]
