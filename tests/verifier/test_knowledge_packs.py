"""Answers to questions of knowledge, ours or the user's own, become packs by import and by enrolment, and audits ask them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from fingerprints import choices, knowledge
from fingerprints.catalog import claim
from fingerprints.packs import Pack
from probes.knowledge import KnowledgeProbe
from probes.plan import Plan
from probes.probe import Evidence, Reply
from tests.verifier.stand_ins import Handler, Request, completion, reply, stand_in
from tests.verifier.truename import truename
from verifier import pack_files

STRONG, WEAK = "gpt-4o", "smollm2-135m-instruct"
OURS = {question.text: form for question, form in zip(knowledge.own_questions(), knowledge.own_forms(), strict=True) if form.accept}
CAPITALS = {
    "Norway": "Oslo",
    "Chile": "Santiago",
    "Kenya": "Nairobi",
    "Laos": "Vientiane",
    "Peru": "Lima",
    "Mali": "Bamako",
    "Iran": "Tehran",
}
THEIRS = [
    {"id": f"capital-{land.lower()}", "prompt": f"What is the capital of {land}?", "accept": [capital]}
    for land, capital in CAPITALS.items()
] + [{"id": "dozen", "prompt": "How many is a dozen?", "read_as": "number", "accept": "12"}]


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUENAME_DATA_DIR", str(tmp_path / "data"))


def lines(path: Path, rows: Sequence[dict[str, Any]]) -> str:
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return str(path)


def ours() -> list[dict[str, Any]]:
    """Three models' answers to our questions: one is always right, the others make mistakes of their own."""
    rows = []
    for n, (text, form) in enumerate(OURS.items()):
        told = {STRONG: form.accept[0], WEAK: f"{n} thousand wrongs", "claude-3-5-sonnet": f"{n} other wrongs"}
        rows += [{"prompt": text, "model": model, "response": [answer] * 2} for model, answer in told.items()]
    return rows


def theirs() -> list[dict[str, Any]]:
    told = [(row["id"], {STRONG: f"It is {_right(row)}.", WEAK: "Atlantis"}) for row in THEIRS]
    return [{"prompt_id": name, "model": model, "response": answer} for name, answers in told for model, answer in answers.items()]


def audit(pack: Pack, answer: Callable[[str], str], model: str = STRONG) -> Evidence:
    probe = KnowledgeProbe(Plan(seed=1, claim=claim(model), packs=(pack,), knowledge_answers=30))
    replies: list[Reply] = []
    while wanted := probe.next_round(replies):
        replies += [Reply(ask, status=200, text=answer(ask.messages[0][1]), finish="stop") for ask in wanted]
    return probe.read(replies)


