"""/healthz, /readyz and /metrics: for whoever runs the service. They need no token and say nothing about anybody's audits."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest

from api.metrics import REGISTRY
from api.problems import Problem, responses
from api.schemas import Health
from api.state import Running
from verifier.service.store import audits
from verifier.service.worker import queue_answers
from verifier.version import VERSION

router = APIRouter(tags=["operations"])


@router.get("/healthz")
async def alive() -> Health:
    """The process answers."""
    return Health(status="ok", version=VERSION)


@router.get("/readyz", responses=responses(503))
async def ready(service: Running) -> Health:
    """The process answers, and so do its database and its queue."""
    await service.store.check()
    if not await queue_answers(service.settings):
        raise Problem(503, "unavailable", "the queue cannot be reached; start the Redis that TRUENAME_REDIS_URL names")
    return Health(status="ok", version=VERSION)


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}, **responses(503)})
async def metrics(service: Running) -> Response:
    """Prometheus metrics: requests of this process, and audits by state in the database."""
    async with service.store.read() as tx:
        counts = await audits.counts(tx)
    now = CollectorRegistry()
    gauge = Gauge("truename_audits", "Audits by state", ["status"], registry=now)
    status: Literal["queued", "running", "done", "failed", "cancelled"]
    for status, count in counts.items():
        gauge.labels(status).set(count)
    return Response(generate_latest(REGISTRY) + generate_latest(now), media_type=CONTENT_TYPE_LATEST)
