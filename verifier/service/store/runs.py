"""Attempts at audits: claimed under a lease, kept by heartbeats, completed once.

The queue may deliver an audit twice and a worker may come back from the dead: `claim` gives an audit to one of them, and every
end of a run is a compare-and-set that only the run which still holds the audit passes.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, insert, select, update

from verifier.service.store import audits as audit_rows
from verifier.service.store import events, reports
from verifier.service.store.common import as_row, columns, values_of
from verifier.service.store.engine import Transaction
from verifier.service.store.models import audits, runs
from verifier.service.store.rows import (
    AuditRow,
    AuditStatus,
    Beat,
    Claimed,
    Outcome,
    Recovered,
    ReportFiles,
    RunRow,
    RunStatus,
    new_id,
)

LEASE = timedelta(seconds=15)
"""How long a run is its worker's without a heartbeat: seven beats of 2 s, and half of the 30 s within which work must resume."""
MAX_LOST = 5
"""After so many lost workers an audit fails: it may be what ends them."""
MAX_ERROR_CHARS = 500
MAX_KIND_CHARS = 32


async def claim(tx: Transaction, audit_id: str, worker: str, now: datetime, lease: timedelta = LEASE) -> Claimed | None:
    """Take a queued audit; None where it is not (or no longer) queued, which is no error: another worker has it."""
    taken = await tx.execute(
        update(audits)
        .where(audits.c.id == audit_id, audits.c.status == "queued")
        .values(status="running", attempts=audits.c.attempts + 1, requests=0, planned=0, started=now)
        .returning(*columns(audits, AuditRow))
    )
    found = taken.mappings().one_or_none()
    if found is None:
        return None
    audit = as_row(AuditRow, found)
    run = RunRow(new_id("run"), audit_id, audit.attempts, worker, "running", now + lease, now, None)
    await tx.execute(insert(runs).values(**values_of(run)))
    await events.append(tx, audit_id, "status", {"status": "running", "attempt": run.attempt}, now)
    return Claimed(run, audit)


async def heartbeat(
    tx: Transaction,
    run_id: str,
    now: datetime,
    *,
    requests: int | None = None,
    planned: int | None = None,
    weighed: Mapping[str, Any] | None = None,
    lease: timedelta = LEASE,
) -> Beat | None:
    """Keep the run for another lease, and tell progress and evidence where they are given (a `progress` and an `evidence` event).

    None where the run is no longer the worker's: it must stop asking, and nothing it does counts.
    """
    audit_id = await tx.scalar(
        update(runs).where(runs.c.id == run_id, runs.c.status == "running").values(lease_until=now + lease).returning(runs.c.audit_id)
    )
    if audit_id is None:
        return None
    progress = {name: value for name, value in (("requests", requests), ("planned", planned)) if value is not None}
    if progress:
        await tx.execute(update(audits).where(audits.c.id == audit_id).values(**progress))
        await events.append(tx, audit_id, "progress", progress, now)
    if weighed is not None:
        await events.append(tx, audit_id, "evidence", weighed, now)
    cancel = await tx.scalar(select(audits.c.cancel_requested).where(audits.c.id == audit_id))
    return Beat(now + lease, bool(cancel))


async def complete(
    tx: Transaction, run_id: str, *, outcome: Outcome, verdict: Mapping[str, Any], files: ReportFiles, requests: int, now: datetime
) -> bool:
    """Store the report and mark the audit done; False, and nothing stored, where the run is no longer the worker's."""
    values = {"outcome": outcome, "verdict": dict(verdict), "requests": requests}
    audit_id = await _end(tx, run_id, "done", values, {"outcome": outcome}, now)
    if audit_id is None:
        return False
    await reports.put(tx, audit_id, files, now)
    return True


async def fail(tx: Transaction, run_id: str, error: str, now: datetime, kind: str = "other") -> bool:
    """Mark the audit failed with one line and a kind to count it by; False where the run is no longer the worker's."""
    line = " ".join(error.replace("\0", " ").split())[:MAX_ERROR_CHARS]
    return await _end(tx, run_id, "failed", {"error": line, "failure": kind[:MAX_KIND_CHARS]}, {"error": line}, now) is not None


async def cancel(tx: Transaction, run_id: str, now: datetime) -> bool:
    """Mark the audit cancelled, after its worker stopped; False where the run is no longer the worker's."""
    return await _end(tx, run_id, "cancelled", {}, {}, now) is not None


