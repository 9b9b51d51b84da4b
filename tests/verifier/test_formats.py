"""Markdown, JUnit and SARIF: what CI systems read says what the report says, validates, and stays inert whatever an endpoint wrote."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest
import xmlschema
from markdown_it import MarkdownIt

from api.cli import main
from tests.endpoints import claim_of
from tests.ui.payloads import PAYLOADS
from tests.verifier import pages
from verifier.batch import Batch, Result, folders
from verifier.errors import CannotRunError
from verifier.report.cases import Cases, of_batch, of_error, of_folder, of_report
from verifier.report.junit import render_junit
from verifier.report.markdown import inert, render_markdown
from verifier.report.model import Report
from verifier.report.sarif import FINGERPRINT, codes, render_sarif
from verifier.target import Target
from verifier.targets import Row

DATA = Path(__file__).parents[1] / "data"
DOCS = Path(__file__).parents[2] / "docs"
HOSTILE = (
    *PAYLOADS,
    "@everyone <!-- --> #12 $x$ ](https://evil.example) ![p](x) | a | b |\r\n| c |",
    "www.evil.example mailto:a@evil.example https://evil.example/?q=1 <https://evil.example> ftp://evil.example",
    "\x00\x1b[31m\u202e\ufffe\ud800 ]]> {0} {{1}} `code` ~~~ ***",
)


@cache
def reports() -> dict[str, Report]:
    return {"consistent": pages.honest(), "inconsistent": pages.posing(), "inconclusive": pages.open_question()}


@cache
def hostile() -> Report:
    return pages.hostile(HOSTILE)


def batch() -> Cases:
    whole = batch_of_three()
    return of_batch(whole, folders(whole.results))


def batch_of_three() -> Batch:
    """All three outcomes and an endpoint that is down, under names that their file's writer chose."""
    target = Target.parse("https://relay.example/v1", "m", query=[("k", "secret-value")])
    results = [Result(Row(f"중계 {name}", target, claim_of("llama3"), False), report) for name, report in reports().items()]
    down = Result(Row("@down | <b>", target, claim_of("llama3"), False), None, CannotRunError("it is down", "start it"))
    return Batch((*results, down), 0.01, 0.0025)


def every() -> list[Cases]:
    one = [of_report(report) for report in (*reports().values(), hostile())]
    return [*one, batch(), of_error("https://relay.example", "m", "gpt-4o", CannotRunError("it is down", "start it"))]


@cache
def sarif_schema() -> jsonschema.Draft4Validator:
    return jsonschema.Draft4Validator(json.loads((DATA / "sarif-2.1.0-rtm.5.json").read_text(encoding="utf-8")))


def run_of(cases: Cases) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(render_sarif(cases))
    sarif_schema().validate(document)
    (run,) = document["runs"]
    return dict(run)


def cases_of(junit: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(junit).iter("testcase"))


@pytest.mark.parametrize("lang", ["en", "ko"])
def test_junit_validates_whatever_an_endpoint_wrote(lang: str) -> None:
    schema = xmlschema.XMLSchema11(DATA / "junit.xsd")
    for cases in every():
        schema.validate(render_junit(cases, lang))


def test_the_schema_of_junit_refuses_what_ci_systems_do() -> None:
    schema = xmlschema.XMLSchema11(DATA / "junit.xsd")
    good = render_junit(batch())
    for part, instead in (('tests="4"', 'tests="four"'), ("<skipped ", "<pending "), ('type="inconsistent"', "")):
        assert part in good
        with pytest.raises((xmlschema.XMLSchemaException, ElementTree.ParseError)):
            schema.validate(good.replace(part, instead))


def test_each_outcome_is_its_own_kind_of_case_and_none_but_a_clearance_passes() -> None:
    rows = cases_of(render_junit(batch()))
    ended = [[child.tag for child in row] for row in rows]
    assert ended == [["system-out"], ["failure"], ["skipped"], ["error"]]
    suite = ElementTree.fromstring(render_junit(batch())).find("testsuite")
    assert suite is not None
    assert [suite.get(name) for name in ("tests", "failures", "errors", "skipped")] == ["4", "1", "1", "1"]
    assert rows[0].get("name") == "serves some-llama3-model" and rows[0].get("classname") == "중계 consistent"


def test_a_case_that_passes_or_is_skipped_names_what_was_not_tested() -> None:
    for name in ("consistent", "inconclusive"):
        (row,) = cases_of(render_junit(of_report(reports()[name])))
        assert "Not tested is not clean" in (row[0].text or "") and "were not tested" not in (row.get("name") or "")
        for channel in ("Log-probability tokens", "Free choices"):
            assert f"- Not tested · {channel}: " in (row[0].text or "")


