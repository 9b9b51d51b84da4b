"""The endpoint client against servers that err, stall, flood, redirect and break off: each fault is an error of a kind."""

from __future__ import annotations

import gzip
import itertools
import json
import time
import tracemalloc
from collections.abc import AsyncIterator

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.probe import Reply
from tests.verifier.asking import BRIEF, CANARY, ask, kind, no_waiting, one, scripted, target
from tests.verifier.stand_ins import (
    Handler,
    completion,
    delta,
    endless,
    events,
    gzip_bomb,
    raw,
    raw_then_stall,
    reply,
    stall,
    stand_in,
)
from verifier.endpoint.client import EndpointClient, Limits
from verifier.endpoint.guard import cli_policy

__all__ = ["no_waiting"]


async def test_a_gzip_bomb_is_refused_before_a_byte_of_it_is_decompressed() -> None:
    bomb = gzip_bomb()
    tracemalloc.start()
    try:
        answer = await one(bomb)
        assert tracemalloc.get_traced_memory()[1] < 16_000_000
    finally:
        tracemalloc.stop()
    assert kind(answer) == "bad-encoding" and answer.text == ""


@pytest.mark.parametrize("coding", ["gzip", "br", "identity, gzip", "GZIP"])
async def test_any_content_coding_but_identity_is_refused(coding: str) -> None:
    assert kind(await one(reply(gzip.compress(b"{}"), headers=[("content-encoding", coding)]))) == "bad-encoding"
    assert (await one(reply(completion(), headers=[("content-encoding", "identity")]))).ok


async def test_a_compressed_refusal_is_still_a_refusal() -> None:
    answer = await one(reply(gzip.compress(b"{}"), 401, headers=[("content-encoding", "gzip")]))
    assert kind(answer) == "refused-key"


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{", b" " * 50_000),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"\n" * 50_000),
        (b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: ", b"x" * 50_000),
        (b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n", b": comment\n" * 5_000),
        (b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n", f"data: {delta('x')}\n\n".encode() * 500),
    ],
)
async def test_an_endless_body_ends_at_the_cap_in_bounded_memory(head: bytes, piece: bytes) -> None:
    tracemalloc.start()
    try:
        answer = await one(endless(head, piece), stream=True, limits=Limits(max_body_bytes=400_000, retries=0))
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()
    assert kind(answer) == "too-large"


async def test_a_stream_of_too_many_events_is_cut_and_keeps_its_text() -> None:
    answer = await one(events(*[delta("x")] * 30), stream=True, limits=Limits(max_chunks=10, retries=0))
    assert kind(answer) == "too-large" and answer.text == "x" * 10


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"x-%d: %s\r\n" % (n, b"y" * 900) for n in range(80)) + b"\r\n{}",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 300_000 + b"\r\n\r\n{}",
    ],
)
async def test_huge_headers_are_refused(head: bytes) -> None:
    answer = await one(raw(head))
    assert kind(answer) == "too-large" and answer.headers == ()


