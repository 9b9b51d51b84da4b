"""Webhooks: what they tell and when, how they are signed, how often they are tried, and where they never go."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from tests.service.rows import NOW, new_audit
from tests.service.running import Running, eventually
from verifier.endpoint.guard import service_policy
from verifier.endpoint.post import post
from verifier.errors import CannotRunError, TargetRefusedError
from verifier.service import webhooks
from verifier.service.keys import new_key
from verifier.service.secrets import Binding, Keyring, keep
from verifier.service.store import audits, outbox
from verifier.service.store.engine import Store
from verifier.service.store.rows import OutboxRow

SECRET = SecretStr("whsec_test")
LOOPBACK = service_policy(("127.0.0.0/8",))


@dataclass
class Receiver:
    """What a webhook's server saw."""

    url: str = ""
    status: int = 200
    connections: int = 0
    heads: list[dict[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)


@contextlib.asynccontextmanager
async def receiving(extra: str = "") -> AsyncIterator[Receiver]:
    """A server on loopback that answers with `status`."""
    seen = Receiver()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
            seen.heads.append({"line": head[0], **fields})
            seen.bodies.append(await reader.readexactly(int(fields.get("content-length", "0"))))
            writer.write(f"HTTP/1.1 {seen.status} X\r\n{extra}content-length: 0\r\nconnection: close\r\n\r\n".encode())
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    seen.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    async with server:
        yield seen


@pytest.fixture
def keyring() -> Keyring:
    return Keyring([new_key()])


async def queued(store: Store, keyring: Keyring, url: str, body: bytes = b'{"text":"x"}', *, secret: bool = True) -> OutboxRow:
    async with store.write() as tx:
        audit = (await audits.submit(tx, new_audit(), NOW)).audit
        if secret:
            await keep(tx, keyring, SECRET, Binding("alice", audit.id, "webhook", webhooks.origin_of(url)))
        return await outbox.add(tx, "alice", url, body, NOW, audit_id=audit.id, key_holder=audit.id)


async def now_of(store: Store, row: OutboxRow) -> OutboxRow:
    async with store.read() as tx:
        (found,) = await outbox.of_audit(tx, row.audit_id or "")
    return found


def at(seconds: float = 0) -> Any:
    return lambda: NOW + timedelta(seconds=seconds)


async def test_a_notification_is_posted_as_it_was_written_and_signed(store: Store, keyring: Keyring) -> None:
    body = '{"text":"모델이 바뀌었습니다"}'.encode()
    async with receiving() as seen:
        row = await queued(store, keyring, seen.url, body)
        assert await webhooks.deliver(store, keyring, LOOPBACK, at()) == 1
        assert await webhooks.deliver(store, keyring, LOOPBACK, at(5)) == 0
    assert seen.bodies == [body]
    head = seen.heads[0]
    assert head["line"] == "POST /hook HTTP/1.1" and head["content-type"] == "application/json"
    assert head["truename-notification"] == row.id
    assert webhooks.verify(SECRET, body, head["truename-signature"], NOW.timestamp())
    assert (await now_of(store, row)).done is not None


@pytest.mark.parametrize("change", ["body", "secret", "time", "old", "future", "form"])
def test_a_signature_holds_for_this_body_this_secret_and_five_minutes(change: str) -> None:
    header = webhooks.signature(SECRET, b"body", 1_000)
    assert webhooks.verify(SECRET, b"body", header, 1_000)
    given: dict[str, tuple[SecretStr, bytes, str, float]] = {
        "body": (SECRET, b"Body", header, 1_000),
        "secret": (SecretStr("whsec_other"), b"body", header, 1_000),
        "time": (SECRET, b"body", header.replace("t=1000", "t=1001"), 1_000),
        "old": (SECRET, b"body", header, 1_301),
        "future": (SECRET, b"body", header, 699),
        "form": (SECRET, b"body", "v1=é", 1_000),
    }
    assert not webhooks.verify(*given[change])


def test_the_snippet_in_the_documentation_accepts_what_we_sign_and_nothing_else() -> None:
    page = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text(encoding="utf-8")
    (snippet,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    exec(snippet, names)
    now = int(time.time())
    header = webhooks.signature(SECRET, b'{"a":1}', now)
    assert names["genuine"]("whsec_test", header, b'{"a":1}')
    assert not names["genuine"]("whsec_test", header, b'{"a":2}')
    assert not names["genuine"]("whsec_other", header, b'{"a":1}')
    assert not names["genuine"]("whsec_test", webhooks.signature(SECRET, b'{"a":1}', now - 301), b'{"a":1}')


def test_the_documentation_names_every_wait_and_the_fields_of_a_notification() -> None:
    page = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text(encoding="utf-8")
    assert "5 s, 30 s, 2 min, 10 min, 30 min,\n1 h, 2 h and 4 h" in page
    assert [wait.total_seconds() for wait in webhooks.WAITS] == [5, 30, 120, 600, 1800, 3600, 7200, 14400]
    told = json.loads(webhooks.finished(_audit(), "inconsistent", {"e_value": 1e6}, "0" * 64, "consistent", NOW))
    assert all(f'"{name}"' in page for name in told)
    assert all(f'"{name}"' in page for name in (*told["audit"], *told["verdict"]))


async def test_a_receiver_that_fails_is_tried_again_with_growing_pauses_and_given_up_in_the_end(store: Store, keyring: Keyring) -> None:
    async with receiving() as seen:
        seen.status = 500
        row, moment = await queued(store, keyring, seen.url), NOW
        waits = []
        while (row := await now_of(store, row)).failed is None:
            waits.append((row.next_try - moment).total_seconds())
            moment = row.next_try
            assert await webhooks.deliver(store, keyring, LOOPBACK, lambda when=moment: when) == 1  # type: ignore[misc]
    assert waits == [0, 5, 30, 120, 600, 1800, 3600, 7200, 14400]
    assert seen.connections == 9
    assert row.last_error == "HTTP 500"


async def test_a_receiver_that_recovers_gets_the_same_notification_under_a_new_time(store: Store, keyring: Keyring) -> None:
    async with receiving() as seen:
        seen.status = 503
        row = await queued(store, keyring, seen.url)
        await webhooks.deliver(store, keyring, LOOPBACK, at())
        seen.status = 204
        await webhooks.deliver(store, keyring, LOOPBACK, at(6))
    assert (await now_of(store, row)).done is not None
    assert seen.bodies[0] == seen.bodies[1]
    assert seen.heads[0]["truename-notification"] == seen.heads[1]["truename-notification"]
    assert seen.heads[0]["truename-signature"] != seen.heads[1]["truename-signature"]


async def test_gone_is_not_tried_again(store: Store, keyring: Keyring) -> None:
    async with receiving() as seen:
        seen.status = 410
        row = await queued(store, keyring, seen.url)
        await webhooks.deliver(store, keyring, LOOPBACK, at())
    assert (await now_of(store, row)).failed is not None


async def test_a_redirect_is_not_followed(store: Store, keyring: Keyring) -> None:
    async with receiving() as inner, receiving(f"location: {inner.url}\r\n") as outer:
        outer.status = 307
        row = await queued(store, keyring, outer.url)
        await webhooks.deliver(store, keyring, LOOPBACK, at())
    assert inner.connections == 0
    assert (await now_of(store, row)).last_error == "HTTP 307"


async def test_a_private_address_is_never_connected_to(store: Store, keyring: Keyring) -> None:
    async with receiving() as seen:
        port = httpx.URL(seen.url).port
        hosts = ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433", "0.0.0.0", "[::1]")
        rows = [await queued(store, keyring, f"http://{host}:{port}/hook") for host in hosts]
        await webhooks.deliver(store, keyring, service_policy(), at())
    assert seen.connections == 0
    for row in rows:
        found = await now_of(store, row)
        assert found.failed is not None and (found.last_error or "").startswith("the webhook's address is refused")


@pytest.mark.parametrize("address", ["169.254.169.254", "168.63.129.16", "[fd00:ec2::254]", "metadata.google.internal"])
async def test_metadata_is_refused_to_webhooks_even_where_its_network_is_allowed(address: str) -> None:
    with pytest.raises((TargetRefusedError, CannotRunError)):
        await post(f"http://{address}/hook", service_policy(("10.0.0.0/8",)), b"{}", {}, timeout_s=2)


async def test_a_receiver_that_never_answers_is_left_after_the_time(store: Store) -> None:
    async with contextlib.AsyncExitStack() as stack:
        release = asyncio.Event()

        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await release.wait()
            writer.close()

        server = await stack.enter_async_context(await asyncio.start_server(silent, "127.0.0.1", 0))
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/secret-path?token=x"
        with pytest.raises(CannotRunError, match=r"127\.0\.0\.1: no answer within 0\.2 seconds") as raised:
            await post(url, LOOPBACK, b"{}", {}, timeout_s=0.2)
        release.set()
    assert "secret-path" not in str(raised.value) and "token" not in str(raised.value)


async def test_a_secret_signs_only_for_the_origin_that_it_was_made_for(store: Store, keyring: Keyring) -> None:
    async with receiving() as first, receiving() as second:
        row = await queued(store, keyring, first.url)
        async with store.write() as tx:
            moved = await outbox.add(tx, "alice", second.url, b"{}", NOW, audit_id=row.audit_id, key_holder=row.key_holder)
        await webhooks.deliver(store, keyring, LOOPBACK, at())
    assert (first.connections, second.connections) == (1, 0)
    async with store.read() as tx:
        found = {each.id: each for each in await outbox.of_audit(tx, row.audit_id or "")}
    assert found[moved.id].failed is not None


async def test_a_notification_whose_secret_is_gone_is_not_sent_unsigned(store: Store, keyring: Keyring) -> None:
    async with receiving() as seen:
        await queued(store, keyring, seen.url, secret=False)
        await webhooks.deliver(store, keyring, LOOPBACK, at())
    assert seen.connections == 0


@pytest.mark.parametrize(
    ("notify_on", "before", "outcome", "wanted"),
    [
        ("change", None, "consistent", False),
        ("change", None, "inconclusive", False),
        ("change", None, "inconsistent", True),
        ("change", "consistent", "consistent", False),
        ("change", "consistent", "inconclusive", True),
        ("change", "inconsistent", "consistent", True),
        ("inconsistent", "inconsistent", "inconsistent", True),
        ("inconsistent", "inconsistent", "consistent", False),
        ("always", "consistent", "consistent", True),
    ],
)
def test_a_schedule_tells_what_its_owner_wants_to_hear(notify_on: Any, before: Any, outcome: Any, wanted: bool) -> None:
    assert webhooks.wanted(notify_on, before, outcome) is wanted


def test_the_text_is_escaped_for_slack_and_keeps_korean() -> None:
    claim = "<!channel> & 모델"
    told = json.loads(webhooks.finished(_audit(claim=claim), "inconsistent", {}, "0" * 64, "consistent", NOW))
    assert told["text"].startswith("Truename: https://api.example.com, claimed as &lt;!channel&gt; &amp; 모델: inconsistent (before: cons")
    assert told["audit"]["claim"] == claim


@pytest.mark.redis
async def test_a_finished_and_a_failed_audit_tell_their_webhook(running: Running) -> None:
    async with receiving() as seen, running.worker():
        made = await running.submit("inconsistent", webhook=seen.url)
        await running.ended(made.audit.id)
        running.vendor.status = 500
        failed = await running.submit(webhook=seen.url)
        await running.ended(failed.audit.id)
        await eventually(lambda: len(seen.bodies) == 2)
    told = {json.loads(body)["event"]: (json.loads(body), head) for body, head in zip(seen.bodies, seen.heads, strict=True)}
    body, head = told["audit.finished"]
    assert (body["outcome"], body["audit"]["id"]) == ("inconsistent", made.audit.id)
    assert made.webhook_secret is not None and failed.webhook_secret is not None
    raw = next(body for body in seen.bodies if made.audit.id.encode() in body)
    assert webhooks.verify(made.webhook_secret, raw, head["truename-signature"], time.time())
    assert not webhooks.verify(failed.webhook_secret, raw, head["truename-signature"], time.time())
    assert "HTTP 500" in told["audit.failed"][0]["error"]


def _audit(**changes: Any) -> Any:
    from verifier.service.store.rows import AuditRow

    values: dict[str, Any] = {name: None for name in AuditRow.__dataclass_fields__}
    new = new_audit()
    return AuditRow(**(values | {"id": "aud_1", "origin": new.origin, "claim": new.claim, "suite": new.suite} | changes))
