"""Told to stop, the service hands back its audits, ends streams and goes, whatever the database does. Workers beside it are kept up."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest

from api import processes
from api.processes import Workers
from benchmarks.vendor import Vendor
from tests.service.api_client import settings as api_settings
from tests.service.api_client import started
from tests.service.running import Running, eventually
from tests.service.servers import free_port, own_postgres
from tests.service.serving import Serving, serving
from verifier.service import execute
from verifier.service.errors import StoreError
from verifier.service.settings import PREFIX
from verifier.service.store import engine, runs
from verifier.service.store.engine import opened

PROMPT_S = 20.0
"""A stop takes about 2 s on an idle machine; container runtimes kill after 30 in our compose file."""
PATIENCE_S = 90.0


@contextlib.contextmanager
def slow_vendor(latency_s: float) -> Iterator[str]:
    """The base URL of a vendor process that answers late."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.vendor", str(port), str(latency_s)])
    try:
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.kill()
        process.wait()


def submit(service: Serving, base_url: str, seed: int = 1) -> str:
    """The id of a small audit."""
    target = {"base_url": base_url, "model": "m", "wire": "openai"}
    body = {"target": target, "claim": {"model": "gpt-4o"}, "suite": "quick", "max_requests": 2, "seed": seed}
    return str(service.post("/v1/audits", body)["id"])


def until(holds: Callable[[], Any], seconds: float = PATIENCE_S) -> Any:
    """What `holds` gives once it is true. Fails after a while."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline
        time.sleep(0.2)  # another process's doing: there is nothing to wait on
    return found


def status(service: Serving, audit: str) -> str:
    """An audit's status now."""
    return str(service.get(f"/v1/audits/{audit}")["status"])


@pytest.mark.timeout(240)
def test_a_service_that_is_told_to_stop_ends_streams_and_hands_back_its_audit_which_the_next_one_finishes(tmp_path: Path) -> None:
    with slow_vendor(600) as never, serving(tmp_path) as service:
        audit = submit(service, never)
        until(lambda: status(service, audit) == "running")
        token, command = service.token, ["curl", "-sN", "-H", f"Authorization: Bearer {service.token}"]
        stream = subprocess.Popen([*command, f"{service.url}/v1/audits/{audit}/events"], stdout=subprocess.PIPE)
        assert stream.stdout is not None and stream.stdout.readline().startswith(b"event: status")
        began = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - began < PROMPT_S
        assert stream.wait(10) == 0, "curl saw a stream that ended and not one that broke off"
        stream.stdout.close()
        vendor = int(never.split(":")[2].removesuffix("/v1"))
    with serving(tmp_path) as again:
        again.token = token
        assert status(again, audit) in ("queued", "running")
        quick = subprocess.Popen([sys.executable, "-m", "benchmarks.vendor", str(vendor), "0.01"])
        try:
            until(lambda: status(again, audit) == "done")
        finally:
            quick.kill()
            quick.wait()


@pytest.mark.timeout(300)
def test_workers_beside_the_server_share_sqlite_are_started_again_and_end_with_it_even_where_it_is_killed(tmp_path: Path) -> None:
    with slow_vendor(0.05) as vendor, serving(tmp_path, "--workers", "2") as service:
        workers = until(lambda: two if len(two := psutil.Process(service.process.pid).children()) == 2 else None)
        ids = [submit(service, vendor, seed) for seed in range(6)]
        workers[0].kill()
        fresh = until(lambda: two if len(two := psutil.Process(service.process.pid).children()) == 2 and workers[0] not in two else None)
        until(lambda: all(status(service, each) == "done" for each in ids) if not time.sleep(1) else None)
        metrics = service.curl("/metrics").decode()
        assert "truename_worker_starts_total 3.0" in metrics and "truename_worker_processes 2.0" in metrics
        assert service.stop() == 0
        assert not [each for each in fresh if each.is_running()]
    with serving(tmp_path, "--workers", "1") as service:
        (orphan,) = until(lambda: psutil.Process(service.process.pid).children())
        until(lambda: any("places" in line for line in service.lines))
        service.process.kill()
        orphan.wait(PROMPT_S)


def test_a_worker_that_keeps_ending_is_started_after_longer_and_longer_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "FIRST_WAIT_S", 0.1)
    monkeypatch.setattr(processes, "LOOK_S", 0.01)
    monkeypatch.setattr(processes._Place.__init__, "__defaults__", (0.1, None))
    begun: list[float] = []
    popen = subprocess.Popen

    def start(command: tuple[str, ...]) -> subprocess.Popen[bytes]:
        begun.append(time.monotonic())
        return popen(["false"])

    monkeypatch.setattr(processes.subprocess, "Popen", start)
    with Workers(1):
        until(lambda: len(begun) >= 5)
    waits = [after - before for before, after in pairwise(begun)]
    assert all(wait >= at_least for wait, at_least in zip(waits, (0.1, 0.2, 0.4, 0.8), strict=False)), waits