async def test_endless_headers_are_refused() -> None:
    assert kind(await one(endless(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n" * 2_000))) == "too-large"


@pytest.mark.parametrize(
    "handler",
    [
        stall,
        endless(b"HTTP/1.1 200 OK\r\n\r\n{", b" ", 0.02),
        endless(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n", f"data: {delta('x')}\n\n".encode(), 0.02),
        endless(b"HTTP/1.1 103 Early Hints\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\n\r\n", 0.01),
    ],
)
async def test_a_stall_and_a_slow_drip_end_at_the_time_cap(handler: Handler) -> None:
    began = time.monotonic()
    answer = await one(handler, stream=True, limits=Limits(timeout_s=0.4, retries=0))
    assert kind(answer) == "timeout" and time.monotonic() - began < 5


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
async def test_a_redirect_is_an_error_and_nobody_follows_it(status: int) -> None:
    async with stand_in(reply(completion())) as canary:
        location = f"{canary.base_url}/moved?sig={CANARY}"
        answer = await one(reply("", status, [("location", location)]))
        assert canary.accepts == 0
    assert kind(answer) == "redirected" and answer.error is not None
    assert str(canary.port) in answer.error.text and "sig" not in answer.error.text


@pytest.mark.parametrize("location", ["", "/elsewhere", "http://[::1", "http://a\\b", "javascript:1", "http://u:p@h/"])
async def test_a_redirect_to_nonsense_is_still_only_a_redirect(location: str) -> None:
    assert kind(await one(reply("", 307, [("location", location)]))) == "redirected"


@pytest.mark.parametrize(
    "body",
    ["", "garbage", "<html><title>502 Bad</title></html>", "[]", "null", "1", '"x"', "{}", "{", "[" * 100_000, "9" * 5_000, b"\xff\xfe"],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_garbage_is_a_bad_reply(body: str | bytes, stream: bool) -> None:
    assert kind(await one(reply(body), stream=stream)) == "bad-reply"
    assert kind(await one(reply(body, headers=[("content-type", "text/event-stream")]), stream=stream)) == "bad-reply"


async def test_a_body_that_breaks_off_is_a_bad_reply_and_a_wrong_length_alone_is_not() -> None:
    assert kind(await one(reply('{"choices": [{"mess', length=500))) == "bad-reply"
    assert (await one(reply(completion(), length=5_000))).ok


@pytest.mark.parametrize(
    "body",
    [
        b"content-type: text/event-stream\r\n\r\ndata: %s\n\n" % delta("Hel").encode(),
        b'content-type: text/event-stream\r\n\r\ndata: %s\n\ndata: {"choi' % delta("Hel").encode(),
        b"content-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n1000\r\ndata: %s\n\n" % delta("Hel").encode(),
    ],
)
async def test_a_stream_that_breaks_off_is_cut_and_keeps_its_text(body: bytes) -> None:
    answer = await one(raw(b"HTTP/1.1 200 OK\r\n" + body), stream=True)
    assert kind(answer) == "cut-stream" and answer.text == "Hel"
    assert [chunk.text for chunk in answer.chunks] == ["Hel"]


async def test_a_stream_that_breaks_off_after_its_finish_reason_is_complete() -> None:
    body = f"data: {delta('Hello', 'stop')}\n\n".encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    assert (await one(raw(head + b"1000\r\n" + body), stream=True)).ok


async def test_an_error_in_mid_stream_is_reported_with_the_text_so_far() -> None:
    error = json.dumps({"error": {"message": "upstream overloaded", "code": 502}})
    answer = await one(events(delta("Hel"), error), stream=True)
    assert kind(answer) == "server-error" and answer.text == "Hel"
    assert answer.error is not None and "upstream overloaded" in answer.error.text


@pytest.mark.parametrize("data", [b"", b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/1.1 two hundred\r\n\r\n", b"\x15\x03\x01\x00\x02\x02\x16"])
async def test_what_is_not_http_is_unreachable(data: bytes) -> None:
    assert kind(await one(raw(data))) == "unreachable"


async def test_nobody_listening_is_unreachable_and_not_retried() -> None:
    async with stand_in(stall) as server:
        gone = server.base_url
    async with EndpointClient(target(gone), Limits(), cli_policy()) as client:
        (answer,) = await client.ask_all([ask()])
    assert kind(answer) == "unreachable" and answer.status is None and client.requests_sent == 1


async def test_a_tls_failure_is_unreachable() -> None:
    async with stand_in(speak_first=b"this is not TLS\r\n") as server:
        async with EndpointClient(target(server.base_url.replace("http://", "https://")), BRIEF, cli_policy()) as client:
            (answer,) = await client.ask_all([ask()])
    assert kind(answer) == "unreachable"


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        *((400, "bad-request"), (402, "bad-request"), (413, "bad-request"), (422, "bad-request")),
        *((401, "refused-key"), (403, "refused-key"), (404, "not-found"), (429, "rate-limited")),
        *((500, "server-error"), (503, "server-error"), (529, "server-error")),
    ],
)
async def test_a_status_says_its_kind_and_carries_the_servers_own_words(status: int, expected: str) -> None:
    answer = await one(reply({"error": {"message": "the\n  reason\x00\u202e"}}, status))
    assert kind(answer) == expected and answer.status == status
    assert answer.error is not None and answer.error.text == f"HTTP {status}: the reason"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"detail": "why"}, "why"),
        ({"detail": [{"msg": "why", "loc": []}]}, "why"),
        ({"message": "why"}, "why"),
        ({"error": "why"}, "why"),
        ([{"error": {"code": 400, "message": "why", "status": "X"}}], "why"),
        ({"object": "error", "message": "why"}, "why"),
        ({"code": "x", "error": "why"}, "why"),
        ("why", "why"),
        ("<html><head><title>why</title></head></html>", "why"),
        ("<html>", ""),
        ("x" * 5_000, "x" * 280),
        ("", ""),
        ({"error": {}}, ""),
        ([], ""),
    ],
)
async def test_error_bodies_of_every_shape_give_their_message(body: object, said: str) -> None:
    answer = await one(reply(body, 400))
    assert kind(answer) == "bad-request" and answer.error is not None and said in answer.error.text


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (
            400,
            {"error": {"code": 400, "message": "API key not valid. Please pass a valid API key.", "status": "INVALID_ARGUMENT"}},
            "refused-key",
        ),
        (400, {"code": "invalid-argument", "error": "Incorrect API key provided."}, "refused-key"),
        (400, {"error": {"message": "x", "type": "invalid_request_error", "code": "model_not_found"}}, "not-found"),
        (422, {"error": {"message": "x", "type": "authentication_error"}}, "refused-key"),
        (400, {"error": {"message": "x", "type": "invalid_request_error"}}, "bad-request"),
        (400, {"error": {"message": "the text holds the word api key"}}, "bad-request"),
        (404, {"error": {"message": "x", "type": "authentication_error"}}, "not-found"),
        (500, {"error": {"message": "Incorrect API key provided", "code": 401}}, "server-error"),
    ],
)
async def test_a_400_is_typed_by_what_the_server_says_and_any_other_status_by_itself(status: int, body: object, expected: str) -> None:
    assert kind(await one(reply(body, status))) == expected


