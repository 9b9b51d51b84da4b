"""What every wire must keep, whatever comes: a typed error or an answer, in time and memory that the input bounds."""

from __future__ import annotations

import inspect
import json
import random
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import fuzz
from fingerprints.wire import Wire
from probes.probe import ERROR_KINDS, Ask, Reply, TokenBytes
from tests.replay import recordings
from verifier.endpoint.client import ADAPTERS, EndpointClient, Limits
from verifier.endpoint.guard import cli_policy
from verifier.endpoint.wires.base import NO_TEMPERATURE, NO_TOP_P, WireError
from verifier.target import Target

KEY = "sk-0123456789"
wires = pytest.mark.parametrize("wire", list(Wire))


def target(wire: Wire, base_url: str = "https://api.example.com/v1", **changes: Any) -> Target:
    return Target.parse(base_url, "m", wire=wire, **({"api_key": KEY} | changes))


def ask(**changes: Any) -> Ask:
    fields: dict[str, Any] = {"probe": "p", "key": "k", "messages": (("system", "s"), ("user", "u")), "max_tokens": 50}
    return Ask(**(fields | changes))


# The contract that every wire keeps


def test_every_wire_has_an_adapter_with_documented_methods() -> None:
    assert set(ADAPTERS) == set(Wire)
    for adapter in ADAPTERS.values():
        for name in ("build", "learn", "parse", "stream"):
            assert inspect.getdoc(getattr(adapter, name)), f"{adapter}.{name}"


@wires
@pytest.mark.parametrize("stream", [False, True])
def test_a_request_is_plain_json_that_holds_the_question_and_never_the_key(wire: Wire, stream: bool) -> None:
    request = ADAPTERS[wire]().build(ask(stream=stream), target(wire), frozenset())
    sent = json.dumps(request.body)
    assert '"u"' in sent and '"s"' in sent and "50" in sent and KEY not in sent and KEY not in request.path + repr(request)
    assert any(KEY in value.get_secret_value() for _, value in request.headers)


@wires
def test_without_a_key_no_header_carries_one(wire: Wire) -> None:
    names = {name for name, _ in ADAPTERS[wire]().build(ask(), target(wire, api_key=None), frozenset()).headers}
    assert names <= {"anthropic-version"}


@wires
async def test_the_callers_headers_replace_the_wires_own_and_query_and_fields_are_sent(wire: Wire) -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, content=next(fuzz.own_seeds(wire)))

    own = [("Authorization", "Basic abc"), ("X-Api-Key", "mine"), ("x-goog-api-key", "mine"), ("anthropic-version", "2099-01-01")]
    place = target(wire, headers=own, query=[("api-version", "1")], body={"seed": 5})
    async with EndpointClient(place, Limits(), cli_policy(), transport=httpx.MockTransport(answer)) as client:
        (reply,) = await client.ask_all([ask(stream=True)])
    assert reply.ok
    sent = seen[0]
    assert KEY not in repr(sent.headers.raw) and sent.headers["authorization"] == "Basic abc"
    assert sent.headers["anthropic-version"] == "2099-01-01" and sent.url.params["api-version"] == "1"
    assert json.loads(sent.content)["seed"] == 5
    assert ("alt" in sent.url.params) == (wire is Wire.GEMINI)


@wires
def test_extra_fields_never_change_what_is_asked(wire: Wire) -> None:
    reserved = {"messages": [], "input": "x", "contents": [], "model": "x", "stream": "x"}
    place = Target("https://api.example.com/v1", "m", wire=wire, body=reserved)
    assert ADAPTERS[wire]().build(ask(), place, frozenset()).body == ADAPTERS[wire]().build(ask(), target(wire), frozenset()).body


@wires
def test_raw_fields_replace_the_wires_own_but_never_the_question(wire: Wire) -> None:
    raw = {"temperature": 9, "seed": None, "stream": 1} | dict.fromkeys(("messages", "input", "contents", "model"), "other")
    build = ADAPTERS[wire]().build
    plain, laid = (build(ask(raw=text), target(wire, body={"seed": 5}), frozenset()) for text in (None, json.dumps(raw)))
    assert laid.body == plain.body | {"temperature": 9, "seed": None, "stream": 1}
    assert plain.teaches and not laid.teaches


