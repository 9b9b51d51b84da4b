"""Does the summary of a batch hold? Its signature, its page, the report of every row, and what it says of each.

Takes a folder that `truename audit --targets --out` wrote and trusted keys; gives one check after the other. The rows' own reports are
verified as any report is, by verifier.verifying; here they only have to be the ones that the summary was signed over.
"""

from __future__ import annotations

import os
from pathlib import Path

from verifier.batch import row_of_report
from verifier.batch_signing import ENVELOPE, PAGE, SUMMARY, SignedBatch, verify_batch_envelope
from verifier.canonical import canonical, read_json
from verifier.errors import CannotRunError, TruenameError
from verifier.report.model import Report, rounded
from verifier.signing import REPORT, shown
from verifier.transcript import digest
from verifier.verifying import Check, State, Trust, Verification, read_file

_AGAIN = "ask whoever gave you the files for them again, or audit the endpoints yourself"


def find_batches(path: Path) -> list[Path]:
    """Every folder of a batch that `path` means: that of one of a batch's files, or those at or below a folder."""
    if path.is_file():
        return [path.parent] if path.name in (SUMMARY, PAGE, ENVELOPE) else []
    return sorted(Path(folder) for folder, _, names in os.walk(path) if SUMMARY in names or ENVELOPE in names)


def verify_batch(folder: Path, trust: Trust) -> Verification:
    """Check a batch's summary by its folder."""
    place = f"{folder} (batch)"
    try:
        envelope, summary, page = (read_file(folder / name) for name in (ENVELOPE, SUMMARY, PAGE))
        if envelope is None:
            raise CannotRunError(f"there is no {folder / ENVELOPE}", "an unsigned summary proves nothing: rely on the rows' own reports")
    except CannotRunError as error:
        return Verification(place, error=error)
    try:
        signed = verify_batch_envelope(envelope, trust.keys)
    except TruenameError as error:
        left = [Check(name, State.NOT_CHECKED, "nothing else counts before the signature holds") for name in ("files", "rows", "summary")]
        return Verification(place, (Check("signature", State.FAILED, str(error)), *left))
    by = Check("signature", State.HELD, f"Ed25519, key {', '.join(shown(keyid) for keyid in signed.keyids)}")
    rows, reports = _check_rows(signed, folder)
    return Verification(place, (by, _check_files(signed, summary, page), rows, _check_summary(signed, reports)))


def _check_files(signed: SignedBatch, summary: bytes | None, page: bytes | None) -> Check:
    """The summary and its page are there, byte for byte."""
    for name, data in ((SUMMARY, summary), (PAGE, page)):
        if data is None and name in signed.digests:
            return Check("files", State.FAILED, f"{name} is missing, though the signature covers it; {_AGAIN}")
        if data is not None and digest(data) != signed.digests.get(name):
            return Check("files", State.FAILED, f"{name} is not a file that was signed; {_AGAIN}")
    return Check("files", State.HELD, ", ".join(name for name in (SUMMARY, PAGE) if name in signed.digests))


def _check_rows(signed: SignedBatch, folder: Path) -> tuple[Check, dict[str, Report]]:
    """Every row's report.json is there, byte for byte; with those that are."""
    reports: dict[str, Report] = {}
    for name, sha256 in signed.reports.items():
        try:
            data = read_file(folder / name / REPORT)
        except CannotRunError as error:
            return Check("rows", State.FAILED, str(error)), reports
        if data is None:
            return Check("rows", State.FAILED, f"{name}/{REPORT} is missing, though the signature covers it; {_AGAIN}"), reports
        if digest(data) != sha256:
            return Check("rows", State.FAILED, f"{name}/{REPORT} is not the report that was signed with the batch; {_AGAIN}"), reports
        reports[name] = Report(read_json(data), b"")
    failed = len(signed.data["rows"]) - len(reports)
    could_not = f", {failed} could not be audited" if failed else ""
    return Check("rows", State.HELD, f"{len(reports)} reports{could_not}"), reports


def _check_summary(signed: SignedBatch, reports: dict[str, Report]) -> Check:
    """What the summary says of every row is what its report says, and every row was judged at the rate of the batch."""
    data = signed.data
    if set(reports) != set(signed.reports):
        return Check("summary", State.NOT_CHECKED, "not all reports of the rows are those that were signed")
    for row in data["rows"]:
        if row["outcome"] is None:
            continue
        report = reports[row["folder"]]
        told = row_of_report(report)
        same = all(canonical(row.get(key)) == canonical(value) for key, value in told.items())
        if not same or rounded(report.data["verdict"]["alpha"]) != data["row_alpha"]:
            return Check("summary", State.FAILED, f"{SUMMARY} says of {row['folder']} what its report does not; {_AGAIN}")
    accused = sum(row["outcome"] == "inconsistent" for row in data["rows"])
    if (data["accused"], data["endpoints"]) != (accused, len(data["rows"])):
        return Check("summary", State.FAILED, f"{SUMMARY} counts its rows otherwise than it lists them; {_AGAIN}")
    return Check("summary", State.HELD, f"{accused} of {len(data['rows'])} accused, alpha {data['alpha']:g} over all")
