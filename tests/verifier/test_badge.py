"""A badge is drawn of a report that holds, and of no other; a page that cannot be drawn loses no report."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from api.cli import main
from tests.verifier import pages
from tests.verifier.signed import small_report
from verifier.badge import render_badge, text_width
from verifier.report.model import Report

SVG = "{http://www.w3.org/2000/svg}"


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Exit code and stderr."""
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    return int(stop.value.code or 0), capsys.readouterr().err


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    small_report().save(tmp_path)
    return tmp_path


def parsed(data: dict[str, object], lang: str = "en") -> ElementTree.Element:
    return ElementTree.fromstring(render_badge(data, lang))


def test_a_badge_says_claim_verdict_and_date_in_a_title_too(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "badge", str(folder))[0] == 0
    picture = ElementTree.fromstring((folder / "badge.svg").read_text(encoding="utf-8"))
    texts = [each.text for each in picture.iter(f"{SVG}text")]
    assert texts == ["some-llama3-model", "Inconsistent · 2026-01-02"]
    assert "not consistent with some-llama3-model. 2026-01-02" in (picture.findtext(f"{SVG}title") or "")
    assert picture.get("role") == "img"


def test_the_folder_still_verifies_with_its_badge_and_the_badge_goes_where_out_says(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, "badge", str(folder), "--out", str(tmp_path / "elsewhere.svg"), "--lang", "ko")[0] == 0
    assert not (folder / "badge.svg").exists() and "일치하지 않음" in (tmp_path / "elsewhere.svg").read_text(encoding="utf-8")
    assert run(capsys, "badge", str(folder))[0] == 0
    assert run(capsys, "verify", str(folder))[0] == 0


@pytest.mark.parametrize("name", ["report.json", "transcript.jsonl.gz", "report.html", "report.dsse.json"])
def test_a_report_that_does_not_hold_gets_no_badge(folder: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    code, err = run(capsys, "badge", str(folder))
    assert code == 1 and "does not hold, so there is no badge" in err
    assert not (folder / "badge.svg").exists()


def test_an_unsigned_report_gets_no_badge(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "report.dsse.json").unlink()
    code, err = run(capsys, "badge", str(folder))
    assert code == 4 and "unsigned" in err and not (folder / "badge.svg").exists()


def test_a_report_that_was_not_judged_again_gets_a_badge_and_a_note(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("verifier.auditing.other_digests", lambda *_: "note: other signatures are installed")
    code, err = run(capsys, "badge", str(folder))
    assert code == 3 and "was not judged again" in err and (folder / "badge.svg").exists()


def test_a_folder_of_many_reports_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        small_report().save(tmp_path / name)
    assert run(capsys, "badge", str(tmp_path))[0] == 2


def test_hostile_names_stay_text_and_nothing_is_loaded() -> None:
    payloads = ["<script>hit()</script>", '"/><image href="https://payload.invalid/x"/>', "\x1b\u202e\x00", "]]>&amp;", "한국어 모델 " * 30]
    for lang in ("en", "ko"):
        text = render_badge(dict(pages.hostile([*payloads, *"abcdefgh"]).data), lang)
        picture = ElementTree.fromstring(text)
        assert {each.tag.removeprefix(SVG) for each in picture.iter()} == {"svg", "title", "desc", "rect", "g", "text"}
        assert not {name for each in picture.iter() for name in each.attrib} & {"href", "onload", "style", "src"}
        assert "url(" not in text and "\u202e" not in text


def test_korean_signs_are_given_their_full_width() -> None:
    assert text_width("가나다라") == 44 > text_width("abcd") > text_width("iiii")
    data = json.loads(small_report().to_json())
    data["claim"]["model"] = "엑사원-4.0-32b"
    picture = parsed(data, "ko")
    width = int(picture.get("width") or 0)
    ends = [int(each.get("x") or 0) + int(each.get("textLength") or 0) for each in picture.iter(f"{SVG}text")]
    assert max(ends) + 6 == width
    assert [each.text for each in picture.iter(f"{SVG}text")] == ["엑사원-4.0-32b", "주장과 일치하지 않음 · 2026-01-02"]


def test_a_clearance_names_its_resolution() -> None:
    data = json.loads(pages.honest().to_json())
    assert [each.text for each in parsed(data).iter(f"{SVG}text")][1] == "Consistent (tokenizer) · 2026-01-02"


def broken(*_: object, **__: object) -> bytes:
    raise RecursionError("a page that nobody thought of")


def test_a_page_that_cannot_be_drawn_loses_no_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An earlier report's page and badge may lie there: the page must go, or the folder would not verify."""
    small_report().save(tmp_path)
    monkeypatch.setattr("verifier.publishing.render_html", broken)
    saved: Report = pages.open_question().save(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"report.json", "transcript.jsonl.gz", "report.dsse.json"}
    assert (tmp_path / "report.json").read_bytes() == saved.to_bytes()
    assert run(capsys, "verify", str(tmp_path))[0] == 0


def test_the_command_says_in_one_line_that_the_page_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def audited(*_: object, **__: object) -> Report:
        return small_report()

    monkeypatch.setattr("verifier.publishing.render_html", broken)
    monkeypatch.setattr("verifier.auditing.audit_target", audited)
    code, err = run(capsys, "audit", "http://127.0.0.1:9/v1", "--claim", "gpt-4o", "--out", str(tmp_path / "out"))
    lines = [line for line in err.splitlines() if "page could not be drawn" in line]
    assert code == 1 and len(lines) == 1 and "Traceback" not in err
    assert (tmp_path / "out" / "report.dsse.json").exists()
