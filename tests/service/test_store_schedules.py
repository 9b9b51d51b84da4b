"""Schedules in the store fire once for each time and carry their evidence."""

from __future__ import annotations

import asyncio

import pytest

from tests.service.rows import NOW, new_audit, new_schedule
from tests.service.stored import SECOND, completed, read, submitted
from verifier.multiple import Carried
from verifier.service.store import audits, runs, schedules
from verifier.service.store.engine import Store
from verifier.service.store.rows import ScheduleRow


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
