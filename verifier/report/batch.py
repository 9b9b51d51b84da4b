"""The report over many endpoints, for a terminal: one row each, the worst first to be read, then what the error rate covers.

Takes a Batch, writes to a rich console. Names and errors may hold what a stranger wrote: nothing is read as markup.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from verifier.report.text import plain
from verifier.report.texts import texts

if TYPE_CHECKING:
    from verifier.batch import Batch

_STYLE = {"consistent": "green", "inconsistent": "bold red", "inconclusive": "yellow", None: "magenta"}


def show(batch: Batch, console: Console, lang: str = "en") -> None:
    """Print the table and one line on its error rate."""
    t = texts(lang)
    table = Table(show_edge=False)
    for column in ("endpoint", "claim", "verdict", "tokenizer", "e", "requests", "findings"):
        table.add_column(t(f"text.batch.{column}"), justify="right" if column in ("e", "requests") else "left", overflow="fold")
    data = batch.to_json()
    for row in data["rows"]:
        outcome = row["outcome"]
        table.add_row(
            Text(plain(row["name"])),
            Text(plain(row["claim"])),
            Text(t(f"text.batch.{outcome or 'failed'}"), style=_STYLE[outcome]),
            Text(row.get("tokenizer") or "–"),
            Text(f"{row['e_value']:.3g}" if outcome else "–"),
            Text(str(row.get("requests", "–"))),
            Text(plain(", ".join(row["findings"]) if outcome else row["error"])),
        )
    console.print(table)
    filled = {"accused": data["accused"], "n": data["endpoints"], "alpha": f"{data['alpha']:g}", "row_alpha": f"{data['row_alpha']:.3g}"}
    console.print(Text(t("text.batch_rate", **filled)))
