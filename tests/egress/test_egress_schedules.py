"""A schedule that is changed to a hostile URL makes the service connect nowhere: PATCH is a door like POST, and so is each later run.

The schedule is fired as a tick fires it; everything else is as in test_egress_service, controls included.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.egress.hostile import HOSTILE, PRIVATE_NAMES, REBOUND, Service, Site, every_connection_lands_on, service
from tests.egress.test_egress_cli import Names
from tests.egress.test_egress_service import KEY, NOWHERE, ROLES, came_of, canary, database, naming
from verifier.endpoint import guard
from verifier.service import submitting
from verifier.service.steady import utc_now
from verifier.service.store import schedules

__all__ = ["canary", "database"]
YEARLY = "0 0 1 1 *"
"""When the schedule is due by itself: never while a test runs."""


async def scheduled(running: Service) -> str:
    """A schedule of an audit that fails at once and harms nobody, whose every end is told."""
    body = {"audit": naming("target", NOWHERE, NOWHERE), "cron": YEARLY, "notify_on": "always"}
    made = await running.api.call("alice:submit", "POST", "/v1/schedules", json=body)
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


async def changed(running: Service, schedule_id: str, audit: dict[str, Any]) -> httpx.Response:
    return await running.api.call("alice:submit", "PATCH", f"/v1/schedules/{schedule_id}", json={"audit": audit})


async def fired(running: Service, schedule_id: str) -> str:
    """The audit that the schedule's next time makes."""
    held, now = running.api.service, utc_now()
    async with held.store.write() as tx:
        row = await schedules.get(tx, schedule_id)
        assert row is not None
        audit = await submitting.fire(tx, held.settings, row, row.next_due)
    assert audit is not None and now < row.next_due
    return audit.id


@pytest.mark.parametrize("role", ROLES)
async def test_no_hostile_url_that_a_schedule_is_changed_to_is_connected_to(
    role: str, canary: Site, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", Names(PRIVATE_NAMES))
    refused = 0
    async with service(tmp_path, database, monkeypatch) as running:
        meant = every_connection_lands_on(canary, monkeypatch, [running.vendor.port])
        schedule_id = await scheduled(running)
        for url in HOSTILE + REBOUND:
            found = await changed(running, schedule_id, naming(role, url, NOWHERE))
            if found.status_code == 200:
                problem = await came_of(running, role, await fired(running, schedule_id))
                assert KEY not in problem and (url not in REBOUND or "refused" in problem), (url, problem)
                continue
            refused += 1
            assert url not in REBOUND and found.status_code == 422, (url, found.text)
            assert found.json()["code"] in ("target-refused", "invalid-request") and KEY not in found.text
    assert refused >= 40
    assert canary.accepts == 0 and meant == []


@pytest.mark.parametrize("role", ROLES)
async def test_control_without_the_guard_a_changed_schedule_connects(
    role: str, canary: Site, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard.GuardPolicy, "check_url", lambda *_: None)
    monkeypatch.setattr(guard, "_GuardedTransport", lambda *_: httpx.AsyncHTTPTransport(trust_env=False))
    monkeypatch.setattr(socket, "getaddrinfo", Names(PRIVATE_NAMES))
    async with service(tmp_path, database, monkeypatch) as running:
        every_connection_lands_on(canary, monkeypatch, [running.vendor.port])
        schedule_id = await scheduled(running)
        found = await changed(running, schedule_id, naming(role, "http://169.254.169.254/v1", running.vendor.base_url))
        assert found.status_code == 200, found.text
        audit_id = await fired(running, schedule_id)
        await running.ended(audit_id)
        if role == "webhook":
            await running.told(audit_id)
        assert canary.accepts > 0