def test_sarif_validates_whatever_an_endpoint_wrote() -> None:
    for cases in every():
        run_of(cases)


def test_no_message_of_sarif_holds_a_link_a_placeholder_or_a_hidden_sign() -> None:
    told = [each["message"]["text"] for each in run_of(of_report(hostile()))["results"]]
    assert any("⟦ESC⟧" in text for text in told) and any("{{0}}" in text for text in told)
    for text in told:
        assert "](" not in text and not re.search(r"(?<!\{)\{(?!\{)", text.replace("{{", "")) and not re.search("[\x00-\x1f\u202e]", text)


def test_the_schema_of_sarif_refuses_what_it_does_not_know() -> None:
    document = json.loads(render_sarif(batch()))
    document["runs"][0]["results"][0]["level"] = "fatal"
    assert not sarif_schema().is_valid(document)


def test_only_what_an_accusation_rests_on_is_an_error() -> None:
    for name in ("consistent", "inconclusive"):
        assert not [each for each in run_of(of_report(reports()[name]))["results"] if each["level"] == "error"], name
    errors = {each["ruleId"] for each in run_of(of_report(reports()["inconsistent"]))["results"] if each["level"] == "error"}
    assert "verdict/inconsistent" in errors and any(rule.endswith("-contradict") for rule in errors)


def test_what_was_not_tested_or_not_decided_is_open_and_no_pass() -> None:
    results = {each["ruleId"]: each for each in run_of(of_report(reports()["inconclusive"]))["results"]}
    assert results["verdict/inconclusive"]["kind"] == "open" and results["reason/not-tested"]["kind"] == "open"
    assert results["verdict/inconclusive"]["level"] == "none"


def test_what_matches_the_claim_opens_no_alert_and_what_was_not_tested_does() -> None:
    """Code-scanning systems show every result as an alert, whatever its kind."""
    results = run_of(of_report(reports()["consistent"]))["results"]
    assert {each["ruleId"] for each in results} == {"reason/not-tested"} and results[0]["kind"] == "open"


def test_an_alert_has_the_same_fingerprint_in_the_next_audit_and_another_for_another_endpoint() -> None:
    first, again = reports()["inconsistent"], pages.posing()
    prints = [[each["partialFingerprints"][FINGERPRINT] for each in run_of(of_report(report))["results"]] for report in (first, again)]
    assert prints[0] == prints[1] and len(set(prints[0])) == len(prints[0])
    rows = run_of(batch())["results"]
    assert not set(prints[0]) & {each["partialFingerprints"][FINGERPRINT] for each in rows}


def test_every_result_has_a_rule_with_a_help_text_and_a_place_without_secrets() -> None:
    run = run_of(batch())
    rules = run["tool"]["driver"]["rules"]
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"] and rules[result["ruleIndex"]]["help"]["text"]
        (place,) = result["locations"]
        assert place["logicalLocations"][0]["fullyQualifiedName"] == "https://relay.example#m"
        assert re.fullmatch(r"\d{3}-.*/report\.json", place["physicalLocation"]["artifactLocation"]["uri"])
    assert "secret" not in json.dumps(run) and "relay.example/v1" not in json.dumps(run)


def test_an_endpoint_that_could_not_be_audited_is_a_failed_run_and_not_an_absence() -> None:
    (invocation,) = run_of(batch())["invocations"]
    assert invocation["executionSuccessful"] is False and invocation["exitCode"] == 1
    told = {each["message"]["text"]: each["level"] for each in invocation["toolExecutionNotifications"]}
    assert told == {
        "중계 consistent: The replies are consistent with some-llama3-model.": "note",
        "@down | <b>: it is down; start it": "error",
    }


def test_the_rules_are_the_codes_that_the_documentation_lists() -> None:
    page = (DOCS / "verdicts.md").read_text(encoding="utf-8")
    listed = {code for row in re.findall(r"^\| ([a-z, -]+) \| (?!meaning|what)", page, re.MULTILINE) for code in row.split(", ")}
    listed |= set(re.findall(r"\| (paired-[a-z]+)", page))
    schema = json.loads((DOCS / "report.schema.json").read_text(encoding="utf-8"))
    findings = set(schema["properties"]["findings"]["items"]["properties"]["code"]["enum"])
    assert {code for code in listed if "-" in code} - set(codes()["reason"]) == set()
    assert set(codes()["reason"]) - set(re.findall(r"[a-z]+(?:-[a-z]+)*", page)) == set()
    assert set(codes()["finding"]) == findings


def html(markdown: str) -> str:
    """As a CommonMark renderer with tables draws it."""
    return MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(markdown)


