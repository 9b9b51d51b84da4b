"""The Anthropic Messages wire: what it sends, and how it reads messages and their events."""

from __future__ import annotations

import json
from typing import Any

import pytest

from probes.probe import Ask, Usage
from verifier.endpoint.wires.anthropic import AnthropicMessages
from verifier.endpoint.wires.base import Answer, WireError
from verifier.target import Target

WIRE = AnthropicMessages()
TARGET = Target.parse("https://api.anthropic.com", "m", api_key="sk-0123456789")


def ask(**changes: Any) -> Ask:
    fields: dict[str, Any] = {"probe": "p", "key": "k", "messages": (("system", "s"), ("user", "u")), "max_tokens": 5}
    return Ask(**(fields | changes))


def body(*blocks: Any, **changes: Any) -> dict[str, Any]:
    usage = {"input_tokens": 7, "output_tokens": 3}
    return {"id": "msg_1", "type": "message", "model": "c", "content": [*blocks], "stop_reason": "end_turn", "usage": usage} | changes


def plain(data: object) -> Answer:
    return WIRE.parse(json.dumps(data).encode())


def streamed(*events: dict[str, Any]) -> Answer:
    """The answer of a stream of these events, the n-th of which comes after n seconds."""
    parser = WIRE.stream()
    for at, event in enumerate(events):
        parser.feed(str(event["type"]), json.dumps(event), float(at))
    parser.finish()
    return parser.answer


def start(**usage: Any) -> dict[str, Any]:
    return {"type": "message_start", "message": body(usage={"input_tokens": 7, "output_tokens": 1} | usage, stop_reason=None)}


def delta(text: str) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}


def end(reason: str | None = "end_turn", **usage: Any) -> dict[str, Any]:
    return {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 3} | usage}


STOP = {"type": "message_stop"}


def test_a_request_has_the_system_apart_the_key_in_x_api_key_and_a_version() -> None:
    request = WIRE.build(ask(), TARGET)
    assert (request.method, request.path) == ("POST", "/messages")
    messages = [{"role": "user", "content": "u"}]
    assert request.body == {"model": "m", "messages": messages, "stream": False, "max_tokens": 5, "temperature": 0.0, "system": "s"}
    headers = {name: value.get_secret_value() for name, value in request.headers}
    assert headers == {"x-api-key": "sk-0123456789", "anthropic-version": "2023-06-01"}


def test_the_callers_system_stands_where_the_ask_has_none() -> None:
    target = Target.parse("https://api.anthropic.com", "m", body={"system": "mine", "thinking": {"type": "disabled"}})
    assert WIRE.build(ask(messages=(("user", "u"),)), target).body["system"] == "mine"
    assert WIRE.build(ask(), target).body["system"] == "s"


@pytest.mark.parametrize(
    ("base_url", "path"),
    [
        ("https://api.anthropic.com", "/messages"),
        ("https://api.anthropic.com/v1", "/messages"),
        ("https://api.anthropic.com/v1/messages", "/messages"),
        ("https://relay.example/anthropic", "/v1/messages"),
        ("https://relay.example/v1/account/anthropic", "/v1/messages"),
        ("https://relay.example/api/v2", "/messages"),
    ],
)
def test_a_version_is_added_where_the_base_url_has_none(base_url: str, path: str) -> None:
    assert WIRE.build(ask(), Target.parse(base_url, "m")).path == path


def test_only_text_blocks_are_text() -> None:
    blocks = (
        {"type": "thinking", "thinking": "hm"},
        {"type": "text", "text": "a"},
        {"type": "tool_use", "input": {}},
        {"type": "text", "text": "b"},
    )
    answer = plain(body(*blocks, 5, None, {"type": "text", "text": 5}))
    assert (answer.text, answer.finish, answer.id, answer.model, answer.usage) == ("ab", "stop", "msg_1", "c", Usage(7, 3))
    assert plain(body(content="ab")).text == "ab"


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("tool_use", "tool_use"),
        ("refusal", "refusal"),
        (None, None),
    ],
)
def test_stop_reasons_are_normalised(reason: str | None, finish: str | None) -> None:
    assert plain(body(stop_reason=reason)).finish == finish
    assert streamed(delta("a"), end(reason), STOP).finish == finish


