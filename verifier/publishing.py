"""A report becomes files: entered into the ledger, signed, and written so that a crash leaves the old files, the new ones or a clear doubt.

Takes a report and a folder, gives the report as it was published; `sealed` alone serves a ledger that is kept elsewhere. All is
prepared before the ledger's line is written, and files appear only after it: nothing published is ever missing from the ledger.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from verifier.badge import FILE as BADGE
from verifier.errors import CannotRunError, TruenameError
from verifier.key_store import KeyStore
from verifier.ledger import Entry, Ledger, next_entry
from verifier.report.html import render_html
from verifier.report.model import Report
from verifier.signing import ENVELOPE, PAGE, REPORT, TRANSCRIPT, Signer, sign
from verifier.timestamp import STAMP
from verifier.transcript import digest

_LOG = logging.getLogger(__name__)
_WRITABLE = "give --out a folder that can be written"


@dataclass(frozen=True, slots=True)
class Published:
    """A report as it is published: naming the one before it, with the exact bytes of its files by name and its ledger entry."""

    report: Report
    files: Mapping[str, bytes]
    entry: Entry


def sealed(report: Report, last: Entry | None, signer: Signer, now: datetime, lang: str = "en") -> Published:
    """Sign a report that follows the ledger's entry `last`. Writes nothing: whoever keeps the ledger must hold it meanwhile.

    `now` is in UTC, the page in `lang`. A report whose page cannot be drawn is sealed without one: what was paid for is the transcript
    and what follows from it. Raises UsageError for a language that there is none for.
    """
    digests = {**report.data["digests"], "previous": last.report if last else None}
    final = replace(report, data={**report.data, "digests": digests})
    files = {REPORT: final.to_bytes(), TRANSCRIPT: final.transcript}
    try:
        files[PAGE] = render_html(final, lang=lang)
    except TruenameError:
        raise
    except Exception:
        _LOG.info("the page of report %s cannot be drawn", final.data["id"], exc_info=True)
    files[ENVELOPE] = sign(final, files.get(PAGE), signer)
    return Published(final, files, next_entry(last, digest(files[REPORT]), signer, now))


@dataclass(frozen=True, slots=True)
class Publisher:
    """Whose keys sign, and the ledger file that reports are entered into."""

    keys: KeyStore = field(default_factory=KeyStore.of_user)
    ledger: Ledger = field(default_factory=Ledger.of_user)

    def publish(self, report: Report, folder: Path, lang: str = "en") -> Published:
        """Sign a report, enter it and write its files into `folder`, which is made.

        Raises CannotRunError where the folder or the data directory cannot be written, or the ledger's last line does not hold: then
        nothing was entered. A folder that fails only while files are moved into place leaves the entry, and an error that says so.
        """
        signer = self.keys.signer()
        with self.ledger.turn(self.keys.trusted()) as turn:
            published = sealed(report, turn.last, signer, datetime.now(UTC), lang)
            with Staged(folder, published.files, {STAMP, PAGE, BADGE}) as staged:
                turn.enter(published.entry)
                staged.appear()
        return published


def publish(report: Report, folder: Path, lang: str = "en") -> Report:
    """Publish under the user's own keys and ledger; gives the report as it was written. Raises as `Publisher.publish`."""
    return Publisher().publish(report, folder, lang).report


def ready(folder: Path) -> None:
    """Find out, before an audit is paid for, that its report could be signed, entered and written into `folder`.

    Makes the signing key where there is none, and no folder. Raises as `Publisher.publish`.
    """
    publisher = Publisher()
    publisher.keys.signer()
    with publisher.ledger.turn(publisher.keys.trusted()):
        pass
    nearest = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise CannotRunError(f"no report could be written to {folder}", _WRITABLE)


class Staged:
    """Files that lie in their folder under temporary names until they appear, all of them, under their own."""

    def __init__(self, folder: Path, files: Mapping[str, bytes], retired: Set[str]) -> None:
        """`files` by name, in the order in which they appear; those of `retired` that are not among them are of an earlier run and go."""
        self._folder, self._files, self._retired = folder, files, retired
        self._waiting: dict[str, Path] = {}

    def __enter__(self) -> Self:
        """Write them all, down to the disk. Raises CannotRunError."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for name, data in self._files.items():
                handle, temporary = tempfile.mkstemp(prefix=f".{name}-", dir=self._folder)
                self._waiting[name] = Path(temporary)
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                self._waiting[name].chmod(0o644)
        except OSError as error:
            self._forget()
            raise CannotRunError(f"the report cannot be written to {self._folder} ({error.strerror})", _WRITABLE) from error
        return self

    def appear(self) -> None:
        """Move each into its place, in the order given, after taking away what belongs to an earlier run. Raises CannotRunError."""
        try:
            for name in self._retired - self._waiting.keys():
                (self._folder / name).unlink(missing_ok=True)
            for name, temporary in self._waiting.items():
                temporary.replace(self._folder / name)
        except OSError as error:
            problem = f"what was audited is in the ledger, but its files cannot be moved into {self._folder} ({error.strerror})"
            raise CannotRunError(problem, f"{_WRITABLE}, and audit again") from error

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._forget()

    def _forget(self) -> None:
        for temporary in self._waiting.values():
            temporary.unlink(missing_ok=True)
