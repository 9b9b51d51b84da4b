"""Rows for the service's tests: an audit, a schedule and a report that hold nothing special."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from verifier.service.store.rows import NewAudit, NewSchedule, ReportFiles

NOW = datetime(2026, 11, 22, 12, 0, 0, 123456, tzinfo=UTC)
ORIGIN = "https://api.example.com"
FILES = ReportFiles(report=b'{"schema":"truename.report/1"}', transcript=b"\x1f\x8b\x00", html=b"<!doctype html>", envelope=b"{}")
VERDICT = {"outcome": "consistent", "e_value": 0.5, "reasons": []}


def new_audit(**changes: Any) -> NewAudit:
    """An audit to submit, with some fields changed."""
    request = {"target": {"base_url": f"{ORIGIN}/v1", "model": "gpt-4o"}, "note": "모델 확인 \u0000"}
    return replace(NewAudit(owner="alice", origin=ORIGIN, request=request, suite="quick", claim="gpt-4o"), **changes)


def new_schedule(**changes: Any) -> NewSchedule:
    """A schedule to create, with some fields changed."""
    request = {"target": {"base_url": f"{ORIGIN}/v1", "model": "gpt-4o"}}
    new = NewSchedule(
        owner="alice", origin=ORIGIN, request=request, suite="quick", claim="gpt-4o", cron="* * * * *", timezone="Asia/Seoul", next_due=NOW
    )
    return replace(new, **changes)
