"""Does a report hold? Its signature, its files, its place in the ledger, and its conclusions drawn again from the transcript.

Takes a report's files and trusted keys, gives one check after the other, each held, failed or not made, with its reason. It trusts
nothing before the check that covers it: the transcript is read only once its digest is known to be the signed one.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from fingerprints.packs import Pack
from verifier.canonical import TamperedError, canonical
from verifier.errors import CannotRunError, TruenameError
from verifier.ledger import Chain
from verifier.signing import ENVELOPE, REPORT, SUBJECTS, TRANSCRIPT, Keys, Signed, shown, verify_envelope
from verifier.timestamp import STAMP, stamped_at
from verifier.transcript import Transcript, digest

REPLAYED = ("verdict", "findings", "blocks", "mixture", "switches")
"""Parts of a report that the same signatures draw again, exactly."""
TAKEN = ("id", "created", "claim", "target", "reference", "seed", "cost")
"""Parts that come from the transcript alone, whatever signatures are installed."""
_OWN = ("digests", "truename_version")
"""Parts that a later Truename may write otherwise from the same transcript."""
MAX_FILE_BYTES = 64_000_000
"""Largest file that is read."""

_AGAIN = "ask whoever gave you the files for them again, or audit the endpoint yourself"
WORST = (1, 4, 3, 0)
"""Exit codes, the worst first: does not hold, unreadable, not re-judged, holds."""


class State(StrEnum):
    """How a check ended."""

    HELD = "held"
    FAILED = "failed"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True, slots=True)
class Check:
    """One check: signature, files, ledger or conclusions."""

    name: str
    state: State
    text: str
    """What held, or what does not and what to do."""


@dataclass(frozen=True, slots=True)
class Verification:
    """All checks of one report. `error` says why there is none: the files could not be read at all."""

    place: str
    checks: tuple[Check, ...] = ()
    outcome: str | None = None
    """The report's verdict, where its signature holds."""
    error: TruenameError | None = None

    @property
    def exit_code(self) -> int:
        """0 holds, 1 does not, 3 holds but could not be judged again, 4 unreadable."""
        if self.error is not None:
            return 4
        if any(check.state is State.FAILED for check in self.checks):
            return 1
        judged = [check for check in self.checks if check.name == "conclusions"]
        return 0 if all(check.state is State.HELD for check in judged) else 3

    def to_json(self) -> dict[str, Any]:
        """For scripts: place, exit code, outcome and checks."""
        return {
            "place": self.place,
            "exit_code": self.exit_code,
            "outcome": self.outcome,
            "error": None if self.error is None else str(self.error),
            "checks": [{"name": check.name, "state": str(check.state), "text": check.text} for check in self.checks],
        }


@dataclass(frozen=True, slots=True)
class Trust:
    """What reports are checked against: trusted keys, the ledger where it is here, and extra reference packs."""

    keys: Keys
    ledger: Chain | TruenameError | None = None
    """The ledger; why it does not hold; or None where it is not here."""
    own: frozenset[str] | None = None
    """Key ids whose reports the ledger must hold; None where it must hold every report."""
    packs: tuple[Pack, ...] = ()
    authority: bytes | None = None
    """PEM root certificates of a time-stamp authority; where they are given, every report must carry its stamp."""


def verify_files(files: Mapping[str, bytes], trust: Trust, place: str = "the report") -> Verification:
    """Check a report from the bytes of its files, by name; those of SUBJECTS that lie beside the envelope must all be given."""
    try:
        signed = verify_envelope(files[ENVELOPE], trust.keys)
    except TruenameError as error:
        why = "nothing else counts before the signature holds"
        left = [Check(name, State.NOT_CHECKED, why) for name in ("files", "ledger", "conclusions")]
        return Verification(place, (Check("signature", State.FAILED, str(error)), *left))
    by = ", ".join(shown(keyid) for keyid in signed.keyids)
    checks = [Check("signature", State.HELD, f"Ed25519, key {by}"), check_files(signed, files), check_ledger(signed, trust)]
    if checks[1].state is State.HELD:
        checks.append(check_conclusions(signed, files[TRANSCRIPT], trust.packs))
    else:
        checks.append(Check("conclusions", State.NOT_CHECKED, "the files are not those that were signed"))
    if trust.authority is not None or STAMP in files:
        checks.append(check_stamp(files, trust.authority))
    return Verification(place, tuple(checks), str(signed.data["verdict"]["outcome"]))


def check_files(signed: Signed, files: Mapping[str, bytes]) -> Check:
    """Every covered file is there, byte for byte, and no file of a report lies there uncovered."""
    for name in SUBJECTS:
        if name not in files and name in signed.digests:
            return _failed("files", f"{name} is missing, though the signature covers it; {_AGAIN}")
        if name in files and name not in signed.digests:
            return _failed("files", f"{name} is not covered by the signature; do not rely on it, and ask where it comes from")
        if name in files and digest(files[name]) != signed.digests[name]:
            return _failed("files", f"{name} is not the file that was signed; {_AGAIN}")
    return Check("files", State.HELD, ", ".join(signed.digests))


