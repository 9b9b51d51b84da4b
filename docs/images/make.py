"""Takes the pictures of docs/images: the first screens of real demo reports, as a desktop and a phone show them.

    truename demo --out demo-reports && python docs/images/make.py demo-reports

Takes the demo's folder, gives PNG files beside this one. Needs the development tools, Chromium, and a Korean font for the Korean page.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from verifier.report.html import render_html
from verifier.report.model import load_report

DESKTOP, PHONE = {"width": 1280, "height": 1180}, {"width": 390, "height": 844}
SHOTS = (
    ("report-desktop.png", "smollm2-as-gpt-4o", "en", "light", DESKTOP, "#verdict"),
    ("report-desktop-pictures.png", "smollm2-as-gpt-4o", "en", "light", DESKTOP, "#pictures"),
    ("report-phone.png", "honest-smollm2", "en", "dark", PHONE, "#verdict"),
    ("report-phone-ko.png", "smollm2-as-gpt-4o", "ko", "light", PHONE, "#verdict"),
)
"""File, audit of the demo, language, colours, screen and the place that is scrolled to."""
MOST_BYTES = 300_000


def main(demo: Path) -> None:
    """Render, open and photograph every page of SHOTS."""
    here = Path(__file__).parent
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name, case, lang, scheme, screen, place in SHOTS:
            file = Path(scratch) / "report.html"
            file.write_bytes(render_html(load_report(demo / case), lang=lang))
            page = browser.new_page(viewport=screen, color_scheme=scheme)
            page.goto(file.as_uri())
            _photograph(page, place, here / name)
        browser.close()


def _photograph(page: Page, place: str, file: Path) -> None:
    if place != "#verdict":
        page.evaluate(f"document.querySelector('{place}').scrollIntoView()")
    page.screenshot(path=file)
    if file.stat().st_size > MOST_BYTES:
        sys.exit(f"{file} has {file.stat().st_size} bytes: choose a smaller screen")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
