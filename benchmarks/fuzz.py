"""Fuzzes everything that reads hostile bytes: the event reader, the four wires' JSON and stream parsers, and the whole exchange with its
headers. --limit is the time in seconds (default 60); --data is a folder with interactions.jsonl.gz, whose replies are mutated too. A crash
is any exception but the typed one."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import resource
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from fingerprints.wire import Wire
from probes.probe import ERROR_KINDS, Ask
from verifier.endpoint.client import ADAPTERS, EndpointClient
from verifier.endpoint.guard import cli_policy
from verifier.endpoint.limits import Limits
from verifier.endpoint.sse import EventReader
from verifier.endpoint.wires.base import WireAdapter, WireError
from verifier.target import Target

DEFAULT_SECONDS = 60
LARGEST_SEED = 60_000
"""Bytes of a recorded reply that is taken as a seed; longer ones only slow the fuzzing down."""
SEEDS_PER_WIRE = 400
SLOW_SECONDS = 5.0
"""An input that takes longer counts as a hang: the client gives one whole request 25 s."""

_SPELLED = {"token": "hé", "bytes": [104, 195, 169], "logprob": -0.1, "top_logprobs": [{"token": "x", "bytes": None, "logprob": -3.0}]}
_PLAIN: dict[Wire, Any] = {
    Wire.OPENAI: {
        "id": "c",
        "model": "m",
        "choices": [
            {"index": 0, "message": {"content": "héllo \ud83d\ude00"}, "finish_reason": "stop", "logprobs": {"content": [_SPELLED]}}
        ],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 2}},
    },
    Wire.RESPONSES: {
        "id": "r",
        "object": "response",
        "status": "incomplete",
        "incomplete_details": {"reason": "max_output_tokens"},
        "output": [{"type": "reasoning"}, {"type": "message", "content": [{"type": "output_text", "text": "hé", "logprobs": [_SPELLED]}]}],
        "usage": {"input_tokens": 7, "output_tokens": 16, "output_tokens_details": {"reasoning_tokens": 8}},
    },
    Wire.ANTHROPIC: {
        "id": "m",
        "type": "message",
        "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "hello"}],
        "stop_reason": "max_tokens",
        "usage": {"input_tokens": 1, "cache_read_input_tokens": 6, "output_tokens": 3},
    },
    Wire.GEMINI: {
        "candidates": [
            {
                "content": {"parts": [{"text": "hm", "thought": True}, {"text": "hello"}]},
                "finishReason": "MAX_TOKENS",
                "logprobsResult": {
                    "chosenCandidates": [{"token": "hé", "tokenId": 7}],
                    "topCandidates": [{"candidates": [{"token": "x"}]}],
                },
            }
        ],
        "usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 3, "thoughtsTokenCount": 9},
    },
}
_EVENTS: dict[Wire, tuple[Any, ...]] = {
    Wire.OPENAI: (
        {"choices": [{"delta": {"content": "hé"}, "logprobs": {"content": [_SPELLED]}}]},
        {"choices": [], "usage": {"prompt_tokens": 7}},
        {"error": {"message": "x"}},
    ),
    Wire.RESPONSES: (
        {"type": "response.output_text.delta", "delta": "hé", "logprobs": [_SPELLED]},
        {"type": "response.completed", "response": _PLAIN[Wire.RESPONSES]},
        {"type": "error", "message": "x"},
    ),
    Wire.ANTHROPIC: (
        {"type": "message_start", "message": _PLAIN[Wire.ANTHROPIC] | {"content": []}},
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "a"}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}},
        {"type": "error", "error": {"type": "overloaded_error", "message": "x"}},
    ),
    Wire.GEMINI: (_PLAIN[Wire.GEMINI], {"promptFeedback": {"blockReason": "SAFETY"}}),
}
_TOKENS = (
    *(b"\n", b"\n\n", b"\r", b"\r\n", b"data: ", b"data:", b"event: error\n", b": ", b"[DONE]"),
    *(b"\xef\xbb\xbf", b"\x00", b"\xff", b"\xed\xa0\x80", b"\\ud83d", b"\\u0000"),
    *(b"{", b"}", b"[", b"]", b'"', b",", b":", b"null", b"true", b"-1", b"1e999", b"NaN", b"0.5", b"9" * 400, b"9" * 5000),
    *(b'"error":', b'"message":', b'"content":', b'"type":', b'"usage":', b'"index":1,', b"[" * 3000, b'{"error":' * 500),
)  # fmt: skip
_HEADERS = ("retry-after", "retry-after-ms", "content-type", "content-encoding", "location", "set-cookie", "content-length", "x-request-id")
_STATUSES = (200, 200, 200, 200, 201, 204, 206, 301, 302, 400, 401, 404, 422, 429, 500, 503, 599)


def run(data: Path | None, seed: int, limit: int | None) -> dict[str, Any]:
    """Fuzz for `limit` seconds. Gives executions and the slowest input (seconds) per target, crashes, and the growth in memory (MB).

    Raises FileNotFoundError where `data` holds no interactions.jsonl.gz.
    """
    rng = random.Random(seed)
    seeds = {wire: [*own_seeds(wire)] for wire in Wire}
    if data is not None:
        for wire, body in _recorded(data):
            seeds[wire].append(body)
    targets = dict(_targets(rng))
    executions: Counter[str] = Counter()
    slowest = dict.fromkeys(targets, 0.0)
    crashes: list[dict[str, str]] = []
    before = _memory_mb()
    end = time.monotonic() + (DEFAULT_SECONDS if limit is None else limit)
    names = list(targets)
    while time.monotonic() < end:
        name = names[sum(executions.values()) % len(names)]
        wire = Wire(name.rpartition("/")[2]) if "/" in name else rng.choice(list(Wire))
        body = mutated(rng, rng.choice(seeds[wire]), seeds[wire])
        began = time.process_time()  # of this process alone: a busy machine is no hang
        try:
            targets[name](body)
        except Exception as error:  # whatever it is, it is a crash
            crashes.append({"target": name, "error": repr(error)[:300], "input": repr(body[:300])})
        took = time.process_time() - began
        executions[name] += 1
        slowest[name] = max(slowest[name], took)
        if took > SLOW_SECONDS:
            crashes.append({"target": name, "error": f"took {took:.1f} s", "input": repr(body[:300])})
    return {
        "executions": sum(executions.values()),
        "crashes": len(crashes),
        "slowest_input_s": round(max(slowest.values()), 3),
        "memory_growth_mb": round(_memory_mb() - before, 1),
        "recorded_seeds": sum(map(len, seeds.values())) - sum(len([*own_seeds(wire)]) for wire in Wire),
        "targets": {name: {"executions": executions[name], "slowest_s": round(slowest[name], 4)} for name in targets},
        "crash_examples": crashes[:10],
    }


def table(result: dict[str, Any]) -> str:
    """The result as a Markdown table."""
    rows = "\n".join(f"| {name} | {row['executions']:,} | {row['slowest_s']:.4f} |" for name, row in result["targets"].items())
    crashes = "".join(f"\n- {one['target']}: {one['error']} on {one['input']}" for one in result["crash_examples"])
    return (
        f"{result['executions']:,} executions, **{result['crashes']} crashes**, slowest input {result['slowest_input_s']} s, "
        f"memory grew by {result['memory_growth_mb']} MB, {result['recorded_seeds']} recorded seeds\n\n"
        f"| target | executions | slowest (s) |\n|---|---|---|\n{rows}{crashes}"
    )


def own_seeds(wire: Wire) -> Iterator[bytes]:
    """Well-formed replies of a wire: plain, and streamed with all its kinds of event."""
    yield json.dumps(_PLAIN[wire]).encode()
    for last in ("data: [DONE]\n\n", ""):
        yield (_sse(_EVENTS[wire]) + last).encode()
    yield json.dumps({"error": {"message": "no", "type": "invalid_request_error", "code": 429}}).encode()


def mutated(rng: random.Random, body: bytes, others: list[bytes]) -> bytes:
    """`body` with up to eight changes: bytes altered, cut out, doubled, shuffled in from another reply, or replaced by awkward tokens."""
    for _ in range(rng.randrange(9)):
        at = rng.randrange(len(body) + 1)
        to = min(len(body), at + rng.choice((1, 1, 2, 8, 64, 1024)))
        change = rng.randrange(6)
        if change == 0:
            body = body[:at] + bytes((rng.randrange(256),)) + body[to:]
        elif change == 1:
            body = body[:at] + body[to:]
        elif change == 2:
            body = body[:to] + body[at:to] * rng.choice((1, 2, 30)) + body[to:]
        elif change == 3:
            body = body[:at] + rng.choice(_TOKENS) + body[at:]
        elif change == 4:
            body = body[:at] + rng.choice(_TOKENS) + body[to:]
        else:
            other = rng.choice(others)
            start = rng.randrange(len(other) + 1)
            body = body[:at] + other[start : start + rng.choice((8, 100, 4000))] + body[to:]
    return body


def read_stream(adapter: WireAdapter, pieces: list[bytes]) -> None:
    """Feed a wire's stream parser as the client does. Raises what the parser should not."""
    reader, parser = EventReader(), adapter.stream()
    try:
        for piece in pieces:
            for event in reader.feed(piece):
                parser.feed(event.name, event.data, 0.0)
        for event in reader.finish():
            parser.feed(event.name, event.data, 0.0)
    except WireError as error:
        _checked(error)
    try:
        parser.finish()
    except WireError as error:
        _checked(error)
    for chunk in parser.answer.chunks:
        chunk.text.encode()
    # A JSON escape of 6 bytes is at most 3 bytes of UTF-8, and a lone invalid byte becomes a U+FFFD of 3.
    assert len(parser.answer.text.encode()) <= 3 * sum(map(len, pieces))


