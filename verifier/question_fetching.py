"""Brings the texts of published questions into the question store: from where they are published, or from files at hand.

Takes packs and a store; says how many texts were wanted, how many came, and why the others did not. Each text is kept as soon as its
digest holds, so that a run which breaks off is continued by the next. Only verifier.endpoint.fetch opens a socket.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from urllib.parse import quote

from fingerprints import published
from fingerprints.packs import Pack
from fingerprints.questions import Question
from verifier.errors import CannotRunError, TargetRefusedError
from verifier.question_store import QuestionStore

RAW_BASE = "https://raw.githubusercontent.com"
"""Serves the files of public GitHub repositories as they are; a test points it elsewhere."""
MAX_FILES = 5_000
"""Files that `--from FOLDER` looks into."""
_SUFFIXES = (".json", ".jsonl", ".ndjson", ".gz", ".py", ".md", ".txt")

Get = Callable[[str], Awaitable[bytes]]


@dataclass(slots=True)
class Fetched:
    """What came of bringing texts in."""

    questions: int
    """Different questions of the packs."""
    present: int
    """Whose texts were there before."""
    came: int = 0
    problems: list[str] = field(default_factory=list)
    """One line per file that could not be had or question that was not in it."""

    @property
    def lacking(self) -> int:
        """Questions whose texts are still not here."""
        return self.questions - self.present - self.came


async def fetch_published(packs: Sequence[Pack], store: QuestionStore, get: Get, *, tell: Callable[[str], None] | None = None) -> Fetched:
    """Bring in the texts that the store lacks, one request per published file. `get` is `verifier.endpoint.fetch.fetch`, bound to a policy.

    Raises TargetRefusedError where the guard refuses the place itself."""
    missing, result = _begin(packs, store)
    by_file: dict[tuple[str, str, str], list[Question]] = {}
    for question in missing:
        if question.source is not None:
            by_file.setdefault((question.source.repository, question.source.commit, question.source.path), []).append(question)
    for (repository, commit, path), questions in by_file.items():
        url = f"{RAW_BASE}/{repository}/{commit}/{quote(path)}"
        if tell:
            tell(f"{repository}/{path}: {len(questions)} wanted")
        try:
            data = await get(url)
        except TargetRefusedError:
            raise
        except CannotRunError as error:
            result.problems.append(str(error))
            continue
        result.came += _take(data, questions, store, result.problems)
    return result


def take_from(place: Path, packs: Sequence[Pack], store: QuestionStore) -> Fetched:
    """Bring in the texts that the store lacks from a file, or from the files below a folder; any text whose digest is wanted is taken.

    Raises CannotRunError where the place cannot be read."""
    missing, result = _begin(packs, store)
    wanted = {question.sha256 for question in missing}
    if not place.exists():
        raise CannotRunError(f"there is no {place}", "give --from a file or a folder that exists")
    for file in _files(place):
        if not wanted:
            break
        try:
            if file.stat().st_size > published.MAX_FILE_BYTES:
                raise OSError(f"larger than {published.MAX_FILE_BYTES} bytes")
            data = file.read_bytes()
        except OSError as error:
            result.problems.append(f"{file}: cannot be read ({error.strerror or error})")
            continue
        for digest, text in published.find(data, wanted).items():
            store.put(text)
            wanted.discard(digest)
            result.came += 1
    return result


def _begin(packs: Sequence[Pack], store: QuestionStore) -> tuple[list[Question], Fetched]:
    missing = store.missing(packs)
    total = len({question.sha256 for pack in packs for question in pack.questions})
    return missing, Fetched(total, total - len(missing))


def _take(data: bytes, questions: Sequence[Question], store: QuestionStore, problems: list[str]) -> int:
    """Keep the texts of `questions` that stand in a published file, by their positions, else anywhere in it."""
    found: dict[str, str] = {}
    for position, group in _by_position(questions):
        found |= published.find(data, {question.sha256 for question in group}, position)
    found |= published.find(data, {question.sha256 for question in questions} - found.keys())
    for text in found.values():
        store.put(text)
    lost = [question for question in questions if question.sha256 not in found]
    if lost and lost[0].source is not None:
        recorded = {question.source.file_sha256 for question in lost if question.source} - {None, hashlib.sha256(data).hexdigest()}
        changed = "; the file has changed since" if recorded else ""
        names = ", ".join(question.id for question in lost[:3]) + (" …" if len(lost) > 3 else "")
        problems.append(
            f"{lost[0].source.repository}/{lost[0].source.path}: no text with the digest of {len(lost)} questions ({names}){changed}"
        )
    return len(found)


def _by_position(questions: Sequence[Question]) -> Iterator[tuple[dict[str, str], list[Question]]]:
    groups: dict[tuple[tuple[str, str], ...], list[Question]] = {}
    for question in questions:
        if question.source is not None and question.source.position:
            groups.setdefault(tuple(sorted(question.source.position.items())), []).append(question)
    for position, group in groups.items():
        yield dict(position), group


def _files(place: Path) -> list[Path]:
    """The file, or what a folder holds: files of prompts first, then small before large."""
    if not place.is_dir():
        return [place]
    files = list(islice((file for file in place.rglob("*") if file.suffix in _SUFFIXES and file.is_file()), MAX_FILES))
    return sorted(files, key=lambda file: ("prompt" not in file.name and "question" not in file.name, file.stat().st_size, file.name))
