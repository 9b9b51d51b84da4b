"""The pages without a browser and without scripts: what each visitor sees, may do, and is told."""

from __future__ import annotations

import itertools
import tomllib
from datetime import timedelta
from importlib import resources
from pathlib import Path

import pytest
from pydantic import SecretStr

from api.pages_frame import POLICY
from tests.service.api_client import CANARY, Api, audit, settings, started
from tests.service.pages_client import TYPED, Page, finished, submitted, visitor
from tests.service.rows import NOW, new_audit
from verifier.service.sessions import form_token
from verifier.service.store import audits


async def test_an_audit_is_submitted_by_the_form_as_by_the_api(api: Api) -> None:
    typed = {"model": "모델-甲", "family": "llama-3", "suite": "quick", "api_key": CANARY, "wire": "openai"}
    form = await submitted(api, claim="모델-甲", **typed)
    rest = await api.submit(
        target={"base_url": TYPED["base_url"], "model": "모델-甲", "wire": "openai", "api_key": CANARY},
        claim={"model": "모델-甲", "family": "llama-3"},
    )
    async with api.service.store.read() as tx:
        one, other = await audits.get(tx, form), await audits.get(tx, rest)
    assert one is not None and other is not None
    for name in ("owner", "origin", "request", "suite", "claim", "status", "webhook"):
        assert getattr(one, name) == getattr(other, name), name


async def test_a_reference_without_a_claim_is_a_comparison(api: Api) -> None:
    more = {"claim": "", "model": "m", "reference_url": "https://b.example/v1", "reference_model": "n", "reference_key": CANARY}
    audit_id = await submitted(api, **more)
    async with api.service.store.read() as tx:
        row = await audits.get(tx, audit_id)
    assert row is not None and row.claim is None
    assert row.request["reference"] == {"base_url": "https://b.example/v1", "model": "n"}


WRONG = (
    ({"base_url": ""}, "base_url"),
    ({"base_url": "nonsense"}, "base_url"),
    ({"base_url": "http://169.254.169.254/v1"}, "base_url"),
    ({"base_url": "https://api.example.com/v1?key=x"}, "base_url"),
    ({"claim": "", "model": ""}, "claim"),
    ({"claim": "가" * 201}, "claim"),
    ({"claim": "", "family": "llama-3"}, "claim"),
    ({"family": "no-such"}, "family"),
    ({"api_key": "with space"}, "api_key"),
    ({"suite": "vast"}, "suite"),
    ({"wire": "smoke"}, "wire"),
    ({"webhook": "nothing"}, "webhook"),
    ({"webhook": "http://127.1.2.3:6379/"}, "webhook"),
    ({"reference_model": "m"}, "reference_url"),
    ({"reference_url": "ftp://b.example"}, "reference_url"),
)
"""What is typed wrongly, and the field that says so."""


async def test_an_error_stands_at_its_field_and_nothing_but_keys_is_lost(api: Api) -> None:
    async with visitor(api, "alice:submit") as alice:
        for (typed, field), lang in itertools.product(WRONG, ("en", "ko")):
            given = TYPED | {"claim": "모델 ‘甲’ <b>", "model": "내 모델", "api_key": CANARY, "reference_key": ""} | typed
            answer = await alice.send(f"/?lang={lang}", "/audits", **given)
            assert answer.status_code == 422 and CANARY not in answer.text and "with space" not in answer.text, (typed, lang)
            page = Page(answer.text)
            (wrong,) = [each for tag, each in page.elements if tag in ("input", "select") and each.get("aria-invalid")]
            assert wrong["name"] == field and f"{field}-problem" in wrong["aria-describedby"], (typed, lang)
            said = answer.text.partition(f'id="{field}-problem">')[2].partition("<")[0]
            assert said and (lang == "en" or any("가" <= char <= "힣" for char in said)), (typed, said)
            form = page.form("/audits")
            kept = {name: value for name, value in given.items() if name not in ("api_key", "reference_key", "suite", "wire")}
            assert {name: form.value(name) for name in kept} == kept
            assert form.value("api_key") == form.value("reference_key") == ""
    assert (await api.call("alice:read", "GET", "/v1/audits")).json()["items"] == []


