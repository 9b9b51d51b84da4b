"""The command `truename badge DIR`: a picture of a report's verdict, for a page that links to the report.

A badge is seen by people who will not check anything, so the report is verified first: one that does not hold gets no badge.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from verifier.cli_options import Lang, Packs, language
from verifier.cli_verify import SignerKeys, SignerLedger, make_trust
from verifier.errors import UsageError


def badge(
    path: Annotated[Path, typer.Argument(metavar="DIR|FILE", help="A report's folder, or a file of it.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Where the picture goes (default: badge.svg beside the report).")
    ] = None,
    key: SignerKeys = None,
    ledger: SignerLedger = None,
    pack: Packs = None,
    lang: Lang = "en",
) -> None:
    """Draw a badge of a report that holds. Exit 0 drawn, 1 it does not hold, 3 drawn but the report was not re-judged, 4 unreadable."""
    from verifier import verifying
    from verifier.badge import FILE, render_badge
    from verifier.canonical import read_json
    from verifier.places import write_whole
    from verifier.report.text import plain
    from verifier.signing import REPORT

    lang = language(lang)
    envelope, *others = verifying.find_reports(path)
    if others:
        raise UsageError(f"{path} holds {len(others) + 1} reports", "name the folder of one")
    files = verifying.read_files(envelope)
    verification = verifying.verify_files(files, make_trust(key, ledger, pack), str(envelope.parent))
    if verification.exit_code == 1:
        why = next(check for check in verification.checks if check.state is verifying.State.FAILED)
        typer.echo(plain(f"truename: {path} does not hold, so there is no badge: {why.name}: {why.text}"), err=True)
        raise typer.Exit(1)
    if verification.exit_code == 3:
        why = next(check for check in verification.checks if check.name == "conclusions")
        typer.echo(plain(f"note: signature and files hold, but the report was not judged again: {why.text}"), err=True)
    data = read_json(files[REPORT])
    place = out or envelope.with_name(FILE)
    write_whole(place, render_badge(data, lang).encode("utf-8"))
    typer.echo(plain(f"{place} written"), err=True)
    raise typer.Exit(verification.exit_code)
