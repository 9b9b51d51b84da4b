"""Runs and events in the store: of many workers one gets an audit, and nothing is done twice or lost."""

from __future__ import annotations

import asyncio

from tests.service.rows import NOW, VERDICT
from tests.service.stored import SECOND, claimed, completed, read, submitted
from verifier.service.store import audits, events, reports, runs
from verifier.service.store.engine import Store
from verifier.service.store.rows import Claimed


async def test_of_many_workers_one_gets_the_audit(store: Store) -> None:
    audit = await submitted(store)

    async def take(worker: int) -> Claimed | None:
        async with store.write() as tx:
            return await runs.claim(tx, audit.id, str(worker), NOW)

    taken = [each for each in await asyncio.gather(*(take(worker) for worker in range(8))) if each is not None]
    assert len(taken) == 1
    assert (taken[0].run.attempt, taken[0].audit.status) == (1, "running")


async def test_a_run_is_completed_once(store: Store) -> None:
    run = (await claimed(store)).run
    assert sorted(await asyncio.gather(*(completed(store, run.id) for _ in range(4)))) == [False, False, False, True]
    row = await read(store, run.audit_id)
    assert (row.status, row.outcome, row.verdict, row.requests, row.finished) == ("done", "consistent", VERDICT, 15, NOW + SECOND)
    async with store.write() as tx:
        assert not await runs.fail(tx, run.id, "too late", NOW)
        assert not await runs.cancel(tx, run.id, NOW)
        assert not await runs.give_back(tx, run.id, NOW)
        assert await runs.heartbeat(tx, run.id, NOW) is None
        assert await runs.claim(tx, run.audit_id, "two", NOW) is None
        cancelled = await audits.request_cancel(tx, run.audit_id, NOW)
    assert cancelled == row


async def test_a_worker_back_from_the_dead_changes_nothing(store: Store) -> None:
    lost = (await claimed(store)).run
    later = NOW + runs.LEASE + SECOND
    async with store.write() as tx:
        assert (await runs.recover(tx, NOW + SECOND)).requeued == ()
        assert (await runs.recover(tx, later)).requeued == (lost.audit_id,)
        second = await runs.claim(tx, lost.audit_id, "two", later)
    assert second is not None and second.run.attempt == 2
    assert not await completed(store, lost.id)
    async with store.read() as tx:
        assert await reports.get(tx, lost.audit_id) is None
    assert await completed(store, second.run.id)
    async with store.read() as tx:
        assert [each.status for each in await runs.of_audit(tx, lost.audit_id)] == ["abandoned", "done"]


async def test_a_heartbeat_keeps_the_run_and_tells_of_a_wish_to_cancel(store: Store) -> None:
    run = (await claimed(store)).run
    later = NOW + runs.LEASE - SECOND
    async with store.write() as tx:
        beat = await runs.heartbeat(tx, run.id, later, requests=3, planned=15)
        assert beat is not None and not beat.cancel_requested and beat.lease_until == later + runs.LEASE
        assert (await runs.recover(tx, NOW + runs.LEASE + SECOND)).requeued == ()
        asked = await audits.request_cancel(tx, run.audit_id, later)
        assert asked is not None and asked.status == "running"
        beat = await runs.heartbeat(tx, run.id, later)
        assert beat is not None and beat.cancel_requested
        assert await runs.cancel(tx, run.id, later)
    row = await read(store, run.audit_id)
    assert (row.status, row.requests, row.planned) == ("cancelled", 3, 15)


async def test_an_audit_whose_worker_is_always_lost_fails_in_the_end(store: Store) -> None:
    audit = await submitted(store)
    now = NOW
    for _ in range(runs.MAX_LOST):
        async with store.write() as tx:
            assert await runs.claim(tx, audit.id, "one", now) is not None
            now += runs.LEASE + SECOND
            recovered = await runs.recover(tx, now)
    assert recovered.failed == (audit.id,)
    row = await read(store, audit.id)
    assert row.status == "failed" and row.error == "its worker was lost 5 times"


async def test_a_worker_that_is_shut_down_gives_back_and_a_cancelled_one_is_not_queued_again(store: Store) -> None:
    first, second, third = [(await claimed(store)).run for _ in range(3)]
    async with store.write() as tx:
        assert await runs.give_back(tx, first.id, NOW)
        for run in (second, third):
            await audits.request_cancel(tx, run.audit_id, NOW)
        assert await runs.give_back(tx, second.id, NOW)
        assert (await runs.recover(tx, NOW + runs.LEASE + SECOND)).cancelled == (third.audit_id,)
        assert await audits.queued(tx) == (first.audit_id,)
    assert [(await read(store, run.audit_id)).status for run in (second, third)] == ["cancelled", "cancelled"]


async def test_a_failure_is_one_line_without_null_bytes(store: Store) -> None:
    run = (await claimed(store)).run
    async with store.write() as tx:
        assert await runs.fail(tx, run.id, "the server\nsaid \0 no " + "x" * 1000, NOW)
    error = (await read(store, run.audit_id)).error
    assert error is not None and error.startswith("the server said no x") and len(error) == runs.MAX_ERROR_CHARS


async def test_events_tell_every_step_and_resume_after_a_number(store: Store) -> None:
    run = (await claimed(store)).run
    async with store.write() as tx:
        await runs.heartbeat(tx, run.id, NOW, requests=1, planned=15)
    await completed(store, run.id)
    async with store.read() as tx:
        told = await events.after(tx, run.audit_id)
        assert await events.after(tx, run.audit_id, 2) == told[2:]
        assert await events.after(tx, run.audit_id, 4) == ()
    assert [(each.seq, each.kind, each.data) for each in told] == [
        (1, "status", {"status": "queued"}),
        (2, "status", {"status": "running", "attempt": 1}),
        (3, "progress", {"requests": 1, "planned": 15}),
        (4, "status", {"status": "done", "outcome": "consistent"}),
    ]


async def test_events_written_at_once_are_numbered_without_gaps(store: Store) -> None:
    audit = await submitted(store)

    async def tell(number: int) -> None:
        async with store.write() as tx:
            await events.append(tx, audit.id, "note", {"number": number}, NOW)

    await asyncio.gather(*(tell(number) for number in range(10)))
    async with store.read() as tx:
        assert [each.seq for each in await events.after(tx, audit.id)] == list(range(1, 12))
        assert len(await events.after(tx, audit.id, limit=3)) == 3