@wires
@pytest.mark.parametrize("raw", ["", "[]", "5", "null", "{", '"x"'])
def test_raw_fields_that_are_no_object_are_a_programming_error(wire: Wire, raw: str) -> None:
    with pytest.raises(ValueError):
        ADAPTERS[wire]().build(ask(raw=raw), target(wire), frozenset())


def test_raw_fields_of_geminis_configuration_are_laid_over_it_one_by_one() -> None:
    build = ADAPTERS[Wire.GEMINI]().build
    config = build(ask(raw='{"generationConfig": {"temperature": 9}}'), target(Wire.GEMINI), frozenset()).body["generationConfig"]
    assert config == {"maxOutputTokens": 50, "temperature": 9}
    assert build(ask(raw='{"generationConfig": 5}'), target(Wire.GEMINI), frozenset()).body["generationConfig"] == 5


@wires
@pytest.mark.parametrize("raw", ['{"temperature": 9, "generationConfig": 5}', "{}"])
async def test_the_refusal_of_a_question_about_the_protocol_is_its_answer_and_teaches_nothing(wire: Wire, raw: str) -> None:
    bodies: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        bodies.append(request.content.decode())
        if len(bodies) == 1:
            return httpx.Response(400, json={"error": {"message": "temperature must be at most 2"}})
        return httpx.Response(200, content=next(fuzz.own_seeds(wire)))

    async with EndpointClient(target(wire), Limits(), cli_policy(), transport=httpx.MockTransport(answer)) as client:
        refused, answered = await client.ask_all([ask(key="k/1", raw=raw), ask(key="k/2")])
    assert refused.error is not None and refused.error.kind == "bad-request" and refused.attempts == 1
    assert answered.ok and "temperature" in bodies[1] and len(bodies) == 2


@wires
def test_a_share_of_the_mass_is_sent_where_it_is_asked_for_and_nowhere_else(wire: Wire) -> None:
    build, name = ADAPTERS[wire]().build, "topP" if wire is Wire.GEMINI else "top_p"
    assert f'"{name}": 1.0' in json.dumps(build(ask(top_p=1.0), target(wire), frozenset()).body)
    for body in (build(ask(), target(wire), frozenset()).body, build(ask(top_p=1.0), target(wire), {NO_TOP_P}).body):
        assert name not in json.dumps(body)


@wires
@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("`temperature` and `top_p` cannot both be specified for this model. Please use only one.", {"temperature"}),
        ("Unsupported parameter: 'top_p' is not supported with this model.", {"temperature"}),
        ("Unsupported parameter: 'topP' is not supported with this model.", {"temperature"}),
        ("`temperature` and `top_p` are deprecated for this model.", set()),
    ],
)
async def test_a_model_that_refuses_top_p_keeps_its_temperature_if_it_takes_one(wire: Wire, said: str, left: set[str]) -> None:
    bodies: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        bodies.append(request.content.decode())
        refused = {"top_p", "topP", "temperature"} - left
        if any(f'"{name}"' in bodies[-1] for name in refused):
            return httpx.Response(400, json={"error": {"message": said if wire is Wire.GEMINI else said.replace("topP", "top_p")}})
        return httpx.Response(200, content=next(fuzz.own_seeds(wire)))

    async with EndpointClient(target(wire), Limits(), cli_policy(), transport=httpx.MockTransport(answer)) as client:
        (reply,) = await client.ask_all([ask(temperature=0.0, top_p=1.0)])
    assert reply.ok and len(bodies) == (2 if left else 3)
    assert {name for name in ("temperature", "top_p", "topP") if f'"{name}"' in bodies[-1]} == left


def test_a_transcript_without_top_p_keeps_its_bytes_and_one_with_it_is_read_again() -> None:
    assert "top_p" not in ask().to_json() and Ask.from_json(ask().to_json()) == ask()
    assert Ask.from_json(json.loads(json.dumps(ask(top_p=0.9).to_json()))) == ask(top_p=0.9)


