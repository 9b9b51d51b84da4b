"""The store keeps its promises on SQLite and PostgreSQL alike: nothing is done twice, lost, or shown to somebody else."""

from __future__ import annotations

import asyncio
import stat
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy.exc import DBAPIError

from tests.service.rows import FILES, NOW, ORIGIN, VERDICT, new_audit, new_schedule
from tests.service.servers import own_postgres
from verifier.errors import CannotRunError, UsageError
from verifier.multiple import Carried
from verifier.service.errors import CursorError, IdempotencyConflictError, StoreError
from verifier.service.settings import ServiceSettings
from verifier.service.store import audits, events, ledger, origins, outbox, reports, retention, runs, schedules
from verifier.service.store.engine import Store, make_engine, open_store, open_store_of, opened
from verifier.service.store.rows import AuditRow, Claimed, NewAudit, OutboxRow, ScheduleRow

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


async def test_a_schedule_fires_once_for_each_time(store: Store) -> None:
    async with store.write() as tx:
        schedule = await schedules.create(tx, new_schedule(), NOW)
        later = await schedules.create(tx, new_schedule(next_due=NOW + SECOND), NOW)
        await schedules.create(tx, new_schedule(enabled=False), NOW)
        assert await schedules.due(tx, NOW) == (schedule,)
        assert await schedules.due(tx, NOW + SECOND) == (schedule, later)

    async def fire() -> bool:
        async with store.write() as tx:
            fired = await schedules.fire(tx, schedule.id, NOW, NOW + 60 * SECOND, NOW)
            if fired:
                await audits.submit(tx, new_audit(schedule_id=schedule.id), NOW)
            return fired

    assert sum(await asyncio.gather(*(fire() for _ in range(6)))) == 1
    async with store.read() as tx:
        row = await schedules.get(tx, schedule.id)
        assert row is not None and (row.next_due, row.last_run) == (NOW + 60 * SECOND, NOW)
        waiting = await schedules.unfinished(tx, schedule.id)
        assert waiting is not None and waiting.schedule_id == schedule.id
        assert await schedules.history(tx, schedule.id) == ()


async def test_a_schedule_carries_its_e_process_until_the_claim_changes(store: Store) -> None:
    async with store.write() as tx:
        schedule = await schedules.create(tx, new_schedule(), NOW)
        assert schedule.carried == Carried()
        first = await schedules.record(tx, schedule.id, "consistent", -0.5)
        second = await schedules.record(tx, schedule.id, "inconsistent", 9.0)
    assert first is not None and second is not None
    assert second[0] == first[1] and second[0].last_outcome == "consistent"
    assert second[1].carried == Carried().after(-0.5).after(9.0)
    async with store.write() as tx:
        paused = await schedules.change(tx, schedule.id, enabled=False, cron="0 * * * *")
        assert paused is not None and paused.carried == second[1].carried and not paused.enabled
        changed = await schedules.change(tx, schedule.id, claim="gpt-4.1")
        assert changed is not None and (changed.carried, changed.last_outcome) == (Carried(), None)
        with pytest.raises(ValueError, match="carried_looks"):
            await schedules.change(tx, schedule.id, carried_looks=0)
        assert await schedules.record(tx, "sch_none", "consistent", 0.0) is None


async def test_e_values_recorded_at_once_all_count(store: Store) -> None:
    async with store.write() as tx:
        schedule = await schedules.create(tx, new_schedule(), NOW)

    async def record() -> tuple[ScheduleRow, ScheduleRow] | None:
        async with store.write() as tx:
            return await schedules.record(tx, schedule.id, "consistent", 1.0)

    await asyncio.gather(*(record() for _ in range(5)))
    async with store.read() as tx:
        row = await schedules.get(tx, schedule.id)
    assert row is not None and row.carried_looks == 5


async def test_a_removed_schedule_leaves_its_audits(store: Store) -> None:
    async with store.write() as tx:
        schedule = await schedules.create(tx, new_schedule(), NOW)
    audit = await submitted(store, new_audit(schedule_id=schedule.id))
    async with store.write() as tx:
        taken = await runs.claim(tx, audit.id, "one", NOW)
        assert taken is not None
    await completed(store, taken.run.id)
    async with store.write() as tx:
        assert [each.id for each in await schedules.history(tx, schedule.id)] == [audit.id]
        assert await schedules.remove(tx, schedule.id)
        assert not await schedules.remove(tx, schedule.id)
    assert (await read(store, audit.id)).schedule_id is None


