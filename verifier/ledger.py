"""The ledger: every report signed here, in order, each entry naming the one before it and signed itself.

Takes report digests and a signer, gives places in the order. JSON lines, one entry each, only ever added to:

    {"created", "keyid", "previous": digest of the line before or null, "report": digest of report.json, "sequence": from 1, "signature"}

A line is on disk before its report's files appear (publishing.py). So a crash leaves an entry without files, which later entries go on
from and which accuses nobody; it never leaves a published report without an entry. A line that a crash cut off names no published
report: the next entry takes its place. Nothing here may change or remove a whole line.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from securesystemslib.dsse import Envelope
from securesystemslib.signer import Signature

from verifier.canonical import TamperedError, canonical, read_canonical
from verifier.errors import CannotRunError
from verifier.places import data_directory, locked, private_directory
from verifier.signing import Keys, Signer, UnknownKeyError
from verifier.transcript import digest

ENTRY_TYPE = "application/vnd.truename.ledger-entry+json"
"""Payload type of an entry's signature: what keeps it from passing for a signature of anything else."""
MAX_BYTES = 256_000_000
"""Largest ledger that is read: about 500,000 entries."""
MAX_LINE_BYTES = 1_000

_RESTORE = "restore it from a copy, such as the one that you publish"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SIGNATURE = re.compile(r"[0-9a-f]{128}")


@dataclass(frozen=True, slots=True)
class Entry:
    """One line. Digests and key ids are SHA-256, the signature Ed25519 over the other fields; all in lower-case hexadecimal."""

    sequence: int
    report: str
    previous: str | None
    created: str
    """UTC, ISO 8601, seconds: when the entry was made."""
    keyid: str
    signature: str

    def to_bytes(self) -> bytes:
        """The line, without its end."""
        return canonical(asdict(self))

    @property
    def digest(self) -> str:
        """What the next entry names as the one before it."""
        return digest(self.to_bytes())

    def signed(self) -> Envelope:
        """The entry as a signed envelope; its signature is not checked yet."""
        payload = canonical({name: value for name, value in asdict(self).items() if name != "signature"})
        return Envelope(payload, ENTRY_TYPE, {self.keyid: Signature(self.keyid, self.signature)})


@dataclass(frozen=True, slots=True)
class Chain:
    """Entries that hold, in order: a whole ledger, or the part of one that a report's place is looked up in."""

    entries: tuple[Entry, ...]

    def place(self, report: str, previous: str | None) -> Entry:
        """The entry of the report with this digest, whose report names `previous` as the one before. Raises TamperedError."""
        entry = next((entry for entry in reversed(self.entries) if entry.report == report), None)
        if entry is None:
            remedy = "ask the signer why, or give the newest copy of the ledger with --ledger"
            raise TamperedError("the report is not in the ledger", remedy)
        before = next((each.report for each in self.entries if each.sequence == entry.sequence - 1), None)
        if before != previous:
            raise TamperedError(
                f"the report names another report before it than the ledger does at entry {entry.sequence}",
                "ask the signer for the ledger that the report was entered into",
            )
        return entry


@dataclass(frozen=True, slots=True)
class Ledger:
    """A ledger file, which may not exist yet."""

    path: Path

    @classmethod
    def of_user(cls) -> Ledger:
        """The ledger in the data directory."""
        return cls(data_directory() / "ledger.jsonl")

    def exists(self) -> bool:
        """Whether anything was ever entered."""
        return self.path.is_file() and self.path.stat().st_size > 0

    @contextmanager
    def turn(self, keys: Keys) -> Iterator[Turn]:
        """The right to add one entry, held against every other process and thread until the block ends.

        `keys` are those that the last entry may be signed by. Raises CannotRunError where it does not hold, or the file cannot be written.
        """
        private_directory(self.path.parent)
        with locked(self.path):
            try:
                turn = self._turn(keys)
            except TamperedError as error:  # to whoever audits, exit code 1 would read as an accusation of the endpoint
                raise CannotRunError(error.problem, error.remedy) from error
            yield turn

    def _turn(self, keys: Keys) -> Turn:
        try:
            size = self.path.stat().st_size
            with self.path.open("rb") as file:
                file.seek(max(0, size - 2 * MAX_LINE_BYTES))
                tail = file.read()
        except OSError as error:
            raise CannotRunError(f"{self.path} cannot be read ({error.strerror})", "run as the user who owns it") from error
        whole, _, cut_off = tail.rpartition(b"\n")
        if b"}" in cut_off:  # all of an entry but its line end: hardly a crash's doing, so it is not thrown away
            raise TamperedError(f"the last line of {self.path} has no end", f"add the line end that is missing, or {_RESTORE}")
        if not whole:
            return Turn(self.path, 0, None) if size == len(cut_off) else _unreadable(self.path)
        line = whole.rpartition(b"\n")[2]
        try:
            last = read_entry(line, keys, f"the last line of {self.path}")
        except UnknownKeyError as error:
            raise UnknownKeyError(error.problem, "restore that key's public file, or move the ledger away to begin another") from error
        return Turn(self.path, size - len(cut_off), last)

    def read(self, keys: Keys) -> Chain:
        """The whole ledger, every byte of it checked. Raises TamperedError, UnknownKeyError, CannotRunError."""
        try:
            with self.path.open("rb") as file, locked(self.path, shared=True):  # no line is seen half written
                data = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise CannotRunError(f"the ledger {self.path} cannot be read ({error.strerror})", "check the path") from error
        if len(data) > MAX_BYTES:
            raise CannotRunError(f"the ledger {self.path} is larger than {MAX_BYTES} bytes", "give another")
        return read_chain(data, keys)


