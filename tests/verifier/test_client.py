"""What the endpoint client sends, what comes back, the budgets that it keeps and the guard that it asks."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest

from probes.probe import Reply
from tests.verifier.asking import BRIEF, CANARY, ask, kind, no_waiting, one, scripted, target
from tests.verifier.stand_ins import (
    completion,
    delta,
    events,
    reply,
    stand_in,
)
from verifier.endpoint.client import EndpointClient, Limits
from verifier.endpoint.guard import cli_policy
from verifier.errors import TargetRefusedError, UsageError

__all__ = ["no_waiting"]


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
