"""Real HTTP gateways in front of a real local server: what relays do to the usage, the chunks and the prompt, plain and streamed.

Takes the base URL of a server and a `Gateway` (which of request, usage and chunks it changes), serves on a free loopback port in
threads of its own and gives its base URL. Recounting uses tiktoken, the library that gateways use (or the second implementation of
another vocabulary), so that a mistake in our own counting cannot hide itself. What the model wrote comes through to the last letter,
except through `rewrite`, whose whole purpose is to change it.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol
from urllib.parse import urlsplit

import splintr
import tiktoken

from benchmarks.second import second

JSON = dict[str, Any]

UPSTREAM_TIMEOUT_S = 60.0
OVERHEAD = 7
"""Tokens that recounting gateways add for the chat frame; OpenAI's own is 7 for one short user message."""
REWRITTEN_PIECE = 5
"""Characters of one streamed piece of a rewritten text."""
_RANKS = {"o200k": ("o200k_base", splintr.O200K_BASE_PATTERN, 199_998), "cl100k": ("cl100k_base", splintr.CL100K_BASE_PATTERN, 100_256)}


@dataclass(frozen=True)
class Said:
    """One completion as the upstream gave it, when its usage is due."""

    request: JSON
    text: str
    finish: str | None
    usage: JSON | None


class Rechunk(Protocol):
    """Cuts one stream's text anew; a fresh one for every stream."""

    def feed(self, piece: str) -> list[str]:
        """Pieces that can be sent now that `piece` has come."""

    def flush(self) -> list[str]:
        """What is left at the end of the text."""


class Untouched:
    """Passes every piece on as it came."""

    def feed(self, piece: str) -> list[str]:
        return [piece]

    def flush(self) -> list[str]:
        return []


class OfCharacters:
    """Pieces of `size` characters, whatever the tokens were: short tokens are merged, long ones split."""

    def __init__(self, size: int) -> None:
        self.size, self.left = size, ""

    def feed(self, piece: str) -> list[str]:
        self.left += piece
        whole = len(self.left) - len(self.left) % self.size
        pieces = [self.left[i : i + self.size] for i in range(0, whole, self.size)]
        self.left = self.left[whole:]
        return pieces

    def flush(self) -> list[str]:
        return [self.left] if self.left else []


class OfTokens:
    """Every `n` pieces merged into one: edges that remain are still token edges."""

    def __init__(self, n: int) -> None:
        self.n, self.held = n, list[str]()

    def feed(self, piece: str) -> list[str]:
        self.held.append(piece)
        return self.flush() if len(self.held) >= self.n else []

    def flush(self) -> list[str]:
        merged = "".join(self.held)
        self.held.clear()
        return [merged] if merged else []


class Rewritten:
    """Holds the whole text back, then sends what `edit` makes of it in pieces of `size` characters."""

    def __init__(self, edit: Callable[[str], str], size: int) -> None:
        self.edit, self.size, self.held = edit, size, ""

    def feed(self, piece: str) -> list[str]:
        self.held += piece
        return []

    def flush(self) -> list[str]:
        text = self.edit(self.held)
        return [text[i : i + self.size] for i in range(0, len(text), self.size)]


@dataclass(frozen=True)
class Gateway:
    """What one gateway changes; the defaults change nothing."""

    ask: Callable[[JSON], JSON] = lambda request: request
    """The request as it is forwarded."""
    usage: Callable[[Said], JSON | None] = lambda said: said.usage
    """The usage as it is reported; None reports none."""
    text: Callable[[str], str] = lambda text: text
    """The text of a plain reply as it is sent on; a stream's is the work of `chunks`."""
    chunks: Callable[[], Rechunk] = Untouched
    memory: dict[tuple[str, bytes], tuple[int, bytes]] | None = None
    """What the upstream has answered to a request, which is then not asked again: for many gateways in front of one deterministic model."""
    elsewhere: Callable[[JSON], str | None] = lambda request: None
    """The base URL of another upstream that answers this request instead; None leaves it to the gateway's own."""
    cut_streams_after: int | None = None
    """Streamed pieces after which the connection is dropped without a word; None never drops it."""


