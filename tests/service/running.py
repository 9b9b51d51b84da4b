"""A running service for tests: settings, an open store, a worker in this event loop, and a vendor that it may ask."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.vendor import Vendor
from verifier.service import submitting
from verifier.service.requested import read_request
from verifier.service.secrets import Keyring, open_keyring
from verifier.service.settings import ServiceSettings
from verifier.service.steady import utc_now
from verifier.service.store import audits
from verifier.service.store.engine import Store
from verifier.service.store.rows import FINISHED, AuditRow
from verifier.service.submitting import Accepted
from verifier.service.worker import Worker, embedded

CANARY = "sk-canary-7f3a9b2c4d5e6f708192"


@dataclass
class Running:
    """What a test works with."""

    settings: ServiceSettings
    store: Store
    keyring: Keyring
    vendor: Vendor

    async def submit(self, claim: str | None = "gpt-4o", owner: str = "alice", webhook: str | None = None, **more: Any) -> Accepted:
        """Queue an audit of the vendor."""
        async with self.store.write() as tx:
            requested = read_request(self.body(claim, webhook=webhook, **more))
            return await submitting.submit(tx, self.keyring, self.settings, requested, owner, utc_now())

    def body(self, claim: str | None = "gpt-4o", **more: Any) -> dict[str, Any]:
        """A request to audit the vendor."""
        target = {"base_url": self.vendor.base_url, "model": "m", "wire": "openai", "api_key": CANARY}
        return {"target": target, "claim": {"model": claim} if claim else None, "suite": "quick", "seed": 1} | more

    async def audit(self, audit_id: str) -> AuditRow:
        """One audit's row."""
        async with self.store.read() as tx:
            found = await audits.get(tx, audit_id)
        assert found is not None
        return found

    async def ended(self, audit_id: str) -> AuditRow:
        """The audit once it has ended."""
        return await self.until(audit_id, lambda row: row.status in FINISHED)

    async def until(self, audit_id: str, holds: Callable[[AuditRow], bool], seconds: float = 60.0) -> AuditRow:
        """The audit once `holds` is true of it. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while not holds(row := await self.audit(audit_id)):  # noqa: ASYNC110 - the database is the only place that tells
                await asyncio.sleep(0.02)
            return row

    @contextlib.asynccontextmanager
    async def worker(self) -> AsyncIterator[Worker]:
        """A worker in this event loop."""
        async with embedded(self.settings, self.store) as worker:
            yield worker


async def eventually(holds: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait until something in this process holds. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 - looks at what has no event
            await asyncio.sleep(0.01)


def make_running(settings: ServiceSettings, store: Store, vendor: Vendor) -> Running:
    """The parts together."""
    return Running(settings, store, open_keyring(settings), vendor)
