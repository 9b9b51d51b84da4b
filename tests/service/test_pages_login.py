"""The pages' door: a token in, a session out, and nobody else through. Each guard here was seen to fail its test when switched off."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from api.sessions import own_path
from tests.service.api_client import Api
from tests.service.pages_client import ORIGIN, Page, visitor
from verifier.service import sessions
from verifier.service.sessions import LIFE
from verifier.service.store import tokens


async def revoke(api: Api, who: str) -> None:
    """Revoke a token, as another process would."""
    async with api.service.store.write() as tx:
        row = await tx.scalar(text("SELECT id FROM tokens WHERE prefix = :prefix"), {"prefix": api.tokens[who][:9]})
        assert await tokens.revoke(tx, str(row), api.service.now())


def cookies_of(answer: Any) -> list[str]:
    return list(answer.headers.get_list("set-cookie"))


@pytest.mark.parametrize("path", ["/", "/audits", "/audits/aud_x", "/audits/aud_x/live", "/schedules", "/schedules/new", "/tokens"])
async def test_nobody_sees_a_page_without_a_session(api: Api, path: str) -> None:
    async with visitor(api) as nobody:
        answer = await nobody.get(path)
        assert answer.status_code == 303 and answer.headers["location"].startswith("/login?next=%2F")
        assert answer.text == ""


async def test_a_token_opens_a_session_and_goes_on_to_the_page_that_was_asked_for(api: Api) -> None:
    async with visitor(api) as alice:
        asked = (await alice.get("/audits?claim=gpt-4o")).headers["location"]
        page = await alice.page(asked)
        answer = await alice.post("/login", {**dict(page.form("/login").fields), "token": api.tokens["alice:read"]})
        assert (answer.status_code, answer.headers["location"]) == (303, "/audits?claim=gpt-4o")
        assert "alice" in (await alice.page("/audits")).text
        assert (await alice.get("/login?next=/schedules")).headers["location"] == "/schedules"


async def test_the_cookie_is_no_token_and_is_kept_from_scripts_and_other_sites(api: Api) -> None:
    async with visitor(api) as alice:
        answer = await alice.log_in(api.tokens["alice:read"])
        (cookie,) = cookies_of(answer)
        assert cookie.startswith("truename=") and {"HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
        assert "Secure" not in cookie and api.tokens["alice:read"] not in cookie
        key = cookie.partition("=")[2].partition(";")[0]
    async with api.service.store.read() as tx:
        stored = repr((await tx.execute(text("SELECT * FROM sessions"))).all())
    assert key not in stored and api.tokens["alice:read"] not in stored


async def test_over_https_the_cookies_are_secure_and_bound_to_the_host(api: Api) -> None:
    async with visitor(api, base_url="https://service") as alice:
        page = Page((first := await alice.get("/login")).text)
        fields = dict(page.form("/login").fields) | {"token": api.tokens["alice:read"]}
        answer = await alice.post("/login", fields, {"Origin": "https://service"})
        for cookie in cookies_of(first) + cookies_of(answer):
            assert cookie.startswith("__Host-truename") and "Secure" in cookie and "Domain" not in cookie
        assert (await alice.get("/audits")).status_code == 200


async def test_what_is_no_token_is_refused_and_not_shown_again(api: Api) -> None:
    async with visitor(api) as nobody:
        for wrong in ("", "tn_x7", "tn_" + "a" * 43, "모델", "' OR 1=1 --", "x" * 5_000):
            answer = await nobody.log_in(wrong)
            assert answer.status_code == 401 and not cookies_of(answer)
            assert not wrong or wrong not in answer.text
            assert (await nobody.get("/")).status_code == 303


async def test_logging_out_ends_the_session_for_whoever_kept_the_cookie(api: Api) -> None:
    async with visitor(api, "alice:read") as alice:
        kept = dict(alice.client.cookies)
        answer = await alice.send("/", "/logout")
        assert (answer.status_code, answer.headers["location"]) == (303, "/login")
        assert any(cookie.startswith('truename=""') for cookie in cookies_of(answer))
        alice.client.cookies.update(kept)
        assert (await alice.get("/audits")).status_code == 303


async def test_a_revoked_token_ends_its_sessions_at_once(api: Api) -> None:
    async with visitor(api, "alice:read") as alice:
        await alice.page("/audits")
        await revoke(api, "alice:read")
        assert (await alice.get("/audits")).status_code == 303


async def test_a_session_ends_when_its_time_is_over(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async with visitor(api, "alice:read") as alice:
        now = api.service.now()
        monkeypatch.setattr(type(api.service), "now", lambda self: now + LIFE - timedelta(minutes=1))
        assert (await alice.get("/audits")).status_code == 200
        monkeypatch.setattr(type(api.service), "now", lambda self: now + LIFE + timedelta(minutes=1))
        assert (await alice.get("/audits")).status_code == 303
        await alice.log_in(api.tokens["alice:read"])
        async with api.service.store.read() as tx:  # the ended one is gone
            assert await tx.scalar(text("SELECT count(*) FROM sessions")) == 1


async def test_a_key_that_was_planted_before_the_login_opens_nothing_after_it(api: Api) -> None:
    planted = {"Cookie": f"truename={sessions.new_key().get_secret_value()}"}
    async with visitor(api) as victim, visitor(api) as thief:
        page = Page((met := await victim.get("/login", **planted)).text)
        (own,) = cookies_of(met)
        fields = dict(page.form("/login").fields) | {"token": api.tokens["alice:read"]}
        answer = await victim.post("/login", fields, {"Cookie": f"{planted['Cookie']}; {own.partition(';')[0]}"})
        (given,) = cookies_of(answer)
        assert answer.status_code == 303 and not given.startswith(planted["Cookie"])
        assert (await thief.get("/audits", **planted)).status_code == 303
        assert (await thief.get("/audits", Cookie=given.partition(";")[0])).status_code == 200


async def test_a_new_login_ends_the_session_before_it(api: Api) -> None:
    """The browser has lost that session's cookie, so that nobody could log it out any more."""
    async with visitor(api) as someone, visitor(api) as thief:
        page = await someone.page("/login")
        fields = dict(page.form("/login").fields)
        first = cookies_of(await someone.post("/login", fields | {"token": api.tokens["alice:read"]}))[0].partition(";")[0]
        assert (await thief.get("/audits", Cookie=first)).status_code == 200
        assert (await someone.post("/login", fields | {"token": api.tokens["bob:submit"]})).status_code == 303
        assert (await thief.get("/audits", Cookie=first)).status_code == 303
        assert (await someone.get("/audits")).status_code == 200


