"""How often one token may call and one owner may submit: moving windows in this process.

The counts are this process's own, so that the queue's Redis holds nothing else: with several API processes each allows the whole rate.
What protects third parties, audits of one origin by all users together, is counted in the database instead.
"""

from __future__ import annotations

import contextlib
import ipaddress
import math
import time

from limits import RateLimitItem, parse
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter

from api.problems import Problem
from verifier.service.settings import ServiceSettings

REFUSED_LOGINS = "10/minute"
"""Refused logins from one address. A token cannot be guessed; this keeps those who try from the database."""
IPV6_PREFIX = 64
"""Bits of an IPv6 address that one customer of a network usually holds whole (RFC 6177)."""


class Rates:
    """The limits of the settings."""

    def __init__(self, settings: ServiceSettings) -> None:
        """Windows begin empty."""
        self._windows = MovingWindowRateLimiter(MemoryStorage())
        self._token = parse(settings.token_rate)
        self._submit = parse(settings.submit_rate)
        self._login = parse(REFUSED_LOGINS)

    async def call(self, token_id: str) -> None:
        """Count one request of a token. Raises Problem 429."""
        await self._count(self._token, "token", token_id, "this token calls too often")

    async def submit(self, owner: str) -> None:
        """Count one audit that an owner submits. Raises Problem 429."""
        await self._count(self._submit, "submit", owner, "too many audits were submitted")

    async def may_log_in(self, address: str) -> None:
        """Raises Problem 429 where too many logins from this address were refused."""
        if not await self._windows.test(self._login, "login", _network(address)):
            raise await self._too_many(self._login, "login", _network(address), "too many logins were refused")

    async def refused_login(self, address: str) -> None:
        """Count a refused login from an address."""
        await self._windows.hit(self._login, "login", _network(address))

    async def _count(self, item: RateLimitItem, kind: str, who: str, problem: str) -> None:
        if not await self._windows.hit(item, kind, who):
            raise await self._too_many(item, kind, who, problem)

    async def _too_many(self, item: RateLimitItem, kind: str, who: str, problem: str) -> Problem:
        reset, _ = await self._windows.get_window_stats(item, kind, who)
        seconds = max(1, math.ceil(reset - time.time()))
        return Problem(429, f"{kind}-rate", f"{problem}; try again in {seconds} seconds", {"Retry-After": str(seconds)})


def _network(address: str) -> str:
    """Who is behind an address: itself, or for IPv6 the network that one customer holds."""
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(address).version == 6:
            return str(ipaddress.ip_network((address, IPV6_PREFIX), strict=False))
    return address
