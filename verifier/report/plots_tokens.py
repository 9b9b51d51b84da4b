"""Pictures of tokens: counts and cuts as they were measured, beside what candidate vocabularies predict.

Takes a channel's measured rows, gives figures; a row that lacks numbers is left out, and no rows give no picture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from verifier.report.plots import (
    WIDTH,
    Figure,
    Key,
    Mark,
    Scale,
    Table,
    circle,
    diamond,
    fitted,
    label,
    line,
    number,
    rect,
    ticks,
)
from verifier.report.texts import Texts

Row = Mapping[str, Any]
_LEFT, _RIGHT = 92.0, 388.0
_STEP = 19.0
_TOP = 14.0
_CANDIDATES = 12
"""Vocabularies whose distance is drawn; the table holds all."""
_COLUMNS = 5
"""Vocabularies beside the measured values in the table of questions."""


def counts(rows: Sequence[Row], claimed: str | None, best: str | None, t: Texts) -> list[Figure]:
    """Prompt tokens per question, and how far every vocabulary is from them."""
    usable = _numeric(rows)
    if not usable:
        return []
    names = _nearest(usable, claimed, best)
    return [_strip("counts", usable, claimed, best, names, t, lambda row: ()), _distances(usable, claimed, best, t)]


def cuts(rows: Sequence[Row], claimed: str | None, best: str | None, payloads: Mapping[str, str], t: Texts) -> list[Figure]:
    """Where each truncated copy ended, and the text up to there."""
    usable = _numeric(rows)
    if not usable:
        return []
    names = _nearest(usable, claimed, best)

    def text(row: Row) -> tuple[str, ...]:
        return (payloads.get(str(row["key"]), "")[: int(row["measured"])] + "┃",)

    return [_strip("cuts", usable, claimed, best, names, t, text)]


def _strip(
    name: str,
    rows: Sequence[Row],
    claimed: str | None,
    best: str | None,
    names: Sequence[str],
    t: Texts,
    further: Callable[[Row], tuple[str, ...]],
) -> Figure:
    """One line per question: measured as a dot, the claim's prediction as a diamond, the best match as a ring, others as ticks."""
    shown = [float(row["measured"]) for row in rows]
    shown += [float(value) for row in rows for value in row["predicted"].values() if _is_number(value)]
    scale = Scale(min(0.0, *shown), max(*shown, 1.0), _LEFT, _RIGHT)
    bottom = _TOP + _STEP * len(rows)
    marks: list[Mark] = []
    for value in ticks(scale.low, scale.high):
        marks += [line("grid", scale(value), _TOP - 6, scale(value), bottom), label(scale(value), bottom + 15, number(value), "middle")]
    for i, row in enumerate(rows):
        y = _TOP + _STEP * (i + 0.5)
        marks.append(label(_LEFT - 8, y + 4, fitted(str(row["key"]), _LEFT - 8), "end"))
        marks.append(line("track", _LEFT, y, _RIGHT, y))
        predicted = row["predicted"]
        marks += [
            line("other", scale(value), y - 4, scale(value), y + 4)
            for value in sorted({float(v) for n, v in predicted.items() if _is_number(v) and n not in (claimed, best)})
        ]
        if best is not None and _is_number(predicted.get(best)):
            marks.append(circle("best", scale(float(predicted[best])), y, 6.0))
        if claimed is not None and claimed != best and _is_number(predicted.get(claimed)):
            marks.append(diamond("claim", scale(float(predicted[claimed])), y, 5.5))
        marks.append(circle("measured", scale(float(row["measured"])), y, 3.2))
    marks.append(label((_LEFT + _RIGHT) / 2, bottom + 31, t(f"plot.{name}.axis"), "middle", "axis"))
    legend = [Key("measured", "dot", t("plot.measured"))]
    if best is not None:
        legend.append(Key("best", "ring", t("plot.best_and_claim" if best == claimed else "plot.best", name=best)))
    if claimed is not None and claimed != best:
        legend.append(Key("claim", "diamond", t("plot.claim", name=claimed)))
    legend.append(Key("other", "tick", t("plot.others")))
    exact = {n: sum(row["predicted"].get(n) == row["measured"] for row in rows) for n in names}
    described = [t("plot.strip.exact", name=n, n=exact[n], of=len(rows)) for n in names if n in (claimed, best)]
    extra = (t(f"plot.{name}.text"),) if further(rows[0]) else ()
    columns = (t("plot.question"), *extra, t("plot.measured"), *(_named(n, claimed, t) for n in names))
    table = Table(
        columns,
        tuple((str(row["key"]), *further(row), number(row["measured"]), *(_cell(row["predicted"].get(n)) for n in names)) for row in rows),
    )
    return Figure(
        id=name,
        title=t(f"plot.{name}.title"),
        description=" ".join([t(f"plot.{name}.about"), *described]),
        height=bottom + 38,
        marks=tuple(marks),
        table=table,
        legend=tuple(legend),
    )