async def test_a_made_up_cookie_opens_nothing(api: Api) -> None:
    async with visitor(api) as nobody:
        for cookie in ("x", "a" * 43, "a" * 5_000, "tn_" + "a" * 43, api.tokens["root"]):
            assert (await nobody.get("/audits", Cookie=f"truename={cookie}")).status_code == 303


async def test_the_cookie_opens_no_route_of_the_api(api: Api) -> None:
    async with visitor(api, "root") as root:
        for path in ("/v1/audits", "/v1/tokens", "/v1/keys"):
            assert (await root.get(path)).status_code == 401
        assert (await root.client.post("/v1/tokens", json={"scopes": ["admin"]})).status_code == 401


ELSEWHERE = (
    *("//evil.example", "https://evil.example/", "/\\evil.example", "\\\\evil.example", "/\t/evil.example", "javascript:alert(1)"),
    *("evil", "", " //evil.example", "/\n/evil.example", "///evil.example", "http:evil.example"),
)


async def test_nobody_is_sent_elsewhere_after_the_login(api: Api) -> None:
    for address in ELSEWHERE:
        assert own_path(address) == "/"
        async with visitor(api) as alice:
            page = Page((await alice.client.get("/login", params={"next": address})).text)
            assert page.form("/login").value("next") == "/"
            fields = dict(page.form("/login").fields) | {"token": api.tokens["alice:read"], "next": address}
            assert (await alice.post("/login", fields)).headers["location"] == "/"
            assert (await alice.client.get("/login", params={"next": address})).headers["location"] == "/"


async def test_whoever_asked_for_a_very_long_address_can_still_log_in(api: Api) -> None:
    async with visitor(api) as alice:
        asked = (await alice.get("/audits?claim=" + "모" * 300)).headers["location"]
        page = await alice.page(asked)
        assert page.form("/login").value("next") == "/"


@pytest.mark.parametrize("address", ["/", "/audits", "/audits?claim=모델&cursor=x", "/audits/aud_1#x"])
def test_a_path_of_ours_is_kept(address: str) -> None:
    assert own_path(address) == address


