"""Many endpoints in one audit, with the error rate controlled over all of them.

Takes rows and settings, gives one report per row and one over all. Each row is asked until it is decided at alpha / rows; then
e-BH says at which rate all rows together are decided, and every row is judged at that rate. A row that cannot be reached is an
error in its own line and stops nobody else.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from verifier.auditing import audit_target, conclude
from verifier.batch_signing import ENVELOPE, PAGE, SCHEMA, SUMMARY, sign_batch
from verifier.canonical import canonical
from verifier.conversation import Progress
from verifier.errors import TruenameError
from verifier.multiple import rejected, row_alpha
from verifier.options import Settings
from verifier.references import for_claim
from verifier.report.model import Report, rounded
from verifier.targets import Row
from verifier.transcript import Transcript, digest
from verifier.version import VERSION

AT_ONCE = 4
"""Endpoints audited at the same time; each has requests in flight of its own."""
_LOG = logging.getLogger(__name__)
_WORST = (1, 4, 3, 0)
"""Exit codes, the worst first: an accusation, an endpoint that could not be audited, an open question, a match."""


@dataclass(frozen=True, slots=True)
class Result:
    """One row's end: a report, or why there is none."""

    row: Row
    report: Report | None
    error: TruenameError | None = None

    @property
    def exit_code(self) -> int:
        """What this row alone would exit with."""
        return self.report.exit_code if self.report is not None else 4


@dataclass(frozen=True, slots=True)
class Batch:
    """All rows, judged together."""

    results: tuple[Result, ...]
    alpha: float
    """Error rate over the whole batch."""
    row_alpha: float
    """Error rate at which each row was decided after e-BH."""

    @property
    def exit_code(self) -> int:
        """The worst of the rows."""
        codes = {result.exit_code for result in self.results}
        return next(code for code in _WORST if code in codes)

    def to_json(self) -> dict[str, Any]:
        """The report over all rows; each row's own report lies in its folder and is named by its digest."""
        whole: dict[str, Any] = rounded(
            {
                "schema": SCHEMA,
                "truename_version": VERSION,
                "alpha": self.alpha,
                "row_alpha": self.row_alpha,
                "endpoints": len(self.results),
                "accused": sum(result.exit_code == 1 for result in self.results),
                "rows": [_row_json(result, folder) for result, folder in zip(self.results, folders(self.results), strict=True)],
            }
        )
        return whole

    def save(self, out: Path, lang: str = "en") -> Batch:
        """Write one folder per audited row, the summary, its page where it can be drawn, and the signature over them into `out`.

        Gives the batch as it was written: each report with the digest of the one before it. Raises CannotRunError if it cannot be written.
        """
        from verifier.key_store import KeyStore
        from verifier.publishing import Staged

        results = [
            replace(result, report=result.report.save(out / folder, lang)) if result.report is not None else result
            for result, folder in zip(self.results, folders(self.results), strict=True)
        ]
        batch = replace(self, results=tuple(results))
        data, page = batch.to_json(), batch._page(lang)
        files = {SUMMARY: canonical(data), **({} if page is None else {PAGE: page})}
        files[ENVELOPE] = sign_batch(data, page, KeyStore.of_user().signer())
        with Staged(out, files, {PAGE}) as staged:
            staged.appear()
        return batch

    def _page(self, lang: str) -> bytes | None:
        """The summary's page; None where it cannot be drawn: what was paid for are the reports."""
        from verifier.report.html import render_batch_html

        try:
            return render_batch_html(self, lang=lang)
        except TruenameError:
            raise
        except Exception:
            _LOG.info("the page of the batch cannot be drawn", exc_info=True)
            return None


async def audit_batch(
    rows: Sequence[Row], settings: Settings, progress: Callable[[Row], Progress] | None = None, done: Callable[[Result], None] | None = None
) -> Batch:
    """Audit all rows, a few at a time, and judge them together. Raises UsageError for settings that make no sense."""
    settings = settings.checked()
    strict = replace(settings, alpha=max(settings.alpha / len(rows), 1e-6))
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(row: Row) -> Result:
        async with gate:
            try:
                packs = for_claim(row.claim, settings.packs)
                report = await audit_target(
                    row.target, row.claim, replace(strict, packs=packs), progress(row) if progress else None, row.auto
                )
                result = Result(row, report)
            except TruenameError as error:
                result = Result(row, None, error)
            if done:
                done(result)
            return result

    return judge_together(await asyncio.gather(*(one(row) for row in rows)), settings)


def judge_together(results: Sequence[Result], settings: Settings) -> Batch:
    """The rows judged at the rate that e-BH gives them all: `settings.alpha` over the whole batch.

    Rows that could not be audited count as hypotheses that were not rejected.
    """
    transcripts = [Transcript.from_bytes(result.report.transcript) if result.report else None for result in results]
    log_es = [_log_e(result, settings) for result in results]
    rate = row_alpha(len(results), rejected(log_es, settings.alpha), settings.alpha)
    batch = {"endpoints": len(results), "alpha": settings.alpha}
    judged = []
    for result, transcript in zip(results, transcripts, strict=True):
        if transcript is None:
            judged.append(result)
            continue
        at_rate = replace(transcript, header=replace(transcript.header, alpha=rate, batch=batch))
        judged.append(Result(result.row, conclude(at_rate, at_rate.to_bytes(), packs=for_claim(result.row.claim, settings.packs))))
    return Batch(tuple(judged), settings.alpha, rate)


def _log_e(result: Result, settings: Settings) -> float:
    """A row's e-value counts only where the contract's rule lets it accuse at the batch's own rate: others stay at 0."""
    if result.report is None:
        return -math.inf
    transcript = Transcript.from_bytes(result.report.transcript)
    alone = replace(transcript, header=replace(transcript.header, alpha=settings.alpha, batch=None))
    report = conclude(alone, b"", packs=for_claim(result.row.claim, settings.packs))
    return math.log(report.data["verdict"]["e_value"]) if report.outcome == "inconsistent" else -math.inf


def folders(results: Sequence[Result]) -> list[str]:
    """A folder name per row: its number and what of its name is safe in a path."""
    return [f"{number:03d}-{re.sub(r'[^0-9A-Za-z.-]+', '-', result.row.name).strip('-.')[:60]}" for number, result in enumerate(results, 1)]


def row_of_report(report: Report) -> dict[str, Any]:
    """What the summary says of a row that has this report."""
    verdict = report.data["verdict"]
    found: dict[str, Any] = rounded(
        {
            "outcome": verdict["outcome"],
            "e_value": verdict["e_value"],
            "tokenizer": verdict["tokenizer"][0]["family"] if verdict["tokenizer"] else None,
            "findings": [finding["code"] for finding in report.data["findings"]],
            "requests": report.data["cost"]["requests"],
            "id": report.data["id"],
            "report": digest(report.to_bytes()),
        }
    )
    return found


def _row_json(result: Result, folder: str) -> dict[str, Any]:
    row: dict[str, Any] = {"name": result.row.name, "origin": result.row.target.origin, "claim": result.row.claim.model}
    if result.report is None:
        return row | {"outcome": None, "error": str(result.error)}
    return row | row_of_report(result.report) | {"folder": folder, "error": None}