async def test_several_errors_stand_at_several_fields(api: Api) -> None:
    async with visitor(api, "alice:submit") as alice:
        answer = await alice.send("/", "/audits", base_url="http://10.0.0.1/v1", claim="m", family="no-such", webhook="x")
        wrong = [each["name"] for each in Page(answer.text).of("input") if each.get("aria-invalid")]
        assert wrong == ["base_url", "family", "webhook"]


async def test_a_form_that_is_sent_twice_makes_one_audit(api: Api) -> None:
    async with visitor(api, "alice:submit") as alice:
        fields = dict((await alice.page("/")).form("/audits").fields) | TYPED
        first, second = [await alice.post("/audits", fields) for _ in range(2)]
        changed = await alice.post("/audits", fields | {"claim": "gpt-4"})
        assert first.headers["location"] == second.headers["location"] != changed.headers["location"]
    assert len((await api.call("alice:read", "GET", "/v1/audits")).json()["items"]) == 2


async def test_the_rates_and_refusals_of_the_api_hold_for_the_form(tmp_path: Path, sqlite_url: str) -> None:
    async with started(settings(tmp_path, sqlite_url, submit_rate="1/hour")) as api, visitor(api, "alice:submit") as alice:
        assert (await alice.send("/", "/audits", **TYPED)).status_code == 303
        refused = await alice.send("/", "/audits", **TYPED)
        assert refused.status_code == 429 and Page(refused.text).form("/audits").value("claim") == "gpt-4o"
        assert "too many audits were submitted" in Page(refused.text).text


async def test_pages_count_as_calls_of_the_token(tmp_path: Path, sqlite_url: str) -> None:
    async with started(settings(tmp_path, sqlite_url, token_rate="3/minute")) as api, visitor(api, "alice:read") as alice:
        assert [(await alice.get("/audits")).status_code for _ in range(4)] == [200, 200, 200, 429]


async def test_a_webhooks_secret_is_shown_once(api: Api) -> None:
    async with visitor(api, "alice:submit") as alice:
        answer = await alice.send("/", "/audits", webhook="https://hooks.example/알림", **TYPED)
        assert answer.status_code == 200 and "whsec_" in answer.text
        link = next(link for link in Page(answer.text).links if link.startswith("/audits/"))
        assert "whsec_" not in (await alice.get(link)).text


@pytest.mark.parametrize("lang", ["en", "ko"])
async def test_history_is_filtered_and_paged(api: Api, lang: str) -> None:
    async with api.service.store.write() as tx:
        for i in range(30):
            made = new_audit(claim="모델-甲" if i % 2 else "gpt-4o", origin=f"https://{'a' if i < 10 else 'b'}.example")
            await audits.submit(tx, made, NOW + timedelta(minutes=i))
    listed = (await api.call("alice:read", "GET", "/v1/audits?limit=200")).json()["items"]
    await finished(api, listed[0]["id"], "inconsistent")
    async with visitor(api, "alice:read") as alice:

        async def ids(path: str) -> list[str]:
            page = await alice.page(path)
            return [link.removeprefix("/audits/") for link in page.links if link.startswith("/audits/aud_")]

        every = [each["id"] for each in listed]
        await alice.get(f"/?lang={lang}")
        page = await alice.page("/audits")
        older = next(link for link in page.links if "cursor=" in link)
        assert await ids("/audits") + await ids(older) == every
        assert "/audits" in (await alice.page(older)).links
        for query, keep in (
            ("claim=모델-甲", lambda each: each["claim"] == "모델-甲"),
            ("origin=https://a.example", lambda each: each["origin"] == "https://a.example"),
            ("outcome=inconsistent", lambda each: each["id"] == every[0]),
            ("status=done&outcome=", lambda each: each["id"] == every[0]),
            ("claim=gpt-4o&origin=https://a.example&status=queued", lambda each: each in listed[20:] and each["claim"] == "gpt-4o"),
            ("claim=nobody", lambda each: False),
        ):
            assert await ids(f"/audits?{query}") == [each["id"] for each in listed if keep(each)], query
        filters = (await alice.page("/audits?claim=모델-甲&status=done")).form("/audits")
        assert (filters.value("claim"), filters.value("status")) == ("모델-甲", "done")
        for wrong in ("outcome=maybe", "status=odd", "cursor=x", "claim=a%00b"):
            assert "<!doctype html>" in (answer := await alice.get(f"/audits?{wrong}")).text and answer.status_code == 422


