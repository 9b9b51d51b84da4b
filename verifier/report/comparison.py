"""A comparison's report for a terminal: same, different or unknown first, then why, then what was measured.

Takes the Report of `truename compare`, writes to a rich console. Origins, model names and reasons may hold what a stranger
wrote, so control characters never reach the terminal and nothing is read as markup.
"""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from verifier.report.model import Report
from verifier.report.text import cost_line, finding_line, plain
from verifier.report.texts import Texts, texts

WORDS = {"consistent": "SAME", "inconsistent": "DIFFERENT", "inconclusive": "UNKNOWN"}
_STYLE = {"consistent": "bold green", "inconsistent": "bold red", "inconclusive": "bold yellow"}


def is_comparison(report: Report) -> bool:
    """Whether this is the report of a comparison: a reference, and no claim."""
    return bool(report.data.get("reference")) and report.data["claim"]["model"] is None


def headline(report: Report, lang: str = "en") -> str:
    """One sentence: the outcome in plain words."""
    return texts(lang)(f"text.compare.{report.outcome}")


def show(report: Report, console: Console, lang: str = "en") -> None:
    """Print the whole report."""
    t, data, verdict = texts(lang), report.data, report.data["verdict"]
    console.print(Text(headline(report, lang), style=_STYLE[report.outcome]))
    for letter, side in (("A", data["target"]), ("B", data["reference"])):
        asked = t("page.model", model=side["model"], wire=side["wire"])
        console.print(Text(plain(f"{letter}  {side['origin']} · {asked}"), style="dim"))
    console.print(Text(f"{data['created']} · {data['id']}", style="dim"))
    for reason in verdict["reasons"]:
        said = t.reason(str(reason["code"]), str(reason["text"]))
        console.print(Text("  • " + plain(said.text) + (f" [{plain(said.original)}]" if said.original else "")))
    for finding in data["findings"]:
        console.print(Text(finding_line(finding, t)))
    for channels in data["blocks"].values():
        for channel in channels.values():
            if channel["measured"]:
                console.print(_table(channel["measured"], t))
    console.print(Text(t("text.difference", e=f"{verdict['e_value']:.3g}", needed=f"{1 / verdict['alpha']:.0f}")))
    console.print(Text(cost_line(data, t), style="dim"))
    console.print(Text(t("text.next", next=plain(t.sentence(str(verdict["next"])).text))))


def _table(rows: list[dict[str, object]], t: Texts) -> Table:
    table = Table(show_edge=False, show_header=False)
    table.add_column("what")
    table.add_column("measured", justify="right")
    for row in rows:
        measured = row["measured"]
        table.add_row(plain(t.sentence(str(row["key"])).text), f"{measured:.3g}" if isinstance(measured, float) else str(measured))
    return table
