"""Hostile URLs, hostile servers and a service that is given them: tools of the service's egress bench.

A `Site` is a real listening socket that counts the connections it accepts. `every_connection_lands_on` sends each connection of the
guarded client to one Site, whatever address was meant, so that a single accept is a leak; what is listed as home is left alone.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from pydantic import SecretStr

from benchmarks.vendor import Vendor
from tests.egress.test_egress_cli import LITERALS, METADATA_NAMES, WHOLE_URLS
from tests.service.api_client import Api, settings, started
from verifier.service import execute, jobs
from verifier.service.store import audits, outbox
from verifier.service.store.rows import FINISHED, AuditRow, OutboxRow
from verifier.service.worker import embedded

PRIVATE = [
    *("127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "127.255.255.254", "localhost.", "[::1]", "[::ffff:127.0.0.1]"),
    *("[::7f00:1]", "[64:ff9b::7f00:1]", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "[fd00::1]", "[::ffff:10.0.0.1]"),
    *("198.18.0.1", "192.0.2.1", "[2001:db8::1]"),
]
"""What the command line may reach and a service that connects for strangers may not."""

OTHER_PORTS = [f"93.184.215.14:{port}" for port in (22, 23, 25, 53, 110, 389, 445, 2375, 2379, 3306, 5432, 6379, 9200, 11211, 27017)]

PRIVATE_NAMES = METADATA_NAMES | {
    "localhost": ["127.0.0.1"],
    "localhost6.example": ["::1"],
    "intranet.example": ["10.0.0.7"],
    "router.example": ["192.168.0.1"],
    "shared-space.example": ["100.64.0.1"],
    "unique-local.example": ["fd00::1"],
    "mapped-loopback.example": ["::ffff:127.0.0.1"],
    "half-public.example": ["93.184.215.14", "127.0.0.1"],
}

HOSTILE = [f"http://{host}/v1" for host in (*LITERALS, *PRIVATE, *OTHER_PORTS)]
HOSTILE += [f"https://{host}/v1" for host in (*LITERALS[:6], *PRIVATE[:4])] + WHOLE_URLS
REBOUND = [f"{scheme}://{name}{port}/v1" for name in PRIVATE_NAMES for scheme, port in (("http", ""), ("https", ":8443"))]

Behaviour = Callable[["Site", asyncio.StreamWriter, bytes], Awaitable[None]]


@dataclass
class Site:
    """A server on loopback: what it accepted, was asked and managed to send."""

    behave: Behaviour
    host: str = "127.0.0.1"
    port: int = 0
    accepts: int = 0
    sent: int = 0
    asked: list[bytes] = field(default_factory=list)

    def url(self, path: str = "/v1", host: str | None = None) -> str:
        return f"http://{host or self.host}:{self.port}{path}"

    async def send(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        writer.write(data)
        await writer.drain()
        self.sent += len(data)


@contextlib.asynccontextmanager
async def serving(behave: Behaviour, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Site]:
    """A Site that listens. Each connection is for one request; open ones are cut at the end."""
    site, tasks = Site(behave, host), set[asyncio.Task[None]]()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        site.accepts += 1
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next((line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), b"0")
            asked = head + await reader.readexactly(int(length))
            site.asked.append(asked)
            await site.behave(site, writer, asked)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, OSError):
            pass
        finally:
            tasks.discard(task)
            writer.transport.abort()

    server = await asyncio.start_server(talk, host, port)
    site.port = server.sockets[0].getsockname()[1]
    try:
        yield site
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


def answer(data: bytes) -> Behaviour:
    """Always the same bytes, after which the connection ends."""

    async def behave(site: Site, writer: asyncio.StreamWriter, asked: bytes) -> None:
        await site.send(writer, data)
        writer.close()

    return behave


NOTHING = answer(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")
_SAID = (
    b'{"id":"c","object":"chat.completion","created":0,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"OK"},'
    b'"finish_reason":"stop"}],"usage":{"prompt_tokens":8,"completion_tokens":1}}'
)
SAYS_OK = answer(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(_SAID) + _SAID)
"""A model on the OpenAI wire that says OK, one request a connection."""


def every_connection_lands_on(site: Site, patch: pytest.MonkeyPatch, home: Iterable[int] = ()) -> list[tuple[str, int]]:
    """Give the list of addresses that were meant. Ports of `home` on 127.0.0.1 are connected to as they are."""
    meant: list[tuple[str, int]] = []
    real, spared = anyio.connect_tcp, {("127.0.0.1", port) for port in home}

    async def anywhere(remote_host: Any, remote_port: int, **options: Any) -> Any:
        if (str(remote_host), remote_port) in spared:
            return await real(remote_host, remote_port, **options)
        meant.append((str(remote_host), remote_port))
        return await real(site.host, site.port)

    patch.setattr(anyio, "connect_tcp", anywhere)
    return meant


@dataclass(frozen=True, slots=True)
class Service:
    """The whole service, API and worker, in this event loop."""

    api: Api
    vendor: Vendor

    async def submit(self, body: dict[str, Any]) -> httpx.Response:
        return await self.api.call("alice:submit", "POST", "/v1/audits", json=body)

    async def accepted(self, body: dict[str, Any]) -> str:
        found = await self.submit(body)
        assert found.status_code == 202, found.text
        return str(found.json()["id"])

    async def audit(self, audit_id: str) -> AuditRow:
        async with self.api.service.store.read() as tx:
            row = await audits.get(tx, audit_id)
        assert row is not None
        return row

    async def ended(self, audit_id: str, seconds: float = 90.0) -> AuditRow:
        """The audit once it has ended. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while (row := await self.audit(audit_id)).status not in FINISHED:  # noqa: ASYNC110 - only the database tells
                await asyncio.sleep(0.05)
            return row

    async def told(self, audit_id: str, seconds: float = 60.0) -> OutboxRow:
        """The audit's notification once its delivery was tried. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while True:
                async with self.api.service.store.read() as tx:
                    found = await outbox.of_audit(tx, audit_id)
                if found and (found[0].done or found[0].failed or found[0].last_error):
                    return found[0]
                await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def service(
    folder: Path, database_url: str, patch: pytest.MonkeyPatch, allowed: tuple[str, ...] = (), queue: str = "memory://"
) -> AsyncIterator[Service]:
    """A service with nothing in its way but the guard: no rates, quick ticks."""
    patch.setattr(execute, "BEAT_S", 0.2)
    patch.setattr(jobs, "TICK", timedelta(milliseconds=100))
    given = settings(
        folder,
        database_url,
        redis_url=SecretStr(queue),
        allowed_networks=allowed,
        token_rate="100000/minute",
        submit_rate="100000/hour",
        origin_rate="100000/hour",
        origin_daily_requests=100_000,
    )
    async with Vendor() as vendor, started(given) as api, contextlib.AsyncExitStack() as stack:
        if not given.embedded:  # the application leaves the work to processes of their own
            await stack.enter_async_context(embedded(given, api.service.store))
        yield Service(api, vendor)
