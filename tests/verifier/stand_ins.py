"""A raw-socket HTTP server on loopback that misbehaves on purpose, for tests of the endpoint client.

Takes a script (what to write for each request, byte by byte) and gives its base URL and what it was sent. It serves no model: real
ones are in tests/real/.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Request:
    """One request as it arrived."""

    line: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Handler = Callable[[Request, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class StandIn:
    """A running stand-in. `accepts` counts TCP connections, also those that never send a request."""

    base_url: str
    port: int
    accepts: int = 0
    requests: list[Request] = field(default_factory=list)


@contextlib.asynccontextmanager
async def stand_in(*handlers: Handler, speak_first: bytes = b"") -> AsyncIterator[StandIn]:
    """Serve on a free loopback port: the n-th request gets the n-th handler, later ones the last. Each reply closes the connection.

    With `speak_first` it writes those bytes on connection, reads no request and closes.
    """
    state = StandIn("", 0)
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        state.accepts += 1
        # The client hangs up on a misbehaving server, and the test's end cancels a stalling one: both are what is wanted.
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            if speak_first:
                writer.write(speak_first)
                await writer.drain()
                writer.close()
                return
            request = await _read_request(reader)
            state.requests.append(request)
            await handlers[min(len(state.requests), len(handlers)) - 1](request, writer)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    state.port = server.sockets[0].getsockname()[1]
    state.base_url = f"http://127.0.0.1:{state.port}/v1"
    try:
        yield state
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


async def _read_request(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *rest = head.rstrip("\r\n").split("\r\n")
    headers = {name.lower(): value.strip() for name, value in (one.split(":", 1) for one in rest)}
    return Request(line, headers, await reader.readexactly(int(headers.get("content-length", "0"))))


def raw(data: bytes) -> Handler:
    """Write these bytes and close."""

    async def handle(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(data)

    return handle


def reply(body: object, status: int = 200, headers: Sequence[tuple[str, str]] = (), *, length: int | None = None) -> Handler:
    """A plain reply; bytes and str bodies as they are, anything else as JSON. `length` overrides Content-Length."""
    data = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    names = {name.lower() for name, _ in headers}
    own = [] if "content-type" in names else [("content-type", "application/json")]
    lines = [*own, *headers, ("content-length", str(len(data) if length is None else length)), ("connection", "close")]
    head = f"HTTP/1.1 {status} X\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines) + "\r\n"
    return raw(head.encode("latin-1") + data)


def events(*data: str, pause_s: float = 0.0, done: bool = True, hang: bool = False) -> Handler:
    """A server-sent event stream of these data lines; `hang` keeps the connection open at the end."""

    async def handle(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        for line in (*data, *(["[DONE]"] if done else [])):
            writer.write(f"data: {line}\n\n".encode())
            await writer.drain()
            await asyncio.sleep(pause_s)
        if hang:
            await asyncio.Event().wait()

    return handle


def endless(head: bytes, piece: bytes, pause_s: float = 0.0) -> Handler:
    """Write `head`, then `piece` for ever."""

    async def handle(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause_s)

    return handle


async def stall(request: Request, writer: asyncio.StreamWriter) -> None:
    """Take the request and never answer."""
    await asyncio.Event().wait()


def raw_then_stall(data: bytes) -> Handler:
    """Write these bytes and keep the connection open without another."""

    async def handle(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        await asyncio.Event().wait()

    return handle


def gzip_bomb(megabytes: int = 64) -> Handler:
    """A small compressed reply that would grow a thousandfold."""
    return reply(gzip.compress(b" " * 1_000_000 * megabytes, 9), headers=[("content-encoding", "gzip")])


def completion(text: str = "hello", **changes: Any) -> dict[str, Any]:
    """A well-formed chat completion."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "stand-in",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
    } | changes


def delta(text: str | None, finish: str | None = None, **changes: Any) -> str:
    """One streamed chunk, as the data of an event."""
    choice = {"index": 0, "delta": {} if text is None else {"content": text}, "finish_reason": finish}
    return json.dumps({"id": "chatcmpl-1", "model": "stand-in", "choices": [choice]} | changes)
