"""The texts of questions that others wrote, kept by digest in the user's data directory once they have been fetched.

A text is believed for its digest alone: each read checks it, so a file that was changed reads as missing and never as another
question. Nothing here opens a socket.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from pathlib import Path

from fingerprints.packs import MAX_TEXT_CHARACTERS, Pack
from fingerprints.questions import Question, text_digest
from verifier.places import data_directory, private_directory, write_private

_SHA256 = re.compile(r"[0-9a-f]{64}")
_MAX_BYTES = 4 * MAX_TEXT_CHARACTERS


class QuestionStore:
    """Texts by SHA-256, one file each. Makes its directory when the first text comes."""

    def __init__(self, folder: Path | None = None) -> None:
        """`folder` defaults to `questions` in the data directory."""
        self.folder = folder or data_directory() / "questions"

    def get(self, sha256: str) -> str | None:
        """The text with that digest; None where it was not fetched, or where its file no longer has the digest."""
        if not _SHA256.fullmatch(sha256):
            return None
        try:
            with (self.folder / f"{sha256}.txt").open("rb") as file:
                text = file.read(_MAX_BYTES + 1).decode("utf-8")
        except (OSError, UnicodeDecodeError):
            return None
        return text if text_digest(text) == sha256 else None

    def put(self, text: str) -> str:
        """Keep a text; gives its digest. Raises CannotRunError where the directory cannot be written."""
        private_directory(self.folder.parent)
        digest = text_digest(text)
        write_private(private_directory(self.folder) / f"{digest}.txt", text.encode("utf-8"))
        return digest

    def text_of(self, question: Question) -> str | None:
        """The question's own text, else the fetched one."""
        return question.text if question.text is not None else self.get(question.sha256)

    def with_texts(self, pack: Pack) -> Pack:
        """The pack with every text that is here filled in. Its digest stays: texts of published questions are no part of it."""
        questions = tuple(dataclasses.replace(question, text=self.text_of(question)) for question in pack.questions)
        return dataclasses.replace(pack, questions=questions)

    def missing(self, packs: Iterable[Pack]) -> list[Question]:
        """Questions whose text is not here, each digest once."""
        found: dict[str, Question] = {}
        for pack in packs:
            for question in pack.questions:
                if question.sha256 not in found and self.text_of(question) is None:
                    found[question.sha256] = question
        return list(found.values())
