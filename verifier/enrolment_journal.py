"""What an enrolment has recorded so far: every answer as it came, in a file beside the pack, so that nothing is ever asked twice.

JSON lines: first the questions, then one line per enrolment begun and per answer. A pack is always built anew from its journal, which
is how a second model joins. The file is private (0600): it holds what the endpoint wrote; it never holds a key.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fingerprints.knowledge_answers import Form
from fingerprints.packs import PackError, question_from, question_json
from fingerprints.questions import Question
from verifier.errors import CannotRunError

SCHEMA = "truename.enrolment/1"
MAX_BYTES = 256_000_000
"""Largest journal that is read: 50,000 answers of 5 kB."""
_BEGINNING = json.dumps({"schema": SCHEMA}).removesuffix("}").encode()
_REMEDY = "move it away to begin anew, or name another file with --out"


@dataclasses.dataclass(frozen=True, slots=True)
class Enrolment:
    """One model's enrolment, as it began."""

    model: str
    """The name that the pack gives it."""
    origin: str
    began: str
    """YYYY-MM-DD."""
    samples: dict[str, int]
    """Question kind -> answers wanted to each question."""


class Journal:
    """The record beside `pack`. Reading it changes nothing; what is added is in the file at once."""

    def __init__(self, pack: Path) -> None:
        """Raises CannotRunError where the file is there and is no journal."""
        self.path = pack.with_name(pack.name + ".answers.jsonl")
        self.questions: tuple[Question, ...] = ()
        self.answer_forms: dict[str, Form] = {}
        """How answers to questions of knowledge that are not ours are read, by the question's digest."""
        self.enrolments: dict[str, Enrolment] = {}
        self.answers: dict[tuple[str, str], list[str]] = {}
        """(question id, model) -> answers, in the order in which they came."""
        self._cut_at: int | None = None
        if self.path.exists():
            self._read()

    @property
    def exists(self) -> bool:
        """Whether anything has been recorded."""
        return bool(self.questions)

    def begin(self, questions: Sequence[Question], enrolment: Enrolment, answer_forms: Mapping[str, Form] | None = None) -> None:
        """Note that an enrolment begins, or goes on under other settings; the first one also fixes the questions and how answers to
        them are read (`answer_forms`, by digest, for those of knowledge)."""
        if not self.exists:
            self.questions = tuple(questions)
            asked = {question.sha256 for question in questions}
            self.answer_forms = {digest: form for digest, form in (answer_forms or {}).items() if digest in asked}
            first = {"schema": SCHEMA, "questions": [question_json(question) for question in questions]}
            forms = {digest: form.to_json() for digest, form in self.answer_forms.items()}
            self._append([first | ({"answer_forms": forms} if forms else {})])
        if self.enrolments.get(enrolment.model) != enrolment:
            self.enrolments[enrolment.model] = enrolment
            self._append([{"enrolment": dataclasses.asdict(enrolment)}])

    def add(self, question_id: str, model: str, answer: str) -> None:
        """Keep an answer."""
        self.answers.setdefault((question_id, model), []).append(answer)
        self._append([{"question": question_id, "model": model, "answer": answer}])

    def remaining(self, enrolment: Enrolment) -> Counter[str]:
        """Question id -> answers that are still to be asked for; questions that have all theirs are absent."""
        left = {
            question.id: enrolment.samples.get(question.kind, 0) - len(self.answers.get((question.id, enrolment.model), ()))
            for question in self.questions
        }
        return Counter({question_id: count for question_id, count in left.items() if count > 0})

    def share(self, enrolment: Enrolment) -> float:
        """Which part of the wanted answers is here, 0 to 1."""
        wanted = sum(enrolment.samples.get(question.kind, 0) for question in self.questions)
        return 1 - self.remaining(enrolment).total() / wanted if wanted else 0.0

    def _append(self, rows: Iterable[dict[str, Any]]) -> None:
        text = "".join(json.dumps(row, ensure_ascii=True) + "\n" for row in rows)
        try:
            handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(handle, "ab") as file:
                if self._cut_at is not None:
                    file.truncate(self._cut_at)
                    self._cut_at = None
                file.write(text.encode())
        except OSError as error:
            raise CannotRunError(
                f"{self.path} cannot be written ({error.strerror})", "name a file with --out that can be written"
            ) from error

    def _read(self) -> None:
        try:
            with self.path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise CannotRunError(f"{self.path} cannot be read ({error.strerror})", _REMEDY) from error
        if len(data) > MAX_BYTES:
            raise CannotRunError(f"{self.path} is larger than {MAX_BYTES} bytes", _REMEDY)
        whole = data[: data.rfind(b"\n") + 1]
        if whole != data:  # a run that was killed in the middle of a line: what it left is cut off before the next is written
            self._cut_at = len(whole)
        if not whole and _BEGINNING.startswith(data[: len(_BEGINNING)]):
            return
        try:
            first, *rows = (json.loads(line) for line in whole.splitlines())
            if first["schema"] != SCHEMA:
                raise ValueError("another schema")
            self.questions = tuple(question_from(each) for each in first["questions"])
            self.answer_forms = {digest: Form.from_json(form) for digest, form in first.get("answer_forms", {}).items()}
            for row in rows:
                self._take(row)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, PackError) as error:
            raise CannotRunError(f"{self.path} is not the record of an enrolment", _REMEDY) from error

    def _take(self, row: dict[str, Any]) -> None:
        if "enrolment" in row:
            begun = Enrolment(**row["enrolment"])
            self.enrolments[begun.model] = begun
            return
        question, model, answer = row["question"], row["model"], row["answer"]
        if not all(isinstance(each, str) for each in (question, model, answer)):
            raise ValueError("an answer that is no text")
        self.answers.setdefault((question, model), []).append(answer)
