"""What one deployment can carry, and what a million scheduled endpoints an hour would take. Measured: the real docket, Redis and PostgreSQL
under one worker process of light audits fired by schedules, and processor time and memory of real audits (`standard`, a vendor of 50 ms).
Simulated from these: one shard of many, event by event, with jitter, dead endpoints, a worker killed every ten minutes and daily budgets.
--limit: light audits measured (default 200).
"""

from __future__ import annotations

import asyncio
import heapq
import math
import os
import random
import statistics
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import psutil
import redis
from sqlalchemy import text

from benchmarks.faults import Site, make_site, stopping
from benchmarks.vendor import Vendor
from tests.service.servers import Server, free_port, own_postgres, own_redis
from verifier.service import submitting, tokens
from verifier.service.requested import read_request
from verifier.service.secrets import open_keyring
from verifier.service.steady import utc_now
from verifier.service.store import audits
from verifier.service.store.engine import Store, open_store
from verifier.service.store.rows import FINISHED, ScheduleRow

ENDPOINTS = 1_000_000
"""Each audited once an hour."""
HOUR_S = 3600.0
IDLE_S = 5.0
REAL = 6
API_CALLS = 200
REAL_LATENCY_S = 0.05
GIVE_UP_S = 600.0
# Assumptions of the simulation: what a fleet of endpoints is like. Nothing here was measured.
REQUESTS = 20
"""Questions of an hourly re-audit (suite quick)."""
REPLY_S = 1.5
"""Median time of a reply; lognormal, sigma 0.5."""
IN_FLIGHT = 4
DEAD, DEAD_S = 0.02, 45.0
"""Share of endpoints that do not answer, and how long an audit takes to find out: tries, waits and time-outs."""
KILLED_EVERY_S, LEASE_S = 600.0, 16.0
"""A worker is lost, and what it did begins anew when its lease ends: 15 s and a tick."""
ENDPOINTS_PER_ORIGIN = 4.0
"""Mean of a geometric distribution."""
BUDGET = 5_000
"""TRUENAME_ORIGIN_DAILY_REQUESTS as it is by default."""
PLACES = 50
USED = 0.7
"""Share of a core that may be busy: beyond, waiting times grow fast."""
JITTERS_S = (0, 600, 3300)


@dataclass(frozen=True, slots=True)
class Costs:
    """Measured, of one audit unless it says otherwise."""

    fire_s: float
    """Of a tick, for each schedule that it fires, one after the other."""
    redis_calls: float
    redis_idle_s: float
    """Calls a second of one worker that has nothing to do."""
    commits: float
    rows: float
    wal_kb: float
    stored_kb: float
    light_cpu_s: float
    postgres_cpu_s: float
    redis_cpu_s: float
    per_second: float
    """Light audits that one worker process ended a second, this machine's two cores shared with the database and the queue."""
    real_cpu_s: float
    real_rss_mb: float
    idle_rss_mb: float
    api_read_cpu_ms: float
    """Of an API process, for a page of 20 audits."""
    api_submit_cpu_ms: float
    api_rss_mb: float


def run(data: Path | None, seed: int, limit: int | None) -> dict[str, Any]:
    """Measure, then simulate each jitter."""
    costs = asyncio.run(_measured(limit or 200))
    return {"costs": {name: getattr(costs, name) for name in Costs.__slots__}, "fleet": [simulate(costs, each, seed) for each in JITTERS_S]}


def table(result: dict[str, Any]) -> str:
    """Three tables in Markdown: costs, the fleet, one shard's waiting times."""
    costs, fleet = result["costs"], result["fleet"]
    lines = ["| measured | |", "|---|---|"]
    lines += [f"| {name.replace('_', ' ')} | {value:g} |" for name, value in costs.items()]
    names = ("jitter_s", "shards", "workers", "redis_ops_s", "commits_s", "rows_s", "wal_mb_s", "stored_gb_day")
    lines += ["", "| jitter (s) | shards | workers | Redis calls/s | commits/s | rows/s | WAL MB/s | stored GB/day |", "|---" * 8 + "|"]
    lines += [f"| {' | '.join(str(row[name]) for name in names)} |" for row in fleet]
    late = ("jitter_s", "audits", "begun_again", "failed", "late_p50_s", "late_p95_s", "late_max_s", "over_budget")
    lines += ["", "| jitter (s) | audits of a shard | begun again | dead | lateness p50 (s) | p95 | max | over the daily budget |"]
    lines += ["|---" * 8 + "|", *(f"| {' | '.join(str(row[name]) for name in late)} |" for row in fleet)]
    return "\n".join(lines)


