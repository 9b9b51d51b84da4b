"""Pictures as plain data: marks on a small canvas, with a title, a description and the same numbers as a table.

Takes numbers, gives figures that a template writes as inline SVG. Colours, dashes and sizes of letters belong to the style sheet: a
mark only names its kind, because the page's policy forbids inline styles. Nothing here knows a report.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH = 400.0
"""Units across a picture; a phone of 360 pixels shows one unit as about 0.8 pixels, a wide screen as 1.2."""
LABEL_UNITS = 6.4
"""Units that one Latin character of a 12-unit label takes on average; Hangul takes about twice that."""


@dataclass(frozen=True, slots=True)
class Mark:
    """One SVG element: its tag, the class that the style sheet draws it by, its numbers, and the text of a label."""

    tag: str
    kind: str
    at: tuple[tuple[str, str], ...]
    text: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """The same data in words and numbers."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Key:
    """One line of a legend: the kind of mark and what it stands for."""

    kind: str
    shape: str
    text: str


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture with everything that a reader who does not see it needs."""

    id: str
    title: str
    description: str
    height: float
    marks: tuple[Mark, ...]
    table: Table
    legend: tuple[Key, ...] = ()
    note: str = ""

    @property
    def width(self) -> float:
        """Units across."""
        return WIDTH


@dataclass(frozen=True, slots=True)
class Scale:
    """A straight map from values to units across (or down)."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Units of `value`, held inside the picture."""
        span = self.high - self.low
        share = (value - self.low) / span if span else 0.0
        return self.start + (self.end - self.start) * min(1.0, max(0.0, share))


def line(kind: str, x1: float, y1: float, x2: float, y2: float) -> Mark:
    """A straight line."""
    return Mark("line", kind, _at(x1=x1, y1=y1, x2=x2, y2=y2))


def rect(kind: str, x: float, y: float, width: float, height: float) -> Mark:
    """A bar; one of no width is still a hair that can be seen."""
    return Mark("rect", kind, _at(x=x, y=y, width=max(width, 0.75), height=height))


def circle(kind: str, x: float, y: float, radius: float) -> Mark:
    """A dot or a ring."""
    return Mark("circle", kind, _at(cx=x, cy=y, r=radius))


def diamond(kind: str, x: float, y: float, radius: float) -> Mark:
    """A square on its corner."""
    points = f"M{_n(x)} {_n(y - radius)}L{_n(x + radius)} {_n(y)}L{_n(x)} {_n(y + radius)}L{_n(x - radius)} {_n(y)}Z"
    return Mark("path", kind, (("d", points),))


def path(kind: str, points: Sequence[tuple[float, float]]) -> Mark:
    """A line through points."""
    return Mark("path", kind, (("d", "M" + "L".join(f"{_n(x)} {_n(y)}" for x, y in points)),))


def label(x: float, y: float, text: str, anchor: str = "start", kind: str = "label") -> Mark:
    """A line of text that starts, is centred or ends at x."""
    return Mark("text", kind, (*_at(x=x, y=y), ("text-anchor", anchor)), text)


def fitted(text: str, units: float) -> str:
    """`text` cut with an ellipsis so that it fits into that many units."""
    room, used = units / LABEL_UNITS, 0.0
    for i, character in enumerate(text):
        used += 2.0 if ord(character) >= 0x1100 else 1.0
        if used > room:
            return text[: max(1, i - 1)] + "…"
    return text


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers from `low` to `high`, at most about `most` of them."""
    span = high - low
    if span <= 0.0 or not math.isfinite(span):
        return [low]
    raw = span / most
    step = 10.0 ** math.floor(math.log10(raw))
    step *= next(factor for factor in (1.0, 2.0, 5.0, 10.0) if factor * step >= raw)
    first = math.ceil(low / step)
    return [round(step * i, 12) for i in range(first, math.floor(high / step) + 1)]


def number(value: float) -> str:
    """A number for a label or a table: whole ones whole, others with 3 significant digits."""
    return f"{value:.0f}" if abs(value) < 1e9 and float(value).is_integer() else f"{value:.3g}"


def weight(e: float) -> str:
    """An e-value in figures that can be read aloud: 240, 16,300, 3.5 × 10¹¹, 0.16, 2 × 10⁻⁵."""
    if 0.001 <= e < 1e6 or e <= 0.0:
        return f"{float(f'{e:.3g}'):,.10g}"
    exponent = math.floor(math.log10(e))
    return f"{e / 10.0**exponent:.2g}\u00a0×\u00a010{raised(exponent)}"


def raised(exponent: int) -> str:
    """An exponent as superscript digits."""
    return "".join("⁰¹²³⁴⁵⁶⁷⁸⁹"[int(digit)] if digit.isdigit() else "⁻" for digit in str(exponent))


def _at(**values: float) -> tuple[tuple[str, str], ...]:
    return tuple((name, _n(value)) for name, value in values.items())


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
