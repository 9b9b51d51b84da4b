"""No hostile URL that is submitted to the service makes it connect where it must not: as target, as reference or as webhook.

Everything goes through the real API, store, queue, executor and outbox; only name lookups are answered by a stub. Canaries are real
listening sockets that count accepted connections. Controls show that the same paths do connect where the guard is out of the way.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gzip
import itertools
import shutil
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.egress.hostile import (
    HOSTILE,
    NOTHING,
    PRIVATE_NAMES,
    REBOUND,
    SAYS_OK,
    Behaviour,
    Service,
    Site,
    answer,
    every_connection_lands_on,
    service,
    serving,
)
from tests.egress.test_egress_cli import Names
from verifier.endpoint import guard
from verifier.endpoint.post import post
from verifier.service import submitting, webhooks
from verifier.service.requested import read_request
from verifier.service.steady import utc_now

KEY = "Zx7qvCanaryTargetKey4Kd92mWx"
ROLES = ["target", "reference", "webhook"]
NOWHERE = "https://nowhere.example/v1"


def naming(role: str, url: str, other: str, **more: Any) -> dict[str, Any]:
    """A request in which `url` has that role; where it is not the target, `other` is."""
    target = {"base_url": other, "model": "m", "wire": "openai", "api_key": KEY}
    body: dict[str, Any] = {"target": target, "suite": "quick", "seed": 1, "max_requests": 4} | more
    if role == "target":
        return body | {"target": target | {"base_url": url}, "claim": {"model": "gpt-4o"}}
    if role == "reference":
        return body | {"reference": target | {"base_url": url}}
    return body | {"claim": {"model": "gpt-4o"}, "webhook": url}


def beside(role: str, running: Service) -> str:
    """A target for a request about another role: for a reference one that answers; for a webhook one that fails at once, and is told."""
    return NOWHERE if role == "webhook" else running.vendor.base_url


async def came_of(running: Service, role: str, audit_id: str) -> str:
    """Why the audit failed; for a webhook, why its notification did not go out."""
    row = await running.ended(audit_id)
    assert row.status == "failed" and row.error is not None, row
    if role != "webhook":
        return row.error
    told = await running.told(audit_id)
    assert told.done is None and told.last_error is not None
    return told.last_error


@pytest.fixture
def database(migrated_sqlite: Path, tmp_path: Path) -> str:
    return f"sqlite+aiosqlite:///{shutil.copy(migrated_sqlite, tmp_path)}"


@pytest.fixture
async def canary() -> AsyncIterator[Site]:
    async with serving(NOTHING) as site:
        yield site


@pytest.mark.parametrize("role", ROLES)
async def test_no_hostile_url_is_connected_to(
    role: str, canary: Site, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(HOSTILE) >= 40 and len(set(HOSTILE + REBOUND)) == len(HOSTILE + REBOUND)
    monkeypatch.setattr(socket, "getaddrinfo", Names(PRIVATE_NAMES))
    queued, refused = {}, 0
    async with service(tmp_path, database, monkeypatch) as running:
        meant = every_connection_lands_on(canary, monkeypatch, [running.vendor.port])
        for url in HOSTILE:
            found = await running.submit(naming(role, url, NOWHERE))
            if found.status_code == 202:
                queued[found.json()["id"]] = url
                continue
            refused += 1
            assert found.status_code == 422 and found.headers["content-type"] == "application/problem+json", (url, found.text)
            assert found.json()["code"] in ("target-refused", "invalid-request") and KEY not in found.text
        for url in REBOUND:
            queued[await running.accepted(naming(role, url, NOWHERE))] = url
        for audit_id, url in queued.items():
            problem = await came_of(running, role, audit_id)
            assert KEY not in problem
            assert url not in REBOUND or "refused" in problem, (url, problem)
    assert refused >= 40
    assert canary.accepts == 0 and meant == []


@pytest.mark.parametrize("role", ROLES)
async def test_control_without_the_guard_the_canary_is_connected_to(
    role: str, canary: Site, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard.GuardPolicy, "check_url", lambda *_: None)
    monkeypatch.setattr(guard, "_GuardedTransport", lambda *_: httpx.AsyncHTTPTransport(trust_env=False))
    monkeypatch.setattr(socket, "getaddrinfo", Names(PRIVATE_NAMES))
    async with service(tmp_path, database, monkeypatch) as running:
        every_connection_lands_on(canary, monkeypatch, [running.vendor.port])
        for url in ("http://169.254.169.254/v1", "http://azure.example/v1"):
            before = canary.accepts
            audit_id = await running.accepted(naming(role, url, running.vendor.base_url))
            await running.ended(audit_id)
            if role == "webhook":
                await running.told(audit_id)
            assert canary.accepts > before


class Moving:
    """Answers for moving.example with each address in turn, for all other names as Names does."""

    def __init__(self, *addresses: str) -> None:
        self.answers, self.lookups = itertools.cycle(addresses), 0

    def __call__(self, host: str | bytes, port: int, *rest: Any) -> list[Any]:
        if host not in ("moving.example", b"moving.example"):
            return Names({})(host, port, *rest)
        self.lookups += 1
        return Names({})(next(self.answers), port, *rest)


@pytest.mark.parametrize("allowed", ["127.0.0.1/32", "127.0.0.0/8"])
@pytest.mark.parametrize("role", ROLES)
async def test_a_name_that_moves_between_lookups_reaches_only_what_is_allowed(
    role: str, allowed: str, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moving = Moving("127.0.0.1", "127.0.0.2")
    monkeypatch.setattr(socket, "getaddrinfo", moving)
    async with (
        serving(SAYS_OK) as open_site,
        serving(SAYS_OK, "127.0.0.2", open_site.port) as closed,
        service(tmp_path, database, monkeypatch, (allowed,)) as running,
    ):
        url = open_site.url(host="moving.example")
        for _ in range(2):
            audit_id = await running.accepted(naming(role, url, beside(role, running)))
            await running.ended(audit_id)
            if role == "webhook":
                await running.told(audit_id)
    assert moving.lookups >= 2 and open_site.accepts >= 1
    assert (closed.accepts > 0) == (allowed == "127.0.0.0/8")


@pytest.mark.parametrize("role", ROLES)
async def test_no_redirect_is_followed(role: str, canary: Site, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with service(tmp_path, database, monkeypatch, ("127.0.0.0/8",)) as running:
        monkeypatch.setattr(socket, "getaddrinfo", Names({}))
        for status in (301, 302, 303, 307, 308):
            reply = f"HTTP/1.1 {status} Go\r\nlocation: {canary.url()}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            async with serving(answer(reply.encode())) as redirecting:
                problem = await came_of(running, role, await running.accepted(naming(role, redirecting.url(), beside(role, running))))
                assert redirecting.accepts >= 1 and f"HTTP {status}" in problem
    assert canary.accepts == 0


async def test_control_a_client_that_follows_redirects_reaches_the_canary(canary: Site) -> None:
    reply = f"HTTP/1.1 307 Go\r\nlocation: {canary.url()}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    async with serving(answer(reply.encode())) as redirecting, httpx.AsyncClient(follow_redirects=True, trust_env=False) as client:
        await client.post(redirecting.url())
    assert canary.accepts == 1


async def test_proxies_of_the_environment_are_ignored(canary: Site, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, canary.url(""))
        monkeypatch.setenv(name.lower(), canary.url(""))
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    async with serving(NOTHING) as receiver, service(tmp_path, database, monkeypatch, ("127.0.0.0/8",)) as running:
        body = naming("reference", running.vendor.base_url, running.vendor.base_url, webhook=receiver.url("/hook"))
        audit_id = await running.accepted(body)
        assert (await running.ended(audit_id)).status == "done"
        assert (await running.told(audit_id)).done is not None
        assert running.vendor.requests >= 2 and receiver.accepts == 1
        assert canary.accepts == 0
        async with httpx.AsyncClient(trust_env=True) as control:
            await control.get(receiver.url())
    assert (receiver.accepts, canary.accepts) == (1, 1)


def _forever(head: bytes, piece: bytes, pause_s: float = 0.0) -> Behaviour:
    async def behave(site: Site, writer: asyncio.StreamWriter, asked: bytes) -> None:
        await site.send(writer, head)
        while True:
            await site.send(writer, piece)
            await asyncio.sleep(pause_s)

    return behave


async def _silent(site: Site, writer: asyncio.StreamWriter, asked: bytes) -> None:
    await asyncio.Event().wait()


OK = b"HTTP/1.1 200 OK\r\n"
CHUNK = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"' + b"x" * 4000 + b'"}}]}\n\n'
BOMB = gzip.compress(bytes(20_000_000))
HEAD_ENDS = ["gzip bomb", "endless stream", "endless line", "endless JSON", "slow drip", "endless error"]
"""These give a whole head, which is all that a webhook is asked for."""
BEHAVIOURS: dict[str, tuple[Behaviour, str]] = {
    "gzip bomb": (_forever(OK + b"content-encoding: gzip\r\ncontent-type: application/json\r\n\r\n", BOMB), "bad-encoding"),
    "endless stream": (_forever(OK + b"content-type: text/event-stream\r\n\r\n", CHUNK * 16), "too-large"),
    "endless line": (_forever(OK + b"content-type: text/event-stream\r\n\r\ndata: ", b"x" * 65_536), "too-large"),
    "endless JSON": (_forever(OK + b'content-type: application/json\r\n\r\n{"a":"', b"x" * 65_536), "too-large"),
    "slow drip": (_forever(OK + b"content-length: 1000000\r\n\r\n", b" ", 0.02), "timeout"),
    "endless error": (_forever(b"HTTP/1.1 500 No\r\n\r\n", b"x" * 65_536), "server-error"),
    "slow head": (_forever(OK + b"x-slow: ", b"x", 0.02), "timeout"),
    "giant headers": (_forever(OK, b"x-giant: " + b"x" * 65_536 + b"\r\n"), "too-large"),
    "endless interim": (_forever(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1000), "timeout"),
    "silence": (_silent, "timeout"),
}
MOST_SENT = 16_000_000
"""Bytes of one connection: the caps on what is read, and what the sockets of loopback hold unread."""
MOST_GROWTH = 150_000_000


def resident() -> int:
    """Bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.parametrize("role", ROLES)
