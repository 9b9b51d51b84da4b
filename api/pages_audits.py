"""The pages of audits: ask for one, all of them with filters, one of them, and its report.

They take what the REST routes take and call what those call; another owner's audit looks as if it were not there.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
from typing import Annotated, get_args
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response
from starlette.responses import RedirectResponse

from api import forms
from api.audits import AuditId, accept, visible
from api.pages_frame import PageRoute, page, told
from api.pages_live import Seen, standing
from api.problems import Problem, not_found
from api.reports import PAGE_POLICY, served, stored
from api.schemas import shown
from api.sessions import FORM_TOKEN, Posted, Reading, SignedIn, Submitting, Visit
from api.state import Running, Service
from verifier.canonical import read_json
from verifier.errors import TruenameError
from verifier.report.html import render_html
from verifier.report.model import Report
from verifier.service.store import audits
from verifier.service.store.rows import FINISHED, AuditRow, AuditStatus, Outcome, ReportPart

router = APIRouter(route_class=PageRoute, include_in_schema=False)

RECENT = 5
PER_PAGE = 25
DOWNLOADS: dict[str, ReportPart] = {"report.json": "report", "report.dsse.json": "envelope", "transcript.jsonl.gz": "transcript"}
_Filter = Annotated[str, Query(max_length=300)]


@router.get("/")
async def home(request: Request, who: SignedIn, service: Running, like: _Filter = "") -> Response:
    """The form, filled as for the audit `like` where one is named, and the newest audits."""
    entered = forms.Entered()
    if like and who.may("read"):
        entered = forms.like((await visible(like, service, who.caller)).request)
    return await _home(request, who, service, entered)


@router.post("/audits")
async def submit(request: Request, who: Submitting, form: Posted, service: Running) -> Response:
    """Queue an audit and go to it; what is wrong is said at its field."""
    entered, body = forms.read(form)
    if body is None:
        return await _home(request, who, service, entered, 422)
    typed = sorted((name, str(value)) for name, value in form.multi_items() if name != FORM_TOKEN)
    digest = hashlib.sha256(json.dumps(typed).encode()).hexdigest()
    try:
        made = await accept(service, body, who.caller.owner, f"page-{entered.once[:40]}-{digest}" if entered.once else None, digest)
    except TruenameError as error:
        forms.blame(entered, body, error, service.policy)
        return await _home(request, who, service, entered, told(error).status)
    except Problem as problem:
        entered.problem = problem.detail
        return await _home(request, who, service, entered, problem.status)
    if made.webhook_secret is not None or not who.may("read"):
        return page(request, who, "accepted.html", audit=made.audit, secret=shown(made.webhook_secret))
    return RedirectResponse(f"/audits/{made.audit.id}", 303)


@router.get("/audits")
async def history(
    request: Request,
    who: Reading,
    service: Running,
    claim: _Filter = "",
    outcome: _Filter = "",
    status: _Filter = "",
    origin: _Filter = "",
    cursor: Annotated[str | None, Query(max_length=500)] = None,
) -> Response:
    """Audits, newest first, that meet the filters."""
    wanted = {"claim": claim.strip(), "outcome": outcome, "status": status, "origin": origin.strip()}
    if outcome not in ("", *get_args(Outcome)) or status not in ("", *get_args(AuditStatus)):
        raise Problem(422, "invalid-request", "there is no such filter; choose one of the list")
    async with service.store.read() as tx:
        given = {name: value or None for name, value in wanted.items()}
        found = await audits.page(tx, who.caller.sees, **given, cursor=cursor, limit=PER_PAGE)  # type: ignore[arg-type]
    kept = {name: value for name, value in wanted.items() if value}
    more = f"/audits?{urlencode(kept | {'cursor': found.next_cursor})}" if found.next_cursor else None
    return page(
        request,
        who,
        "audits.html",
        rows=found.rows,
        wanted=wanted,
        filtered=bool(kept),
        more=more,
        later=bool(cursor),
        outcomes=get_args(Outcome),
        statuses=get_args(AuditStatus),
    )


@router.get("/audits/{audit_id}")
async def one(request: Request, who: Reading, audit: Seen, service: Running) -> Response:
    """Where an audit stands, live while it runs, and its verdict afterwards."""
    now = await standing(request, who, service, audit)
    return page(request, who, "audit.html", audit=audit, now=now, live=audit.status not in FINISHED)


@router.post("/audits/{audit_id}/cancel")
async def cancel(audit_id: AuditId, who: Submitting, form: Posted, service: Running) -> Response:
    """Cancel an audit: at once while it waits, at its next question while it runs."""
    async with service.store.write() as tx:
        if await audits.request_cancel(tx, audit_id, service.now(), who.caller.sees) is None:
            raise not_found("audit")
    return RedirectResponse(f"/audits/{audit_id}", 303)


@router.get("/audits/{audit_id}/report")
async def report(request: Request, who: Reading, audit: Seen, service: Running) -> Response:
    """The report's page: as it was signed, which is in English; in another language drawn from the signed report and transcript."""
    if who.lang == "en":
        return served("html", await stored(service, audit, "html"))
    data, transcript = await stored(service, audit, "report"), await stored(service, audit, "transcript")
    drawn = await asyncio.to_thread(render_html, Report(read_json(data), transcript), lang=who.lang)
    return Response(drawn, media_type="text/html", headers={"Content-Security-Policy": PAGE_POLICY})


@router.get("/audits/{audit_id}/files/{name}")
async def file(name: str, audit: Seen, service: Running) -> Response:
    """A file of the report, byte for byte."""
    if name not in DOWNLOADS:
        raise not_found("file")
    answer = served(DOWNLOADS[name], await stored(service, audit, DOWNLOADS[name]))
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer


async def _home(request: Request, who: Visit, service: Service, entered: forms.Entered, status: int = 200) -> Response:
    recent: tuple[AuditRow, ...] = ()
    if who.may("read"):
        async with service.store.read() as tx:
            recent = (await audits.page(tx, who.caller.sees, limit=RECENT)).rows
    entered.once = entered.once or secrets.token_urlsafe(16)
    return page(request, who, "home.html", status=status, entered=entered, recent=recent)
