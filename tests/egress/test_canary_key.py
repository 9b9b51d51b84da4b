"""A key that is given to the service is found again in the requests to its own origin and nowhere else.

The vendor quotes every secret that it is sent in its answers, its headers, its errors and its redirects; the executor breaks with the
key in its hands. Then everything that the service keeps, says or logs is searched. The keys have no shape that a filter could know.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import io
import json
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
from docket._redis_memory import get_or_create_memory_client
from sqlalchemy import select, text

from tests.egress.hostile import NOTHING, Service, Site, service, serving
from verifier.service import execute, prepare
from verifier.service.store.models import metadata
from verifier.service.telemetry import configure_logging
from verifier.transcript import Transcript

KEYS = {
    "api key": "Zx7qvCanaryTargetKey4Kd92mWx",
    "header": "Hn3wtCanaryHeaderPq81zRb55Lc",
    "query": "Qf5mdCanaryQuerySv20kXn77Gt",
    "reference key": "Rj9ybCanaryReferenceWu64cDe",
}
WEBHOOK_PATH = "Wp2hsCanaryWebhookPathTz38aYm"
"""Kept with the audit, because notifications are sent there, and told to nobody."""
LEAST_SPLIT = 9
"""Characters of a streamed piece: shorter than every key, so that each runs over several."""


async def echo(site: Site, writer: asyncio.StreamWriter, asked: bytes) -> None:
    """Answer with everything that was sent, in another place each time."""
    head, _, body = asked.partition(b"\r\n\r\n")
    said = " ".join(line for line in head.decode().split("\r\n") if "anary" in line)
    turn = len(site.asked)
    if turn % 5 == 3:
        error = json.dumps({"error": {"message": f"I was sent {said}", "code": said, "type": said}})
        await _reply(site, writer, "400 Bad", "application/json", error, said)
    elif turn % 11 == 6:
        await _reply(
            site, writer, "302 Go", "text/html", said, said, f"location: https://{said.split()[-1]}.example/{said.split()[-1]}\r\n"
        )
    else:
        made = {"id": said, "object": "chat.completion", "created": 0, "model": said, "system_fingerprint": said}
        usage = {"prompt_tokens": 8, "completion_tokens": 1}
        pieces = [said[at : at + LEAST_SPLIT] for at in range(0, len(said), LEAST_SPLIT)]
        if b'"stream": true' not in body:
            choice = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
            if b'"logprobs": true' in body:
                choice["logprobs"] = {"content": [{"token": piece, "logprob": -0.5, "top_logprobs": []} for piece in pieces]}
            await _reply(site, writer, "200 OK", "application/json", json.dumps(made | {"choices": [choice], "usage": usage}), said)
        else:
            parts: list[dict[str, Any]] = [{"index": 0, "delta": {"content": piece}} for piece in pieces]
            events = [made | {"choices": [part]} for part in (*parts, {"index": 0, "delta": {}, "finish_reason": "stop"})]
            events.append(made | {"choices": [], "usage": usage})
            stream = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
            await _reply(site, writer, "200 OK", "text/event-stream", stream, said)
    writer.close()


async def _reply(site: Site, writer: asyncio.StreamWriter, status: str, kind: str, body: str, said: str, more: str = "") -> None:
    fields = f"content-type: {kind}\r\nx-echo: {said}\r\nset-cookie: session={said}\r\nx-request-id: {said}\r\n{more}connection: close"
    await site.send(writer, f"HTTP/1.1 {status}\r\n{fields}\r\ncontent-length: {len(body.encode())}\r\n\r\n{body}".encode())


async def refusing(site: Site, writer: asyncio.StreamWriter, asked: bytes) -> None:
    """Quote the key in a refusal."""
    said = " ".join(line for line in asked.decode().split("\r\n") if "anary" in line)
    await _reply(site, writer, "401 No", "application/json", json.dumps({"error": {"message": f"bad key {said}"}}), said)
    writer.close()


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream, root = io.StringIO(), logging.getLogger()
    handlers, level = root.handlers, root.level
    configure_logging("DEBUG", stream)
    yield stream
    root.handlers = handlers
    root.setLevel(level)


def asking(target: str, webhook: str, reference: str | None = None) -> dict[str, Any]:
    """A submission that holds every kind of secret."""
    given = {"model": "m", "wire": "openai", "headers": {"X-Tenant": KEYS["header"]}, "query": {"sig": KEYS["query"]}}
    body: dict[str, Any] = {"target": given | {"base_url": target, "api_key": KEYS["api key"]}, "suite": "quick", "seed": 1}
    if reference is None:
        body["claim"] = {"model": "gpt-4o"}
    else:
        body["reference"] = given | {"base_url": reference, "api_key": KEYS["reference key"]}
    return body | {"webhook": webhook, "max_requests": 15}


class Broken:
    """Stands in for a part of the executor: breaks with the key in its hands, and in the error behind the error."""

    async def audit(self, *given: Any) -> None:
        """As audit_target."""
        try:
            raise ValueError(f"first {KEYS['header']}")
        except ValueError as first:
            raise RuntimeError(f"unforeseen {KEYS['api key']} in {given!r} {KEYS['query']}") from first

    def packs(self, *given: Any) -> None:
        """As the loading of packs, which comes before anything is asked."""
        raise RuntimeError(f"unforeseen {KEYS['api key']} {KEYS['query']} {KEYS['header']}")


async def test_a_key_is_found_nowhere_but_at_its_own_origin(
    migrated_url: str, tmp_path: Path, log: io.StringIO, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    queue = "memory://" if "sqlite" in migrated_url else request.getfixturevalue("redis_url")
    places: dict[str, bytes] = {}
    folder = tmp_path / "data"
    async with (
        serving(echo) as vendor,
        serving(echo) as compared,  # each audit its own: the first answer of each is a good one, whatever runs beside it
        serving(echo) as reference,
        serving(refusing) as careless,
        serving(NOTHING) as receiver,
        service(folder, migrated_url, monkeypatch, ("127.0.0.0/8",), queue) as running,
    ):
        await _emptied(running)
        hook = receiver.url(f"/hook/{WEBHOOK_PATH}")
        bodies = [asking(vendor.url(), hook), asking(compared.url(), hook, reference.url()), asking(careless.url(), hook)]
        secrets, ids = [], []
        for body in bodies:
            answer = await running.submit(body)
            secrets.append(answer.json()["webhook_secret"])
            ids.append(answer.json()["id"])
            places |= {f"queue while it runs {ids[-1]} {name}": data async for name, data in _queue(queue)}
        rows = [await running.ended(each) for each in ids]
        assert [row.status for row in rows] == ["done", "done", "failed"], [row.error for row in rows]
        for part, name, function in ((Broken().audit, "audit_target", execute), (Broken().packs, "for_claim", prepare)):
            with monkeypatch.context() as patch:
                patch.setattr(function, name, part)
                answer = await running.submit(asking(vendor.url(), hook))
                secrets.append(answer.json()["webhook_secret"])
                ids.append(answer.json()["id"])
                row = await running.ended(ids[-1])
                assert (row.status, row.error) == ("failed", "the audit broke inside; the log of the service says why")
        for each in ids:
            await running.told(each)
        places |= {f"queue {name}": data async for name, data in _queue(queue)}
        places |= {f"row {name}": data async for name, data in _rows(running)}
        places |= {name: data async for name, data in _answers(running, ids)}
        places |= {f"notification {n}": data.partition(b"\r\n\r\n")[2] for n, data in enumerate(receiver.asked)}
        heads = b"".join(asked for site in (vendor, compared, reference, careless) for asked in site.asked)
    places["log"] = log.getvalue().encode()
    assert b"unforeseen <redacted>" in places["log"] and places["log"].count(b'"an audit broke"') == 2
    places |= {f"file {file.name}": file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    assert len(receiver.asked) == len(ids) and len(set(secrets)) == len(ids)
    assert all(key.encode() in heads for key in KEYS.values())  # so they were sent where they belong
    assert len(places) > 60
    keys = [*KEYS.values(), *secrets]
    assert found(keys, places) == []
    kept = ("row audits.webhook", "row outbox.url", "file ")
    assert [each for each in found([WEBHOOK_PATH], places) if not each[1].startswith(kept)] == []


def found(keys: list[str], places: dict[str, bytes]) -> list[tuple[str, str, str]]:
    """Where any of the keys is, in whatever case (a host name comes back in lower case)."""
    lowered = {name: data.lower() for name, data in places.items()}
    places_of = ((key, name, data, data.find(key.lower().encode())) for key in keys for name, data in lowered.items())
    return [(key[:5], name, data[max(0, at - 120) : at + 60].decode("utf-8", "replace")) for key, name, data, at in places_of if at >= 0]


async def _emptied(running: Service) -> None:
    if running.api.service.store.dialect == "postgresql":
        kept = [name for name in metadata.tables if name not in ("tokens", "ledger")]
        async with running.api.service.store.write() as tx:
            await tx.execute(text(f"TRUNCATE {', '.join(kept)}"))


async def _rows(running: Service) -> AsyncIterator[tuple[str, bytes]]:
    async with running.api.service.store.read() as tx:
        for table in metadata.tables.values():
            for n, row in enumerate(await tx.execute(select(table))):
                for name, cell in zip(table.columns.keys(), row, strict=True):
                    data = cell if isinstance(cell, bytes) else str(cell).encode()
                    yield f"{table.name}.{name} {n}", data + _opened(data)


async def _answers(running: Service, ids: list[str]) -> AsyncIterator[tuple[str, bytes]]:
    for path in ("/metrics", "/v1/audits", *(f"/v1/audits/{each}{more}" for each in ids for more in ("", "/events"))):
        yield path, (await running.api.call("alice:submit", "GET", path)).content
    for each in ids[:2]:
        for kind in ("application/json", "text/html", "application/vnd.dsse+json", "application/gzip"):
            answer = await running.api.call("alice:read", "GET", f"/v1/audits/{each}/report", headers={"Accept": kind})
            assert answer.status_code == 200 and answer.headers["content-type"].startswith(kind)
            assert kind != "application/gzip" or b"<redacted>" in _opened(answer.content)  # the echo was kept, without the keys
            yield f"{kind} {each}", answer.content + _opened(answer.content)


def _opened(data: bytes) -> bytes:
    """What is inside a compressed transcript, also what only its pieces together spell, or a signed envelope."""
    if data[:2] == b"\x1f\x8b":
        replies = Transcript.from_bytes(data).replies
        spelled = ("".join(chunk.text for chunk in reply.chunks).encode() for reply in replies)
        weighed = (b"".join(token.token for token in reply.tokens) for reply in replies)
        return b"\n".join((gzip.decompress(data), *spelled, *weighed))
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return base64.b64decode(json.loads(data)["payload"])
    return b""


async def _queue(url: str) -> AsyncIterator[tuple[str, bytes]]:
    if url == "memory://":
        memory: Any = await get_or_create_memory_client(url)
        for key in await memory.keys("*"):
            for read in (memory.get, memory.hgetall, memory.xrange, lambda name: memory.zrange(name, 0, -1)):
                with contextlib.suppress(Exception):  # of another kind
                    yield f"{key!r} {read}", repr((key, await read(key))).encode()
        return
    async with redis.asyncio.Redis.from_url(url) as client:
        async for key in client.scan_iter():
            yield repr(key), key + (await client.dump(key) or b"")
        for stream in [key async for key in client.scan_iter(_type="stream")]:
            yield f"{stream!r} entries", repr(await client.xrange(stream)).encode()


def test_the_search_finds_a_key_that_is_there() -> None:
    envelope = json.dumps({"payload": base64.b64encode(KEYS["query"].encode()).decode()}).encode()
    places = {"a": KEYS["api key"].lower().encode(), "b": _opened(envelope)}
    assert [each[:2] for each in found(list(KEYS.values()), places)] == [(KEYS["api key"][:5], "a"), (KEYS["query"][:5], "b")]