def _targets(rng: random.Random) -> Iterator[tuple[str, Callable[[bytes], None]]]:
    def events(body: bytes) -> None:
        reader = EventReader()
        got = [event for piece in _pieces(rng, body) for event in reader.feed(piece)]
        got += reader.finish()
        assert sum(len(event.data) for event in got) <= len(body)

    yield "events", events
    for wire in Wire:
        adapter = ADAPTERS[wire]()
        yield f"json/{wire}", partial(read_plain, adapter)
        yield f"stream/{wire}", partial(_in_pieces, rng, adapter)
        yield f"exchange/{wire}", partial(_exchanged, rng, wire)


def read_plain(adapter: WireAdapter, body: bytes) -> None:
    """Parse a body as one plain reply. Raises what the parser should not."""
    try:
        adapter.parse(body).text.encode()
    except WireError as error:
        _checked(error)


def _in_pieces(rng: random.Random, adapter: WireAdapter, body: bytes) -> None:
    read_stream(adapter, _pieces(rng, body))


def _exchanged(rng: random.Random, wire: Wire, body: bytes) -> None:
    asyncio.run(_exchange(rng, wire, body))


async def _exchange(rng: random.Random, wire: Wire, body: bytes) -> None:
    """The whole way through the client: status, hostile headers, body in pieces."""
    headers = [(rng.choice(_HEADERS).encode(), _header_value(rng)) for _ in range(rng.randrange(5))]
    response = httpx.Response(rng.choice(_STATUSES), headers=headers, stream=_Stream(_pieces(rng, body)))
    target = Target.parse("http://model.example/v1", "m", wire=wire, api_key="sk-0123456789")
    limits = Limits(timeout_s=SLOW_SECONDS, retries=0, max_body_bytes=200_000, max_chunks=500)
    async with EndpointClient(target, limits, cli_policy(), transport=httpx.MockTransport(lambda _: response)) as client:
        (reply,) = await client.ask_all([Ask("fuzz", "fuzz/1", (("user", "?"),), 1, stream=True)])
    assert reply.ok or (reply.error is not None and reply.error.kind in ERROR_KINDS)
    json.dumps(reply.to_json()).encode()


