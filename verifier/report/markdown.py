"""Markdown for a job summary or a comment: the verdict first, one table row per endpoint, then why and what was not tested.

Takes Cases, gives GitHub-flavoured Markdown. Whatever an endpoint or a file of targets wrote stays text: no HTML, no link, no picture, no
formula, no table cell more than there are columns, and nobody is mentioned. `inert` does that, and every value passes it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from verifier.report.cases import Case, Cases, one_line, said, untested
from verifier.report.plots import weight
from verifier.report.texts import Texts, texts
from verifier.report.texts_verdict import lineage, reasons

SHOWN_IN_FULL = 40
"""Endpoints that are told about below the table; GitHub refuses summaries above 1 MiB."""
_MARKS = {0: "✅", 1: "❌", 3: "⚠️", 4: "⛔"}
_STRUCTURE = re.compile(r"([\\`*_\[\]<>|~!&])")
_AUTOLINK = re.compile(r"(?i):(?=//)|(?<=mailto):|(?<=xmpp):|(?<=www)\.")
"""GitHub makes links of bare addresses; an escaped colon or dot is the same sign and no address."""
_WIDE = str.maketrans({"@": "＠", "#": "＃", "$": "＄"})
"""Signs that GitHub reads after Markdown is done (mentions, mail addresses, issues, formulas), so that no escape holds them back: they
are shown in their full width."""


def render_markdown(cases: Cases, lang: str = "en") -> str:
    """The document. Raises UsageError for a language that there is none for."""
    t = texts(lang)
    if cases.batch is None:
        (row,) = cases.rows
        return "\n".join(_details(row, t, "##")) + "\n"
    accused = sum(row.exit_code == 1 for row in cases.rows)
    alpha, row_alpha = cases.batch
    lines = [f"## {t('batch.title', n=len(cases.rows))}", "", t("batch.summary", accused=accused, n=len(cases.rows)) + ".", ""]
    lines += _table(cases.rows, t)
    lines += ["", t("batch.rate", alpha=f"{alpha:g}", row_alpha=f"{row_alpha:.3g}"), "", f"**{t('batch.caution')}**", ""]
    told = [row for code in (1, 4, 3) for row in cases.rows if row.exit_code == code]
    for row in told[:SHOWN_IN_FULL]:
        lines += [*_details(row, t, "###"), ""]
    if len(told) > SHOWN_IN_FULL:
        lines.append(f"… + {len(told) - SHOWN_IN_FULL}")
    return "\n".join(lines).rstrip() + "\n"


def inert(text: object) -> str:
    """`text` as Markdown that shows it and does nothing else, fit for a table's cell and the middle of a line."""
    wide = one_line(text).translate(_WIDE)
    return _AUTOLINK.sub(lambda found: "\\" + found.group(), _STRUCTURE.sub(r"\\\1", wide))


def _table(rows: Sequence[Case], t: Texts) -> list[str]:
    columns = [t(f"batch.{name}") for name in ("endpoint", "claim", "verdict", "tokenizer", "e", "requests", "findings", "untested")]
    return [_row(columns), _row(["---"] * len(columns)), *(_row(_cells(row, t)) for row in rows)]


def _cells(case: Case, t: Texts) -> list[str]:
    mark = _MARKS[case.exit_code]
    if case.report is None:
        return [inert(case.name), inert(case.claim), f"{mark} {t('batch.failed')}", "–", "–", "–", inert(case.error), "–"]
    data, told = case.data, said(case, t)
    verdict = data["verdict"]
    return [
        inert(case.name),
        inert(case.claim),
        f"{mark} {told.badge}",
        inert(verdict["tokenizer"][0]["family"] if verdict["tokenizer"] else "–"),
        weight(float(verdict["e_value"])),
        str(data["cost"]["requests"]),
        inert(", ".join(dict.fromkeys(str(finding["code"]) for finding in data["findings"])) or "–"),
        t("batch.untested_n", n=len(told.untested), of=len(told.untested) + told.tested),
    ]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _details(case: Case, t: Texts, heading: str) -> list[str]:
    """One endpoint: verdict, how sure, reasons, what was not tested, findings, and what would settle it."""
    mark = _MARKS[case.exit_code]
    if case.report is None:
        return [f"{heading} {mark} {t('batch.failed')}", "", f"{inert(case.origin)}: {inert(case.error)}"]
    data, told = case.data, said(case, t)
    place = data["target"]["origin"] if case.name == case.origin else f"{case.name} · {case.origin}"
    asked = t("page.model", model=data["target"]["model"], wire=data["target"]["wire"])
    lines = [f"{heading} {mark} {inert(told.headline)}", "", f"{inert(place)} · {inert(asked)}", ""]
    if data.get("reference"):
        lines += [f"{t('page.reference')}: {inert(data['reference']['origin'])} · {inert(data['reference']['model'])}", ""]
    lines += [inert(told.meaning), "", f"**{t('page.sure')}.** {inert(told.certainty)}", ""]
    lines += [f"**{t('page.caution')}.** {inert(told.caution)}", ""]
    lines += _list(t("page.why"), [f"{inert(reason.text)} (`{_code(code)}`)" for code, reason in reasons(data, t)])
    silent = [f"{inert(name)}: {inert(why)}" for name, why in untested(case, t)]
    if silent:
        lines += _list(t("page.untested", n=len(told.untested), of=len(told.untested) + told.tested), silent)
        lines += [f"**{t('text.clean')}**", ""]
    lines += _list(t("page.findings"), [_finding(each, t) for each in data["findings"]])
    if kind := lineage(data, t):
        lines += [inert(kind), ""]
    lines += [inert(t("text.next", next=told.next)), "", f"{inert(data['id'])} · {inert(data['created'])}"]
    return lines


def _finding(finding: dict[str, object], t: Texts) -> str:
    code, strength = str(finding["code"]), str(finding["strength"])
    shown = t.get(f"page.strength_{strength}", strength)
    return f"{inert(t.finding(code, str(finding['text'])).text)} (`{_code(code)}`, {inert(shown)})"


def _code(code: str) -> str:
    """A code between backticks; whatever is none of ours loses the signs that could end the span or the cell."""
    return re.sub(r"[^a-z0-9-]+", "-", code)[:60]


def _list(name: str, items: Sequence[str]) -> list[str]:
    return [f"**{name}**", "", *(f"- {item}" for item in items), ""] if items else []
