"""The commands that make reference packs of recorded answers: `truename packs import|build`.

What was made goes to stdout, as text or with --json; what happens meanwhile goes to stderr. They send nothing.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from verifier.cli_output import print_json
from verifier.errors import CannotRunError, UsageError

AsJson = Annotated[bool, typer.Option("--json", help="As JSON on stdout.")]
Out = Annotated[Path, typer.Option("--out", metavar="PACK", help="The pack file to write.")]
PackName = Annotated[str | None, typer.Option("--name", metavar="NAME", help="The pack's name (default: the file's).")]
Language = Annotated[str, typer.Option("--language", metavar="CODE", help="Language of the questions, such as en, ko or zh.")]
Licence = Annotated[str, typer.Option("--licence", metavar="TEXT", help="Licence of the answers.")]
Sign = Annotated[bool, typer.Option("--sign", help="Sign the pack with this installation's key (TRUENAME_SIGNING_KEY).")]
Expires = Annotated[str | None, typer.Option("--expires", metavar="DATE|never", help="When the pack goes stale (default: in a year).")]
QuestionsAre = Annotated[
    str | None,
    typer.Option("--questions-are", metavar="choice|open|knowledge", help="What the questions are (default: by form)."),
]


def packs_import(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Recorded answers, and the files of their questions.")],
    out: Out,
    form: Annotated[
        str, typer.Option("--kind", metavar="auto|number-picks|alpaca-eval|arena-hard|jsonl", help="Form of the files.")
    ] = "auto",
    name: PackName = None,
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
    from verifier.pack_listing import summary
    from verifier.question_store import QuestionStore

    if questions_are not in (None, "choice", "open", "knowledge"):
        raise UsageError(f"questions are no {questions_are!r}", "choose choice, open or knowledge")
    about = About(form, name or out.name.removesuffix(".pack"), language, questions_are, licence, None, expires)  # type: ignore[arg-type]
    store = QuestionStore()
    pack, recorded = import_pack(files, about, store)
    pack_files.save(out, [pack], pack_files.own_signature() if sign else None)
    if recorded.left_out:
        lost = f", {len(recorded.unknown_questions)} questions without a text" if recorded.unknown_questions else ""
        typer.echo(f"{recorded.left_out} rows were left out: no question, model or answer, or questions of another kind{lost}", err=True)
    file = pack_files.PackFile(str(out), (pack,))
    if as_json:
        print_json(summary(pack, file, store) | {"form": recorded.form, "left_out": recorded.left_out})
    else:
        typer.echo(f"{out}: {len(pack.models)} models, {len(pack.questions)} questions, read as {recorded.form}")


def packs_build(
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="The folder of recorded answers that the shipped packs are made of.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder to write the packs to.")] = Path("packs"),
    sign: Sign = False,
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
    signature = pack_files.own_signature() if sign else None
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".packs-", dir=out) as folder:
            with contextlib.redirect_stdout(sys.stderr):
                builder.main(["--data", str(data), "--out", folder])
            made = sorted(Path(folder).glob("*.pack"))
            for path in made:
                pack_files.save(out / path.name, pack_files.load(path).packs, signature)
    except OSError as error:
        raise CannotRunError(
            f"{error.filename or data}: {error.strerror or error}", "name the folder of recorded answers with --data"
        ) from error
    except PackError as error:
        raise CannotRunError(f"{data}: {error}", "name the folder of recorded answers with --data") from error
    written = [pack_files.load(out / path.name) for path in made]
    rows = [(file, pack) for file in written for pack in file.packs]
    if as_json:
        signed = [{"signed_by": file.signed_by, "keyid": file.keyid} for file, _ in rows]
        told = [{"file": file.place, "name": pack.name, "kind": pack.kind, "digest": pack.digest} for file, pack in rows]
        print_json([row | by for row, by in zip(told, signed, strict=True)])
        return
    for file, pack in rows:
        typer.echo(f"{file.place}\t{pack.name}\t{pack.kind}\t{pack.digest}")
