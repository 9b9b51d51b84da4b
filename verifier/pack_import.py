"""Makes a reference pack of answers that others recorded and published: files in, one pack out, the questions' texts into the store.

Takes paths and what the user says of them; fingerprints.pack_sources reads the forms, fingerprints.choices, fingerprints.same_prompt
and fingerprints.knowledge make the statistics. The pack names a published question by digest and place and does not hold its text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from pathlib import Path

from fingerprints import choices, knowledge, pack_sources, published, same_prompt
from fingerprints.pack_sources import FORMS, Recorded
from fingerprints.packs import Pack, PackError
from fingerprints.questions import QuestionKind
from verifier.enrolling import LIFETIME_DAYS, today
from verifier.errors import CannotRunError, UsageError
from verifier.question_store import QuestionStore

MAX_FILES = 1_000
_SUFFIXES = (".json", ".jsonl", ".ndjson", ".gz")
_REMEDY = "give recorded answers: number picks, AlpacaEval outputs, Arena-Hard answers with their question file, or JSON lines"


@dataclass(frozen=True, slots=True)
class About:
    """What the user says of the answers."""

    form: str = "auto"
    """auto, or one of FORMS."""
    name: str = "imported"
    language: str = "en"
    kind: QuestionKind | None = None
    """Of the questions; None means what our own questions are, choices for number picks and open ones for the rest."""
    licence: str = "not stated"
    origin: str | None = None
    """None names the files."""
    expires: str | None = None
    """YYYY-MM-DD or "never"; None means LIFETIME_DAYS from now."""


def import_pack(paths: Sequence[Path], about: About, store: QuestionStore, day: date | None = None) -> tuple[Pack, Recorded]:
    """The pack of the answers in `paths` (files, or folders of them), and what was read. Texts of published questions go to the store.

    Raises UsageError for an unknown form, CannotRunError where the files hold no such answers."""
    if about.form != "auto" and about.form not in FORMS:
        raise UsageError(f"there is no form {about.form!r}", f"choose auto, {', '.join(FORMS)}")
    files = {str(path): _bytes(path) for path in _files(paths)}
    form = next((each for each in FORMS if each == about.form), None)
    try:
        recorded = pack_sources.read(files, form, about.language, about.kind)
        models, answers = pack_sources.models(recorded)
        day = day or today()
        expires = about.expires or (day + timedelta(days=LIFETIME_DAYS)).isoformat()
        pack = _builder(recorded)(
            name=about.name,
            version=day.isoformat(),
            created=day.isoformat(),
            questions=recorded.questions,
            answers=answers,
            models=models,
            origin=about.origin or f"imported from {', '.join(Path(name).name for name in files)}"[:400],
            licence=about.licence,
            expires=None if expires == "never" else expires,
        )
    except PackError as error:
        raise CannotRunError(f"no pack can be made: {error}", _REMEDY) from error
    for question in recorded.questions:
        if question.source is not None and question.text is not None:
            store.put(question.text)
    return pack, recorded


def _builder(recorded: Recorded) -> Callable[..., Pack]:
    """What makes the statistics of this kind of questions, of which all are."""
    kind = recorded.questions[0].kind
    if kind == "knowledge":
        return partial(knowledge.build_pack, forms=recorded.answer_forms)
    return choices.build_pack if kind == "choice" else same_prompt.build_pack


def _files(paths: Sequence[Path]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise CannotRunError(f"there is no {path}", "name files that exist")
        inside = sorted(file for file in path.rglob("*") if file.suffix in _SUFFIXES and file.is_file()) if path.is_dir() else [path]
        found += inside
    if not 0 < len(found) <= MAX_FILES:
        raise CannotRunError(f"{len(found)} files to import", f"name 1 to {MAX_FILES} files, or folders that hold some")
    return found


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(published.MAX_FILE_BYTES + 1)
    except OSError as error:
        raise CannotRunError(f"{path} cannot be read ({error.strerror})", "name files that can be read") from error
    if published.unzipped(data) is None:
        raise CannotRunError(f"{path} is larger than {published.MAX_FILE_BYTES} bytes or damaged", "split it, or get it again")
    return data
