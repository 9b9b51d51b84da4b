"""Load and faults of the service. Load: one `truename serve` process with its API, SQLite and queue in memory, against a vendor of 200 ms
in another process; `light` audits ask 60 plain questions one after the other (stand-in: everything but planning and evidence),
`real` ones are the suite standard, whose planning is processor time. Memory and processor time are the service's and its thinking child's.
Faults: benchmarks/faults.py. --limit: audits per part.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx

from benchmarks import faults
from benchmarks.faults import LATENCY_S
from tests.service.servers import free_port
from verifier.service import tokens
from verifier.service.steady import utc_now
from verifier.service.store import audits
from verifier.service.store.engine import Store, open_store
from verifier.service.store.rows import FINISHED, AuditRow

AT_ONCE = 50
QUESTIONS = 60
REAL_IN_FLIGHT = 4
"""Requests that a real audit has in flight (Settings.concurrency)."""
POLL_S = 0.05
FIRST_S = 120.0


def run(data: Path | None, seed: int, limit: int | None) -> dict[str, Any]:
    """Both loads and both crash suites. `limit` is the number of audits of each (light 1,000, real 50, faults 200)."""
    light = asyncio.run(_load(["benchmarks.light", "serve"], limit or 1000, "consistent", seed, 1))
    real = asyncio.run(_load(["api", "serve", "--port"], min(limit or 50, 50), "gpt-4o", seed, REAL_IN_FLIGHT))
    on_servers, embedded = faults.on_servers(limit or 200), faults.embedded(limit or 200)
    return {
        **{name: light[name] for name in ("concurrent_audits", "wall_over_ideal", "api_p95_ms", "rss_growth_mb")},
        "lost": on_servers["lost"] + embedded["lost"] + light["lost"] + real["lost"],
        "duplicated": on_servers["duplicated"] + embedded["duplicated"],
        "light": light,
        "real": real,
        "faults": {"postgresql_redis": on_servers, "embedded": embedded},
    }


def table(result: dict[str, Any]) -> str:
    """Two tables in Markdown: load, then faults."""
    lines = [
        "| load | audits | at once | wall / ideal | processor s an audit | API p50 / p95 ms | memory growth (second half), peak MB | lost |"
    ]
    lines.append("|---" * 8 + "|")
    for name in ("light", "real"):
        part = result[name]
        api = f"{part['api_p50_ms']} / {part['api_p95_ms']}"
        first = (part[each] for each in ("audits", "concurrent_audits", "wall_over_ideal", "cpu_s_per_audit"))
        memory = f"{part['rss_growth_mb']} ({part['second_half_growth_mb']}), {part['peak_mb']}"
        cells = (name, *first, api, memory, part["lost"])
        lines.append(f"| {' | '.join(str(cell) for cell in cells)} |")
    lines += ["", "| faults | audits | faults | interrupted | lost | done twice | resumed after at most |", "|---|---|---|---|---|---|---|"]
    for name, part in result["faults"].items():
        cells = (name, *(part[each] for each in ("audits", "faults", "interrupted", "lost", "duplicated", "resumed_s")))
        lines.append(f"| {' | '.join(str(cell) for cell in cells)} |")
    return "\n".join(lines)


async def _load(command: list[str], count: int, claim: str, seed: int, in_flight: int) -> dict[str, Any]:
    vendor_port, port = free_port(), free_port()
    with tempfile.TemporaryDirectory() as folder:
        async with _token(Path(folder)) as (store, token):
            with _process(["benchmarks.vendor", str(vendor_port), str(LATENCY_S)], Path(folder)):
                with _process([*command, str(port)], Path(folder)) as service:
                    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers={"authorization": f"Bearer {token}"}) as api:
                        await _ready(api)
                        target = {"base_url": f"http://127.0.0.1:{vendor_port}/v1", "model": "m", "wire": "openai"}
                        body = {"target": target, "claim": {"model": claim}, "max_requests": QUESTIONS, "early_stop": False}
                        await _submit(api, body, 1, seed)
                        await _ended(store, 1)
                        before, used = _rss_mb(service.pid), _cpu_s(service.pid)
                        ids = await _submit(api, body, count, seed + 1)
                        waits, at_once, half = await _watched(api, store, count + 1, service.pid)
                        rows = await _rows(store, ids)
                        ended, used = _rss_mb(service.pid), _cpu_s(service.pid) - used
                        memory = {"rss_growth_mb": round(ended - before, 1), "second_half_growth_mb": round(ended - half, 1)}
                        memory["peak_mb"] = round(_peak_mb(service.pid))
                        measured = _measured(rows, waits, count, in_flight)
                        return measured | memory | {"concurrent_audits": at_once, "cpu_s_per_audit": round(used / count, 2)}


def _measured(rows: list[AuditRow], waits: list[float], count: int, in_flight: int) -> dict[str, Any]:
    began = min(row.started for row in rows if row.started is not None)
    ended = max(row.finished for row in rows if row.finished is not None)
    ideal = sum(row.requests for row in rows) * LATENCY_S / (min(AT_ONCE, count) * in_flight)
    cuts = statistics.quantiles(waits, n=100)
    return {
        "audits": count,
        "requests": sum(row.requests for row in rows),
        "wall_s": round((ended - began).total_seconds(), 1),
        "ideal_s": round(ideal, 1),
        "wall_over_ideal": round((ended - began).total_seconds() / ideal, 2),
        "api_p50_ms": round(cuts[49] * 1000, 1),
        "api_p95_ms": round(cuts[94] * 1000, 1),
        "api_calls": len(waits),
        "lost": sum(row.status != "done" for row in rows),
    }


@contextlib.asynccontextmanager
async def _token(folder: Path) -> AsyncIterator[tuple[Store, str]]:
    store = await open_store(f"sqlite+aiosqlite:///{folder}/truename.db")
    try:
        async with store.write() as tx:
            made = await tokens.create(tx, "bench", ["admin"], utc_now())
        yield store, made.token.get_secret_value()
    finally:
        await store.close()


@contextlib.contextmanager
def _process(module: list[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    often = "1000000/minute"
    given = {
        "TRUENAME_DATA_DIR": str(folder),
        "TRUENAME_ALLOWED_NETWORKS": "127.0.0.0/8",
        **{f"TRUENAME_{name}_RATE": often for name in ("TOKEN", "SUBMIT", "ORIGIN")},
        "TRUENAME_ORIGIN_DAILY_REQUESTS": "1000000",
        "TRUENAME_CONCURRENT_AUDITS": str(AT_ONCE),
        "TRUENAME_LOG_LEVEL": "ERROR",
    }
    with (folder / "service.log").open("ab") as log:
        process = subprocess.Popen([sys.executable, "-m", *module], env=os.environ | given, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def _ready(api: httpx.AsyncClient) -> None:
    deadline = time.monotonic() + FIRST_S
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.HTTPError):
            if (await api.get("/readyz")).status_code == 200:
                return
        await asyncio.sleep(0.2)
    raise TimeoutError("the service does not answer")


async def _submit(api: httpx.AsyncClient, body: dict[str, Any], count: int, seed: int) -> list[str]:
    ids = []
    for number in range(count):
        answer = await api.post("/v1/audits", json=body | {"seed": seed + number}, timeout=30)
        answer.raise_for_status()
        ids.append(str(answer.json()["id"]))
    return ids


async def _watched(api: httpx.AsyncClient, store: Store, wanted: int, pid: int) -> tuple[list[float], int, float]:
    """List audits until all have ended. Gives the seconds of each call, the most audits that ran at once, and the memory at half time."""
    waits: list[float] = []
    at_once, half = 0, 0.0
    while True:
        began = time.perf_counter()
        (await api.get("/v1/audits", params={"limit": 20}, timeout=30)).raise_for_status()
        waits.append(time.perf_counter() - began)
        async with store.read() as tx:
            counts = await audits.counts(tx)
        at_once = max(at_once, counts["running"])
        done = sum(counts[status] for status in FINISHED)
        if not half and 2 * done >= wanted:
            half = _rss_mb(pid)
        if done >= wanted:
            return waits, at_once, half
        await asyncio.sleep(POLL_S)


async def _ended(store: Store, wanted: int) -> None:
    while True:
        async with store.read() as tx:
            counts = await audits.counts(tx)
        if sum(counts[status] for status in FINISHED) >= wanted:
            return
        await asyncio.sleep(0.2)


async def _rows(store: Store, ids: list[str]) -> list[AuditRow]:
    async with store.read() as tx:
        found = [await audits.get(tx, each) for each in ids]
    return [row for row in found if row is not None]


def _rss_mb(pid: int) -> float:
    """Memory of a process and its children in MB (pages that they share count for each)."""
    return sum(int(_status(each)["VmRSS"].split()[0]) for each in _family(pid)) / 1000


def _peak_mb(pid: int) -> float:
    """The most that it and its children have had, each at its own time."""
    return sum(int(_status(each)["VmHWM"].split()[0]) for each in _family(pid)) / 1000


def _cpu_s(pid: int) -> float:
    """Processor seconds that a process and its children have used, all threads together."""
    return sum(int(field) for each in _family(pid) for field in _stat(each)[11:13]) / os.sysconf("SC_CLK_TCK")


def _family(pid: int) -> list[int]:
    """A process and its children."""
    everyone = (int(each.name) for each in Path("/proc").iterdir() if each.name.isdigit())
    return [pid, *(each for each in everyone if each != pid and _parent(each) == pid)]


def _parent(pid: int) -> int | None:
    with contextlib.suppress(OSError):  # it ended meanwhile
        return int(_stat(pid)[1])
    return None


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the third on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)
