"""`truename audit --targets FILE`: one table and one report over many endpoints.

Takes the file and the settings, prints and writes, exits with the worst of the rows.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import typer

if TYPE_CHECKING:
    from verifier.batch import Result
    from verifier.options import Settings


def run_batch(path: Path, settings: Settings, dry_run: bool, out: Path | None, form: str) -> NoReturn:
    """Audit every row of the file, or print its plan."""
    from rich.console import Console

    from verifier import references
    from verifier.batch import audit_batch
    from verifier.report.batch import show
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

    batch = asyncio.run(audit_batch(rows, settings, done=done))
    if out is not None:
        references.remember(settings.packs)
        batch.save(out)
    if form == "json":
        typer.echo(json.dumps(batch.to_json(), ensure_ascii=False, indent=2))
    else:
        show(batch, Console())
    raise typer.Exit(batch.exit_code)
