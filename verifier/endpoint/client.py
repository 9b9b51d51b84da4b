"""Asks an endpoint questions and gives back Replies, within a budget of requests and tokens. The only opener of sockets.

Takes a Target, Limits and a guard policy; gives one Reply per Ask, in the order of the asks, whatever the server does. It retries
what may pass (429, 5xx, timeouts), learns which fields a model refuses, and never raises for a server's doing. A key must never
leave it but in the request itself: not in a Reply, an error, a repr, a log line or an exception.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

import httpx
import stamina
import stamina.instrumentation

from fingerprints.wire import Wire
from probes.probe import Ask, Reply, ReplyError
from verifier.endpoint.exchange import Outcome, exchange
from verifier.endpoint.guard import RESOLVE_TIMEOUT_S, GuardPolicy, guarded_transport
from verifier.endpoint.limits import Limits
from verifier.endpoint.redaction import Redactor
from verifier.endpoint.wires.anthropic import AnthropicMessages
from verifier.endpoint.wires.base import Request, WireAdapter
from verifier.endpoint.wires.gemini import GeminiGenerate
from verifier.endpoint.wires.openai import OpenAIChat
from verifier.endpoint.wires.responses import OpenAIResponses
from verifier.target import Target

__all__ = ["EndpointClient", "Limits"]

ADAPTERS: Mapping[Wire, Callable[[], WireAdapter]] = {
    Wire.OPENAI: OpenAIChat,
    Wire.RESPONSES: OpenAIResponses,
    Wire.ANTHROPIC: AnthropicMessages,
    Wire.GEMINI: GeminiGenerate,
}
"""The adapter of every wire."""

_HEAD_START_S = 2.0
"""Seconds that the first ask of an audit is given alone, so that what it teaches (a refused field) is not learnt four times over."""
_FIRST_WAIT_S = 0.5
"""Seconds before the first retry where the server names none; it doubles with each further one."""
_BYTES_PER_TOKEN = 3
"""Low on purpose, so that an estimate errs towards spending less: measured vocabularies give 3 to 5 on English."""

# An ordinary client's headers. Naming Truename would tell an endpoint that treats auditors better whom it is talking to.
_HEADERS = {
    "accept": "application/json, text/event-stream",
    "accept-encoding": "identity",
    "content-type": "application/json",
    "user-agent": f"python-httpx/{httpx.__version__}",
}

# stamina's own hooks print through structlog, by default to stdout, where --json writes the report.
stamina.instrumentation.set_on_retry_hooks([])


class EndpointClient:
    """An async context manager around one target. Not for use from several event loops."""

    def __init__(
        self,
        target: Target,
        limits: Limits,
        policy: GuardPolicy,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
        on_reply: Callable[[Reply], None] | None = None,
    ) -> None:
        """`transport` replaces the guarded one in tests; `on_reply` is called with each reply as it comes, in any order."""
        self.requests_sent = 0
        self.tokens_used = 0
        self._target, self._limits, self._policy = target, limits, policy
        self._transport = transport or guarded_transport(policy, resolve_timeout_s=min(RESOLVE_TIMEOUT_S, limits.timeout_s))
        self._clock = clock
        self._on_reply = on_reply
        self._adapter = ADAPTERS[target.wire]()
        self._redactor = Redactor(target)
        self._quirks: set[str] = set()
        self._began = clock()
        self._changed = asyncio.Condition()
        self._in_flight = 0
        self._reserved = 0
        self._left_out = False
        self._head_start_given = False

    @property
    def exhausted(self) -> bool:
        """Whether the budget is spent, or an ask was left out because it no longer fitted."""
        spent = self._limits.max_tokens is not None and self.tokens_used >= self._limits.max_tokens
        return self._left_out or spent or self.requests_sent >= self._limits.max_requests

    async def __aenter__(self) -> Self:
        """Raises TargetRefusedError where the base URL alone shows that the guard refuses it."""
        # httpcore logs response headers at DEBUG, and a server may echo the key in one.
        logging.getLogger("httpcore").setLevel(logging.INFO)
        self._policy.check_url(self._target.base_url)
        self._began = self._clock()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        await self._transport.aclose()

    async def ask_all(self, asks: Sequence[Ask], *, retry_timeouts: bool = True) -> list[Reply]:
        """Ask all questions that the budget allows and return their replies in the order of the asks.

        Asks that the budget no longer allows are absent from the end of the list. What a server does is never raised: it is
        Reply.error. Raises TargetRefusedError where the guard refuses the address that the name resolves to.
        """
        tasks: list[asyncio.Task[Reply]] = []
        try:
            async with asyncio.TaskGroup() as group:
                for ask in asks:
                    if not await self._admit(ask):
                        break
                    tasks.append(group.create_task(self._answer(ask, retry_timeouts)))
                    if not self._head_start_given:
                        self._head_start_given = True
                        await asyncio.wait(tasks, timeout=_HEAD_START_S)
        except BaseExceptionGroup as failed:
            first: BaseException = failed.exceptions[0]
        else:
            return [task.result() for task in tasks]
        raise first

    async def _admit(self, ask: Ask) -> bool:
        """Wait for a free slot and take it, together with one request and the tokens that the ask may cost, if the budget allows."""
        cost = _prompt_tokens(ask) + ask.max_tokens
        async with self._changed:
            while True:
                if self.requests_sent >= self._limits.max_requests:
                    break
                if self._in_flight < self._limits.concurrency:
                    if self._limits.max_tokens is None or self.tokens_used + self._reserved + cost <= self._limits.max_tokens:
                        self.requests_sent += 1
                        self._in_flight += 1
                        self._reserved += cost
                        return True
                    if not self._in_flight:
                        break
                # What is in flight may cost less than it reserves.
                await self._changed.wait()
        self._left_out = True
        return False

    async def _answer(self, ask: Ask, retry_timeouts: bool) -> Reply:
        try:
            reply = await self._ask(ask, retry_timeouts)
        finally:
            async with self._changed:
                self._in_flight -= 1
                self._reserved -= _prompt_tokens(ask) + ask.max_tokens
                self._changed.notify_all()
        if self._on_reply is not None:
            self._on_reply(reply)
        return reply

    async def _ask(self, ask: Ask, retry_timeouts: bool) -> Reply:
        """One question with its retries. The first request has been taken from the budget by `_admit`."""
        reply = Reply(ask, attempts=0)
        tries = stamina.retry_context(
            on=_wait_before_retry,
            attempts=self._limits.retries + 1,
            timeout=None,
            wait_initial=_FIRST_WAIT_S,
            wait_max=self._limits.max_retry_wait_s,
            wait_jitter=_FIRST_WAIT_S,
        )
        try:
            async for attempt in tries:
                with attempt:
                    if reply.attempts and not self._take_request():
                        return reply
                    reply, outcome = await self._send(ask, reply.attempts)
                    if ask.raw is None and self._worth_retrying(outcome, retry_timeouts):  # wrong on purpose is asked once
                        raise _AgainError(outcome.retry_after_s)
        except _AgainError:
            pass  # all attempts are used up: the last reply stands
        return reply

    async def _send(self, ask: Ask, attempts: int) -> tuple[Reply, Outcome]:
        """One request after `attempts` earlier ones, and at once another where its refusal teaches which field to leave out."""
        while True:
            attempts += 1
            quirks = frozenset(self._quirks)
            request = self._adapter.build(ask, self._target, quirks)
            at = self._clock() - self._began
            outcome = await exchange(self._transport, self._http_request(request), self._adapter, self._limits, self._clock)
            self.tokens_used += _tokens(ask, outcome, self._adapter.reasoning_apart)
            reply = self._reply(ask, outcome, attempts, at)
            quirk = self._learn(request, outcome, quirks)
            if quirk is None:
                return reply, outcome
            self._quirks.add(quirk)
            if not self._take_request():
                return reply, outcome

    def _take_request(self) -> bool:
        """One more request for an ask under way, if the budget allows."""
        if self.requests_sent >= self._limits.max_requests:
            return False
        if self._limits.max_tokens is not None and self.tokens_used >= self._limits.max_tokens:
            return False
        self.requests_sent += 1
        return True

    def _learn(self, request: Request, outcome: Outcome, quirks: frozenset[str]) -> str | None:
        if outcome.error is None or outcome.status not in (400, 422):
            return None
        return self._adapter.learn(request, outcome.error.text, quirks)

    def _worth_retrying(self, outcome: Outcome, retry_timeouts: bool) -> bool:
        kind = outcome.error.kind if outcome.error else ""
        if outcome.retry_after_s is not None and outcome.retry_after_s > self._limits.max_retry_wait_s:
            return False
        return kind in ("rate-limited", "server-error") or outcome.dropped or (kind == "timeout" and retry_timeouts)

    def _http_request(self, request: Request) -> httpx.Request:
        headers = dict(_HEADERS)
        for name, value in (*request.headers, *self._target.headers):
            headers[name.lower()] = value.get_secret_value()
        url = httpx.URL(self._target.base_url + request.path)
        if self._target.query:
            url = url.copy_merge_params([(name, value.get_secret_value()) for name, value in self._target.query])
        timeout = httpx.Timeout(self._limits.timeout_s).as_dict()
        content = json.dumps(request.body, allow_nan=False).encode("ascii")
        return httpx.Request(request.method, url, headers=headers, content=content, extensions={"timeout": timeout})

    def _reply(self, ask: Ask, outcome: Outcome, attempts: int, at: float) -> Reply:
        """The outcome as a Reply, with every secret cut out."""
        clean, answer, error = self._redactor, outcome.answer, outcome.error
        return Reply(
            ask=ask,
            status=outcome.status,
            model=clean.optional(answer.model),
            id=clean.optional(answer.id),
            system_fingerprint=clean.optional(answer.system_fingerprint),
            text=clean.text(answer.text),
            finish=clean.optional(answer.finish),
            usage=answer.usage,
            chunks=clean.chunks(answer.chunks),
            tokens=clean.tokens(answer.tokens),
            headers=clean.headers(outcome.headers),
            error=None if error is None else ReplyError(error.kind, clean.error_line(error.text)),
            attempts=attempts,
            at=at,
            seconds=outcome.seconds,
            sha256=outcome.sha256,
        )


class _AgainError(Exception):
    """This attempt's outcome may pass; `wait_s` is what the server asks for, None where it says nothing."""

    def __init__(self, wait_s: float | None) -> None:
        self.wait_s = wait_s
        super().__init__()


def _wait_before_retry(error: Exception) -> bool | float:
    """stamina's back-off hook: the server's own wait where it names one, else stamina's."""
    if not isinstance(error, _AgainError):
        return False
    return True if error.wait_s is None else error.wait_s


def _prompt_tokens(ask: Ask) -> int:
    return sum(len(content.encode("utf-8", "replace")) for _, content in ask.messages) // _BYTES_PER_TOKEN + 1


def _tokens(ask: Ask, outcome: Outcome, reasoning_apart: bool) -> int:
    """What a request cost: as reported, else estimated; nothing where no model ran."""
    kind = outcome.error.kind if outcome.error else ""
    if outcome.answer.usage is None and kind not in ("", "timeout", "cut-stream", "too-large"):
        return 0
    usage = outcome.answer.usage
    prompt = usage.prompt_tokens if usage else None
    completion = usage.completion_tokens if usage else None
    hidden = (usage.reasoning_tokens or 0) if usage and reasoning_apart else 0
    estimated = len(outcome.answer.text.encode("utf-8", "replace")) // _BYTES_PER_TOKEN
    return (_prompt_tokens(ask) if prompt is None else prompt) + (estimated if completion is None else completion) + hidden
