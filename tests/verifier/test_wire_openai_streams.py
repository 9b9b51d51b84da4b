"""The OpenAI chat wire's streams, and the tokens that log probabilities spell in them and in whole replies."""

from __future__ import annotations

import json
from typing import Any

import pytest

from probes.probe import TokenBytes, Usage
from tests.verifier.openai_wire import WIRE, plain, streamed
from tests.verifier.stand_ins import delta
from verifier.endpoint.wires.base import WireError


def entry(token: object, given: object = None, *others: object) -> dict[str, Any]:
    return {"token": token, "bytes": given, "logprob": -0.1, "top_logprobs": [*others]}


def spelled(*entries: object) -> list[TokenBytes]:
    choice = {"message": {"content": "x"}, "logprobs": {"content": [*entries]}}
    return plain({"choices": [choice]}).tokens


def test_tokens_are_spelled_by_their_bytes_where_given_else_by_their_text() -> None:
    """llama-cpp-python and others give null for the bytes."""
    tokens = spelled(entry(" caf", [32, 99], entry("x", [120]), entry("y")), entry("é"), {"token": "z"}, {"bytes": [97]})
    assert tokens == [TokenBytes(b" c", (b"x", b"y")), TokenBytes("é".encode()), TokenBytes(b"z"), TokenBytes(b"a")]


@pytest.mark.parametrize(
    ("token", "given"),
    [
        *((" \ufffd", None), ("\u2581the", None), ("\ud83d", None), ("bytes:\\xe2\\x80", None), ("", None), (5, None), ("x" * 2000, None)),
        *(("x", [300]), ("x", [-1]), ("x", [True]), ("x", ["1"]), ("x", [97] * 2000)),
    ],
)
def test_a_token_whose_bytes_cannot_be_known_keeps_its_place_without_bytes(token: object, given: object) -> None:
    odd = entry(token, given)
    assert spelled(entry("a"), odd, entry("b", None, odd, entry("c"))) == [TokenBytes(b"a"), TokenBytes(b""), TokenBytes(b"b", (b"c",))]


@pytest.mark.parametrize("logprobs", [None, [], {}, {"content": None}, {"content": "x"}, {"content": [None, 5, {}, []]}])
def test_log_probabilities_of_another_form_are_none(logprobs: object) -> None:
    assert plain({"choices": [{"message": {"content": "x"}, "logprobs": logprobs}]}).tokens == []


def test_streamed_log_probabilities_are_one_list_in_order() -> None:
    def piece(text: str, *entries: object) -> str:
        return json.dumps({"choices": [{"index": 0, "delta": {"content": text}, "logprobs": {"content": [*entries]}}]})

    other = json.dumps({"choices": [{"index": 1, "delta": {"content": "no"}, "logprobs": {"content": [entry("no")]}}]})
    answer = streamed(piece("a", entry("a", [97], entry("b"))), other, delta("b"), piece("cd", entry("c"), entry("d")), "[DONE]")
    assert answer.tokens == [TokenBytes(b"a", (b"b",)), TokenBytes(b"c"), TokenBytes(b"d")]


def test_no_reply_has_more_tokens_than_are_read() -> None:
    many = [entry("a", None, *[entry("b")] * 50)] * 5000
    assert len(spelled(*many)) == 4096 and len(spelled(*many)[0].alternatives) == 20
    chunk = json.dumps({"choices": [{"delta": {"content": "a"}, "logprobs": {"content": many[:3000]}}]})
    assert len(streamed(chunk, chunk, "[DONE]").tokens) == 4096


# Streams


def test_a_stream_is_its_pieces_in_order() -> None:
    answer = streamed(delta("a"), delta(""), delta(None), delta("b", "length"), "[DONE]")
    assert (answer.text, answer.finish, [(chunk.text, chunk.at) for chunk in answer.chunks]) == ("ab", "length", [("a", 0.0), ("b", 3.0)])


@pytest.mark.parametrize(
    "last",
    [
        {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 1}},
        {"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 5, "completion_tokens": 1}},
        {"choices": None, "usage": {"prompt_tokens": 5, "completion_tokens": 1}},
        {"x_groq": {"usage": {"prompt_tokens": 5, "completion_tokens": 1}}, "choices": []},
    ],
)
def test_usage_is_found_wherever_servers_put_it_and_completes_a_stream_without_done(last: dict[str, Any]) -> None:
    assert streamed(delta("a", usage=None), json.dumps(last)).usage == Usage(5, 1)


def test_running_usage_is_overwritten_by_the_last() -> None:
    counts = [delta("a", usage={"prompt_tokens": 5, "completion_tokens": n}) for n in range(1, 4)]
    assert streamed(*counts, "[DONE]").usage == Usage(5, 3)


def test_padding_and_reasoning_are_not_text() -> None:
    chunk = {"obfuscation": "xyz", "choices": [{"delta": {"reasoning_content": "hm", "reasoning": "hm", "content": "a"}}]}
    assert streamed(json.dumps(chunk), "[DONE]").text == "a"


def test_a_stream_of_whole_messages_or_texts_is_read() -> None:
    assert streamed('{"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]}').text == "hi"
    assert streamed('{"choices": [{"text": "hi"}]}', " [DONE] ").text == "hi"


@pytest.mark.parametrize("data", [[delta("a")], []])
def test_a_stream_without_any_end_is_cut_and_keeps_its_text(data: list[str]) -> None:
    parser = WIRE.stream()
    for one in data:
        parser.feed("message", one, 0.0)
    with pytest.raises(WireError) as caught:
        parser.finish()
    assert caught.value.kind == "cut-stream" and parser.answer.text == "a" * len(data)


@pytest.mark.parametrize(
    ("event", "data"),
    [
        ("message", '{"error": {"message": "boom"}}'),
        ("error", '{"message": "boom"}'),
        ("error", '"boom"'),
        ("message", '{"detail": "boom"}'),
        ("message", "boom"),
        ("message", "[]"),
    ],
)
def test_an_error_or_garbage_in_a_stream_ends_it(event: str, data: str) -> None:
    with pytest.raises(WireError) as caught:
        WIRE.stream().feed(event, data, 0.0)
    assert caught.value.kind == "bad-reply"
