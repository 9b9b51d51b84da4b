"""report.html in a real browser: it runs nothing, loads nothing, can be read by everyone, and fits a phone and a sheet of paper."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.endpoints import claim_of
from tests.ui.payloads import HOST, PAYLOADS
from tests.verifier import pages
from verifier.batch import Batch, Result
from verifier.errors import CannotRunError
from verifier.report import html
from verifier.report.html import render_batch_html, render_html
from verifier.report.model import Report
from verifier.target import Target
from verifier.targets import Row

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

pytestmark = pytest.mark.ui
TRAP = "window.hits = []; window.hit = () => window.hits.push(1); window.alert = window.hit;"
"""What a payload would call; set before anything of the page runs."""
OPEN_ALL = "document.querySelectorAll('details').forEach(each => each.open = true)"
TOUCH_ALL = """() => {
  for (const each of document.querySelectorAll('a, button, summary, svg, [tabindex], [autofocus]'))
    for (const kind of ['mouseover', 'focus', 'click'])
      each.dispatchEvent(new MouseEvent(kind, {bubbles: true, cancelable: kind === 'click'}));
  for (const each of document.querySelectorAll('a[href^="javascript"]')) each.click();
}"""


@pytest.fixture(scope="module")
def reports() -> dict[str, Report]:
    return {"inconsistent": pages.posing(), "consistent": pages.honest(), "inconclusive": pages.open_question()}


@pytest.fixture(scope="module")
def hostile() -> Report:
    return pages.hostile(PAYLOADS)


@pytest.fixture(scope="module")
def browser(reports: dict[str, Report], hostile: Report) -> Iterator[Browser]:
    """Started after the reports were made: its event loop and theirs cannot run in one thread."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield started
        started.close()


class Visit:
    """A page that was opened: what it logged, what it asked the network for, and whether a payload ran."""

    def __init__(self, context: BrowserContext, file: Path) -> None:
        self.logged: list[str] = []
        self.requested: list[str] = []
        self.page: Page = context.new_page()
        self.page.on("console", lambda message: self.logged.append(message.text))
        self.page.on("pageerror", lambda error: self.logged.append(str(error)))
        self.page.on("dialog", lambda dialog: self.logged.append("dialog") or dialog.dismiss())
        self.page.add_init_script(TRAP)
        context.route("**/*", self._let_through)
        self.url = file.as_uri()
        self.page.goto(self.url)

    def _let_through(self, route: Any) -> None:
        self.requested.append(route.request.url)
        if route.request.url == self.url:
            route.continue_()
        else:
            route.abort()

    def touched(self) -> list[int]:
        """Open, hover, focus and click everything; how often a payload ran."""
        self.page.evaluate(OPEN_ALL)
        self.page.evaluate(TOUCH_ALL)
        self.page.wait_for_load_state("load")
        return list(self.page.evaluate("window.hits"))


class Visits:
    """Opens pages, each in a context of its own, and closes them all."""

    def __init__(self, browser: Browser, folder: Path) -> None:
        self._browser, self._folder, self._contexts = browser, folder, list["BrowserContext"]()

    def __call__(self, data: bytes, **settings: Any) -> Visit:
        self.close()
        file = self._folder / "report.html"
        file.write_bytes(data)
        self._contexts.append(self._browser.new_context(**settings))
        return Visit(self._contexts[-1], file)

    def close(self) -> None:
        while self._contexts:
            self._contexts.pop().close()


@pytest.fixture
def visit(browser: Browser, tmp_path: Path) -> Iterator[Visits]:
    visits = Visits(browser, tmp_path)
    yield visits
    visits.close()


@pytest.mark.parametrize("lang", ["en", "ko"])
def test_a_page_logs_nothing_and_asks_the_network_for_nothing(visit: Visits, reports: dict[str, Report], lang: str) -> None:
    for report in reports.values():
        seen = visit(render_html(report, lang=lang))
        assert seen.touched() == [] and seen.logged == []
        assert set(seen.requested) <= {seen.url}


