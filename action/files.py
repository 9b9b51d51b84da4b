"""What the GitHub Action leaves beside its reports: truename.sarif, truename.junit.xml, and the outputs on stdout.

Takes the audit's exit code and the AUDIT_ variables of run.sh, reads the reports that the audit wrote, and sends nothing. A report of
an earlier run in the same folder is never taken for this one's: where the audit could not run, the files say that it could not.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from verifier.errors import CannotRunError, TruenameError
from verifier.report.cases import Cases, of_error, of_folder
from verifier.report.junit import render_junit
from verifier.report.sarif import render_sarif
from verifier.target import Target

VERDICTS = {0: "consistent", 1: "inconsistent", 3: "inconclusive", 4: "could-not-run"}


def main(code: int) -> None:
    """Write the files and print the outputs as GITHUB_OUTPUT wants them."""
    out = Path(os.environ["AUDIT_OUT"])
    cases = _cases(out, code)
    out.mkdir(parents=True, exist_ok=True)
    files = {"sarif": (out / "truename.sarif", render_sarif(cases)), "junit": (out / "truename.junit.xml", render_junit(cases))}
    for name, (path, text) in files.items():
        path.write_text(text, encoding="utf-8")
        print(f"{name}={path}")
    single = cases.rows[0].report if cases.batch is None else None
    written = out / ("batch.json" if cases.batch is not None else "report.json")
    print(f"verdict={VERDICTS[code]}")
    print(f"e-value={single.data['verdict']['e_value'] if single is not None else ''}")
    print(f"report={written if single is not None or cases.batch is not None else ''}")


def _cases(out: Path, code: int) -> Cases:
    batch = bool(os.environ["AUDIT_TARGETS"])
    try:
        if code != 4 or batch:
            return of_folder(out)
    except CannotRunError:
        if code != 4:
            raise
    origin, claim = os.environ["AUDIT_BASE_URL"], os.environ["AUDIT_CLAIM"]
    try:
        origin = Target.parse(origin, "m").origin
    except TruenameError:
        origin = os.environ["AUDIT_TARGETS"] or "the endpoint"  # what cannot be parsed may hold a key
    said = CannotRunError("the audit could not be run", "read the step's log")
    return of_error(origin, os.environ["AUDIT_MODEL"] or claim, claim or None, said)


main(int(sys.argv[1]))
