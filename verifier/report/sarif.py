"""SARIF 2.1.0 (OASIS) for code-scanning systems: one run, one result per endpoint and rule.

Takes Cases, gives the document. Verdict, reasons and findings are results under rules of their own. Level `error` is kept for what an
*inconsistent* verdict rests on; what was not tested or not decided is `open`, neither a pass nor a failure. What matches the claim is a
notification and no result: code-scanning systems show every result as an alert. A location names the endpoint's origin and the report's
file: never a path of the endpoint, a query or a key.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

from verifier.report.cases import Case, Cases, one_line, said
from verifier.report.texts import texts
from verifier.version import VERSION

JSON = dict[str, Any]
SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
FINGERPRINT = "truenameEndpointRule/v1"
"""Of origin, model name, claim and rule: the same over repeated audits, so that a system shows one alert and not one a day."""
_STRENGTH = {"strong": "warning", "moderate": "warning", "weak": "note"}
_LEVELS = ("error", "warning", "note", "none")
_PASSES = ("named", "paired-same")
_FAILS = ("paired-differ",)
_OPEN = frozenset(
    "not-tested undecided unknown-tokenizer one-channel one-explanation channels-disagree no-vocabulary-known batch-error "
    "paired-undecided counts-recountable".split()
)
"""Reasons that leave a question open; other reasons than these, matches and contradictions inform."""


def render_sarif(cases: Cases) -> str:
    """The document, in English."""
    rules = _rules()
    index = {rule["id"]: number for number, rule in enumerate(rules)}
    results = [result for case in cases.rows if case.report is not None for result in _results(case, index)]
    failed = [case for case in cases.rows if case.report is None]
    invocation: JSON = {"executionSuccessful": not failed, "exitCode": cases.exit_code}
    invocation["toolExecutionNotifications"] = [_notification(case) for case in cases.rows if case.exit_code in (0, 4)]
    run: JSON = {
        "tool": {"driver": {"name": "Truename", "semanticVersion": VERSION, "rules": rules}},
        "automationDetails": {"id": "truename/"},
        "invocations": [invocation],
        "columnKind": "unicodeCodePoints",
        "results": results,
    }
    if cases.batch is not None:
        run["properties"] = {"alpha": cases.batch[0], "rowAlpha": cases.batch[1]}
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, ensure_ascii=False, indent=2) + "\n"


@cache
def codes() -> Mapping[str, Mapping[str, str]]:
    """What each code says: verdict, finding, reason -> code -> sentence."""
    table: dict[str, dict[str, str]] = tomllib.loads((resources.files("verifier.report") / "codes.toml").read_text(encoding="utf-8"))
    return table


def _rules() -> list[JSON]:
    t = texts("en")
    return [
        {
            "id": f"{group}/{code}",
            "name": "".join(word.capitalize() for word in (group, *code.split("-"))),
            "shortDescription": {"text": t.get(f"{group}.{code}", code.replace("-", " ").capitalize())},
            "fullDescription": {"text": text},
            "help": {"text": f"{text} See docs/{'reading-a-report' if group == 'finding' else 'verdicts'}.md for what it rests on."},
            "defaultConfiguration": {"level": "error" if (group, code) == ("verdict", "inconsistent") else "note"},
        }
        for group, of_group in codes().items()
        for code, text in of_group.items()
    ]


def _results(case: Case, index: Mapping[str, int]) -> list[JSON]:
    """One result per rule: what several channels say under one code is one alert."""
    accused = case.exit_code == 1
    told, verdict = said(case, texts("en")), case.data["verdict"]
    head = " ".join((told.headline, told.meaning, told.certainty, told.caution))
    found = {f"verdict/{verdict['outcome']}": ([head], *_verdict(str(verdict["outcome"])))}
    for group, entries in (("reason", verdict["reasons"]), ("finding", case.data["findings"])):
        for entry in entries:
            code = one_line(entry["code"])
            kind, level = _reason(code, accused) if group == "reason" else _finding(str(entry["strength"]), accused)
            sentences, before, strongest = found.setdefault(f"{group}/{code}", ([], kind, level))
            sentences.append(str(entry["text"]))
            found[f"{group}/{code}"] = (sentences, before, min(strongest, level, key=_LEVELS.index))
    return [_result(case, rule, index, *what) for rule, what in found.items() if what[1] != "pass"]


def _notification(case: Case) -> JSON:
    """An endpoint that passed, or that could not be audited."""
    passed = case.report is not None
    text = said(case, texts("en")).headline if passed else case.error
    return {"level": "note" if passed else "error", "message": _message(f"{case.name}: {text}"), "locations": [_location(case)]}


def _verdict(outcome: str) -> tuple[str, str]:
    return {"consistent": ("pass", "none"), "inconsistent": ("fail", "error")}.get(outcome, ("open", "none"))


def _reason(code: str, accused: bool) -> tuple[str, str]:
    """(kind, level) of a reason. A contradiction that carries no accusation is a note."""
    if code.endswith("-match") or code in _PASSES:
        return "pass", "none"
    if code.endswith("-contradict") or code in _FAILS:
        return "fail", "error" if accused else "note"
    return ("open" if code in _OPEN else "informational"), "none"


def _finding(strength: str, accused: bool) -> tuple[str, str]:
    """(kind, level) of a finding, by its strength. It is an error only beside an accusation: a finding decides nothing by itself."""
    return "fail", "error" if accused and strength == "strong" else _STRENGTH.get(strength, "note")


def _result(case: Case, rule: str, index: Mapping[str, int], sentences: list[str], kind: str, level: str) -> JSON:
    identity = json.dumps([case.origin, case.model, case.claim, rule], ensure_ascii=False)
    result: JSON = {
        "ruleId": rule,
        "kind": kind,
        "level": level,
        "message": _message(" ".join(sentences)),
        "locations": [_location(case)],
        "partialFingerprints": {FINGERPRINT: hashlib.sha256(identity.encode("utf-8", "replace")).hexdigest()},
        "properties": {"report": case.data["id"]},
    }
    if rule in index:
        result["ruleIndex"] = index[rule]
    return result


def _message(text: str) -> JSON:
    """Plain text of SARIF: braces are doubled and no bracket pair reads as an embedded link (3.11.5, 3.11.6)."""
    return {"text": one_line(text).replace("{", "{{").replace("}", "}}").replace("](", "] (")}


def _location(case: Case) -> JSON:
    """The endpoint, and the file that holds the evidence: code-scanning systems refuse a result without a file."""
    origin = one_line(case.origin)
    return {
        "physicalLocation": {
            "artifactLocation": {"uri": f"{case.folder}/report.json" if case.folder else "report.json"},
            "region": {"startLine": 1},
        },
        "logicalLocations": [{"name": one_line(case.model), "fullyQualifiedName": f"{origin}#{one_line(case.model)}", "kind": "resource"}],
    }
