"""Real replies in the shapes of vendors that no local server speaks: Google's generateContent, and Azure's deployment paths.

Takes the base URL of a real OpenAI-compatible server, gives the base URL of a translator in front of it and what it was asked. The
text, the chunks and the counts are the real model's; shapes follow recorded traffic (event framing by CRLF, counts on every event,
the finish reason on the last). Each refuses what the vendor would refuse, so that a request of the wrong shape cannot pass.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

JSON = dict[str, Any]

UPSTREAM_TIMEOUT_S = 60.0
API_VERSION = "2024-10-21"
TENANT = "tenant-7"
_GEMINI_PATH = re.compile(r"/v1beta/models/[^/:]+:(generateContent|streamGenerateContent)")
_FINISH = {"stop": "STOP", "length": "MAX_TOKENS"}


@dataclass
class Served:
    """A running translator: where it listens and the paths, headers and bodies that it was sent."""

    base_url: str = ""
    requests: list[tuple[str, dict[str, str], JSON]] = field(default_factory=list)


@contextlib.contextmanager
def gemini(upstream: str) -> Iterator[Served]:
    """Google's wire in front of `upstream`."""
    with _serving(_Gemini, upstream) as served:
        served.base_url += "/v1beta"
        yield served


@contextlib.contextmanager
def azure(upstream: str) -> Iterator[Served]:
    """An Azure deployment in front of `upstream`: it wants api-version, an `x-tenant` header and a `user` field, and an api-key."""
    with _serving(_Azure, upstream) as served:
        served.base_url += "/openai/deployments/smollm2"
        yield served


@contextlib.contextmanager
def _serving(handler: type[_Translator], upstream: str) -> Iterator[Served]:
    served = Served()
    own = type("Handler", (handler,), {"upstream": urlsplit(upstream), "served": served})
    server = _Server(("127.0.0.1", 0), own)
    served.base_url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # so that closing waits for every handler, and no socket outlives its test


class _Translator(BaseHTTPRequestHandler):
    """Reads a request and hands it to `translate`. Every reply closes its connection."""

    upstream: Any
    served: Served

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.served.requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
        with contextlib.suppress(ConnectionError):  # the auditor may hang up at any moment
            self.translate(
                urlsplit(self.path).path, {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}, body
            )

    def translate(self, path: str, query: dict[str, str], body: JSON) -> None:
        raise NotImplementedError

    def refuse(self, status: int, message: str) -> None:
        self.head(status, "application/json")
        self.wfile.write(json.dumps({"error": {"code": status, "message": message}}).encode())

    @contextlib.contextmanager
    def asked(self, body: JSON) -> Iterator[http.client.HTTPResponse]:
        """The real server's reply to a chat request."""
        connection = http.client.HTTPConnection(self.upstream.hostname, self.upstream.port, timeout=UPSTREAM_TIMEOUT_S)
        with contextlib.closing(connection):
            connection.request("POST", "/v1/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"})
            with connection.getresponse() as response:
                yield response

    def head(self, status: int, kind: str) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("connection", "close")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""


class _Azure(_Translator):
    def translate(self, path: str, query: dict[str, str], body: JSON) -> None:
        if path != "/openai/deployments/smollm2/chat/completions" or query.get("api-version") != API_VERSION:
            return self.refuse(404, "Resource not found")
        if self.headers.get("x-tenant") != TENANT or body.get("user") != TENANT or not self.headers.get("api-key"):
            return self.refuse(401, "Access denied due to a missing tenant or key")
        with self.asked(body) as response:
            self.head(response.status, response.headers["content-type"])
            while piece := response.read1(65_536):
                self.wfile.write(piece)
                self.wfile.flush()
        return None


class _Gemini(_Translator):
    def translate(self, path: str, query: dict[str, str], body: JSON) -> None:
        found = _GEMINI_PATH.fullmatch(path)
        streamed = found is not None and found[1] == "streamGenerateContent"
        if not found or (streamed and query.get("alt") != "sse"):
            return self.refuse(404, "the path is not one of ours")
        if not self.headers.get("x-goog-api-key"):
            return self.refuse(403, "Method doesn't allow unregistered callers")
        if unknown := body.keys() - {"contents", "generationConfig", "systemInstruction"}:
            return self.refuse(400, f"Invalid JSON payload received. Unknown name {min(unknown)!r}")
        with self.asked(_chat(body, streamed)) as response:
            if response.status != 200:
                return self.refuse(response.status, "the model refused")
            if streamed:
                self._stream(response)
            else:
                reply = json.loads(response.read())
                choice = reply["choices"][0]
                self.head(200, "application/json; charset=UTF-8")
                self.wfile.write(json.dumps(_event(choice["message"]["content"], choice["finish_reason"], reply["usage"])).encode())
        return None

    def _stream(self, response: http.client.HTTPResponse) -> None:
        """Every piece as one event; the last is held back until its finish reason and the counts have come."""
        self.head(200, "text/event-stream")
        held, finish = "", None
        usage: JSON = {}
        for line in response:
            data = line.removeprefix(b"data: ").strip()
            if not line.startswith(b"data: ") or data == b"[DONE]":
                continue
            event = json.loads(data)
            usage = event.get("usage") or usage
            for choice in event["choices"]:
                finish = choice["finish_reason"] or finish
                if piece := choice["delta"].get("content"):
                    if held:
                        self._send(_event(held, None, usage))
                    held = piece
        self._send(_event(held, finish, usage))

    def _send(self, event: JSON) -> None:
        self.wfile.write(f"data: {json.dumps(event)}\r\n\r\n".encode())
        self.wfile.flush()


def _chat(body: JSON, streamed: bool) -> JSON:
    """The chat request that asks the same."""
    config = body.get("generationConfig", {})
    system = [{"role": "system", "content": _text(body["systemInstruction"])}] if "systemInstruction" in body else []
    turns = [{"role": {"model": "assistant"}.get(turn["role"], turn["role"]), "content": _text(turn)} for turn in body["contents"]]
    names = {"maxOutputTokens": "max_tokens", "temperature": "temperature", "seed": "seed"}
    fields = {ours: config[theirs] for theirs, ours in names.items() if theirs in config}
    streaming = {"stream": True, "stream_options": {"include_usage": True}} if streamed else {}
    return {"model": "local", "messages": [*system, *turns], **fields, **streaming}


def _text(content: JSON) -> str:
    return "".join(part["text"] for part in content["parts"])


def _event(text: str, finish: str | None, usage: JSON) -> JSON:
    prompt, completion = usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0)
    candidate: JSON = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}
    if finish:
        candidate["finishReason"] = _FINISH.get(finish, "OTHER")
    counts = {"promptTokenCount": prompt, "candidatesTokenCount": completion, "totalTokenCount": prompt + completion}
    details = {"promptTokensDetails": [{"modality": "TEXT", "tokenCount": prompt}]}
    return {"candidates": [candidate], "modelVersion": "local", "responseId": "r-1"} | (
        {"usageMetadata": counts | details} if usage else {}
    )