def test_fifty_payloads_in_every_place_of_an_endpoints_run_nothing_and_load_nothing(visit: Visits, hostile: Report) -> None:
    assert len(PAYLOADS) == len(set(PAYLOADS)) == 50
    data = render_html(hostile)
    assert not {"script", "img", "iframe", "form", "base", "object", "embed", "link"} & set(pages.Page(data).tags)
    seen = visit(data)
    assert seen.touched() == [] and seen.logged == []
    assert set(seen.requested) == {seen.url} and seen.page.title().endswith("· Truename")


def test_without_any_escaping_the_policy_alone_still_runs_nothing_and_loads_nothing(
    visit: Visits, hostile: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = html._environment().overlay(autoescape=False)
    bare.cache = None  # templates that were compiled with escaping stay out of this
    monkeypatch.setattr(html, "_environment", lambda: bare)
    data = render_html(hostile)
    assert b"<script>hit()</script>" in data and b"<img src=x onerror=hit()>" in data
    seen = visit(data)
    assert seen.touched() == []
    assert any("Content Security Policy" in line for line in seen.logged), "the payloads were not even tried"
    assert not [url for url in seen.requested if url.startswith(HOST)]


def test_the_trap_catches_what_runs(visit: Visits) -> None:
    """The tests above would fail where a payload ran."""
    seen = visit(b"<!doctype html><meta charset=utf-8><img src=x onerror=hit()><img src=https://payload.invalid/k>")
    seen.page.wait_for_function("window.hits.length > 0")
    assert any(url.startswith(HOST) for url in seen.requested)


@pytest.mark.parametrize(
    ("scheme", "lang", "shown"),
    [
        ("light", "en", ("inconsistent", "consistent", "batch")),
        ("dark", "ko", ("inconclusive", "batch")),
        ("dark", "en", ("consistent",)),
        ("light", "ko", ("inconclusive",)),
    ],
)
def test_axe_finds_nothing_serious(visit: Visits, reports: dict[str, Report], scheme: Any, lang: str, shown: tuple[str, ...]) -> None:
    import axe_core_python

    axe = (Path(axe_core_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
    for name in shown:
        data = render_batch_html(batch(reports), lang=lang) if name == "batch" else render_html(reports[name], lang=lang)
        seen = visit(data, color_scheme=scheme, bypass_csp=True)
        seen.page.evaluate(OPEN_ALL)
        seen.page.evaluate(axe)
        found = seen.page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
        serious = [(each["id"], each["nodes"][0]["html"][:200]) for each in found if each["impact"] in ("serious", "critical")]
        assert not serious, f"{name}: {serious}"


@pytest.mark.parametrize(("lang", "shown"), [("en", ("consistent", "hostile", "batch")), ("ko", ("inconsistent", "batch"))])
def test_nothing_is_wider_than_a_phone(
    visit: Visits, reports: dict[str, Report], hostile: Report, lang: str, shown: tuple[str, ...]
) -> None:
    for name in shown:
        data = (
            render_batch_html(batch(reports), lang=lang)
            if name == "batch"
            else render_html((reports | {"hostile": hostile})[name], lang=lang)
        )
        seen = visit(data, viewport={"width": 360, "height": 740})
        seen.page.evaluate(OPEN_ALL)
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= 360, name


def test_the_verdict_is_on_the_first_screen_of_a_phone(visit: Visits, reports: dict[str, Report]) -> None:
    for report in reports.values():
        seen = visit(render_html(report), viewport={"width": 390, "height": 844})
        for place in (".badge", "h1", ".meaning"):
            box = seen.page.locator(place).first.bounding_box()
            assert box is not None and box["y"] + box["height"] < 844


def test_a_page_prints(visit: Visits, reports: dict[str, Report]) -> None:
    seen = visit(render_html(reports["inconsistent"]), color_scheme="dark")
    seen.page.emulate_media(media="print")
    assert seen.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert seen.page.pdf().startswith(b"%PDF")


def batch(reports: dict[str, Report]) -> Batch:
    """A batch of all outcomes and one row that could not run, each named by a payload."""
    rows = [Row(name, Target.parse("https://a.example/v1", "m"), claim_of("llama3"), False) for name in PAYLOADS[:4]]
    results = [Result(row, report) for row, report in zip(rows, reports.values(), strict=False)]
    return Batch((*results, Result(rows[3], None, CannotRunError(PAYLOADS[4], PAYLOADS[5]))), 0.01, 0.0025)
