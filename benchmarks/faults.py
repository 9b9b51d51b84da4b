"""Kills what the service stands on while it works, and counts what that costs: audits lost, done twice, and how long until they go on.

Worker processes run light audits (benchmarks.light) of a vendor with latency; databases, queues and workers are real and die by kill -9.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import redis
from pydantic import SecretStr

from benchmarks.vendor import Vendor
from tests.service.servers import Server, own_postgres, own_redis
from verifier.service import submitting
from verifier.service.errors import StoreError
from verifier.service.requested import read_request
from verifier.service.secrets import open_keyring
from verifier.service.settings import ServiceSettings
from verifier.service.steady import steadily, utc_now
from verifier.service.store import audits, ledger, runs
from verifier.service.store.engine import Store, Transaction, open_store
from verifier.service.store.rows import RunRow

LATENCY_S = 0.2
GIVE_UP_S = 240.0
RESUME_S = 60.0
"""Longest wait for what a fault interrupted to go on, before the next fault."""
LEAST_RUNNING = 5
"""Audits that each worker has under way when a fault comes; they run in waves, and between two a fault would hit nothing."""
_AHEAD = 0.08
"""Share of the audits that is done before the first fault, and between two where they do not wait for each other."""


@dataclass
class Site:
    """A service that is about to be hurt: its settings and processes."""

    settings: ServiceSettings
    database: Server | None
    queue: Server | None
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    recovered: list[datetime] = field(default_factory=list)
    """When each fault was over."""

    def start_worker(self) -> None:
        """One more worker process."""
        self.workers.append(self.start("benchmarks.light"))

    def start(self, *module: str) -> subprocess.Popen[bytes]:
        """A process of ours with the site's settings."""
        given = {
            "TRUENAME_DATA_DIR": str(self.settings.data_dir),
            "TRUENAME_DATABASE_URL": self.settings.database,
            "TRUENAME_REDIS_URL": self.settings.queue,
            "TRUENAME_ALLOWED_NETWORKS": "127.0.0.0/8",
            "TRUENAME_CONCURRENT_AUDITS": "10",
            "TRUENAME_ORIGIN_DAILY_REQUESTS": "1000000",
            **{f"TRUENAME_{name}_RATE": "1000000/minute" for name in ("TOKEN", "SUBMIT", "ORIGIN")},
            "TRUENAME_LOG_LEVEL": "ERROR",
        }
        with (self.settings.data_dir / "processes.log").open("ab") as log:
            return subprocess.Popen([sys.executable, "-m", *module], env=os.environ | given, stdout=log, stderr=log)

    def kill_worker(self) -> None:
        """kill -9 the oldest worker and start another at once."""
        worker = self.workers.pop(0)
        worker.kill()
        worker.wait()
        self.start_worker()

    def restart(self, server: Server | None) -> None:
        """kill -9 a server and start it again on the same data, which Redis has none of."""
        assert server is not None
        server.kill()
        time.sleep(1.0)
        server.start()

    def flush(self) -> None:
        """Empty Redis under the workers."""
        with redis.Redis.from_url(self.settings.queue) as client:
            client.flushall()

    def stop(self) -> None:
        """End every worker."""
        for worker in self.workers:
            worker.terminate()
        for worker in self.workers:
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.wait(20)
            worker.kill()


def on_servers(count: int, questions: int = 30, apart: bool = True) -> dict[str, Any]:
    """PostgreSQL and Redis, two worker processes: each of the four faults in turn; `apart`, each once the one before is got over."""
    with own_postgres() as database, own_redis() as queue, tempfile.TemporaryDirectory() as folder:
        url = database.url.replace("postgresql://", "postgresql+asyncpg://")
        site = make_site(Path(folder), url, queue.url, database, queue)
        faults = [site.kill_worker, site.flush, lambda: site.restart(site.queue), lambda: site.restart(site.database)]
        return _run(site, count, 2, faults, questions, apart)


def embedded(count: int, kills: int = 3, questions: int = 15, apart: bool = True) -> dict[str, Any]:
    """SQLite and the queue in memory: the one process that works is killed and started again."""
    with tempfile.TemporaryDirectory() as folder:
        site = make_site(Path(folder), f"sqlite+aiosqlite:///{folder}/truename.db", "memory://")
        return _run(site, count, 1, [site.kill_worker] * kills, questions, apart)


def make_site(folder: Path, url: str, queue: str, database: Server | None = None, redis_server: Server | None = None) -> Site:
    """A site whose processes do not run yet."""
    settings = ServiceSettings(
        data_dir=folder,
        database_url=SecretStr(url),
        redis_url=SecretStr(queue),
        allowed_networks=("127.0.0.0/8",),
        origin_rate="1000000/hour",
    )
    return Site(settings, database, redis_server)


