"""What a monitor asks of the database: how much waits and for how long, and what became of the audits of the last hour.

Every figure comes from an index and none from the whole table, so that asking each few seconds costs little however long rows are kept.
They are the database's, so that any API process gives them for all workers, and a restart loses none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select

from verifier.service.store.engine import Transaction
from verifier.service.store.models import audits, outbox, schedules

RECENT = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Numbers:
    """At one moment."""

    queued: int
    running: int
    oldest_queued_s: float
    """Seconds that the oldest queued audit has waited since it was submitted; 0 where none waits."""
    overdue_s: float
    """Seconds that the schedule which is most overdue has waited; 0 where none is."""
    undelivered: int
    """Notifications that were tried and not delivered yet."""
    recent: Mapping[tuple[str, str], int]
    """Audits that ended within RECENT, by status and by outcome, or kind of failure."""


async def now(tx: Transaction, moment: datetime) -> Numbers:
    """The figures at `moment`."""
    waiting = select(func.count(), func.min(audits.c.created)).where(audits.c.status == "queued")
    queued, oldest = (await tx.execute(waiting)).one()
    due = await tx.scalar(select(func.min(schedules.c.next_due)).where(schedules.c.enabled.is_(True), schedules.c.next_due < moment))
    # A next try that is still to come: the condition that an index answers.
    trying = select(func.count()).where(outbox.c.next_try > moment, outbox.c.done.is_(None), outbox.c.failed.is_(None))
    detail = func.coalesce(audits.c.outcome, audits.c.failure, "")
    ended = (
        select(audits.c.status, detail, func.count())
        .where(audits.c.status.in_(("done", "failed", "cancelled")), audits.c.finished >= moment - RECENT)
        .group_by(audits.c.status, detail)
    )
    return Numbers(
        queued=queued,
        running=await tx.scalar(select(func.count()).where(audits.c.status == "running")) or 0,
        oldest_queued_s=_since(oldest, moment),
        overdue_s=_since(due, moment),
        undelivered=await tx.scalar(trying) or 0,
        recent={(status, kind): count for status, kind, count in await tx.execute(ended)},
    )


def _since(before: datetime | None, moment: datetime) -> float:
    return max(0.0, (moment - before).total_seconds()) if before is not None else 0.0
