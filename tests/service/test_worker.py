"""Workers: audits run once, stop when asked, come back when a worker goes, and keep keys to themselves."""

from __future__ import annotations

import asyncio
import gzip
import io
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import redis.asyncio
from sqlalchemy import select, text, update

from benchmarks.light import QUESTIONS, light_audit
from benchmarks.vendor import Vendor
from tests.service.running import CANARY, Running, eventually
from verifier.auditing import audit_target
from verifier.comparing import compare_targets
from verifier.endpoint.guard import service_policy
from verifier.errors import CannotRunError, TargetRefusedError
from verifier.key_store import KeyStore
from verifier.ledger import read_chain
from verifier.options import Settings
from verifier.report.model import Report
from verifier.service.aside import AsideError
from verifier.service.errors import StoreError
from verifier.service.steady import steadily, utc_now
from verifier.service.store import audits, events, ledger, origins, reports, runs
from verifier.service.store.models import metadata
from verifier.service.store.models import runs as run_table
from verifier.service.telemetry import configure_logging
from verifier.service.worker import queue_answers, run_worker
from verifier.signing import verify_envelope
from verifier.surroundings import Surroundings
from verifier.target import Target

pytestmark = [pytest.mark.redis]


async def chain(running: Running) -> list[str]:
    """The reports of the ledger, in order, each entry and signature checked."""
    async with running.store.read() as tx:
        lines = [row.entry for row in await ledger.after(tx)]
    keys = KeyStore(running.settings.data_dir / "keys").trusted()
    return [entry.report for entry in read_chain(b"".join(line + b"\n" for line in lines), keys).entries]


async def test_an_audit_is_run_signed_entered_and_told(running: Running) -> None:
    made = await running.submit("consistent")
    async with running.worker():
        row = await running.ended(made.audit.id)
    assert (row.status, row.outcome, row.requests, row.error) == ("done", "consistent", QUESTIONS, None)
    assert running.vendor.keys == {f"Bearer {CANARY}": QUESTIONS}
    async with running.store.read() as tx:
        report = await reports.get(tx, row.id)
        envelope = await reports.part(tx, row.id, "envelope")
        told = [event.data.get("status") for event in await events.after(tx, row.id) if event.kind == "status"]
    assert report is not None and envelope is not None
    assert await chain(running) == [report.report_sha256]
    verify_envelope(envelope, KeyStore(running.settings.data_dir / "keys").trusted())
    assert told == ["queued", "running", "done"]


async def test_many_audits_at_once_each_run_once_and_make_one_chain(running: Running) -> None:
    running.vendor.latency_s = 0.05
    ids = [(await running.submit("consistent", seed=n)).audit.id for n in range(20)]
    async with running.worker():
        rows = [await running.ended(each) for each in ids]
    assert {row.status for row in rows} == {"done"}
    assert running.vendor.requests == 20 * QUESTIONS
    found = await chain(running)
    assert len(found) == len(set(found)) == 20


async def test_two_workers_on_one_database_share_the_work_and_repeat_none(running: Running) -> None:
    ids = [(await running.submit("consistent", seed=n)).audit.id for n in range(20)]
    async with running.worker(), running.worker():
        for each in ids:
            await running.ended(each)
    assert running.vendor.requests == 20 * QUESTIONS
    assert len(set(await chain(running))) == 20


async def test_a_running_audit_that_is_cancelled_stops_and_its_budget_comes_back(running: Running) -> None:
    running.vendor.hold = asyncio.Event()
    made = await running.submit()
    async with running.worker() as worker:
        await eventually(lambda: running.vendor.requests > 0)
        assert worker.running == 1
        async with running.store.write() as tx:
            await audits.request_cancel(tx, made.audit.id, utc_now())
        row = await running.ended(made.audit.id)
    running.vendor.hold.set()
    assert row.status == "cancelled"
    assert running.vendor.requests == 1
    async with running.store.read() as tx:
        assert await origins.reserved(tx, row.origin, utc_now().date()) < 15
        assert await reports.get(tx, row.id) is None


async def test_a_worker_that_is_asked_to_stop_gives_its_audits_back(running: Running) -> None:
    running.vendor.hold = asyncio.Event()
    made = await running.submit("consistent")
    async with running.worker():
        await eventually(lambda: running.vendor.requests > 0)
    row = await running.audit(made.audit.id)
    assert row.status == "queued"
    running.vendor.hold.set()
    async with running.worker():
        row = await running.ended(made.audit.id)
    async with running.store.read() as tx:
        attempts = [run.status for run in await runs.of_audit(tx, row.id)]
    assert (row.outcome, attempts) == ("consistent", ["returned", "done"])


