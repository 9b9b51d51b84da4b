"""An SVG badge of one report: claim, verdict and date, for a page that links to the report.

Takes a report's data, gives the picture: one file, no script, no font and nothing else to load, with a title for those who do not
see it. It says nothing that the report does not, so only a report that holds may be drawn (cli_badge.py verifies first).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from html import escape
from typing import Any

from verifier.report.cases import one_line
from verifier.report.texts import texts
from verifier.report.texts_verdict import kind, words

FILE = "badge.svg"
"""Its name beside a report; a later report in that folder takes it away."""
FONT_SIZE = 11
"""Pixels."""
LONGEST_CLAIM = 40
"""Characters of a claim that are drawn; the title holds all of it."""
HEIGHT, PADDING = 20, 6
_FONTS = "Verdana,'Noto Sans KR','Apple SD Gothic Neo','Malgun Gothic',sans-serif"
_COLOURS = {"consistent": "#1a7f37", "inconsistent": "#b42318", "inconclusive": "#6b5900"}
"""Behind white text at a contrast of at least 4.5 to 1."""
_NAME_COLOUR = "#444c56"
_NARROW, _WIDE = frozenset("fijlrtI!.,:;'|()[]{} -/·"), frozenset("mwMW@%")
_EM = {"narrow": 0.36, "usual": 0.62, "capital": 0.70, "wide": 0.95, "full": 1.0}
"""Widths of Verdana's classes of signs in em (its own advance widths, rounded up); Korean, Chinese and Japanese signs take a full em."""


def render_badge(data: Mapping[str, Any], lang: str = "en") -> str:
    """The picture of a report's `data`. Raises UsageError for a language that there is none for."""
    t = texts(lang)
    told = words(data, t)
    claim = one_line(data["claim"]["model"] or data["target"]["origin"])
    shown = claim if len(claim) <= LONGEST_CLAIM else claim[: LONGEST_CLAIM - 1] + "…"
    day = str(data["created"])[:10]
    resolution = data["verdict"]["resolution"] if data["verdict"]["outcome"] == "consistent" and kind(data) != "compare" else None
    verdict = told.badge + (f" ({t(f'resolution.{resolution}')})" if resolution else "")
    left, right = shown, one_line(f"{verdict} · {day}")
    first, second = text_width(left) + 2 * PADDING, text_width(right) + 2 * PADDING
    title = escape(one_line(f"Truename: {told.headline} {day}"))
    about = escape(one_line(f"{told.certainty} {told.caution} {data['id']}"))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{first + second}" height="{HEIGHT}" role="img" '
        f'aria-labelledby="title" aria-describedby="about" lang="{t.lang}">\n'
        f'<title id="title">{title}</title>\n<desc id="about">{about}</desc>\n'
        f'<rect width="{first}" height="{HEIGHT}" fill="{_NAME_COLOUR}"/>\n'
        f'<rect x="{first}" width="{second}" height="{HEIGHT}" fill="{_COLOURS[str(data["verdict"]["outcome"])]}"/>\n'
        f'<g fill="#fff" font-family="{_FONTS}" font-size="{FONT_SIZE}">\n'
        f"{_text(left, PADDING)}\n{_text(right, first + PADDING)}\n</g>\n</svg>\n"
    )


def text_width(text: str) -> int:
    """Pixels that `text` is drawn in. An estimate: the picture spaces its text to it, so that it fits in any font."""
    return round(sum(_EM[_width_class(sign)] for sign in text) * FONT_SIZE)


def _width_class(sign: str) -> str:
    if unicodedata.east_asian_width(sign) in "WF":
        return "full"
    if sign in _WIDE:
        return "wide"
    if sign in _NARROW:
        return "narrow"
    return "capital" if sign.isupper() else "usual"


def _text(text: str, x: int) -> str:
    return f'<text x="{x}" y="14" textLength="{text_width(text)}">{escape(text)}</text>'