@cache
def encoding(vocabulary: str) -> tiktoken.Encoding:
    """tiktoken's own counter for o200k or cl100k, built from installed ranks: tiktoken itself would download them."""
    name, pattern, size = _RANKS[vocabulary]
    source = splintr.Tokenizer.from_pretrained(name)
    ranks = {source.decode_token_bytes(i): i for i in range(size)}
    return tiktoken.Encoding(name, pat_str=pattern, mergeable_ranks=ranks, special_tokens={})


def _count(vocabulary: str, *texts: str) -> int:
    if vocabulary in _RANKS:
        return sum(len(encoding(vocabulary).encode_ordinary(text)) for text in texts)
    other = second(vocabulary)
    if other is None:
        raise ValueError(f"no second implementation of {vocabulary}")
    return sum(other.count(text) for text in texts)


def _contents(request: JSON) -> list[str]:
    return [str(message["content"]) for message in request["messages"]]


def _usage(prompt: int, completion: int) -> JSON:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def recount(vocabulary: str, overhead: int = OVERHEAD) -> Gateway:
    """Reports its own counts of the message contents and of the text, as one-api, new-api and LiteLLM do."""
    return Gateway(usage=lambda said: _usage(_count(vocabulary, *_contents(said.request)) + overhead, _count(vocabulary, said.text)))


def forge(vocabulary: str, overhead: int = OVERHEAD, factor: float = 1.0) -> Gateway:
    """A careful cheat: the claimed tokenizer's counts, and exactly the token limit for replies that were cut at it; all of
    them times `factor`, so that no count is one that a recounting gateway would give."""

    def usage(said: Said) -> JSON:
        limit = said.request.get("max_tokens") or said.request.get("max_completion_tokens")
        completion = limit if said.finish == "length" and isinstance(limit, int) else _count(vocabulary, said.text)
        return _usage(round((_count(vocabulary, *_contents(said.request)) + overhead) * factor), round(completion * factor))

    return Gateway(usage=usage)


def scale(factor: float) -> Gateway:
    """Multiplies the upstream's usage, as resellers that bill by a multiplier do."""

    def usage(said: Said) -> JSON | None:
        if said.usage is None:
            return None
        return _usage(round(said.usage["prompt_tokens"] * factor), round(said.usage["completion_tokens"] * factor))

    return Gateway(usage=usage)


def strip_usage() -> Gateway:
    """Reports no usage at all, as ai-proxy-server does."""
    return Gateway(usage=lambda said: None)


def rechunk(characters: int) -> Gateway:
    """Streams pieces of so many characters."""
    return Gateway(chunks=lambda: OfCharacters(characters))


def merge_chunks(n: int) -> Gateway:
    """Streams n of the upstream's pieces at a time."""
    return Gateway(chunks=lambda: OfTokens(n))


def hidden_prompt(text: str) -> Gateway:
    """Puts a system prompt in front of every conversation, and bills it."""
    return Gateway(ask=lambda request: request | {"messages": [{"role": "system", "content": text}, *request["messages"]]})


def rewrite(edit: Callable[[str], str], plain: bool = True, stream: bool = True) -> Gateway:
    """Edits what the model wrote, in plain replies and in streamed ones as the flags say, and counts like the upstream."""
    untouched = Gateway()
    return Gateway(
        text=edit if plain else untouched.text, chunks=(lambda: Rewritten(edit, REWRITTEN_PIECE)) if stream else untouched.chunks
    )


def cut_streams(after: int) -> Gateway:
    """Counts like the upstream but drops every stream after so many pieces."""
    return Gateway(cut_streams_after=after)


def dilute(other: str, share: float, rng: random.Random) -> Gateway:
    """Has a share of the requests answered by another upstream (a base URL), each drawn by itself."""
    return Gateway(elsewhere=lambda request: other if rng.random() < share else None)


