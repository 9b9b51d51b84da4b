"""One way in for every audit, from the API and from schedules: refused or stored, with its secrets sealed, in one transaction.

Takes a request that was read and an open write transaction. Who may submit, and how often one token may, is decided above; what third
parties are owed (opt-out, audits of one origin by all users together) is decided here, from the database.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import limits
from pydantic import SecretStr

from verifier.service import webhooks
from verifier.service.budget import refuse_opted_out
from verifier.service.errors import OriginBusyError
from verifier.service.requested import Requested
from verifier.service.schedules import firing, next_due
from verifier.service.secrets import Binding, Keyring, keep
from verifier.service.settings import ServiceSettings
from verifier.service.store import audits, schedules, sealed
from verifier.service.store.engine import Transaction
from verifier.service.store.rows import AuditRow, CatchUp, NewAudit, NewSchedule, NotifyOn, ScheduleRow, new_id

BUSY_WAIT = timedelta(minutes=1)
"""How long a schedule waits where its origin is audited too often already."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A queued audit."""

    audit: AuditRow
    created: bool
    """False where the same Idempotency-Key had made it."""
    webhook_secret: SecretStr | None
    """Signs its notifications; here once, where the audit was made and names a webhook."""


@dataclass(frozen=True, slots=True)
class Scheduled:
    """A stored schedule."""

    schedule: ScheduleRow
    webhook_secret: SecretStr | None
    """As `Accepted.webhook_secret`; None also where the webhook stayed as it was."""


async def submit(
    tx: Transaction,
    keyring: Keyring,
    settings: ServiceSettings,
    requested: Requested,
    owner: str,
    now: datetime,
    *,
    idempotency_key: str | None = None,
    request_digest: str | None = None,
) -> Accepted:
    """Queue an audit. Raises OptedOutError, OriginBusyError, IdempotencyConflictError, UsageError; roll back then."""
    await refuse_opted_out(tx, *requested.origins)
    audit_id = new_id("aud")
    new = NewAudit(
        owner=owner,
        origin=requested.origin,
        request=requested.request,
        suite=requested.suite,
        claim=requested.claim,
        id=audit_id,
        key_holder=audit_id,
        webhook=requested.webhook,
        idempotency_key=idempotency_key,
        request_digest=request_digest,
    )
    made = await audits.submit(tx, new, now)
    if not made.created:
        return Accepted(made.audit, False, None)
    await _refuse_busy(tx, settings, requested.origin, now, stored=1)
    return Accepted(made.audit, True, await _seal(tx, keyring, requested, owner, audit_id))


async def create_schedule(
    tx: Transaction,
    keyring: Keyring,
    settings: ServiceSettings,
    requested: Requested,
    owner: str,
    now: datetime,
    *,
    cron: str,
    timezone: str = "UTC",
    enabled: bool = True,
    notify_on: NotifyOn = "change",
    jitter_s: int = 0,
    catch_up: CatchUp = "once",
) -> Scheduled:
    """Store a schedule. Raises UsageError for cron texts and time zones that cannot be read, OptedOutError; roll back then."""
    await refuse_opted_out(tx, *requested.origins)
    schedule_id = new_id("sch")
    new = NewSchedule(
        owner=owner,
        origin=requested.origin,
        request=requested.request,
        suite=requested.suite,
        cron=cron,
        timezone=timezone,
        next_due=next_due(cron, timezone, now, jitter_s, schedule_id),
        claim=requested.claim,
        id=schedule_id,
        key_holder=schedule_id,
        webhook=requested.webhook,
        enabled=enabled,
        notify_on=notify_on,
        jitter_s=jitter_s,
        catch_up=catch_up,
    )
    row = await schedules.create(tx, new, now)
    return Scheduled(row, await _seal(tx, keyring, requested, owner, schedule_id))


async def change_schedule(
    tx: Transaction,
    keyring: Keyring,
    settings: ServiceSettings,
    schedule: ScheduleRow,
    now: datetime,
    *,
    requested: Requested | None = None,
    **values: Any,
) -> Scheduled | None:
    """Change a schedule's cron, timezone, enabled, notify_on, jitter_s, catch_up, or its whole audit; None where it is gone.

    Another audit comes with all of its keys: none that was stored for the earlier one is kept. Raises UsageError, OptedOutError.
    """
    webhook_secret = None
    if requested is not None:
        await refuse_opted_out(tx, *requested.origins)
        await sealed.remove(tx, schedule.id)
        webhook_secret = await _seal(tx, keyring, requested, schedule.owner, schedule.id)
        values |= {
            "request": dict(requested.request),
            "origin": requested.origin,
            "claim": requested.claim,
            "suite": requested.suite,
            "webhook": requested.webhook,
        }
    if values.keys() & {"cron", "timezone", "jitter_s", "enabled"}:
        cron, timezone = values.get("cron", schedule.cron), values.get("timezone", schedule.timezone)
        values["next_due"] = next_due(cron, timezone, now, values.get("jitter_s", schedule.jitter_s), schedule.id)
    changed = await schedules.change(tx, schedule.id, **values)
    return None if changed is None else Scheduled(changed, webhook_secret)


async def fire(tx: Transaction, settings: ServiceSettings, schedule: ScheduleRow, now: datetime) -> AuditRow | None:
    """Queue the audit of a schedule that is due and move it on; None where nothing runs now, or another process fired it."""
    step = firing(schedule, now, busy=await schedules.unfinished(tx, schedule.id) is not None)
    if not step.runs:
        await schedules.fire(tx, schedule.id, schedule.next_due, step.next_due, now, ran=False)
        return None
    try:
        await _refuse_busy(tx, settings, schedule.origin, now, stored=0)
    except OriginBusyError:
        await schedules.fire(tx, schedule.id, schedule.next_due, now + BUSY_WAIT, now, ran=False)
        return None
    if not await schedules.fire(tx, schedule.id, schedule.next_due, step.next_due, now):
        return None
    new = NewAudit(
        owner=schedule.owner,
        origin=schedule.origin,
        request=schedule.request,
        suite=schedule.suite,
        claim=schedule.claim,
        key_holder=schedule.key_holder,
        schedule_id=schedule.id,
        webhook=schedule.webhook,
    )
    return (await audits.submit(tx, new, now)).audit


async def _refuse_busy(tx: Transaction, settings: ServiceSettings, origin: str, now: datetime, stored: int) -> None:
    """Raises OriginBusyError; `stored`: how many of the audits counted are the one that asks."""
    rate = limits.parse(settings.origin_rate)
    window = timedelta(seconds=rate.get_expiry())
    oldest = await audits.nth_newest(tx, origin, rate.amount + stored)
    if oldest is not None and oldest > now - window:
        raise OriginBusyError(origin, max(1, math.ceil((oldest + window - now).total_seconds())))


async def _seal(tx: Transaction, keyring: Keyring, requested: Requested, owner: str, holder: str) -> SecretStr | None:
    """Seal a request's secrets for its audit or schedule; gives the new secret of its webhook, if it names one."""
    of = {"target": requested.origin, "reference": requested.reference_origin}
    for role, secret in requested.secrets.items():
        if (origin := of[role]) is not None:
            await keep(tx, keyring, secret, Binding(owner, holder, role, origin))
    if requested.webhook is None:
        return None
    webhook_secret = webhooks.new_secret()
    await keep(tx, keyring, webhook_secret, Binding(owner, holder, "webhook", webhooks.origin_of(requested.webhook)))
    return webhook_secret
