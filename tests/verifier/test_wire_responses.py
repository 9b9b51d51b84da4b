"""The OpenAI Responses wire: what it sends, and how it reads plain responses and semantic events."""

from __future__ import annotations

import json
from typing import Any

import pytest

from probes.probe import Ask, TokenBytes, Usage
from verifier.endpoint.wires.base import NO_LOGPROBS, Answer, WireError
from verifier.endpoint.wires.responses import OpenAIResponses
from verifier.target import Target

WIRE = OpenAIResponses()
TARGET = Target.parse("https://api.example.com/v1", "m", api_key="sk-0123456789")


def ask(**changes: Any) -> Ask:
    fields: dict[str, Any] = {"probe": "p", "key": "k", "messages": (("system", "s"), ("user", "u")), "max_tokens": 50}
    return Ask(**(fields | changes))


def response(*items: Any, **changes: Any) -> dict[str, Any]:
    usage = {"input_tokens": 7, "output_tokens": 3}
    return {"id": "resp_1", "object": "response", "model": "m-1", "status": "completed", "output": [*items], "usage": usage} | changes


def message(*texts: str, **changes: Any) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text} for text in texts]} | changes


def plain(body: object) -> Answer:
    return WIRE.parse(json.dumps(body).encode())


def streamed(*events: dict[str, Any]) -> Answer:
    """The answer of a stream of these events, the n-th of which comes after n seconds."""
    parser = WIRE.stream()
    for at, event in enumerate(events):
        parser.feed(str(event.get("type", "message")), json.dumps(event), float(at))
    parser.finish()
    return parser.answer


def delta(text: str) -> dict[str, Any]:
    return {"type": "response.output_text.delta", "delta": text, "obfuscation": "xyz"}


def last(kind: str = "response.completed", **changes: Any) -> dict[str, Any]:
    return {"type": kind, "response": response(**changes)}


def test_a_request_carries_the_messages_as_input_and_the_key_as_bearer() -> None:
    request = WIRE.build(ask(temperature=0.5, stream=True), TARGET)
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    assert (request.method, request.path) == ("POST", "/responses")
    assert request.body == {"model": "m", "input": messages, "stream": True, "max_output_tokens": 50, "temperature": 0.5}
    assert [(name, value.get_secret_value()) for name, value in request.headers] == [("authorization", "Bearer sk-0123456789")]


@pytest.mark.parametrize(("asked", "sent"), [(1, 16), (15, 16), (16, 16), (17, 17)])
def test_an_ask_for_fewer_tokens_than_the_vendors_least_is_sent_as_the_least(asked: int, sent: int) -> None:
    assert WIRE.build(ask(max_tokens=asked), TARGET).body["max_output_tokens"] == sent


def test_azure_is_given_the_key_in_its_own_header() -> None:
    target = Target.parse("https://x.openai.azure.com/openai/v1", "m", api_key="k-0123456789")
    assert [name for name, _ in WIRE.build(ask(), target).headers] == ["api-key"]


def test_only_the_text_of_messages_is_text() -> None:
    items = (
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}], "content": [{"type": "reasoning_text", "text": "hm"}]},
        {"type": "function_call", "arguments": "{}"},
        message("a", "b"),
        message(content=[{"type": "refusal", "refusal": "no"}, 5, None]),
        message("c"),
    )
    answer = plain(response(*items))
    assert (answer.text, answer.finish, answer.id, answer.model, answer.usage) == ("abc", "stop", "resp_1", "m-1", Usage(7, 3))


@pytest.mark.parametrize(
    ("changes", "finish"),
    [
        ({}, "stop"),
        ({"status": "complete"}, "stop"),
        ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, "length"),
        ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, "content_filter"),
        ({"status": "incomplete", "incomplete_details": None}, "incomplete"),
        ({"status": "in_progress"}, "in_progress"),
        ({"status": None}, "stop"),
        ({"status": None, "output": []}, None),
        ({"status": 5, "output": "x", "error": None}, "bad"),
    ],
)
def test_the_finish_is_the_reason_of_an_incomplete_response_or_its_status(changes: dict[str, Any], finish: str | None) -> None:
    body = response(message("x", status="completed")) | changes
    if finish == "bad":
        with pytest.raises(WireError):
            plain(body)
    else:
        assert plain(body).finish == finish


def test_hidden_thought_that_eats_the_limit_is_an_empty_text_with_its_reason_and_its_count() -> None:
    usage = {
        "input_tokens": 7,
        "input_tokens_details": {"cached_tokens": 4},
        "output_tokens": 16,
        "output_tokens_details": {"reasoning_tokens": 16},
    }
    cut = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}, "usage": usage}
    answer = plain(response({"type": "reasoning"}, **cut))
    assert (answer.text, answer.finish, answer.usage) == ("", "length", Usage(7, 16, 4, 16))
    answer = streamed(
        {"type": "response.created", "response": response(status="in_progress", usage=None)}, last("response.incomplete", **cut)
    )
    assert (answer.text, answer.finish, answer.usage) == ("", "length", Usage(7, 16, 4, 16))


