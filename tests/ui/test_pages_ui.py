"""The web page in a real browser: nothing that somebody wrote runs or loads, everybody can use it, and it fits a phone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest

from api import pages_frame
from tests.ui.payloads import PAYLOADS
from tests.ui.site import Site, site
from tests.ui.test_report_ui import OPEN_ALL, TOUCH_ALL, TRAP
from tests.verifier import pages

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

pytestmark = pytest.mark.ui
LINES = ("base_url", "claim", "model", "family", "webhook", "reference_url", "reference_model")
TYPE = """given => {
  for (const [name, value] of Object.entries(given)) document.getElementById(name).value = value;
  const form = document.querySelector('form.audit');
  form.noValidate = true;
  form.requestSubmit();
}"""
STAY = "document.addEventListener('click', event => event.preventDefault())"
"""So that clicking everything leaves no page."""
STORED = tuple(payload.replace("\x00", "\ufffd") for payload in PAYLOADS)
"""The payloads as a database takes them: a null character is refused before it is stored."""
GADGETS = (
    '<div hx-get="/static/pages.css" hx-trigger="load" hx-on::load="hit()">go</div>',
    '<div hx-trigger="load[hit()]" hx-vals="js:{a: hit()}" hx-get="/static/pages.css">go</div>',
    '<div sse-connect="https://payload.invalid/sse" sse-swap="x" hx-ext="sse">go</div>',
    '<a hx-boost="true" href="https://payload.invalid/l">go</a>',
    '<div data-hx-get="https://payload.invalid/m" data-hx-trigger="load">go</div>',
    '<script src="/static/htmx.min.js"></script><img src="x" hx-on:error="hit()">',
)
"""What htmx itself would act on: attributes instead of code, which a policy alone would let a library run."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("site")) as made:
        yield made


