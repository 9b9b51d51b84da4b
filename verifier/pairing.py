"""Asks two endpoints at once, within one budget: every question goes to the endpoint that its `to` names.

Takes a target, a reference and limits that count both, gives one function that asks and returns replies in the order of the asks.
Opens no socket itself: each endpoint has its own EndpointClient, with its own key, guard and retries.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from fingerprints.catalog import Claim
from fingerprints.wire import Wire
from probes.paired import PairedProbe
from probes.plan import Plan
from probes.probe import Ask, Reply
from probes.suite import LEAST_LIMITS
from verifier.endpoint.client import EndpointClient
from verifier.endpoint.detect import wire_by_url
from verifier.endpoint.exchange import Outcome
from verifier.endpoint.guard import GuardPolicy
from verifier.endpoint.limits import Limits
from verifier.endpoint.wires.base import NO_TEMPERATURE
from verifier.target import Target
from verifier.transcript import Header

TARGET, REFERENCE = "target", "reference"


class AskBoth:
    """An async context manager around a target and a reference."""

    def __init__(
        self, target: Target, reference: Target, limits: Limits, policy: GuardPolicy, on_reply: Callable[[Reply], None] | None = None
    ) -> None:
        """`limits` hold for both endpoints together, retries included; only the concurrency is each one's own."""
        shared = _Shared()
        self.clients = {
            TARGET: _SharingClient(target, limits, policy, shared, on_reply),
            REFERENCE: _SharingClient(reference, limits, policy, shared, on_reply),
        }

    async def __aenter__(self) -> Self:
        """Raises TargetRefusedError where the guard refuses either base URL."""
        for client in self.clients.values():
            await client.__aenter__()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        for client in self.clients.values():
            await client.__aexit__(kind, error, traceback)

    async def ask_all(self, asks: Sequence[Ask], *, retry_timeouts: bool = True) -> list[Reply]:
        """Ask every question of its own endpoint, both at once; replies in the order of the asks.

        Questions that the budget no longer allows are absent, so that fewer replies than asks mean a spent budget. Raises
        TargetRefusedError where the guard refuses the address that a name resolves to.
        """
        own = {side: [ask for ask in asks if side_of(ask) == side] for side in self.clients}
        tasks: dict[str, asyncio.Task[list[Reply]]] = {}
        try:
            async with asyncio.TaskGroup() as group:
                for side, client in self.clients.items():
                    tasks[side] = group.create_task(client.ask_all(own[side], retry_timeouts=retry_timeouts))
        except BaseExceptionGroup as failed:
            first: BaseException = failed.exceptions[0]
        else:
            answered = {(side, reply.ask.probe, reply.ask.key): reply for side, task in tasks.items() for reply in task.result()}
            places = [(side_of(ask), ask.probe, ask.key) for ask in asks]
            return [answered[place] for place in places if place in answered]
        raise first


def side_of(ask: Ask) -> str:
    """`reference` or `target`: which endpoint a question goes to."""
    return REFERENCE if ask.to == REFERENCE else TARGET


def reference_target(base_url: str, model: str, wire: Wire | None, api_key: str | None, target: Target) -> Target:
    """The reference endpoint beside `target`; without a wire, on the one that its URL gives away, else OpenAI chat.

    Without a key of its own it gets the target's where both are one origin, and none elsewhere. Raises UsageError.
    """
    keyless = Target.parse(base_url, model, wire=wire or Wire.OPENAI)
    own = urlsplit(keyless.base_url)[:2] == urlsplit(target.base_url)[:2]
    key = api_key if api_key is not None else target.api_key if own else None
    reference = Target.parse(base_url, model, wire=wire or Wire.OPENAI, api_key=key)
    return reference if wire else reference.speaking(wire_by_url(reference) or Wire.OPENAI)


def paired_probe(header: Header, claim: Claim | None = None) -> PairedProbe:
    """The paired test of an audit or comparison whose header names a reference, for `claim` where there is one."""
    assert header.reference is not None and header.paired is not None  # noqa: S101 - the caller has looked
    wires = (header.target["wire"], header.reference["wire"])
    least = max(LEAST_LIMITS.get(Wire(wire), 1) for wire in wires)
    plan = Plan(seed=header.seed, claim=claim, alpha=header.alpha, least_limit=least)
    return PairedProbe(plan, int(header.paired["pairs"]), float(header.paired["tolerance"]))


class _Shared:
    """What both clients have sent and used so far, and whether both can be asked at a temperature."""

    def __init__(self) -> None:
        self.requests = 0
        self.tokens = 0
        self.no_temperature = False


class _SharingClient(EndpointClient):
    """An endpoint's client whose counters are shared: a request to either endpoint is one less for both.

    Paired questions are asked alike: once either endpoint has refused a temperature, neither is given one. A reply's ask holds what
    was sent.
    """

    def __init__(
        self, target: Target, limits: Limits, policy: GuardPolicy, shared: _Shared, on_reply: Callable[[Reply], None] | None
    ) -> None:
        self._shared = shared
        super().__init__(target, limits, policy, on_reply=on_reply)

    async def _send(self, ask: Ask, attempts: int) -> tuple[Reply, Outcome]:
        if ask.probe != PairedProbe.name:
            return await super()._send(ask, attempts)
        reply, outcome = await super()._send(replace(ask, temperature=None) if self._shared.no_temperature else ask, attempts)
        if NO_TEMPERATURE in self._quirks:
            self._shared.no_temperature = True
            reply = replace(reply, ask=replace(ask, temperature=None))
        return reply, outcome

    @property
    def requests_sent(self) -> int:
        return self._shared.requests

    @requests_sent.setter
    def requests_sent(self, value: int) -> None:
        self._shared.requests = value

    @property
    def tokens_used(self) -> int:
        return self._shared.tokens

    @tokens_used.setter
    def tokens_used(self, value: int) -> None:
        self._shared.tokens = value
