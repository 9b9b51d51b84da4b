"""A key that a server echoes reaches no reply, log or repr of the endpoint client."""

from __future__ import annotations

import json
import logging

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from probes.probe import Chunk
from tests.verifier.asking import BRIEF, CANARY, ask, kind, no_waiting, one, scripted, target
from tests.verifier.stand_ins import (
    Handler,
    completion,
    delta,
    events,
    raw,
    reply,
    stand_in,
)
from verifier.endpoint.client import EndpointClient
from verifier.endpoint.guard import cli_policy
from verifier.endpoint.redaction import MAX_ERROR_CHARS, REDACTED, Redactor
from verifier.target import Target

__all__ = ["no_waiting"]


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