def _distances(rows: Sequence[Row], claimed: str | None, best: str | None, t: Texts) -> Figure:
    """Mean distance between the measured counts and every vocabulary's, the nearest first."""
    gaps = {name: _gap(rows, name) for name in sorted(rows[0]["predicted"])}
    ranked = sorted((name for name, gap in gaps.items() if gap is not None), key=lambda name: (gaps[name], name != claimed, name))
    drawn = ranked[:_CANDIDATES]
    if claimed in ranked and claimed not in drawn:
        drawn = [*drawn[:-1], str(claimed)]
    most = max([gaps[name] or 0.0 for name in drawn] + [1.0])
    scale = Scale(0.0, most, 112.0, _RIGHT - 34)
    marks: list[Mark] = []
    for i, name in enumerate(drawn):
        y = _TOP + _STEP * i
        gap = gaps[name] or 0.0
        kind = "claim" if name == claimed else "best" if name == best else "other"
        marks.append(label(104, y + 11, fitted(name, 100), "end", "label strong" if kind != "other" else "label"))
        marks.append(rect(f"bar {kind}", 112, y + 1.5, scale(gap) - 112, _STEP - 6))
        marks.append(label(scale(gap) + 6, y + 11, number(gap)))
    bottom = _TOP + _STEP * len(drawn)
    marks.append(label((112 + _RIGHT) / 2, bottom + 16, t("plot.distance.axis"), "middle", "axis"))
    legend = []
    if claimed in drawn:
        legend.append(Key("bar claim", "bar", t("plot.claim", name=str(claimed))))
    if best in drawn and best != claimed:
        legend.append(Key("bar best", "bar", t("plot.best", name=str(best))))
    table = Table(
        (t("plot.vocabulary"), t("plot.distance.axis"), t("plot.exact")),
        tuple(
            (
                _named(name, claimed, t),
                number(gaps[name] or 0.0),
                f"{sum(row['predicted'].get(name) == row['measured'] for row in rows)} / {len(rows)}",
            )
            for name in ranked
        ),
    )
    return Figure(
        id="distance",
        title=t("plot.distance.title"),
        description=t("plot.distance.about", name=ranked[0], gap=number(gaps[ranked[0]] or 0.0)),
        height=min(bottom + 24, WIDTH * 2),
        marks=tuple(marks),
        table=table,
        legend=tuple(legend),
    )


def _gap(rows: Sequence[Row], name: str) -> float | None:
    gaps = [abs(float(row["predicted"][name]) - float(row["measured"])) for row in rows if _is_number(row["predicted"].get(name))]
    return sum(gaps) / len(gaps) if gaps else None


def _nearest(rows: Sequence[Row], claimed: str | None, best: str | None) -> list[str]:
    """The vocabularies that a table shows: the claim, the best match, then the nearest."""
    gaps = {name: gap for name in rows[0]["predicted"] if (gap := _gap(rows, name)) is not None}
    ranked = sorted(gaps, key=lambda name: (gaps[name], name))
    return [name for name in dict.fromkeys([claimed, best, *ranked]) if name is not None and name in gaps][:_COLUMNS]


def _numeric(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if _is_number(row.get("measured")) and isinstance(row.get("predicted"), Mapping) and row["predicted"]]


def _is_number(value: object) -> bool:
    """Whether a value can be drawn: a report that somebody edited may hold anything."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e12


def _named(name: str, claimed: str | None, t: Texts) -> str:
    return t("plot.column_claim", name=name) if name == claimed else name


def _cell(value: object) -> str:
    return number(value) if isinstance(value, int | float) else "–"
