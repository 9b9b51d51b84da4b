"""The queue between the database and the workers: what is due is found there, delivered here, and only ids travel.

Two queues (pydocket; Redis, or `memory://` within one process): ticks, which look into the database every second and fire schedules,
recover abandoned runs, deliver notifications and expire old rows; and audits, so that a thousand of them cannot keep a tick waiting. The
queue may lose or repeat anything at any time: each tick delivers again what the database says is queued, and a claim takes it once.

Whoever can write to the queue's Redis can run code in the workers (pydocket pickles): it must be the service's own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta

import redis.exceptions
import structlog
from docket import Docket, Perpetual
from docket import Worker as Deliverer

from verifier.service import finish, submitting, webhooks
from verifier.service.errors import StoreError
from verifier.service.execute import Executor
from verifier.service.secrets import Keyring
from verifier.service.settings import ServiceSettings
from verifier.service.steady import utc_now
from verifier.service.store import audits, retention, runs, schedules
from verifier.service.store.engine import Store

TICKS, AUDITS = "truename-ticks", "truename-audits"
"""Names of the two queues, which are the prefixes of their keys in Redis."""
TICK = timedelta(seconds=1)
LINE = 100
"""Audits that a tick hands to the queue at least, as many as it fires schedules: what one queue begins in a second (docs/operations.md)."""
SWEEP = timedelta(minutes=10)
"""Between two looks for what retention removes."""
RESEED_S = 5.0
"""Seconds after which a tick that Redis lost (FLUSHALL) is begun again; pydocket itself looks once a minute."""
REDELIVERY = timedelta(seconds=10)
"""How long the queue waits for a worker that died with a message in hand; shorter than a run's lease."""
RECONNECT = timedelta(seconds=1)
QUEUE_END_S = 5.0
"""Seconds that both queues have to end at shutdown; what they hold is delivered again by another worker."""

_log = structlog.get_logger()


class Jobs:
    """What the ticks do. Every part looks into the database alone, so parts may fail and run again in any order."""

    def __init__(self, settings: ServiceSettings, store: Store, keyring: Keyring, executor: Executor) -> None:
        self._settings, self._store, self._keyring, self._executor = settings, store, keyring, executor

    async def tick(self, enqueue: Callable[[tuple[str, ...]], Awaitable[None]], now: datetime) -> None:
        """Recover abandoned runs, fire due schedules, and hand the ids of queued audits to `enqueue`."""
        await self.recover(now)
        await self.fire_due(now)
        async with self._store.read() as tx:
            waiting = await audits.queued(tx, max(LINE, self._settings.concurrent_audits))
        if waiting:
            await enqueue(waiting)

    async def recover(self, now: datetime) -> None:
        """Queue again what lost its worker. One that failed for good is told of like any other failure."""
        async with self._store.write() as tx:
            found = await runs.recover(tx, now)
            for audit_id in found.failed:
                if (audit := await audits.get(tx, audit_id)) is not None:
                    await finish.tell_of_failure(tx, audit, audit.error or "its workers were lost", now)
        if found.requeued or found.failed:
            _log.warning("workers were lost", requeued=found.requeued, failed=found.failed)

    async def fire_due(self, now: datetime) -> None:
        """Queue the audits of schedules whose time has come, each in a transaction of its own."""
        async with self._store.read() as tx:
            due = await schedules.due(tx, now)
        for schedule in due:
            async with self._store.write() as tx:
                audit = await submitting.fire(tx, self._settings, schedule, now)
            _log.info("schedule", schedule=schedule.id, audit=audit.id if audit is not None else None)

    async def notify(self) -> None:
        """Deliver the notifications that are due."""
        while await webhooks.deliver(self._store, self._keyring, self._executor.policy, utc_now) == webhooks.AT_ONCE:
            pass

    async def sweep(self, now: datetime) -> None:
        """Remove what retention no longer keeps, in portions."""
        keep = timedelta(days=self._settings.retention_days)
        while True:
            async with self._store.write() as tx:
                gone = await retention.expire(tx, now, keep)
            if not gone.audits and not gone.notifications:
                return


