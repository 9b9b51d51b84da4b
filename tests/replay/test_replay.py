"""Every recorded reply of the four wires, replayed through the endpoint client as if its server had just sent it."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
from collections.abc import Iterable
from pathlib import Path

import httpx
import pytest

from fingerprints.wire import Wire
from probes.probe import ERROR_KINDS, Ask, Reply, Usage
from tests.replay import recordings
from tests.replay.recordings import Excluded, Recording
from verifier.endpoint.client import EndpointClient, Limits
from verifier.endpoint.guard import cli_policy
from verifier.endpoint.redaction import MAX_ERROR_CHARS
from verifier.target import Target

pytestmark = [pytest.mark.replay, pytest.mark.timeout(600)]

LIMITS = Limits(timeout_s=60.0, retries=0, max_body_bytes=50_000_000, max_chunks=1_000_000)

Counts = dict[tuple[str, str], collections.Counter[str]]


def test_every_recorded_interaction_parses_or_is_a_typed_error(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    counts, failed = asyncio.run(replay(recordings.interactions(shared)))
    show("recorded interactions", counts, capsys)
    assert failed == []
    read = collections.Counter[str]()
    for (wire, _), kinds in counts.items():
        read[wire] += kinds["plain"] + kinds["streamed"]
        read[f"{wire} errors"] += kinds["errors"]
    assert read[Wire.OPENAI] > 5_000 and min(read[Wire.RESPONSES], read[Wire.ANTHROPIC], read[Wire.GEMINI]) > 1_000
    assert min(read[f"{wire} errors"] for wire in Wire) > 20
    assert sum(kinds["excluded"] for kinds in counts.values()) < 100


def test_every_recorded_local_server_parses_or_is_a_typed_error(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    counts, failed = asyncio.run(replay(recordings.servers(shared)))
    show("recorded local servers", counts, capsys)
    assert failed == []
    assert sum(kinds["plain"] + kinds["streamed"] for kinds in counts.values()) > 200


async def replay(recorded: Iterable[Recording | Excluded]) -> tuple[Counts, list[str]]:
    """Counts per (wire, provider), and a line for every recording that is not read as it should be."""
    counts: Counts = collections.defaultdict(collections.Counter)
    failed: list[str] = []
    for recording in recorded:
        row = counts[str(recording.wire), recording.provider]
        if isinstance(recording, Excluded):
            row["excluded"] += 1
            counts["excluded", recording.reason][str(recording.wire)] += 1
            continue
        reply = await answer(recording)
        said = recordings.message(recording)
        wrong = misread_error(recording, reply, said) if said is not None else misread_answer(recording, reply)
        if wrong:
            failed.append(f"{recording.wire} {recording.provider} {recording.id}: {wrong}")
        row["errors" if said is not None else "streamed" if recording.streamed else "plain"] += 1
    return counts, failed


async def answer(recording: Recording) -> Reply:
    """The recording as the client reads it."""
    transport = httpx.MockTransport(lambda _: httpx.Response(recording.status, headers=list(recording.headers), content=recording.body))
    target = Target.parse("http://model.example/v1", "m", wire=recording.wire)
    async with EndpointClient(target, LIMITS, cli_policy(), transport=transport) as client:
        ask = Ask("replay", "replay/1", (("user", "?"),), 1, temperature=None, stream=recording.streamed)
        (reply,) = await client.ask_all([ask])
    return reply


def misread_error(recording: Recording, reply: Reply, said: str) -> str | None:
    """What is wrong with the reply to a recorded error: it must be typed, and its text must be the server's message."""
    if reply.error is None:
        return f"an error was read as an answer: {said}"
    if reply.error.kind not in ERROR_KINDS or (recording.status >= 400 and reply.error.kind == "bad-reply"):
        return f"kind {reply.error.kind}"
    wanted = " ".join((f"HTTP {recording.status}: " if recording.status >= 400 else "").split() + said.split())
    if not said and recording.status >= 400:
        wanted = f"HTTP {recording.status}"
    got = reply.error.text.removesuffix("…")
    return None if wanted[: MAX_ERROR_CHARS - 20] in got or got in wanted else f"{reply.error.text!r} does not say {wanted!r}"


def misread_answer(recording: Recording, reply: Reply) -> str | None:
    """What is wrong with the reply to a recorded success: text, usage and finish must be what the recording holds."""
    if reply.error is not None:
        return f"{reply.error.kind}: {reply.error.text}"
    text, finish, counts = recordings.text(recording), recordings.finish(recording), recordings.usage(recording)
    if reply.text != text:
        return f"text {reply.text[:60]!r} instead of {text[:60]!r}"
    if "".join(chunk.text for chunk in reply.chunks) != (text if recording.streamed else ""):
        return "the streamed pieces are not the text"
    if reply.finish != finish and (finish in ("stop", "length", None) or reply.finish is None):
        return f"finish {reply.finish!r} instead of {finish!r}"
    got = dataclasses.astuple(reply.usage or Usage())
    return None if got == counts else f"usage {got} instead of {counts}"


def show(title: str, counts: Counts, capsys: pytest.CaptureFixture[str]) -> None:
    """Print the counts past pytest's capture."""
    with capsys.disabled():
        print(f"\n  {title}")
        for (wire, provider), kinds in sorted(counts.items(), key=lambda item: (item[0][0] == "excluded", item[0])):
            print(f"    {wire:<10} {provider:<44} " + ", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items())))
