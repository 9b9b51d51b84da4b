"""What the page of an audit tells: while it waits and runs, of the attempt that is under way; afterwards as its report does."""

from __future__ import annotations

import asyncio
import json
import math
from types import SimpleNamespace
from typing import Any

import pytest

from api.pages_live import looks
from tests.service.api_client import Api
from tests.service.pages_client import Page, finished, submitted, visitor
from tests.service.rows import NOW
from tests.verifier import pages
from verifier.report.html import render_html
from verifier.service.execute import Progress
from verifier.service.store import runs
from verifier.service.store.rows import EventRow, ReportFiles


def event(seq: int, kind: str, **data: Any) -> EventRow:
    return EventRow("aud_x", seq, kind, data, NOW)


def heard(progress: Progress, attempts: int, **verdict: Any) -> None:
    """One reply, and the verdict after it where one is given."""
    reply: Any = SimpleNamespace(attempts=attempts)
    progress.heard(reply, None)
    if verdict:
        progress.heard(reply, SimpleNamespace(**verdict))  # type: ignore[arg-type]


def test_a_round_tells_how_many_requests_it_rests_on_and_no_infinity() -> None:
    progress = Progress()
    heard(progress, 2)
    assert progress.weighed is None
    heard(progress, 1, log_e=1.5, outcome="inconclusive")
    assert progress.weighed == {"requests": 3, "log_e": 1.5, "outcome": "inconclusive"}
    for log_e in (math.inf, -math.inf):
        heard(progress, 1, log_e=log_e, outcome="inconsistent")
        assert progress.weighed is not None and abs(progress.weighed["log_e"]) == 300.0
        json.dumps(progress.weighed, allow_nan=False)


def test_a_new_attempt_begins_a_new_curve() -> None:
    first, second = {"requests": 3, "log_e": 0.5, "outcome": "inconclusive"}, {"requests": 2, "log_e": -0.1, "outcome": "inconclusive"}
    found = [
        event(1, "status", status="queued"),
        event(2, "status", status="running", attempt=1),
        event(3, "evidence", **first),
        event(4, "status", status="queued"),
    ]
    assert looks(found) == [first]
    assert looks(
        [*found, event(5, "status", status="running", attempt=2), event(6, "progress", requests=2), event(7, "evidence", **second)]
    ) == [second]
    assert looks([]) == []


async def test_without_scripts_a_running_audit_loads_itself_again_and_a_finished_one_does_not(api: Api) -> None:
    audit_id = await submitted(api)
    async with visitor(api, "alice:submit") as alice:
        path = f"/audits/{audit_id}"
        assert '<noscript><meta http-equiv="refresh"' in (await alice.get(path)).text
        async with api.service.store.write() as tx:
            claimed = await runs.claim(tx, audit_id, "worker", api.service.now())
            assert claimed is not None
            weighed = {"requests": 6, "log_e": 2.302585, "outcome": "inconclusive"}
            await runs.heartbeat(tx, claimed.run.id, api.service.now(), requests=7, planned=60, weighed=weighed)
        page = await alice.page(path)
        assert "7 of at most 60 requests" in page.text and "e = 10; an accusation needs 100 or more" in page.text
        assert [each["max"] for each in page.of("progress")] == ["60"] and any(each.get("id") == "progress" for each in page.of("figure"))
        async with api.service.store.write() as tx:
            await runs.fail(tx, claimed.run.id, "https://api.example.com: unreachable: 연결 <b>", api.service.now())
        text = (await alice.get(path)).text
        assert "http-equiv" not in text and "<script" not in text and "연결 &lt;b&gt;" in text


CLAIMLESS = {"claim": "", "model": "m"}
PAIRED = CLAIMLESS | {"reference_url": "https://b.example/v1"}
KINDS = (
    ({}, "consistent", "what was tested agrees with the claim", "Evidence against the claim"),
    (CLAIMLESS, "consistent", "the evidence names what answers", ""),
    (CLAIMLESS, "inconclusive", "nothing is named yet", ""),
    (
        CLAIMLESS | {"reference_url": "https://b.example/v1"},
        "consistent",
        "no difference was found in what was tested",
        "Evidence of a difference",
    ),
    (
        CLAIMLESS | {"reference_url": "https://b.example/v1"},
        "inconsistent",
        "the two endpoints do not answer alike",
        "Evidence of a difference",
    ),
)
"""What is asked for, what a round found, what the page says, and what its e-value is of."""


