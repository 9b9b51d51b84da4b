"""Ticks: schedules fire once, carry their evidence on, and whatever the queue loses is delivered again."""

from __future__ import annotations

import asyncio
import gzip
import json
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

from benchmarks.light import QUESTIONS
from fingerprints.packs import installed
from tests.service.rows import NOW
from tests.service.running import Running, eventually
from verifier.multiple import Carried
from verifier.pack_files import save
from verifier.service import jobs, prepare, submitting
from verifier.service.errors import OptedOutError, OriginBusyError
from verifier.service.execute import Executor
from verifier.service.finish import own_log_e
from verifier.service.jobs import Jobs
from verifier.service.requested import read_request
from verifier.service.steady import utc_now
from verifier.service.store import audits, origins, outbox, reports, runs, schedules
from verifier.service.store.rows import AuditRow, ScheduleRow
from verifier.signing import Signer

pytestmark = [pytest.mark.redis]


async def scheduled(running: Running, claim: str = "consistent", **more: Any) -> ScheduleRow:
    """A schedule of the vendor's audit that is due, at NOW unless said otherwise."""
    webhook, due = more.pop("webhook", None), more.pop("due", NOW)
    async with running.store.write() as tx:
        requested = read_request(running.body(claim, webhook=webhook))
        values: dict[str, Any] = {"cron": "*/5 * * * *", "timezone": "Asia/Seoul"} | more
        made = await submitting.create_schedule(tx, running.keyring, running.settings, requested, "alice", NOW, **values)
        changed = await schedules.change(tx, made.schedule.id, next_due=due)
    assert changed is not None
    return changed


async def again(running: Running, schedule: ScheduleRow) -> ScheduleRow:
    async with running.store.read() as tx:
        found = await schedules.get(tx, schedule.id)
    assert found is not None
    return found


async def history(running: Running, schedule: ScheduleRow) -> tuple[AuditRow, ...]:
    async with running.store.read() as tx:
        return await schedules.history(tx, schedule.id)


def jobs_of(running: Running) -> Jobs:
    executor = Executor(running.settings, running.store, running.keyring, Signer.generate(), "test")
    return Jobs(running.settings, running.store, running.keyring, executor)


async def queued(running: Running) -> tuple[str, ...]:
    async with running.store.read() as tx:
        return await audits.queued(tx)


async def test_a_due_schedule_runs_with_its_own_key_and_moves_on(running: Running) -> None:
    schedule = await scheduled(running, due=utc_now())
    async with running.worker():
        await eventually(lambda: running.vendor.requests == QUESTIONS)
        async with asyncio.timeout(30):
            while not (found := await history(running, schedule)):  # noqa: ASYNC110 - the database is the only place that tells
                await asyncio.sleep(0.02)
    assert [(row.status, row.outcome, row.schedule_id) for row in found] == [("done", "consistent", schedule.id)]
    assert list(running.vendor.keys) == ["Bearer sk-canary-7f3a9b2c4d5e6f708192"]
    after = await again(running, schedule)
    assert after.next_due > utc_now()
    assert (after.last_outcome, after.carried_looks) == ("consistent", 1)


async def test_many_ticks_at_once_fire_a_schedule_once(running: Running) -> None:
    schedule = await scheduled(running)
    ticks = [jobs_of(running) for _ in range(5)]
    await asyncio.gather(*(each.fire_due(NOW) for each in ticks))
    assert len(await queued(running)) == 1
    assert (await again(running, schedule)).next_due == NOW.replace(minute=5, second=0, microsecond=0)


async def test_after_a_pause_one_audit_runs_for_all_that_were_missed_or_none(running: Running) -> None:
    once, skip = await scheduled(running), await scheduled(running, catch_up="skip")
    later = NOW + timedelta(days=2)
    await jobs_of(running).fire_due(later)
    assert len(await queued(running)) == 1
    moved = {(await again(running, each)).next_due for each in (once, skip)}
    assert len(moved) == 1 and min(moved) > later
    assert ((await again(running, once)).last_run, (await again(running, skip)).last_run) == (later, None)