async def test_the_ledger_is_one_chain_whoever_writes_it(store: Store) -> None:
    def entry(sequence: int, previous: str | None) -> bytes:
        return f"{sequence} after {previous}".encode()

    async def append(number: int) -> None:
        async with store.write() as tx:
            await ledger.append(tx, f"{number:064}", entry, NOW)

    await asyncio.gather(*(append(number) for number in range(10)))
    async with store.read() as tx:
        chain = await ledger.after(tx)
        assert await ledger.head(tx) == chain[-1]
        assert await ledger.of_report(tx, chain[3].report_sha256) == chain[3]
        assert await ledger.after(tx, 8) == chain[8:]
        assert await ledger.of_report(tx, "f" * 64) is None
    assert [each.sequence for each in chain] == list(range(1, 11))
    assert [each.previous for each in chain] == [None, *(each.entry_sha256 for each in chain[:-1])]
    assert all(each.entry == entry(each.sequence, each.previous) for each in chain)


async def test_two_processes_that_read_and_then_write_wait_for_each_other(store: Store, migrated_url: str) -> None:
    """Two stores stand for two processes: neither waits for the other's turn, only for the database."""
    other = Store(make_engine(migrated_url))

    async def append(each: Store, name: int) -> None:
        for number in range(10):
            async with each.write() as tx:
                await ledger.append(tx, f"{name:032}{number:032}", lambda sequence, previous: str(sequence).encode(), NOW)

    await asyncio.gather(append(store, 1), append(other, 2))
    await other.close()
    async with store.read() as tx:
        assert [each.sequence for each in await ledger.after(tx)] == list(range(1, 21))


async def test_workers_together_stay_within_an_origins_budget(store: Store) -> None:
    today = NOW.date()

    async def reserve() -> bool:
        async with store.write() as tx:
            return await origins.reserve(tx, ORIGIN, today, 15, budget=100)

    assert sum(await asyncio.gather(*(reserve() for _ in range(10)))) == 6
    async with store.write() as tx:
        assert not await origins.reserve(tx, "https://new.example", today, 101, budget=100)
        assert await origins.reserve(tx, ORIGIN, today + timedelta(days=1), 15, budget=100)
        await origins.give_back(tx, ORIGIN, today, 80)
        assert await origins.reserved(tx, ORIGIN, today) == 10
        await origins.give_back(tx, ORIGIN, today, 80)
        assert await origins.reserved(tx, ORIGIN, today) == 0
        assert await origins.reserved(tx, "https://new.example", today) == 0


async def test_an_opted_out_host_forbids_itself_and_what_lies_below(store: Store) -> None:
    async with store.write() as tx:
        await origins.opt_out(tx, "Example.COM.", "asked on 1 November", NOW)
        await origins.opt_out(tx, "example.com", "asked again", NOW)
        await origins.opt_out(tx, "[2001:db8::1]", "address", NOW)
        for origin in ("https://example.com", "https://api.eu.example.com:8443", "http://EXAMPLE.com", "http://[2001:db8::1]:8080"):
            assert await origins.opted_out(tx, origin) is not None, origin
        for origin in ("https://notexample.com", "https://example.com.evil.net", "http://[2001:db8::2]", "http://1.2.3.4"):
            assert await origins.opted_out(tx, origin) is None, origin
        assert [each.host for each in await origins.opt_out_list(tx)] == ["2001:db8::1", "example.com"]
        assert await origins.opt_in(tx, "EXAMPLE.com") and not await origins.opt_in(tx, "example.com")
        assert await origins.opted_out(tx, "https://example.com") is None


async def test_a_notification_is_given_out_once_at_a_time_and_settled_once(store: Store) -> None:
    async with store.write() as tx:
        added = [await outbox.add(tx, "alice", "https://hook.example", bytes([n]), NOW, audit_id="aud_x") for n in range(4)]

    async def take() -> tuple[OutboxRow, ...]:
        async with store.write() as tx:
            return await outbox.take(tx, NOW, limit=3)

    taken = [row for rows in await asyncio.gather(take(), take(), take()) for row in rows]
    assert sorted(row.body for row in taken) == [row.body for row in added]
    assert {row.attempts for row in taken} == {1}
    done, again, lost, silent = sorted(taken, key=lambda row: row.body)
    async with store.write() as tx:
        assert await outbox.delivered(tx, done.id, NOW) and not await outbox.delivered(tx, done.id, NOW)
        assert await outbox.retry(tx, again.id, NOW + SECOND, "503\0")
        assert await outbox.give_up(tx, lost.id, NOW, "410") and not await outbox.retry(tx, lost.id, NOW, "again")
        assert [row.id for row in await outbox.take(tx, NOW + SECOND)] == [again.id]
        assert [row.id for row in await outbox.take(tx, NOW + outbox.DELIVERY)] == [silent.id]
        kept = {row.id: row for row in await outbox.of_audit(tx, "aud_x")}
    assert (kept[done.id].done, kept[lost.id].failed, kept[lost.id].last_error, kept[again.id].last_error) == (NOW, NOW, "410", "503")