def test_imported_answers_to_our_questions_make_a_pack_that_audits_a_claim(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "known.pack"
    code, said, _ = truename(capsys, "packs", "import", lines(tmp_path / "a.jsonl", ours()), "--out", str(out))
    (pack,) = pack_files.load(out).packs
    assert code == 0 and "3 models" in said and pack.kind == "knowledge"
    assert {question.temperature for question in pack.questions} == {0.0}
    genuine = audit(pack, lambda text: OURS[text].accept[0])
    assert genuine.supports_claim and genuine.best == STRONG and not genuine.findings
    posing = audit(pack, lambda text: f"{list(OURS).index(text)} thousand wrongs")
    assert posing.best == WEAK and [finding.code for finding in posing.findings] == ["knowledge-mismatch"]


def test_questions_of_the_users_own_are_read_as_their_file_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "capitals.pack"
    files = (lines(tmp_path / "questions.jsonl", THEIRS), lines(tmp_path / "answers.jsonl", theirs()))
    assert truename(capsys, "packs", "import", *files, "--out", str(out), "--questions-are", "knowledge")[0] == 0
    (pack,) = pack_files.load(out).packs
    assert knowledge.known(pack, STRONG) == tuple(question.id for question in pack.questions) and not knowledge.known(pack, WEAK)
    right = {row["prompt"]: _right(row) for row in THEIRS}
    assert audit(pack, lambda text: f"{right[text]}!").log_e < 0 and not audit(pack, lambda text: right[text]).findings
    assert [finding.code for finding in audit(pack, lambda text: "Atlantis").findings] == ["knowledge-mismatch"]


def test_questions_without_a_right_answer_are_compared_word_by_word(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "plain.pack"
    rows = [{"prompt": f"Name {n} of them.", "model": model, "response": f"{model} {n}"} for n in range(8) for model in (STRONG, WEAK)]
    assert truename(capsys, "packs", "import", lines(tmp_path / "a.jsonl", rows), "--out", str(out), "--questions-are", "knowledge")[0] == 0
    (pack,) = pack_files.load(out).packs
    found = audit(pack, lambda text: f"{WEAK} {text.split()[1]}")
    assert found.best == WEAK and found.log_e <= 0 and not found.findings  # nothing is known to be wrong


async def test_an_enrolment_asks_the_users_questions_and_still_knows_how_to_read_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, out = tmp_path / "capitals.pack", tmp_path / "enrolled.pack"
    files = (lines(tmp_path / "questions.jsonl", THEIRS), lines(tmp_path / "answers.jsonl", theirs()))
    assert truename(capsys, "packs", "import", *files, "--out", str(first), "--questions-are", "knowledge")[0] == 0
    right = {row["prompt"]: _right(row) for row in THEIRS}
    command = ("--pack", str(first), "--out", str(out), "--yes", "--wire", "openai")
    async with stand_in(_says(lambda text: right[text])) as knows, stand_in(_says(lambda text: "Atlantis")) as misses:
        for server, model in ((knows, "claude-3-opus"), (misses, WEAK)):  # the second joins from the journal
            code, _, err = await asyncio.to_thread(truename, capsys, "enroll", server.base_url, "--as", model, *command)
            assert code == 0, err
        assert {request.json["messages"][0]["content"] for request in knows.requests} == set(right)
        assert all(request.json["temperature"] == 0 for request in knows.requests)
    (pack,) = pack_files.load(out).packs
    assert len(knowledge.known(pack, "claude-3-opus")) == len(THEIRS) and not knowledge.known(pack, WEAK)
    assert [finding.code for finding in audit(pack, lambda text: "Atlantis", "claude-3-opus").findings] == ["knowledge-mismatch"]


def test_answers_to_several_kinds_of_our_questions_are_imported_kind_by_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picks = [{"prompt": choices.own_questions()[0].text, "model": STRONG, "response": ["7"] * 30}]
    source, out = lines(tmp_path / "all.jsonl", ours() + picks), tmp_path / "some.pack"
    code, _, err = truename(capsys, "packs", "import", source, "--out", str(out))
    assert code == 4 and "choice or knowledge" in err and len(err.splitlines()) == 1 and not out.exists()
    code, _, err = truename(capsys, "packs", "import", source, "--out", str(out), "--questions-are", "knowledge")
    assert code == 0 and "1 rows were left out" in err and pack_files.load(out).packs[0].kind == "knowledge"


@pytest.mark.parametrize(
    "rows",
    [
        [{"prompt": "A?", "read_as": "poem", "model": STRONG, "response": "x"}],
        [{"prompt": "A?", "accept": [""], "model": STRONG, "response": "x"}],
        [{"prompt": "A?", "accept": {"x": 1}, "model": STRONG, "response": "x"}],
        [{"prompt": "A?", "accept": each, "model": STRONG, "response": "x"} for each in ("one", "two")],
    ],
)
def test_a_way_of_reading_that_is_none_or_two_is_one_line(
    rows: list[dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "x.pack"
    code, _, err = truename(capsys, "packs", "import", lines(tmp_path / "a.jsonl", rows), "--out", str(out), "--questions-are", "knowledge")
    assert code == 4 and len(err.splitlines()) == 1 and not out.exists()


def _right(row: dict[str, Any]) -> str:
    return row["accept"] if isinstance(row["accept"], str) else str(row["accept"][0])


def _says(answer: Callable[[str], str]) -> Handler:
    async def handle(request: Request, writer: asyncio.StreamWriter) -> None:
        await reply(completion(answer(request.json["messages"][0]["content"])))(request, writer)

    return handle