@pytest.mark.parametrize(("typed", "outcome", "said", "weighed"), KINDS)
async def test_only_an_audit_of_a_claim_speaks_of_a_claim(api: Api, typed: dict[str, str], outcome: str, said: str, weighed: str) -> None:
    audit_id = await submitted(api, **typed)
    async with api.service.store.write() as tx:
        claimed = await runs.claim(tx, audit_id, "worker", api.service.now())
        assert claimed is not None
        found = {"requests": 6, "log_e": 0.0, "outcome": outcome}
        await runs.heartbeat(tx, claimed.run.id, api.service.now(), requests=7, planned=60, weighed=found)
    async with visitor(api, "alice:read") as alice:
        part = next(each for each in (await alice.get(f"/audits/{audit_id}")).text.split("<section") if "progress" in each)
        told = Page("<section" + part).text
    assert said in told and weighed in told
    assert typed == {} or "the claim" not in told


@pytest.fixture(scope="module")
def drawn() -> ReportFiles:
    report = pages.posing()
    return ReportFiles(report.to_bytes(), report.transcript, render_html(report), b"{}")


@pytest.mark.parametrize(("lang", "word"), [("en", "The replies are not consistent with"), ("ko", "주장과 일치하지 않음")])
async def test_a_finished_audit_reads_as_its_report_in_both_languages(api: Api, drawn: ReportFiles, lang: str, word: str) -> None:
    audit_id = await submitted(api)
    await finished(api, audit_id, "inconsistent", drawn)
    async with visitor(api, "alice:read") as alice:
        page = await alice.page(f"/audits/{audit_id}?lang={lang}")
        assert {f"/audits/{audit_id}/report", f"/audits/{audit_id}/files/report.json"} <= set(page.links)
        report = await alice.get(f"/audits/{audit_id}/report")
        assert word in Page(report.text).text and word in page.text
        assert f'<html lang="{lang}">' in report.text and report.headers["content-security-policy"].startswith("sandbox;")
        assert "frame-ancestors 'none'" in report.headers["content-security-policy"]
        assert lang == "ko" or report.content == drawn.html
        for name, data in (("report.json", drawn.report), ("transcript.jsonl.gz", drawn.transcript), ("report.dsse.json", drawn.envelope)):
            file = await alice.get(f"/audits/{audit_id}/files/{name}")
            assert file.content == data and file.headers["content-disposition"] == f'attachment; filename="{name}"'
        assert (await alice.get(f"/audits/{audit_id}/files/secret.key")).status_code == 404


async def test_the_live_stream_tells_what_the_page_shows_and_ends_with_the_audit(api: Api, drawn: ReportFiles) -> None:
    audit_id = await submitted(api)
    await finished(api, audit_id, "inconsistent", drawn)
    async with visitor(api, "alice:read") as alice:
        stream = (await alice.get(f"/audits/{audit_id}/live")).text
        page = (await alice.get(f"/audits/{audit_id}")).text
    events = [line.removeprefix("event: ") for line in stream.splitlines() if line.startswith("event: ")]
    assert events == ["part", "said", "over"]
    for line in stream.splitlines():
        assert line.partition("data: ")[2].strip() in page or line.endswith("data: over")


async def test_the_live_stream_ends_when_the_token_is_revoked(api: Api) -> None:
    audit_id = await submitted(api)
    async with visitor(api, "alice:read") as alice, visitor(api, "root") as root:
        reading = asyncio.create_task(alice.get(f"/audits/{audit_id}/live"))
        await asyncio.sleep(0)
        for each in (await api.call("root", "GET", "/v1/tokens")).json()["items"]:
            if each["owner"] == "alice":
                await root.send("/tokens", f"/tokens/{each['id']}/revoke")
        stream = (await reading).text
    assert "event: over" in stream and "Your session has ended" in stream