async def test_retention_removes_what_ended_long_ago_and_only_that(store: Store) -> None:
    old, running = (await claimed(store)).run, (await claimed(store)).run
    await completed(store, old.id)
    async with store.write() as tx:
        await ledger.append(tx, "0" * 64, lambda sequence, previous: b"entry", NOW)
        told = await outbox.add(tx, "alice", "https://hook.example", b"", NOW, audit_id=old.audit_id)
        await outbox.delivered(tx, told.id, NOW)
        await origins.reserve(tx, ORIGIN, NOW.date(), 1, budget=10)
        young = await retention.expire(tx, NOW + timedelta(days=1), timedelta(days=30))
        assert (young.audits, young.notifications, young.days) == (0, 0, 0)
        gone = await retention.expire(tx, NOW + timedelta(days=31), timedelta(days=30))
        assert (gone.audits, gone.notifications, gone.days) == (1, 1, 1)
        assert await audits.get(tx, old.audit_id) is None
        assert await events.after(tx, old.audit_id) == await runs.of_audit(tx, old.audit_id) == ()
        assert await reports.get(tx, old.audit_id) is None
        assert await ledger.head(tx) is not None
    assert (await read(store, running.audit_id)).status == "running"


async def test_a_naive_time_is_refused(store: Store) -> None:
    with pytest.raises(Exception, match="times in the store are aware"):
        async with store.write() as tx:
            await audits.submit(tx, new_audit(), NOW.replace(tzinfo=None))


async def test_what_only_reads_cannot_write(store: Store) -> None:
    with pytest.raises((StoreError, DBAPIError)):
        async with store.read() as tx:
            await audits.submit(tx, new_audit(), NOW)
    async with store.read() as tx:
        assert await audits.queued(tx) == ()
    await submitted(store)


@pytest.mark.parametrize("text", ["a\0b", "a\ud800b"])
async def test_text_that_cannot_be_stored_is_the_users_mistake(store: Store, text: str) -> None:
    for changes in ({"claim": text}, {"owner": text}, {"webhook": text}, {"idempotency_key": text, "request_digest": "1"}):
        with pytest.raises(UsageError):
            await submitted(store, new_audit(**changes))
    async with store.read() as tx:
        assert await audits.queued(tx) == ()
    for filters in ({"claim": text}, {"origin": text}):
        with pytest.raises(UsageError):
            async with store.read() as tx:
                await audits.page(tx, None, **filters)
    with pytest.raises(UsageError):
        async with store.read() as tx:
            await audits.get(tx, text)


async def test_a_writer_that_is_cancelled_leaves_nothing_and_blocks_nobody(store: Store) -> None:
    inside = asyncio.Event()

    async def write() -> None:
        async with store.write() as tx:
            await audits.submit(tx, new_audit(), NOW)
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(write())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    row = await submitted(store)
    async with store.read() as tx:
        assert await audits.queued(tx) == (row.id,)


async def test_the_default_database_is_its_owners_alone(tmp_path: Path) -> None:
    settings = ServiceSettings(data_dir=tmp_path / "new" / "data")
    store = await open_store_of(settings)
    await submitted(store)
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in settings.data_dir.iterdir()}
    await store.close()
    assert stat.S_IMODE(settings.data_dir.stat().st_mode) == 0o700
    assert modes == dict.fromkeys(("truename.db", "truename.db-wal", "truename.db-shm"), 0o600)


@pytest.mark.postgres
async def test_a_killed_postgres_is_a_store_error_and_the_store_works_again_afterwards() -> None:
    with own_postgres() as server:
        async with opened(server.url.replace("postgresql://", "postgresql+asyncpg://")) as store:
            before = await submitted(store)
            with pytest.raises(StoreError):
                async with store.write() as tx:
                    await audits.submit(tx, new_audit(), NOW)
                    server.kill()
                    await audits.submit(tx, new_audit(), NOW)
            with pytest.raises(StoreError):
                await store.check()
            await asyncio.to_thread(server.start)
            after = await submitted(store)
            async with store.read() as tx:
                assert set(await audits.queued(tx)) == {before.id, after.id}


async def test_a_database_that_cannot_be_used_is_one_line_without_its_password() -> None:
    for url in ("postgresql+asyncpg://u:hunter2-hunter2@127.0.0.1:1/x", "sqlite+aiosqlite:////nowhere/at/all/x.db"):
        with pytest.raises(CannotRunError) as caught:
            await open_store(url)
        assert "hunter2" not in str(caught.value) and "\n" not in str(caught.value)


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_text("not a database " * 100)
    with pytest.raises(StoreError):
        await open_store(f"sqlite+aiosqlite:///{tmp_path / 'x.db'}")


async def test_an_open_store_answers_for_readiness(store: Store) -> None:
    await store.check()