def _header_value(rng: random.Random) -> bytes:
    known = (
        b"text/event-stream",
        b"application/json",
        b"identity",
        b"gzip",
        b"1",
        b"-1",
        b"1e999",
        b"nan",
        b"Wed, 21 Oct 2099 07:28:00 GMT",
    )
    value = rng.choice(
        (*known, b"https://a.example/?k=1", b"//[", b"\xff\xfe", bytes(rng.randrange(32, 256) for _ in range(rng.randrange(30))))
    )
    return value * rng.choice((1, 1, 1, 2))


class _Stream(httpx.AsyncByteStream):
    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            yield piece


def _pieces(rng: random.Random, body: bytes) -> list[bytes]:
    cuts = sorted(rng.randrange(len(body) + 1) for _ in range(rng.randrange(6)))
    return [body[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(body)], strict=True)]


def _recorded(data: Path) -> Iterator[tuple[Wire, bytes]]:
    """Up to SEEDS_PER_WIRE recorded replies of each wire, streams as their text."""
    left = Counter(dict.fromkeys(Wire, SEEDS_PER_WIRE))
    kinds = {"/chat/completions": Wire.OPENAI, "/responses": Wire.RESPONSES, "/messages": Wire.ANTHROPIC, "enerateContent": Wire.GEMINI}
    with gzip.open(data / "interactions.jsonl.gz", "rt", encoding="utf-8") as file:
        for line in file:
            if len(line) > LARGEST_SEED:
                continue
            record = json.loads(line)
            wire = next((wire for end, wire in kinds.items() if record["endpoint"].split("?")[0].endswith(end)), None)
            body = record["response_body"]
            if wire is None or not body or left[wire] <= 0:
                continue
            left[wire] -= 1
            yield wire, (body if isinstance(body, str) else json.dumps(body)).encode()


def _sse(events: tuple[Any, ...]) -> str:
    return "".join(f"event: {event.get('type', 'message')}\ndata: {json.dumps(event)}\n\n" for event in events)


def _checked(error: WireError) -> None:
    assert error.kind in ERROR_KINDS
    error.text.encode("utf-8", "replace")


def _memory_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