def _run(site: Site, count: int, workers: int, faults: list[Callable[[], None]], questions: int, apart: bool) -> dict[str, Any]:
    with stopping(site):
        return asyncio.run(_hurt(site, count, workers, faults, questions, apart))


@contextlib.contextmanager
def stopping(site: Site) -> Iterator[None]:
    """End the site's workers after the block."""
    try:
        yield
    finally:
        site.stop()


async def _hurt(site: Site, count: int, workers: int, faults: list[Callable[[], None]], questions: int, apart: bool) -> dict[str, Any]:
    async with Vendor(LATENCY_S) as vendor:
        store = await open_store(site.settings.database)
        try:
            ids = await _submit(site, store, vendor, count, questions)
            for _ in range(workers):
                site.start_worker()
            for number, fault in enumerate(faults, start=1):
                await until_done(store, int(count * _AHEAD * (1 if apart else number)))
                while len(hit := await _running(store)) < workers * LEAST_RUNNING and await _open(store):  # noqa: ASYNC110 - only the database tells
                    await asyncio.sleep(0.05)
                await asyncio.to_thread(fault)
                site.recovered.append(utc_now())
                if apart:
                    await _until_resumed(store, hit)
            await until_done(store, count)
            return await counted(store, ids, site.recovered) | {"audits": count, "faults": len(faults)}
        finally:
            await store.close()


async def _submit(site: Site, store: Store, vendor: Vendor, count: int, questions: int) -> list[str]:
    keyring, ids = open_keyring(site.settings), []
    target = {"base_url": vendor.base_url, "model": "m", "wire": "openai", "api_key": "sk-not-a-key-0123456789"}
    for number in range(count):
        body = {"target": target, "claim": {"model": "consistent"}, "suite": "standard", "seed": number, "max_requests": questions}
        requested = read_request(body)
        async with store.write() as tx:
            ids.append((await submitting.submit(tx, keyring, site.settings, requested, "bench", utc_now())).audit.id)
    return ids


async def until_done(store: Store, wanted: int) -> None:
    """Until so many audits are done, or none will be any more."""
    deadline = time.monotonic() + GIVE_UP_S
    while time.monotonic() < deadline:
        with contextlib.suppress(StoreError):
            async with store.read() as tx:
                if (await audits.counts(tx))["done"] >= wanted:
                    return
        await asyncio.sleep(0.1)


async def _running(store: Store) -> dict[str, int]:
    """Attempts so far of the audits that are running."""

    async def look(tx: Transaction) -> dict[str, int]:
        found = await audits.page(tx, None, status="running", limit=200)
        return {row.id: row.attempts for row in found.rows}

    return await steadily(store, look)


async def _open(store: Store) -> bool:
    """Whether audits are still queued."""
    return bool(await steadily(store, lambda tx: audits.queued(tx, 1)))


async def _until_resumed(store: Store, hit: dict[str, int]) -> None:
    """Until every audit that ran when a fault came has ended, is queued again or is at a new attempt."""
    deadline = time.monotonic() + RESUME_S
    while time.monotonic() < deadline:
        now = await _running(store)
        if not any(now.get(audit_id) == attempt for audit_id, attempt in hit.items()):
            return
        await asyncio.sleep(0.2)


async def counted(store: Store, ids: list[str], recovered: list[datetime]) -> dict[str, Any]:
    """What became of the audits: lost, done twice, interrupted, and how long at most until one went on after a fault."""

    async def all_runs(tx: Any) -> list[tuple[RunRow, ...]]:
        return [await runs.of_audit(tx, each) for each in ids]

    attempts: list[tuple[RunRow, ...]] = await steadily(store, all_runs)
    lines = await steadily(store, lambda tx: ledger.after(tx, 0, 100_000))
    done = [sum(run.status == "done" for run in of_audit) for of_audit in attempts]
    return {
        "lost": sum(times == 0 for times in done),
        "duplicated": sum(times > 1 for times in done) + len(lines) - len({line.report_sha256 for line in lines}),
        "ledger_entries": len(lines),
        "interrupted": sum(run.status == "abandoned" for of_audit in attempts for run in of_audit),
        "handed_back": sum(run.status == "returned" for of_audit in attempts for run in of_audit),
        "resumed_s": round(max(_resumed(attempts, recovered), default=0.0), 1),
    }


def _resumed(attempts: list[tuple[RunRow, ...]], recovered: list[datetime]) -> Iterator[float]:
    """For every attempt that lost its worker: seconds from the end of the fault that took it, the first one after its last sign of life,
    to the start of the next attempt. Where faults overlap, later ones are counted in."""
    for of_audit in attempts:
        for lost, following in pairwise(of_audit):
            if lost.status == "abandoned":
                over = [moment for moment in recovered if lost.lease_until - runs.LEASE <= moment <= following.started]
                yield (following.started - over[0]).total_seconds() if over else 0.0