async def test_a_reply_that_never_ends_or_swells_is_left_in_time(
    role: str, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The API leaves the time of one request at its default of 25 s; here it is one second, for the webhook's too.
    monkeypatch.setattr(webhooks, "deliver", functools.partial(webhooks.deliver, send=functools.partial(post, timeout_s=1.0)))
    chosen = [name for name in BEHAVIOURS if role != "reference" or name in ("gzip bomb", "endless stream", "slow drip")]
    async with contextlib.AsyncExitStack() as stack:
        running = await stack.enter_async_context(service(tmp_path, database, monkeypatch, ("127.0.0.0/8",)))
        sites = {name: await stack.enter_async_context(serving(BEHAVIOURS[name][0])) for name in chosen}
        monkeypatch.setattr(socket, "getaddrinfo", Names({}))
        before, began = resident(), time.monotonic()
        queued = {name: await hurried(running, naming(role, site.url(), beside(role, running))) for name, site in sites.items()}
        for name, audit_id in queued.items():
            if role == "webhook" and name in HEAD_ENDS[:-1]:
                await running.ended(audit_id)
                assert (await running.told(audit_id)).done is not None
                continue
            problem = await came_of(running, role, audit_id)
            if role != "webhook":
                assert BEHAVIOURS[name][1] in problem, (name, problem)
            assert "\n" not in problem and len(problem) < 600
        assert time.monotonic() - began < 60
        assert resident() - before < MOST_GROWTH
        for name, site in sites.items():
            assert site.accepts and site.sent <= MOST_SENT * site.accepts, (name, site.accepts, site.sent)


async def hurried(running: Service, body: dict[str, Any]) -> str:
    """Submit what the API's body says with a second for each request, and give the audit's id."""
    requested, held = read_request(body | {"timeout_s": 1.0, "max_requests": 2}), running.api.service
    async with held.store.write() as tx:
        return (await submitting.submit(tx, held.keyring, held.settings, requested, "alice", utc_now())).audit.id
