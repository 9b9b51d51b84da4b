"""The OpenAI chat wire: what it sends, and how it reads what real servers and hostile ones send back."""

from __future__ import annotations

import collections
import gzip
import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.probe import ERROR_KINDS, Ask, Usage
from tests.verifier.stand_ins import completion, delta
from verifier.endpoint.sse import Event, EventReader
from verifier.endpoint.wires.base import NO_TEMPERATURE, Answer, WireError
from verifier.endpoint.wires.openai import COMPLETION_TOKENS_FIELD, NO_STREAM_OPTIONS, OpenAIChat
from verifier.endpoint.wires.reading import token_count, whole_characters
from verifier.target import Target

SHARED = Path(__file__).parents[2].parent / "shared"
WIRE = OpenAIChat()
TARGET = Target.parse("https://api.example.com/v1", "m", api_key="sk-0123456789")


def ask(**changes: Any) -> Ask:
    fields: dict[str, Any] = {"probe": "p", "key": "k", "messages": (("system", "s"), ("user", "u")), "max_tokens": 5}
    return Ask(**(fields | changes))


def plain(body: object) -> Answer:
    return WIRE.parse(json.dumps(body).encode())


def streamed(*data: str) -> Answer:
    """The answer of a stream of these events, the n-th of which comes after n seconds."""
    parser = WIRE.stream()
    for at, one in enumerate(data):
        parser.feed("message", one, float(at))
    parser.finish()
    return parser.answer


def body_events(body: str | bytes) -> list[Event]:
    reader = EventReader()
    return [*reader.feed(body.encode() if isinstance(body, str) else body), *reader.finish()]


# Requests


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


# Hostile input

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "message", "delta", "content", "text", "usage", "prompt_tokens", "error", "code", "index", "id", "model"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(json_values | st.binary(max_size=200).map(lambda raw: raw.decode("latin-1")))
def test_no_body_makes_the_wire_raise_anything_but_its_own_error(value: object) -> None:
    raw = value.encode("latin-1") if isinstance(value, str) and value.isascii() else json.dumps(value).encode()
    try:
        answer = WIRE.parse(raw)
    except WireError as error:
        assert error.kind in ERROR_KINDS
    else:
        answer.text.encode()


@given(st.lists(json_values, max_size=5), st.sampled_from(["message", "error", "x"]))
def test_no_event_makes_the_stream_raise_anything_but_its_own_error(values: list[object], name: str) -> None:
    parser = WIRE.stream()
    for value in values:
        try:
            parser.feed(name, json.dumps(value), 0.0)
        except WireError as error:
            assert error.kind in ERROR_KINDS
            break
    try:
        parser.finish()
    except WireError as error:
        assert error.kind == "cut-stream"
    parser.answer.text.encode()


@given(st.text(max_size=30))
def test_text_that_can_be_encoded_is_kept_as_it_came(text: str) -> None:
    assert whole_characters(text) == text


lines = st.text(st.sampled_from("ab :\u00e9\ufeff"), max_size=12)


@given(st.lists(st.lists(lines, min_size=1, max_size=3), max_size=5), st.sampled_from(["\n", "\r", "\r\n"]), st.booleans(), st.data())
def test_events_survive_any_line_end_comment_and_cut(wanted: list[list[str]], end: str, last_blank: bool, data: st.DataObject) -> None:
    body = "".join(": OPENROUTER PROCESSING" + end + end + "".join(f"data: {line}{end}" for line in event) + end for event in wanted)
    if not last_blank:
        body = body.removesuffix(end)
    raw = body.encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=6)))
    reader = EventReader()
    got = [event for start, stop in zip([0, *cuts], [*cuts, len(raw)], strict=True) for event in reader.feed(raw[start:stop])]
    got += reader.finish()
    assert [event.data for event in got] == ["\n".join(event) for event in wanted]


@given(st.lists(st.binary(max_size=40), max_size=6))
def test_the_event_reader_never_raises_and_gives_no_more_than_it_was_fed(pieces: list[bytes]) -> None:
    reader = EventReader()
    got = [event for piece in pieces for event in reader.feed(piece)]
    got += reader.finish()
    assert sum(len(event.data) for event in got) <= sum(map(len, pieces))


