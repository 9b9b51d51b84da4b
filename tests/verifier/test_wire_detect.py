"""Finding out which wire an endpoint speaks: from its URL, else from a few questions of one token."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from benchmarks import fuzz
from fingerprints.wire import Wire
from verifier.endpoint.client import Limits
from verifier.endpoint.detect import detect_wire, wire_by_url
from verifier.endpoint.guard import cli_policy
from verifier.errors import CannotRunError, TargetRefusedError
from verifier.target import Target

PATHS = {Wire.OPENAI: "/chat/completions", Wire.RESPONSES: "/responses", Wire.ANTHROPIC: "/messages", Wire.GEMINI: ":generateContent"}


class Server:
    """Answers on some wires, and as told on all others; keeps what it was sent."""

    def __init__(self, *wires: Wire, otherwise: Callable[[httpx.Request], httpx.Response] | None = None) -> None:
        self.wires = wires
        self.otherwise = otherwise or (lambda _: httpx.Response(404, json={"detail": "Not Found"}))
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        for wire in self.wires:
            if request.url.path.endswith(PATHS[wire]):
                return httpx.Response(200, content=next(fuzz.own_seeds(wire)))
        return self.otherwise(request)


async def detect(server: Callable[[httpx.Request], httpx.Response], base_url: str = "https://relay.example", model: str = "m") -> Wire:
    target = Target.parse(base_url, model, api_key="sk-0123456789")
    return await detect_wire(target, Limits(timeout_s=5.0), cli_policy(), transport=httpx.MockTransport(server))


@pytest.mark.parametrize(
    ("base_url", "wire"),
    [
        ("https://api.openai.com/v1", Wire.OPENAI),
        ("https://api.openai.com/v1/responses", Wire.RESPONSES),
        ("https://api.anthropic.com", Wire.ANTHROPIC),
        ("https://relay.example/anthropic", Wire.ANTHROPIC),
        ("https://relay.example/v1/messages", Wire.ANTHROPIC),
        ("https://generativelanguage.googleapis.com", Wire.GEMINI),
        ("https://generativelanguage.googleapis.com/v1beta/openai", Wire.OPENAI),
        ("https://x-aiplatform.googleapis.com/v1/projects/p/locations/l/publishers/google", Wire.GEMINI),
        ("https://x-aiplatform.googleapis.com/v1/projects/p/locations/l/endpoints/openapi", Wire.OPENAI),
        ("https://relay.example/v1beta/models/g:streamGenerateContent", Wire.GEMINI),
        ("https://x.openai.azure.com/openai/deployments/d", Wire.OPENAI),
        ("https://x.openai.azure.com/openai/v1/responses", Wire.RESPONSES),
        ("https://relay.example/openai/v1", Wire.OPENAI),
    ],
)
async def test_a_url_that_says_its_wire_costs_no_request(base_url: str, wire: Wire) -> None:
    def never(request: httpx.Request) -> httpx.Response:
        raise AssertionError("a request was sent")

    assert await detect(never, base_url) is wire


@pytest.mark.parametrize("base_url", ["https://relay.example", "https://relay.example/v1", "https://api.anthropic.com.evil.example/v1"])
def test_a_url_that_says_nothing_is_not_guessed_at(base_url: str) -> None:
    assert wire_by_url(Target.parse(base_url, "m")) is None


@pytest.mark.parametrize(
    ("serves", "model", "wire", "requests"),
    [
        ([Wire.OPENAI, Wire.ANTHROPIC], "claude", Wire.OPENAI, 1),
        ([Wire.ANTHROPIC], "claude", Wire.ANTHROPIC, 2),
        ([Wire.RESPONSES], "m", Wire.RESPONSES, 3),
        ([Wire.GEMINI], "gemini-2.5-pro", Wire.GEMINI, 3),
    ],
)
async def test_the_first_wire_that_answers_is_it(serves: list[Wire], model: str, wire: Wire, requests: int) -> None:
    server = Server(*serves)
    assert await detect(server, model=model) is wire
    assert len(server.requests) == requests
    bodies = [json.loads(request.content) for request in server.requests]
    limits = [body.get("max_tokens") or body.get("max_output_tokens") or body["generationConfig"]["maxOutputTokens"] for body in bodies]
    assert all(limit in (1, 16) for limit in limits)


async def test_a_bare_host_is_asked_for_each_wire_where_that_wire_is_usually_served() -> None:
    server = Server(Wire.GEMINI)
    await detect(server, model="gemini-2.5-pro")
    paths = [request.url.path for request in server.requests]
    assert paths == ["/v1/chat/completions", "/v1/messages", "/v1beta/models/gemini-2.5-pro:generateContent"]


def refused(status: int, body: Any) -> Callable[[httpx.Request], httpx.Response]:
    return lambda _: httpx.Response(status, json=body)


@pytest.mark.parametrize(
    ("status", "body", "said", "remedy"),
    [
        (404, {"detail": "Not Found"}, "not-found", "--wire"),
        (405, {"detail": "Method Not Allowed"}, "Method Not Allowed", "--wire"),
        (401, {"error": {"message": "bad key"}}, "bad key", "--api-key-env"),
        (400, {"error": {"message": "API key not valid."}}, "refused-key", "--api-key-env"),
        (500, {"error": "boom"}, "boom", "healthy"),
        (302, {}, "redirected", "redirects"),
        (200, {"hello": "world"}, "bad-reply", "--wire"),
    ],
)
async def test_where_nothing_answers_one_line_says_why_and_what_to_do(status: int, body: object, said: str, remedy: str) -> None:
    server = Server(otherwise=refused(status, body))
    with pytest.raises(CannotRunError) as caught:
        await detect(server)
    line = str(caught.value)
    assert said in line and remedy in line and "openai, anthropic, responses" in line and "\n" not in line
    assert "sk-0123456789" not in line and len(server.requests) == 3


async def test_a_refused_key_says_more_than_a_missing_path() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        found = request.url.path.endswith("/messages")
        return httpx.Response(401 if found else 404, json={"error": {"message": "bad key" if found else "no such path"}})

    with pytest.raises(CannotRunError, match="bad key"):
        await detect(answer)


@pytest.mark.parametrize(
    ("status", "message"),
    [(404, "The model `m-x` does not exist"), (400, "Invalid model name m-x"), (422, "bad field"), (429, "slow down")],
)
async def test_a_wire_that_turns_the_question_down_is_a_wire(status: int, message: str) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/messages"):
            return httpx.Response(status, json={"error": {"message": message}})
        return httpx.Response(404, json={"detail": "Not Found"})

    assert await detect(answer, model="m-x") is Wire.ANTHROPIC


async def test_a_server_that_is_not_there_is_asked_once() -> None:
    requests = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        raise httpx.ConnectError("refused")

    with pytest.raises(CannotRunError, match="unreachable"):
        await detect(answer)
    assert len(requests) == 1


async def test_a_refused_address_is_said_plainly() -> None:
    with pytest.raises(TargetRefusedError):
        await detect_wire(Target.parse("http://169.254.169.254/v1", "m"), Limits(), cli_policy())


@pytest.mark.parametrize(
    ("given", "wire", "base_url"),
    [
        ("https://a.example", Wire.OPENAI, "https://a.example/v1"),
        ("https://a.example/", Wire.GEMINI, "https://a.example/v1beta"),
        ("https://a.example/x", Wire.GEMINI, "https://a.example/x"),
        ("https://a.example/v1/responses/", Wire.RESPONSES, "https://a.example/v1"),
        ("https://a.example/v1/messages", Wire.ANTHROPIC, "https://a.example/v1"),
        ("https://a.example/v1beta/models/g:generateContent", Wire.GEMINI, "https://a.example/v1beta"),
        ("https://generativelanguage.googleapis.com", Wire.OPENAI, "https://generativelanguage.googleapis.com/v1beta/openai"),
        ("https://x.openai.azure.com", Wire.OPENAI, "https://x.openai.azure.com/openai/v1"),
        ("https://[::1]:8443", Wire.GEMINI, "https://[::1]:8443/v1beta"),
    ],
)
def test_a_target_speaks_another_wire_where_that_wire_is_usually_served(given: str, wire: Wire, base_url: str) -> None:
    assert Target.parse(given, "m", wire=wire).base_url == base_url
    target = Target.parse(given, "m").speaking(wire)
    assert (target.base_url, target.wire) == (base_url, wire)
    assert target.speaking(Wire.OPENAI) == Target.parse(given, "m")
