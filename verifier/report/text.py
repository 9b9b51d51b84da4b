"""The report for a terminal: the verdict first, then why, then what was measured against what was predicted.

Takes a Report and a language, writes to a rich console. Model names and reasons may hold what a stranger wrote, so nothing is read as
markup and control characters never reach the terminal.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from verifier.report.model import Report
from verifier.report.plots_verdict import percent
from verifier.report.texts import Texts, texts
from verifier.report.texts_verdict import NAMED_FROM, channels, lineage, reasons, words

_STYLE = {"consistent": "bold green", "inconsistent": "bold red", "inconclusive": "bold yellow"}
_SHOWN_VOCABULARIES = 4
_SHOWN_ROWS = 12


def plain(text: str) -> str:
    """`text` with control, bidirectional and other invisible formatting characters replaced by a visible sign."""
    return "".join(c if c == "\n" or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp") else "�" for c in text)


def headline(report: Report, lang: str = "en") -> str:
    """One sentence: the outcome in plain words."""
    t, claim, verdict = texts(lang), report.data["claim"], report.data["verdict"]
    first: Mapping[str, Any] = verdict["tokenizer"][0] if verdict["tokenizer"] else {"family": None, "posterior": 0.0}
    if claim["model"] is None:
        named = verdict["attribution"][0]["candidate"] if verdict["resolution"] == "model" and verdict["attribution"] else first["family"]
        return t(f"text.identify.{report.outcome}", named=named)
    elsewhere = first["family"] != claim["tokenizer"] and first["posterior"] >= NAMED_FROM
    key = f"text.audit.{report.outcome}" + ("_named" if report.outcome == "inconsistent" and elsewhere else "")
    resolution = t.get(f"resolution.{verdict['resolution']}", str(verdict["resolution"]))
    return t(key, claim=claim["model"], named=first["family"], resolution=resolution)


def show(report: Report, console: Console, lang: str = "en") -> None:
    """Print the whole report."""
    t, data = texts(lang), report.data
    verdict, said = data["verdict"], words(report.data, texts(lang))
    console.print(Text(plain(headline(report, lang)), style=_STYLE[report.outcome]))
    asked = t("page.model", model=data["target"]["model"], wire=data["target"]["wire"])
    console.print(Text(plain(f"{data['target']['origin']} · {asked} · {data['created']} · {data['id']}"), style="dim"))
    for _, reason in reasons(data, t):
        console.print(Text("  • " + plain(reason.text) + (f" [{plain(reason.original)}]" if reason.original else "")))
    if said.untested:
        console.print(Text("  " + t("page.untested", n=len(said.untested), of=len(said.untested) + said.tested) + ". " + t("text.clean")))
    for each in (*said.untested, *said.partly):
        console.print(Text(f"    – {each.name}: {plain(each.why)}"))
    for finding in data["findings"]:
        console.print(Text(finding_line(finding, t)))
    for table in _measurements(data, t):
        console.print(table)
    if verdict["tokenizer"]:
        first = verdict["tokenizer"][:3]
        rest = max(0.0, 1.0 - math.fsum(entry["posterior"] for entry in first))
        ranked = ", ".join(f"{entry['family']} {entry['posterior']:.3f}" for entry in first)
        console.print(Text(t("text.tokenizer_line", ranked=ranked, rest=f"{rest:.3f}")))
    if said_lineage := lineage(data, t):
        console.print(Text(plain(said_lineage)))
    if data["claim"]["model"] is not None:
        console.print(Text(t("text.evidence", e=f"{verdict['e_value']:.3g}", needed=f"{1 / verdict['alpha']:.0f}")))
    if verdict["excludes_share"] is not None:
        console.print(Text(t("text.ruled_out", share=percent(verdict["excludes_share"]), alpha=f"{verdict['alpha']:g}")))
    console.print(Text(cost_line(data, t), style="dim"))
    console.print(Text(t("text.next", next=plain(said.next))))


def finding_line(finding: Mapping[str, Any], t: Texts) -> str:
    """One finding: its code and strength, and its sentence."""
    said = t.finding(str(finding["code"]), str(finding["text"]))
    strength = t.get(f"page.strength_{finding['strength']}", str(finding["strength"]))
    return f"  ! {finding['code']} ({strength}): {plain(said.text)}" + (f" [{plain(said.original)}]" if said.original else "")


def cost_line(data: Mapping[str, Any], t: Texts) -> str:
    """What the audit cost, and the seed that asks the same again."""
    cost = data["cost"]
    return t(
        "text.cost",
        requests=cost["requests"],
        prompt=cost["prompt_tokens"],
        completion=cost["completion_tokens"],
        seconds=f"{cost['seconds']:.1f}",
        stopped=t("text.stopped") if cost["stopped_early"] else "",
        seed=data["seed"],
    )


def _measurements(data: Mapping[str, Any], t: Texts) -> list[Table]:
    """One table per channel: measured values beside the predictions of the nearest vocabularies."""
    tables = []
    for _, channel, result in channels(data):
        rows = result["measured"][:_SHOWN_ROWS]
        if not rows or "predicted" not in rows[0]:
            continue
        ranked = sorted(result["log_likelihood"], key=lambda name: (-result["log_likelihood"][name], name))
        claimed = data["claim"]["tokenizer"]
        names = [name for name in dict.fromkeys([claimed, *ranked]) if name in rows[0]["predicted"]][:_SHOWN_VOCABULARIES]
        table = Table(title=t.get(f"text.{channel}", channel), title_justify="left", show_edge=False)
        table.add_column(t("text.question"))
        table.add_column(t("text.measured"), justify="right")
        for name in names:
            table.add_column(plain(t("text.claim_column", name=name) if name == claimed else name), justify="right")
        for row in rows:
            predicted = {name: row["predicted"].get(name) for name in names}
            cells = [Text(plain(str(value)), style="green" if value == row["measured"] else "") for value in predicted.values()]
            table.add_row(Text(plain(t.sentence(str(row["key"])).text)), Text(plain(t.sentence(str(row["measured"])).text)), *cells)
        tables.append(table)
    return tables