async def test_an_endless_error_body_is_read_only_so_far() -> None:
    answer = await one(endless(b"HTTP/1.1 500 X\r\n\r\n", b"x" * 10_000))
    assert kind(answer) == "server-error" and answer.seconds < 3


async def test_an_error_whose_body_stalls_is_known_by_its_status(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verifier.endpoint.exchange._ERROR_BODY_S", 0.2)
    answer = await one(raw_then_stall(b"HTTP/1.1 401 X\r\ncontent-length: 5\r\n\r\n"), limits=Limits(timeout_s=8.0, retries=0))
    assert kind(answer) == "refused-key" and answer.seconds < 5


class Pieces(httpx.AsyncByteStream):
    """A body in these pieces, broken off at the end or not."""

    def __init__(self, pieces: list[bytes], broken: bool) -> None:
        self.pieces, self.broken = pieces, broken

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            yield piece
        if self.broken:
            raise httpx.RemoteProtocolError("peer closed connection without sending complete message body")


streamed_bodies = st.lists(st.sampled_from([delta("a"), delta(None, "stop"), "[DONE]", '{"error": "x"}', "{", "", "7"]), max_size=5).map(
    lambda data: "".join(f"data: {one}\n\n" for one in data).encode()
)
bodies = st.binary(max_size=60) | streamed_bodies | st.just(json.dumps(completion()).encode())


@given(
    bodies, st.lists(st.integers(0, 400), max_size=5), st.booleans(), st.sampled_from([200, 201, 204, 302, 401, 429, 500]), st.booleans()
)
@settings(deadline=None)
async def test_no_body_in_any_pieces_makes_it_raise(body: bytes, cuts: list[int], broken: bool, status: int, events: bool) -> None:
    bounds = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    pieces = [body[start:stop] for start, stop in itertools.pairwise(bounds)]
    headers = {"content-type": "text/event-stream"} if events else {}
    answers = scripted(lambda _: httpx.Response(status, headers=headers, stream=Pieces(pieces, broken)))
    async with EndpointClient(target("http://model.example/v1"), BRIEF, cli_policy(), transport=answers) as client:
        (answer,) = await client.ask_all([ask(stream=True)])
    assert answer.ok or kind(answer)
    assert answer.ok is False or status < 300
    assert Reply.from_json(json.loads(json.dumps(answer.to_json()))) == answer
