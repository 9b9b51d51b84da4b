"""Removes what is older than it may be kept: finished audits with all that hangs on them, settled notifications, old counters.

The ledger stays whole. Works in portions, so that no transaction holds the database for long.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import delete, or_, select

from verifier.service.store.engine import Transaction
from verifier.service.store.models import audits, origin_days, outbox, sealed
from verifier.service.store.rows import FINISHED, Expired

KEPT_COUNTER_DAYS = 2
"""Request counters of an origin are needed for the day itself; one more for clocks that differ."""


async def expire(tx: Transaction, now: datetime, keep: timedelta, limit: int = 200) -> Expired:
    """Remove up to `limit` audits and as many notifications that ended before `now - keep`. Call again until it removes none."""
    before = now - keep
    old = select(audits.c.id).where(audits.c.status.in_(sorted(FINISHED)), audits.c.finished < before)
    ids = list((await tx.scalars(old.order_by(audits.c.finished).limit(limit))).all())
    if ids:
        await tx.execute(delete(sealed).where(sealed.c.holder.in_(ids)))
        await tx.execute(delete(audits).where(audits.c.id.in_(ids)))
    told = select(outbox.c.id).where(or_(outbox.c.done < before, outbox.c.failed < before)).limit(limit)
    notifications = (await tx.execute(delete(outbox).where(outbox.c.id.in_(told)))).rowcount
    last_day = (now - timedelta(days=KEPT_COUNTER_DAYS)).date()
    days = (await tx.execute(delete(origin_days).where(origin_days.c.day < last_day))).rowcount
    return Expired(len(ids), notifications, days)
