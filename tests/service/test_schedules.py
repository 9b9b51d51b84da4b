"""When schedules fire: time zones, daylight saving, jitter, and what follows a pause."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from verifier.errors import UsageError
from verifier.service.schedules import LATE, firing, next_due
from verifier.service.store.rows import ScheduleRow


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def times(cron: str, zone: str, after: str, count: int) -> list[str]:
    found, now = [], utc(after)
    for _ in range(count):
        now = next_due(cron, zone, now)
        found.append(now.strftime("%m-%d %H:%M"))
    return found


def schedule(**changes: Any) -> ScheduleRow:
    values: dict[str, Any] = {
        **{"id": "sch_1", "owner": "alice", "origin": "https://api.example.com", "request": {}, "suite": "quick", "claim": None},
        **{"key_holder": None, "webhook": None, "cron": "0 3 * * *", "timezone": "Asia/Seoul", "enabled": True, "notify_on": "change"},
        **{"jitter_s": 0, "catch_up": "once", "next_due": utc("2026-03-01 18:00"), "last_run": None, "last_outcome": None},
        **{"carried_looks": 0, "carried_log_sum": float("-inf"), "created": utc("2026-01-01 00:00")},
    }
    return ScheduleRow(**(values | changes))


def test_seoul_has_no_daylight_saving_and_three_in_the_morning_is_always_eighteen_utc() -> None:
    assert times("0 3 * * *", "Asia/Seoul", "2026-03-28 00:00", 3) == ["03-28 18:00", "03-29 18:00", "03-30 18:00"]
    assert times("0 3 * * *", "Asia/Seoul", "2026-10-24 18:00", 2) == ["10-25 18:00", "10-26 18:00"]


@pytest.mark.parametrize(
    ("zone", "after", "expected"),
    [
        # 29 March 2026 and 8 March 2026: the clock goes from 2 to 3, so 2:30 is not there and the first minute after the gap is taken.
        ("Europe/Berlin", "2026-03-28 00:00", ["03-28 01:30", "03-29 01:00", "03-30 00:30"]),
        ("America/New_York", "2026-03-07 00:00", ["03-07 07:30", "03-08 07:00", "03-09 06:30"]),
    ],
)
def test_a_time_that_daylight_saving_skips_runs_once_right_after_the_gap(zone: str, after: str, expected: list[str]) -> None:
    assert times("30 2 * * *", zone, after, 3) == expected


@pytest.mark.parametrize(
    ("zone", "cron", "after", "expected"),
    [
        # 25 October 2026: 2:30 comes twice in Berlin (0:30 and 1:30 UTC); 1 November: 1:30 twice in New York (5:30 and 6:30 UTC).
        ("Europe/Berlin", "30 2 * * *", "2026-10-24 12:00", ["10-25 00:30", "10-26 01:30"]),
        ("America/New_York", "30 1 * * *", "2026-10-31 12:00", ["11-01 05:30", "11-02 06:30"]),
    ],
)
def test_a_time_that_comes_twice_runs_once(zone: str, cron: str, after: str, expected: list[str]) -> None:
    assert times(cron, zone, after, 2) == expected


@pytest.mark.parametrize("zone", ["Asia/Seoul", "Europe/Berlin", "America/New_York"])
@pytest.mark.parametrize("night", ["2026-03-07 20:00", "2026-03-28 20:00", "2026-10-24 20:00", "2026-10-31 20:00"])
def test_every_half_hour_runs_by_elapsed_time_through_every_change_of_the_clock(zone: str, night: str) -> None:
    now = utc(night)
    for _ in range(30):
        following = next_due("*/30 * * * *", zone, now)
        assert following - now == timedelta(minutes=30)
        now = following


@pytest.mark.parametrize("zone", ["Asia/Seoul", "Europe/Berlin", "America/New_York"])
def test_a_daily_time_fires_once_on_each_of_the_years_days(zone: str) -> None:
    now, fired = utc("2026-01-01 12:00"), []
    while len(fired) < 365:
        now = next_due("15 1 * * *", zone, now)
        fired.append(now)
    gaps = {later - earlier for earlier, later in pairwise(fired)}
    assert gaps <= {timedelta(hours=hours) for hours in (23, 24, 25)}
    assert len(set(fired)) == 365


def test_the_time_found_lies_after_the_one_given() -> None:
    assert next_due("0 3 * * *", "UTC", utc("2026-05-05 03:00")) == utc("2026-05-06 03:00")
    assert next_due("0 3 * * *", "UTC", utc("2026-05-05 02:59")) == utc("2026-05-05 03:00")


def test_jitter_spreads_schedules_and_never_reaches_the_firing_that_follows() -> None:
    now, due = utc("2026-05-05 02:00"), utc("2026-05-05 03:00")
    spread = {next_due("0 3 * * *", "UTC", now, 1800, f"sch_{n}") - due for n in range(200)}
    assert len(spread) > 190
    assert timedelta() <= min(spread) < timedelta(minutes=3)
    assert timedelta(minutes=27) < max(spread) <= timedelta(minutes=30)
    each_minute = {next_due("* * * * *", "UTC", now, 3600, f"sch_{n}") for n in range(200)}
    assert max(each_minute) < now + timedelta(minutes=2)
    assert next_due("0 3 * * *", "UTC", now, 1800, "sch_1") == next_due("0 3 * * *", "UTC", now, 1800, "sch_1")


@pytest.mark.parametrize(
    "cron", ["", "* * * *", "* * * * * *", "61 * * * *", "@daily", "0 0 31 2 *", "a b c d e", "*/0 * * * *", "0 3 * * 8", "0 3 L-9 * *"]
)
def test_a_cron_text_that_cannot_be_read_or_never_fires_is_refused(cron: str) -> None:
    with pytest.raises(UsageError, match="cron text"):
        next_due(cron, "UTC", utc("2026-01-01 00:00"))


@pytest.mark.parametrize("zone", ["", "Asia", "Mars/Olympus", "../../etc/passwd", "/etc/localtime", "Asia/Seoul\0"])
def test_a_time_zone_that_is_not_known_is_refused(zone: str) -> None:
    with pytest.raises(UsageError, match="time zone"):
        next_due("0 3 * * *", zone, utc("2026-01-01 00:00"))


def test_after_a_pause_once_runs_one_audit_for_all_that_were_missed_and_skip_runs_none() -> None:
    now = utc("2026-03-05 00:00")  # four firings were missed
    once, skip = firing(schedule(), now), firing(schedule(catch_up="skip"), now)
    assert (once.runs, skip.runs) == (True, False)
    assert once.next_due == skip.next_due == utc("2026-03-05 18:00")


def test_a_tick_that_is_a_little_late_runs_under_either_policy() -> None:
    due = schedule().next_due
    assert all(firing(schedule(catch_up=policy), due + LATE).runs for policy in ("once", "skip"))


def test_no_audit_piles_up_on_one_that_is_still_under_way() -> None:
    found = firing(schedule(), schedule().next_due, busy=True)
    assert not found.runs
    assert found.next_due > schedule().next_due
