"""One ask, one target and one reply, for tests of the endpoint client against stand-ins."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import stamina

from probes.probe import ERROR_KINDS, Ask, Reply
from tests.verifier.stand_ins import (
    Handler,
    stand_in,
)
from verifier.endpoint.client import EndpointClient, Limits
from verifier.endpoint.guard import cli_policy
from verifier.endpoint.redaction import MAX_ERROR_CHARS
from verifier.target import Target

CANARY = "sk-canary-Zx81/+Qq=77"
BRIEF = Limits(timeout_s=5.0, retries=0)


@pytest.fixture(autouse=True)
def no_waiting() -> Iterator[None]:
    """Retries happen, but at once."""
    with stamina.set_testing(True, attempts=3, cap=True):
        yield


def ask(key: str = "a/1", content: str = "hi", **changes: Any) -> Ask:
    fields: dict[str, Any] = {"probe": "test", "key": key, "messages": (("user", content),), "max_tokens": 5}
    return Ask(**(fields | changes))


def target(base_url: str, **changes: Any) -> Target:
    return Target.parse(base_url, "stand-in", **({"api_key": CANARY} | changes))


async def one(handler: Handler, *, limits: Limits = BRIEF, stream: bool = False, **changes: Any) -> Reply:
    """The reply to one ask of a server with this one behaviour."""
    async with stand_in(handler) as server, EndpointClient(target(server.base_url, **changes), limits, cli_policy()) as client:
        return (await client.ask_all([ask(stream=stream)]))[0]


def kind(answer: Reply) -> str:
    assert answer.error is not None
    assert answer.error.kind in ERROR_KINDS
    assert answer.error.text == " ".join(answer.error.text.split())
    assert len(answer.error.text) <= MAX_ERROR_CHARS
    return answer.error.kind


def scripted(handler: Callable[[httpx.Request], httpx.Response]) -> httpx.MockTransport:
    return httpx.MockTransport(handler)
