"""The web page on a loopback port, in a thread of this process, so that a test may change its templates; and rows to show on it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import uvicorn
from fastapi import FastAPI

from api.app import create_app
from api.state import Service
from tests.service.api_client import settings
from tests.service.rows import VERDICT, new_audit, new_schedule
from verifier.report.html import render_html
from verifier.report.model import Report
from verifier.service import tokens
from verifier.service.store import audits, runs, schedules
from verifier.service.store.rows import Outcome, ReportFiles

T = TypeVar("T")
START_S = 30.0


@dataclass
class Site:
    """A running site whose audits nobody runs."""

    url: str
    app: FastAPI
    loop: asyncio.AbstractEventLoop

    @property
    def service(self) -> Service:
        return self.app.state.service  # type: ignore[no-any-return]

    def do(self, work: Callable[[Service], Awaitable[T]]) -> T:
        """Run something in the site's own event loop."""

        async def run() -> T:
            return await work(self.service)

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(60)

    def token(self, owner: str, *scopes: str) -> str:
        """A new token."""

        async def make(service: Service) -> str:
            async with service.store.write() as tx:
                return (await tokens.create(tx, owner, scopes, datetime.now(UTC))).token.get_secret_value()

        return self.do(make)

    def queued(self, **changes: Any) -> str:
        """Id of an audit that waits for a worker."""

        async def make(service: Service) -> str:
            async with service.store.write() as tx:
                return (await audits.submit(tx, new_audit(**changes), datetime.now(UTC))).audit.id

        return self.do(make)

    def running(self, looks: int = 5, **changes: Any) -> str:
        """Id of an audit that is under way, with evidence after some rounds."""
        audit_id = self.queued(**changes)

        async def begin(service: Service) -> None:
            async with service.store.write() as tx:
                claimed = await runs.claim(tx, audit_id, "worker", datetime.now(UTC))
                assert claimed is not None
                for i in range(looks):
                    weighed = {"requests": 3 * (i + 1), "log_e": 0.9 * i - 0.6, "outcome": "inconclusive"}
                    now = datetime.now(UTC)
                    await runs.heartbeat(tx, claimed.run.id, now, requests=3 * (i + 1), planned=60, weighed=weighed)

        self.do(begin)
        return audit_id

    def done(self, report: Report, outcome: Outcome | None = None, **changes: Any) -> str:
        """Id of an audit that ended with this report; `outcome` where the row is to say something else."""
        audit_id, ended = self.queued(**changes), outcome or report.outcome
        files = ReportFiles(report.to_bytes(), report.transcript, render_html(report), b"{}")

        async def finish(service: Service) -> None:
            async with service.store.write() as tx:
                claimed = await runs.claim(tx, audit_id, "worker", datetime.now(UTC))
                assert claimed is not None
                verdict, now = VERDICT | {"outcome": ended}, datetime.now(UTC)
                await runs.complete(tx, claimed.run.id, outcome=ended, verdict=verdict, files=files, requests=15, now=now)  # type: ignore[arg-type]

        self.do(finish)
        return audit_id

    def failed(self, error: str, **changes: Any) -> str:
        """Id of an audit that could not be run."""
        audit_id = self.queued(**changes)

        async def fail(service: Service) -> None:
            async with service.store.write() as tx:
                claimed = await runs.claim(tx, audit_id, "worker", datetime.now(UTC))
                assert claimed is not None
                await runs.fail(tx, claimed.run.id, error, datetime.now(UTC))

        self.do(fail)
        return audit_id

    def schedule(self, **changes: Any) -> str:
        """Id of a schedule."""

        async def make(service: Service) -> str:
            async with service.store.write() as tx:
                return (await schedules.create(tx, new_schedule(**changes), datetime.now(UTC))).id

        return self.do(make)


@contextlib.contextmanager
def site(folder: Path) -> Iterator[Site]:
    """Serve the pages with their data in `folder`; no rate stands in a test's way."""
    rates = {"token_rate": "100000/minute", "submit_rate": "100000/minute", "origin_rate": "100000/minute"}
    app = create_app(settings(folder, f"sqlite+aiosqlite:///{folder / 'truename.db'}", **rates))
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, access_log=False, timeout_graceful_shutdown=1))
    loops: list[asyncio.AbstractEventLoop] = []
    up = threading.Event()

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        serving = asyncio.create_task(server.serve())
        while not server.started and not serving.done():  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.02)
        up.set()
        await serving

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert up.wait(START_S) and server.started
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield Site(f"http://127.0.0.1:{port}", app, loops[0])
    finally:
        server.should_exit = True
        thread.join(START_S)
