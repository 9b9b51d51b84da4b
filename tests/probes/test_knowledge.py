"""Knowledge counts against a claim only where the endpoint knows less than the claimed model; searches, dates and personas never accuse."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fingerprints import knowledge
from fingerprints.catalog import claim
from fingerprints.knowledge_answers import DECLINED, Form, FormError, key
from fingerprints.pack_file import pack_bytes, read_pack
from fingerprints.pack_sources import pack_model
from fingerprints.packs import Pack, PackError
from fingerprints.questions import Question, text_digest
from probes.knowledge import KnowledgeProbe
from probes.plan import Plan
from probes.probe import Evidence, Reply, ReplyError, Usage
from verifier import enrolling
from verifier.enrolment_journal import Enrolment, Journal
from verifier.question_store import QuestionStore

STRONG, WEAK, OTHER = "gpt-4o", "smollm2-135m-instruct", "claude-3-5-sonnet"
QUESTIONS = knowledge.own_questions()
FORMS = {question.id: form for question, form in zip(QUESTIONS, knowledge.own_forms(), strict=True)}
Answer = Callable[[Question], str]


def right(question: Question) -> str:
    return FORMS[question.id].accept[0] if FORMS[question.id].accept else "17"


def wrong(question: Question) -> str:
    """A stable mistake, one of its own for every question."""
    return f"{int(text_digest(question.id)[:6], 16)}" if FORMS[question.id].kind != "words" else f"Wrong {question.id}"


def half(question: Question) -> str:
    return right(question) if int(text_digest(question.id)[:2], 16) % 2 else wrong(question)


def pack(models: Mapping[str, Answer] | None = None, expires: str | None = None) -> Pack:
    known = models or {STRONG: right, WEAK: wrong, OTHER: half}
    answers = {(question.id, name): [given(question)] * 2 for name, given in known.items() for question in QUESTIONS}
    made = [pack_model(name, 1) for name in known]
    return knowledge.build_pack("local", "1", "2026-01-02", QUESTIONS, answers, made, "recorded in a test", "CC0", expires)


def audit(
    answer: Answer, model: str | None = STRONG, *packs: Pack, today: date | None = None, asks: int = 30
) -> tuple[Evidence, list[Reply]]:
    plan = Plan(seed=1, claim=claim(model) if model else None, packs=packs or (pack(),), today=today, knowledge_answers=asks)
    probe = KnowledgeProbe(plan)
    by_text = {question.text: question for question in QUESTIONS}
    replies: list[Reply] = []
    while wanted := probe.next_round(replies):
        replies += [Reply(ask, status=200, text=answer(by_text[ask.messages[0][1]]), finish="stop") for ask in wanted]
    return probe.read(replies), replies


def test_our_questions_are_short_own_and_of_every_kind() -> None:
    assert len(QUESTIONS) == 30 and {question.kind for question in QUESTIONS} == {"knowledge"}
    assert sum(question.language == "ko" for question in QUESTIONS) >= 8
    assert {form.kind for form in FORMS.values()} == {"words", "number", "version"}
    for question in QUESTIONS:
        assert question.source is None and question.text is not None and "{review}" not in question.text
        assert "today" not in question.text and "current" not in question.text and "오늘" not in question.text
        assert not FORMS[question.id].accept or key(FORMS[question.id], FORMS[question.id].accept[0]) == FORMS[question.id].right


def test_no_deformed_review_gives_its_answer_away() -> None:
    for question in QUESTIONS:
        if question.id.startswith("review-ko"):
            assert not any(each in (question.text or "") for each in FORMS[question.id].accept if not each.isdecimal()), question.id


def test_the_claimed_models_own_answers_support_it_and_say_nothing_against() -> None:
    found, replies = audit(right)
    assert found.tested and found.supports_claim and found.best == STRONG and found.log_e <= 0
    assert len(replies) == 30 and all(reply.ask.temperature == 0.0 for reply in replies)


def test_lost_knowledge_speaks_against_the_claim_within_its_bound() -> None:
    found, _ = audit(wrong)
    assert found.best == WEAK and not found.supports_claim
    assert math.isclose(found.log_e, knowledge.MAX_LOG_E)
    (finding,) = found.findings
    assert finding.code == "knowledge-mismatch" and finding.strength == "moderate" and "27 of 27" in finding.text


def test_more_knowledge_than_claimed_never_speaks_against_a_claim() -> None:
    """A web search, tools or a told date: an honest endpoint of a weak model answers right where its references are wrong."""
    found, _ = audit(right, WEAK)
    assert found.tested and found.log_e <= 0 and not found.findings and not found.supports_claim


def test_a_few_lapses_of_an_honest_endpoint_are_no_finding() -> None:
    for lapses in range(5):
        ids = {question.id for question in QUESTIONS[:lapses]}
        found, _ = audit(lambda question, ids=ids: wrong(question) if question.id in ids else right(question))  # type: ignore[misc]
        assert not found.findings and found.log_e < math.log(2)


def test_refusing_to_answer_is_no_lost_knowledge() -> None:
    found, _ = audit(lambda question: "I'm sorry, I cannot answer questions about this.")
    assert found.log_e <= 0 and not found.findings and not found.supports_claim


def test_what_every_model_knows_supports_nobody() -> None:
    alike = pack({STRONG: right, OTHER: right})
    found, _ = audit(right, STRONG, alike)
    assert found.tested and not found.supports_claim


def test_a_model_without_references_is_unknown_rather_than_the_nearest() -> None:
    found, _ = audit(lambda question: f"another {question.id}", None)
    assert found.best is None and max(found.log_likelihood, key=lambda name: found.log_likelihood[name]) == "unknown"


def test_what_it_says_of_candidates_is_bounded() -> None:
    for answer in (right, wrong, half):
        logs = audit(answer)[0].log_likelihood
        assert max(logs.values()) == 0.0 and min(logs.values()) >= -knowledge.BOUND


def test_only_where_references_of_the_claim_exist_is_anything_asked() -> None:
    found, replies = audit(right, "claude-3-opus")
    assert not replies and not found.tested and "enroll" in (found.why_not or "")
    nothing = KnowledgeProbe(Plan(seed=1, claim=claim(STRONG)))
    assert not nothing.next_round([]) and "no knowledge pack" in (nothing.read([]).why_not or "")
    found, replies = audit(right, STRONG, asks=0)
    assert not replies and "--suite deep" in (found.why_not or "")


def test_an_outdated_pack_does_not_accuse_or_support() -> None:
    late = pack({STRONG: right, WEAK: wrong}, "2026-02-01")
    found, _ = audit(wrong, STRONG, late, today=date(2026, 3, 1))
    assert found.log_e <= 0 and {finding.code for finding in found.findings} == {"pack-expired"}
    assert not audit(right, STRONG, late, today=date(2026, 3, 1))[0].supports_claim


def test_outages_and_hidden_thinking_are_not_evidence() -> None:
    probe = KnowledgeProbe(Plan(seed=1, claim=claim(STRONG), packs=(pack(),)))
    asks = probe.next_round([])
    failed = [Reply(ask, error=ReplyError("timeout", "no answer")) for ask in asks]
    assert not probe.next_round(failed) and not probe.read(failed).tested
    thought = [Reply(ask, status=200, text="Let me", finish="length", usage=Usage(9, 32, None, 32)) for ask in asks]
    assert not probe.read(thought).tested


def test_a_pack_travels_and_holds_no_answer() -> None:
    made = pack()
    data = pack_bytes(made)
    again = read_pack(data)
    assert again.digest == made.digest and again.kind == "knowledge"
    assert audit(right, STRONG, again)[0] == audit(right, STRONG, made)[0]
    assert b"Wrong " not in data


def test_a_question_whose_answers_nobody_can_read_makes_no_pack() -> None:
    strange = Question("x", text_digest("Why?"), "knowledge", "en", "Why?", None, 16, 0.0)
    with pytest.raises(PackError, match="not known how"):
        knowledge.build_pack("n", "1", "2026-01-02", [strange], {("x", "m"): ["a"]}, [pack_model("m", 1)], "o", "l", None)


def test_an_enrolment_asks_them_and_makes_a_pack_that_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUENAME_DATA_DIR", str(tmp_path / "data"))
    offered = [question for question in enrolling.questions_for((), QuestionStore()) if question.kind == "knowledge"]
    assert [question.sha256 for question in offered] == [question.sha256 for question in QUESTIONS]
    journal = Journal(tmp_path / "local.pack")
    journal.begin(offered, Enrolment(STRONG, "http://127.0.0.1:1", "2026-01-02", {"knowledge": enrolling.KNOWLEDGE_SAMPLES}))
    for question in offered * enrolling.KNOWLEDGE_SAMPLES:
        journal.add(question.id, STRONG, right(question))
    (made,), problems = enrolling.build(Journal(tmp_path / "local.pack"), "local", "CC0")
    assert not problems and made.kind == "knowledge" and made.models[0].samples == 60
    found, replies = audit(wrong, STRONG, made)
    assert len(replies) == 30 and {finding.code for finding in found.findings} == {"knowledge-mismatch"}


READ = [
    ("words", ("Krejčíková",), "KREJCIKOVA.", "right"),
    ("words", ("바퀴벌레",), "손님이 본 벌레는 바퀴 벌레입니다.", "right"),
    ("words", ("바퀴벌레",), unicodedata.normalize("NFD", "바퀴벌레"), "right"),
    ("words", ("Han",), "The answer is Hanson", "other"),
    ("words", ("Italy",), "<think>Italy?</think> Spain", "other"),
    ("words", ("Italy",), "I don't know.", "declined"),
    ("words", ("Italy",), "죄송합니다. 확인할 수 없습니다.", "declined"),
    ("number", ("277368",), "277,368", "right"),
    ("number", ("30000", "삼만"), "３００００원", "right"),
    ("number", ("30000", "삼만"), "삼만 원입니다", "right"),
    ("number", ("4",), "The remainder is 4.5", "other"),
    ("version", (), "3.12.1", "other"),
    ("words", ("Italy",), "   ", "nothing"),
]


@pytest.mark.parametrize(("kind", "accept", "text", "what"), READ)
def test_an_answer_is_read(kind: str, accept: tuple[str, ...], text: str, what: str) -> None:
    form = Form(kind, accept)
    found = key(form, text)
    meant = "right" if found and found == form.right else {0: "nothing", DECLINED: "declined"}.get(found, "other")
    assert meant == what


def test_the_same_wrong_answer_in_other_words_is_the_same() -> None:
    form = Form("words", ("Italy",))
    assert key(form, "The answer is Spain.") == key(form, "spain") != key(form, "France")


@pytest.mark.parametrize("data", [None, {}, {"kind": "words"}, {"kind": "poem", "accept": []}, {"kind": "words", "accept": ["" * 2]}])
def test_a_strangers_form_is_refused(data: object) -> None:
    with pytest.raises(FormError):
        Form.from_json(data)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=200))
def test_any_answer_is_survived(text: str) -> None:
    found, _ = audit(lambda question: text)
    assert found.log_e <= knowledge.MAX_LOG_E + 1e-9