def test_a_failed_response_is_an_error_though_its_status_is_200() -> None:
    failed = response(status="failed", error={"code": "server_error", "message": "boom"})
    for read in (lambda: plain(failed), lambda: streamed({"type": "response.failed", "response": failed})):
        with pytest.raises(WireError) as caught:
            read()
        assert (caught.value.kind, caught.value.text) == ("server-error", "boom")


def test_a_stream_is_its_text_deltas_and_the_last_event_completes_it() -> None:
    parser = WIRE.stream()
    started = {"type": "response.created", "response": response(status="in_progress", usage=None)}
    thought = {"type": "response.reasoning_summary_text.delta", "delta": "hm"}
    whole = {"type": "response.output_text.done", "text": "ab"}
    for at, event in enumerate((started, thought, delta("a"), delta("b"), whole)):
        parser.feed("x", json.dumps(event), float(at))
    assert not parser.done and parser.answer.finish is None
    parser.feed("response.completed", json.dumps(last(output=[message("ab")])), 9.0)
    parser.finish()
    assert parser.done and parser.answer.text == "ab" and parser.answer.finish == "stop"
    assert [(chunk.text, chunk.at) for chunk in parser.answer.chunks] == [("a", 2.0), ("b", 3.0)]
    assert (parser.answer.id, parser.answer.usage) == ("resp_1", Usage(7, 3))


def test_a_stream_of_nothing_but_its_end_has_its_text_in_one_piece() -> None:
    answer = streamed(last(output=[message("ab")]))
    assert answer.text == "ab" and [chunk.text for chunk in answer.chunks] == ["ab"]


def test_an_event_is_known_by_its_type_and_an_unknown_one_is_passed_over() -> None:
    assert streamed({"type": "response.future", "message": "x", "response": 5}, delta("a"), last()).text == "a"


def test_an_error_event_ends_the_stream() -> None:
    with pytest.raises(WireError) as caught:
        streamed(delta("a"), {"type": "error", "code": "rate_limit_exceeded", "message": "slow down"})
    assert (caught.value.kind, caught.value.text) == ("rate-limited", "slow down")


# Tokens that log probabilities spell


def part(text: str, *tokens: str) -> dict[str, Any]:
    entries = [{"token": token, "bytes": [*token.encode()], "logprob": -0.1, "top_logprobs": [{"token": "z"}]} for token in tokens]
    return {"type": "output_text", "text": text, "logprobs": entries}


def test_log_probabilities_are_asked_for_until_the_model_refuses_them() -> None:
    request = WIRE.build(ask(logprobs=5), TARGET)
    assert (request.body["include"], request.body["top_logprobs"]) == (["message.output_text.logprobs"], 5)
    refusals = (
        "logprobs are not supported with reasoning models.",
        "top_logprobs requires logprobs to be set to true",
        "Unknown parameter: 'include'.",
    )
    assert {WIRE.learn(request, said, frozenset()) for said in refusals} == {NO_LOGPROBS}
    assert not {"include", "top_logprobs"} & WIRE.build(ask(logprobs=5), TARGET, {NO_LOGPROBS}).body.keys()
    assert not {"include", "top_logprobs"} & WIRE.build(ask(), TARGET).body.keys()
    assert WIRE.learn(WIRE.build(ask(), TARGET), "logprobs", frozenset()) is None


def test_the_tokens_of_all_parts_of_messages_are_read() -> None:
    items = ({"type": "reasoning", "content": [part("no", "no")]}, message(content=[part("ab", "a", "b"), part("c", "c")]))
    assert plain(response(*items)).tokens == [TokenBytes(one, (b"z",)) for one in (b"a", b"b", b"c")]


def test_streamed_tokens_come_with_the_deltas_and_the_last_event_has_them_all() -> None:
    deltas = [delta(token) | {"logprobs": part(token, token)["logprobs"]} for token in "ab"]
    spelled = [TokenBytes(b"a", (b"z",)), TokenBytes(b"b", (b"z",))]
    assert streamed(*deltas, last(output=[message("ab")])).tokens == spelled
    assert streamed(*deltas, last(output=[message(content=[part("ab", "a", "b")])])).tokens == spelled
    assert streamed(delta("a"), delta("b"), last(output=[message(content=[part("ab", "a", "b")])])).tokens == spelled


@pytest.mark.parametrize("logprobs", [None, {}, "x", [None, 5, {}, []]])
def test_log_probabilities_of_another_form_are_none(logprobs: object) -> None:
    assert plain(response(message(content=[{"type": "output_text", "text": "a", "logprobs": logprobs}]))).tokens == []
    assert streamed(delta("a") | {"logprobs": logprobs}, last()).tokens == []
