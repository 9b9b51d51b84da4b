"""Takes the pictures of docs/web.md: the pages of a real `truename serve` that audits a real local model, on a desktop and a phone.

    python -m docs.images.make_web

Gives PNG files beside this one. The timeline alone shows made-up rows, because a schedule's verdicts take days. Needs the development
tools, the demo's models, Chromium, and a Korean font.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from tests.service.serving import serving
from tests.ui.site import Site, site
from tests.verifier import pages
from verifier import local
from verifier.report.model import Report

HERE = Path(__file__).parent
DESKTOP, PHONE = {"width": 1120, "height": 1000}, {"width": 390, "height": 844}
MOST_BYTES = 150_000
PATIENCE_MS = 240_000
GROWN = "() => document.querySelector('progress') && document.querySelectorAll('#progress .plot circle').length > 1"
"""The audit is under way, and its curve has more than one step."""


def main() -> None:
    """Serve, walk through the pages and photograph them."""
    reports = [pages.honest(), pages.posing()]
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        folder = Path(scratch)
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        weights = local.weights(local.SMOLLM2, folder)
        with local.serve(weights, local.SMOLLM2) as model, serving(folder / "real") as service:
            _audits(browser, service.url, service.token, model)
        with site(folder) as made:
            _timeline(browser, made, reports)
        browser.close()


def _audits(browser: Browser, url: str, token: str, model: str) -> None:
    page = _logged_in(browser, url, token, DESKTOP)
    _photograph(page, "web-home.png")
    for claim, suite in ((local.SMOLLM2, "standard"), ("gpt-4o", "quick")):
        page.goto(url)
        page.fill("#base_url", model)
        page.fill("#claim", claim)
        page.select_option("#suite", suite)
        page.click("details.more summary")
        page.fill("#model", local.SMOLLM2)
        page.click("main .send button")
        if suite == "standard":
            page.wait_for_function(GROWN, timeout=PATIENCE_MS)
            _photograph(page, "web-running.png")
        page.wait_for_selector(".verdict", timeout=PATIENCE_MS)
    _photograph(page, "web-verdict.png")
    done = page.url
    page.goto(url + "/audits")
    _photograph(page, "web-audits.png")
    phone = _logged_in(browser, url, token, PHONE, color_scheme="dark")
    _photograph(phone, "web-phone.png")
    korean = _logged_in(browser, url, token, PHONE, locale="ko-KR")
    korean.goto(done)
    _photograph(korean, "web-phone-ko.png")


def _timeline(browser: Browser, made: Site, reports: list[Report]) -> None:
    schedule = made.schedule(cron="0 3 * * *")
    for i in (0, 0, 1, 1, 0):
        made.done(reports[i], schedule_id=schedule)
    page = _logged_in(browser, made.url, made.token("alice", "read", "submit"), DESKTOP)
    page.goto(f"{made.url}/schedules/{schedule}")
    _photograph(page, "web-schedule.png")


def _logged_in(browser: Browser, url: str, token: str, screen: Any, **settings: Any) -> Page:
    page = browser.new_page(viewport=screen, **settings)
    page.goto(url)
    page.fill("#token", token)
    page.click("main button")
    return page


def _photograph(page: Page, name: str) -> None:
    page.screenshot(path=HERE / name)
    if (HERE / name).stat().st_size > MOST_BYTES:
        sys.exit(f"{name} has {(HERE / name).stat().st_size} bytes: choose a smaller screen")


if __name__ == "__main__":
    main()
