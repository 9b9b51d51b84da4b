"""Runs audits that the queue delivers: claimed in the database, asked, concluded, stored; stopped when cancelled or no longer ours.

Takes ids, writes all that happens to the store. Every end of a run is guarded there, so a lost database, a second delivery or a
worker that comes back from the dead can make nothing happen twice. Endpoint keys are opened here, for one audit and its origin only.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from probes.probe import Reply
from verifier.auditing import audit_target
from verifier.comparing import compare_targets
from verifier.decide import Verdict
from verifier.endpoint.guard import GuardPolicy, service_policy
from verifier.endpoint.redaction import Redactor
from verifier.errors import TruenameError
from verifier.options import request_limit
from verifier.report.model import MAX_LOG_E, Report
from verifier.service import finish, tracing
from verifier.service.aside import Aside, AsideError
from verifier.service.budget import IN_FLIGHT, Reservation, give_back, reserve
from verifier.service.errors import StoreError, kind_of
from verifier.service.prepare import Prepared, prepared
from verifier.service.secrets import Keyring
from verifier.service.settings import ServiceSettings
from verifier.service.steady import steadily, utc_now
from verifier.service.store import audits, runs
from verifier.service.store.engine import Store, Transaction
from verifier.service.store.rows import Claimed
from verifier.service.telemetry import concealing, during
from verifier.service.thinking import Thinking
from verifier.signing import Signer
from verifier.surroundings import Surroundings

BEAT_S = 2.0
"""Seconds between heartbeats: how soon a wish to cancel is seen and progress is told. The lease is seven of them."""
PLACE_WAIT_S = 1.0
"""Seconds that a delivery waits for a free place before it is let go; the audit stays queued in the database and is delivered again."""
HAND_BACK_S = 15.0
"""Seconds that all audits have to be given back at shutdown; half of the 30 s after which container runtimes kill."""
LAST_WORDS_S = 10.0
"""Seconds that an audit which is being concluded is given at shutdown: cheaper than asking everything again."""

_log = structlog.get_logger()


@dataclass(slots=True)
class Progress:
    """What a heartbeat tells of an attempt."""

    planned: int = 0
    sent: int = 0
    told: tuple[int, int] | None = None
    weighed: Mapping[str, Any] | None = None
    """The evidence after the last round, until it was told: requests, log_e, outcome."""
    reserved: Reservation | None = None
    concluding: bool = False
    """Everything was asked: from here on it is neither cancelled nor given back."""

    def heard(self, reply: Reply, verdict: Verdict | None) -> None:
        """As `conversation.Progress`: a reply comes without a verdict, and a verdict after each round with a reply that was counted."""
        if verdict is None:
            self.sent += reply.attempts
        else:
            log_e = min(MAX_LOG_E, max(-MAX_LOG_E, verdict.log_e))  # JSON has no infinity
            self.weighed = {"requests": self.sent, "log_e": round(log_e, 6), "outcome": verdict.outcome}

    def news(self) -> tuple[int, int] | tuple[None, None]:
        """Requests sent and planned, where they changed since they were told last."""
        now = (self.sent, self.planned)
        if now == self.told:
            return None, None
        self.told = now
        return now


class _BrokenError(Exception):
    """Something that nobody expected, which the log has."""


class Executor:
    """The audits under way in this process, at most `settings.concurrent_audits` of them."""

    def __init__(self, settings: ServiceSettings, store: Store, keyring: Keyring, signer: Signer, name: str) -> None:
        """`name` tells this worker from others in the rows of its runs."""
        self.policy: GuardPolicy = service_policy(settings.allowed_networks)
        self._settings, self._store, self._keyring, self._name = settings, store, keyring, name
        self._think, self._aside = Thinking(), Aside()
        self._sealer = finish.Sealer(store, signer, self._think)
        self._places = asyncio.Semaphore(settings.concurrent_audits)
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = asyncio.Event()

    @property
    def running(self) -> int:
        """Audits under way."""
        return len(self._tasks)

    @property
    def closing(self) -> asyncio.Event:
        """Set once nothing more is begun."""
        return self._closing

    async def offer(self) -> bool:
        """Begin the audit that has waited longest, whichever was delivered: one that comes back from a lost worker must not stand in
        line again. False where there is no place for it now, or none waits."""
        try:
            await asyncio.wait_for(self._places.acquire(), PLACE_WAIT_S)
        except TimeoutError:
            return False
        claimed = None
        try:
            claimed = None if self._closing.is_set() else await self._claim()
        finally:
            if claimed is None:
                self._places.release()
        if claimed is None:
            return False
        task = asyncio.create_task(self._followed(claimed), name=f"truename {claimed.audit.id}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return True

    async def close(self) -> None:
        """Begin nothing more and give back what is under way. What cannot be given back in time, because the database is gone, is left to
        its lease."""
        self._closing.set()
        deadline = time.monotonic() + HAND_BACK_S
        while self._tasks and (left := deadline - time.monotonic()) > 0:
            await asyncio.wait(set(self._tasks), timeout=left)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            _log.warning("audits were not given back in time", audits=len(self._tasks))
            await asyncio.wait(set(self._tasks), timeout=PLACE_WAIT_S)
        self._think.close()
        await self._aside.close()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._places.release()
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("an attempt ended by itself", exc_info=error)

    async def _claim(self) -> Claimed | None:
        try:
            async with self._store.write() as tx:
                oldest = await audits.oldest_queued(tx)
                return await runs.claim(tx, oldest, self._name, utc_now()) if oldest is not None else None
        except StoreError:
            return None  # it stays queued, or its lease ends: either way it is delivered again

    async def _followed(self, claimed: Claimed) -> None:
        """An attempt with its ids in every line that is logged meanwhile, and on its span."""
        with during("audit", audit=claimed.audit.id, run=claimed.run.id, attempt=claimed.run.attempt):
            await self._attempt(claimed)

    async def _attempt(self, claimed: Claimed) -> None:
        """One run: the work, its heartbeats and the wish to stop, whichever ends first."""
        progress = Progress()
        work = asyncio.create_task(self._work(claimed, progress))
        beats = asyncio.create_task(self._beats(claimed.run.id, progress))
        stop = asyncio.create_task(self._closing.wait())
        try:
            await asyncio.wait({work, beats, stop}, return_when=asyncio.FIRST_COMPLETED)
            if progress.concluding and not beats.done():
                await asyncio.wait({work, beats}, timeout=None if not stop.done() else LAST_WORDS_S, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
                return
            wish = beats.result() if beats.done() else "give back"
        finally:
            for task in (work, beats, stop):
                task.cancel()
            await asyncio.gather(work, beats, stop, return_exceptions=True)
        await self._let_go(claimed, progress, wish)

    async def _let_go(self, claimed: Claimed, progress: Progress, wish: str) -> None:
        """End a run whose work was stopped. What was reserved for a run that was lost stays counted: it may have been sent."""
        _log.info("stopped", audit=claimed.audit.id, run=claimed.run.id, why=wish)
        if wish == "lost":
            return

        async def end(tx: Transaction) -> None:
            ending = runs.cancel if wish == "cancel" else runs.give_back
            if await ending(tx, claimed.run.id, utc_now()):
                await give_back(tx, progress.reserved, progress.sent + IN_FLIGHT)

        with contextlib.suppress(StoreError):  # the lease ends by itself
            await steadily(self._store, end)

    async def _beats(self, run_id: str, progress: Progress) -> str:
        """Keep the lease until the run is to be stopped: `cancel`, or `lost` where it is no longer ours."""
        while True:
            await asyncio.sleep(BEAT_S)
            try:
                requests, planned = progress.news()
                weighed = progress.weighed
                async with self._store.write() as tx:
                    beat = await runs.heartbeat(tx, run_id, utc_now(), requests=requests, planned=planned, weighed=weighed)
                if progress.weighed is weighed:
                    progress.weighed = None
            except StoreError:
                progress.told = None
                continue  # while the database is gone nobody else can take the run either
            except Exception:
                _log.exception("a heartbeat broke", run=run_id)
                return "lost"
            if beat is None:
                return "lost"
            if beat.cancel_requested and not progress.concluding:
                return "cancel"

    async def _work(self, claimed: Claimed, progress: Progress) -> None:
        """Audit and store. What goes wrong ends the audit as failed; only a database or a thinking process that goes away is left to
        the lease."""
        try:
            ready = await self._prepared(claimed)
            with contextlib.ExitStack() as stack:
                for endpoint in ready.endpoints:
                    stack.enter_context(concealing(Redactor(endpoint)))
                try:
                    await self._reserve(claimed, ready, progress)
                    report = await self._ask(ready, progress)
                    progress.concluding = True
                    sent = int(report.data["cost"]["requests"])
                    await self._sealer.complete(claimed, ready, report, lambda tx: give_back(tx, progress.reserved, sent))
                    tracing.note({"outcome": report.outcome, "requests": sent})
                    _log.info("audited", audit=claimed.audit.id, run=claimed.run.id, outcome=report.outcome)
                except (StoreError, AsideError, asyncio.CancelledError, TruenameError):
                    raise
                except Exception:
                    _log.exception("an audit broke", audit=claimed.audit.id, run=claimed.run.id)
                    raise _BrokenError from None
        except StoreError:
            _log.warning("the database stayed away", audit=claimed.audit.id, run=claimed.run.id)
        except AsideError:  # as where a worker is lost: the lease ends, and another attempt begins while attempts are left
            _log.warning("the thinking process ended", audit=claimed.audit.id, run=claimed.run.id)
        except TruenameError as error:
            await self._fail(claimed, progress, error.problem, kind_of(error))
        except _BrokenError:
            await self._fail(claimed, progress, "the audit broke inside; the log of the service says why", "broken")

    async def _prepared(self, claimed: Claimed) -> Prepared:
        try:
            return await prepared(claimed.audit, self._settings, self._store, self._keyring, self.policy, self._think)
        except TruenameError:
            raise
        except Exception as error:
            # Where it broke but not its words: they may hold a key, and nothing that could take it out is at work yet.
            where = "".join(traceback.format_tb(error.__traceback__))
            _log.error("an audit broke", audit=claimed.audit.id, run=claimed.run.id, error=type(error).__name__, where=where)
            raise _BrokenError from None

    async def _ask(self, ready: Prepared, progress: Progress) -> Report:
        around = Surroundings(self.policy, self._think, self._aside)
        request = ready.resolved
        if request.claim is None and request.reference is not None:
            auto = {"target"} if request.auto_wire else set()
            both = (request.target, request.reference)
            return await compare_targets(*both, ready.settings, progress=progress.heard, auto=auto, surroundings=around)
        return await audit_target(
            request.target, request.claim, ready.settings, progress.heard, request.auto_wire, request.reference, around
        )

    async def _reserve(self, claimed: Claimed, ready: Prepared, progress: Progress) -> None:
        progress.planned, budget = request_limit(ready.settings), self._settings.origin_daily_requests
        day, planned = claimed.run.started.date(), progress.planned
        progress.reserved = await steadily(self._store, lambda tx: reserve(tx, ready.origins, day, planned, budget))

    async def _fail(self, claimed: Claimed, progress: Progress, problem: str, kind: str) -> None:
        tracing.note({"failure": kind})
        _log.info("could not audit", audit=claimed.audit.id, run=claimed.run.id, problem=problem)

        async def end(tx: Transaction) -> None:
            if await runs.fail(tx, claimed.run.id, problem, utc_now(), kind):
                await give_back(tx, progress.reserved, progress.sent + IN_FLIGHT)
                await finish.tell_of_failure(tx, claimed.audit, problem, utc_now())

        with contextlib.suppress(StoreError):
            await steadily(self._store, end)
