"""An audit in the store at each of its stages, for tests of the store."""

from __future__ import annotations

from datetime import timedelta

from tests.service.rows import FILES, NOW, VERDICT, new_audit
from verifier.service.store import audits, runs
from verifier.service.store.engine import Store
from verifier.service.store.rows import AuditRow, Claimed, NewAudit

SECOND = timedelta(seconds=1)


async def submitted(store: Store, new: NewAudit | None = None) -> AuditRow:
    async with store.write() as tx:
        return (await audits.submit(tx, new or new_audit(), NOW)).audit


async def claimed(store: Store, worker: str = "one") -> Claimed:
    audit = await submitted(store)
    async with store.write() as tx:
        taken = await runs.claim(tx, audit.id, worker, NOW)
    assert taken is not None
    return taken


async def read(store: Store, audit_id: str) -> AuditRow:
    async with store.read() as tx:
        row = await audits.get(tx, audit_id)
    assert row is not None
    return row


async def completed(store: Store, run_id: str) -> bool:
    async with store.write() as tx:
        return await runs.complete(tx, run_id, outcome="consistent", verdict=VERDICT, files=FILES, requests=15, now=NOW + SECOND)