async def test_a_worker_whose_lease_was_taken_stops_and_stores_nothing(running: Running) -> None:
    running.vendor.hold = asyncio.Event()
    made = await running.submit("consistent")
    async with running.worker():
        await eventually(lambda: running.vendor.requests == 1)
        async with running.store.write() as tx:  # as after a pause of the whole process
            await tx.execute(update(run_table).values(lease_until=utc_now() - timedelta(minutes=1)))
            assert (await runs.recover(tx, utc_now())).requeued == (made.audit.id,)
        await eventually(lambda: running.vendor.requests == 2)
        running.vendor.hold.set()
        row = await running.ended(made.audit.id)
    async with running.store.read() as tx:
        attempts = [run.status for run in await runs.of_audit(tx, row.id)]
    assert (row.status, attempts) == ("done", ["abandoned", "done"])
    assert len(await chain(running)) == 1


async def test_an_origin_whose_budget_of_the_day_is_spent_is_asked_nothing(running: Running) -> None:
    running.settings = running.settings.model_copy(update={"origin_daily_requests": 20})
    first, second = await running.submit(), await running.submit()
    async with running.worker():
        rows = [await running.ended(made.audit.id) for made in (first, second)]
    failed = [row for row in rows if row.status == "failed"]
    # The first reserves 15 of 20 and returns 12 when it is done: the second fails only where it came before that.
    for row in failed:
        assert row.error is not None and "the daily request budget of http://127.0.0.1" in row.error and "is spent" in row.error
    assert running.vendor.requests == QUESTIONS * (2 - len(failed))
    async with running.store.write() as tx:
        assert await origins.reserve(tx, rows[0].origin, utc_now().date(), 10, 20)
    third = await running.submit()
    async with running.worker():
        row = await running.ended(third.audit.id)
    assert row.status == "failed" and row.error is not None and "budget" in row.error


async def test_an_origin_that_opted_out_after_the_submission_is_asked_nothing(running: Running) -> None:
    made = await running.submit()
    async with running.store.write() as tx:
        await origins.opt_out(tx, "127.0.0.1", "asked by mail", utc_now())
    async with running.worker():
        row = await running.ended(made.audit.id)
    assert row.status == "failed" and row.error is not None and "does not want it audited" in row.error
    assert running.vendor.requests == 0


async def test_a_private_address_is_refused_by_the_worker_too(running: Running) -> None:
    made = await running.submit()
    named = await running.submit(target={"base_url": f"http://localhost:{running.vendor.port}/v1", "model": "m", "wire": "auto"})
    running.settings = running.settings.model_copy(update={"allowed_networks": ()})
    async with running.worker():
        for audit in (made.audit, named.audit):
            row = await running.ended(audit.id)
            assert row.status == "failed" and row.error is not None and "refused" in row.error
    assert running.vendor.requests == 0


@pytest.mark.parametrize("address", ["169.254.169.254", "168.63.129.16", "[fe80::1]", "100.100.100.200"])
async def test_metadata_addresses_are_refused_whatever_is_allowed(running: Running, address: str) -> None:
    running.settings = running.settings.model_copy(update={"allowed_networks": ("0.0.0.0/1", "128.0.0.0/2")})
    made = await running.submit(target={"base_url": f"http://{address}/v1", "model": "m", "wire": "auto"})
    async with running.worker():
        row = await running.ended(made.audit.id)
    assert row.status == "failed" and row.error is not None and "refused" in row.error


async def test_an_audit_that_breaks_inside_fails_with_a_plain_line(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: Any) -> None:
        raise RuntimeError(f"unforeseen {CANARY}")

    monkeypatch.setattr("verifier.service.execute.audit_target", broken)
    configure_logging("INFO", io.StringIO())
    made = await running.submit()
    async with running.worker():
        row = await running.ended(made.audit.id)
    assert (row.status, row.error) == ("failed", "the audit broke inside; the log of the service says why")


