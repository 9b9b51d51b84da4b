"""The peers' figures as Markdown: one row per tool, the same columns for all. Takes what `run` gives; computes nothing new."""

from __future__ import annotations

from typing import Any

from benchmarks.peers.summary import HONEST

Counts = dict[str, int]


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    return "\n\n".join((_outcomes(result), _costs(result), _notes(result)))


def _outcomes(result: dict[str, Any]) -> str:
    arms = [HONEST, *result["arms"]]
    head = "| tool | " + " | ".join("all honest" if arm == HONEST else arm for arm in arms) + " |"
    lines = [head, "|---" * (len(arms) + 1) + "|"]
    for tool in result["tools"]:
        counts = result["figures"][tool]["arms"]
        lines.append(f"| {tool} | " + " | ".join(_cell(counts[arm]) if arm in counts else "–" for arm in arms) + " |")
    note = (
        "Each cell: accused / cleared / undecided of the runs, then errors, if any. Honest endpoints (plain, recount) should never be "
        "accused, cheats should be accused, and an endpoint that says nothing (content-free, dead) should be neither accused nor cleared."
    )
    return "\n".join(lines) + "\n\n" + note


def _cell(counts: Counts) -> str:
    errors = f", {counts['error']} errors" if counts["error"] else ""
    return f"{counts['accused']} / {counts['cleared']} / {counts['undecided']} of {counts['runs']}{errors}"


def _costs(result: dict[str, Any]) -> str:
    lines = ["| tool | version | median requests | of which unanswered | median tokens | median seconds | exit codes |", "|---" * 7 + "|"]
    for tool, version in result["tools"].items():
        figures = result["figures"][tool]
        codes = "; ".join(f"{arm} {_codes(each)}" for arm, each in figures["codes"].items())
        spent = " | ".join(f"{figures[name]:g}" for name in ("requests", "unanswered", "tokens", "seconds"))
        lines.append(f"| {tool} | {version} | {spent} | {codes} |")
    return "\n".join(lines)


def _codes(counted: dict[str, int]) -> str:
    return ", ".join(f"{n} × {code}" if len(counted) > 1 else code for code, n in sorted(counted.items()))


def _notes(result: dict[str, Any]) -> str:
    network = "with no network but loopback" if result["confined"] else "with the machine's network (namespaces are not allowed here)"
    lines = [
        f"Requests and tokens (o200k) are counted at the endpoint; “unanswered” are those to which no answer was recorded or written, most "
        f"of them asked for their token counts alone. Peers ran {network}. Stand-ins answer what only peers ask, rightly and alike for "
        "every model: what a peer reads from real ability or style is not tried here. To a peer that compares two "
        "models of one relay (relaycheck), the relay also sells the impostor (of reflection, the last one) under its own name."
    ]
    lines += [f"- {tool}: {meaning}." for tool, meaning in result["meanings"].items()]
    lines += [f"- {tool}: not run: {why}." for tool, why in result["not_installable"].items()]
    return "\n".join(lines)
