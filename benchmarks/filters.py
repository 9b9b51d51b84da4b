"""Real local models behind a gateway that strips, replaces or censors names of models, in fourteen ways, and the same models honestly: is
the finding `word-filter` there when it should be, and only then? --data is a folder with llama3-echo.gguf; --limit is the number of honest
runs per model (default 25), and of seeds per way at most."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import re
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fingerprints.catalog import claim
from probes.identity import IdentityProbe
from probes.plan import Plan
from probes.probe import Evidence, Reply
from verifier import local
from verifier.endpoint.client import EndpointClient
from verifier.endpoint.guard import cli_policy
from verifier.endpoint.limits import Limits
from verifier.target import Target

JSON = dict[str, Any]
MODELS = Path(__file__).parents[2] / "shared" / "models"
HONEST = 25
SEEDS = 1
ASKS = {"standard": 12, "20 asks": 20, "deep": 30}
UPSTREAM_TIMEOUT_S = 120.0
PIECE = 5
"""Characters of one streamed piece."""
CLAUDE, LLAMA, GPT = ("Claude", "Anthropic"), ("Llama", "Meta"), ("GPT", "OpenAI")
EVERY = ("Claude", "Anthropic", "OpenAI", "GPT", "Llama", "Meta", "Gemini")
REFUSAL = "I'm sorry, but I can't help with that request."

Edit = Callable[[str], str]


@dataclass(frozen=True)
class Filter:
    """One way to hide names: `edit` is done to whole replies, plain and streamed ones as the flags say."""

    edit: Edit
    plain: bool = True
    stream: bool = True


def _each(words: tuple[str, ...], into: Callable[[str], str]) -> Edit:
    pattern = re.compile("|".join(map(re.escape, words)))
    return lambda text: pattern.sub(lambda match: into(match.group()), text)


def _whole(words: tuple[str, ...], reply: str) -> Edit:
    return lambda text: reply if any(word in text for word in words) else text


def _cut(words: tuple[str, ...]) -> Edit:
    pattern = re.compile("|".join(map(re.escape, words)))
    return lambda text: pattern.split(text, maxsplit=1)[0]


WAYS: dict[str, Filter] = {
    "deleted": Filter(_each(CLAUDE, lambda word: "")),
    "replaced by another brand": Filter(_each(CLAUDE, {"Claude": "Llama", "Anthropic": "Meta"}.__getitem__)),
    "one brand for all": Filter(_each(("Claude", "Llama", "Gemini"), lambda word: "ChatGPT")),
    "censored": Filter(_each(EVERY, lambda word: "***")),
    "lower case": Filter(_each(LLAMA, str.lower)),
    "reply refused": Filter(_whole(CLAUDE, REFUSAL)),
    "reply emptied": Filter(_whole(GPT, "")),
    "letters apart": Filter(_each(CLAUDE, " ".join)),
    "look-alike letters": Filter(_each(GPT, lambda word: word.translate(str.maketrans("OAPe", "ОАРе")))),
    "invisible characters": Filter(_each(EVERY, lambda word: word[:2] + "\u200b" + word[2:])),
    "cut at the word": Filter(_cut(CLAUDE)),
    "deleted in streams only": Filter(_each(LLAMA, lambda word: ""), plain=False),
    "deleted in plain replies only": Filter(_each(CLAUDE, lambda word: ""), stream=False),
    "replaced by a Korean word": Filter(_each(("Gemini",), lambda word: "제미나이")),
}


def run(data: Path | None, seed: int, limit: int | None) -> JSON:
    """Rows {model, suite, way, found, runs, said} and {model, honest, flagged, tested, requests}. Raises FileNotFoundError."""
    folder = data or MODELS
    echo = folder / "llama3-echo.gguf"
    if not echo.is_file():
        raise FileNotFoundError(2, "missing", str(echo))
    rows, honest = [], []
    with tempfile.TemporaryDirectory(prefix="truename-filters-") as scratch:
        for name, weights in (("llama3-echo", echo), (local.SMOLLM2, local.weights(local.SMOLLM2, Path(scratch)))):
            with local.serve(weights, name) as upstream:
                seen = [ask(upstream, name, seed + i, ASKS["deep" if i % 5 == 4 else "standard"]) for i in range(limit or HONEST)]
                honest.append(
                    {
                        "model": name,
                        "runs": len(seen),
                        "flagged": sum(filtered(evidence) is not None for evidence in seen),
                        "tested": sum(evidence.tested for evidence in seen),
                        "requests": sum(evidence.requests for evidence in seen) / len(seen),
                    }
                )
                _tell(honest[-1])
                for suite, asks in ASKS.items():
                    for way, kind in WAYS.items():
                        with serve(upstream, kind) as base_url:
                            runs = [ask(base_url, name, 1000 + seed + i, asks) for i in range(min(SEEDS, limit or SEEDS))]
                        said = [text for evidence in runs if (text := filtered(evidence))]
                        rows.append({"model": name, "suite": suite, "way": way, "runs": len(runs), "found": len(said), "said": said})
                        _tell(rows[-1])
    return {"ways": rows, "honest": honest}


def _tell(row: JSON) -> None:
    print(json.dumps(row, ensure_ascii=False), file=sys.stderr, flush=True)


def table(result: JSON) -> str:
    """Markdown: honest runs first, then the ways."""
    lines = ["| model | honest runs | flagged | tested | mean requests |", "|---|---|---|---|---|"]
    lines += [f"| {r['model']} | {r['runs']} | {r['flagged']} | {r['tested']} | {r['requests']:.1f} |" for r in result["honest"]]
    columns = list(dict.fromkeys((row["model"], row["suite"]) for row in result["ways"]))
    lines += ["", "| way | " + " | ".join(f"{model}, {suite}" for model, suite in columns) + " |", "|---" * (len(columns) + 1) + "|"]
    found = {(row["way"], row["model"], row["suite"]): row for row in result["ways"]}
    for way in WAYS:
        cells = [f"{row['found']} of {row['runs']}" for column in columns if (row := found[way, *column])]
        lines.append(f"| {way} | " + " | ".join(cells) + " |")
    totals = [sum(row["found"] > 0 for row in result["ways"] if (row["model"], row["suite"]) == column) for column in columns]
    return "\n".join([*lines, "| ways found | " + " | ".join(f"{n} of {len(WAYS)}" for n in totals) + " |"])


def filtered(evidence: Evidence) -> str | None:
    """The finding's text, None without one."""
    return next((finding.text for finding in evidence.findings if finding.code == "word-filter"), None)


