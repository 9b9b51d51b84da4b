"""What every channel measured, as tables: for the channels that no picture shows, and for whoever wants the exact values.

Takes a report's data, gives a table per tested channel. Rows may hold whatever their probe wrote down; all of it is shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from verifier.report.plots import Table, number
from verifier.report.texts import Texts
from verifier.report.texts_verdict import channels

Data = Mapping[str, Any]
PICTURED = frozenset({"usage", "truncation", "choice"})
"""Channels whose rows stand beside their picture."""
LONGEST = 200
"""Characters of one value."""


def tables(data: Data, t: Texts) -> list[tuple[str, Table]]:
    """(channel, its rows) of every channel that measured something and has no picture."""
    return [
        (t.get(f"channel.{name}", name), _table(result["measured"], data["claim"]["tokenizer"], result["best"], t))
        for _, name, result in channels(data)
        if result["measured"] and name not in PICTURED
    ]


def _table(rows: Sequence[Data], claimed: str | None, best: str | None, t: Texts) -> Table:
    first = [key for key in ("key", "question", "measured") if any(key in row for row in rows)]
    more = sorted({key for row in rows for key in row} - {*first, "predicted"})
    names = [
        name for name in dict.fromkeys([claimed, best]) if name and any(name in predicted for row in rows if (predicted := _predicted(row)))
    ]
    same = ["same"] if any("same" in _predicted(row) for row in rows) else []
    columns = [t.get(f"column.{key}", key) for key in first]
    columns += [t("plot.column_claim", name=name) if name == claimed else name for name in names]
    columns += [t("column.same") for _ in same] + [t.get(f"column.{key}", key) for key in more]
    return Table(
        tuple(columns),
        tuple(
            tuple(
                [_cell(row.get(key), t) for key in first]
                + [_cell(_predicted(row).get(name), t) for name in (*names, *same)]
                + [_cell(row.get(key), t) for key in more]
            )
            for row in rows
        ),
    )


def _predicted(row: Data) -> Data:
    predicted = row.get("predicted")
    return predicted if isinstance(predicted, Mapping) else {}


def _cell(value: object, t: Texts) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        text = t("page.yes" if value else "page.no")
    elif isinstance(value, int | float):
        text = number(value)
    elif isinstance(value, Mapping):
        text = ", ".join(f"{key}: {_cell(each, t)}" for key, each in sorted(value.items()))
    elif isinstance(value, list):
        text = ", ".join(_cell(each, t) for each in value) or "–"
    else:
        text = t.sentence(str(value)).text
    return text if len(text) <= LONGEST else text[:LONGEST] + "…"