async def test_what_is_anothers_looks_as_if_it_were_not_there(api: Api) -> None:
    audit_id = await submitted(api)
    body = {"audit": audit(), "cron": "0 3 * * *"}
    schedule_id = (await api.call("alice:submit", "POST", "/v1/schedules", json=body)).json()["id"]
    async with visitor(api, "bob:submit") as bob, visitor(api, "root") as root, visitor(api, "alice:submit") as alice:
        places = ["", "/live", "/report", "/files/report.json"]
        for path in [f"/audits/{audit_id}{place}" for place in places] + [f"/schedules/{schedule_id}", f"/?like={audit_id}"]:
            theirs = await bob.get(path)
            missing = await bob.get(path.replace(audit_id, "aud_none").replace(schedule_id, "sch_none"))
            assert theirs.status_code == missing.status_code == 404
            assert theirs.text.replace(audit_id, "aud_none").replace(schedule_id, "sch_none") == missing.text
        assert audit_id not in (await bob.get("/audits")).text and schedule_id not in (await bob.get("/schedules")).text
        for page, action in (
            (f"/audits/{audit_id}", f"/audits/{audit_id}/cancel"),
            (f"/schedules/{schedule_id}", f"/schedules/{schedule_id}"),
            (f"/schedules/{schedule_id}", f"/schedules/{schedule_id}/pause"),
            (f"/schedules/{schedule_id}", f"/schedules/{schedule_id}/delete"),
        ):
            fields = dict((await root.page(page)).form(action).fields)
            own = form_token(SecretStr(bob.client.cookies["truename"]), action)  # as bob's own page would hold it, had he one
            assert (await bob.post(action, fields | {"form_token": own})).status_code == 404
        assert (await root.get(f"/audits/{audit_id}")).status_code == 200
        assert (await alice.send(f"/audits/{audit_id}", f"/audits/{audit_id}/cancel")).status_code == 303


async def test_scopes_are_respected_in_what_is_shown_and_in_what_is_allowed(api: Api) -> None:
    audit_id = await submitted(api)
    async with visitor(api, "alice:read") as reader, visitor(api, "alice:submit-only") as sender:
        assert [form.action for form in (await reader.page("/")).forms] == ["/logout"]
        assert [form.action for form in (await reader.page(f"/audits/{audit_id}")).forms] == ["/logout"]
        for path in ("/schedules/new", "/tokens"):
            assert (await reader.get(path)).status_code == 403
        cookie = SecretStr(reader.client.cookies["truename"])
        for action in ("/audits", "/schedules", "/tokens", f"/audits/{audit_id}/cancel"):
            assert (await reader.post(action, TYPED | {"form_token": form_token(cookie, action)})).status_code == 403
        assert "/tokens" not in (await reader.page("/")).links
        for path in ("/audits", f"/audits/{audit_id}", "/schedules"):
            assert (await sender.get(path)).status_code == 403
        answer = await sender.send("/", "/audits", **TYPED)
        assert answer.status_code == 200 and "aud_" in answer.text  # it may not read what it has made
    async with visitor(api, "root") as root:
        assert {"/audits", "/schedules", "/tokens"} <= set((await root.page("/")).links)


async def test_an_audit_can_be_asked_for_again_without_its_keys(api: Api) -> None:
    audit_id = await submitted(api, claim="모델-甲", family="llama-3", api_key=CANARY, suite="deep")
    async with visitor(api, "alice:submit") as alice:
        for path, action in ((f"/?like={audit_id}", "/audits"), (f"/schedules/new?like={audit_id}", "/schedules")):
            form = (await alice.page(path)).form(action)
            found = {name: form.value(name) for name in ("base_url", "claim", "family", "suite", "api_key")}
            assert found == {"base_url": TYPED["base_url"], "claim": "모델-甲", "family": "llama-3", "suite": "deep", "api_key": ""}


async def test_a_token_is_made_shown_once_listed_and_revoked(api: Api) -> None:
    async with visitor(api, "root") as root:
        answer = await root.send("/tokens", "/tokens", owner="김철수", scope=["read", "submit"], expires="2099-12-31")
        token = next(word for word in Page(answer.text).text.split() if word.startswith("tn_"))
        row = (await api.call("root", "GET", "/v1/tokens")).json()["items"][0]
        assert (row["owner"], row["scopes"], row["expires"][:10]) == ("김철수", ["read", "submit"], "2099-12-31")
        page = await root.get("/tokens")
        assert token not in page.text and token[:9] in page.text and "김철수" in page.text
        for typed, field in (({"scope": None}, "scopes"), ({"expires": "2001-01-01"}, "expires"), ({"owner": "a\u200bb"}, "owner")):
            wrong = await root.send("/tokens", "/tokens", **typed)
            assert wrong.status_code == 422 and f'id="{field}-problem"' in wrong.text
        async with visitor(api) as other:
            await other.log_in(token)
            assert (await other.get("/audits")).status_code == 200
            await root.send("/tokens", f"/tokens/{row['id']}/revoke")
            assert (await other.get("/audits")).status_code == 303


