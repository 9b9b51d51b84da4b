"""The page as its users meet it: `truename serve` as a process, a real local model, a browser; the whole walk in English and in Korean."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from api.pages_frame import own
from tests.real.conftest import smollm2  # noqa: F401 - fixture
from tests.service.serving import Serving, serving
from verifier import local
from verifier.report.texts import texts

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PATIENCE_MS = 240_000


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(tmp_path_factory.mktemp("walk")) as started:
        yield started


@pytest.fixture(scope="module")
def browser(service: Serving) -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield started
        started.close()


@pytest.mark.ui
@pytest.mark.real
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("lang", "claim", "outcome"), [("en", local.SMOLLM2, "consistent"), ("ko", "gpt-4o", "inconsistent")])
def test_log_in_submit_watch_read_filter_schedule_revoke(
    service: Serving,
    browser: Browser,
    smollm2: str,  # noqa: F811
    lang: str,
    claim: str,
    outcome: str,
) -> None:
    t, r = own(lang), texts(lang)
    # An admin makes a token for the walk; its owner's name is Korean in both languages.
    made = service.post("/v1/tokens", {"owner": f"김철수-{lang}", "scopes": ["admin"]})
    context = browser.new_context(locale="ko-KR" if lang == "ko" else "en-US")
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)

    page.goto(service.url + "/audits")
    assert page.inner_text("h1") == t("login.title")
    page.fill("#token", made["token"])
    page.click("main button")
    assert page.inner_text("h1") == t("audits.title")

    page.click(f"nav >> text={t('nav.home')}")
    page.fill("#base_url", smollm2)
    page.fill("#claim", claim)
    page.select_option("#suite", "quick")
    page.click("details.more summary")
    page.fill("#model", local.SMOLLM2)
    page.click("main .send button")
    page.wait_for_url("**/audits/aud_*")
    address = page.url
    _watched(page, t("audit.progress", n="", of="").split()[-1])
    page.wait_for_selector(f".verdict.{outcome}", timeout=PATIENCE_MS)
    badge = r(f"audit.{outcome}.badge")
    assert page.inner_text(".verdict .badge") == badge and badge in page.inner_text("[role=status]")
    assert page.url == address, "the page was never loaded again: events brought all of it"

    page.click(f"text={t('audit.read')}")
    assert page.get_attribute("html", "lang") == lang and page.inner_text(".badge") == badge
    assert page.inner_text("h1") == r(f"audit.{outcome}.headline", claim=claim)

    page.goto(service.url + "/audits")
    page.fill("#claim", claim)
    page.select_option("#outcome", outcome)
    page.click("main .send button")
    assert page.locator("tbody tr").count() == 1 and badge in page.inner_text("tbody")
    page.fill("#claim", "다른 모델")
    page.click("main .send button")
    assert page.inner_text(".empty") == t("audits.none_filtered")

    page.goto(address)
    page.click(f"text={t('audit.schedule_this')}")
    assert page.input_value("#claim") == claim
    page.fill("#cron", "0 3 * * *")
    page.fill("#timezone", "Asia/Seoul")
    page.click("main .send button")
    page.wait_for_url("**/schedules/sch_*")
    assert "03:00 Asia/Seoul" in page.inner_text("main")
    page.click(f"text={t('schedule.pause')}")
    assert page.inner_text("h2 >> nth=0") == t("schedule.paused")
    page.click(f"summary >> text={t('schedule.delete')}")
    page.click(f"text={t('schedule.delete_now')}")
    page.wait_for_url("**/schedules")
    assert t("schedules.none") in page.inner_text("main")

    page.click(f"nav >> text={t('nav.tokens')}")
    page.click(f"tr:has-text('{made['prefix']}') button")
    page.wait_for_url("**/login")
    page.goto(address)
    assert page.inner_text("h1") == t("login.title"), "a revoked token ends its session at once"
    assert wrong == []
    assert not [line for line in service.lines if "form_token" in line or made["token"] in line], "the log holds no secret of a session"
    context.close()


def _watched(page: Page, word: str) -> None:
    """The page counts requests while the audit runs, without being loaded again."""
    page.evaluate("window.stayed = true")
    page.wait_for_selector("progress", timeout=PATIENCE_MS)
    first = page.inner_text(".count")
    page.wait_for_function(
        "first => !document.querySelector('.count') || document.querySelector('.count').innerText !== first", arg=first, timeout=PATIENCE_MS
    )
    assert word in first and page.evaluate("window.stayed")
