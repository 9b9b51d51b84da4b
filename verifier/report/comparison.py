"""A comparison's report for a terminal: same, different or unknown first, then why, then what was measured.

Takes the Report of `truename compare`, writes to a rich console. Origins, model names and reasons may hold what a stranger
wrote, so control characters never reach the terminal and nothing is read as markup.
"""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from verifier.report.model import Report
from verifier.report.text import plain

WORDS = {"consistent": "SAME", "inconsistent": "DIFFERENT", "inconclusive": "UNKNOWN"}
_STYLE = {"consistent": "bold green", "inconsistent": "bold red", "inconclusive": "bold yellow"}


def is_comparison(report: Report) -> bool:
    """Whether this is the report of a comparison: a reference, and no claim."""
    return bool(report.data.get("reference")) and report.data["claim"]["model"] is None


def headline(report: Report) -> str:
    """One sentence: the outcome in plain words."""
    said = {
        "consistent": "no difference between the two endpoints, at the resolution below",
        "inconsistent": "the two endpoints do not answer alike",
        "inconclusive": "neither a difference nor the lack of one is shown",
    }
    return f"{WORDS[report.outcome]}: {said[report.outcome]}"


def show(report: Report, console: Console) -> None:
    """Print the whole report."""
    data, verdict = report.data, report.data["verdict"]
    console.print(Text(headline(report), style=_STYLE[report.outcome]))
    for letter, side in (("A", data["target"]), ("B", data["reference"])):
        console.print(Text(plain(f"{letter}  {side['origin']} · model {side['model']} · {side['wire']}"), style="dim"))
    console.print(Text(f"{data['created']} · {data['id']}", style="dim"))
    for reason in verdict["reasons"]:
        console.print(Text("  • " + plain(reason["text"])))
    for finding in data["findings"]:
        console.print(Text(f"  ! {finding['code']} ({finding['strength']}): " + plain(finding["text"])))
    for channels in data["blocks"].values():
        for channel in channels.values():
            if channel["measured"]:
                console.print(_table(channel["measured"]))
    console.print(Text(f"Evidence of a difference: e = {verdict['e_value']:.3g} (calling it one needs {1 / verdict['alpha']:.0f})"))
    cost = data["cost"]
    spent = f"{cost['requests']} requests, {cost['prompt_tokens']} + {cost['completion_tokens']} tokens, {cost['seconds']:.1f} s"
    console.print(Text(f"Cost: {spent}{', stopped early' if cost['stopped_early'] else ''} · seed {data['seed']}", style="dim"))
    console.print(Text("Next: " + plain(verdict["next"])))


def _table(rows: list[dict[str, object]]) -> Table:
    table = Table(show_edge=False, show_header=False)
    table.add_column("what")
    table.add_column("measured", justify="right")
    for row in rows:
        measured = row["measured"]
        table.add_row(plain(str(row["key"])), f"{measured:.3g}" if isinstance(measured, float) else str(measured))
    return table
