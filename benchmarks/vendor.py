"""A vendor that is no model: answers OpenAI chat requests with "OK" after a set latency, at little cost, for load and faults.

`python -m benchmarks.vendor PORT LATENCY_S` serves until it is killed; `Vendor` runs one in the caller's event loop and counts. Stand-in:
it says nothing about verdicts.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from types import TracebackType
from typing import Any, Self

_TEXT = "OK"


class Vendor:
    """An async context manager around a server on loopback."""

    def __init__(self, latency_s: float = 0.0, port: int = 0, status: int = 200) -> None:
        """Port 0 takes a free one. Latency and status may be changed while it serves."""
        self.latency_s, self.status, self.port = latency_s, status, port
        self.echo_key = False
        """Quote the authorization in a refusal, as careless vendors do."""
        self.requests = 0
        self.keys: Counter[str] = Counter()
        """Requests by the authorization that they carried."""
        self.hold: asyncio.Event | None = None
        """Where set, replies wait for it."""

    @property
    def base_url(self) -> str:
        """What an audit is given."""
        return f"http://127.0.0.1:{self.port}/v1"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, backlog=1000)
        self.port = self._server.sockets[0].getsockname()[1]
        self._open: set[asyncio.StreamWriter] = set()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._server.close()
        for writer in self._open:
            writer.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = (line.partition(b": ") for line in head.split(b"\r\n")[1:] if line)
                fields = {name.lower(): value for name, _, value in lines}
                body = json.loads(await reader.readexactly(int(fields.get(b"content-length", b"0"))) or b"{}")
                self.requests += 1
                self.keys[fields.get(b"authorization", b"").decode()] += 1
                await asyncio.sleep(self.latency_s)
                if self.hold is not None:
                    await self.hold.wait()
                authorization = fields.get(b"authorization", b"").decode()
                writer.write(_refusal(401, f"no key {authorization} here") if self.echo_key else self._reply(body))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._open.discard(writer)
            writer.close()

    def _reply(self, body: dict[str, Any]) -> bytes:
        if self.status != 200:
            return _refusal(self.status, "the vendor is told to fail")
        said = "".join(str(message.get("content", "")) for message in body.get("messages", []))
        usage = {"prompt_tokens": 8 + len(said.encode()) // 4, "completion_tokens": 1}
        made = {"id": "c", "object": "chat.completion", "created": 0, "model": body.get("model", "m")}
        if not body.get("stream"):
            choice = {"index": 0, "message": {"role": "assistant", "content": _TEXT}, "finish_reason": "stop"}
            return _http(200, "application/json", json.dumps(made | {"choices": [choice], "usage": usage}).encode())
        parts: list[dict[str, Any]] = [{"delta": {"content": _TEXT}}, {"delta": {}, "finish_reason": "stop"}]
        events = [made | {"object": "chat.completion.chunk", "choices": [{"index": 0, **part}]} for part in parts]
        events.append(made | {"object": "chat.completion.chunk", "choices": [], "usage": usage})
        lines = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
        return _http(200, "text/event-stream", lines.encode())


def _refusal(status: int, message: str) -> bytes:
    return _http(status, "application/json", json.dumps({"error": {"message": message}}).encode())


def _http(status: int, kind: str, body: bytes) -> bytes:
    return f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


async def main() -> None:
    """Serve on the port and with the latency that the arguments name."""
    async with Vendor(float(sys.argv[2]), int(sys.argv[1])):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