def test_event_names_byte_order_marks_and_spaces_follow_the_standard() -> None:
    body = b"\xef\xbb\xbfevent: error\ndata:x\ndata:  y\nid: 1\nretry: 5\nunknown\n\ndata\n\nevent: lost\n\ndata: \xff\n\n"
    assert body_events(body) == [Event("error", "x\n y"), Event("message", ""), Event("message", "\ufffd")]


# Recorded traffic


def recorded_chats() -> Iterator[dict[str, Any]]:
    path = SHARED / "recorded" / "interactions.jsonl.gz"
    if not path.exists():
        pytest.skip("recorded traffic is not here (../shared/recorded)")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            record = json.loads(line)
            if record["kind"] == "chat" and record["status"] == 200:
                yield record


def recorded_events(body: object) -> list[str] | None:
    """The data of a recorded stream's events, or None where the body is no stream of chat chunks.

    Two recorders changed the bytes: one kept the SDK's chunk objects (and with them no [DONE]), one joined the lines.
    """
    if isinstance(body, dict) and "choices" in (body.get("__chunks__") or [{}])[0]:
        return [*map(json.dumps, body["__chunks__"]), "[DONE]"]
    if isinstance(body, str) and '"choices"' in body and re.search(r"^data:", body, re.MULTILINE):
        return [event.data for event in body_events(re.sub(r"(?<=\})(: OPENROUTER PROCESSING)?data: ", "\n\ndata: ", body))]
    return None


@pytest.mark.replay
def test_every_recorded_openai_chat_reply_parses(capsys: pytest.CaptureFixture[str]) -> None:
    counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    failed: list[str] = []
    for record in recorded_chats():
        body = record["response_body"]
        if "<truncated " in (body if isinstance(body, str) else ""):
            continue  # cut by the recording's own size limit
        data = recorded_events(body)
        if data is None and not (isinstance(body, dict) and isinstance(body.get("choices"), list)):
            continue  # another wire
        try:
            answer = plain(body) if data is None else streamed(*data)
        except WireError as error:
            if any('"error"' in one for one in data or ()):  # the server reported an error in mid-stream, and so do we
                counts[record["provider"]]["errors in mid-stream"] += 1
            else:
                failed.append(f"{record['provider']} {record['sha']}: {error.kind} {error.text}")
            continue
        counts[record["provider"]]["plain" if data is None else "streamed"] += 1
        assert "".join(chunk.text for chunk in answer.chunks) == (answer.text if data is not None else "")
        reported = (record["usage"] or {}).get("prompt_tokens")
        assert answer.usage is None or reported is None or answer.usage.prompt_tokens == token_count(reported), record["sha"]
    with capsys.disabled():
        for provider, kinds in sorted(counts.items()):
            print(f"\n  {provider}: " + ", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items())), end="")
        print()
    assert failed == [] and sum(kinds["plain"] + kinds["streamed"] for kinds in counts.values()) > 5_000


@pytest.mark.replay
def test_every_recorded_local_server_answers_chat_as_expected() -> None:
    path = SHARED / "recorded" / "servers.tar.gz"
    if not path.exists():
        pytest.skip("recorded servers are not here (../shared/recorded)")
    read_ones = 0
    with tarfile.open(path) as archive:
        for member in archive:
            file = archive.extractfile(member) if re.search(r"/0[234]_chat\w*\.txt$", member.name) else None
            if file is None:
                continue
            transcript = file.read().decode("utf-8", "replace")
            status = re.search(r"^< HTTP/\S+ (\d+)", transcript, re.MULTILINE)
            body = re.split(r"^<\s*$\n", transcript, maxsplit=1, flags=re.MULTILINE)[-1].strip()
            if status is None or status.group(1) != "200":
                continue
            data = recorded_events(body)
            answer = plain(json.loads(body)) if data is None else streamed(*data)
            assert answer.text or answer.usage, member.name
            read_ones += 1
    assert read_ones > 20
