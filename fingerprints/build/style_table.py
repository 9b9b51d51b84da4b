"""The results of style trials as Markdown tables, for the build's --check and for the benchmark."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def markdown(result: Mapping[str, Any]) -> str:
    """Tables of what `style.check` gives."""
    lines = [*_head()]
    for size, one in result["answers"].items():
        lines += rows(f"{size} answers", one)
    lines += rows("plain n-grams, 10 answers", result["baseline"])
    lines += ["", "| 10 answers, source left out | claude | gpt | llama | google | unlisted kept | calibration error |", "|---" * 7 + "|"]
    lines += [_source(name, one) for name, one in result["sources"].items()]
    lines += [_source(f"{name} (Korean)", one) for name, one in result["korean"].items()]
    lines += ["", *shift_rows(result["shifts"]), "", "Plain n-grams under the same shifts:", "", *shift_rows(result["baseline"]["shifts"])]
    return "\n".join(lines)


def _head() -> list[str]:
    names = ("precision", "with unlisted models", "abstained", "given another", "endpoints")
    return ["| | family | " + " | ".join(names) + " |", "|---|---|" + "---|" * len(names)]


def rows(label: str, one: Mapping[str, Any]) -> list[str]:
    """Lines of the main table for one summary."""
    lines = []
    for name, row in one["families"].items():
        if row["abstained"] is None:
            continue
        precision = f"{cell(row['precision'])}{interval(row.get('precision_interval'))}"
        abstained = f"{cell(row['abstained'])}{interval(row['abstained_interval'])}"
        cells = (precision, cell(row["precision_open"]), abstained, cell(row["given_another"]), str(row["endpoints"]))
        lines.append(f"| {label} | {name} | {' | '.join(cells)} |")
    macro = one["macro"]
    lines.append(f"| {label} | **macro** | {cell(macro['precision'])} | | {cell(macro['abstained'])} | | {one['endpoints']} |")
    kept = ", ".join(f"{name} {cell(row['kept'])}{interval(row.get('interval'))}" for name, row in one["unlisted"].items())
    lines.append(f"| {label} | unlisted, not given to a listed family | {kept} | | | | |")
    lines.append(f"| {label} | calibration error | {cell(one['ece'])} | | | | |")
    return lines


def shift_rows(found: Mapping[str, Any]) -> list[str]:
    """The table of shifts."""
    lines = ["| shift, 10 answers | wrong decisions | decided | audits |", "|---|---|---|---|"]
    return lines + [f"| {name} | {cell(arm['wrong'])} | {cell(arm['decided'])} | {arm['audits']} |" for name, arm in found["arms"].items()]


def _source(name: str, one: Mapping[str, Any]) -> str:
    cells = [
        "–" if row["abstained"] is None else f"{cell(row['precision'])} at {cell(row['abstained'])}" for row in one["families"].values()
    ]
    kept = [row["kept"] for row in one["unlisted"].values() if row["kept"] is not None]
    return f"| {name} | {' | '.join(cells)} | {cell(sum(kept) / len(kept) if kept else None)} | {cell(one['ece'])} |"


def cell(value: float | None) -> str:
    """Two or three digits, a dash for nothing."""
    return "–" if value is None else f"{value:.3f}"


def interval(value: list[float] | None) -> str:
    """In brackets, after a figure."""
    return "" if value is None else f" ({value[0]:.2f}–{value[1]:.2f})"
