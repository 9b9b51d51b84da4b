"""Google's generateContent wire: what it sends, and how it reads plain replies, arrays and streams."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from fingerprints.wire import Wire
from probes.probe import Ask, TokenBytes, Usage
from verifier.endpoint.client import EndpointClient, Limits
from verifier.endpoint.guard import cli_policy
from verifier.endpoint.wires.base import NO_LOGPROBS, Answer, WireError
from verifier.endpoint.wires.gemini import GeminiGenerate
from verifier.target import Target

WIRE = GeminiGenerate()
TARGET = Target.parse("https://generativelanguage.googleapis.com", "gemini-x", wire=Wire.GEMINI, api_key="k-0123456789")


def ask(**changes: Any) -> Ask:
    fields: dict[str, Any] = {"probe": "p", "key": "k", "messages": (("system", "s"), ("user", "u"), ("assistant", "a")), "max_tokens": 5}
    return Ask(**(fields | changes))


def body(*parts: Any, finish: Any = "STOP", **changes: Any) -> dict[str, Any]:
    usage = {"promptTokenCount": 7, "candidatesTokenCount": 3}
    candidate = {"content": {"parts": [*parts], "role": "model"}, "finishReason": finish, "index": 0}
    return {"candidates": [candidate], "modelVersion": "g", "responseId": "r", "usageMetadata": usage} | changes


def plain(data: object) -> Answer:
    return WIRE.parse(json.dumps(data).encode())


def streamed(*events: object) -> Answer:
    """The answer of a stream of these events, the n-th of which comes after n seconds."""
    parser = WIRE.stream()
    for at, event in enumerate(events):
        parser.feed("message", json.dumps(event), float(at))
    parser.finish()
    return parser.answer


def test_a_request_names_the_model_in_its_path_and_carries_the_key_in_a_header() -> None:
    request = WIRE.build(ask(), TARGET)
    assert (request.method, request.path) == ("POST", "/models/gemini-x:generateContent")
    assert request.body == {
        "contents": [{"role": "user", "parts": [{"text": "u"}]}, {"role": "model", "parts": [{"text": "a"}]}],
        "generationConfig": {"maxOutputTokens": 5, "temperature": 0.0},
        "systemInstruction": {"parts": [{"text": "s"}]},
    }
    assert [(name, value.get_secret_value()) for name, value in request.headers] == [("x-goog-api-key", "k-0123456789")]
    assert WIRE.build(ask(stream=True), TARGET).path == "/models/gemini-x:streamGenerateContent?alt=sse"


@pytest.mark.parametrize(
    ("base_url", "model", "path"),
    [
        ("https://generativelanguage.googleapis.com/v1beta", "models/g", "/models/g:generateContent"),
        ("https://relay.example/gemini", "g", "/v1beta/models/g:generateContent"),
        ("https://relay.example", "g", "/models/g:generateContent"),
        ("https://x-aiplatform.googleapis.com/v1/projects/p/locations/l/publishers/google", "g", "/models/g:generateContent"),
        ("https://relay.example/v1", "../a?b#c", "/models/..%2Fa%3Fb%23c:generateContent"),
    ],
)
def test_a_version_is_added_where_the_base_url_has_none_and_a_model_stays_one_segment(base_url: str, model: str, path: str) -> None:
    assert WIRE.build(ask(), Target.parse(base_url, model, wire=Wire.GEMINI)).path == path


def test_the_callers_generation_config_is_laid_over_ours_and_does_not_lose_the_limit() -> None:
    target = Target.parse("https://a.example", "g", body={"generationConfig": {"thinkingConfig": {"thinkingBudget": 0}, "temperature": 1}})
    config = WIRE.build(ask(), target).body["generationConfig"]
    assert config == {"maxOutputTokens": 5, "temperature": 1, "thinkingConfig": {"thinkingBudget": 0}}


async def test_a_streamed_request_keeps_its_query_beside_the_callers() -> None:
    seen: list[httpx.URL] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.url)
        return httpx.Response(200, json=body({"text": "hi"}))

    target = Target.parse("https://a.example", "g", wire=Wire.GEMINI, query=[("key", "secret-secret")])
    async with EndpointClient(target, Limits(), cli_policy(), transport=httpx.MockTransport(answer)) as client:
        await client.ask_all([ask(stream=True)])
    assert dict(seen[0].params) == {"alt": "sse", "key": "secret-secret"}
    assert seen[0].path == "/v1beta/models/g:streamGenerateContent"


async def test_hidden_thought_counts_against_the_token_budget_though_it_is_reported_apart() -> None:
    usage = {"promptTokenCount": 7, "candidatesTokenCount": 3, "thoughtsTokenCount": 90}
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=body({"text": "hi"}, usageMetadata=usage)))
    async with EndpointClient(TARGET, Limits(), cli_policy(), transport=transport) as client:
        await client.ask_all([ask()])
    assert client.tokens_used == 100


def test_thoughts_and_parts_without_text_are_not_text() -> None:
    parts = ({"text": "hm", "thought": True}, {"text": "a"}, {"functionCall": {}}, {"text": "b", "thoughtSignature": "x"}, {"text": 5}, 5)
    answer = plain(body(*parts))
    assert (answer.text, answer.finish, answer.id, answer.model, answer.usage) == ("ab", "stop", "r", "g", Usage(7, 3))
    assert answer.chunks == []


def test_a_second_candidate_is_not_mixed_in() -> None:
    two = body({"text": "a"})
    two["candidates"].append(two["candidates"][0] | {"index": 1})
    assert plain(two).text == "a"


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        (1, "stop"),
        (2, "length"),
        ("SAFETY", "SAFETY"),
        (7, "finish reason 7"),
        (None, None),
        (True, None),
    ],
)
def test_finish_reasons_are_normalised(reason: object, finish: str | None) -> None:
    assert plain(body({"text": "a"}, finish=reason)).finish == finish


def test_a_blocked_prompt_is_an_empty_answer_with_the_reason() -> None:
    answer = plain({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {"promptTokenCount": 7}})
    assert (answer.text, answer.finish, answer.usage) == ("", "PROHIBITED_CONTENT", Usage(7))


def test_hidden_thought_that_eats_the_limit_is_an_empty_text_with_its_reason_and_its_count() -> None:
    usage = {"promptTokenCount": 7, "thoughtsTokenCount": 16, "cachedContentTokenCount": 4, "totalTokenCount": 23}
    cut = {"candidates": [{"content": {"role": "model"}, "finishReason": "MAX_TOKENS"}], "usageMetadata": usage}
    for answer in (plain(cut), streamed(cut)):
        assert (answer.text, answer.finish, answer.usage) == ("", "length", Usage(7, None, 4, 16))


def test_a_stream_is_its_text_parts_and_usage_runs_on() -> None:
    first = body({"text": "a"}, finish=None, usageMetadata={"promptTokenCount": 7, "thoughtsTokenCount": 9})
    second = body({"text": "b"}, finish=None, usageMetadata={"promptTokenCount": 7, "candidatesTokenCount": 1})
    answer = streamed(first, second, body({"text": ""}))
    assert (answer.text, answer.finish, answer.usage) == ("ab", "stop", Usage(7, 3, None, 9))
    assert [(chunk.text, chunk.at) for chunk in answer.chunks] == [("a", 0.0), ("b", 1.0)]


def test_an_array_of_events_is_read_as_one_reply() -> None:
    answer = plain([body({"text": "a"}, finish=None), body({"text": "b"}, finish="MAX_TOKENS")])
    assert (answer.text, answer.finish, answer.chunks) == ("ab", "length", [])


@pytest.mark.parametrize("wrapped", [False, True])
def test_an_error_object_is_an_error_also_in_an_array(wrapped: bool) -> None:
    error = {"error": {"code": 429, "message": "quota", "status": "RESOURCE_EXHAUSTED"}}
    with pytest.raises(WireError) as caught:
        plain([error] if wrapped else error)
    assert (caught.value.kind, caught.value.text) == ("rate-limited", "quota")


# Tokens that log probabilities spell


def spelled_body(*chosen: object, top: object = (), **changes: Any) -> dict[str, Any]:
    data = body({"text": "x"}, **changes)
    data["candidates"][0]["logprobsResult"] = {"chosenCandidates": [*chosen], "topCandidates": top}
    return data


def candidate(token: object) -> dict[str, Any]:
    return {"token": token, "tokenId": 7, "logProbability": -0.1}


def test_log_probabilities_are_asked_for_until_the_model_refuses_them() -> None:
    request = WIRE.build(ask(logprobs=5), TARGET)
    config = request.body["generationConfig"]
    assert (config["responseLogprobs"], config["logprobs"]) == (True, 5)
    for said in ("Logprobs is not enabled for models/gemini-2.5-pro", 'Unknown name "responseLogprobs" at generation_config'):
        assert WIRE.learn(request, said, frozenset()) == NO_LOGPROBS
    assert not {"responseLogprobs", "logprobs"} & WIRE.build(ask(logprobs=5), TARGET, {NO_LOGPROBS}).body["generationConfig"].keys()
    assert not {"responseLogprobs", "logprobs"} & WIRE.build(ask(), TARGET).body["generationConfig"].keys()


def test_chosen_tokens_are_read_with_the_candidates_at_their_index() -> None:
    top = [{"candidates": [candidate("He"), candidate("Oh")]}, {"candidates": [candidate("llo")]}, {"candidates": [candidate("no")]}]
    answer = plain(spelled_body(candidate("He"), candidate("llo"), top=top))
    assert answer.tokens == [TokenBytes(b"He", (b"He", b"Oh")), TokenBytes(b"llo", (b"llo",))]
    assert plain(spelled_body(candidate("He"), candidate(" you"), top=top[:1])).tokens == [
        TokenBytes(b"He", (b"He", b"Oh")),
        TokenBytes(b" you"),
    ]


def test_strings_that_hide_the_bytes_keep_their_place_without_bytes() -> None:
    tokens = plain(spelled_body(*map(candidate, ("a", "\ufffd", " \ufffd", "\u2581the", 5, None, "b")))).tokens
    assert [token.token for token in tokens] == [b"a", b"", b"", b"", b"", b"", b"b"]


def test_streamed_tokens_are_one_list_in_order() -> None:
    first, second = spelled_body(candidate("a"), candidate("b"), finish=None), spelled_body(candidate("c"))
    assert [token.token for token in streamed(first, body({"text": "x"}, finish=None), second).tokens] == [b"a", b"b", b"c"]
    assert [token.token for token in plain([first, second]).tokens] == [b"a", b"b", b"c"]


@pytest.mark.parametrize("result", [None, [], "x", {"chosenCandidates": None}, {"topCandidates": [{"candidates": [{"token": "a"}]}]}])
def test_log_probabilities_of_another_form_are_none(result: object) -> None:
    data = body({"text": "x"})
    data["candidates"][0]["logprobsResult"] = result
    assert plain(data).tokens == []