async def test_a_schedule_whose_last_audit_is_under_way_does_not_pile_up(running: Running) -> None:
    schedule, tick = await scheduled(running), jobs_of(running)
    await tick.fire_due(NOW)
    await tick.fire_due((await again(running, schedule)).next_due)
    assert len(await queued(running)) == 1


async def test_a_disabled_schedule_does_not_fire(running: Running) -> None:
    await scheduled(running, enabled=False)
    await jobs_of(running).fire_due(NOW)
    assert not await queued(running)


async def test_an_origin_that_is_audited_too_often_makes_schedules_wait_and_submissions_fail(running: Running) -> None:
    running.settings = running.settings.model_copy(update={"origin_rate": "1/hour"})
    now = utc_now()
    await running.submit()
    with pytest.raises(OriginBusyError) as busy:
        await running.submit(owner="bob")
    assert 3_500 < busy.value.retry_after_s <= 3_600
    assert len(await queued(running)) == 1
    schedule = await scheduled(running, due=now)
    await jobs_of(running).fire_due(now)
    assert len(await queued(running)) == 1
    assert (await again(running, schedule)).next_due == now + submitting.BUSY_WAIT
    await jobs_of(running).fire_due(now + timedelta(hours=1, seconds=5))
    assert len(await queued(running)) == 2


async def test_an_origin_on_the_opt_out_list_is_refused_at_once(running: Running) -> None:
    async with running.store.write() as tx:
        await origins.opt_out(tx, "127.0.0.1", "asked", NOW)
    with pytest.raises(OptedOutError, match="does not want it audited"):
        await running.submit()
    with pytest.raises(OptedOutError):
        await scheduled(running)


async def test_evidence_is_carried_from_audit_to_audit_of_a_schedule(running: Running) -> None:
    schedule = await scheduled(running, claim="gpt-4o")
    async with running.worker():
        for looks in (1, 2):
            async with running.store.write() as tx:
                await schedules.change(tx, schedule.id, next_due=utc_now())
            async with asyncio.timeout(30):
                while (await again(running, schedule)).carried_looks < looks:  # noqa: ASYNC110 - only the database tells
                    await asyncio.sleep(0.02)
    first, second = await history(running, schedule)
    async with running.store.read() as tx:
        told = [await reports.part(tx, row.id, "transcript") for row in (first, second)]
    headers = [json.loads(gzip.decompress(data or b"").split(b"\n")[0])["carried"] for data in told]
    assert headers[0] == {"log_sum": -10_000.0, "looks": 0}
    assert headers[1]["looks"] == 1
    # The light audit bets nothing: its e-value is 1, and the state is what two such audits leave.
    state = (await again(running, schedule)).carried
    assert (state.looks, state.log_sum) == (2, pytest.approx(Carried().after(0.0).after(0.0).log_sum, abs=1e-5))


def test_an_audits_own_e_value_is_read_from_the_state_that_it_leaves() -> None:
    from verifier.report.model import Report

    for before, own in ((prepare.NOTHING_BEFORE, 3.25), (Carried().after(0.5), -1.5), (Carried(40, -7.0), 12.0)):
        after = before.after(own)
        report = Report({"carried": {"looks": after.looks, "log_sum": float(f"{after.log_sum:.6g}")}})
        assert own_log_e(report, before) == pytest.approx(own, abs=1e-4)
    assert own_log_e(Report({}), Carried(1, 0.0)) == 0.0
    assert prepare.NOTHING_BEFORE.after(2.0).log_e == Carried().after(2.0).log_e


