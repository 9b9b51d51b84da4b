"""When a schedule's audit runs next: five cron fields in a time zone, spread by a jitter, and what happens after a pause.

Pure: takes times, gives times in UTC. Cron is read as Debian's cron reads it (the library cronsim): a fixed local time that daylight
saving skips runs at the first minute after the gap, one that comes twice runs once, and `*` steps run by elapsed time.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from verifier.errors import UsageError
from verifier.service.store.rows import AuditRow, ScheduleRow

LATE = timedelta(minutes=5)
"""A run that comes later than this was missed, as after a pause: `catch_up` says whether it still runs. A busy tick is seconds late."""
_FIELDS = 5
_EXAMPLE = "write five fields: minute, hour, day of month, month, day of week, such as 0 3 * * *"


@dataclass(frozen=True, slots=True)
class Firing:
    """What is to be done with a schedule that is due."""

    runs: bool
    next_due: datetime
    """UTC."""


def next_due(cron: str, timezone: str, after: datetime, jitter_s: int = 0, key: str = "") -> datetime:
    """The first time after `after` (aware) at which the cron text fires in the time zone, in UTC.

    It is put off by up to `jitter_s` seconds, which `key` and `after` determine, and never past the firing that follows.
    Raises UsageError for a cron text that cannot be read or never fires, and for a time zone that is not known.
    """
    times = _firings(cron, timezone, after)
    due = _next(times)
    if jitter_s > 0:
        gap = (_next(times) - due).total_seconds()
        spread = random.Random(f"{key} {after.isoformat()}").uniform(0, min(jitter_s, gap - 1))
        due += timedelta(seconds=spread)
    return due


def firing(schedule: ScheduleRow, now: datetime, busy: bool = False) -> Firing:
    """What becomes of a schedule whose `next_due` has come. `busy`: its last audit is still under way, so another would pile up on it."""
    missed = now - schedule.next_due > LATE
    following = next_due(schedule.cron, schedule.timezone, now, schedule.jitter_s, schedule.id)
    return Firing(not busy and not (missed and schedule.catch_up == "skip"), following)


def change_points(history: Sequence[AuditRow]) -> tuple[str, ...]:
    """Ids of the audits, oldest first, whose outcome differs from that of the one before which ended in an outcome."""
    ended = [audit for audit in history if audit.outcome is not None]
    return tuple(later.id for earlier, later in pairwise(ended) if later.outcome != earlier.outcome)


def _firings(cron: str, timezone: str, after: datetime) -> CronSim:
    if len(cron.split()) != _FIELDS:
        raise UsageError("the cron text does not have five fields", _EXAMPLE)
    try:
        zone = ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError where the name is that of a folder of zones
        raise UsageError("the time zone is not known", "give a name of the IANA database, such as Asia/Seoul or UTC") from None
    try:
        return CronSim(cron, after.astimezone(zone))
    except CronSimError as error:
        raise UsageError(f"the cron text cannot be read: {error}", _EXAMPLE) from None


def _next(times: CronSim) -> datetime:
    try:
        return next(times).astimezone(UTC)
    except (StopIteration, OverflowError):
        raise UsageError("the cron text names a time that never comes", _EXAMPLE) from None