@contextlib.asynccontextmanager
async def delivering(settings: ServiceSettings, jobs: Jobs, executor: Executor, name: str) -> AsyncIterator[None]:
    """Run both queues in this event loop until the block ends, whatever becomes of Redis meanwhile; then take no more deliveries."""
    logging.getLogger("docket").setLevel(logging.ERROR)  # a line per delivery at INFO; ours say what matters
    task = asyncio.create_task(_keep_delivering(settings, jobs, executor, name))
    try:
        yield
    finally:
        executor.closing.set()
        await asyncio.wait({task}, timeout=QUEUE_END_S)
        if not task.done():  # a Redis that neither answers nor refuses
            _log.warning("the queue did not end in time")
            task.cancel()


async def _keep_delivering(settings: ServiceSettings, jobs: Jobs, executor: Executor, name: str) -> None:
    """Connect, deliver, and connect again where the queue could not be reached or broke."""
    while not executor.closing.is_set():
        try:
            await _deliver(settings, jobs, executor, name)
        except Exception as error:  # nothing that goes wrong with the queue may end the service
            _log.error("the queue broke off", error=type(error).__name__)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(executor.closing.wait(), RECONNECT.total_seconds())


async def _deliver(settings: ServiceSettings, jobs: Jobs, executor: Executor, name: str) -> None:
    async with (
        Docket(AUDITS, settings.queue, execution_ttl=timedelta(0)) as for_audits,
        Docket(TICKS, settings.queue, execution_ttl=timedelta(0)) as for_ticks,
    ):

        async def audit(audit_id: str) -> None:
            await executor.offer()  # the id is the message's key, so that one audit makes one delivery

        async def enqueue(ids: tuple[str, ...]) -> None:
            await for_audits.add_many([for_audits.call(audit, key=f"audit:{each}")(each) for each in ids])

        async def tick(perpetual: Perpetual = Perpetual(every=TICK, automatic=True)) -> None:  # noqa: B008 - pydocket's way
            await _guarded(jobs.tick(enqueue, utc_now()), executor.closing)

        async def notify(perpetual: Perpetual = Perpetual(every=TICK, automatic=True)) -> None:  # noqa: B008
            await _guarded(jobs.notify(), executor.closing)

        async def sweep(perpetual: Perpetual = Perpetual(every=SWEEP, automatic=True)) -> None:  # noqa: B008
            await _guarded(jobs.sweep(utc_now()), executor.closing)

        perpetual = (tick, notify, sweep)
        for_audits.register(audit)
        for each in perpetual:
            for_ticks.register(each)
        async with (
            Deliverer(
                for_audits,
                name=name,
                concurrency=settings.concurrent_audits,
                redelivery_timeout=REDELIVERY,
                reconnection_delay=RECONNECT,
            ) as audits_deliverer,
            Deliverer(for_ticks, name=name, redelivery_timeout=REDELIVERY, reconnection_delay=RECONNECT) as ticks_deliverer,
        ):
            loops = [asyncio.create_task(each.run_forever()) for each in (audits_deliverer, ticks_deliverer)]
            closing = asyncio.create_task(executor.closing.wait())
            try:
                while not closing.done() and not any(loop.done() for loop in loops):
                    with contextlib.suppress(redis.exceptions.RedisError):
                        for each in perpetual:
                            await for_ticks.add(each, key=each.__name__)()
                    await asyncio.wait({closing, *loops}, timeout=RESEED_S, return_when=asyncio.FIRST_COMPLETED)
                for loop in loops:
                    if loop.done():
                        loop.result()
            finally:
                for each_task in (closing, *loops):
                    each_task.cancel()
                await asyncio.gather(closing, *loops, return_exceptions=True)


async def _guarded(work: Awaitable[None], closing: asyncio.Event) -> None:
    """Do a tick's work unless the service closes; a database that is gone is waited for by the next tick."""
    task, stop = asyncio.ensure_future(work), asyncio.create_task(closing.wait())
    try:
        await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
    except StoreError as error:
        _log.warning("a tick found no database", problem=error.problem)
    except Exception:
        _log.exception("a tick broke")
    finally:
        for each in (task, stop):
            each.cancel()
        await asyncio.gather(task, stop, return_exceptions=True)