@dataclass(frozen=True, slots=True)
class Turn:
    """The end of a ledger, while its lock is held."""

    path: Path
    size: int
    """Bytes of whole lines."""
    last: Entry | None

    def enter(self, entry: Entry) -> None:
        """Add an entry that `next_entry` made from `last`; it is on disk when this returns. Raises CannotRunError."""
        try:
            with self.path.open("r+b") as file:
                file.truncate(self.size)
                file.seek(self.size)
                file.write(entry.to_bytes() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            problem = f"the ledger {self.path} cannot be written ({error.strerror})"
            raise CannotRunError(problem, "set TRUENAME_DATA_DIR to a directory that can be written") from error


def next_entry(last: Entry | None, report: str, signer: Signer, created: datetime) -> Entry:
    """The entry of the report with this digest, after `last`, signed. `created` is in UTC."""
    sequence, previous = (last.sequence + 1, last.digest) if last else (1, None)
    entry = Entry(sequence, report, previous, created.isoformat(timespec="seconds").replace("+00:00", "Z"), signer.keyid, "")
    made = signer.envelope(entry.signed().payload, ENTRY_TYPE)
    return replace(entry, signature=made.signatures[signer.keyid].signature)


def read_chain(data: bytes, keys: Keys) -> Chain:
    """The entries of a ledger's bytes: each in its one form, in its place, and signed by one of `keys`.

    Raises UnknownKeyError for an entry by another key, TamperedError for whatever else does not hold.
    """
    lines = data.split(b"\n")
    if lines.pop() != b"":
        raise TamperedError("the last line of the ledger has no end", _RESTORE)
    return Chain(follow(lines, keys))


def follow(lines: Sequence[bytes], keys: Keys, number: int = 0, before: str | None = None) -> tuple[Entry, ...]:
    """The entries of these lines (without their ends), which follow line `number`, whose digest is `before`. Raises as `read_chain`."""
    entries: list[Entry] = []
    for following, line in enumerate(lines, number + 1):
        name = f"line {following} of the ledger"
        entry = read_entry(line, keys, name)
        if (entry.sequence, entry.previous) != (following, before):
            raise TamperedError(f"{name} does not follow the line before it", _RESTORE)
        entries.append(entry)
        before = digest(line)
    return tuple(entries)


def read_entry(line: bytes, keys: Keys, name: str = "the ledger's entry") -> Entry:
    """One line's entry, without its line end: in its one form and signed by one of `keys`. Raises UnknownKeyError, TamperedError."""
    if len(line) > MAX_LINE_BYTES:
        raise TamperedError(f"{name} is longer than {MAX_LINE_BYTES} bytes", _RESTORE)
    value: Any = read_canonical(line, name, _RESTORE)
    try:
        entry = Entry(**value)
        datetime.fromisoformat(entry.created)
        digests = [entry.report, entry.keyid, *([entry.previous] if entry.previous is not None else [])]
        sound = all(_SHA256.fullmatch(each) for each in digests) and _SIGNATURE.fullmatch(entry.signature)
        if not sound or type(entry.sequence) is not int:
            raise ValueError("malformed")
    except (TypeError, ValueError) as error:
        raise TamperedError(f"{name} is not an entry", _RESTORE) from error
    keys.check(entry.signed(), name)
    return entry


def _unreadable(path: Path) -> Turn:
    raise TamperedError(f"the last line of {path} is not an entry", _RESTORE)
