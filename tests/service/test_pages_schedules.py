"""The pages of schedules: made, changed and removed there, and what their audits have found over time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from api.pages_timeline import timeline
from api.schemas import History, HistoryEntry
from tests.service.api_client import CANARY, Api, audit
from tests.service.pages_client import TYPED, Page, finished, visitor
from tests.service.rows import new_audit
from verifier.report.texts import texts
from verifier.service.store import audits


async def scheduled(api: Api, **changes: Any) -> str:
    """A new schedule's id."""
    body = {"audit": audit(**changes), "cron": "0 3 * * *"}
    return str((await api.call("alice:submit", "POST", "/v1/schedules", json=body)).json()["id"])


async def ended(api: Api, schedule_id: str, outcome: str, **found: Any) -> str:
    """The id of a schedule's audit that ended now."""
    async with api.service.store.write() as tx:
        new = new_audit(schedule_id=schedule_id)
        await audits.submit(tx, new, api.service.now())
    await finished(api, new.id, outcome, **found)
    return new.id


async def changed_columns(api: Api, schedule_id: str, lang: str = "en") -> tuple[Page, list[str]]:
    """The page of a schedule, and the last column of its list of audits, newest first."""
    async with visitor(api, "alice:read") as alice:
        text = (await alice.get(f"/schedules/{schedule_id}?lang={lang}")).text
    rows = text.partition('aria-labelledby="audits-name"')[2].partition("<tbody>")[2].partition("</tbody>")[0].split("</tr>")[:-1]
    return Page(text), [Page(row.rpartition("<td>")[2]).text for row in rows]


async def test_a_schedule_lives_on_its_pages(api: Api) -> None:
    async with visitor(api, "alice:submit") as alice:
        typed = TYPED | {"claim": "모델-甲", "api_key": CANARY, "cron": "0 3 * * *", "timezone": "Asia/Seoul", "notify_on": "always"}
        answer = await alice.send("/schedules/new", "/schedules", **typed)
        path = str(answer.headers["location"])
        assert answer.status_code == 303 and "모델-甲" in (await alice.page("/schedules")).text
        page = await alice.page(path)
        assert "03:00 Asia/Seoul" in page.text and page.form(path).value("timezone") == "Asia/Seoul"
        for action, enabled in ((f"{path}/pause", False), (f"{path}/resume", True)):
            assert (await alice.send(path, action)).headers["location"] == path
            assert (await api.call("alice:read", "GET", f"/v1{path}")).json()["enabled"] is enabled
        await alice.send(path, path, cron="30 4 * * 1", timezone="UTC", notify_on="change")
        changed = (await api.call("alice:read", "GET", f"/v1{path}")).json()
        assert (changed["cron"], changed["timezone"], changed["notify_on"]) == ("30 4 * * 1", "UTC", "change")
        for typed, field in (({"cron": "never"}, "cron"), ({"timezone": "Mars/Base"}, "timezone"), ({"cron": "0 0 31 2 *"}, "cron")):
            wrong = await alice.send(path, path, **typed)
            assert wrong.status_code == 422 and f'id="{field}-problem"' in wrong.text
            assert Page(wrong.text).form(path).value(field) == typed[field]
            new = await alice.send("/schedules/new", "/schedules", **(TYPED | {"api_key": CANARY} | typed))
            assert new.status_code == 422 and f'id="{field}-problem"' in new.text and CANARY not in new.text
        assert (await alice.send(path, f"{path}/delete")).headers["location"] == "/schedules"
        assert (await alice.get(path)).status_code == 404


async def test_a_schedules_timeline_shows_verdicts_and_change_points(api: Api) -> None:
    schedule_id = await scheduled(api)
    made = [await ended(api, schedule_id, outcome) for outcome in ("consistent", "consistent", "inconsistent", "inconclusive")]
    async with visitor(api, "alice:read") as alice:
        text = (await alice.get(f"/schedules/{schedule_id}")).text
    page = Page(text)
    kinds = [each["class"] for tag, each in page.elements if each.get("class", "").startswith("point ")]
    assert sorted(kinds) == ["point consistent", "point consistent", "point inconclusive", "point inconsistent"]
    assert "Audits that ended: 4. Changes of verdict: 2." in page.text
    assert [link.removeprefix("/audits/") for link in page.links if link.startswith("/audits/aud_")] == made[::-1]
    assert sum("stop" == each.get("class") for each in page.of("line")) == 2


async def test_a_schedules_page_says_where_another_one_answers_though_the_verdict_stays(api: Api) -> None:
    schedule_id = await scheduled(api)

    def named(family: str, posterior: float = 0.99) -> dict[str, Any]:
        return {"tokenizer": [{"family": family, "posterior": posterior}], "attribution": []}

    for found in (named("llama-3"), named("qwen-2.5", 0.6), named("qwen-2.5"), named("qwen-2.5")):
        await ended(api, schedule_id, "consistent", **found)
    for lang, said in (
        ("en", "another tokenizer or model was named than before: 1."),
        ("ko", "다른 토크나이저나 모델이 식별된 횟수: 1번."),
    ):
        page, column = await changed_columns(api, schedule_id, lang)
        assert column == ["–", "llama-3 → qwen-2.5", "–", "–"]
        assert said in page.text and page.text.count("llama-3 → qwen-2.5") == 2  # in the list and in the picture's table
        rings = [each for each in page.of("circle") if each.get("class") == "turned"]
        assert len(rings) == 2  # at the audit and in the legend
        assert not [each for each in page.of("line") if each.get("class") == "stop"]


async def test_the_page_of_a_schedule_without_a_claim_shows_what_its_audits_found(api: Api) -> None:
    """An identification has no word for "inconsistent", which an audit from before the schedule was changed may still be."""
    schedule_id = await scheduled(api, claim=None)
    await ended(api, schedule_id, "inconclusive")
    page, _ = await changed_columns(api, schedule_id)
    assert "Unknown" in page.text and "Inconsistent" not in page.text
    await ended(api, schedule_id, "inconsistent")
    page, _ = await changed_columns(api, schedule_id)
    assert page.text.count("Inconsistent") > 1


def test_the_timeline_begins_and_ends_on_the_days_of_the_schedules_time_zone() -> None:
    times = [datetime(2026, 11, day, 18, 0, tzinfo=UTC) for day in (1, 2)]  # 3 o'clock of the next day in Seoul
    entries = [
        HistoryEntry(id=str(i), finished=time, status="done", outcome="consistent", e_value=1.0, resolution=None, changed=False)
        for i, time in enumerate(times)
    ]
    history = History(schedule_id="sch_x", audits=entries, change_points=[], turns=[])
    (figure,) = timeline(history, "Asia/Seoul", "audit", texts("en", "api"), texts("en"))
    assert [mark.text for mark in figure.marks if "2026" in mark.text] == ["2026-11-02", "2026-11-03"]
