"""Reads the published forms of recorded answers: number picks, AlpacaEval outputs, Arena-Hard answers, plain JSON lines.

Takes the bytes of files and gives rows of (question, model, answer) with the questions' texts, whatever the form; PackError with one
line where a file has none. Nothing is guessed: a row without a model or an answer is counted and left out, and a question of our own is
known by its digest alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

from fingerprints import catalog, choices, knowledge, published, question_sources, same_prompt
from fingerprints.knowledge_answers import Form as AnswerForm
from fingerprints.knowledge_answers import FormError
from fingerprints.packs import PackError, PackModel
from fingerprints.questions import Question, QuestionKind, Source, text_digest

Form = Literal["number-picks", "alpaca-eval", "arena-hard", "jsonl"]
FORMS: tuple[Form, ...] = ("number-picks", "alpaca-eval", "arena-hard", "jsonl")

# SHA-256 of the question of the number picks (RANDOM_PROMPT at its source), which their file does not hold.
NUMBER_PICKS_SHA256 = "f8b36644e497858790b113aafc049eb2957c1a5019d56635573f8befeac6027d"
# As their publisher asked it: temperature 1, and room for an integer among a few words.
_PICK_TOKENS = 16
_PICK_TEMPERATURE = 1.0
OPEN_TOKENS = 1_024
"""Room for an answer to an open question whose form does not say what it was given."""
MAX_ROWS = 2_000_000


@dataclass(slots=True)
class Recorded:
    """Questions and what models answered."""

    form: Form
    questions: list[Question]
    """Texts are filled in wherever a file held them."""
    answers: dict[tuple[str, str], list[str]]
    """(question id, model name) -> answers in the files' order."""
    left_out: int = 0
    """Rows without a question, a model or an answer."""
    unknown_questions: list[str] = field(default_factory=list)
    """Ids that rows answer and no file explains."""
    answer_forms: dict[str, AnswerForm] = field(default_factory=dict)
    """How answers to questions of knowledge are read, by the question's digest; ours are left out."""


def read(files: Mapping[str, bytes], form: Form | None = None, language: str = "en", kind: QuestionKind | None = None) -> Recorded:
    """The answers in `files` (name -> bytes, plain or gzip); without `form`, what the first file with answers looks like.

    `kind` says what questions are that are not our own; answers to our own of another kind are left out. Raises PackError where no file
    holds answers in that form, none whose question is known, or answers to questions of several kinds."""
    documents = {name: published.documents(data) for name, data in files.items()}
    rows = [row for each in documents.values() for document in each for row in _rows(document)]
    if len(rows) > MAX_ROWS:
        raise PackError(f"the files hold more than {MAX_ROWS} rows")
    chosen = form or next((found for row in rows if (found := _form_of(row))), None)
    if chosen is None:
        raise PackError("the files hold no recorded answers: number picks, AlpacaEval outputs, Arena-Hard answers or JSON lines")
    if chosen == "number-picks":
        return _number_picks(rows)
    texts = _texts(documents.values())
    recorded = Recorded(chosen, [], {})
    known: dict[str, Question] = {}
    for row in rows:
        if _form_of(row) != chosen:
            continue
        question_id, text, model, answers = _row(row, chosen)
        text = texts.get(question_id, text)
        if not question_id or not model or not answers:
            recorded.left_out += 1
        elif text is None:
            recorded.left_out += 1
            if question_id not in recorded.unknown_questions:
                recorded.unknown_questions.append(question_id)
        else:
            if question_id not in known:
                known[question_id] = _question(question_id, text, chosen, language, kind or "open")
            if kind in (None, known[question_id].kind):
                recorded.answers.setdefault((question_id, model), []).extend(answers)
            else:
                recorded.left_out += 1
    answered = {question_id for question_id, _ in recorded.answers}
    recorded.questions = _once({name: question for name, question in known.items() if name in answered}, recorded)
    kinds = sorted({question.kind for question in recorded.questions})
    if len(kinds) > 1:
        raise PackError(f"the files answer questions of several kinds: import each by itself, with --questions-are {' or '.join(kinds)}")
    if kinds == ["knowledge"]:
        recorded.answer_forms = _answer_forms(rows, recorded.questions)
    if not recorded.questions:
        hint = (
            f": {len(recorded.unknown_questions)} questions have no text here (give their file too)" if recorded.unknown_questions else ""
        )
        raise PackError(f"the files hold no answer of the form {chosen}{hint}")
    return recorded


