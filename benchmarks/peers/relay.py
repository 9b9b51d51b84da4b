"""A relay over HTTP: sells recorded models under names of its choosing as chat completions on loopback, counted on its own side.

Takes an `Endpoint` of the adversary benchmark per name on sale and serves them until the block ends, at a model's pace. Questions that
only peers ask are answered by stand-ins (`standins`); it never looks at who asks.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from benchmarks.adversaries.endpoint import Endpoint
from benchmarks.adversaries.recorded import MODELS
from benchmarks.adversaries.serving import ask_of, completion, events
from benchmarks.peers import standins
from benchmarks.simulated import count
from fingerprints.questions import text_digest
from probes.probe import Ask, Reply

JSON = dict[str, Any]

YARDSTICK = "o200k"
"""Vocabulary in which requests and replies are counted, whoever asks and whatever answers."""
FIRST_PIECE_S, PIECE_S = 0.05, 0.008
"""Seconds until a stream begins and between its pieces: some 125 pieces a second. Peers suspect what answers faster than models do."""


LONGEST_REPLY = 4_096
"""Tokens that no reply exceeds; one peer asks for a thousand million."""


@dataclass(slots=True)
class Relay:
    """What is on sale, and what was asked of it."""

    sold: Mapping[str, Endpoint]
    requests: int = 0
    """Chat requests, refused ones too."""
    tokens: int = 0
    """Of their contents and replies, by the yardstick."""
    unanswered: int = 0
    """Requests for which there was no answer, recorded or stand-in: the model said nothing."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, body: JSON) -> Reply | None:
        """The reply to a request body; None where no such model is on sale."""
        with self.lock:
            self.requests += 1
            endpoint = self.sold.get(str(body.get("model")))
            if endpoint is None:
                return None
            ask = ask_of(body)
            ask = replace(ask, max_tokens=min(ask.max_tokens, LONGEST_REPLY))
            _prepare(endpoint, ask)
            reply = endpoint.answer(ask)
            self.tokens += sum(count(YARDSTICK, content) for _, content in ask.messages) + count(YARDSTICK, reply.text)
            if reply.ok and not reply.text:
                self.unanswered += 1
            return reply


def _prepare(endpoint: Endpoint, ask: Ask) -> None:
    """Lay the stand-in for a question beside the recorded answers of each model that may be asked it; a recorded answer stays."""
    question, marks = ask.messages[-1][1], endpoint.gateway.marks
    digest = text_digest(question)
    for place, model in enumerate(endpoint.models):
        said = standins.answer(question, model.name, (MODELS[marks] if marks else model.facts).brand)
        if said is not None and digest not in model.answers:
            others = replace(model, answers={**model.answers, digest: (said,)})
            endpoint.models = (*endpoint.models[:place], others, *endpoint.models[place + 1 :])


@contextlib.contextmanager
def serve(relay: Relay) -> Iterator[str]:
    """Serve `relay` on a free loopback port and give its base URL (…/v1)."""
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"relay": relay}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # so that closing waits for every handler, and no socket outlives its run


class _Handler(BaseHTTPRequestHandler):
    """Every reply closes its connection, which is all the framing that a stream needs."""

    relay: Relay

    def do_GET(self) -> None:
        if not self.path.endswith("/models"):
            return self._refuse(404, "Unknown request URL")
        listed = [{"id": name, "object": "model", "created": 0, "owned_by": "system"} for name in self.relay.sold]
        self._json(200, {"object": "list", "data": listed})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if not self.path.endswith("/chat/completions"):
            return self._refuse(404, "Unknown request URL")
        reply = self.relay.answer(body)
        if reply is None:
            self._refuse(404, f"The model {body.get('model')!r} does not exist")
        elif reply.error is not None:
            self._refuse(reply.status or 504, reply.error.text)
        elif reply.ask.stream:
            self._stream(reply)
        else:
            self._json(200, completion(reply), reply)

    def _stream(self, reply: Reply) -> None:
        self._begin(200, "text/event-stream", reply)
        time.sleep(FIRST_PIECE_S)
        with contextlib.suppress(ConnectionError):  # the auditor may hang up at any moment
            for event in events(reply):
                self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
                self.wfile.flush()
                time.sleep(PIECE_S)
            self.wfile.write(b"data: [DONE]\n\n")

    def _refuse(self, status: int, message: str) -> None:
        self._json(status, {"error": {"message": message, "type": "invalid_request_error" if status < 500 else "server_error"}})

    def _json(self, status: int, data: JSON, reply: Reply | None = None) -> None:
        self._begin(status, "application/json", reply)
        with contextlib.suppress(ConnectionError):
            self.wfile.write(json.dumps(data).encode())

    def _begin(self, status: int, kind: str, reply: Reply | None) -> None:
        self.send_response(status)
        for name, value in (("content-type", kind), ("connection", "close"), *(reply.headers if reply else ())):
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Keep the output clean."""
