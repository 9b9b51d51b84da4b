"""Simulated routers in front of several backends, for tests: by chance, by a rule, or one backend after the other."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.simulated import Endpoint
from probes.probe import Ask, Reply


@dataclass
class Router:
    """Asks the backend that `choose` names, given the question and how many were asked before it."""

    backends: Sequence[Endpoint]
    choose: Callable[[Ask, int], int]
    routed: list[int] = field(default_factory=list)

    async def ask_all(self, asks: Sequence[Ask], *, retry_timeouts: bool = True) -> list[Reply]:
        """Answer every question."""
        replies = []
        for ask in asks:
            self.routed.append(self.choose(ask, len(self.routed)))
            replies += await self.backends[self.routed[-1]].ask_all([ask])
        return replies

    @property
    def share(self) -> float:
        """Share of the questions that went to another backend than the first."""
        return sum(map(bool, self.routed)) / len(self.routed)


def diluting(first: Endpoint, second: Endpoint, share: float, seed: int) -> Router:
    """A router that sends each question to the second backend with probability `share`."""
    rng = random.Random(f"router/{seed}")
    return Router((first, second), lambda ask, n: int(rng.random() < share))


def switching(backends: Sequence[Endpoint], at: Sequence[int]) -> Router:
    """A router that changes to the next backend at each of these numbers of questions."""
    return Router(backends, lambda ask, n: sum(n >= place for place in at))


def answers_of(router: Router, asks: Sequence[Ask]) -> list[Reply]:
    """The router's replies, for tests without an audit."""
    return asyncio.run(router.ask_all(asks))
