"""The same endpoints over HTTP, in the words of OpenAI's chat completions, so that any client (another tool, a browser) can ask them.

Takes an `Endpoint` and serves it on a free loopback port in threads; gives its base URL. Seconds of a reply are not waited for. What is
answered is decided by the endpoint alone.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from benchmarks.adversaries.endpoint import Endpoint
from probes.probe import Ask, Reply

JSON = dict[str, Any]
DEFAULT_TOKENS = 1_024
"""Token limit of a request that names none."""
GATEWAY_TIMEOUT = 504


@contextlib.contextmanager
def serve(endpoint: Endpoint) -> Iterator[str]:
    """Serve `endpoint` and give its base URL, which ends in /v1."""
    handler = type("Handler", (_Handler,), {"endpoint": endpoint, "lock": threading.Lock()})
    server = _Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def ask_of(body: JSON) -> Ask:
    """The request body as an ask; one of the wrong shape is refused by the endpoint. Never raises on any JSON object."""
    try:
        messages = tuple((str(message["role"]), _content(message["content"])) for message in body["messages"])
        limit = body.get("max_tokens", body.get("max_completion_tokens")) or DEFAULT_TOKENS
        temperature = body.get("temperature")
        whole = isinstance(limit, int) and isinstance(temperature, int | float | None) and 0 <= (temperature or 0) <= 2
        bias = tuple((int(token), int(bias)) for token, bias in (body.get("logit_bias") or {}).items())
        if whole and messages:
            logprobs = int(body.get("top_logprobs") or 0) if body.get("logprobs") else None
            return Ask(
                "served", "", messages, limit, temperature=temperature, stream=bool(body.get("stream")), logprobs=logprobs, logit_bias=bias
            )
    except (KeyError, TypeError, ValueError, AttributeError):
        pass
    return Ask("served", "", (("user", ""),), 1, raw="{}")


def completion(reply: Reply) -> JSON:
    """A reply as one chat completion."""
    choice: JSON = {"index": 0, "message": {"role": "assistant", "content": reply.text}, "finish_reason": reply.finish}
    if reply.tokens:
        choice["logprobs"] = _logprobs(reply)
    return _head(reply, "chat.completion") | {"choices": [choice]} | _usage(reply)


def events(reply: Reply) -> Iterator[JSON]:
    """A reply as the events of a stream."""
    head = _head(reply, "chat.completion.chunk")
    for chunk in reply.chunks:
        yield head | {"choices": [{"index": 0, "delta": {"content": chunk.text}, "finish_reason": None}]}
    yield head | {"choices": [{"index": 0, "delta": {}, "finish_reason": reply.finish}]}
    if reply.usage is not None:
        yield head | {"choices": []} | _usage(reply)


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # so that closing waits for every handler, and no socket outlives its test


class _Handler(BaseHTTPRequestHandler):
    endpoint: Endpoint
    lock: threading.Lock

    def do_GET(self) -> None:
        name = self.endpoint.name
        self._send(200, "application/json", json.dumps({"object": "list", "data": [{"id": name, "object": "model"}]}).encode())

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with self.lock:
            reply = self.endpoint.answer(ask_of(body))
        if reply.error is not None:
            self._send(reply.status or GATEWAY_TIMEOUT, "application/json", json.dumps({"error": {"message": reply.error.text}}).encode())
        elif reply.ask.stream:
            lines = "".join(f"data: {json.dumps(event)}\n\n" for event in events(reply))
            self._send(200, "text/event-stream", f"{lines}data: [DONE]\n\n".encode(), reply)
        else:
            self._send(200, "application/json", json.dumps(completion(reply)).encode(), reply)

    def _send(self, status: int, kind: str, body: bytes, reply: Reply | None = None) -> None:
        self.send_response(status)
        for name, value in (("content-type", kind), ("content-length", str(len(body))), *(reply.headers if reply else ())):
            self.send_header(name, value)
        self.end_headers()
        # The client may hang up at any moment: that is its right.
        with contextlib.suppress(ConnectionError):
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Keep the output clean."""


def _content(content: object) -> str:
    """Message content: a string, or a list of text parts."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "".join(str(part.get("text", "")) for part in parts if isinstance(part, dict))


def _head(reply: Reply, kind: str) -> JSON:
    head = {"id": reply.id, "object": kind, "created": 0, "model": reply.model}
    return head if reply.system_fingerprint is None else head | {"system_fingerprint": reply.system_fingerprint}


def _usage(reply: Reply) -> JSON:
    if reply.usage is None:
        return {}
    prompt, written = reply.usage.prompt_tokens or 0, reply.usage.completion_tokens or 0
    return {"usage": {"prompt_tokens": prompt, "completion_tokens": written, "total_tokens": prompt + written}}


def _logprobs(reply: Reply) -> JSON:
    def spelt(piece: bytes) -> JSON:
        return {"token": piece.decode("utf-8", "replace"), "bytes": list(piece), "logprob": -1.0}

    content = [spelt(token.token) | {"top_logprobs": [spelt(piece) for piece in token.alternatives]} for token in reply.tokens]
    return {"content": content, "refusal": None}
