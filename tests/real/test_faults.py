"""Endpoints that are down, refuse the key or answer nonsense: one clear line, exit 4 (or 3 where something was answered), soon."""

from __future__ import annotations

import asyncio
import gzip
import re
import socket
from pathlib import Path

import pytest

from tests.real.command import CANARY, Outcome, truename
from tests.verifier.stand_ins import (
    Handler,
    Request,
    completion,
    delta,
    endless,
    events,
    gzip_bomb,
    reply,
    stall,
    stand_in,
)

pytestmark = pytest.mark.real  # no model is started, so any worker may run any of these

PATIENCE_S = 30.0
PROGRESS = re.compile(r" *\d+  [a-z]+/\S+  \S.*|      evidence so far: .*")
PAGE = "<!doctype html><html><head><title>Welcome to nginx</title></head><body>" + "<p>hello</p>" * 500 + "</body></html>"


async def echo_the_key(request: Request, writer: asyncio.StreamWriter) -> None:
    """Refuse the key and say it back, as some gateways do."""
    said = request.headers["authorization"]
    await reply({"error": {"message": f"Incorrect API key provided: {said}"}}, 401, [("x-your-key", said)])(request, writer)


FAULTS: dict[str, tuple[Handler, str]] = {
    "500": (reply({"error": {"message": "the backend is gone"}}, 500), "server-error"),
    "500-html": (reply(PAGE, 500, [("content-type", "text/html")]), "server-error"),
    "401": (reply({"error": {"message": "invalid key"}}, 401), "refused-key"),
    "401-echoes-the-key": (echo_the_key, "refused-key"),
    "403": (reply("Forbidden", 403, [("content-type", "text/plain")]), "refused-key"),
    "404": (reply({"detail": "Not Found"}, 404), "not-found"),
    "429-for-an-hour": (reply({"error": {"message": "slow down"}}, 429, [("retry-after", "3600")]), "rate-limited"),
    "redirect": (reply("", 302, [("location", "http://127.0.0.1:1/v1")]), "redirected"),
    "garbage-json": (reply('{"choices": [{]'), "bad-reply"),
    "json-without-choices": (reply({"object": "list", "data": []}), "bad-reply"),
    "html-page": (reply(PAGE, 200, [("content-type", "text/html")]), "bad-reply"),
    "body-cut-short": (reply('{"id": "chatcmpl-1", "choices": [{"mess', length=100_000), "bad-reply"),
    "stream-cut-short": (events(delta("hel"), done=False), "cut-stream"),
    "stall": (stall, "timeout"),
    "stall-in-the-body": (endless(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n", b" ", 0.2), "timeout"),
    "endless-body": (endless(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n", b" " * 65_536), "too-large"),
    "gzip-bomb": (gzip_bomb(), "bad-encoding"),
}
"""Name of the fault -> what serves it, and the kind of error that the one line must name."""


def _audit(base_url: str, *more: str) -> Outcome:
    return truename("audit", base_url, "--claim", "gpt-4o", "--timeout", "3", *more, timeout_s=60.0)


def _ended_with_one_line(ended: Outcome) -> str:
    """The one line of an audit that could not run; everything else on stderr is progress, stdout is empty, no secret is said."""
    assert ended.code == 4, ended
    assert ended.seconds < PATIENCE_S
    assert ended.stdout == ""
    lines = ended.stderr.splitlines()
    others = [line for line in lines if not PROGRESS.fullmatch(line)]
    assert len(others) == 1, ended.stderr
    assert others[0] == lines[-1] and others[0].startswith("truename: "), ended.stderr
    assert ";" in others[0], "the line says what to do"
    assert len(others[0]) < 500
    assert "Traceback" not in ended.stderr and CANARY not in ended.stderr
    return others[0]


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_faulty_endpoint_ends_the_audit_soon_with_one_clear_line(fault: str) -> None:
    handler, kind = FAULTS[fault]
    async with stand_in(handler) as server:
        ended = await asyncio.to_thread(_audit, server.base_url)
        line = _ended_with_one_line(ended)
    assert f": {kind}: " in line
    assert str(server.port) in line


async def test_a_refused_connection_ends_the_audit_soon_with_one_clear_line() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound but not listening: nobody else can take the port meanwhile
        ended = await asyncio.to_thread(_audit, f"http://127.0.0.1:{held.getsockname()[1]}/v1")
    assert ": unreachable: " in _ended_with_one_line(ended)


@pytest.mark.parametrize(
    "arguments",
    [
        ["audit", "http://127.0.0.1:9/v1"],
        ["audit", "http://127.0.0.1:9/v1", "--claim", "gpt-4o", "--seed", "soon"],
        ["audit", "http://127.0.0.1:9/v1", "--claim", "gpt-4o", "--suite", "huge"],
        ["audit", "ftp://127.0.0.1/v1", "--claim", "gpt-4o"],
        ["aduit"],
    ],
    ids=["no claim", "no number", "no such suite", "no URL of ours", "no such command"],
)
def test_wrong_usage_ends_with_one_line_on_what_is_wrong_and_exit_2(arguments: list[str]) -> None:
    ended = truename(*arguments)
    assert (ended.code, ended.stdout) == (2, ""), ended
    assert len([line for line in ended.stderr.splitlines() if line.startswith(("Error: ", "truename: "))]) == 1, ended.stderr
    assert "Traceback" not in ended.stderr


async def test_an_outage_after_the_first_answers_is_inconclusive_not_clean(tmp_path: Path) -> None:
    down = reply({"error": {"message": f"overloaded, dear {CANARY}"}}, 503)
    async with stand_in(reply(completion()), reply(completion()), down) as server:
        ended = await asyncio.to_thread(_audit, server.base_url, "--suite", "quick", "--out", str(tmp_path))
    assert ended.code == 3, ended
    assert ended.seconds < 2 * PATIENCE_S  # it answered, so there were questions to plan: seconds of arithmetic on a busy machine
    assert ended.stdout.startswith("INCONCLUSIVE")
    assert [line for line in ended.stderr.splitlines() if not PROGRESS.fullmatch(line)] == []
    assert "Traceback" not in ended.stderr
    stored = gzip.decompress((tmp_path / "transcript.jsonl.gz").read_bytes()) + (tmp_path / "report.json").read_bytes()
    assert CANARY not in ended.stdout + ended.stderr and CANARY.encode() not in stored