async def test_another_audit_of_a_schedule_begins_without_the_evidence_and_the_keys_of_the_one_before(running: Running) -> None:
    schedule = await scheduled(running)
    async with running.store.write() as tx:
        await schedules.record(tx, schedule.id, "consistent", 2.0)
        other = read_request(running.body("inconsistent", target={"base_url": "https://other.example/v1", "model": "m"}))
        made = await submitting.change_schedule(tx, running.keyring, running.settings, schedule, NOW, requested=other)
    assert made is not None and (made.schedule.carried_looks, made.schedule.origin) == (0, "https://other.example")
    async with running.store.write() as tx:
        audit = await submitting.fire(tx, running.settings, made.schedule, made.schedule.next_due)
    assert audit is not None
    executor = jobs_of(running)._executor
    ready = await prepare.prepared(audit, running.settings, running.store, running.keyring, executor.policy, executor._think)
    assert ready.resolved.target.api_key is None


async def test_a_schedule_tells_of_a_change_and_of_the_first_failure_and_then_is_silent(running: Running) -> None:
    schedule = await scheduled(running, claim="consistent", webhook="https://hooks.example/x")

    async def run(status: int) -> str:
        running.vendor.status = status
        async with running.store.write() as tx:
            await schedules.change(tx, schedule.id, next_due=utc_now())
        before = len(await history(running, schedule))
        async with asyncio.timeout(30):
            while len(await history(running, schedule)) == before:  # noqa: ASYNC110 - only the database tells
                await asyncio.sleep(0.02)
        newest = (await history(running, schedule))[-1]
        async with running.store.read() as tx:
            return "told" if await outbox.of_audit(tx, newest.id) else "silent"

    async with running.worker():
        told = [await run(status) for status in (200, 200, 500, 500, 200, 500)]
    assert told == ["silent", "silent", "told", "silent", "silent", "told"]


@pytest.mark.parametrize("migrated_url", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True)
async def test_audits_submitted_after_the_queue_lost_everything_still_run(running: Running) -> None:
    async with running.worker(), redis.asyncio.Redis.from_url(running.settings.queue) as client:
        await running.ended((await running.submit()).audit.id)
        await client.flushall()
        await running.ended((await running.submit()).audit.id)
        await client.flushall()
        await running.ended((await running.submit()).audit.id)
    assert running.vendor.requests == 3 * QUESTIONS


async def test_an_audit_that_loses_every_worker_fails_and_its_webhook_is_told(running: Running) -> None:
    made = await running.submit(webhook="https://hooks.example/x")
    now = utc_now()
    for _ in range(runs.MAX_LOST):
        async with running.store.write() as tx:
            assert await runs.claim(tx, made.audit.id, "doomed", now) is not None
        now += 2 * runs.LEASE
        await jobs_of(running).recover(now)
    assert (await running.audit(made.audit.id)).status == "failed"
    async with running.store.read() as tx:
        (told,) = await outbox.of_audit(tx, made.audit.id)
    assert b"audit.failed" in told.body


async def test_what_is_older_than_it_may_be_kept_is_removed_in_portions(running: Running) -> None:
    ids = [(await running.submit()).audit.id for _ in range(5)]
    async with running.store.write() as tx:
        for each in ids[:4]:
            await audits.request_cancel(tx, each, utc_now() - timedelta(days=400))
    await jobs_of(running).sweep(utc_now())
    assert await queued(running) == (ids[4],)
    async with running.store.read() as tx:
        assert await audits.get(tx, ids[0]) is None


async def test_a_pack_in_the_data_directory_speaks_from_the_next_audit_on(running: Running, tmp_path: Path) -> None:
    executor, made = jobs_of(running)._executor, await running.submit(None)

    async def packs() -> set[str]:
        ready = await prepare.prepared(made.audit, running.settings, running.store, running.keyring, executor.policy, executor._think)
        return {pack.name for pack in ready.settings.packs}

    before = await packs()
    folder = tmp_path / prepare.PACKS
    folder.mkdir()
    (folder / "damaged.pack").write_bytes(b"no pack")
    assert await packs() == before
    from dataclasses import replace

    save(folder / "new.pack", [replace(installed()[0], name="new-here")])
    assert await packs() == before | {"new-here"}
    shutil.rmtree(folder)
    assert await packs() == before


def test_the_queue_gives_up_a_dead_worker_before_its_lease_ends() -> None:
    assert runs.LEASE > jobs.REDELIVERY
