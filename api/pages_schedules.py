"""The pages of schedules: all of them, a new one, one with its timeline; change, pause and delete.

They take what the REST routes take and call what those call; another owner's schedule looks as if it were not there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, get_args

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import ValidationError
from starlette.datastructures import FormData
from starlette.responses import RedirectResponse

from api import forms
from api.audits import visible as visible_audit
from api.pages_frame import PageRoute, does, own, page, told
from api.pages_timeline import timeline
from api.problems import not_found
from api.schedules import ScheduleId, alter, over_time, store, visible
from api.schemas import ChangeSchedule, CreateSchedule, SubmitAudit, shown
from api.sessions import Posted, Reading, Submitting, Visit, text
from api.state import Running, Service
from verifier.errors import TruenameError
from verifier.report.texts import texts
from verifier.service.schedules import next_due
from verifier.service.store import schedules
from verifier.service.store.rows import NotifyOn, ScheduleRow

router = APIRouter(prefix="/schedules", route_class=PageRoute, include_in_schema=False)

PER_PAGE = 25
SHOWN_AUDITS = 25
"""Newest audits that are listed with links; the timeline holds more."""
TIMING = ("cron", "timezone", "notify_on")
FIRST_ZONE = {"ko": "Asia/Seoul"}
"""What the form suggests; UTC in other languages."""


@dataclass(slots=True)
class Timing:
    """When a schedule runs and whom it tells, as somebody typed it."""

    values: dict[str, str]
    errors: dict[str, str] = field(default_factory=dict)


@router.get("")
async def page_of_all(
    request: Request, who: Reading, service: Running, cursor: Annotated[str | None, Query(max_length=500)] = None
) -> Response:
    """Schedules, newest first."""
    async with service.store.read() as tx:
        found = await schedules.page(tx, who.caller.sees, cursor=cursor, limit=PER_PAGE)
    return page(request, who, "schedules.html", rows=found.rows, next_cursor=found.next_cursor, later=bool(cursor))


@router.get("/new")
async def new(request: Request, who: Submitting, service: Running, like: Annotated[str, Query(max_length=60)] = "") -> Response:
    """The form, filled as for the audit `like` where one is named."""
    entered = forms.Entered()
    if like and who.may("read"):
        entered = forms.like((await visible_audit(like, service, who.caller)).request)
    values = {"cron": "0 3 * * *", "timezone": FIRST_ZONE.get(who.lang, "UTC"), "notify_on": "change"}
    return _form(request, who, entered, Timing(values))


@router.post("")
async def create(request: Request, who: Submitting, form: Posted, service: Running) -> Response:
    """Store a schedule and go to it; what is wrong is said at its field."""
    entered, audit = forms.read(form)
    timing = _timing(form, service)
    if audit is None or timing.errors:
        return _form(request, who, entered, timing, 422)
    try:
        made = await store(service, _wanted(audit, timing), who.caller.owner)
    except TruenameError as error:
        forms.blame(entered, audit, error, service.policy)
        return _form(request, who, entered, timing, told(error).status)
    if made.webhook_secret is not None or not who.may("read"):
        return page(request, who, "scheduled.html", schedule=made.schedule, secret=shown(made.webhook_secret))
    return RedirectResponse(f"/schedules/{made.schedule.id}", 303)


async def seen(schedule_id: ScheduleId, who: Reading, service: Running) -> ScheduleRow:
    """The schedule of the path, if the visitor may see it. Raises Problem 404."""
    return await visible(schedule_id, service, who.caller)


Seen = Annotated[ScheduleRow, Depends(seen)]


@router.get("/{schedule_id}")
async def one(request: Request, who: Reading, schedule: Seen, service: Running) -> Response:
    """A schedule with what its audits have found over time."""
    return await _one(request, who, schedule, service, Timing({name: str(getattr(schedule, name)) for name in TIMING}))


@router.post("/{schedule_id}")
async def change(request: Request, schedule_id: ScheduleId, who: Submitting, form: Posted, service: Running) -> Response:
    """Change when it runs and whom it tells."""
    timing = _timing(form, service)
    if timing.errors:
        return await _one(request, who, await visible(schedule_id, service, who.caller), service, timing, 422)
    await alter(service, schedule_id, ChangeSchedule.model_validate(timing.values), who.caller)
    return _back(schedule_id)


@router.post("/{schedule_id}/pause")
async def pause(schedule_id: ScheduleId, who: Submitting, form: Posted, service: Running) -> Response:
    """Keep it from running."""
    await alter(service, schedule_id, ChangeSchedule(enabled=False), who.caller)
    return _back(schedule_id)


@router.post("/{schedule_id}/resume")
async def resume(schedule_id: ScheduleId, who: Submitting, form: Posted, service: Running) -> Response:
    """Let it run again, from its next time on."""
    await alter(service, schedule_id, ChangeSchedule(enabled=True), who.caller)
    return _back(schedule_id)


@router.post("/{schedule_id}/delete")
async def delete(schedule_id: ScheduleId, who: Submitting, form: Posted, service: Running) -> Response:
    """Remove it and its sealed keys; its audits and their reports stay."""
    async with service.store.write() as tx:
        if not await schedules.remove(tx, schedule_id, who.caller.sees):
            raise not_found("schedule")
    return RedirectResponse("/schedules", 303)


def _timing(form: FormData, service: Service) -> Timing:
    """What was typed, with what is wrong about it: the same checks that `alter` and `store` make, each at its field."""
    timing = Timing({name: text(form, name) for name in TIMING})
    try:
        ChangeSchedule.model_validate(timing.values)
    except ValidationError as error:
        timing.errors |= {str(each["loc"][0]): "form.wrong" for each in error.errors(include_input=False, include_context=False)}
        return timing
    for name, given in (("timezone", ("* * * * *", timing.values["timezone"])), ("cron", (timing.values["cron"], "UTC"))):
        try:
            next_due(*given, service.now())
        except TruenameError as error:
            timing.errors[name] = str(error)
    return timing


def _wanted(audit: SubmitAudit, timing: Timing) -> CreateSchedule:
    values: dict[str, Any] = dict(timing.values)
    return CreateSchedule(audit=audit, **values)


def _form(request: Request, who: Visit, entered: forms.Entered, timing: Timing, status: int = 200) -> Response:
    return page(request, who, "schedule_new.html", status=status, entered=entered, timing=timing, notify=get_args(NotifyOn))


async def _one(request: Request, who: Visit, schedule: ScheduleRow, service: Service, timing: Timing, status: int = 200) -> Response:
    history = await over_time(service, schedule)
    return page(
        request,
        who,
        "schedule.html",
        status=status,
        schedule=schedule,
        timing=timing,
        notify=get_args(NotifyOn),
        figures=timeline(history, schedule.timezone, does(schedule), own(who.lang), texts(who.lang)),
        entries=list(reversed(history.audits))[:SHOWN_AUDITS],
        turned={each.audit_id: each for each in history.turns},
    )


def _back(schedule_id: str) -> Response:
    return RedirectResponse(f"/schedules/{schedule_id}", 303)