def models(recorded: Recorded) -> tuple[list[PackModel], dict[tuple[str, str], list[str]]]:
    """The models of `recorded` as a pack names them, and the answers under those names.

    A model has the catalog's spelling where the catalog knows it, unless several of the names mean the same model there (dated
    versions, settings): those keep their own spelling, because their answers differ."""
    samples: dict[str, int] = {}
    for (_, name), answers in recorded.answers.items():
        samples[name] = samples.get(name, 0) + len(answers)
    meant = [pack_model(name, 1).name for name in samples]
    spelling = {name: spelt if meant.count(spelt) == 1 else name for name, spelt in zip(samples, meant, strict=True)}
    named = [dataclasses.replace(pack_model(name, count), name=spelling[name]) for name, count in samples.items()]
    return named, {(question, spelling[name]): answers for (question, name), answers in recorded.answers.items()}


def pack_model(name: str, samples: int) -> PackModel:
    """A model with the catalog's spelling, family and lineage; for one that the catalog does not know, its name stands for each."""
    found = catalog.find(name)
    if found is None:
        return PackModel(name, name, name, name, samples)
    return PackModel(found.name, found.family, found.lineage, found.name, samples)


def _rows(document: Any) -> list[dict[str, Any]]:
    rows = document if isinstance(document, list) else [document]
    return [row for row in rows if isinstance(row, dict)]


def _form_of(row: Mapping[str, Any]) -> Form | None:
    if "rawData" in row and ("name" in row or "model" in row):
        return "number-picks"
    if {"instruction", "output", "generator"} <= row.keys():
        return "alpaca-eval"
    if {"question_id", "choices"} <= row.keys() and "model_id" in row:
        return "arena-hard"
    if "model" in row and "response" in row and ("prompt" in row or "prompt_id" in row):
        return "jsonl"
    return None


def _number_picks(rows: Sequence[Mapping[str, Any]]) -> Recorded:
    source = question_sources.source("number-picks")
    question = Question("number-picks", NUMBER_PICKS_SHA256, "choice", "zh", None, source, _PICK_TOKENS, _PICK_TEMPERATURE)
    recorded = Recorded("number-picks", [question], {})
    for row in rows:
        name, picks = _text(row.get("model")) or _text(row.get("name")), row.get("rawData")
        if not name or not isinstance(picks, list):
            recorded.left_out += 1
            continue
        good = [str(pick) for pick in picks if type(pick) is int and abs(pick) < 10**9]
        recorded.left_out += len(picks) - len(good)
        if good:
            recorded.answers.setdefault((question.id, name), []).extend(good)
    if not recorded.answers:
        raise PackError("the files hold no number picks")
    return recorded


def _texts(files: Any) -> dict[str, str]:
    """Question id -> text, from files of questions: {"id": "text"}, or rows with an id and a prompt, or with `turns`."""
    texts: dict[str, str] = {}
    for documents in files:
        for document in documents:
            if isinstance(document, dict) and document and all(isinstance(value, str) for value in document.values()):
                if not ({"model", "response", "prompt", "generator"} & document.keys()):
                    texts |= document
                    continue
            for row in _rows(document):
                identity = next((_text(row[key]) for key in ("question_id", "prompt_id", "id") if key in row), None)
                text = _text(row.get("prompt"))
                turns = row.get("turns")
                if text is None and isinstance(turns, list) and len(turns) == 1:
                    text = _text(turns[0].get("content")) if isinstance(turns[0], dict) else _text(turns[0])
                if identity and text:
                    texts[identity] = text
    return texts