@pytest.mark.parametrize(
    ("usage", "read"),
    [
        ({"input_tokens": 1, "cache_creation_input_tokens": 4, "cache_read_input_tokens": 26, "output_tokens": 8}, Usage(31, 8, 26)),
        ({"input_tokens": 1, "cache_creation_input_tokens": None, "cache_read_input_tokens": 0, "output_tokens": 8}, Usage(1, 8, 0)),
        ({"input_tokens": 9, "output_tokens": 8, "output_tokens_details": {"thinking_tokens": 7}}, Usage(9, 8, None, 7)),
        ({"output_tokens": 8}, Usage(None, 8)),
        ({"input_tokens": "9", "output_tokens": -1}, None),
        (None, None),
        ([], None),
    ],
)
def test_cached_tokens_are_added_into_the_prompt_and_kept_apart_too(usage: object, read: Usage | None) -> None:
    assert plain(body(usage=usage)).usage == read


def test_hidden_thought_that_eats_the_limit_is_an_empty_text_with_its_reason() -> None:
    usage = {"input_tokens": 9, "output_tokens": 16, "output_tokens_details": {"thinking_tokens": 16}}
    answer = plain(body({"type": "thinking", "thinking": "hm"}, stop_reason="max_tokens", usage=usage))
    assert (answer.text, answer.finish, answer.usage) == ("", "length", Usage(9, 16, None, 16))


def test_a_stream_is_its_text_deltas_between_message_start_and_message_stop() -> None:
    thinking = {"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": "hm", "text": "hm"}}
    block = {"type": "content_block_start", "content_block": {"type": "text", "text": ""}}
    answer = streamed(start(), {"type": "ping"}, thinking, block, delta("a"), delta("b"), {"type": "content_block_stop"}, end(), STOP)
    assert (answer.text, answer.finish, answer.id, answer.model, answer.usage) == ("ab", "stop", "msg_1", "c", Usage(7, 3))
    assert [(chunk.text, chunk.at) for chunk in answer.chunks] == [("a", 4.0), ("b", 5.0)]


@pytest.mark.parametrize(
    ("first", "later", "read"),
    [
        ({}, {}, Usage(7, 3)),
        ({"cache_read_input_tokens": 20}, {}, Usage(27, 3, 20)),
        ({}, {"input_tokens": 2, "cache_read_input_tokens": 20}, Usage(22, 3, 20)),
        ({"cache_read_input_tokens": 20}, {"input_tokens": 0}, Usage(27, 3, 20)),
        ({"input_tokens": 0}, {"input_tokens": 12}, Usage(12, 3)),
        ({}, {"output_tokens": None}, Usage(7, 1)),
        ({}, {"output_tokens_details": {"thinking_tokens": 2}}, Usage(7, 3, None, 2)),
    ],
)
def test_usage_is_brought_up_to_date_at_the_end_of_a_stream(first: dict[str, Any], later: dict[str, Any], read: Usage) -> None:
    assert streamed(start(**first), delta("a"), end(**later), STOP).usage == read


def test_a_stream_is_complete_with_a_stop_reason_or_message_stop_and_not_with_usage_alone() -> None:
    assert streamed(start(), delta("a"), end()).text == "a"
    assert streamed(start(), delta("a"), STOP).text == "a"
    with pytest.raises(WireError, match="cut-stream"):
        streamed(start(), delta("a"))


@pytest.mark.parametrize(
    ("error", "kind"), [("overloaded_error", "server-error"), ("rate_limit_error", "rate-limited"), ("permission_error", "refused-key")]
)
def test_an_error_event_ends_the_stream_with_its_kind(error: str, kind: str) -> None:
    with pytest.raises(WireError) as caught:
        streamed(start(), delta("a"), {"type": "error", "error": {"type": error, "message": "boom"}})
    assert (caught.value.kind, caught.value.text) == (kind, "boom")
