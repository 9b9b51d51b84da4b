"""/healthz, /readyz and /metrics: for whoever runs the service. They need no token and say nothing about anybody's audits."""

from __future__ import annotations

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from api.metrics import REGISTRY, of_service
from api.problems import Problem, responses
from api.schemas import Health
from api.state import Running
from verifier.service.store import numbers
from verifier.service.worker import queue_answers, workers_seen
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
    """Prometheus metrics: of this process, and what its database and queue tell of all of them."""
    moment = service.now()
    async with service.store.read() as tx:
        found = await numbers.now(tx, moment)
    workers = {} if service.settings.embedded else await workers_seen(service.settings)
    told = generate_latest(REGISTRY) + generate_latest(of_service(found, workers, moment.timestamp()))
    return Response(told, media_type=CONTENT_TYPE_LATEST)