async def test_an_audit_whose_thinking_process_is_killed_is_done_by_another_attempt(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = 0

    async def thought(*given: Any) -> Report:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise AsideError("the thinking process ended")
        return await light_audit(*given)

    monkeypatch.setattr("verifier.service.execute.audit_target", thought)
    made = await running.submit("consistent")
    async with running.worker():
        await eventually(lambda: tries == 1)
        async with running.store.write() as tx:  # as after the lease
            await tx.execute(update(run_table).values(lease_until=utc_now() - timedelta(minutes=1)))
        row = await running.ended(made.audit.id)
    async with running.store.read() as tx:
        attempts = [run.status for run in await runs.of_audit(tx, row.id)]
    assert (row.status, attempts) == ("done", ["abandoned", "done"])


@pytest.mark.parametrize("fault", ["none", "echo", "broken", "refused"])
async def test_a_canary_key_is_found_in_no_log_row_queue_or_traceback(
    running: Running, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = io.StringIO()
    configure_logging("DEBUG", log)
    running.vendor.echo_key = fault == "echo"
    running.vendor.hold = asyncio.Event()

    async def broken(target: Any, *_: Any) -> None:
        raise RuntimeError(f"unforeseen {target.api_key.get_secret_value()} {target!r}")

    if fault == "broken":
        monkeypatch.setattr("verifier.service.execute.audit_target", broken)
    if fault == "refused":
        running.settings = running.settings.model_copy(update={"allowed_networks": ()})
    headers = {"X-Secret": CANARY, "X-Account": f"Basic {CANARY}"}
    target = running.body()["target"] | {"headers": headers, "query": {"sig": CANARY}}
    made = await running.submit(target=target)
    async with running.worker():
        if fault in ("none", "echo"):
            await eventually(lambda: running.vendor.requests > 0)
        queue = [piece async for piece in _queue(running)]
        running.vendor.hold.set()
        await running.ended(made.audit.id)
        queue += [piece async for piece in _queue(running)]
    rows = [piece async for piece in _cells(running)]
    assert not [piece for piece in (*rows, *queue, log.getvalue().encode()) if CANARY.encode() in piece]
    assert rows and log.getvalue()
    assert bool(queue) == (running.store.dialect == "postgresql")


async def _cells(running: Running) -> AsyncIterator[bytes]:
    async with running.store.read() as tx:
        for table in metadata.tables.values():
            for row in await tx.execute(select(table)):
                for cell in row:
                    yield gzip.decompress(cell) if isinstance(cell, bytes) and cell[:2] == b"\x1f\x8b" else str(cell).encode()
                    if isinstance(cell, bytes):
                        yield cell


async def _queue(running: Running) -> AsyncIterator[bytes]:
    if running.settings.embedded:
        return
    async with redis.asyncio.Redis.from_url(running.settings.queue) as client:
        async for key in client.scan_iter():
            yield key
            yield await client.dump(key) or b""
        for stream in [key async for key in client.scan_iter(_type="stream")]:
            yield repr(await client.xrange(stream)).encode()


async def test_what_was_lost_in_the_database_is_written_once_it_is_back(running: Running) -> None:
    tried = 0

    async def write(tx: Any) -> str:
        nonlocal tried
        tried += 1
        if tried < 3:
            raise StoreError("the database is gone", "wait")
        await tx.execute(text("SELECT 1"))
        return "written"

    assert (await steadily(running.store, write), tried) == ("written", 3)


async def test_a_worker_of_its_own_runs_until_it_is_told_to_stop(running: Running, migrated_url: str) -> None:
    made, stop = await running.submit("consistent"), asyncio.Event()
    settings = running.settings.model_copy(update={"database_url": type(running.settings.redis_url)(migrated_url)})
    working = asyncio.create_task(run_worker(settings, stop))
    row = await running.ended(made.audit.id)
    stop.set()
    await asyncio.wait_for(working, 30)
    assert row.status == "done"
    assert await queue_answers(settings)


async def test_a_queue_that_is_not_there_does_not_answer(running: Running) -> None:
    nowhere = type(running.settings.redis_url)("redis://127.0.0.1:1/0")
    assert not await queue_answers(running.settings.model_copy(update={"redis_url": nowhere}))


@pytest.mark.parametrize("with_reference", [False, True])
async def test_the_audit_its_wire_detection_and_its_reference_all_go_through_the_services_guard(
    vendor: Vendor, monkeypatch: pytest.MonkeyPatch, with_reference: bool
) -> None:
    def forbidden() -> None:
        raise AssertionError("the command line's policy was asked for")

    monkeypatch.setattr("verifier.endpoint.guard.cli_policy", forbidden)
    vendor.status = 404  # so that the wire is looked for
    target, settings = Target.parse(vendor.base_url, "m"), Settings(suite="quick", max_requests=1)
    beside = target if with_reference else None
    with pytest.raises(TargetRefusedError):
        await audit_target(target, None, settings, None, True, beside, Surroundings(service_policy()))
    if with_reference:
        with pytest.raises(TargetRefusedError):
            await compare_targets(target, target, settings, auto={"target"}, surroundings=Surroundings(service_policy()))
    assert vendor.requests == 0
    with pytest.raises(CannotRunError, match="not-found"):
        await audit_target(target, None, settings, None, True, None, Surroundings(service_policy(("127.0.0.0/8",))))
    assert vendor.requests > 1