async def test_who_revokes_the_own_token_is_logged_out(api: Api) -> None:
    async with visitor(api, "root") as root:
        own = next(each for each in (await api.call("root", "GET", "/v1/tokens")).json()["items"] if each["owner"] == "root")
        answer = await root.send("/tokens", f"/tokens/{own['id']}/revoke")
        assert answer.headers["location"] == "/login" and (await root.get("/tokens")).status_code == 303


async def test_every_page_carries_the_policy_and_no_inline_script_or_style(api: Api) -> None:
    audit_id = await submitted(api)
    body = {"audit": audit(), "cron": "0 3 * * *"}
    schedule_id = (await api.call("alice:submit", "POST", "/v1/schedules", json=body)).json()["id"]
    paths = ["/", "/audits", f"/audits/{audit_id}", "/schedules", "/schedules/new", f"/schedules/{schedule_id}", "/tokens", "/audits/none"]
    async with visitor(api) as nobody:
        answers = [await nobody.get("/login"), await nobody.get("/"), await nobody.post("/login", {})]
    async with visitor(api, "root") as root:
        answers += [await root.get(path) for path in paths] + [await root.post("/audits", {})]
    for answer in answers:
        assert answer.headers["content-security-policy"] == POLICY and "frame-ancestors 'none'" in POLICY and "unsafe" not in POLICY
        assert answer.headers["referrer-policy"] == "same-origin" and answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        page = Page(answer.text)
        assert not list(page.of("style")) and all(set(each) == {"src", "defer"} for each in page.of("script"))
        assert not [name for _, each in page.elements for name in each if name == "style" or name.startswith("on")]
        assert all(each["href"].startswith("/static/") for each in page.of("link"))


async def test_the_language_is_the_browsers_until_one_is_chosen(api: Api) -> None:
    async with visitor(api, "alice:read") as alice:
        for accept, lang in (("ko-KR,ko;q=0.9,en;q=0.8", "ko"), ("en-US,en;q=0.9,ko;q=0.1", "en"), ("de", "en"), ("", "en"), ("ko", "ko")):
            assert f'<html lang="{lang}">' in (await alice.get("/audits", **{"Accept-Language": accept})).text
        switch = next(each for each in (await alice.page("/audits?claim=모델&status=done")).of("a") if each.get("class") == "language")
        assert switch["href"] == "/audits?claim=%EB%AA%A8%EB%8D%B8&status=done&lang=ko"
        answer = await alice.get(switch["href"])
        assert '<html lang="ko">' in answer.text and "truename-lang=ko" in answer.headers["set-cookie"]
        assert '<html lang="ko">' in (await alice.get("/schedules", **{"Accept-Language": "en"})).text
        assert '<html lang="ko">' in (await alice.get("/schedules?lang=xx")).text


def test_both_languages_have_the_same_keys_and_places() -> None:
    catalogues = [tomllib.loads((resources.files("api") / f"texts_{lang}.toml").read_text(encoding="utf-8")) for lang in ("en", "ko")]
    flat = [{f"{a}.{b}": text for a, of in each.items() if a != "said" for b, text in of.items()} for each in catalogues]
    assert flat[0].keys() == flat[1].keys()
    for key, english in flat[0].items():
        assert sorted(_places(english)) == sorted(_places(flat[1][key])), key
    for pair in catalogues[1]["said"]:
        assert set(_places(pair["to"])) <= set(_places(pair["en"])), pair


def _places(text: str) -> list[str]:
    return [part.partition("}")[0] for part in text.split("{")[1:]]


async def test_no_page_is_in_the_openapi_document(api: Api) -> None:
    document = (await api.client.get("/openapi.json")).json()
    assert [path for path in document["paths"] if not path.startswith(("/v1/", "/healthz", "/readyz", "/metrics"))] == []
