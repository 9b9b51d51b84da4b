"""The OpenAI chat wire: what it sends, and how it reads what real servers and hostile ones send back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from probes.probe import Usage
from tests.verifier.openai_wire import TARGET, WIRE, ask, plain, streamed
from tests.verifier.stand_ins import completion, delta
from verifier.endpoint.wires.base import NO_LOGPROBS, NO_TEMPERATURE, WireError
from verifier.endpoint.wires.openai import COMPLETION_TOKENS_FIELD, NO_LOGIT_BIAS, NO_STREAM_OPTIONS
from verifier.endpoint.wires.reading import token_count
from verifier.target import Target


def test_a_request_carries_the_ask_and_the_key_in_a_header_alone() -> None:
    request = WIRE.build(ask(temperature=None), TARGET)
    assert (request.method, request.path) == ("POST", "/chat/completions")
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    assert request.body == {"model": "m", "messages": messages, "stream": False, "max_tokens": 5}
    assert request.headers[0][1].get_secret_value() == "Bearer sk-0123456789"
    assert "sk-0123456789" not in repr(request)


def test_a_streamed_request_asks_for_usage() -> None:
    body = WIRE.build(ask(stream=True), TARGET).body
    assert body["stream"] is True and body["stream_options"] == {"include_usage": True}


def test_extra_fields_win_over_all_but_messages_model_and_stream() -> None:
    extra = {"temperature": 1.0, "max_tokens": 9, "seed": 1, "stream_options": {}, "messages": [], "model": "x", "stream": False}
    body = WIRE.build(ask(stream=True), Target("https://api.example.com/v1", "m", body=extra)).body
    assert (body["temperature"], body["max_tokens"], body["seed"], body["stream_options"]) == (1.0, 9, 1, {})
    assert (body["model"], body["stream"], len(body["messages"])) == ("m", True, 2)


def test_what_was_learnt_changes_the_request() -> None:
    body = WIRE.build(ask(stream=True), TARGET, {COMPLETION_TOKENS_FIELD, NO_TEMPERATURE, NO_STREAM_OPTIONS}).body
    assert body.keys() == {"model", "messages", "stream", "max_completion_tokens"} and body["max_completion_tokens"] == 5


@pytest.mark.parametrize(
    ("message", "quirk"),
    [
        (
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
            COMPLETION_TOKENS_FIELD,
        ),
        ("Unsupported value: 'temperature' does not support 0.0 with this model. Only the default (1) value is supported.", NO_TEMPERATURE),
        ("`temperature` is deprecated for this model.", NO_TEMPERATURE),
        ("body -> stream_options: extra fields not permitted", NO_STREAM_OPTIONS),
        ("max_tokens is too large: 100000", None),
        ("you are out of credit", None),
    ],
)
def test_a_refusal_teaches_only_what_it_says(message: str, quirk: str | None) -> None:
    assert WIRE.learn(WIRE.build(ask(stream=True), TARGET), message, frozenset()) == quirk


def test_nothing_is_learnt_twice_or_about_a_field_that_was_not_sent() -> None:
    request = WIRE.build(ask(temperature=None), TARGET)
    assert WIRE.learn(request, "temperature", frozenset()) is None
    assert WIRE.learn(WIRE.build(ask(), TARGET), "temperature", {NO_TEMPERATURE}) is None


def test_a_bias_is_sent_by_token_id_until_the_model_refuses_it() -> None:
    biased = ask(logit_bias=((1234, 100), (5, -100)))
    request = WIRE.build(biased, TARGET)
    assert request.body["logit_bias"] == {"1234": 100, "5": -100}
    refusals = ("Unsupported parameter: 'logit_bias' is not supported with this model.", "logits_bias: extra fields not permitted")
    assert {WIRE.learn(request, said, frozenset()) for said in refusals} == {NO_LOGIT_BIAS}
    assert "logit_bias" not in WIRE.build(biased, TARGET, {NO_LOGIT_BIAS}).body
    assert "logit_bias" not in WIRE.build(ask(), TARGET).body
    assert WIRE.learn(WIRE.build(ask(), TARGET), "logit_bias", frozenset()) is None


@pytest.mark.parametrize("said", ["Logprobs are not enabled for this model", "top_logprobs must be at most 5", "logprob is not supported"])
def test_a_refusal_of_log_probabilities_is_learnt(said: str) -> None:
    request = WIRE.build(ask(logprobs=5), TARGET)
    assert (request.body["logprobs"], request.body["top_logprobs"]) == (True, 5)
    assert WIRE.learn(request, said, frozenset()) == NO_LOGPROBS
    assert not {"logprobs", "top_logprobs"} & WIRE.build(ask(logprobs=5), TARGET, {NO_LOGPROBS}).body.keys()


# Plain replies


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": "hi"}, "hi"),
        ({"content": ""}, ""),
        ({"content": None}, ""),
        ({}, ""),
        ({"content": None, "reasoning_content": "hm"}, ""),
        ({"content": [{"type": "text", "text": "h"}, {"type": "text", "text": "i"}]}, "hi"),
        ({"content": [{"type": "thinking", "thinking": [{"text": "hm"}]}, {"type": "text", "text": "hi"}, "!", 1, None]}, "hi!"),
        ({"content": {"text": "hi"}}, ""),
        ({"content": 5}, ""),
        (None, ""),
    ],
)
def test_content_comes_as_a_string_null_or_parts(message: object, text: str) -> None:
    assert plain({"choices": [{"message": message}]}).text == text


def test_a_legacy_text_choice_is_text() -> None:
    assert plain({"choices": [{"text": "hi", "finish_reason": "length"}]}).finish == "length"
    assert plain({"choices": [{"text": "hi"}]}).text == "hi"


def test_absent_fields_are_absent_and_empty_choices_still_carry_usage() -> None:
    answer = plain({"choices": [], "usage": {"prompt_tokens": 3}})
    assert (answer.text, answer.id, answer.model, answer.finish) == ("", None, None, None)
    assert answer.usage == Usage(prompt_tokens=3)
    assert plain({"choices": [None, 5, {"index": 0, "message": {"content": "x"}}]}).text == "x"


def test_a_second_choice_is_not_mixed_in() -> None:
    assert plain({"choices": [{"index": 1, "message": {"content": "b"}}, {"index": 0, "message": {"content": "a"}}]}).text == "a"
    pieces = [json.dumps({"choices": [{"index": n % 2, "delta": {"content": "ab"[n % 2]}}]}) for n in range(6)]
    assert streamed(*pieces, "[DONE]").text == "aaa"


@pytest.mark.parametrize(
    ("value", "count"),
    [
        (0, 0),
        (7, 7),
        (7.0, 7),
        (10_000_000, 10_000_000),
        (10_000_001, None),
        (-1, None),
        (7.5, None),
        ("7", None),
        (True, None),
        (None, None),
        ([], None),
        (float("nan"), None),
        (float("inf"), None),
        (10**400, None),
    ],
)
def test_only_a_plausible_number_is_a_count(value: object, count: int | None) -> None:
    assert token_count(value) == count


def test_usage_details_of_openai_and_deepseek_are_read() -> None:
    details = {"prompt_tokens_details": {"cached_tokens": 2}, "completion_tokens_details": {"reasoning_tokens": 1}}
    assert plain(completion(usage={"prompt_tokens": 5, "completion_tokens": 3} | details)).usage == Usage(5, 3, 2, 1)
    assert plain(completion(usage={"prompt_tokens": 5, "prompt_cache_hit_tokens": 4})).usage == Usage(5, None, 4, None)


@pytest.mark.parametrize(
    ("usage", "cached", "reasoning"),
    [
        ({"prompt_tokens_details": {"cached_tokens": 0}, "completion_tokens_details": {"reasoning_tokens": 0}}, 0, 0),
        ({"num_cached_tokens": 4}, 4, None),
        ({"cached_tokens": 4}, 4, None),
        ({"prompt_tokens_details": None, "cache_read_input_tokens": 4}, 4, None),
        ({"reasoning_tokens": 2}, None, 2),
    ],
)
def test_cached_and_reasoning_tokens_are_found_where_other_servers_put_them(
    usage: dict[str, Any], cached: int | None, reasoning: int | None
) -> None:
    assert plain(completion(usage={"prompt_tokens": 5, "completion_tokens": 3} | usage)).usage == Usage(5, 3, cached, reasoning)


def test_hidden_thought_that_eats_the_limit_is_an_empty_text_with_its_reason_and_its_count() -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 16, "completion_tokens_details": {"reasoning_tokens": 16}}
    answer = plain({"choices": [{"message": {"content": ""}, "finish_reason": "length"}], "usage": usage})
    assert (answer.text, answer.finish, answer.usage) == ("", "length", Usage(5, 16, None, 16))


@pytest.mark.parametrize(
    ("base_url", "header"),
    [
        ("https://api.openai.com/v1", ("authorization", "Bearer k-0123456789")),
        ("https://x.openai.azure.com/openai/deployments/d", ("api-key", "k-0123456789")),
        ("https://x.openai.azure.com/openai/v1", ("api-key", "k-0123456789")),
        ("https://x.services.ai.azure.com/models", ("api-key", "k-0123456789")),
        ("https://gateway.example/openai/deployments/d", ("api-key", "k-0123456789")),
        ("https://azure.com.evil.example/v1", ("authorization", "Bearer k-0123456789")),
    ],
)
def test_azure_is_given_the_key_in_its_own_header(base_url: str, header: tuple[str, str]) -> None:
    request = WIRE.build(ask(), Target.parse(base_url, "m", api_key="k-0123456789"))
    assert [(name, value.get_secret_value()) for name, value in request.headers] == [header]
    assert request.path == "/chat/completions"


@pytest.mark.parametrize("usage", [None, {}, [], "7", 7, {"prompt_tokens": "7"}, {"prompt_tokens": True, "completion_tokens": -3}])
def test_unusable_usage_is_no_usage(usage: object) -> None:
    assert plain(completion(usage=usage)).usage is None


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        *(("stop", "stop"), ("STOP", "stop"), ("end_turn", "stop"), ("length", "length"), ("MAX_TOKENS", "length")),
        *(("tool_calls", "tool_calls"), ("content_filter", "content_filter"), (None, None), ("", None), (5, None)),
    ],
)
def test_finish_reasons_are_normalised(reason: object, finish: str | None) -> None:
    assert plain({"choices": [{"message": {"content": "x"}, "finish_reason": reason}]}).finish == finish


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        ({"error": {"message": "slow down", "code": 429}}, "rate-limited", "slow down"),
        ({"error": {"message": "no key", "code": 401}}, "refused-key", "no key"),
        ({"error": {"message": "gone", "code": 404}}, "not-found", "gone"),
        ({"error": {"message": "down", "code": 502}}, "server-error", "down"),
        ({"error": {"message": "bad", "code": 418}}, "bad-request", "bad"),
        ({"error": {"message": "bad", "code": "invalid"}}, "bad-reply", "bad"),
        ({"error": {"message": "bad", "code": True}}, "bad-reply", "bad"),
        ({"error": "bad", "choices": []}, "bad-reply", "bad"),
        ({"detail": "bad"}, "bad-reply", "bad"),
        ({"id": "x"}, "bad-reply", "no choices"),
        ({"choices": None}, "bad-reply", "no choices"),
        ({"choices": {"0": {}}}, "bad-reply", "no choices"),
        ([], "bad-reply", "no choices"),
    ],
)
def test_an_error_with_status_200_is_an_error(body: object, kind: str, said: str) -> None:
    with pytest.raises(WireError) as caught:
        plain(body)
    assert caught.value.kind == kind and said in caught.value.text


def test_an_error_field_beside_an_answer_does_not_void_it() -> None:
    assert plain(completion("x", error=None)).text == "x"
    assert plain(completion("x", error={"message": "a warning"})).text == "x"


def test_lone_surrogates_become_replacement_characters_and_halves_are_joined() -> None:
    assert plain(completion("a\ud83d b")).text == "a\ufffd b"
    assert streamed(delta("\ud83d"), delta("\ude00"), delta(None, "stop")).text == "\U0001f600"