async def test_refused_logins_are_counted_by_address(api: Api) -> None:
    async with visitor(api) as nobody:
        for _ in range(10):
            assert (await nobody.log_in("tn_" + "a" * 43)).status_code == 401
        answer = await nobody.log_in(api.tokens["alice:read"])
        assert answer.status_code == 429 and int(answer.headers["retry-after"]) <= 60
        assert "<!doctype html>" in answer.text


async def test_logins_that_succeed_are_not_counted(api: Api) -> None:
    for _ in range(12):
        async with visitor(api, "alice:read"):
            pass


FOREIGN = (
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": f"{ORIGIN}.evil.example"},
    {"Origin": f"{ORIGIN}:8080"},
)


async def test_a_form_counts_only_from_our_own_origin(api: Api) -> None:
    """Even with the right token in it: a page elsewhere that came by one."""
    typed = {"base_url": "https://api.example.com/v1", "claim": "gpt-4o"}
    async with visitor(api, "alice:submit") as alice:
        for headers in FOREIGN:
            assert (await alice.send("/", "/audits", headers, **typed)).status_code == 403, headers
        assert (await api.call("alice:read", "GET", "/v1/audits")).json()["items"] == []
        assert (await alice.send("/", "/audits", **typed)).status_code == 303


FORMS = [
    ("/", "/audits", {"base_url": "https://api.example.com/v1", "claim": "gpt-4o"}),
    ("/", "/logout", {}),
    ("/schedules/new", "/schedules", {"base_url": "https://api.example.com/v1", "claim": "gpt-4o"}),
    ("/tokens", "/tokens", {"scope": "read"}),
    ("AUDIT", "AUDIT/cancel", {}),
    ("SCHEDULE", "SCHEDULE", {"cron": "1 1 * * *"}),
    ("SCHEDULE", "SCHEDULE/pause", {}),
    ("SCHEDULE", "SCHEDULE/delete", {}),
    ("/tokens", "TOKEN/revoke", {}),
]


@pytest.mark.parametrize(("path", "action", "typed"), FORMS)
async def test_no_form_counts_without_the_token_of_this_session_and_this_form(
    api: Api, path: str, action: str, typed: dict[str, str]
) -> None:
    """A page elsewhere can send a form with the visitor's cookie (an old browser, a sibling host), but not with our token in it."""
    audit = await api.submit("alice:submit")
    body = {"target": {"base_url": "https://api.example.com/v1", "model": "m"}, "claim": {"model": "gpt-4o"}}
    schedule = (await api.call("alice:submit", "POST", "/v1/schedules", json={"audit": body, "cron": "0 3 * * *"})).json()["id"]
    token = (await api.call("root", "GET", "/v1/tokens")).json()["items"][-1]["id"]
    ids = {"AUDIT": f"/audits/{audit}", "SCHEDULE": f"/schedules/{schedule}", "TOKEN": f"/tokens/{token}"}
    for name, place in ids.items():
        path, action = path.replace(name, place), action.replace(name, place)
    async with visitor(api, "root") as root, visitor(api, "root") as other:
        fields = dict((await root.page(path)).form(action).fields) | typed
        theirs = dict((await other.page(path)).form(action).fields)["form_token"]
        another = next(form for form in (await root.page(path)).forms if form.action != action).value("form_token")
        for wrong in (None, "", "0" * 64, "모델", theirs, another):
            refused = await root.client.post(action, data={k: v for k, v in (fields | {"form_token": wrong}).items() if v is not None})
            assert refused.status_code == 403, (wrong, refused.text)
        assert (await root.client.post(action, json=fields)).status_code == 403
        assert (await root.client.post(action, data=fields)).status_code in (200, 303)


async def test_the_login_form_is_bound_to_the_browser_that_loaded_it(api: Api) -> None:
    """Nobody can log another person in with a token of their own, to see what that person then enters."""
    async with visitor(api) as attacker, visitor(api) as victim:
        fields = dict((await attacker.page("/login")).form("/login").fields) | {"token": api.tokens["bob:submit"]}
        await victim.page("/login")
        assert (await victim.client.post("/login", data=fields)).status_code == 403
        assert (await victim.get("/")).status_code == 303


async def test_a_link_from_elsewhere_does_not_end_a_session(api: Api) -> None:
    """Browsers keep a strict cookie back on such a request; the login page that it meets must not overwrite it."""
    async with visitor(api, "alice:read") as alice, visitor(api) as bare:
        met = await bare.get("/login")
        assert not any(cookie.startswith("truename=") for cookie in cookies_of(met))
        assert (await alice.get("/audits")).status_code == 200
