"""The endpoint client against servers that err, stall, flood, redirect and echo keys back."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import json
import logging
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest
import stamina
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from probes.probe import ERROR_KINDS, Ask, Chunk, Reply
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
from verifier.endpoint.redaction import MAX_ERROR_CHARS, REDACTED, Redactor
from verifier.errors import TargetRefusedError, UsageError
from verifier.target import Target

CANARY = "sk-canary-Zx81/+Qq=77"
BRIEF = Limits(timeout_s=5.0, retries=0)


@pytest.fixture(autouse=True)
def no_waiting() -> Iterator[None]:
    """Retries happen, but at once."""
    with stamina.set_testing(True, attempts=3, cap=True):
        yield


def ask(key: str = "a/1", content: str = "hi", **changes: Any) -> Ask:
    fields: dict[str, Any] = {"probe": "test", "key": key, "messages": (("user", content),), "max_tokens": 5}
    return Ask(**(fields | changes))


def target(base_url: str, **changes: Any) -> Target:
    return Target.parse(base_url, "stand-in", **({"api_key": CANARY} | changes))


async def one(handler: Handler, *, limits: Limits = BRIEF, stream: bool = False, **changes: Any) -> Reply:
    """The reply to one ask of a server with this one behaviour."""
    async with stand_in(handler) as server, EndpointClient(target(server.base_url, **changes), limits, cli_policy()) as client:
        return (await client.ask_all([ask(stream=stream)]))[0]


def kind(answer: Reply) -> str:
    assert answer.error is not None
    assert answer.error.kind in ERROR_KINDS
    assert answer.error.text == " ".join(answer.error.text.split())
    assert len(answer.error.text) <= MAX_ERROR_CHARS
    return answer.error.kind


def scripted(handler: Callable[[httpx.Request], httpx.Response]) -> httpx.MockTransport:
    return httpx.MockTransport(handler)


# What is sent and what comes back


async def test_a_plain_answer_becomes_a_reply() -> None:
    async with stand_in(reply(completion("hello", system_fingerprint="fp_1"), headers=[("X-Request-Id", "r1")])) as server:
        async with EndpointClient(target(server.base_url), BRIEF, cli_policy()) as client:
            (answer,) = await client.ask_all([ask()])
    assert answer.ok and answer.status == 200 and answer.attempts == 1
    assert (answer.text, answer.finish, answer.model, answer.id) == ("hello", "stop", "stand-in", "chatcmpl-1")
    assert answer.usage is not None and (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (7, 3)
    assert ("x-request-id", "r1") in answer.headers
    assert len(answer.sha256) == 64 and answer.seconds > 0 and answer.at >= 0
    assert (client.requests_sent, client.tokens_used, client.exhausted) == (1, 10, False)
    assert Reply.from_json(json.loads(json.dumps(answer.to_json()))) == answer
    sent = server.requests[0]
    assert sent.line == "POST /v1/chat/completions HTTP/1.1"
    assert sent.headers["authorization"] == f"Bearer {CANARY}"
    assert sent.headers["accept-encoding"] == "identity"
    assert "truename" not in repr(sent).lower()
    messages = [{"role": "user", "content": "hi"}]
    assert sent.json == {"model": "stand-in", "messages": messages, "max_tokens": 5, "temperature": 0.0, "stream": False}


async def test_the_callers_headers_query_and_fields_are_sent_and_win() -> None:
    async with stand_in(reply(completion())) as server:
        place = target(
            server.base_url,
            headers=[("Authorization", "Basic abc"), ("X-Extra", "1")],
            query=[("api-version", "2024-10-21"), ("a b", "c&d")],
            body={"temperature": 1, "top_k": 1},
        )
        async with EndpointClient(place, BRIEF, cli_policy()) as client:
            await client.ask_all([ask()])
    sent = server.requests[0]
    assert sent.line == "POST /v1/chat/completions?api-version=2024-10-21&a+b=c%26d HTTP/1.1"
    assert (sent.headers["authorization"], sent.headers["x-extra"]) == ("Basic abc", "1")
    assert (sent.json["temperature"], sent.json["top_k"]) == (1, 1)


async def test_without_a_key_no_authorization_is_sent() -> None:
    async with stand_in(reply(completion())) as server:
        async with EndpointClient(target(server.base_url, api_key=None), BRIEF, cli_policy()) as client:
            await client.ask_all([ask()])
    assert "authorization" not in server.requests[0].headers


async def test_streamed_pieces_keep_their_bounds_and_times() -> None:
    handler = events(delta("Hel"), delta(""), delta("lo"), delta(None, "stop"), pause_s=0.1)
    answer = await one(handler, stream=True)
    assert answer.ok and answer.text == "Hello" and answer.finish == "stop"
    assert [chunk.text for chunk in answer.chunks] == ["Hel", "lo"]
    assert answer.chunks[1].at - answer.chunks[0].at > 0.05


async def test_a_stream_that_stays_open_after_done_is_complete_at_once() -> None:
    answer = await one(events(delta("x", "stop"), hang=True), stream=True)
    assert answer.ok and answer.seconds < 3


async def test_plain_json_in_answer_to_a_stream_request_is_read_and_so_is_the_reverse() -> None:
    assert (await one(reply(completion("plain")), stream=True)).text == "plain"
    assert (await one(reply(completion("plain"), headers=[("content-type", "text/event-stream")]), stream=True)).text == "plain"
    assert (await one(events(delta("streamed", "stop")))).text == "streamed"
    mislabelled = reply(f"data: {delta('streamed', 'stop')}\n\n", headers=[("content-type", "application/json")])
    assert (await one(mislabelled, stream=True)).text == "streamed"


async def test_replies_come_in_the_order_of_the_asks_whatever_the_concurrency() -> None:
    async def answer(request: httpx.Request) -> httpx.Response:
        content = json.loads(request.content)["messages"][0]["content"]
        await asyncio.sleep(0.02 * (8 - int(content)))
        return httpx.Response(200, json=completion(content))

    seen: list[str] = []
    async with EndpointClient(
        target("http://model.example/v1"),
        Limits(concurrency=4),
        cli_policy(),
        transport=httpx.MockTransport(answer),
        on_reply=lambda one: seen.append(one.text),
    ) as client:
        replies = await client.ask_all([ask(f"a/{n}", str(n)) for n in range(8)])
    assert [one.text for one in replies] == [str(n) for n in range(8)]
    assert sorted(seen) == [str(n) for n in range(8)] != seen


async def test_no_more_requests_are_in_flight_than_the_concurrency_allows() -> None:
    flying = most = 0

    async def answer(request: httpx.Request) -> httpx.Response:
        nonlocal flying, most
        flying += 1
        most = max(most, flying)
        await asyncio.sleep(0.01)
        flying -= 1
        return httpx.Response(200, json=completion())

    async with EndpointClient(
        target("http://model.example/v1"), Limits(concurrency=3), cli_policy(), transport=httpx.MockTransport(answer)
    ) as client:
        await client.ask_all([ask(f"a/{n}") for n in range(12)])
    assert most == 3


# Faults


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


# Retries and what is learnt


async def test_a_429_is_retried_and_counts_as_a_request() -> None:
    async with stand_in(reply({}, 429, [("retry-after", "0")]), reply(completion())) as server:
        async with EndpointClient(target(server.base_url), Limits(), cli_policy()) as client:
            (answer,) = await client.ask_all([ask()])
    assert answer.ok and answer.attempts == 2 and client.requests_sent == 2 == len(server.requests)


async def test_a_server_that_keeps_failing_is_asked_three_times() -> None:
    async with stand_in(reply({}, 500)) as server, EndpointClient(target(server.base_url), Limits(), cli_policy()) as client:
        (answer,) = await client.ask_all([ask()])
    assert kind(answer) == "server-error" and answer.attempts == 3 == client.requests_sent


async def test_a_dropped_connection_is_retried() -> None:
    async with stand_in(raw(b""), reply(completion())) as server:
        async with EndpointClient(target(server.base_url), Limits(), cli_policy()) as client:
            (answer,) = await client.ask_all([ask()])
    assert answer.ok and answer.attempts == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 302])
async def test_a_refusal_is_not_retried(status: int) -> None:
    async with stand_in(reply({}, status)) as server, EndpointClient(target(server.base_url), Limits(), cli_policy()) as client:
        await client.ask_all([ask()])
    assert client.requests_sent == 1


@pytest.mark.parametrize(("retry", "sent"), [(True, 3), (False, 1)])
async def test_timeouts_are_retried_unless_the_caller_says_no(retry: bool, sent: int) -> None:
    async with stand_in(stall) as server, EndpointClient(target(server.base_url), Limits(timeout_s=0.1), cli_policy()) as client:
        (answer,) = await client.ask_all([ask()], retry_timeouts=retry)
    assert kind(answer) == "timeout" and client.requests_sent == sent


@pytest.mark.parametrize(
    ("header", "wait_s"),
    [
        (("retry-after", "0.25"), 0.25),
        (("retry-after-ms", "250"), 0.25),
        (("retry-after", "-5"), 0.0),
        (("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT"), 0.0),
    ],
)
async def test_the_servers_own_wait_is_honoured(header: tuple[str, str], wait_s: float) -> None:
    with stamina.set_testing(False):
        async with stand_in(reply({}, 429, [header]), reply(completion())) as server:
            async with EndpointClient(target(server.base_url), Limits(), cli_policy()) as client:
                began = time.monotonic()
                (answer,) = await client.ask_all([ask()])
    assert answer.attempts == 2 and wait_s <= time.monotonic() - began < wait_s + 4


@pytest.mark.parametrize("value", ["3600", "Wed, 21 Oct 2099 07:28:00 GMT"])
async def test_a_server_that_asks_for_too_long_a_wait_is_not_waited_for(value: str) -> None:
    async with stand_in(reply({}, 429, [("retry-after", value)])) as server:
        async with EndpointClient(target(server.base_url), Limits(), cli_policy()) as client:
            (answer,) = await client.ask_all([ask()])
    assert kind(answer) == "rate-limited" and client.requests_sent == 1


@pytest.mark.parametrize("value", ["soon", "nan", "inf", "", "9" * 400])
async def test_a_nonsensical_wait_is_ignored(value: str) -> None:
    async with stand_in(reply({}, 429, [("retry-after", value)]), reply(completion())) as server:
        async with EndpointClient(target(server.base_url), Limits(), cli_policy()) as client:
            (answer,) = await client.ask_all([ask()])
    assert answer.ok


async def test_a_model_that_refuses_our_fields_teaches_the_client_once() -> None:
    refusals = []

    async def picky(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        for field, message in (
            ("max_tokens", "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."),
            ("temperature", "Unsupported value: 'temperature' does not support 0 with this model."),
            ("stream_options", "extra fields not permitted: stream_options"),
        ):
            if field in body:
                refusals.append(field)
                return httpx.Response(400, json={"error": {"message": message}})
        assert body["max_completion_tokens"] == 5
        return httpx.Response(200, json=completion())

    async with EndpointClient(target("http://model.example/v1"), Limits(), cli_policy(), transport=httpx.MockTransport(picky)) as client:
        replies = await client.ask_all([ask(f"a/{n}", stream=True) for n in range(6)])
        replies += await client.ask_all([ask("a/7")])
    assert all(one.ok for one in replies)
    assert refusals == ["max_tokens", "temperature", "stream_options"]
    assert [one.attempts for one in replies] == [4, 1, 1, 1, 1, 1, 1] and client.requests_sent == 10


async def test_a_server_that_refuses_everything_is_not_asked_for_ever() -> None:
    body = {"error": {"message": "temperature max_completion_tokens stream_options"}}
    async with stand_in(reply(body, 400)) as server, EndpointClient(target(server.base_url), Limits(), cli_policy()) as client:
        (answer,) = await client.ask_all([ask(stream=True)])
    assert kind(answer) == "bad-request" and client.requests_sent == 4


# Budgets


async def test_asks_beyond_the_request_budget_are_absent_from_the_end() -> None:
    async with stand_in(reply(completion())) as server:
        async with EndpointClient(target(server.base_url), Limits(max_requests=3), cli_policy()) as client:
            replies = await client.ask_all([ask(f"a/{n}") for n in range(5)])
            assert await client.ask_all([ask("a/6")]) == []
    assert [one.ask.key for one in replies] == ["a/0", "a/1", "a/2"]
    assert client.requests_sent == 3 == len(server.requests) and client.exhausted


async def test_retries_never_exceed_the_request_budget() -> None:
    async with stand_in(reply({}, 500)) as server:
        async with EndpointClient(target(server.base_url), Limits(max_requests=5), cli_policy()) as client:
            replies = await client.ask_all([ask(f"a/{n}") for n in range(8)])
    assert client.requests_sent == 5 == len(server.requests) and client.exhausted
    assert [one.ask.key for one in replies] == [f"a/{n}" for n in range(len(replies))] and sum(one.attempts for one in replies) == 5


async def test_a_retry_or_a_repeat_that_the_budget_does_not_hold_is_not_sent() -> None:
    async with stand_in(reply({}, 500)) as server, EndpointClient(target(server.base_url), Limits(max_requests=2), cli_policy()) as client:
        (answer,) = await client.ask_all([ask()])
    assert kind(answer) == "server-error" and answer.attempts == 2 == len(server.requests)
    picky = reply({"error": "use max_completion_tokens"}, 400)
    async with stand_in(picky) as server, EndpointClient(target(server.base_url), Limits(max_requests=1), cli_policy()) as client:
        (answer,) = await client.ask_all([ask()])
    assert kind(answer) == "bad-request" and answer.attempts == 1 == len(server.requests)


async def test_the_token_budget_counts_what_is_reported() -> None:
    async with stand_in(reply(completion(usage={"prompt_tokens": 40, "completion_tokens": 10}))) as server:
        async with EndpointClient(target(server.base_url), Limits(max_tokens=120), cli_policy()) as client:
            replies = await client.ask_all([ask(f"a/{n}") for n in range(9)])
    # Several were under way before the first count came in; none began after the budget was spent.
    assert client.exhausted and client.tokens_used == 50 * len(replies) and 3 <= len(replies) <= 5


async def test_the_token_budget_counts_an_estimate_where_usage_is_missing() -> None:
    async with stand_in(reply(completion("x" * 30, usage=None))) as server:
        async with EndpointClient(target(server.base_url), Limits(max_tokens=1_000), cli_policy()) as client:
            await client.ask_all([ask(content="y" * 300)])
    assert client.tokens_used == 100 + 1 + 10


async def test_an_ask_that_the_token_budget_cannot_hold_is_not_sent() -> None:
    async with stand_in(reply(completion())) as server:
        async with EndpointClient(target(server.base_url), Limits(max_tokens=50), cli_policy()) as client:
            assert await client.ask_all([ask(max_tokens=100)]) == []
    assert client.exhausted and server.accepts == 0


async def test_a_refused_request_costs_no_tokens() -> None:
    async with stand_in(reply({}, 401)) as server, EndpointClient(target(server.base_url), BRIEF, cli_policy()) as client:
        await client.ask_all([ask()])
    assert client.tokens_used == 0


@pytest.mark.parametrize("limit", ["concurrency", "timeout_s"])
def test_limits_under_which_nothing_can_be_asked_are_refused(limit: str) -> None:
    with pytest.raises(UsageError):
        Limits(**{limit: 0})
    with pytest.raises(UsageError):
        Limits(max_requests=-1)


async def test_nothing_asked_is_nothing_sent() -> None:
    async with EndpointClient(target("http://127.0.0.1:9/v1"), Limits(), cli_policy()) as client:
        assert await client.ask_all([]) == []


# The guard


async def test_a_refused_address_raises_before_anything_is_sent() -> None:
    with pytest.raises(TargetRefusedError):
        async with EndpointClient(target("http://169.254.169.254/v1"), Limits(), cli_policy()):
            pytest.fail("the guard let it pass")


async def test_a_name_that_turns_out_refused_raises_it_plainly() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise TargetRefusedError("the target's address is refused", "no")

    async with EndpointClient(target("http://model.example/v1"), Limits(), cli_policy(), transport=scripted(refuse)) as client:
        with pytest.raises(TargetRefusedError):
            await client.ask_all([ask(f"a/{n}") for n in range(6)])


# Secrets


ECHOES: dict[str, Handler] = {
    "error body": reply({"error": {"message": f"Incorrect API key provided: {CANARY}"}}, 401),
    "plain text error": reply(f"bad header Authorization: Bearer {CANARY}", 400),
    "unparsed json error": reply(json.dumps({"echo": {"authorization": f"Bearer {CANARY}"}})[:-1], 500),
    "url-encoded": reply("redirect?token=sk-canary-Zx81%2F%2BQq%3D77", 400),
    "text": reply(completion(f"your key is {CANARY}!")),
    "fields": reply(completion(model=CANARY, id=CANARY, system_fingerprint=f"fp-{CANARY}")),
    "finish": reply(completion(choices=[{"message": {"content": "x"}, "finish_reason": CANARY}])),
    "headers": reply(
        completion(), headers=[("x-echo", f"Bearer {CANARY}"), (f"x-{CANARY[:9]}", "1"), ("authorization", f"Bearer {CANARY}")]
    ),
    "redirect": reply("", 302, [("location", f"https://{CANARY[:9]}.example/?k={CANARY}")]),
    "stream": events(delta(f"a {CANARY} b"), delta(None, "stop")),
    "stream in pieces": events(delta("a sk-can"), delta("ary-Zx8"), delta("1/+Qq=77 b"), delta(None, "stop")),
    "stream error": events(delta("x"), json.dumps({"error": f"no {CANARY}"})),
    "hidden in controls": reply({"detail": CANARY[:6] + "\u200b\x00" + CANARY[6:]}, 400),
    "not http": raw(f"Bearer {CANARY}\r\n\r\n".encode()),
}


@pytest.mark.parametrize("echo", ECHOES)
async def test_a_key_that_the_server_echoes_never_reaches_a_reply_a_log_or_a_repr(
    echo: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    async with stand_in(ECHOES[echo]) as server:
        place = target(server.base_url, headers=[("x-api-key", CANARY)], query=[("key", CANARY)])
        async with EndpointClient(place, BRIEF, cli_policy()) as client:
            (answer,) = await client.ask_all([ask(stream=echo.startswith("stream"))])
            shown = repr(client) + repr(place) + repr(vars(client))
        assert CANARY in server.requests[0].headers["authorization"]
    output = capsys.readouterr()
    everything = json.dumps(answer.to_json(), ensure_ascii=False) + repr(answer) + shown + caplog.text + output.out + output.err
    assert CANARY not in everything and "Zx81%2F" not in everything
    assert "".join(chunk.text for chunk in answer.chunks) in ("", answer.text)


async def test_a_redacted_reply_keeps_the_rest() -> None:
    assert (await one(ECHOES["text"])).text == f"your key is {REDACTED}!"
    answer = await one(ECHOES["stream in pieces"], stream=True)
    assert answer.text == f"a {REDACTED} b"
    assert [chunk.text for chunk in answer.chunks] == [f"a {REDACTED}", " b"]


async def test_cookies_credentials_and_account_ids_lose_their_values_and_keep_their_names() -> None:
    names = ["Set-Cookie", "OpenAI-Organization", "openai-project", "anthropic-organization-id", "X-User-Id", "x-amz-security-token"]
    kept = [("x-ratelimit-remaining-tokens", "5"), ("x-amzn-bedrock-input-token-count", "7"), ("server", "x"), ("cf-ray", "1")]
    answer = await one(reply(completion(), headers=[*((name, "secret-value") for name in names), *kept]))
    headers = dict(answer.headers)
    assert all(headers[name.lower()] == REDACTED for name in names)
    assert all(headers[name] == value for name, value in kept)
    assert all(name == name.lower() for name in headers)


async def test_a_placeholder_key_is_not_cut_out_of_honest_answers() -> None:
    answer = await one(reply(completion("hello from ollama", system_fingerprint="fp_ollama")), api_key="ollama")
    assert (answer.text, answer.system_fingerprint) == ("hello from ollama", "fp_ollama")


async def test_no_secret_is_in_an_exception_that_a_caller_may_see() -> None:
    def explode(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError(f"cannot reach {request.url} with {request.headers['authorization']}", request=request)

    place = target("http://model.example/v1", query=[("sig", CANARY)])
    async with EndpointClient(place, BRIEF, cli_policy(), transport=scripted(explode)) as client:
        (answer,) = await client.ask_all([ask()])
    assert kind(answer) == "unreachable" and CANARY not in repr(answer)


secret_text = st.text(st.sampled_from("ab-\u00e9"), max_size=30)


@given(st.lists(secret_text, max_size=6), st.integers(0, 30), st.text(st.sampled_from("ab-"), min_size=8, max_size=12))
def test_chunks_and_text_are_redacted_alike_however_the_stream_is_cut(pieces: list[str], where: int, key: str) -> None:
    whole = "".join(pieces)
    whole = whole[:where] + key + whole[where:]
    redactor = Redactor(Target("http://x.example/v1", "m", api_key=SecretStr(key)))
    cut = [whole[n : n + 3] for n in range(0, len(whole), 3)]
    chunks = redactor.chunks([Chunk(piece, float(n)) for n, piece in enumerate(cut)])
    assert "".join(chunk.text for chunk in chunks) == redactor.text(whole)
    assert key not in redactor.text(whole)


@given(st.text())
def test_an_error_line_is_one_short_printable_line(text: str) -> None:
    line = Redactor(Target("http://x.example/v1", "m", api_key=SecretStr(CANARY))).error_line(text + CANARY + text)
    assert len(line) <= MAX_ERROR_CHARS and "\n" not in line and line == line.strip() and CANARY not in line
    assert line.isprintable()
    line.encode()
