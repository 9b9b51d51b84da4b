"""Asks two endpoints at once, within one budget: every question goes to the endpoint that its `to` names.

Takes a target, a reference and limits that count both, gives one function that asks and returns replies in the order of the asks.
Opens no socket itself: each endpoint has its own EndpointClient, with its own key, guard and retries.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from fingerprints.catalog import Claim
from fingerprints.wire import Wire
from probes.paired import PairedProbe
from probes.plan import Plan
from probes.probe import Ask, Reply
from probes.suite import LEAST_LIMITS
from verifier.endpoint.client import EndpointClient
from verifier.endpoint.guard import GuardPolicy
from verifier.endpoint.limits import Limits
from verifier.target import Target
from verifier.transcript import Header

TARGET, REFERENCE = "target", "reference"


class AskBoth:
    """An async context manager around a target and a reference."""

    def __init__(
        self, target: Target, reference: Target, limits: Limits, policy: GuardPolicy, on_reply: Callable[[Reply], None] | None = None
    ) -> None:
        """`limits` hold for both endpoints together, retries included; only the concurrency is each one's own."""
        spent = _Spent()
        self.clients = {
            TARGET: _SharingClient(target, limits, policy, spent, on_reply),
            REFERENCE: _SharingClient(reference, limits, policy, spent, on_reply),
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
            answered = {(side, reply.ask): reply for side, task in tasks.items() for reply in task.result()}
            return [answered[side_of(ask), ask] for ask in asks if (side_of(ask), ask) in answered]
        raise first


def side_of(ask: Ask) -> str:
    """`reference` or `target`: which endpoint a question goes to."""
    return REFERENCE if ask.to == REFERENCE else TARGET


def paired_probe(header: Header, claim: Claim | None = None) -> PairedProbe:
    """The paired test of an audit or comparison whose header names a reference, for `claim` where there is one."""
    assert header.reference is not None and header.paired is not None  # noqa: S101 - the caller has looked
    wires = (header.target["wire"], header.reference["wire"])
    least = max(LEAST_LIMITS.get(Wire(wire), 1) for wire in wires)
    plan = Plan(seed=header.seed, claim=claim, alpha=header.alpha, least_limit=least)
    return PairedProbe(plan, int(header.paired["pairs"]), float(header.paired["tolerance"]))


class _Spent:
    """What both clients have sent and used so far."""

    def __init__(self) -> None:
        self.requests = 0
        self.tokens = 0


class _SharingClient(EndpointClient):
    """An endpoint's client whose counters are shared: a request to either endpoint is one less for both."""

    def __init__(
        self, target: Target, limits: Limits, policy: GuardPolicy, spent: _Spent, on_reply: Callable[[Reply], None] | None
    ) -> None:
        self._spent = spent
        super().__init__(target, limits, policy, on_reply=on_reply)

    @property
    def requests_sent(self) -> int:
        return self._spent.requests

    @requests_sent.setter
    def requests_sent(self, value: int) -> None:
        self._spent.requests = value

    @property
    def tokens_used(self) -> int:
        return self._spent.tokens

    @tokens_used.setter
    def tokens_used(self, value: int) -> None:
        self._spent.tokens = value
