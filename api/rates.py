"""How often one token may call and one owner may submit: moving windows in this process.

The counts are this process's own, so that the queue's Redis holds nothing else: with several API processes each allows the whole rate.
What protects third parties, audits of one origin by all users together, is counted in the database instead.
"""

from __future__ import annotations

import math
import time

from limits import RateLimitItem, parse
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter

from api.problems import Problem
from verifier.service.settings import ServiceSettings


class Rates:
    """The limits of the settings."""

    def __init__(self, settings: ServiceSettings) -> None:
        """Windows begin empty."""
        self._windows = MovingWindowRateLimiter(MemoryStorage())
        self._token = parse(settings.token_rate)
        self._submit = parse(settings.submit_rate)

    async def call(self, token_id: str) -> None:
        """Count one request of a token. Raises Problem 429."""
        await self._count(self._token, "token", token_id, "this token calls too often")

    async def submit(self, owner: str) -> None:
        """Count one audit that an owner submits. Raises Problem 429."""
        await self._count(self._submit, "submit", owner, "too many audits were submitted")

    async def _count(self, item: RateLimitItem, kind: str, who: str, problem: str) -> None:
        if await self._windows.hit(item, kind, who):
            return
        reset, _ = await self._windows.get_window_stats(item, kind, who)
        seconds = max(1, math.ceil(reset - time.time()))
        raise Problem(429, f"{kind}-rate", f"{problem}; try again in {seconds} seconds", {"Retry-After": str(seconds)})