@wires
async def test_a_model_that_refuses_a_temperature_teaches_its_wire_once(wire: Wire) -> None:
    bodies: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        bodies.append(request.content.decode())
        if "temperature" in bodies[-1]:
            return httpx.Response(400, json={"error": {"message": "`temperature` is deprecated for this model."}})
        return httpx.Response(200, content=next(fuzz.own_seeds(wire)))

    async with EndpointClient(target(wire), Limits(), cli_policy(), transport=httpx.MockTransport(answer)) as client:
        replies = await client.ask_all([ask(key=f"k/{n}") for n in range(3)])
    assert all(reply.ok for reply in replies) and [reply.attempts for reply in replies] == [2, 1, 1] and len(bodies) == 4
    adapter = ADAPTERS[wire]()
    assert adapter.learn(adapter.build(ask(temperature=None), target(wire), frozenset()), "temperature", frozenset()) is None
    assert adapter.learn(adapter.build(ask(), target(wire), frozenset()), "no more credit", frozenset()) is None
    assert adapter.learn(adapter.build(ask(), target(wire), frozenset()), "temperature", {NO_TEMPERATURE}) is None


@wires
@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"type": "authentication_error", "message": "bad"}, "refused-key"),
        ({"type": "overloaded_error", "message": "bad"}, "server-error"),
        ({"type": "invalid_request_error", "code": "model_not_found", "message": "bad"}, "not-found"),
        ({"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "bad"}, "rate-limited"),
        ({"code": 400, "status": "INVALID_ARGUMENT", "message": "bad", "details": [{"reason": "API_KEY_INVALID"}]}, "refused-key"),
        ({"type": "invalid_request_error", "message": "bad"}, "bad-request"),
        ({"message": "bad"}, "bad-reply"),
        ("bad", "bad-reply"),
    ],
)
def test_an_error_inside_a_200_is_typed_by_its_words_for_machines(wire: Wire, error: object, kind: str) -> None:
    body = {"type": "error", "error": error}
    for read in (
        lambda: ADAPTERS[wire]().parse(json.dumps(body).encode()),
        lambda: ADAPTERS[wire]().stream().feed("error", json.dumps(body), 0),
    ):
        with pytest.raises(WireError) as caught:
            read()
        assert caught.value.kind == kind and "bad" in caught.value.text


@wires
@pytest.mark.parametrize("body", [b"", b"  ", b"null", b"7", b'"x"', b"[]", b"[7]", b"{}", b'{"detail": "no"}', b"<html>", b"{", b"\xff"])
def test_a_body_without_an_answer_is_a_bad_reply(wire: Wire, body: bytes) -> None:
    with pytest.raises(WireError) as caught:
        ADAPTERS[wire]().parse(body)
    assert caught.value.kind == "bad-reply"


@wires
def test_a_stream_that_ends_before_its_end_is_cut_and_keeps_its_text(wire: Wire) -> None:
    first = {
        Wire.OPENAI: {"choices": [{"delta": {"content": "abc"}}]},
        Wire.RESPONSES: {"type": "response.output_text.delta", "delta": "abc"},
        Wire.ANTHROPIC: {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "abc"}},
        Wire.GEMINI: {"candidates": [{"content": {"parts": [{"text": "abc"}]}}], "usageMetadata": {"promptTokenCount": 3}},
    }[wire]
    parser = ADAPTERS[wire]().stream()
    parser.feed("message", json.dumps(first), 0.5)
    with pytest.raises(WireError) as caught:
        parser.finish()
    assert caught.value.kind == "cut-stream" and parser.answer.text == "abc" and parser.answer.chunks[0].at == 0.5


# Hostile input

names = st.sampled_from(
    "choices message delta content text usage prompt_tokens input_tokens error code index id model type response output status "
    "incomplete_details reason candidates parts thought logprobs bytes token top_logprobs logprobsResult chosenCandidates topCandidates "
    "finishReason usageMetadata promptTokenCount stop_reason content_block".split()
)
words = st.sampled_from(
    "response.completed response.failed response.output_text.delta message_start content_block_start content_block_delta message_delta "
    "message_stop error text text_delta message output_text completed incomplete STOP MAX_TOKENS [DONE]".split()
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=6),
    max_leaves=25,
)


