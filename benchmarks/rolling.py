"""Restarts everything while 100 audits are submitted and run: two API processes and two workers, on PostgreSQL and Redis. `rolling` stops
one after the other by SIGTERM, twice; `killed` kills API processes by kill -9 in the middle of requests. Clients send each POST again,
under the same Idempotency-Key, until it is answered. Stand-ins: light audits of a vendor of 200 ms. --limit: audits of each part.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from benchmarks.faults import LATENCY_S, Site, counted, make_site, stopping, until_done
from benchmarks.vendor import Vendor
from tests.service.servers import free_port, own_postgres, own_redis
from verifier.service import tokens
from verifier.service.steady import utc_now
from verifier.service.store import audits
from verifier.service.store.engine import Store, open_store

CLIENTS = 8
"""Who submit at the same time, each its next audit once the last was accepted."""
QUESTIONS = 15
READY_S = 60.0
STOP_S = 40.0
ANSWER_S = 10.0
ROUNDS = 2
"""Times that every process is stopped and started again."""
KILLS = 6
KILL_LATER_S = 0.004
"""Each kill comes so much later into a POST than the one before: a POST takes about 20 ms, so they hit before, in and after its commit."""
PAUSE_S = 3.0
"""Between two audits of one client: in one burst all would be in before the first restart."""


def run(data: Path | None, seed: int, limit: int | None) -> dict[str, Any]:
    """Both parts."""
    return {"rolling": measured(limit or 100, roll), "killed": measured(limit or 100, kill)}


def table(result: dict[str, Any]) -> str:
    """One table in Markdown."""
    lines = ["| part | audits | stops | lost | done twice | made twice | POSTs sent again | handed back | interrupted | longest stop (s) |"]
    lines.append("|---" * 10 + "|")
    for name in ("rolling", "killed"):
        part = result[name]
        names = ("audits", "stops", "lost", "duplicated", "made_twice", "sent_again", "handed_back", "interrupted", "longest_stop_s")
        lines.append(f"| {name} | {' | '.join(str(part[each]) for each in names)} |")
    return "\n".join(lines)


@dataclass
class Fleet:
    """Two API processes at fixed ports, and the site's workers."""

    site: Site
    ports: list[int]
    apis: list[subprocess.Popen[bytes]] = field(default_factory=list)
    asking: list[int] = field(default_factory=lambda: [0, 0])
    """POSTs under way at each."""
    stops: list[float] = field(default_factory=list)
    """Seconds that each process took to stop."""

    def start_api(self, number: int) -> subprocess.Popen[bytes]:
        """The API process at a port."""
        return self.site.start("api", "serve", "--port", str(self.ports[number]))

    def stopped(self, process: subprocess.Popen[bytes], kill: bool = False) -> None:
        """SIGTERM or kill -9, and wait. Raises TimeoutExpired; an exit code of its own choice other than 0 fails."""
        began = time.monotonic()
        process.kill() if kill else process.terminate()
        code = process.wait(STOP_S)
        self.stops.append(time.monotonic() - began)
        assert kill or code == 0, code

    async def ready(self, number: int) -> None:
        """Until the API at a port answers."""
        async with asyncio.timeout(READY_S), httpx.AsyncClient() as client:
            while True:
                with contextlib.suppress(httpx.HTTPError):
                    if (await client.get(f"http://127.0.0.1:{self.ports[number]}/readyz")).status_code == 200:
                        return
                await asyncio.sleep(0.1)


Disturb = Callable[[Fleet, "asyncio.Task[Any]"], Awaitable[None]]
"""Stops processes of a fleet while the task submits."""


def measured(count: int, disturb: Disturb) -> dict[str, Any]:
    """Submit and run audits while `disturb` stops processes."""
    with own_postgres() as database, own_redis() as queue, tempfile.TemporaryDirectory() as folder:
        site = make_site(Path(folder), database.url.replace("postgresql://", "postgresql+asyncpg://"), queue.url, database, queue)
        fleet = Fleet(site, [free_port(), free_port()])
        try:
            with stopping(site):
                return asyncio.run(_measured(fleet, count, disturb))
        finally:
            for api in fleet.apis:
                api.kill()
                api.wait()


