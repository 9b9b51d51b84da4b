"""/v1/schedules: audits that run again, and what they have shown over time."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response

from api.auth import Caller, Reader, Submitter
from api.paging import Cursor, Limit
from api.problems import not_found, responses
from api.schemas import ChangeSchedule, CreateSchedule, History, HistoryEntry, SchedulePage, ScheduleView, Turn, shown
from api.state import Running, Service
from verifier.history import changes
from verifier.service import submitting
from verifier.service.requested import check_addresses, read_request
from verifier.service.schedules import change_points
from verifier.service.store import schedules
from verifier.service.store.rows import AuditRow, ScheduleRow

router = APIRouter(prefix="/v1/schedules", tags=["schedules"])

MOST_AUDITS = 500
"""Audits of one history."""
ScheduleId = Annotated[str, Path(max_length=60, examples=["sch_Jk3f9sQ2mZ0pXvB7nLw1cA"])]


@router.post("", status_code=201, responses=responses(400, 401, 403, 413, 422, 429, 503))
async def create(body: CreateSchedule, service: Running, who: Submitter, response: Response) -> ScheduleView:
    """Make a schedule. The keys that it holds are only ever sent to the origin that they were given for."""
    made = await store(service, body, who.owner)
    response.headers["Location"] = f"/v1/schedules/{made.schedule.id}"
    return ScheduleView.of(made.schedule, shown(made.webhook_secret))


async def store(service: Service, body: CreateSchedule, owner: str) -> submitting.Scheduled:
    """Store a schedule for its owner, however it was asked for. Raises what `submitting.create_schedule` and the checks raise."""
    requested = read_request(body.audit.plain())
    check_addresses(requested, service.policy)
    async with service.store.write() as tx:
        return await submitting.create_schedule(
            tx,
            service.keyring,
            service.settings,
            requested,
            owner,
            service.now(),
            cron=body.cron,
            timezone=body.timezone,
            enabled=body.enabled,
            notify_on=body.notify_on,
            jitter_s=body.jitter_s,
            catch_up=body.catch_up,
        )


@router.get("", responses=responses(401, 403, 422, 429, 503))
async def page(
    service: Running,
    who: Reader,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> SchedulePage:
    """Schedules, newest first: one's own, or everybody's for an admin."""
    async with service.store.read() as tx:
        found = await schedules.page(tx, who.sees, cursor=cursor, limit=limit)
    return SchedulePage(items=[ScheduleView.of(row) for row in found.rows], next_cursor=found.next_cursor)


async def visible(schedule_id: ScheduleId, service: Running, who: Reader) -> ScheduleRow:
    """The schedule of the path, if the caller may see it. Raises Problem 404."""
    async with service.store.read() as tx:
        row = await schedules.get(tx, schedule_id, who.sees)
    if row is None:
        raise not_found("schedule")
    return row


Visible = Annotated[ScheduleRow, Depends(visible)]


@router.get("/{schedule_id}", responses=responses(401, 403, 404, 422, 429, 503))
async def read(schedule: Visible) -> ScheduleView:
    """One schedule."""
    return ScheduleView.of(schedule)


@router.patch("/{schedule_id}", responses=responses(400, 401, 403, 404, 413, 422, 429, 503))
async def change(schedule_id: ScheduleId, body: ChangeSchedule, service: Running, who: Submitter) -> ScheduleView:
    """Change a schedule. Another audit needs its keys given again: those that are stored stay with the origin they were given for."""
    changed = await alter(service, schedule_id, body, who)
    return ScheduleView.of(changed.schedule, shown(changed.webhook_secret))


async def alter(service: Service, schedule_id: str, body: ChangeSchedule, who: Caller) -> submitting.Scheduled:
    """Change a schedule that the caller may see. Raises Problem 404 and what `submitting.change_schedule` and the checks raise."""
    requested = read_request(body.audit.plain()) if body.audit is not None else None
    if requested is not None:
        check_addresses(requested, service.policy)
    values = body.model_dump(exclude={"audit"}, exclude_unset=True, exclude_none=True)
    async with service.store.write() as tx:
        row = await schedules.get(tx, schedule_id, who.sees)
        if row is None:
            raise not_found("schedule")
        changed = await submitting.change_schedule(tx, service.keyring, service.settings, row, service.now(), requested=requested, **values)
    if changed is None:
        raise not_found("schedule")
    return changed


@router.delete("/{schedule_id}", status_code=204, response_class=Response, responses=responses(401, 403, 404, 422, 429, 503))
async def remove(schedule_id: ScheduleId, service: Running, who: Submitter) -> Response:
    """Remove a schedule and its sealed keys. Its audits and their reports stay."""
    async with service.store.write() as tx:
        if not await schedules.remove(tx, schedule_id, who.sees):
            raise not_found("schedule")
    return Response(status_code=204)


@router.get("/{schedule_id}/history", responses=responses(401, 403, 404, 422, 429, 503))
async def history(schedule: Visible, service: Running, limit: Annotated[int, Query(ge=1, le=MOST_AUDITS)] = MOST_AUDITS) -> History:
    """Verdicts over time, oldest first, with the audits at which the outcome changed."""
    return await over_time(service, schedule, limit)


async def over_time(service: Service, schedule: ScheduleRow, limit: int = MOST_AUDITS) -> History:
    """What a schedule's newest audits have shown."""
    async with service.store.read() as tx:
        rows = await schedules.history(tx, schedule.id, limit)
    points = change_points(rows)
    entries = [_entry(row, row.id in points) for row in rows]
    turns = changes([(row.id, row.finished, row.verdict) for row in rows if row.finished is not None and row.verdict is not None])
    return History(
        schedule_id=schedule.id,
        audits=entries,
        change_points=list(points),
        turns=[Turn(audit_id=each.audit, at=each.at, before=each.before, after=each.after) for each in turns],
    )


def _entry(row: AuditRow, changed: bool) -> HistoryEntry:
    verdict = row.verdict or {}
    return HistoryEntry(
        id=row.id,
        finished=row.finished,
        status=row.status,
        outcome=row.outcome,
        e_value=verdict.get("e_value"),
        resolution=verdict.get("resolution"),
        changed=changed,
    )
