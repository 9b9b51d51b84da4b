"""The commands about reference packs: `truename packs list|show|fetch|import|build|verify`.

What is asked for goes to stdout, as text or with --json; what happens meanwhile goes to stderr.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from verifier.errors import CannotRunError, TargetRefusedError, UsageError

if TYPE_CHECKING:
    from fingerprints.packs import Pack
    from verifier.pack_files import PackFile
    from verifier.question_store import QuestionStore

packs_app = typer.Typer(help="Reference packs: what named models answer to fixed questions.", no_args_is_help=True)

Names = Annotated[
    list[str] | None, typer.Argument(metavar="[PACK]...", help="Names of installed packs, or files; all installed ones without.")
]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON on stdout.")]
Out = Annotated[Path, typer.Option("--out", metavar="PACK", help="The pack file to write.")]
Name = Annotated[str | None, typer.Option("--name", metavar="NAME", help="The pack's name (default: the file's).")]
Language = Annotated[str, typer.Option("--language", metavar="CODE", help="Language of the questions, such as en, ko or zh.")]
Licence = Annotated[str, typer.Option("--licence", metavar="TEXT", help="Licence of the answers.")]
Sign = Annotated[bool, typer.Option("--sign", help="Sign the pack with this installation's key (TRUENAME_SIGNING_KEY).")]
Expires = Annotated[str | None, typer.Option("--expires", metavar="DATE|never", help="When the pack goes stale (default: in a year).")]
QuestionsAre = Annotated[
    str | None, typer.Option("--questions-are", metavar="choice|open", help="What the questions are (default: by form).")
]


@packs_app.command("list")
def packs_list(packs: Names = None, as_json: AsJson = False) -> None:
    """Packs, one a line: name, version, kind, models, questions, texts at hand, expiry, digest."""
    from verifier import pack_files
    from verifier.question_store import QuestionStore

    store = QuestionStore()
    rows = [_summary(pack, file, store) for file in pack_files.resolve(packs or []) for pack in file.packs]
    if as_json:
        _print_json(rows)
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
    from verifier.question_store import QuestionStore

    store = QuestionStore()
    shown = [(pack, file) for file in pack_files.resolve(packs or []) for pack in file.packs]
    if as_json:
        _print_json([_everything(pack, file, store) for pack, file in shown])
        return
    for pack, file in shown:
        typer.echo(_page(_everything(pack, file, store)))


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
        _print_json(counts | {"problems": result.problems})
    else:
        typer.echo(f"{result.questions} questions: {result.present} were here, {result.came} came, {result.lacking} are lacking")
    if result.lacking:
        raise typer.Exit(CannotRunError.exit_code)


@packs_app.command("import")
def packs_import(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Recorded answers, and the files of their questions.")],
    out: Out,
    form: Annotated[
        str, typer.Option("--kind", metavar="auto|number-picks|alpaca-eval|arena-hard|jsonl", help="Form of the files.")
    ] = "auto",
    name: Name = None,
    language: Language = "en",
    questions_are: QuestionsAre = None,
    licence: Licence = "not stated",
    expires: Expires = None,
    sign: Sign = False,
    as_json: AsJson = False,
) -> None:
    """Make a pack of answers that others recorded."""
    from verifier import pack_files
    from verifier.pack_import import About, import_pack
    from verifier.question_store import QuestionStore

    if questions_are not in (None, "choice", "open"):
        raise UsageError(f"questions are no {questions_are!r}", "choose choice or open")
    about = About(form, name or out.name.removesuffix(".pack"), language, questions_are, licence, None, expires)  # type: ignore[arg-type]
    store = QuestionStore()
    pack, recorded = import_pack(files, about, store)
    pack_files.save(out, [pack], pack_files.own_signature() if sign else None)
    if recorded.left_out:
        lost = f", {len(recorded.unknown_questions)} questions without a text" if recorded.unknown_questions else ""
        typer.echo(f"{recorded.left_out} rows were left out: no question, model or answer{lost}", err=True)
    file = pack_files.PackFile(str(out), (pack,))
    if as_json:
        _print_json(_summary(pack, file, store) | {"form": recorded.form, "left_out": recorded.left_out})
    else:
        typer.echo(f"{out}: {len(pack.models)} models, {len(pack.questions)} questions, read as {recorded.form}")


@packs_app.command("build")
def packs_build(
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="The folder of recorded answers that the shipped packs are made of.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder to write the packs to.")] = Path("packs"),
    as_json: AsJson = False,
) -> None:
    """Build the packs that ship with Truename again, from the recorded answers that they were made of."""
    from fingerprints.packs import PackError
    from verifier import pack_files

    try:
        from fingerprints.build import packs as builder
    except ImportError as error:
        raise CannotRunError(
            "this installation cannot build the shipped packs", "run it from a checkout with its development packages"
        ) from error
    if not data.is_dir():
        raise CannotRunError(f"there is no folder {data}", "name the folder of recorded answers with --data")
    try:
        with contextlib.redirect_stdout(sys.stderr):
            builder.main(["--data", str(data), "--out", str(out)])
    except OSError as error:
        raise CannotRunError(
            f"{error.filename or data}: {error.strerror or error}", "name the folder of recorded answers with --data"
        ) from error
    except PackError as error:
        raise CannotRunError(f"{data}: {error}", "name the folder of recorded answers with --data") from error
    written = [(path, pack) for path in sorted(out.glob("*.pack")) for pack in pack_files.load(path).packs]
    if as_json:
        _print_json([{"file": str(path), "name": pack.name, "kind": pack.kind, "digest": pack.digest} for path, pack in written])
        return
    for path, pack in written:
        typer.echo(f"{path}\t{pack.name}\t{pack.kind}\t{pack.digest}")


@packs_app.command("verify")
def packs_verify(packs: Names = None, as_json: AsJson = False) -> None:
    """Check every digest and signature. Exit 0 all hold, 1 one does not, 4 one cannot be read as a pack."""
    from fingerprints.packs import stale
    from verifier import pack_files

    rows, worst = [], 0
    for name in packs or ["installed"]:
        try:
            files = pack_files.installed() if not packs else pack_files.resolve([name])
        except pack_files.DoesNotHoldError as error:
            rows.append({"place": name, "holds": False, "why": str(error)})
            worst = max(worst, 1)
            continue
        except CannotRunError as error:
            rows.append({"place": name, "holds": None, "why": str(error)})
            worst = CannotRunError.exit_code
            continue
        for file in files:
            for pack in file.packs:
                why = stale(pack, _today())
                rows.append(
                    {"place": file.place, "holds": True, "name": pack.name, "kind": pack.kind, "digest": pack.digest}
                    | {"signed_by": file.signed_by, "why": why}
                )
    if as_json:
        _print_json(rows)
    else:
        for row in rows:
            typer.echo(_verified(row))
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


def _verified(row: dict[str, Any]) -> str:
    if not row["holds"]:
        return f"{'DOES NOT HOLD' if row['holds'] is False else 'UNREADABLE'}\t{row['why']}"
    signed = f", signed by {row['signed_by'][:16]}…" if row["signed_by"] else ""
    return f"holds\t{row['place']}\t{row['name']}\t{row['kind']}\t{row['digest']}{signed}" + (
        f"\n\tnote: {row['why']}" if row["why"] else ""
    )


def _summary(pack: Pack, file: PackFile, store: QuestionStore) -> dict[str, Any]:
    from fingerprints.packs import stale

    texts = sum(store.text_of(question) is not None for question in pack.questions)
    return {
        "name": pack.name,
        "version": pack.version,
        "kind": pack.kind,
        "place": file.place,
        "created": pack.created,
        "expires": pack.expires,
        "stale": stale(pack, _today()),
        "models": len(pack.models),
        "questions": len(pack.questions),
        "texts": texts,
        "digest": pack.digest,
    }


def _everything(pack: Pack, file: PackFile, store: QuestionStore) -> dict[str, Any]:
    from dataclasses import asdict

    questions = []
    for question in pack.questions:
        source = None if question.source is None else asdict(question.source) | {"position": dict(question.source.position)}
        row = {"id": question.id, "sha256": question.sha256, "kind": question.kind, "language": question.language}
        questions.append(row | {"text_here": store.text_of(question) is not None, "source": source})
    return _summary(pack, file, store) | {
        "origin": pack.origin,
        "licence": pack.licence,
        "signed_by": file.signed_by,
        "models": [asdict(model) for model in pack.models],
        "questions": questions,
    }


def _page(shown: dict[str, Any]) -> str:
    lines = [
        f"{shown['name']} {shown['version']} ({shown['kind']})",
        f"  digest   {shown['digest']}",
        f"  origin   {shown['origin']}",
        f"  licence  {shown['licence']}",
        f"  created  {shown['created']}, expires {shown['expires'] or 'never'}" + (f": {shown['stale']}" if shown["stale"] else ""),
        f"  signed   {'by ' + shown['signed_by'] if shown['signed_by'] else 'no'}",
        f"  models   {len(shown['models'])}",
        *(f"    {m['name']}\t{m['samples']} answers\tfamily {m['family']}\tbase {m['base']}" for m in shown["models"]),
        f"  questions {len(shown['questions'])}, texts here {shown['texts']}",
    ]
    for q in shown["questions"]:
        origin = "our own" if q["source"] is None else f"{q['source']['repository']}/{q['source']['path']}"
        lines.append(f"    {q['id']}\t{q['language']}\t{q['sha256'][:16]}\t{'text here' if q['text_here'] else 'not fetched'}\t{origin}")
    return "\n".join(lines)


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def _today() -> date:
    return datetime.now(UTC).date()
