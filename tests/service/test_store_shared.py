"""What all workers share in the store: one ledger, budgets, opt-outs, notifications, retention."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from tests.service.rows import NOW, ORIGIN
from tests.service.stored import SECOND, claimed, completed, read
from verifier.service.store import audits, events, ledger, origins, outbox, reports, retention, runs
from verifier.service.store.engine import Store, make_engine
from verifier.service.store.rows import OutboxRow


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
