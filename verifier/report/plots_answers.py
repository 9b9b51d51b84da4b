"""Pictures of free choices: how often each answer came, beside how often the claimed model gives it.

Takes the choice channel's measured rows, gives one figure; rows without expected counts are shown with what was measured alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from verifier.report.plots import Figure, Key, Mark, Scale, Table, fitted, label, line, number, rect
from verifier.report.texts import Texts

Row = Mapping[str, Any]
_LEFT, _RIGHT = 110.0, 330.0
_STEP = 22.0
_DRAWN_QUESTIONS = 4
"""Questions that are drawn, those with the most answers; the table holds all."""


def choices(rows: Sequence[Row], claim: str | None, t: Texts) -> list[Figure]:
    """The distribution of the answers to each question against the claimed model's."""
    usable = [row for row in rows if isinstance(row.get("measured"), Mapping) and row["measured"]]
    if not usable:
        return []
    ranked = sorted(usable, key=lambda row: (-_count(row.get("answers")), str(row["key"])))
    marks: list[Mark] = []
    y = 0.0
    for row in ranked[:_DRAWN_QUESTIONS]:
        y = _panel(row, y, marks)
    expected = any(row.get("predicted") for row in usable)
    legend = [Key("bar measured", "bar", t("plot.measured"))]
    if expected:
        legend.append(Key("bar claim", "bar", t("plot.choices.expected_key", name=claim or "")))
    table = Table(
        (t("plot.question"), t("plot.choices.answer"), t("plot.measured"), t("plot.choices.expected", name=claim or "")),
        tuple(
            (str(row["key"]), answer, number(_count(row["measured"].get(answer))), _expected(row, answer))
            for row in ranked
            for answer in _answers(row)
        ),
    )
    return [
        Figure(
            id="choices",
            title=t("plot.choices.title"),
            description=t("plot.choices.about", questions=len(usable), answers=sum(int(_count(row.get("answers"))) for row in usable)),
            height=y + 6,
            marks=tuple(marks),
            table=table,
            legend=tuple(legend),
            note=t("plot.choices.note", n=_DRAWN_QUESTIONS, of=len(usable)) if len(usable) > _DRAWN_QUESTIONS else "",
        )
    ]


def _panel(row: Row, top: float, marks: list[Mark]) -> float:
    """One question's bars, in pairs; gives where the next panel begins."""
    answers = _answers(row)
    predicted = row.get("predicted") or {}
    most = max([_count(v) for v in row["measured"].values()] + [_count(v) for v in predicted.values()] + [1.0])
    scale = Scale(0.0, most, _LEFT, _RIGHT)
    y = top + 14
    marks.append(label(4, y, fitted(f"{row['key']} · {int(_count(row.get('answers')))}", 390), "start", "label strong"))
    y += 8
    for answer in answers:
        marks.append(label(_LEFT - 8, y + 13, fitted(answer, _LEFT - 12), "end"))
        count = _count(row["measured"].get(answer))
        marks.append(rect("bar measured", _LEFT, y + 2, scale(count) - _LEFT, 8))
        if answer in predicted:
            marks.append(rect("bar claim", _LEFT, y + 11, scale(_count(predicted[answer])) - _LEFT, 8))
        beside = f" ({number(_count(predicted[answer]))})" if answer in predicted else ""
        marks.append(label(max(scale(count), scale(_count(predicted.get(answer)))) + 6, y + 14, number(count) + beside))
        y += _STEP
    marks.append(line("track", _LEFT, top + 22, _LEFT, y))
    return y + 8


def _answers(row: Row) -> list[str]:
    """All answers of a row, the commonest and then the most expected first."""
    predicted = row.get("predicted") or {}
    names = {*row["measured"], *predicted}
    return sorted(names, key=lambda name: (-_count(row["measured"].get(name)), -_count(predicted.get(name)), name))


def _expected(row: Row, answer: str) -> str:
    predicted = row.get("predicted") or {}
    return number(_count(predicted[answer])) if answer in predicted else "–"


def _count(value: object) -> float:
    return float(value) if isinstance(value, int | float) and abs(value) < 1e9 else 0.0