@pytest.fixture(scope="module")
def filled(served: Site) -> dict[str, str]:
    """Pages of every kind, with rows in every state."""
    honest, posing = pages.honest(), pages.posing()
    consistent = served.done(honest, claim="gpt-4o")
    inconsistent = served.done(posing, claim="some-llama3-model")
    running = served.running(claim="모델-甲", origin="https://xn--3e0b707e.example")
    failed = served.failed("https://api.example.com: unreachable: no route", claim="gpt-4o")
    schedule = served.schedule()
    for report in (honest, posing, posing, honest):
        served.done(report, schedule_id=schedule)
    return {
        "home": "/",
        "audits": "/audits",
        "consistent": f"/audits/{consistent}",
        "inconsistent": f"/audits/{inconsistent}",
        "running": f"/audits/{running}",
        "failed": f"/audits/{failed}",
        "schedules": "/schedules",
        "schedule": f"/schedules/{schedule}",
        "schedule_new": "/schedules/new",
        "tokens": "/tokens",
        "error": "/audits/none",
    }


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site of its own for what is hostile."""
    with site(tmp_path_factory.mktemp("stage")) as made:
        yield made


@pytest.fixture(scope="module")
def hostile(stage: Site) -> list[str]:
    """Addresses of pages of the stage on which every word that an endpoint or a user may write is one of the payloads."""
    everything, report = "\n".join((*STORED, *GADGETS)), pages.hostile(PAYLOADS)
    found = ["/audits", "/schedules", "/tokens"]
    for i, payload in enumerate((*STORED, *GADGETS)):
        request = {
            "target": {"base_url": payload, "model": payload},
            "claim": {"model": payload, "family": payload},
            "reference": {"base_url": payload, "model": payload},
        }
        words = {"claim": payload, "origin": payload, "owner": payload, "webhook": payload, "request": request}
        stage.failed(payload, **words)
        stage.schedule(**{**words, "timezone": "UTC", "cron": payload})
        if i in (0, len(STORED)):
            found.append(f"/audits/{stage.done(report, **words)}")
    words = {"claim": everything, "origin": everything, "webhook": everything}
    request = {"target": {"base_url": everything, "model": everything}, "claim": {"model": everything, "family": everything}}
    found.append(f"/audits/{stage.failed(everything, **words, request=request)}")
    found.append(f"/audits/{stage.running(**words, request=request)}")
    found.append(f"/schedules/{stage.schedule(**words, request=request, cron=everything, timezone='UTC')}")
    return found


@pytest.fixture(scope="module")
def browser(filled: dict[str, str], hostile: list[str]) -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield started
        started.close()


class Visit:
    """A browser window of an admin: what it logged, what it asked the network for, and whether a payload ran."""

    def __init__(self, browser: Browser, served: Site, **settings: Any) -> None:
        self.logged: list[str] = []
        self.elsewhere: list[str] = []
        """Requests to anywhere but the site that would have gone out."""
        self.site = served
        self.context: BrowserContext = browser.new_context(**settings)
        self.page: Page = self.context.new_page()
        # "[DOM]" is Chromium's advice on forms with passwords, which is for developers.
        self.page.on("console", lambda message: self.logged.append(message.text) if not message.text.startswith("[DOM]") else None)
        self.page.on("pageerror", lambda error: self.logged.append(str(error)))
        self.page.on("dialog", lambda dialog: self.logged.append("dialog") or dialog.dismiss())
        self.context.route(lambda url: not url.startswith((served.url, "data:", "blob:", "file:")), self._refuse)
        self.page.add_init_script(TRAP)
        self.open("/login")
        self.page.fill("#token", served.token("root", "admin"))
        self.page.click("main button")
        self.page.wait_for_url(served.url + "/")

    def open(self, path: str) -> None:
        """Go to a page and wait until it is there."""
        self.page.goto(self.site.url + path, wait_until="load")

    def touched(self) -> list[int]:
        """Open, hover, focus and click everything that leads nowhere; how often a payload ran."""
        self.page.evaluate(OPEN_ALL)
        self.page.evaluate(STAY)
        self.page.evaluate(TOUCH_ALL)
        self.page.wait_for_timeout(50)  # for what a payload would start: there is nothing to wait on
        return list(self.page.evaluate("window.hits"))

    def _refuse(self, route: Any) -> None:
        self.elsewhere.append(route.request.url)
        route.abort()


@pytest.fixture
def visits(browser: Browser, served: Site, stage: Site) -> Iterator[Any]:
    made: list[Visit] = []

    def visit(on_stage: bool = False, **settings: Any) -> Visit:
        made.append(Visit(browser, stage if on_stage else served, **settings))
        return made[-1]

    yield visit
    for each in made:
        each.context.close()


@pytest.mark.parametrize("lang", ["en", "ko"])
def test_pages_log_nothing_and_load_nothing_from_elsewhere(visits: Any, filled: dict[str, str], lang: str) -> None:
    seen = visits()
    for name, path in filled.items():
        seen.open(f"{path}?lang={lang}")
        assert seen.page.evaluate("document.documentElement.lang") == lang
        # Chromium logs every answer that is an error's; that page is one.
        assert seen.logged == [] or name == "error", (name, seen.logged)
        seen.logged.clear()
    assert seen.elsewhere == []


@pytest.mark.timeout(300)
def test_fifty_payloads_in_every_word_of_the_pages_run_nothing_and_load_nothing(visits: Any, hostile: list[str]) -> None:
    seen = visits(on_stage=True)
    for path in hostile:
        seen.open(path)
        assert seen.touched() == [] and seen.logged == [], path
        assert not seen.page.query_selector("main script, main img, main iframe, main base, main object, main embed, main link"), path
    assert seen.elsewhere == []


@pytest.mark.timeout(300)
def test_without_any_escaping_the_policy_alone_still_runs_nothing_and_loads_nothing(
    visits: Any, hostile: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = visits(on_stage=True)
    bare = pages_frame.environment().overlay(autoescape=False)
    bare.cache = None  # templates that were compiled with escaping stay out of this
    monkeypatch.setattr(pages_frame, "environment", lambda: bare)
    tried = 0
    for path in hostile:
        seen.open(path)
        assert seen.touched() == [], path
        tried += seen.page.content().count("hit()")
        assert seen.elsewhere == [], path
    assert tried > 500 and any("Content Security Policy" in line for line in seen.logged), "the payloads were not even tried"


def test_what_was_typed_comes_back_inert(visits: Any) -> None:
    seen = visits()
    # A line of text holds no line break; the form has seven lines.
    typed = [payload.strip() for payload in (*STORED, *GADGETS) if "\n" not in payload]
    for at in range(0, len(typed), len(LINES)):
        given = dict(zip(LINES, typed[at : at + len(LINES)], strict=False))
        seen.open("/")
        seen.page.evaluate(TYPE, given)
        seen.page.wait_for_selector(".alert")
        assert {name: seen.page.input_value(f"#{name}") for name in given} == given
        assert list(seen.page.evaluate("window.hits")) == []
        seen.open("/audits?" + urlencode({"claim": typed[at], "origin": typed[at - 1]}))
        assert (seen.page.input_value("#claim"), seen.page.input_value("#origin")) == (typed[at], typed[at - 1])
        assert list(seen.page.evaluate("window.hits")) == []
    assert seen.elsewhere == []


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("scheme", "lang"), [("light", "en"), ("dark", "ko")])
def test_axe_finds_nothing_serious(visits: Any, filled: dict[str, str], scheme: Any, lang: str) -> None:
    import axe_core_python

    axe = (Path(axe_core_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
    seen = visits(color_scheme=scheme, bypass_csp=True)
    for name, path in (filled | {"wrong": "/", "login": "/login"}).items():
        if name == "login":
            seen.page.click("header .aside button")
        seen.open(f"{path}?lang={lang}")
        if name == "wrong":
            seen.page.fill("#base_url", "https://api.example.com/v1?no")
            seen.page.click("main .send button")
        seen.page.evaluate(OPEN_ALL)
        seen.page.evaluate(axe)
        found = seen.page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
        serious = [(each["id"], each["nodes"][0]["html"][:200]) for each in found if each["impact"] in ("serious", "critical")]
        assert not serious, f"{name}: {serious}"


def test_nothing_is_wider_than_a_phone(visits: Any, filled: dict[str, str], hostile: list[str]) -> None:
    for on_stage, lang, paths in ((False, "en", filled.values()), (False, "ko", filled.values()), (True, "ko", hostile)):
        seen = visits(on_stage, viewport={"width": 360, "height": 740})
        for path in paths:
            seen.open(f"{path}?lang={lang}")
            seen.page.evaluate(OPEN_ALL)
            assert seen.page.evaluate("document.documentElement.scrollWidth") <= 360, path


def test_pages_read_without_scripts(visits: Any, filled: dict[str, str]) -> None:
    seen = visits(java_script_enabled=False)
    for name, words in (
        ("inconsistent", "The replies are not consistent with"),
        ("running", "15 of at most 60 requests"),
        ("schedule", "Audits that ended: 4. Changes of verdict: 2."),
        ("audits", "some-llama3-model"),
    ):
        seen.open(filled[name])
        assert words in seen.page.inner_text("main")


def test_the_keyboard_reaches_everything_and_focus_is_seen(visits: Any) -> None:
    seen = visits()
    seen.open("/")
    reached = []
    while True:
        seen.page.keyboard.press("Tab")
        if seen.page.evaluate("document.activeElement === document.body"):
            break
        reached.append(seen.page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))
        assert seen.page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none", reached[-1]
    assert reached[0] == "Skip to the content" and {"base_url", "claim", "api_key", "suite", "Start the audit"} <= set(reached)


def test_a_frame_elsewhere_stays_empty(visits: Any, served: Site, tmp_path: Path) -> None:
    """Clickjacking: the policy refuses any frame around a page."""
    outside = tmp_path / "frame.html"
    outside.write_text(f'<iframe src="{served.url}/tokens"></iframe>', encoding="utf-8")
    seen = visits()
    seen.page.goto(outside.as_uri())
    assert seen.page.frames[1].query_selector("form") is None
    assert any("frame-ancestors" in line for line in seen.logged)