def simulate(costs: Costs, jitter_s: int, seed: int) -> dict[str, Any]:
    """One hour of a shard, and what all shards together need."""
    rate = ENDPOINTS / HOUR_S
    # A shard's queue begins at most so many a second: its ticks fire one schedule after the other, 100 at most.
    begin_s = min(100.0, USED / costs.fire_s)
    shards = math.ceil(rate / (USED * begin_s))
    due = _due(ENDPOINTS // shards, jitter_s, seed)
    workers = _workers(costs, len(due))
    late, again, failed = _hour(costs, due, workers, begin_s, random.Random(seed + 1))
    cuts = statistics.quantiles(late, n=100)
    return {
        "jitter_s": jitter_s,
        "shards": shards,
        "workers": workers * shards,
        "audits": len(due),
        "begun_again": again,
        "failed": failed,
        "redis_ops_s": round(rate * costs.redis_calls + workers * shards * costs.redis_idle_s),
        "commits_s": round(rate * costs.commits),
        "rows_s": round(rate * costs.rows),
        "wal_mb_s": round(rate * costs.wal_kb / 1000, 1),
        "stored_gb_day": round(rate * costs.stored_kb * 86_400 / 1e6),
        "late_p50_s": round(cuts[49], 1),
        "late_p95_s": round(cuts[94], 1),
        "late_max_s": round(max(late), 1),
        "over_budget": f"{_over_budget(seed):.1%}",
    }


def _due(count: int, jitter_s: int, seed: int) -> list[float]:
    """When each schedule is due: on the hour, put off by its jitter."""
    draw = random.Random(seed)
    return sorted(draw.uniform(0, jitter_s) if jitter_s else 0.0 for _ in range(count))


def _workers(costs: Costs, count: int) -> int:
    """Processes that have both the processor time and the places for a shard's hour."""
    cpu = count * costs.real_cpu_s / (HOUR_S * USED)
    held = (1 - DEAD) * REQUESTS / IN_FLIGHT * REPLY_S * math.exp(0.5**2 / 2) + DEAD * DEAD_S + costs.real_cpu_s / (1 - USED)
    return max(2, math.ceil(cpu), math.ceil(count * held / (HOUR_S * USED * PLACES)))


def _hour(costs: Costs, due: list[float], workers: int, begin_s: float, draw: random.Random) -> tuple[list[float], int, int]:
    """Seconds between due and begun of each audit; how many began again after a lost worker, and how many found nobody."""
    # A free place is one entry: when it is free, and whose it is. Each worker thinks in one thread, audit after audit.
    places = [(0.0, worker) for worker in range(workers) for _ in range(PLACES)]
    heapq.heapify(places)
    thinking = [0.0] * workers
    waiting = [(at, at) for at in due]
    heapq.heapify(waiting)
    late: list[float] = []
    again = failed = 0
    next_start = 0.0
    while waiting:
        ready, was_due = heapq.heappop(waiting)
        free, worker = heapq.heappop(places)
        begun = max(math.ceil(ready), free, next_start)
        next_start = begun + 1 / begin_s
        if ready == was_due:
            late.append(begun - was_due)
        if dead := draw.random() < DEAD:
            asked = DEAD_S
        else:
            asked = sum(draw.lognormvariate(math.log(REPLY_S), 0.5) for _ in range(REQUESTS)) / IN_FLIGHT
        ended = max(begun + asked, thinking[worker]) + (0.1 if dead else 1.0) * costs.real_cpu_s
        if draw.random() < (ended - begun) / (KILLED_EVERY_S * workers):
            lost = draw.uniform(begun, ended)
            again += 1
            heapq.heappush(waiting, (lost + LEASE_S, was_due))
            heapq.heappush(places, (lost + LEASE_S, worker))
            continue
        failed += dead
        thinking[worker] = ended
        heapq.heappush(places, (ended, worker))
    return late, again, failed


def _over_budget(seed: int) -> float:
    """Share of a day's audits that an origin's budget refuses: 24 of each endpoint, as many endpoints as share an origin."""
    draw = random.Random(seed + 2)
    refused = total = 0
    for _ in range(20_000):
        endpoints = 1 + int(math.log(1 - draw.random()) / math.log(1 - 1 / ENDPOINTS_PER_ORIGIN))
        total += 24 * endpoints
        refused += max(0, 24 * endpoints - BUDGET // REQUESTS)
    return refused / total


async def _measured(count: int) -> Costs:
    with own_postgres() as database, own_redis() as queue, tempfile.TemporaryDirectory() as folder:
        site = make_site(Path(folder), database.url.replace("postgresql://", "postgresql+asyncpg://"), queue.url, database, queue)
        site.settings = site.settings.model_copy(update={"concurrent_audits": PLACES})
        store = await open_store(site.settings.database)
        try:
            with stopping(site):
                light = await _light(site, store, database, queue, count)
                site.stop()
                site.workers.clear()
                return await _api(site, store, await _real(site, store, light))
        finally:
            await store.close()


async def _light(site: Site, store: Store, database: Server, queue: Server, count: int) -> Costs:
    """Schedules fire, the queue delivers, a worker asks little and stores a report."""
    client = redis.Redis.from_url(queue.url)
    async with Vendor() as vendor:
        site.start_worker()
        await _fire(site, store, await _schedules(site, store, vendor.base_url, 1))
        await _until_ended(store, 1)
        worker = site.workers[0].pid
        before = _calls(client)
        await asyncio.sleep(IDLE_S)
        idle = (_calls(client) - before) / IDLE_S
        made = await _schedules(site, store, vendor.base_url, count)
        used, cpu = await _used(store), [_cpu_s(pid) for pid in (worker, database.process.pid, queue.process.pid)]
        calls, at = _calls(client), time.monotonic()
        fire_s = await _fire(site, store, made)
        await _until_ended(store, count + 1)
        wall, calls_each = time.monotonic() - at, (_calls(client) - calls) / count
        after = await _used(store)
        spent = [(_cpu_s(pid) - was) / count for pid, was in zip((worker, database.process.pid, queue.process.pid), cpu, strict=True)]
        commits, rows, log, size = ((now - then) / count for now, then in zip(after, used, strict=True))
        rss = psutil.Process(worker).memory_info().rss / 1e6
    client.close()
    each = (
        fire_s,
        calls_each - idle * wall / count,
        idle,
        commits,
        rows,
        log / 1000,
        size / 1000,
        *spent,
        count / wall,
        *[0.0] * 2,
        rss,
        *[0.0] * 3,
    )
    return Costs(**dict(zip(Costs.__slots__, (round(value, 3) for value in each), strict=True)))


async def _real(site: Site, store: Store, costs: Costs) -> Costs:
    """Audits as users have them, one after the other, after one that warms up what is loaded once."""
    worker = site.start("api", "worker")
    try:
        async with Vendor(REAL_LATENCY_S) as vendor:
            ended = sum((await _counts(store)).values())
            await _fire(site, store, await _schedules(site, store, vendor.base_url, 1, "gpt-4o"))
            await _until_ended(store, ended + 1)
            before = _cpu_s(worker.pid)
            await _fire(site, store, await _schedules(site, store, vendor.base_url, REAL, "gpt-4o"))
            await _until_ended(store, ended + 1 + REAL)
            spent, rss = (_cpu_s(worker.pid) - before) / REAL, psutil.Process(worker.pid).memory_info().rss / 1e6
    finally:
        worker.terminate()
        with suppress(subprocess.TimeoutExpired):
            worker.wait(40)
        worker.kill()
    return replace(costs, real_cpu_s=round(spent, 3), real_rss_mb=round(rss))


async def _api(site: Site, store: Store, costs: Costs) -> Costs:
    """Pages of audits that are read, and audits that are submitted, one request after the other on one connection."""
    async with store.write() as tx:
        token = (await tokens.create(tx, "bench", ["admin"], utc_now())).token.get_secret_value()
    port = free_port()
    api = site.start("api", "serve", "--port", str(port))
    try:
        base_url, given = f"http://127.0.0.1:{port}", {"authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(base_url=base_url, headers=given, timeout=30) as client:
            async with asyncio.timeout(GIVE_UP_S):
                while not await _ready(client):  # noqa: ASYNC110 - another process starts
                    await asyncio.sleep(0.2)
            target = {"base_url": "https://api.example.com/v1", "model": "m", "wire": "openai"}
            body = {"target": target, "claim": {"model": "gpt-4o"}}
            spent = []
            for method, path, sent in (("GET", "/v1/audits?limit=20", None), ("POST", "/v1/audits", body)):
                before = _cpu_s(api.pid)
                for _ in range(API_CALLS):
                    (await client.request(method, path, json=sent)).raise_for_status()
                spent.append(1000 * (_cpu_s(api.pid) - before) / API_CALLS)
        rss = psutil.Process(api.pid).memory_info().rss / 1e6
    finally:
        api.terminate()
        api.wait(40)
    return replace(costs, api_read_cpu_ms=round(spent[0], 1), api_submit_cpu_ms=round(spent[1], 1), api_rss_mb=round(rss))


async def _ready(client: httpx.AsyncClient) -> bool:
    with suppress(httpx.HTTPError):
        return (await client.get("/readyz")).status_code == 200
    return False


async def _schedules(site: Site, store: Store, base_url: str, count: int, claim: str = "consistent") -> list[ScheduleRow]:
    keyring, made = open_keyring(site.settings), []
    for number in range(count):
        audit = {"target": {"base_url": base_url, "model": "m", "wire": "openai"}, "claim": {"model": claim}, "seed": number}
        async with store.write() as tx:
            requested = read_request(audit | {"suite": "standard"})
            once = "0 0 1 1 *"
            made.append((await submitting.create_schedule(tx, keyring, site.settings, requested, "bench", utc_now(), cron=once)).schedule)
    return made


async def _fire(site: Site, store: Store, made: list[ScheduleRow]) -> float:
    """Fire schedules one after the other, as a tick does; gives the median seconds of one."""
    spent = []
    for schedule in made:
        began = time.monotonic()
        async with store.write() as tx:
            await submitting.fire(tx, site.settings, schedule, utc_now())
        spent.append(time.monotonic() - began)
    return statistics.median(spent)


async def _counts(store: Store) -> dict[str, int]:
    async with store.read() as tx:
        counts = await audits.counts(tx)
    return {status: counts[status] for status in FINISHED}


async def _until_ended(store: Store, wanted: int) -> None:
    async with asyncio.timeout(GIVE_UP_S):
        while sum((await _counts(store)).values()) < wanted:  # noqa: ASYNC110 - only the database tells
            await asyncio.sleep(0.1)


async def _used(store: Store) -> tuple[float, float, float, float]:
    """Commits, rows written, bytes of WAL, bytes of the database, so far."""
    await asyncio.sleep(1.2)  # PostgreSQL's counters lag by up to a second
    async with store.read() as tx:
        about = "SELECT xact_commit, tup_inserted + tup_updated + tup_deleted FROM pg_stat_database WHERE datname = current_database()"
        commits, rows = (await tx.execute(text(about))).one()
        wal = await tx.scalar(text("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')"))
        size = await tx.scalar(text("SELECT pg_database_size(current_database())"))
    return float(commits), float(rows), float(wal or 0), float(size or 0)


def _calls(client: redis.Redis) -> int:
    told: Any = client.info("stats")
    return int(told["total_commands_processed"])


def _cpu_s(pid: int) -> float:
    """Processor seconds of a process and its children."""
    process = psutil.Process(pid)
    return sum(_own_cpu_s(each) for each in (process, *process.children(recursive=True)))


def _own_cpu_s(process: psutil.Process) -> float:
    with suppress(psutil.NoSuchProcess, OSError):
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        # With the children that ended meanwhile: PostgreSQL forks.
        return sum(int(each) for each in fields[11:15]) / os.sysconf("SC_CLK_TCK")
    return 0.0
