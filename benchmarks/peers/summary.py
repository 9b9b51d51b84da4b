"""From rows of single runs to counts per tool and arm, medians, and exit codes. Plain JSON in, plain JSON out."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Any

HONEST = "honest"
"""All honest arms together."""


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Tool -> {arms: {arm: counts}, requests, unanswered, tokens, seconds: medians, codes: exit code -> runs}."""
    return {tool: _tool([row for row in rows if row["tool"] == tool]) for tool in dict.fromkeys(row["tool"] for row in rows)}


def _tool(rows: list[dict[str, Any]]) -> dict[str, Any]:
    arms = {arm: _counts([row for row in rows if row["arm"] == arm]) for arm in dict.fromkeys(row["arm"] for row in rows)}
    arms[HONEST] = _counts([row for row in rows if row["kind"] == "honest"])
    codes = {arm: dict(Counter(str(row["code"]) for row in rows if row["arm"] == arm)) for arm in arms if arm != HONEST}
    medians = {name: statistics.median(row[name] for row in rows) for name in ("requests", "unanswered", "tokens", "seconds")}
    return {"arms": arms, "codes": codes} | medians


def _counts(rows: Sequence[dict[str, Any]]) -> dict[str, int]:
    counted = Counter(row["outcome"] for row in rows)
    return {"runs": len(rows)} | {name: counted[name] for name in ("accused", "cleared", "undecided", "error")}