@pytest.mark.parametrize("lang", ["en", "ko"])
def test_markdown_is_inert_whatever_an_endpoint_wrote(lang: str) -> None:
    allowed = {"h2", "h3", "p", "strong", "ul", "li", "code", "table", "thead", "tbody", "tr", "th", "td"}
    for cases in every():
        text = render_markdown(cases, lang)
        drawn = html(text)
        assert {tag.lower() for tag in re.findall(r"</?([a-zA-Z!][^\s>]*)", drawn)} <= allowed
        assert not re.search(r"[@$]|(?<!&)#\d|(?<!\\)://|(?i:www)\.", text.replace("&#", ""))
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]", text)


@pytest.mark.parametrize(
    ("reference", "outcome"), [(False, "consistent"), (False, "inconclusive"), (True, "consistent"), (True, "inconsistent")]
)
def test_identifications_and_comparisons_have_all_forms(reference: bool, outcome: str) -> None:
    data = json.loads(reports()["inconclusive"].to_json())
    data["claim"]["model"], data["verdict"]["outcome"] = None, outcome
    data["reference"] = dict(data["target"], origin="https://genuine.example") if reference else None
    cases = of_report(Report(data, b""))
    (row,) = cases_of(render_junit(cases))
    assert row.get("name") == ("serves the same as the reference" if reference else "can be named")
    assert [child.tag for child in row] == [{"consistent": "system-out", "inconsistent": "failure", "inconclusive": "skipped"}[outcome]]
    assert run_of(cases)["invocations"][0]["exitCode"] == {"consistent": 0, "inconsistent": 1, "inconclusive": 3}[outcome]
    assert ("genuine.example" in render_markdown(cases)) == reference


def test_a_batchs_folder_gives_the_same_rows_as_the_batch_itself(tmp_path: Path) -> None:
    batch_of_three().save(tmp_path)
    again = of_folder(tmp_path)
    assert render_junit(again) == render_junit(batch()) and again.exit_code == 1
    assert render_sarif(again).count('"ruleId"') == render_sarif(batch()).count('"ruleId"')


@pytest.mark.parametrize("text", ["", "[]", '{"rows": [{"name": "x"}], "alpha": 1, "row_alpha": 1}', '{"rows": 3}'])
def test_a_batch_that_cannot_be_read_is_refused_in_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "batch.json").write_text(text, encoding="utf-8")
    with pytest.raises(CannotRunError):
        of_folder(tmp_path)


def test_every_row_of_the_table_has_every_column() -> None:
    drawn = html(render_markdown(batch()))
    rows = re.findall(r"<tr>(.*?)</tr>", drawn, re.DOTALL)
    assert len(rows) == 5 and {len(re.findall("<t[hd]", row)) for row in rows} == {8}


def test_hostile_names_are_shown_and_not_swallowed() -> None:
    assert html(inert("<img src=x> | `a` **b** [c](d)")) == "<p>&lt;img src=x&gt; | `a` **b** [c](d)</p>\n"
    assert inert("@team #5 $x$") == "＠team ＃5 ＄x＄"
    assert "⟦ESC⟧" in inert("\x1b[2J") and "⟦U+202E⟧" in inert("\u202e")


def test_markdown_says_the_verdict_first_and_what_was_not_tested() -> None:
    for name, report in reports().items():
        text = render_markdown(of_report(report))
        assert text.startswith("## ") and "Not tested is not clean" in text and name in reports()
        assert "What this does not say" in text and "Log-probability tokens" in text


def test_a_batch_of_a_thousand_stays_below_the_limit_of_a_job_summary() -> None:
    rows = batch().rows
    text = render_markdown(Cases(rows * 250, (0.01, 0.001)))
    assert len(text.encode()) < 1_000_000 and text.count("\n| ") == 1001 + 1


@pytest.mark.parametrize("form", ["markdown", "junit", "sarif"])
def test_judge_prints_the_form_and_keeps_the_exit_code(form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reports()["inconsistent"].save(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["judge", str(tmp_path), "--format", form])
    out = capsys.readouterr().out
    assert ended.value.code == 1
    assert out == {"markdown": render_markdown, "junit": render_junit, "sarif": render_sarif}[form](of_report(reports()["inconsistent"]))


@pytest.mark.parametrize("form", ["markdown", "junit", "sarif"])
def test_an_endpoint_that_is_down_is_printed_too_and_exits_with_4(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["audit", "http://127.0.0.1:9/v1", "--claim", "gpt-4o", "--format", form, "--timeout", "1"])
    out, err = capsys.readouterr()
    assert ended.value.code == 4 and "unreachable" in out and "truename: " in err
