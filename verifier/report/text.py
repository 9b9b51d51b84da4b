"""The report for a terminal: the verdict first, then why, then what was measured against what was predicted.

Takes a Report, writes to a rich console. Model names and reasons may hold what a stranger wrote, so nothing is read as
markup and control characters never reach the terminal.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from verifier.report.model import Report

_STYLE = {"consistent": "bold green", "inconsistent": "bold red", "inconclusive": "bold yellow"}
_SHOWN_VOCABULARIES = 4
_SHOWN_ROWS = 12


def plain(text: str) -> str:
    """`text` with control, bidirectional and other invisible formatting characters replaced by a visible sign."""
    return "".join(c if c == "\n" or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp") else "�" for c in text)


def headline(report: Report) -> str:
    """One sentence: the outcome in plain words."""
    claim, verdict = report.data["claim"], report.data["verdict"]
    named = verdict["tokenizer"][0]["family"] if verdict["tokenizer"] else None
    if claim["model"] is None:
        return f"IDENTIFIED: {named} vocabulary" if report.outcome == "consistent" else "UNKNOWN: the evidence names no vocabulary"
    if report.outcome == "consistent":
        return f"CONSISTENT with {claim['model']}, at {verdict['resolution']} resolution"
    if report.outcome == "inconsistent":
        return f"INCONSISTENT with {claim['model']}: the replies come from the {named} vocabulary"
    return f"INCONCLUSIVE about {claim['model']}: neither cleared nor accused"


def show(report: Report, console: Console) -> None:
    """Print the whole report."""
    data = report.data
    verdict = data["verdict"]
    console.print(Text(plain(headline(report)), style=_STYLE[report.outcome]))
    console.print(
        Text(plain(f"{data['target']['origin']} · model {data['target']['model']} · {data['created']} · {data['id']}"), style="dim")
    )
    for reason in verdict["reasons"]:
        console.print(Text("  • " + plain(reason["text"])))
    for finding in data["findings"]:
        console.print(Text(f"  ! {finding['code']} ({finding['strength']}): " + plain(finding["text"])))
    for row in _measurements(data):
        console.print(row)
    if verdict["tokenizer"]:
        first = verdict["tokenizer"][:3]
        ranked = ", ".join(f"{entry['family']} {entry['posterior']:.3f}" for entry in first)
        console.print(Text(f"Tokenizer: {ranked}, unknown {verdict['unknown']:.3f}"))
    console.print(Text(f"Evidence against the claim: e = {verdict['e_value']:.3g} (an accusation needs {1 / verdict['alpha']:.0f})"))
    if verdict["excludes_share"] is not None:
        text = f"Ruled out: that more than {100 * verdict['excludes_share']:.0f} % of requests go to a backend with another known tokenizer"
        console.print(Text(text + f" (error rate {verdict['alpha']:g})."))
    cost = data["cost"]
    spent = f"{cost['requests']} requests, {cost['prompt_tokens']} + {cost['completion_tokens']} tokens, {cost['seconds']:.1f} s"
    console.print(Text(f"Cost: {spent}{', stopped early' if cost['stopped_early'] else ''} · seed {data['seed']}", style="dim"))
    console.print(Text("Next: " + plain(verdict["next"])))


def _measurements(data: Mapping[str, Any]) -> list[Table]:
    """One table per channel: measured values beside the predictions of the nearest vocabularies."""
    tables = []
    for block in data["blocks"].values():
        for channel, result in block.items():
            rows = result["measured"][:_SHOWN_ROWS]
            if not rows or "predicted" not in rows[0]:
                continue
            ranked = sorted(result["log_likelihood"], key=lambda name: -result["log_likelihood"][name])
            claimed = data["claim"]["tokenizer"]
            names = [name for name in dict.fromkeys([claimed, *ranked]) if name in rows[0]["predicted"]][:_SHOWN_VOCABULARIES]
            table = Table(title=_TITLES.get(channel, channel), title_justify="left", show_edge=False)
            table.add_column("question")
            table.add_column("measured", justify="right")
            for name in names:
                table.add_column(f"{name} (claim)" if name == claimed else name, justify="right")
            for row in rows:
                cells = [
                    Text(str(row["predicted"][name]), style="green" if row["predicted"][name] == row["measured"] else "") for name in names
                ]
                table.add_row(row["key"], str(row["measured"]), *cells)
            tables.append(table)
    return tables


_TITLES = {
    "usage": "Prompt tokens of fresh strings: measured, and as each vocabulary counts them",
    "truncation": "Characters of a copy cut at the token limit: measured, and where each vocabulary ends",
    "logprobs": "Tokens spelled by log probabilities: how many, and how many of them each vocabulary has",
    "bias": "Tokens forced by their id: what came, and what each vocabulary has there",
    "protocol": "Limits, errors and speed: what was asked and what came of it",
    "stream": "Chunk edges: how many came, and how many of them each vocabulary has",
}