def check_ledger(signed: Signed, trust: Trust) -> Check:
    """The report's entry and the one before it, in a ledger of which every entry holds."""
    if trust.ledger is None or (trust.own is not None and not trust.own & set(signed.keyids)):
        return Check("ledger", State.NOT_CHECKED, "the signer's ledger is not here (name a copy with --ledger)")
    try:
        if isinstance(trust.ledger, TruenameError):
            raise trust.ledger
        entry = trust.ledger.place(digest(signed.report), signed.data["digests"]["previous"])
        if entry.keyid not in signed.keyids:
            raise TamperedError(f"entry {entry.sequence} of the ledger is signed by another key than the report", _AGAIN)
    except TruenameError as error:
        return _failed("ledger", str(error))
    return Check("ledger", State.HELD, f"entry {entry.sequence} of {trust.ledger.entries[-1].sequence}, entered {entry.created}")


def check_conclusions(signed: Signed, transcript: bytes, packs: Sequence[Pack] = ()) -> Check:
    """The report drawn again from the transcript: what it takes from there, and its conclusions where the signatures are the same."""
    from verifier.auditing import judge, other_digests
    from verifier.references import named_by

    try:
        stored = Transcript.from_bytes(transcript)
        again = judge(stored, transcript, packs=packs).data
        note = other_digests(stored.header, named_by(stored.header.packs, packs))
    except TruenameError as error:
        return _failed("conclusions", str(error))
    names = [name for name in TAKEN if not _same(signed.data, again, name)]
    if names:
        return _failed("conclusions", f"{', '.join(names)} in the report are not what the transcript says; {_AGAIN}")
    outcome = str(again["verdict"]["outcome"])
    if note is not None:
        told = signed.data["verdict"]["outcome"]
        then = "as the report says" if outcome == told else f"where the report says {told}"
        why = note.removeprefix("note: ").partition(";")[0]
        remedy = f"install Truename {signed.data.get('truename_version')} to draw the same conclusions"
        return Check("conclusions", State.NOT_CHECKED, f"{why}: {outcome}, {then}; {remedy}")
    drawn = [name for name in again if name in REPLAYED or (name in signed.data and name not in _OWN)]
    names = [name for name in drawn if not _same(signed.data, again, name)]
    if names:
        return _failed("conclusions", f"{', '.join(names)} come out otherwise from the transcript ({outcome}); {_AGAIN}")
    return Check("conclusions", State.HELD, f"{outcome}: drawn again, the same, from {len(stored.replies)} replies")


def check_stamp(files: Mapping[str, bytes], authority: bytes | None) -> Check:
    """An authority stamped the envelope. Raises CannotRunError where the certificates cannot be read or the extra is missing."""
    if authority is None:
        return Check("time stamp", State.NOT_CHECKED, "there is one: name the authority's root certificates with --authority to check it")
    if STAMP not in files:
        return _failed("time stamp", f"there is no {STAMP}; stamp the report with `truename timestamp`, or leave out --authority")
    try:
        moment = stamped_at(files[STAMP], files[ENVELOPE], authority)
    except TamperedError as error:
        return _failed("time stamp", str(error))
    return Check("time stamp", State.HELD, f"signed before {moment.isoformat()}")


def find_reports(path: Path) -> list[Path]:
    """The envelope of every report that `path` means: a file of a report, its folder, or a folder of such folders.

    A report without an envelope is listed too: it is unreadable, not absent. Raises CannotRunError where there is no report.
    """
    if path.is_file():
        return [path.with_name(ENVELOPE) if path.name in (*SUBJECTS, STAMP) else path]
    found = [Path(folder) / ENVELOPE for folder, names in _folders(path) if REPORT in names or ENVELOPE in names]
    if not found:
        raise CannotRunError(f"{path} holds no report", f"give a folder that `truename audit --out` wrote, or its {ENVELOPE}")
    return sorted(found)


def read_files(envelope: Path) -> dict[str, bytes]:
    """The envelope's bytes and those of the files beside it, by name. Raises CannotRunError."""
    paths = {ENVELOPE: envelope, **{name: envelope.with_name(name) for name in (*SUBJECTS, STAMP)}}
    files = {name: data for name, path in paths.items() if (data := read_file(path)) is not None}
    if ENVELOPE not in files:
        raise CannotRunError(f"there is no {envelope}", "an unsigned report can only be judged again, with `truename judge`")
    return files


def read_file(path: Path) -> bytes | None:
    """A file's bytes; None where there is none. Raises CannotRunError for one that cannot be read or is too large."""
    try:
        with path.open("rb") as opened:
            data = opened.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CannotRunError(f"{path} cannot be read ({error.strerror})", "check the path and its permissions") from error
    if len(data) > MAX_FILE_BYTES:
        raise CannotRunError(f"{path} is larger than {MAX_FILE_BYTES} bytes", "no report's file is: check what it is")
    return data


def verify_each(envelopes: Iterable[Path], trust: Trust) -> Iterator[Verification]:
    """Verify reports, one after the other, each by the path of its envelope.

    The ledger in `trust` must have been read after the reports were found: one that was published since would be missing from it.
    """
    for envelope in envelopes:
        place = str(envelope.parent)
        try:
            files = read_files(envelope)
        except CannotRunError as error:
            yield Verification(place, error=error)
        else:
            yield verify_files(files, trust, place)


def worst(verifications: Sequence[Verification]) -> int:
    """The exit code of all of them."""
    codes = {each.exit_code for each in verifications}
    return next(code for code in WORST if code in codes)


def _folders(path: Path) -> Iterator[tuple[str, list[str]]]:
    for folder, _, names in os.walk(path):
        yield folder, names


def _same(signed: Mapping[str, Any], again: Mapping[str, Any], name: str) -> bool:
    return canonical(signed.get(name)) == canonical(again.get(name))


def _failed(name: str, text: str) -> Check:
    return Check(name, State.FAILED, text)
