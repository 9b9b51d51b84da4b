"""The picture of a schedule: what its audits found over time, and where that changed.

Takes the history that /v1/schedules/{id}/history gives, gives a figure as the report's pictures are: a mark for every audit in the lane of
its verdict, a line where the verdict changed, a ring where another tokenizer or model answered, and the same as a table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from api.pages_frame import badge_of, moment
from api.schemas import History, HistoryEntry, Turn
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
    met = {_lane(each) for each, _ in ended}
    lanes = [lane for lane in LANES if lane in met or lane == "failed" or f"{kind}.{lane}.badge" in r.entries]
    names = {lane: t("schedule.failed") if lane == "failed" else badge_of(kind, lane, r) for lane in lanes}
    middles = {lane: _TOP + _LANE * (i + 0.5) for i, lane in enumerate(lanes)}
    turned = {each.audit_id: each for each in history.turns}
    first, last = ended[0][1], ended[-1][1]
    across = Scale(first.timestamp(), last.timestamp(), _LEFT + 10, _RIGHT - 10)
    bottom = _TOP + _LANE * len(lanes)
    marks: list[Mark] = []
    for lane, y in middles.items():
        marks += [
            rect("rail", _LEFT, y - _LANE / 2 + 3, _RIGHT - _LEFT, _LANE - 6),
            label(_LEFT - 8, y + 4, fitted(names[lane], _LEFT - 10), "end"),
        ]
    changed = [(each, time) for each, time in ended if each.changed]
    marks += [line("stop", across(time.timestamp()), _TOP - 8, across(time.timestamp()), bottom) for _, time in changed]
    if len(ended) > 1:
        marks.append(path("steps", [(across(time.timestamp()), middles[_lane(each)]) for each, time in ended]))
    for each, time in ended:
        x, y = across(time.timestamp()), middles[_lane(each)]
        marks.append((diamond if each.changed else circle)(f"point {_lane(each)}", x, y, _RADIUS + 2 if each.changed else _RADIUS))
        if each.id in turned:
            marks.append(circle("turned", x, y, _RADIUS + 5))
    marks += _ends(first, last, zone, bottom)
    return [
        Figure(
            id="timeline",
            title=t("schedule.timeline"),
            description=t("schedule.timeline_about", n=len(ended), changes=len(changed), turns=len(turned)),
            height=bottom + 26,
            marks=tuple(marks),
            table=_table([each for each, _ in ended], turned, names, zone, t),
            legend=(
                Key("point", "dot", t("schedule.one_audit")),
                Key("point", "diamond", t("schedule.change_point")),
                Key("turned", "ring", t("schedule.turn")),
            ),
        )
    ]


def _lane(entry: HistoryEntry) -> str:
    return entry.outcome or "failed"


def _ends(first: datetime, last: datetime, zone: str, bottom: float) -> list[Mark]:
    """When the picture begins and ends."""
    if first == last:
        return [label((_LEFT + _RIGHT) / 2, bottom + 18, moment(first, zone), "middle", "axis")]
    days = [moment(time, zone).partition(" ")[0] for time in (first, last)]
    return [label(_LEFT, bottom + 18, days[0], "start", "axis"), label(_RIGHT, bottom + 18, days[1], "end", "axis")]


def _table(entries: Sequence[HistoryEntry], turned: Mapping[str, Turn], names: Mapping[str, str], zone: str, t: Texts) -> Table:
    columns = (t("schedule.when"), t("schedule.verdict"), t("schedule.e"), t("schedule.changed"), t("schedule.turned"))
    rows = [
        (
            moment(each.finished, zone) if each.finished is not None else "–",
            names[_lane(each)],
            weight(each.e_value) if each.e_value is not None else "–",
            t("schedule.yes") if each.changed else "–",
            f"{turn.before} → {turn.after}" if (turn := turned.get(each.id)) else "–",
        )
        for each in reversed(entries)
    ]
    return Table(columns, tuple(rows))
