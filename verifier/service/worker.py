"""A worker: the queue's deliveries and the audits that they begin, in one event loop, until it is asked to stop.

`embedded` runs one beside the API, `run_worker` in a process of its own. Stopping gives back every audit under way, so that another worker
goes on at once; being killed costs a lease. With `memory://` every process has a queue of its own over the same database.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import cast

import redis.asyncio
import redis.exceptions
import structlog

from verifier.key_store import KeyStore
from verifier.service.execute import Executor
from verifier.service.jobs import AUDITS, Jobs, delivering
from verifier.service.secrets import open_keyring
from verifier.service.settings import ServiceSettings
from verifier.service.store.engine import Store, open_store_of
from verifier.service.store.rows import new_id

SWITCH_INTERVAL_S = 0.001
"""How long Python lets the thinking thread run on while the event loop waits; by default five times as long, at every step of a request."""

QUEUE_ANSWERS_S = 2.0
"""Seconds within which Redis must answer where somebody asks whether it is there."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker that runs."""

    name: str
    _executor: Executor

    @property
    def running(self) -> int:
        """Audits under way."""
        return self._executor.running


@contextlib.asynccontextmanager
async def embedded(settings: ServiceSettings, store: Store) -> AsyncIterator[Worker]:
    """Run a worker in this event loop, on an open store, until the block ends; then audits under way are queued again.

    Raises ConfigError and CannotRunError where the keys cannot be read.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    keyring = await asyncio.to_thread(open_keyring, settings)
    signer = await asyncio.to_thread(KeyStore(settings.data_dir / "keys", settings.signing_key).signer)
    name = f"{socket.gethostname()}-{os.getpid()}-{new_id('w')[2:8]}"
    executor = Executor(settings, store, keyring, signer, name)
    try:
        async with delivering(settings, Jobs(settings, store, keyring, executor), executor, name):
            _log.info("worker", worker=name, places=settings.concurrent_audits)
            yield Worker(name, executor)
    finally:
        await executor.close()
        _log.info("worker stopped", worker=name)


async def run_worker(settings: ServiceSettings, stop: asyncio.Event) -> None:
    """Run a worker until `stop` is set; returns when every lease is back. Raises StoreError, ConfigError, CannotRunError at the start."""
    store = await open_store_of(settings)
    try:
        async with embedded(settings, store):
            await stop.wait()
    finally:
        await store.close()


async def queue_answers(settings: ServiceSettings) -> bool:
    """Whether the queue can be reached; the one in memory always can."""
    return settings.embedded or await workers_seen(settings) is not None


async def workers_seen(settings: ServiceSettings) -> dict[str, float] | None:
    """When each worker of a shared queue was last seen, in Unix seconds: they write every two. None where the queue cannot be reached."""
    client = redis.asyncio.Redis.from_url(settings.queue, socket_timeout=QUEUE_ANSWERS_S, socket_connect_timeout=QUEUE_ANSWERS_S)
    try:
        seen = cast(list[tuple[bytes, float]], await client.zrange(f"{AUDITS}:workers", 0, -1, withscores=True))
        return {name.decode(): at for name, at in seen}
    except (redis.exceptions.RedisError, OSError):
        return None
    finally:
        await client.aclose()
