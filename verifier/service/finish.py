"""The end of an audit: signed, entered into the ledger, stored, counted for its schedule and told, all in one transaction.

The report is signed outside the transaction against the ledger's newest entry and stored only if that is still the newest; one
process seals one report at a time. Whatever is lost on the way, the audit is done with everything or not done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import numpy as np

from verifier.canonical import read_json
from verifier.ledger import Entry
from verifier.multiple import Carried
from verifier.publishing import Published, sealed
from verifier.report.model import Report
from verifier.service import webhooks
from verifier.service.prepare import Prepared, same_audit
from verifier.service.steady import steadily, utc_now
from verifier.service.store import ledger, outbox, runs, schedules
from verifier.service.store.engine import Store, Transaction
from verifier.service.store.rows import AuditRow, Claimed, LedgerRow, Outcome, ReportFiles
from verifier.signing import ENVELOPE, PAGE, REPORT, TRANSCRIPT, Signer
from verifier.surroundings import Think

TRIES = 4
"""Times that a report is signed outside the transaction before it is signed inside, where no other process can come between."""


class Sealer:
    """Ends audits under one signing key."""

    def __init__(self, store: Store, signer: Signer, think: Think) -> None:
        self._store, self._signer, self._think = store, signer, think
        self._turn = asyncio.Lock()

    async def complete(self, claimed: Claimed, ready: Prepared, report: Report, also: Callable[[Transaction], Awaitable[None]]) -> bool:
        """Store the report and all that follows from it, with `also` in the same transaction.

        False, and nothing stored, where the run is no longer ours. Raises StoreError where the database stays away.
        """
        async with self._turn:
            for _ in range(TRIES):
                published = await self._sealed(report)
                try:
                    return await steadily(self._store, lambda tx, made=published: _store(tx, claimed, ready, made, also))  # type: ignore[misc]
                except _OvertakenError:
                    continue
            return await steadily(self._store, lambda tx: self._inside(tx, claimed, ready, report, also))

    async def _sealed(self, report: Report) -> Published:
        newest = await steadily(self._store, ledger.head)
        return await self._think(lambda: sealed(report, _entry(newest), self._signer, utc_now()))

    async def _inside(
        self, tx: Transaction, claimed: Claimed, ready: Prepared, report: Report, also: Callable[[Transaction], Awaitable[None]]
    ) -> bool:
        newest = await ledger.turn(tx)
        return await _store(tx, claimed, ready, sealed(report, _entry(newest), self._signer, utc_now()), also)


async def tell_of_failure(tx: Transaction, audit: AuditRow, problem: str, now: datetime) -> None:
    """Queue the notification that an audit failed, in the transaction of its failure.

    A schedule that tells of changes tells of the first failure after an audit that could be run: silence must not read as "all well".
    """
    if audit.webhook is None:
        return
    if audit.schedule_id is not None:
        schedule = await schedules.get(tx, audit.schedule_id)
        before = [row for row in await schedules.history(tx, audit.schedule_id, 2) if row.id != audit.id]
        if schedule is None or (schedule.notify_on != "always" and before and before[-1].status == "failed"):
            return
    body = webhooks.failed(audit, problem, now)
    await outbox.add(tx, audit.owner, audit.webhook, body, now, audit_id=audit.id, key_holder=audit.key_holder)


class _OvertakenError(Exception):
    """Another process entered a report first: this one names the wrong one before it."""


async def _store(
    tx: Transaction, claimed: Claimed, ready: Prepared, made: Published, also: Callable[[Transaction], Awaitable[None]]
) -> bool:
    now, audit, data = utc_now(), claimed.audit, made.report.data
    files = ReportFiles(made.files[REPORT], made.files[TRANSCRIPT], made.files.get(PAGE, b""), made.files[ENVELOPE])
    outcome, requests = _outcome(made.report), int(data["cost"]["requests"])
    if not await runs.complete(tx, claimed.run.id, outcome=outcome, verdict=data["verdict"], files=files, requests=requests, now=now):
        return False

    def entry(sequence: int, previous: str | None) -> bytes:
        if (made.entry.sequence, made.entry.previous) != (sequence, previous):
            raise _OvertakenError
        return made.entry.to_bytes()

    await ledger.append(tx, made.entry.report, entry, now)
    await also(tx)
    previous, told = await _recorded(tx, audit, ready, made.report)
    if audit.webhook is not None and told:
        body = webhooks.finished(audit, outcome, data["verdict"], made.entry.report, previous, now)
        await outbox.add(tx, audit.owner, audit.webhook, body, now, audit_id=audit.id, key_holder=audit.key_holder)
    return True


async def _recorded(tx: Transaction, audit: AuditRow, ready: Prepared, report: Report) -> tuple[Outcome | None, bool]:
    """Count the audit for its schedule. Gives the schedule's outcome before, and whether its owner wants to hear of this one."""
    if audit.schedule_id is None:
        return None, True
    schedule = await schedules.get(tx, audit.schedule_id)
    if schedule is None or not same_audit(audit, schedule):
        return None, False
    changed = await schedules.record(tx, audit.schedule_id, _outcome(report), own_log_e(report, ready.settings.carried))
    if changed is None:
        return None, False
    before, after = changed
    return before.last_outcome, webhooks.wanted(after.notify_on, before.last_outcome, _outcome(report))


def own_log_e(report: Report, before: Carried | None) -> float:
    """The natural log e-value of this audit alone, read from the state that it leaves; 0 where it made no bet against a claim."""
    left: dict[str, Any] | None = report.data.get("carried")
    if before is None or left is None:
        return 0.0
    looks = int(left["looks"])
    return float(left["log_sum"]) - float(np.logaddexp(before.log_sum, -np.log(looks * (looks + 1.0))))


def _outcome(report: Report) -> Outcome:
    outcome: Outcome = report.data["verdict"]["outcome"]
    return outcome


def _entry(row: LedgerRow | None) -> Entry | None:
    return None if row is None else Entry(**read_json(row.entry))
