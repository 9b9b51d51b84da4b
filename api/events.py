"""/v1/audits/{id}/events: what happens to an audit, as server-sent events.

Each event's id is its number, so that a reader who comes back with Last-Event-ID misses none. The stream ends after the audit has.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterable, AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header
from fastapi.sse import EventSourceResponse, ServerSentEvent

from api.audits import Visible
from api.problems import responses
from api.state import Running, Service
from verifier.service.store import audits, events
from verifier.service.store.rows import FINISHED, EventRow

router = APIRouter(prefix="/v1/audits", tags=["audits"])

POLL_S = 0.5
"""Seconds between two looks at the database, which is the truth for every process."""


@router.get("/{audit_id}/events", response_class=EventSourceResponse, responses=responses(401, 403, 404, 422, 429, 503))
async def stream(
    audit: Visible,
    service: Running,
    last_event_id: Annotated[str | None, Header(max_length=20, pattern=r"^\d*$", description="The last event that was seen")] = None,
) -> AsyncIterable[ServerSentEvent]:
    """Status changes and progress, from the first event on or from after Last-Event-ID."""
    async for event in follow(service, audit.id, int(last_event_id or 0)):
        yield ServerSentEvent(data=dict(event.data), event=event.kind, id=str(event.seq))


async def follow(service: Service, audit_id: str, seen: int = 0) -> AsyncIterator[EventRow]:
    """The events after number `seen` as they come, until the audit is finished and no event is left, or the service closes."""
    while True:
        async with service.store.read() as tx:
            # The status first: an event that ends the audit is written together with it.
            audit = await audits.get(tx, audit_id)
            found = await events.after(tx, audit_id, seen)
        for event in found:
            seen = event.seq
            yield event
        if service.closing.is_set() or (not found and (audit is None or audit.status in FINISHED)):
            return
        if not found:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(service.closing.wait(), POLL_S)
