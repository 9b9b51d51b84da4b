"""`truename audit --targets FILE`: one table and one report over many endpoints.

Takes the file and the settings, prints and writes, exits with the worst of the rows.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import typer

if TYPE_CHECKING:
    from verifier.batch import Result
    from verifier.options import Settings


def run_batch(path: Path, settings: Settings, dry_run: bool, out: Path | None, form: str, lang: str) -> NoReturn:
    """Audit every row of the file, or print its plan."""
    from verifier import references
    from verifier.batch import audit_batch, folders
    from verifier.batch_signing import PAGE
    from verifier.cli_output import print_batch, say_if_no_page
    from verifier.report.text import plain
    from verifier.targets import read_targets

    rows = read_targets(path)
    if dry_run:
        from verifier.options import request_limit

        typer.echo(f"{len(rows)} endpoints, at most {request_limit(settings)} requests each; --dry-run without --targets prices one.")
        for row in rows:
            typer.echo(plain(f"  {row.name}: {row.target.origin} as {row.claim.model}"))
        raise typer.Exit(0)
    told = 0

    def done(result: Result) -> None:
        nonlocal told
        told += 1
        said = result.report.outcome if result.report is not None else str(result.error)
        typer.echo(plain(f"{told:4d} of {len(rows)}  {result.row.name}: {said}"), err=True)

    if out is not None:
        from verifier.publishing import ready

        ready(out)
    batch = asyncio.run(audit_batch(rows, settings, done=done))
    if out is not None:
        references.remember(settings.packs)
        batch = batch.save(out, lang)
        for result, folder in zip(batch.results, folders(batch.results), strict=True):
            if result.report is not None:
                say_if_no_page(out / folder)
        say_if_no_page(out, PAGE)
    print_batch(batch, form, lang)
    raise typer.Exit(batch.exit_code)
