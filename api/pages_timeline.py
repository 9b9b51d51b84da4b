"""The picture of a schedule: what its audits found over time, and where that changed.

Takes the history that /v1/schedules/{id}/history gives, gives a figure as the report's pictures are: a mark for every audit in the lane of
its verdict, a line where the verdict changed, and the same as a table.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from api.pages_frame import moment
from api.schemas import History, HistoryEntry
from verifier.report.plots import Figure, Key, Mark, Scale, Table, circle, diamond, fitted, label, line, path, rect, weight
from verifier.report.texts import Texts

LANES = ("consistent", "inconclusive", "inconsistent", "failed")
"""From the top; `failed` stands for audits that ended without a verdict."""
_LEFT, _RIGHT, _TOP, _LANE = 122.0, 388.0, 26.0, 30.0
_RADIUS = 4.2


def timeline(history: History, zone: str, kind: str, t: Texts, r: Texts) -> list[Figure]:
    """One figure, or none where nothing has ended yet; `kind` is what the audits do, as `pages_frame.does` says it."""
    ended = [(each, each.finished) for each in history.audits if each.finished is not None]
    if not ended:
        return []
    names = {lane: t("schedule.failed") if lane == "failed" else r(f"{kind}.{lane}.badge") for lane in LANES}
    first, last = ended[0][1], ended[-1][1]
    across = Scale(first.timestamp(), last.timestamp(), _LEFT + 10, _RIGHT - 10)
    bottom = _TOP + _LANE * len(LANES)
    marks: list[Mark] = []
    for i, lane in enumerate(LANES):
        y = _TOP + _LANE * i
        marks += [
            rect("rail", _LEFT, y + 3, _RIGHT - _LEFT, _LANE - 6),
            label(_LEFT - 8, y + _LANE / 2 + 4, fitted(names[lane], _LEFT - 10), "end"),
        ]
    changed = [(each, time) for each, time in ended if each.changed]
    marks += [line("stop", across(time.timestamp()), _TOP - 8, across(time.timestamp()), bottom) for _, time in changed]
    if len(ended) > 1:
        marks.append(path("steps", [_at(each, time, across) for each, time in ended]))
    for each, time in ended:
        x, y = _at(each, time, across)
        marks.append((diamond if each.changed else circle)(f"point {_lane(each)}", x, y, _RADIUS + 2 if each.changed else _RADIUS))
    marks += _ends(first, last, zone, bottom)
    return [
        Figure(
            id="timeline",
            title=t("schedule.timeline"),
            description=t("schedule.timeline_about", n=len(ended), changes=len(changed)),
            height=bottom + 26,
            marks=tuple(marks),
            table=_table([each for each, _ in ended], names, zone, t),
            legend=(Key("point", "dot", t("schedule.one_audit")), Key("point", "diamond", t("schedule.change_point"))),
        )
    ]


def _lane(entry: HistoryEntry) -> str:
    return entry.outcome or "failed"


def _at(entry: HistoryEntry, time: datetime, across: Scale) -> tuple[float, float]:
    return across(time.timestamp()), _TOP + _LANE * (LANES.index(_lane(entry)) + 0.5)


def _ends(first: datetime, last: datetime, zone: str, bottom: float) -> list[Mark]:
    """When the picture begins and ends."""
    if first == last:
        return [label((_LEFT + _RIGHT) / 2, bottom + 18, moment(first, zone), "middle", "axis")]
    return [label(_LEFT, bottom + 18, f"{first:%Y-%m-%d}", "start", "axis"), label(_RIGHT, bottom + 18, f"{last:%Y-%m-%d}", "end", "axis")]


def _table(entries: Sequence[HistoryEntry], names: dict[str, str], zone: str, t: Texts) -> Table:
    columns = (t("schedule.when"), t("schedule.verdict"), t("schedule.e"), t("schedule.changed"))
    rows = [
        (
            moment(each.finished, zone) if each.finished is not None else "–",
            names[_lane(each)],
            weight(each.e_value) if each.e_value is not None else "–",
            t("schedule.yes") if each.changed else "–",
        )
        for each in reversed(entries)
    ]
    return Table(columns, tuple(rows))