async def _measured(fleet: Fleet, count: int, disturb: Disturb) -> dict[str, Any]:
    async with Vendor(LATENCY_S) as vendor:
        store = await open_store(fleet.site.settings.database)
        try:
            async with store.write() as tx:
                token = (await tokens.create(tx, "bench", ["admin"], utc_now())).token.get_secret_value()
            fleet.apis = [fleet.start_api(number) for number in range(2)]
            for _ in range(2):
                fleet.site.start_worker()
            for number in range(2):
                await fleet.ready(number)
            submitting = asyncio.create_task(_submitted(fleet, vendor, count, token))
            await disturb(fleet, submitting)
            ids, again = await submitting
            await until_done(store, count)
            made = await _made(store)
            found = await counted(store, ids, [])
            names = ("lost", "duplicated", "handed_back", "interrupted", "ledger_entries")
            return {name: found[name] for name in names} | {
                "audits": count,
                "stops": len(fleet.stops),
                "made_twice": made - len(set(ids)),
                "sent_again": again,
                "longest_stop_s": round(max(fleet.stops), 1),
            }
        finally:
            await store.close()


async def roll(fleet: Fleet, submitting: asyncio.Task[Any]) -> None:
    """Every process in turn, each after the one before it is back."""
    for _ in range(ROUNDS):
        for number in range(2):
            await asyncio.to_thread(fleet.stopped, fleet.apis[number])
            fleet.apis[number] = fleet.start_api(number)
            await fleet.ready(number)
            await asyncio.to_thread(fleet.stopped, fleet.site.workers.pop(0))
            fleet.site.start_worker()


async def kill(fleet: Fleet, submitting: asyncio.Task[Any]) -> None:
    """One API process after the other, in the middle of a POST."""
    for turn in range(KILLS):
        number = turn % 2
        while not fleet.asking[number] and not submitting.done():  # noqa: ASYNC110 - a request is under way for milliseconds
            await asyncio.sleep(0.001)
        await asyncio.sleep(turn * KILL_LATER_S)
        await asyncio.to_thread(fleet.stopped, fleet.apis[number], True)
        fleet.apis[number] = fleet.start_api(number)
        await fleet.ready(number)


async def _submitted(fleet: Fleet, vendor: Vendor, count: int, token: str) -> tuple[list[str], int]:
    """Ids of the audits, one for each key, and how many POSTs had to be sent again."""
    waiting, ids, again = list(range(count)), dict[int, str](), 0
    target = {"base_url": vendor.base_url, "model": "m", "wire": "openai"}

    async def client(number: int) -> None:
        nonlocal again
        async with httpx.AsyncClient(headers={"authorization": f"Bearer {token}"}, timeout=ANSWER_S) as http:
            while waiting:
                each = waiting.pop(0)
                body = {"target": target, "claim": {"model": "consistent"}, "max_requests": QUESTIONS, "seed": each}
                for sent in range(1000):
                    side = (number + sent) % 2
                    url = f"http://127.0.0.1:{fleet.ports[side]}/v1/audits"
                    fleet.asking[side] += 1
                    try:
                        answer = await http.post(url, json=body, headers={"idempotency-key": f"audit-{each}"})
                    except httpx.HTTPError:
                        answer = None
                    finally:
                        fleet.asking[side] -= 1
                    if answer is not None and answer.status_code == 202:
                        ids[each] = str(answer.json()["id"])
                        break
                    assert answer is None or answer.status_code >= 500, answer.text
                    again += 1
                    await asyncio.sleep(0.1)
                await asyncio.sleep(PAUSE_S)

    await asyncio.gather(*(client(number) for number in range(CLIENTS)))
    return [ids[each] for each in range(count)], again


async def _made(store: Store) -> int:
    async with store.read() as tx:
        return sum((await audits.counts(tx)).values())