async def give_back(tx: Transaction, run_id: str, now: datetime) -> bool:
    """Queue the audit again because its worker is asked to stop; one with a wish to cancel is cancelled instead.

    False where the run is no longer the worker's.
    """
    audit_id = await _close(tx, run_id, "returned", now)
    if audit_id is None:
        return False
    if await _wants_cancel(tx, audit_id):
        await _settle(tx, audit_id, "cancelled", {}, {}, now)
    else:
        await _requeue(tx, audit_id, now)
    return True


async def recover(tx: Transaction, now: datetime, max_lost: int = MAX_LOST) -> Recovered:
    """Queue again the audits whose run's lease has ended. One with a wish to cancel is cancelled; one that lost too many workers fails."""
    silent = select(runs.c.id).where(runs.c.status == "running", runs.c.lease_until < now).with_for_update(skip_locked=True)
    lost = update(runs).where(runs.c.id.in_(silent), runs.c.status == "running").values(status="abandoned", finished=now)
    requeued: list[str] = []
    cancelled: list[str] = []
    failed: list[str] = []
    for audit_id in (await tx.scalars(lost.returning(runs.c.audit_id))).all():
        abandoned = select(func.count()).select_from(runs).where(runs.c.audit_id == audit_id, runs.c.status == "abandoned")
        times = await tx.scalar(abandoned) or 0
        if await _wants_cancel(tx, audit_id):
            await _settle(tx, audit_id, "cancelled", {}, {}, now)
            cancelled.append(audit_id)
        elif times >= max_lost:
            error = f"its worker was lost {times} times"
            await _settle(tx, audit_id, "failed", {"error": error, "failure": "lost-workers"}, {"error": error}, now)
            failed.append(audit_id)
        else:
            await _requeue(tx, audit_id, now)
            requeued.append(audit_id)
    return Recovered(tuple(requeued), tuple(cancelled), tuple(failed))


async def of_audit(tx: Transaction, audit_id: str) -> tuple[RunRow, ...]:
    """The attempts at one audit, first to last."""
    found = await tx.execute(select(*columns(runs, RunRow)).where(runs.c.audit_id == audit_id).order_by(runs.c.attempt))
    return tuple(as_row(RunRow, each) for each in found.mappings())


async def _end(
    tx: Transaction, run_id: str, status: AuditStatus, values: Mapping[str, Any], told: Mapping[str, Any], now: datetime
) -> str | None:
    """Close the run and settle its audit. Gives the audit's id; None where the run was closed before."""
    ended: dict[AuditStatus, RunStatus] = {"done": "done", "failed": "failed", "cancelled": "cancelled"}
    audit_id = await _close(tx, run_id, ended[status], now)
    if audit_id is not None:
        await _settle(tx, audit_id, status, values, told, now)
    return audit_id


async def _close(tx: Transaction, run_id: str, status: RunStatus, now: datetime) -> str | None:
    closing = update(runs).where(runs.c.id == run_id, runs.c.status == "running").values(status=status, finished=now)
    audit_id: str | None = await tx.scalar(closing.returning(runs.c.audit_id))
    return audit_id


async def _settle(
    tx: Transaction, audit_id: str, status: AuditStatus, values: Mapping[str, Any], told: Mapping[str, Any], now: datetime
) -> None:
    """The audit's last move. The run that was just closed held it, so it must be running."""
    settled = update(audits).where(audits.c.id == audit_id, audits.c.status == "running").values(**values, status=status, finished=now)
    if await tx.scalar(settled.returning(audits.c.id)) is None:
        raise RuntimeError(f"audit {audit_id} has a running run and is not running")
    await audit_rows.forget_keys(tx, audit_id)
    await events.append(tx, audit_id, "status", {"status": status, **told}, now)


async def _wants_cancel(tx: Transaction, audit_id: str) -> bool:
    return bool(await tx.scalar(select(audits.c.cancel_requested).where(audits.c.id == audit_id).with_for_update()))


async def _requeue(tx: Transaction, audit_id: str, now: datetime) -> None:
    waiting = update(audits).where(audits.c.id == audit_id, audits.c.status == "running")
    await tx.execute(waiting.values(status="queued", requests=0, planned=0))
    await events.append(tx, audit_id, "status", {"status": "queued"}, now)
