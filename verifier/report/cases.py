"""One or many audits as rows of one kind, for the forms that a CI system reads: JUnit, SARIF and Markdown.

Takes a Report, a Batch, their folder or an error, gives Cases. `one_line` is the first of the doors that hostile text passes: hidden
characters become signs, line breaks become spaces, and nothing is longer than a reader would read. Each form then escapes in its own way.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from verifier.canonical import read_json
from verifier.errors import CannotRunError, TruenameError
from verifier.report.model import EXIT_CODES, Report, load_report
from verifier.report.texts import Texts
from verifier.report.texts_verdict import Words, kind, words
from verifier.report.visible import visible

if TYPE_CHECKING:
    from verifier.batch import Batch

LONGEST_TEXT = 2_000
"""Characters of one sentence that are shown; ours are far shorter."""
_SPACES = re.compile(r"[ \t\r\n]+")
WORST = (1, 4, 3, 0)
"""Exit codes, the worst first, as the contract orders them for many endpoints."""


@dataclass(frozen=True, slots=True)
class Case:
    """One endpoint's end: a report, or why there is none."""

    name: str
    origin: str
    model: str
    claim: str | None
    report: Report | None
    error: str = ""
    folder: str = ""
    """Where its report lies below the folder of --out; empty where it lies there itself."""

    @property
    def data(self) -> Any:
        """The report's JSON object. Raises ValueError where there is no report."""
        if self.report is None:
            raise ValueError("this endpoint could not be audited: there is no report")
        return self.report.data

    @property
    def exit_code(self) -> int:
        """What this row alone would exit with."""
        return EXIT_CODES[self.report.outcome] if self.report is not None else 4


@dataclass(frozen=True, slots=True)
class Cases:
    """What one run ended with. `batch` says what error rate covers it where endpoints were audited together."""

    rows: tuple[Case, ...]
    batch: tuple[float, float] | None = None
    """Error rate over all rows, and the rate at which each was decided."""

    @property
    def exit_code(self) -> int:
        """The worst of the rows."""
        codes = {row.exit_code for row in self.rows}
        return next(code for code in WORST if code in codes)


def of_report(report: Report) -> Cases:
    """One report as a row."""
    data = report.data
    origin, claim = str(data["target"]["origin"]), data["claim"]["model"]
    return Cases((Case(origin, origin, str(data["target"]["model"]), claim, report),))


def of_batch(batch: Batch, folders: Sequence[str]) -> Cases:
    """A batch's rows, and the folder of each."""
    rows = tuple(
        Case(
            name=result.row.name,
            origin=result.row.target.origin,
            model=result.row.target.model,
            claim=result.row.claim.model,
            report=result.report,
            error=str(result.error or ""),
            folder=folder,
        )
        for result, folder in zip(batch.results, folders, strict=True)
    )
    return Cases(rows, (batch.alpha, batch.row_alpha))


def of_error(origin: str, model: str, claim: str | None, error: TruenameError) -> Cases:
    """An endpoint that could not be audited."""
    return Cases((Case(origin, origin, model, claim, None, str(error)),))


def of_folder(folder: Path) -> Cases:
    """What `--out` wrote, one report or a batch. Raises CannotRunError where neither can be read."""
    summary = folder / "batch.json"
    if not summary.is_file():
        return of_report(load_report(folder))
    try:
        data = read_json(summary.read_bytes())
        rows = tuple(_of_row(row, folder) for row in data["rows"])
        return Cases(rows, (float(data["alpha"]), float(data["row_alpha"])))
    except (OSError, ValueError, KeyError, TypeError) as error:
        problem = f"{summary} is not a readable batch ({type(error).__name__})"
        raise CannotRunError(problem, "give a folder that `truename audit --targets --out` wrote") from error


def _of_row(row: dict[str, Any], folder: Path) -> Case:
    """A row of batch.json; its folder's name is ours, and never a way out of `folder`."""
    name, origin, claim = str(row["name"]), str(row["origin"]), str(row["claim"])
    if row["outcome"] is None:
        return Case(name, origin, "", claim, None, str(row["error"]))
    inside = Path(str(row["folder"])).name
    report = load_report(folder / inside)
    return Case(name, origin, str(report.data["target"]["model"]), claim, report, folder=inside)


def one_line(text: object) -> str:
    """`text` on one line, with every hidden character shown as a sign, cut where it is longer than any sentence of ours."""
    joined = visible(_SPACES.sub(" ", str(text)).strip(" "))
    return joined if len(joined) <= LONGEST_TEXT else joined[:LONGEST_TEXT] + " …"


def title(case: Case, t: Texts) -> str:
    """What the row ends with, in a sentence."""
    return one_line(said(case, t).headline if case.report is not None else case.error)


def said(case: Case, t: Texts) -> Words:
    """The first screen of a row that has a report."""
    return words(case.data, t)


def what(case: Case) -> str:
    """audit, identify or compare; an endpoint without a report and without a claim counts as identified."""
    if case.report is not None:
        return kind(case.data)
    return "audit" if case.claim is not None else "identify"


def untested(case: Case, t: Texts) -> Sequence[tuple[str, str]]:
    """(channel, why) of everything that was not tested, whole channels first."""
    told = said(case, t)
    return [(each.name, each.why) for each in (*told.untested, *told.partly)]
