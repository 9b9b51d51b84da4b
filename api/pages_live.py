"""/audits/{id}/live: an audit's page while it changes, as server-sent events that hold ready parts of the page.

Takes the rows of the audit and its events, gives what stands on the page now: the same part that the page holds when it is loaded, so that
it reads alike with and without scripts. The stream ends with the audit, the session or the service, whichever ends first.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterable, Iterable, Mapping
from dataclasses import dataclass
from html import escape
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent

from api.audits import AuditId, visible
from api.events import POLL_S
from api.pages_frame import PageRoute, badge, does, filled, own
from api.sessions import Reading, Visit
from api.state import Running, Service
from verifier.canonical import read_json
from verifier.options import DEFAULT_ALPHA
from verifier.report import plots_verdict, texts_verdict
from verifier.report.plots import Figure
from verifier.report.texts import Texts, texts
from verifier.service import sessions
from verifier.service.store import audits, events, reports
from verifier.service.store.rows import FINISHED, AuditRow, EventRow

router = APIRouter(route_class=PageRoute, include_in_schema=False)

OVER = "over"
"""Name of the event after which the browser closes the stream."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How an audit stands: what the page shows of it."""

    said: str
    """One sentence, read aloud where it changes."""
    part: str
    """The part of the page, as HTML."""
    seen: int
    """Number of the last event that it holds."""


async def visible_to(audit_id: AuditId, who: Reading, service: Running) -> AuditRow:
    """The audit of the path, if the visitor may see it. Raises Problem 404."""
    return await visible(audit_id, service, who.caller)


Seen = Annotated[AuditRow, Depends(visible_to)]


async def standing(request: Request, who: Visit, service: Service, audit: AuditRow) -> Standing:
    """What the page shows of an audit now."""
    found = await _events(service, audit.id)
    curve = looks(found)
    data = await _report(service, audit)
    r = texts(who.lang)
    figures = _figures(audit, curve, data, who.lang)
    values = {
        "audit": audit,
        "data": data,
        "outcome": audit.outcome,
        "words": texts_verdict.words(data, r) if data is not None else None,
        "so_far": _so_far(audit, curve, own(who.lang)),
        "kind": does(audit),
        "e_value": math.exp(curve[-1]["log_e"]) if curve else 1.0,
        "figures": figures,
        "alpha": float(audit.request.get("alpha", DEFAULT_ALPHA)),
        "finished": audit.status in FINISHED,
    }
    part = await asyncio.to_thread(filled, request, who, "audit_now.html", **values)
    return Standing(_said(audit, curve, who), part, found[-1].seq if found else 0)


@router.get("/audits/{audit_id}/live", response_class=EventSourceResponse)
async def live(request: Request, found: Seen, who: Reading, service: Running) -> AsyncIterable[ServerSentEvent]:
    """`part` whenever something happened, `said` whenever the sentence changed, `over` at the end."""
    audit: AuditRow | None = found
    seen, said = -1, ""
    while audit is not None and not service.closing.is_set():
        if audit.last_event != seen or audit.status in FINISHED:
            now = await standing(request, who, service, audit)
            seen = audit.last_event
            yield ServerSentEvent(raw_data=now.part, event="part")
            if now.said != said:
                said = now.said
                yield ServerSentEvent(raw_data=escape(said), event="said")
        if audit.status in FINISHED:
            break
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(service.closing.wait(), POLL_S)
        audit = await _again(service, who, found.id)
    if service.closing.is_set():
        return  # the browser comes back, to another process or to this one when it is there again
    if audit is None:
        yield ServerSentEvent(raw_data=filled(request, who, "audit_ended.html"), event="part")
    yield ServerSentEvent(raw_data=OVER, event=OVER)


def looks(found: Iterable[EventRow]) -> list[Mapping[str, Any]]:
    """The evidence after each round of the attempt that is under way: requests, log_e, outcome."""
    curve: list[Mapping[str, Any]] = []
    for event in found:
        if event.kind == "status":
            curve = [] if event.data.get("status") == "running" else curve
        elif event.kind == "evidence":
            curve.append(event.data)
    return curve


async def _again(service: Service, who: Visit, audit_id: str) -> AuditRow | None:
    """The audit once more; None where the session has ended meanwhile, or may no longer see it."""
    async with service.store.read() as tx:
        token = await sessions.token_of(tx, who.key, service.now())
        return None if token is None else await audits.get(tx, audit_id, who.caller.sees)


async def _events(service: Service, audit_id: str) -> list[EventRow]:
    found: list[EventRow] = []
    async with service.store.read() as tx:
        while more := await events.after(tx, audit_id, found[-1].seq if found else 0):
            found += more
    return found


async def _report(service: Service, audit: AuditRow) -> Mapping[str, Any] | None:
    if audit.status != "done":
        return None
    async with service.store.read() as tx:
        stored = await reports.part(tx, audit.id, "report")
    return read_json(stored) if stored else None


def _figures(audit: AuditRow, curve: list[Mapping[str, Any]], data: Mapping[str, Any] | None, lang: str) -> list[Figure]:
    """The curve of the evidence: the report's once it is there, before that what the rounds have told."""
    if data is None:
        alpha = float(audit.request.get("alpha", DEFAULT_ALPHA))
        data = {
            "progress": curve,
            "reference": audit.request.get("reference"),
            "claim": {"model": audit.claim},
            "verdict": {"alpha": alpha},
        }
    return plots_verdict.accumulation(data, texts(lang))


def _said(audit: AuditRow, curve: list[Mapping[str, Any]], who: Visit) -> str:
    t, r = own(who.lang), texts(who.lang)
    if audit.outcome is not None:
        return t("audit.said_done", badge=badge(audit, audit.outcome, r))
    if audit.status == "running" and curve:
        return t("audit.said_running", so_far=_so_far(audit, curve, t))
    return t(f"audit.said_{audit.status}")


def _so_far(audit: AuditRow, curve: list[Mapping[str, Any]], t: Texts) -> str:
    """What the last round has shown, in the words of what the audit does; empty before the first."""
    return t(f"audit.so_far_{does(audit)}_{curve[-1]['outcome']}") if curve else ""
