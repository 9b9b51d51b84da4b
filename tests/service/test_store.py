"""The store keeps its promises on SQLite and PostgreSQL alike: audits, their reports and pages, each owner's own."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from tests.service.rows import FILES, NOW, ORIGIN, VERDICT, new_audit, new_schedule
from tests.service.stored import SECOND, claimed, completed, read, submitted
from verifier.service.errors import CursorError, IdempotencyConflictError
from verifier.service.store import audits, reports, runs, schedules
from verifier.service.store.engine import Store
from verifier.service.store.rows import NewAudit


async def test_an_audit_comes_back_as_it_was_given(store: Store) -> None:
    new = new_audit(webhook="https://example.org/hook", idempotency_key="k", request_digest="0" * 64)
    row = await read(store, (await submitted(store, new)).id)
    assert (row.request, row.webhook, row.claim, row.created) == (new.request, new.webhook, new.claim, NOW)
    assert row.created.utcoffset() == timedelta(0)
    assert (row.status, row.outcome, row.verdict, row.attempts, row.last_event) == ("queued", None, None, 0, 1)


async def test_ids_are_unguessable() -> None:
    ids = {new_audit(id=NewAudit("a", "o", {}, "quick").id).id for _ in range(100)}
    assert len(ids) == 100 and all(each.startswith("aud_") and len(each) == 26 for each in ids)


async def test_the_same_idempotency_key_gives_the_same_audit(store: Store) -> None:
    first = await submitted(store, new_audit(idempotency_key="k", request_digest="1"))
    async with store.write() as tx:
        again = await audits.submit(tx, new_audit(idempotency_key="k", request_digest="1"), NOW + SECOND)
        other_owner = await audits.submit(tx, new_audit(owner="bob", idempotency_key="k", request_digest="2"), NOW)
    assert (again.audit, again.created) == (first, False)
    assert other_owner.created
    with pytest.raises(IdempotencyConflictError):
        await submitted(store, new_audit(idempotency_key="k", request_digest="2"))


async def test_simultaneous_submissions_under_one_key_make_one_audit(store: Store) -> None:
    made = await asyncio.gather(*(submitted(store, new_audit(idempotency_key="k", request_digest="1")) for _ in range(8)))
    assert len({each.id for each in made}) == 1
    async with store.read() as tx:
        assert (await audits.counts(tx))["queued"] == 1


async def test_another_owner_sees_nothing(store: Store) -> None:
    audit_id = (await claimed(store)).audit.id
    async with store.write() as tx:
        schedule = await schedules.create(tx, new_schedule(), NOW)
        assert await audits.get(tx, audit_id, "bob") is None
        assert await audits.get(tx, audit_id, "alice") is not None
        assert await audits.request_cancel(tx, audit_id, NOW, "bob") is None
        assert (await audits.page(tx, "bob")).rows == ()
        assert await schedules.get(tx, schedule.id, "bob") is None
        assert await schedules.change(tx, schedule.id, "bob", enabled=False) is None
        assert not await schedules.remove(tx, schedule.id, "bob")
        assert (await schedules.page(tx, "bob")).rows == ()
        assert (await schedules.get(tx, schedule.id, "alice")) == schedule
    assert not (await read(store, audit_id)).cancel_requested


async def test_what_raises_in_a_transaction_leaves_nothing(store: Store) -> None:
    run = (await claimed(store)).run
    with pytest.raises(ZeroDivisionError):
        async with store.write() as tx:
            assert await runs.complete(tx, run.id, outcome="consistent", verdict=VERDICT, files=FILES, requests=1, now=NOW)
            raise ZeroDivisionError
    assert (await read(store, run.audit_id)).status == "running"
    assert await completed(store, run.id)


async def test_reports_keep_their_bytes(store: Store) -> None:
    run = (await claimed(store)).run
    await completed(store, run.id)
    async with store.read() as tx:
        row = await reports.get(tx, run.audit_id)
        parts = [await reports.part(tx, run.audit_id, name, "alice") for name in ("report", "transcript", "html", "envelope")]
        assert await reports.part(tx, run.audit_id, "report", "bob") is None
        previous = await reports.previous_digest(tx, "alice", ORIGIN, "gpt-4o")
        assert await reports.previous_digest(tx, "alice", ORIGIN, None) is None
        assert await reports.previous_digest(tx, "bob", ORIGIN, "gpt-4o") is None
    assert parts == [FILES.report, FILES.transcript, FILES.html, FILES.envelope]
    assert row is not None and previous == row.report_sha256 and len(previous) == 64


async def test_pages_hold_every_audit_once_newest_first(store: Store) -> None:
    made = []
    for number in range(7):
        async with store.write() as tx:
            # Two of each time, so that the id decides between them.
            made.append((await audits.submit(tx, new_audit(), NOW + number // 2 * SECOND)).audit)
    expected = [each.id for each in sorted(made, key=lambda row: (row.created, row.id), reverse=True)]
    seen: list[str] = []
    cursor = None
    async with store.read() as tx:
        while True:
            page = await audits.page(tx, "alice", cursor=cursor, limit=3)
            seen += [each.id for each in page.rows]
            if (cursor := page.next_cursor) is None:
                break
        assert len((await audits.page(tx, None, limit=0)).rows) == 1
    assert seen == expected


async def test_pages_are_filtered(store: Store) -> None:
    run = (await claimed(store)).run
    await completed(store, run.id)
    other = await submitted(store, new_audit(claim="claude-sonnet-4", origin="https://other.example"))
    async with store.read() as tx:
        for filters, found in (
            ({"claim": "gpt-4o"}, run.audit_id),
            ({"outcome": "consistent"}, run.audit_id),
            ({"status": "done"}, run.audit_id),
            ({"status": "queued"}, other.id),
            ({"origin": "https://other.example"}, other.id),
        ):
            assert [each.id for each in (await audits.page(tx, "alice", **filters)).rows] == [found]
        assert (await audits.page(tx, "alice", claim="gpt-4o", status="queued")).rows == ()


FORGED_CURSORS = ("", "x", "é", "W10", "WzEsMl0", "WyIyMDI2LTExLTIyIiwgImEiXQ", "bnVsbA", "WyIwMDAxLTAxLTAxVDAwOjAwOjAwKzIzOjU5IiwgImEiXQ")


async def test_a_forged_cursor_is_refused(store: Store) -> None:
    async with store.read() as tx:
        for cursor in FORGED_CURSORS:
            with pytest.raises(CursorError):
                await audits.page(tx, "alice", cursor=cursor)
