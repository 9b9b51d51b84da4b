"""Limits of a real server, plain and behind gateways that cut: nothing is said of the honest one, and what is cut is found.

SmolLM2 is weak: it loses code words and cannot count. Only what the server counted may speak of it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from benchmarks import gateways
from benchmarks.gateways import Gateway
from fingerprints import catalog
from fingerprints.wire import Wire
from probes.plan import Plan
from probes.probe import Evidence, Reply
from probes.protocol import ProtocolProbe
from verifier import local
from verifier.endpoint.client import EndpointClient, Limits
from verifier.endpoint.guard import cli_policy
from verifier.target import Target

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

JSON = dict[str, Any]
PATIENCE_S, TIMEOUT_S = 120.0, 300.0
"""Seconds that a question may be expected to take, and may take: a machine at load 19 read 25 tokens of prompt a second."""
CAP = 32


async def _ask(base_url: str, probe: ProtocolProbe) -> list[Reply]:
    target = Target.parse(base_url, local.SMOLLM2, wire=Wire.OPENAI, api_key=None)
    async with EndpointClient(target, Limits(timeout_s=TIMEOUT_S, retries=0), cli_policy()) as client:
        replies: list[Reply] = []
        while asks := probe.next_round(replies):
            replies += await client.ask_all(asks)
        return replies


def reading(base_url: str, claim: str = local.SMOLLM2, asks: int = 6, patience_s: float = PATIENCE_S) -> tuple[Evidence, list[Reply]]:
    probe = ProtocolProbe(Plan(seed=1, claim=catalog.claim(claim), protocol_asks=asks), patience_s=patience_s)
    replies = asyncio.run(_ask(base_url, probe))
    return probe.read(replies), replies


def capped(request: JSON) -> JSON:
    return request | {"max_tokens": min(CAP, request["max_tokens"])} if isinstance(request["max_tokens"], int) else request


def halved(request: JSON) -> JSON:
    """Drops the first half of a long prompt's words."""
    (message,) = request["messages"]
    words = message["content"].split(" ")
    kept = words if len(words) < 600 else words[len(words) // 2 :]
    return request | {"messages": [message | {"content": " ".join(kept)}]}


@pytest.fixture
def behind(smollm2: str) -> Iterator[Callable[[Callable[[JSON], JSON]], str]]:
    """Puts a gateway that changes requests in front of SmolLM2."""
    with contextlib.ExitStack() as stack:
        yield lambda change: stack.enter_context(gateways.serve(smollm2, Gateway(ask=change)))


def _rows(found: Evidence) -> dict[str, JSON]:
    return {row["key"]: row for row in found.measured}


def test_nothing_is_said_of_an_honest_server_whatever_it_is_asked(smollm2: str) -> None:
    found, replies = reading(smollm2, asks=8)
    print([(reply.ask.key, reply.seconds, reply.error) for reply in replies], found.measured)
    assert found.tested and found.findings == () and found.log_e == 0.0
    rows = _rows(found)
    assert 0.9 < rows["protocol/context/long"]["measured"] < 1.1
    assert rows["protocol/type/max_tokens"]["wording"] == ["llamacpp (engine): json.exception"]
    assert rows["protocol/speed"]["measured"] > 0


def test_nothing_is_said_of_an_honest_base_model_that_parrots_to_every_limit(gemma3: str) -> None:
    found, replies = reading(gemma3, local.GEMMA3, patience_s=15.0)
    print([(reply.ask.key, reply.seconds, reply.finish, reply.error) for reply in replies], found.measured)
    assert found.tested and found.findings == () and found.log_e == 0.0


def test_a_gateway_that_caps_replies_is_found(behind: Callable[[Callable[[JSON], JSON]], str]) -> None:
    found, replies = reading(behind(capped), patience_s=30.0)
    (said,) = found.findings
    print(said, [(reply.ask.key, reply.finish, reply.usage) for reply in replies])
    assert said.code == "output-truncated"


def test_a_gateway_that_drops_the_first_half_of_long_prompts_is_found(behind: Callable[[Callable[[JSON], JSON]], str]) -> None:
    found, _ = reading(behind(halved))
    print(found.findings, found.measured)
    assert [finding.code for finding in found.findings] == ["context-truncated"]


def test_a_server_that_poses_as_gpt_4o_gives_itself_away_by_its_words_and_its_context(smollm2: str) -> None:
    found, _ = reading(smollm2, claim="gpt-4o")
    assert {finding.code for finding in found.findings} == {"context-truncated", "foreign-marker"}
    assert found.log_e == 0.0
