"""The REST routes as their users meet them: who may do what, what is said when it goes wrong, and that no key ever comes back."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.service.api_client import CANARY, Api, audit, settings, started
from tests.service.rows import FILES, NOW, VERDICT
from verifier.service.store import audits, origins, runs
from verifier.service.store.models import metadata

SCHEDULE = {"audit": audit(), "cron": "0 3 * * *", "timezone": "Asia/Seoul"}


@pytest.fixture
async def api(migrated_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    async with started(settings(tmp_path / "data", migrated_url)) as running:
        async with running.service.store.write() as tx:
            if running.service.store.dialect == "postgresql":
                kept = [name for name in metadata.tables if name not in ("tokens", "ledger")]
                await tx.execute(text(f"TRUNCATE {', '.join(kept)}"))
        yield running


def holding(folder: Path, data: bytes) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file() and data in file.read_bytes()]


async def finish(api: Api, audit_id: str) -> None:
    async with api.service.store.write() as tx:
        claimed = await runs.claim(tx, audit_id, "worker", NOW)
        assert claimed is not None
        assert await runs.complete(tx, claimed.run.id, outcome="consistent", verdict=VERDICT, files=FILES, requests=7, now=NOW)


def operations(api: Api) -> list[tuple[str, str, str]]:
    """(method, path, scope needed) of every route under /v1, as the OpenAPI document lists them."""
    found = []
    for path, methods in api.app.openapi()["paths"].items():
        for method in methods:
            if path.startswith("/v1"):
                admin = path.startswith("/v1/tokens")
                writes = method in ("post", "patch", "delete") and path != "/v1/reports/verify"
                found.append((method.upper(), path, "admin" if admin else "submit" if writes else "read"))
    return found


BODIES = {
    ("POST", "/v1/audits"): audit(),
    ("POST", "/v1/schedules"): SCHEDULE,
    ("PATCH", "/v1/schedules/{schedule_id}"): {"enabled": False},
    ("POST", "/v1/tokens"): {"scopes": ["read"]},
}


async def test_every_route_refuses_who_has_no_token_and_whose_token_is_for_something_else(api: Api) -> None:
    assert len(operations(api)) >= 17
    for method, path, scope in operations(api):
        target, body = (
            path.replace("{audit_id}", "aud_x").replace("{schedule_id}", "sch_x").replace("{token_id}", "tok_x"),
            BODIES.get((method, path)),
        )
        for headers in ({}, {"Authorization": "Bearer tn_" + "x" * 43}, {"Authorization": "Basic YTpi"}):
            answer = await api.client.request(method, target, headers=headers, json=body)
            assert (answer.status_code, answer.json()["code"]) == (401, "no-token"), (method, path)
            assert answer.headers["www-authenticate"] == "Bearer"
        wrong = {"read": "alice:submit-only", "submit": "alice:read", "admin": "alice:submit"}[scope]
        answer = await api.call(wrong, method, target, json=body)
        assert (answer.status_code, answer.json()["code"]) == (403, "wrong-scope"), (method, path)
        answer = await api.call("root", method, target, json=body)
        assert answer.status_code not in (401, 403, 500), (method, path, answer.text)


async def test_somebody_elses_rows_look_as_if_they_were_not_there(api: Api) -> None:
    mine = await api.submit()
    made = await api.call("alice:submit", "POST", "/v1/schedules", json=SCHEDULE)
    schedule = made.json()["id"]
    for method, path in (
        ("GET", f"/v1/audits/{mine}"),
        ("DELETE", f"/v1/audits/{mine}"),
        ("GET", f"/v1/audits/{mine}/events"),
        ("GET", f"/v1/audits/{mine}/report"),
        ("GET", f"/v1/schedules/{schedule}"),
        ("GET", f"/v1/schedules/{schedule}/history"),
        ("PATCH", f"/v1/schedules/{schedule}"),
        ("DELETE", f"/v1/schedules/{schedule}"),
    ):
        body = {"enabled": False} if method == "PATCH" else None
        other = await api.call("bob:submit", method, path, json=body)
        absent = await api.call("bob:submit", method, path.replace(mine, "aud_none").replace(schedule, "sch_none"), json=body)
        assert other.status_code == absent.status_code == 404 and other.json() == absent.json()
    assert (await api.call("bob:read", "GET", "/v1/audits")).json()["items"] == []
    assert (await api.call("bob:read", "GET", "/v1/schedules")).json()["items"] == []
    for who in ("alice:read", "root"):
        assert [each["id"] for each in (await api.call(who, "GET", "/v1/audits")).json()["items"]] == [mine]
        assert (await api.call(who, "GET", f"/v1/schedules/{schedule}")).status_code == 200


async def test_an_idempotency_key_gives_the_same_audit_again_and_refuses_another_request(api: Api) -> None:
    key = {"Idempotency-Key": "order-17"}
    first = await api.call("alice:submit", "POST", "/v1/audits", json=audit(), headers=key)
    again = await api.call("alice:submit", "POST", "/v1/audits", json=audit(), headers=key)
    assert first.status_code == again.status_code == 202 and first.json() == again.json()
    assert first.headers["location"] == f"/v1/audits/{first.json()['id']}"
    other = await api.call("alice:submit", "POST", "/v1/audits", json=audit(suite="deep"), headers=key)
    assert (other.status_code, other.json()["code"]) == (409, "idempotency-conflict")
    bobs = await api.call("bob:submit", "POST", "/v1/audits", json=audit(), headers=key)
    assert bobs.json()["id"] != first.json()["id"]


async def test_a_listing_is_paged_and_filtered(api: Api) -> None:
    made = [await api.submit(claim={"model": claim}) for claim in ("gpt-4o", "llama-3-70b-instruct", "gpt-4o")]
    await finish(api, made[0])
    seen: list[str] = []
    path = "/v1/audits?limit=2"
    while path:
        page = (await api.call("alice:read", "GET", path)).json()
        seen += [each["id"] for each in page["items"]]
        path = f"/v1/audits?limit=2&cursor={page['next_cursor']}" if page["next_cursor"] else ""
    assert seen == made[::-1]
    for query, expected in (
        ("claim=gpt-4o", [made[2], made[0]]),
        ("status=done", [made[0]]),
        ("outcome=consistent", [made[0]]),
        ("origin=https://api.example.com", made[::-1]),
        ("origin=https://else.example.com", []),
    ):
        page = (await api.call("alice:read", "GET", f"/v1/audits?{query}")).json()
        assert [each["id"] for each in page["items"]] == expected, query
    bad = await api.call("alice:read", "GET", "/v1/audits?cursor=nonsense")
    assert (bad.status_code, bad.json()["code"]) == (422, "bad-cursor")


async def test_a_report_comes_in_the_form_that_is_asked_for_and_only_once_it_is_there(api: Api) -> None:
    audit_id = await api.submit()
    early = await api.call("alice:read", "GET", f"/v1/audits/{audit_id}/report")
    assert (early.status_code, early.json()["code"]) == (409, "not-done")
    await finish(api, audit_id)
    for accept, media_type, data in (
        ("", "application/json", FILES.report),
        ("*/*", "application/json", FILES.report),
        ("text/html, application/json;q=0.9", "text/html", FILES.html),
        ("application/vnd.dsse+json", "application/vnd.dsse+json", FILES.envelope),
        ("application/gzip", "application/gzip", FILES.transcript),
    ):
        answer = await api.call("alice:read", "GET", f"/v1/audits/{audit_id}/report", headers={"Accept": accept})
        assert answer.status_code == 200 and answer.headers["content-type"].startswith(media_type) and answer.content == data
    page = await api.call("alice:read", "GET", f"/v1/audits/{audit_id}/report", headers={"Accept": "text/html"})
    assert "sandbox" in page.headers["content-security-policy"] and page.headers["x-content-type-options"] == "nosniff"
    none = await api.call("alice:read", "GET", f"/v1/audits/{audit_id}/report", headers={"Accept": "application/pdf"})
    assert (none.status_code, none.json()["code"]) == (406, "not-acceptable")


async def test_events_are_numbered_followed_to_the_end_and_taken_up_again(api: Api) -> None:
    audit_id = await api.submit()
    following = asyncio.create_task(api.call("alice:read", "GET", f"/v1/audits/{audit_id}/events"))
    await finish(api, audit_id)
    answer = await asyncio.wait_for(following, 20)
    assert answer.headers["content-type"].startswith("text/event-stream")
    statuses = [json.loads(line[6:])["status"] for line in answer.text.splitlines() if line.startswith("data: ")]
    assert statuses == ["queued", "running", "done"]
    assert [line for line in answer.text.splitlines() if line.startswith("id: ")] == ["id: 1", "id: 2", "id: 3"]
    rest = await api.call("alice:read", "GET", f"/v1/audits/{audit_id}/events", headers={"Last-Event-ID": "2"})
    assert "id: 3" in rest.text and "id: 2" not in rest.text


async def test_cancelling_a_waiting_audit_ends_it_at_once(api: Api) -> None:
    audit_id = await api.submit()
    for _ in range(2):
        answer = await api.call("alice:submit", "DELETE", f"/v1/audits/{audit_id}")
        assert answer.status_code == 200 and answer.json()["status"] == "cancelled"


async def test_a_key_that_is_sent_in_is_never_seen_again(api: Api, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    caplog.set_level(logging.DEBUG)
    reference = {"base_url": "https://reference.example.com/v1", "model": "gpt-4o", "api_key": CANARY}
    answers = [
        await api.call("alice:submit", "POST", "/v1/audits", json=audit(reference=reference)),
        await api.call("alice:submit", "POST", "/v1/schedules", json=SCHEDULE),
        await api.call("alice:submit", "POST", "/v1/audits", json={"target": {"base_url": CANARY, "api_key": CANARY}, "wire": CANARY}),
        await api.call("alice:submit", "POST", "/v1/audits", json=audit(target={"base_url": "https://a.example", "api_key": [CANARY]})),
        await api.call("alice:submit", "POST", "/v1/audits", content=f'{{"target": {{"api_key": "{CANARY}"'.encode()),
        await api.call("alice:read", "GET", "/v1/audits"),
        await api.call("alice:read", "GET", "/v1/schedules"),
    ]
    assert [each.status_code for each in answers] == [202, 201, 422, 422, 422, 200, 200]
    assert all(CANARY not in each.text for each in answers)
    assert CANARY not in caplog.text
    async with api.service.store.read() as tx:
        for table in metadata.tables.values():
            for row in (await tx.execute(table.select())).mappings():
                assert CANARY not in repr(dict(row)) and CANARY.encode() not in b"".join(v for v in row.values() if isinstance(v, bytes))
    assert await asyncio.to_thread(holding, tmp_path, CANARY.encode()) == []


async def test_a_target_that_the_guard_refuses_is_refused_at_the_door(api: Api) -> None:
    for base_url in ("http://169.254.169.254/v1", "http://10.0.0.1/v1", "http://[::ffff:169.254.169.254]/", "http://2852039166/v1"):
        answer = await api.call("alice:submit", "POST", "/v1/audits", json=audit(target={"base_url": base_url, "model": "gpt-4o"}))
        assert answer.status_code == 422 and answer.json()["code"] in ("target-refused", "invalid-request"), (base_url, answer.text)
    for name in ("webhook",):
        answer = await api.call("alice:submit", "POST", "/v1/audits", json=audit(**{name: "https://169.254.169.254/hook"}))
        assert answer.status_code == 422
    assert (await api.call("alice:read", "GET", "/v1/audits")).json()["items"] == []


async def test_an_origin_whose_owner_opted_out_is_not_audited(api: Api) -> None:
    async with api.service.store.write() as tx:
        await origins.opt_out(tx, "example.com", "asked by its owner", NOW)
    answer = await api.call("alice:submit", "POST", "/v1/audits", json=audit())
    assert (answer.status_code, answer.json()["code"]) == (403, "opted-out")


async def test_rates_hold_per_token_per_owner_and_per_origin(migrated_url: str, tmp_path: Path) -> None:
    for changes, code, count in (
        ({"token_rate": "2/minute"}, "token-rate", 2),
        ({"submit_rate": "2/minute"}, "submit-rate", 2),
        ({"origin_rate": "2/hour"}, "origin-rate", 2),
    ):
        target = {"base_url": f"https://{code}.example.org/v1", "model": "gpt-4o"}
        async with started(settings(tmp_path / code, migrated_url, **changes)) as api:
            answers = [await api.call("alice:submit", "POST", "/v1/audits", json=audit(target=target)) for _ in range(count + 1)]
        assert [each.status_code for each in answers] == [202] * count + [429], code
        assert answers[-1].json()["code"] == code and int(answers[-1].headers["retry-after"]) >= 1


async def test_every_error_is_a_problem_with_a_remedy(api: Api) -> None:
    for method, path, body, status in (
        ("GET", "/nowhere", None, 404),
        ("PUT", "/v1/audits", {}, 405),
        ("POST", "/v1/audits", {"target": {"base_url": "https://a.example/v1?key=1"}, "claim": {"model": "gpt-4o"}}, 422),
        ("POST", "/v1/audits", {"target": {"base_url": "https://a.example/v1"}, "surprise": 1}, 422),
        ("POST", "/v1/audits", audit(target={"base_url": "https://a.example/v1", "body": {"x": "y" * 300_000}}), 413),
        ("POST", "/v1/schedules", SCHEDULE | {"cron": "every day"}, 422),
        ("POST", "/v1/schedules", SCHEDULE | {"timezone": "서울"}, 422),
        ("POST", "/v1/tokens", {"scopes": ["read"], "expires": "2020-01-01T00:00:00Z"}, 422),
    ):
        answer = await api.call("root", method, path, json=body)
        assert answer.status_code == status, (path, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert problem["status"] == status and problem["code"] and ";" in problem["detail"]


async def test_a_lost_database_is_said_and_not_an_accident(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    from verifier.service.errors import StoreError

    async def lost(*_: object, **__: object) -> None:
        raise StoreError("the database is gone: secret details", "start it")

    monkeypatch.setattr(audits, "page", lost)
    answer = await api.call("alice:read", "GET", "/v1/audits")
    assert answer.status_code == 503 and answer.headers["retry-after"] and "secret details" not in answer.text


async def test_an_accident_says_nothing_of_itself(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError(f"boom {CANARY}")

    monkeypatch.setattr(audits, "page", broken)
    answer = await api.call("alice:read", "GET", "/v1/audits")
    assert answer.status_code == 500 and answer.json()["code"] == "internal" and CANARY not in answer.text


async def test_tokens_are_made_shown_once_and_revoked(api: Api) -> None:
    made = (await api.call("root", "POST", "/v1/tokens", json={"owner": "carol 캐롤", "scopes": ["read"]})).json()
    headers = {"Authorization": f"Bearer {made['token']}"}
    assert (await api.client.get("/v1/audits", headers=headers)).status_code == 200
    listed = await api.call("root", "GET", "/v1/tokens")
    assert made["token"] not in listed.text and made["id"] in [each["id"] for each in listed.json()["items"]]
    assert (await api.call("root", "DELETE", f"/v1/tokens/{made['id']}")).status_code == 204
    assert (await api.client.get("/v1/audits", headers=headers)).status_code == 401
    assert (await api.call("root", "DELETE", "/v1/tokens/tok_none")).status_code == 404


async def test_a_schedule_is_made_changed_read_and_removed(api: Api) -> None:
    made = await api.call("alice:submit", "POST", "/v1/schedules", json=SCHEDULE)
    assert made.status_code == 201 and made.headers["location"] == f"/v1/schedules/{made.json()['id']}"
    path = made.headers["location"]
    assert (await api.call("alice:read", "GET", path)).json()["timezone"] == "Asia/Seoul"
    changed = await api.call("alice:submit", "PATCH", path, json={"cron": "30 4 * * 1", "notify_on": "always"})
    assert changed.json()["cron"] == "30 4 * * 1" and changed.json()["notify_on"] == "always"
    assert changed.json()["next_due"] != made.json()["next_due"]
    history = (await api.call("alice:read", "GET", f"{path}/history")).json()
    assert history == {"schedule_id": made.json()["id"], "audits": [], "change_points": [], "turns": []}
    assert (await api.call("alice:submit", "DELETE", path)).status_code == 204
    assert (await api.call("alice:read", "GET", path)).status_code == 404


async def test_what_the_service_knows_and_how_it_is_can_be_read(api: Api) -> None:
    models = (await api.call("alice:read", "GET", "/v1/models")).json()
    assert "gpt-4o" in [each["name"] for each in models]
    packs = (await api.call("alice:read", "GET", "/v1/packs")).json()
    assert {"number-picks"} <= {each["name"] for each in packs}
    assert (await api.client.get("/healthz")).json()["status"] == "ok"
    # The queue of these settings is not there, and readiness says so.
    assert (await api.client.get("/readyz")).json()["detail"].startswith("the queue cannot be reached")
    await api.submit()
    metrics = (await api.client.get("/metrics")).text
    assert 'truename_audits{status="queued"} 1.0' in metrics and 'route="/v1/audits"' in metrics