@wires
@given(json_values.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=200))
def test_no_body_makes_a_wire_raise_anything_but_its_own_error(wire: Wire, body: bytes) -> None:
    fuzz.read_plain(ADAPTERS[wire](), body)


@wires
@given(st.lists(st.tuples(words, st.dictionaries(names, json_values, max_size=6) | json_values), max_size=6))
def test_no_event_makes_a_stream_raise_anything_but_its_own_error(wire: Wire, events: list[tuple[str, object]]) -> None:
    body = "".join(f"event: {name}\ndata: {json.dumps(value)}\n\n" for name, value in events)
    fuzz.read_stream(ADAPTERS[wire](), [body.encode()])


spellings = json_values | st.fixed_dictionaries(
    {}, optional={"token": json_values, "bytes": st.lists(st.integers(-1, 256), max_size=4) | json_values, "top_logprobs": json_values}
)
frames: dict[Wire, Any] = {
    Wire.OPENAI: lambda spelled: {"choices": [{"message": {"content": "x"}, "logprobs": {"content": spelled}}]},
    Wire.RESPONSES: lambda spelled: {"output": [{"type": "message", "content": [{"type": "text", "text": "x", "logprobs": spelled}]}]},
    Wire.GEMINI: lambda spelled: {"candidates": [{"logprobsResult": {"chosenCandidates": spelled, "topCandidates": spelled}}]},
}


@pytest.mark.parametrize("wire", frames)
@given(st.lists(spellings, max_size=5) | json_values)
def test_whatever_spells_tokens_gives_bytes_that_are_stored_as_they_are(wire: Wire, spelled: Any) -> None:
    tokens = ADAPTERS[wire]().parse(json.dumps(frames[wire](spelled)).encode()).tokens
    assert len(tokens) <= (len(spelled) if isinstance(spelled, list) else 0)
    for token in tokens:
        assert TokenBytes.from_json(json.loads(json.dumps(token.to_json()))) == token and b"" not in token.alternatives


@wires
@given(st.lists(st.binary(max_size=60) | st.sampled_from([b"data: ", b"\n\n", b"event: error\n", b"[DONE]", b"{}"]), max_size=8))
def test_no_bytes_make_a_stream_raise_anything_but_its_own_error(wire: Wire, pieces: list[bytes]) -> None:
    fuzz.read_stream(ADAPTERS[wire](), pieces)


@wires
@given(st.integers(0, 2**32), st.sampled_from([200, 200, 200, 204, 302, 400, 401, 422, 429, 500]))
@settings(deadline=None)
async def test_no_mutated_reply_makes_the_client_raise(wire: Wire, seed: int, status: int) -> None:
    rng, seeds = random.Random(seed), [*fuzz.own_seeds(wire)]
    body = fuzz.mutated(rng, rng.choice(seeds), seeds)
    transport = httpx.MockTransport(lambda _: httpx.Response(status, content=body))
    async with EndpointClient(target(wire), Limits(timeout_s=5.0, retries=0), cli_policy(), transport=transport) as client:
        (reply,) = await client.ask_all([ask(stream=True)])
    assert reply.ok or (reply.error is not None and reply.error.kind in ERROR_KINDS)
    assert Reply.from_json(json.loads(json.dumps(reply.to_json()))) == reply


@pytest.mark.replay
def test_no_mutation_of_a_recorded_reply_makes_a_wire_raise(shared: Path) -> None:
    rng = random.Random(4)
    bodies: dict[Wire, list[bytes]] = {wire: [] for wire in Wire}
    for one in recordings.interactions(shared):
        if isinstance(one, recordings.Recording) and len(one.body) < fuzz.LARGEST_SEED:
            bodies[one.wire].append(one.body)
    for wire, known in bodies.items():
        assert len(known) > 1_000
        for body in known[::7]:
            changed = fuzz.mutated(rng, body, known)
            fuzz.read_plain(ADAPTERS[wire](), changed)
            fuzz.read_stream(ADAPTERS[wire](), [changed])