def test_a_machine_that_is_short_of_processes_for_a_while_gets_its_worker_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "LOOK_S", 0.01)
    monkeypatch.setattr(processes._Place.__init__, "__defaults__", (0.05, None))
    tries = 0
    popen = subprocess.Popen

    def start(command: tuple[str, ...]) -> subprocess.Popen[bytes]:
        nonlocal tries
        tries += 1
        if tries in (2, 3):
            raise BlockingIOError("fork: try again")
        return popen(["false"] if tries == 1 else ["sleep", "600"])

    monkeypatch.setattr(processes.subprocess, "Popen", start)
    with Workers(1) as workers:
        until(lambda: tries == 4 and workers.pids)


def test_a_service_that_is_told_to_stop_before_it_serves_does_not_serve(tmp_path: Path) -> None:
    script = (
        "import signal; from api import server; from verifier.service.settings import load_settings\n"
        "class Told(server.Workers):\n"
        "    def __enter__(self):\n"
        "        signal.raise_signal(signal.SIGTERM)\n"
        "        return super().__enter__()\n"
        "server.Workers = Told\n"
        "server.serve(load_settings(), '127.0.0.1', 0, None)\n"
        "print('ended in order')"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)} | {"TRUENAME_DATA_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0 and done.stdout.endswith("ended in order\n"), done.stderr


def test_a_worker_that_ignores_the_signal_is_killed_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "STOP_S", 0.5)
    ready = tmp_path / "ready"
    deaf = f"import pathlib, signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); pathlib.Path({str(ready)!r}).touch(); signal.pause()"
    with Workers(1, (sys.executable, "-c", deaf)) as workers:
        child = psutil.Process(workers.pids[0])
        until(ready.exists)
    assert not child.is_running()


@pytest.mark.redis
async def test_a_database_that_does_not_answer_keeps_nobody_from_stopping(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execute, "HAND_BACK_S", 0.5)
    held = running.vendor.hold = asyncio.Event()
    made = await running.submit()

    async def never(*_: Any) -> bool:
        await asyncio.Event().wait()
        return False

    async with running.worker():
        await eventually(lambda: running.vendor.requests > 0)
        monkeypatch.setattr(runs, "give_back", never)
        began = time.monotonic()
    held.set()
    assert time.monotonic() - began < 10
    assert (await running.audit(made.audit.id)).status == "running", "its lease ends by itself"


@pytest.mark.redis
async def test_the_audit_that_waits_longest_is_taken_first_whichever_was_delivered(running: Running) -> None:
    running.settings = running.settings.model_copy(update={"concurrent_audits": 1})
    running.vendor.hold = asyncio.Event()
    ids = [(await running.submit("consistent", seed=seed)).audit.id for seed in range(3)]
    async with running.worker():
        await eventually(lambda: running.vendor.requests > 0)
        assert [(await running.audit(each)).status for each in ids] == ["running", "queued", "queued"]
        running.vendor.hold.set()
        ended = [await running.ended(each) for each in ids]
    starts = [row.started for row in ended]
    assert starts == sorted(starts, key=lambda start: start or ended[0].created)


@pytest.mark.postgres
async def test_a_postgresql_that_neither_answers_nor_refuses_is_an_error_within_the_time_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "STATEMENT_S", 1.0)
    monkeypatch.setattr(engine, "CONNECT_S", 1.0)
    with own_postgres() as server:
        async with opened(server.url.replace("postgresql://", "postgresql+asyncpg://")) as store:
            await store.check()
            everything = [parent := psutil.Process(server.process.pid), *parent.children(recursive=True)]
            for each in everything:
                each.send_signal(signal.SIGSTOP)
            try:
                for _ in range(2):  # the connection of the pool, then a new one
                    with pytest.raises(StoreError, match="cannot be used"):
                        await asyncio.wait_for(store.check(), 10)
            finally:
                for each in reversed(everything):
                    each.send_signal(signal.SIGCONT)
            await asyncio.wait_for(store.check(), 10)


async def test_a_stream_ends_once_the_service_closes_and_not_before(tmp_path: Path, sqlite_url: str) -> None:
    async with started(api_settings(tmp_path, sqlite_url)) as api, Vendor():
        audit = await api.submit()
        reading = asyncio.create_task(api.call("alice:read", "GET", f"/v1/audits/{audit}/events"))
        done, _ = await asyncio.wait({reading}, timeout=1)
        assert not done, "the audit waits, and so does the stream"
        api.service.closing.set()
        answer = await asyncio.wait_for(reading, 60)
    assert answer.status_code == 200 and '"queued"' in answer.text
