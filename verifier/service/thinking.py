"""A thread for pure work of seconds: preparing, planning and sealing of audits, beside the event loop.

Takes functions and gives what they return. It never runs two at once, and starts nothing more once it is closed.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class Thinking:
    """One thread for what is thought of in this process, so that the event loop competes with one other thread at most."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "truename-think")

    async def __call__(self, work: Callable[[], T], /) -> T:
        """Run `work` there, in the caller's context."""
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._pool, lambda: context.run(work))

    def close(self) -> None:
        """Start nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)