def _row(row: Mapping[str, Any], form: Form) -> tuple[str, str | None, str | None, list[str]]:
    """(question id, its text where the row holds it, model, answers); an empty id for a row that names no question."""
    if form == "alpaca-eval":
        text = _text(row["instruction"])
        return _named(None, text), text, _text(row["generator"]), _answers(row["output"])
    if form == "arena-hard":
        answers = []
        for choice in row["choices"] if isinstance(row["choices"], list) else ():
            turns = choice.get("turns") if isinstance(choice, dict) else None
            if isinstance(turns, list) and len(turns) == 1:  # a second turn answers another conversation
                answers += _answers(turns[0].get("content") if isinstance(turns[0], dict) else turns[0])
        return _text(row["question_id"]) or "", None, _text(row["model_id"]), answers
    text = _text(row.get("prompt"))
    if row.get("turn") not in (None, 0):  # of a conversation: not what one user message alone is answered with
        return "", None, None, []
    return _named(row.get("prompt_id"), text), text, _text(row["model"]), _answers(row["response"])


def _named(identity: Any, text: str | None) -> str:
    """The question's id in its source, else the beginning of its digest."""
    return _text(identity) or (text_digest(text)[:16] if text else "")


def _answers(value: Any) -> list[str]:
    """One answer, or several; stripped, because leading white space gives away the API rather than the model."""
    values = value if isinstance(value, list) else [value]
    return [each.strip() for each in values if isinstance(each, str) and each.strip()]


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _question(question_id: str, text: str, form: Form, language: str, kind: QuestionKind) -> Question:
    digest = text_digest(text)
    if form == "jsonl" and digest in _own_questions():
        return dataclasses.replace(_own_questions()[digest], id=question_id)
    source: Source | None = None
    if form == "alpaca-eval":
        source = question_sources.source("alpaca-eval")
    elif form == "arena-hard":
        source = question_sources.source("arena-hard-ko" if language == "ko" else "arena-hard-en", question_id)
    if kind == "knowledge":
        return Question(question_id, digest, kind, language, text, source, knowledge.MAX_TOKENS, 0.0)
    return Question(question_id, digest, kind, language, text, source, OPEN_TOKENS, None)


@cache
def _own_questions() -> dict[str, Question]:
    """Questions of our own, by digest."""
    return {each.sha256: each for each in (*choices.own_questions(), *same_prompt.own_questions(), *knowledge.own_questions())}


def _answer_forms(rows: Sequence[Mapping[str, Any]], questions: Sequence[Question]) -> dict[str, AnswerForm]:
    """By digest how answers to these questions are read: as some row of theirs says, in words without a right answer where none does.

    Raises PackError for what is no way of reading, and for two different ones of a question."""
    told: dict[str, AnswerForm] = {}
    for row in rows:
        if {"read_as", "accept"} & row.keys():
            named = next((row[key] for key in ("question_id", "prompt_id", "id") if key in row), None)
            accept = row.get("accept", [])
            name = _named(named, _text(row.get("prompt")))
            try:
                form = AnswerForm.from_json(
                    {"kind": row.get("read_as", "words"), "accept": [accept] if isinstance(accept, str) else accept}
                )
            except FormError as error:
                raise PackError(f"{name}: {error}") from error
            if told.setdefault(name, form) != form:
                raise PackError(f"two rows say differently how answers to {name} are read")
    ours = _own_questions()
    return {question.sha256: told.get(question.id, AnswerForm("words")) for question in questions if question.sha256 not in ours}


def _once(known: Mapping[str, Question], recorded: Recorded) -> list[Question]:
    """The questions, those of one text joined under its first id: a pack names each digest once."""
    first: dict[str, Question] = {}
    for question in known.values():
        kept = first.setdefault(question.sha256, question)
        if kept is not question:
            for of_question, model in [key for key in recorded.answers if key[0] == question.id]:
                recorded.answers.setdefault((kept.id, model), []).extend(recorded.answers.pop((of_question, model)))
    return list(first.values())
