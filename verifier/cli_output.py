"""What a command prints on stdout: a report, a batch or a failure, in the form that --format names.

Takes what the library gave, prints it. A form that a CI system reads is printed for an endpoint that could not be audited too: a
missing file would read as "nothing to report".
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from verifier.errors import CannotRunError, TargetRefusedError, UsageError

if TYPE_CHECKING:
    from verifier.batch import Batch
    from verifier.report.cases import Cases
    from verifier.report.model import Report
    from verifier.target import Target

FORMS = ("text", "json", "markdown", "junit", "sarif")


def output_form(form: str, as_json: bool) -> str:
    """What the report is printed as. Raises UsageError for a form that there is none of."""
    if form not in FORMS:
        raise UsageError(f"there is no format {form!r}", f"choose {', '.join(FORMS[:-1])} or {FORMS[-1]}")
    return "json" if as_json else form


def print_json(value: Any) -> None:
    """Plain data on stdout, to be read by people and programs."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_report(report: Report, form: str, lang: str) -> None:
    """One report on stdout."""
    from verifier.report import comparison, text

    if form == "json":
        typer.echo(report.to_bytes())
    elif form == "text":
        from rich.console import Console

        (comparison if comparison.is_comparison(report) else text).show(report, Console(), lang)
    else:
        from verifier.report.cases import of_report

        typer.echo(_rendered(of_report(report), form, lang), nl=False)


def print_batch(batch: Batch, form: str, lang: str) -> None:
    """The report over many endpoints on stdout."""
    if form == "json":
        print_json(batch.to_json())
    elif form == "text":
        from rich.console import Console

        from verifier.report.batch import show

        show(batch, Console(), lang)
    else:
        from verifier.batch import folders
        from verifier.report.cases import of_batch

        typer.echo(_rendered(of_batch(batch, folders(batch.results)), form, lang), nl=False)


@contextmanager
def failure_printed(form: str, lang: str, target: Target, claim: str | None) -> Iterator[None]:
    """Print a failure in the forms that have a place for one, and raise it on: the error's line and exit code stay the same."""
    try:
        yield
    except (CannotRunError, TargetRefusedError) as error:
        if form not in ("text", "json"):
            from verifier.report.cases import of_error

            typer.echo(_rendered(of_error(target.origin, target.model, claim, error), form, lang), nl=False)
        raise


def say_if_no_page(folder: Path, page: str = "report.html") -> None:
    """One line on stderr where a report was written without its page."""
    from verifier.report.text import plain

    if not (folder / page).exists():
        typer.echo(plain(f"note: the page could not be drawn, so {folder} holds the report without {page}; please report it"), err=True)


def _rendered(cases: Cases, form: str, lang: str) -> str:
    if form == "junit":
        from verifier.report.junit import render_junit

        return render_junit(cases, lang)
    if form == "sarif":
        from verifier.report.sarif import render_sarif

        return render_sarif(cases)
    from verifier.report.markdown import render_markdown

    return render_markdown(cases, lang)
