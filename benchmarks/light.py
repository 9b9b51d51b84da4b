"""A light audit in place of the real one, for load and faults: real requests through the guarded client, no evidence.

`lighten(setattr)` puts it in place; `python -m benchmarks.light` is a worker process of such audits, and `… serve PORT` the whole service.
Questions are few and plain, one after the other; the outcome is the one that the claim's name asks for (`consistent`, `inconsistent`),
else inconclusive. Stand-in: it says nothing about verdicts; everything around it is the service's own.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from fingerprints.catalog import Claim
from probes.probe import Ask, Reply
from verifier.conversation import Progress, carried_by, could_not_run
from verifier.decide import decide
from verifier.endpoint.client import EndpointClient, Limits
from verifier.options import Settings, request_limit
from verifier.report.model import Report, build
from verifier.service import execute
from verifier.service.settings import load_settings
from verifier.service.telemetry import configure_logging
from verifier.service.worker import run_worker
from verifier.surroundings import Surroundings
from verifier.target import Target
from verifier.transcript import Digests, Header, Transcript

QUESTIONS = 3
"""Asked where the request does not say how many (`max_requests`)."""


def lighten(patch: Callable[[Any, str, Any], None]) -> None:
    """Make the executor's audits light ones."""
    patch(execute, "audit_target", light_audit)


async def light_audit(
    target: Target,
    claim: Claim | None,
    settings: Settings,
    progress: Progress,
    auto: bool,
    reference: Target | None,
    around: Surroundings,
) -> Report:
    """Ask a few questions one after the other and report on them."""
    limits = Limits(max_requests=request_limit(settings), timeout_s=settings.timeout_s, concurrency=1, retries=0)

    def told(reply: Reply) -> None:
        progress(reply, None)

    asks = [Ask("light", f"light/{n}", (("user", f"{settings.seed}-{n}"),), 4) for n in range(settings.max_requests or QUESTIONS)]
    async with EndpointClient(target, limits, around.policy, on_reply=told) as client:
        replies = await client.ask_all(asks)
    if not any(reply.ok for reply in replies):
        raise could_not_run(replies, target.origin)
    return await around.think(lambda: _report(target, claim, settings, tuple(replies)))


def _report(target: Target, claim: Claim | None, settings: Settings, replies: tuple[Reply, ...]) -> Report:
    header = Header(
        version="test",
        started="2026-11-22T12:00:00Z",
        target={"origin": target.origin, "model": target.model, "wire": str(target.wire)},
        claim=claim,
        suite=settings.suite,
        seed=settings.seed or 0,
        alpha=settings.alpha,
        early_stop=settings.early_stop,
        max_requests=request_limit(settings),
        max_tokens=None,
        digests=Digests("0" * 64, "0" * 64),
        carried={"looks": settings.carried.looks, "log_sum": settings.carried.log_sum} if settings.carried else None,
    )
    transcript = Transcript(header, replies, False)
    verdict = decide([], claim, header.alpha, carried=carried_by(header))
    if claim is not None and claim.model in ("consistent", "inconsistent"):
        verdict = replace(verdict, outcome=claim.model)
    return build(transcript, transcript.to_bytes(), [], verdict, claim, ())


async def main() -> None:
    """A worker process of light audits under the settings of its environment, until SIGTERM."""
    settings, stop = load_settings(), asyncio.Event()
    configure_logging(settings.log_level)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await run_worker(settings, stop)


if __name__ == "__main__":
    lighten(setattr)
    if sys.argv[1:2] == ["serve"]:
        from api.cli import main as command

        sys.argv = ["truename", "serve", "--port", sys.argv[2]]
        command()
    else:
        asyncio.run(main())
