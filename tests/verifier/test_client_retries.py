"""What the endpoint client asks again, how long it waits, and what a refusal teaches it."""

from __future__ import annotations

import json
import time

import httpx
import pytest
import stamina

from tests.verifier.asking import ask, kind, no_waiting, target
from tests.verifier.stand_ins import (
    completion,
    raw,
    reply,
    stall,
    stand_in,
)
from verifier.endpoint.client import EndpointClient, Limits
from verifier.endpoint.guard import cli_policy

__all__ = ["no_waiting"]


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
