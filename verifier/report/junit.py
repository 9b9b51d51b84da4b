"""JUnit XML for CI systems: one suite, one test case per endpoint.

An inconsistent claim is a failure, an endpoint that could not be audited an error, and an inconclusive one is *skipped* with its
reason: a CI system must neither show it as passed nor as an accusation. A case that passes says in its output what was not tested.
Takes Cases, gives the document; the form is the one that Jenkins, GitLab and most others read (tests/data/junit.xsd).
"""

from __future__ import annotations

from xml.etree.ElementTree import Element, SubElement, indent, tostring

from verifier.report.cases import Case, Cases, one_line, said, title, untested, what
from verifier.report.texts import Texts, texts
from verifier.report.texts_verdict import lineage, reasons
from verifier.version import VERSION

_ASKED = {"audit": "serves {claim}", "identify": "can be named", "compare": "serves the same as the reference"}


def render_junit(cases: Cases, lang: str = "en") -> str:
    """The document. Raises UsageError for a language that there is none for."""
    t = texts(lang)
    codes = [row.exit_code for row in cases.rows]
    reports = [row.data for row in cases.rows if row.report is not None]
    counts = {
        "tests": str(len(codes)),
        "failures": str(codes.count(1)),
        "errors": str(codes.count(4)),
        "skipped": str(codes.count(3)),
        "time": _seconds(sum(float(data["cost"]["seconds"]) for data in reports)),
    }
    suites = Element("testsuites", {"name": "truename", **counts})
    suite = SubElement(suites, "testsuite", {"name": "truename", **counts})
    if reports:
        suite.set("timestamp", min(str(data["created"]) for data in reports).removesuffix("Z"))
    properties = SubElement(suite, "properties")
    facts = {"truename_version": VERSION}
    if cases.batch is not None:
        facts |= {"alpha": f"{cases.batch[0]:g}", "row_alpha": f"{cases.batch[1]:.3g}"}
    for name, value in facts.items():
        SubElement(properties, "property", {"name": name, "value": value})
    for row in cases.rows:
        _case(suite, row, t)
    indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(suites, encoding="unicode") + "\n"


def _case(suite: Element, case: Case, t: Texts) -> None:
    seconds = float(case.data["cost"]["seconds"]) if case.report is not None else 0.0
    name = one_line(_ASKED[what(case)].format(claim=case.claim))
    element = SubElement(suite, "testcase", {"classname": one_line(case.name), "name": name, "time": _seconds(seconds)})
    if case.report is None:
        error = SubElement(element, "error", {"message": one_line(case.error), "type": "could-not-run"})
        error.text = one_line(case.error)
        return
    outcome, told = case.report.outcome, "\n".join(_lines(case, t))
    if outcome == "consistent":
        SubElement(element, "system-out").text = told
        return
    ended = SubElement(element, "failure" if outcome == "inconsistent" else "skipped", {"message": title(case, t), "type": outcome})
    ended.text = told


def _lines(case: Case, t: Texts) -> list[str]:
    """All that a reader of one case needs, a sentence a line."""
    data, told = case.data, said(case, t)
    lines = [told.headline, told.meaning, told.certainty, told.caution]
    lines += [f"- {code}: {reason.text}" for code, reason in reasons(data, t)]
    silent = untested(case, t)
    if silent:
        lines.append(t("text.clean"))
        lines += [f"- {t('batch.untested')} · {name}: {why}" for name, why in silent]
    lines += [f"! {each['code']} ({each['strength']}): {t.finding(str(each['code']), str(each['text'])).text}" for each in data["findings"]]
    lines += [each for each in (lineage(data, t),) if each]
    lines.append(t("text.next", next=told.next))
    lines.append(f"{data['target']['origin']} · {data['target']['model']} · {data['id']}")
    return [one_line(line) for line in lines]


def _seconds(value: float) -> str:
    return f"{value:.3f}"
