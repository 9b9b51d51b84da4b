"""The commands about reference packs, `truename packs`: list, show, fetch and verify; those that make packs join them.

What is asked for goes to stdout, as text or with --json; what happens meanwhile goes to stderr.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from verifier.cli_output import print_json
from verifier.cli_packs_make import AsJson, packs_build, packs_import
from verifier.cli_verify import read_keys
from verifier.errors import CannotRunError, TargetRefusedError

packs_app = typer.Typer(help="Reference packs: what named models answer to fixed questions.", no_args_is_help=True)

Names = Annotated[
    list[str] | None, typer.Argument(metavar="[PACK]...", help="Names of installed packs, or files; all installed ones without.")
]
Trusted = Annotated[Path | None, typer.Option("--key", metavar="PUB", help="Every pack must be signed by one of these public keys (PEM).")]


@packs_app.command("list")
def packs_list(packs: Names = None, as_json: AsJson = False) -> None:
    """Packs, one a line: name, version, kind, models, questions, texts at hand, expiry, digest."""
    from verifier import pack_files
    from verifier.pack_listing import summary
    from verifier.question_store import QuestionStore

    store = QuestionStore()
    rows = [summary(pack, file, store) for file in pack_files.resolve(packs or []) for pack in file.packs]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        texts = f"{row['texts']} of {row['questions']} texts"
        expiry = row["stale"] or f"expires {row['expires'] or 'never'}"
        typer.echo("\t".join([row["name"], row["version"], row["kind"], f"{row['models']} models", texts, expiry, row["digest"][:12]]))
    if not rows:
        typer.echo("no packs are installed; `truename packs import` and `truename enroll` make some", err=True)


@packs_app.command("show")
def packs_show(packs: Names = None, as_json: AsJson = False) -> None:
    """One pack in full: questions, models with their sample sizes, where it comes from, when it expires."""
    from verifier import pack_files
    from verifier.pack_listing import everything, page
    from verifier.question_store import QuestionStore

    store = QuestionStore()
    shown = [(pack, file) for file in pack_files.resolve(packs or []) for pack in file.packs]
    if as_json:
        print_json([everything(pack, file, store) for pack, file in shown])
        return
    for pack, file in shown:
        typer.echo(page(everything(pack, file, store)))


@packs_app.command("fetch")
def packs_fetch(
    packs: Names = None,
    place: Annotated[
        Path | None, typer.Option("--from", metavar="FILE|DIR", help="Take the texts from disk: any text whose digest is wanted.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Bring in the texts of published questions and check each digest. Exit 0 when all are here, 4 when some are not."""
    import asyncio

    from verifier import pack_files, question_fetching
    from verifier.question_store import QuestionStore

    wanted = [pack for file in pack_files.resolve(packs or []) for pack in file.packs]
    store = QuestionStore()
    if place is not None:
        result = question_fetching.take_from(place, wanted, store)
    else:
        result = asyncio.run(question_fetching.fetch_published(wanted, store, _guarded_get, tell=lambda line: typer.echo(line, err=True)))
    for problem in result.problems:
        typer.echo(problem, err=True)
    if as_json:
        counts = {"questions": result.questions, "present": result.present, "fetched": result.came, "lacking": result.lacking}
        print_json(counts | {"problems": result.problems})
    else:
        typer.echo(f"{result.questions} questions: {result.present} were here, {result.came} came, {result.lacking} are lacking")
    if result.lacking:
        raise typer.Exit(CannotRunError.exit_code)


packs_app.command("import")(packs_import)
packs_app.command("build")(packs_build)


@packs_app.command("verify")
def packs_verify(packs: Names = None, key: Trusted = None, as_json: AsJson = False) -> None:
    """Check every digest and signature. Exit 0 all hold, 1 one does not, 4 one cannot be read as a pack."""
    from verifier import pack_files
    from verifier.key_store import KeyStore
    from verifier.pack_listing import checked, verified

    trusted = read_keys(key) if key is not None else None
    own = KeyStore.of_user().trusted()
    rows: list[dict[str, Any]] = []
    worst = 0
    for name in packs or ["installed"]:
        try:
            files = pack_files.installed() if not packs else pack_files.resolve([name])
            if trusted is not None:
                for file in files:
                    pack_files.check_signer(file, trusted)
        except pack_files.DoesNotHoldError as error:
            rows.append({"place": name, "holds": False, "why": str(error)})
            worst = max(worst, 1)
        except CannotRunError as error:
            rows.append({"place": name, "holds": None, "why": str(error)})
            worst = CannotRunError.exit_code
        else:
            rows += [checked(pack, file, trusted or own) for file in files for pack in file.packs]
    if as_json:
        print_json(rows)
    else:
        for row in rows:
            typer.echo(verified(row))
    raise typer.Exit(worst)


async def _guarded_get(url: str) -> bytes:
    """A published file, from public addresses only: what packs name has no business in the user's network unless that is allowed."""
    from verifier.endpoint.fetch import fetch
    from verifier.endpoint.guard import service_policy

    allowed = [entry for entry in os.environ.get("TRUENAME_ALLOWED_NETWORKS", "").split(",") if entry.strip()]
    try:
        return await fetch(url, service_policy(allowed))
    except TargetRefusedError as error:
        remedy = "take the texts from disk with --from, or allow the network in TRUENAME_ALLOWED_NETWORKS"
        raise TargetRefusedError(error.problem, remedy) from None