@contextlib.contextmanager
def serve(upstream: str, gateway: Gateway) -> Iterator[str]:
    """Run `gateway` in front of `upstream` (a base URL) and give its own base URL."""
    handler = type("Handler", (_Handler,), {"upstream": urlsplit(upstream), "gateway": gateway})
    server = _Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # so that closing waits for every handler, and no socket outlives its test


class _Recalled(io.BytesIO):
    """An upstream's answer as it was kept."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(body)
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    """One request through the gateway. Every reply closes its connection, which is all the framing that a stream needs."""

    upstream: Any
    gateway: Gateway

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        forwarded = json.dumps(self.gateway.ask(request)).encode()
        upstream = urlsplit(other) if (other := self.gateway.elsewhere(request)) else self.upstream
        connection = http.client.HTTPConnection(str(upstream.hostname), upstream.port, timeout=UPSTREAM_TIMEOUT_S)
        # The auditor may hang up at any moment: that is its right and no fault of the gateway.
        with contextlib.closing(connection), contextlib.suppress(ConnectionError):
            with self._answer(connection, forwarded) as response:
                if response.status == 200 and request.get("stream"):
                    self._stream(request, response)
                else:
                    self._plain(request, response)

    def _answer(self, connection: http.client.HTTPConnection, forwarded: bytes) -> http.client.HTTPResponse | _Recalled:
        memory, key = self.gateway.memory, (self.path, forwarded)
        if memory is not None and key in memory:
            return _Recalled(*memory[key])
        connection.request("POST", self.path, forwarded, {"content-type": "application/json"})
        response = connection.getresponse()
        if memory is None:
            return response
        with response:
            memory[key] = response.status, response.read()
        return _Recalled(*memory[key])

    def _plain(self, request: JSON, response: http.client.HTTPResponse | _Recalled) -> None:
        body = response.read()
        if response.status == 200:
            reply = json.loads(body)
            choice = reply["choices"][0]
            said = Said(request, choice["message"]["content"] or "", choice["finish_reason"], reply.pop("usage", None))
            choice["message"]["content"] = self.gateway.text(said.text)
            reply.pop("timings", None)  # llama.cpp's own counts would give a rewritten usage away
            if (usage := self.gateway.usage(said)) is not None:
                reply["usage"] = usage
            body = json.dumps(reply).encode()
        self._head(response.status, "application/json")
        self.wfile.write(body)

    def _stream(self, request: JSON, response: http.client.HTTPResponse | _Recalled) -> None:
        self._head(200, "text/event-stream")
        cutter = self.gateway.chunks()
        text, finish, sent = "", None, 0
        for line in response:
            if not line.startswith(b"data: "):
                continue
            data = line[len(b"data: ") :].strip()
            if data == b"[DONE]":
                self.wfile.write(b"data: [DONE]\n\n")
                continue
            event = json.loads(data)
            event.pop("timings", None)
            choice = event["choices"][0] if event["choices"] else None
            piece = (choice["delta"].get("content") or "") if choice else ""
            if piece:
                text += piece
                for cut in cutter.feed(piece):
                    if sent == self.gateway.cut_streams_after:
                        return
                    sent += 1
                    self._event(_with_text(event, cut))
                continue
            if choice and choice["finish_reason"]:
                finish = choice["finish_reason"]
                for cut in cutter.flush():
                    self._event(_with_text(event | {"choices": [choice | {"finish_reason": None}]}, cut))
            if "usage" in event:
                event["usage"] = self.gateway.usage(Said(request, text, finish, event["usage"]))
                if event["usage"] is None:
                    continue
            self._event(event)

    def _event(self, event: JSON) -> None:
        self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
        self.wfile.flush()

    def _head(self, status: int, kind: str) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("connection", "close")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""


def _with_text(event: JSON, text: str) -> JSON:
    choice = event["choices"][0]
    return event | {"choices": [choice | {"delta": {"content": text}}]}