def ask(base_url: str, model: str, seed: int, asks: int) -> Evidence:
    """The probe's evidence on one endpoint: its rounds until it wants no more."""
    probe = IdentityProbe(Plan(seed=seed, claim=claim("gpt-4o")), asks)
    return asyncio.run(_ask(probe, Target.parse(base_url, model), asks))


async def _ask(probe: IdentityProbe, target: Target, asks: int) -> Evidence:
    replies: list[Reply] = []
    async with EndpointClient(target, Limits(timeout_s=UPSTREAM_TIMEOUT_S, max_requests=4 * asks, concurrency=1), cli_policy()) as client:
        while wanted := probe.next_round(replies):
            replies += await client.ask_all(wanted)
    return probe.read(replies)


@contextlib.contextmanager
def serve(upstream: str, kind: Filter) -> Iterator[str]:
    """Run the filter in front of `upstream` (a base URL) and give its own base URL."""
    handler = type("Handler", (_Handler,), {"upstream": urlsplit(upstream), "kind": kind})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    """Reads the upstream's whole reply, edits its text, and sends it plain or in pieces as it was asked for."""

    upstream: Any
    kind: Filter

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        stream = bool(request.get("stream"))
        whole = {key: value for key, value in request.items() if key not in ("stream", "stream_options")}
        connection = http.client.HTTPConnection(self.upstream.hostname, self.upstream.port, timeout=UPSTREAM_TIMEOUT_S)
        with contextlib.closing(connection), contextlib.suppress(ConnectionError):
            connection.request("POST", self.path, json.dumps(whole).encode(), {"content-type": "application/json"})
            with connection.getresponse() as response:
                status, reply = response.status, json.loads(response.read())
            if status == 200 and (self.kind.stream if stream else self.kind.plain):
                message = reply["choices"][0]["message"]
                message["content"] = self.kind.edit(message["content"] or "")
            self._send(status, reply, stream and status == 200)

    def _send(self, status: int, reply: JSON, stream: bool) -> None:
        self.send_response(status)
        self.send_header("content-type", "text/event-stream" if stream else "application/json")
        self.send_header("connection", "close")
        self.end_headers()
        if not stream:
            self.wfile.write(json.dumps(reply).encode())
            return
        choice = reply["choices"][0]
        text = choice["message"]["content"]
        head = {"id": reply["id"], "object": "chat.completion.chunk", "created": reply["created"], "model": reply["model"]}
        for i in range(0, len(text), PIECE):
            self._event(head | {"choices": [{"index": 0, "delta": {"content": text[i : i + PIECE]}, "finish_reason": None}]})
        self._event(head | {"choices": [{"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}]})
        self._event(head | {"choices": [], "usage": reply.get("usage")})
        self.wfile.write(b"data: [DONE]\n\n")

    def _event(self, event: JSON) -> None:
        self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())

    def log_message(self, format: str, *args: object) -> None:
        """Keep the output clean."""
