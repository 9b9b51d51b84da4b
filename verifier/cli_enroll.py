"""The command `truename enroll`: record a reference pack from an endpoint that is trusted to serve what it says.

Prints what it will cost and asks before anything is sent; progress and messages on stderr. Ctrl-C loses nothing.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from verifier.cli_options import Body, Concurrency, Headers, KeyVariable, Query, SecretHeaders, Timeout, WireName, make_target
from verifier.errors import UsageError

if TYPE_CHECKING:
    from probes.probe import Reply
    from verifier.enrolment_journal import Enrolment, Journal
    from verifier.question_store import QuestionStore

INTERRUPTED = 130
"""What a shell reports for a command that Ctrl-C ended."""


def enroll(
    base_url: Annotated[str, typer.Argument(metavar="BASE_URL", help="The trusted endpoint, such as the vendor's own.")],
    model_as: Annotated[str, typer.Option("--as", metavar="MODEL", help="The model that it serves.")],
    out: Annotated[Path, typer.Option("--out", metavar="PACK", help="The pack file; a model joins those that are in it.")],
    model: Annotated[str | None, typer.Option("--model", metavar="NAME", help="Model name sent in requests (default: --as).")] = None,
    questions: Annotated[int, typer.Option("--questions", metavar="N", help="At most N questions of each kind.", min=1)] = 30,
    samples: Annotated[int, typer.Option("--samples", metavar="N", help="Answers to each choice question.", min=1)] = 50,
    open_samples: Annotated[int, typer.Option("--open-samples", metavar="N", help="Answers to each open question.", min=1)] = 3,
    pack: Annotated[
        list[str] | None, typer.Option("--pack", metavar="PACK", help="Ask the questions of this pack instead of our own; repeatable.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Only go on with an enrolment that was begun.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before sending.")] = False,
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="The pack's name (default: the file's).")] = None,
    licence: Annotated[str, typer.Option("--licence", metavar="TEXT", help="Licence of the answers.")] = "not stated",
    sign: Annotated[bool, typer.Option("--sign", help="Sign the pack with this installation's key (TRUENAME_SIGNING_KEY).")] = False,
    wire: WireName = "auto",
    api_key_env: KeyVariable = None,
    header: Headers = None,
    header_env: SecretHeaders = None,
    query: Query = None,
    body: Body = None,
    timeout: Timeout = 60.0,
    concurrency: Concurrency = 4,
) -> None:
    """Record how MODEL answers, from an endpoint that is trusted to serve it. A second run goes on where the first stopped."""
    import asyncio

    from fingerprints import knowledge
    from verifier import enrolling, pack_files
    from verifier.enrolment_journal import Enrolment, Journal
    from verifier.question_store import QuestionStore
    from verifier.report.text import plain

    target = make_target(base_url, model or model_as, wire, api_key_env, header, header_env, query, body)
    store, journal = QuestionStore(), Journal(out)
    wanted = {"choice": samples, "open": open_samples, "knowledge": enrolling.KNOWLEDGE_SAMPLES}
    enrolment = Enrolment(enrolling.model_name(model_as), target.origin, enrolling.today().isoformat(), wanted)
    enrolment = _continued(journal, enrolment, out, resume)
    if not journal.exists:
        packs = [each for file in (pack_files.resolve(pack) if pack else []) for each in file.packs]
        journal.begin(enrolling.questions_for(packs, store, questions), enrolment, knowledge.forms_of(packs))
    else:
        journal.begin(journal.questions, enrolment)
    _agree(journal, enrolment, store, yes)
    total = journal.remaining(enrolment).total()

    def tell(reply: Reply, still_open: int) -> None:
        if reply.error:
            typer.echo(plain(f"  {reply.ask.key} failed: {reply.error.kind}: {reply.error.text}"), err=True)
        elif (total - still_open) % 10 == 0 or not still_open:
            typer.echo(f"  {total - still_open} of {total} answers", err=True)

    try:
        failed = asyncio.run(
            enrolling.ask(target, journal, enrolment, store, auto=wire == "auto", timeout_s=timeout, concurrency=concurrency, tell=tell)
        )
    except KeyboardInterrupt:
        left = journal.remaining(enrolment).total()
        typer.echo(f"stopped: {total - left} answers are kept in {journal.path}; the same command goes on with the other {left}", err=True)
        raise typer.Exit(INTERRUPTED) from None
    if failed:
        empty = sum(reply.ok for reply in failed)
        hint = f", {empty} of them empty" if empty else ""
        typer.echo(f"{len(failed)} requests gave no answer{hint}; the same command asks them again", err=True)
    if enrolling.looks_cached(journal, enrolment.model):
        typer.echo("every choice question got one and the same answer: a cache, or sampling is off; such a reference fits little", err=True)
    built, problems = enrolling.build(journal, name or out.name.removesuffix(".pack"), licence)
    for problem in problems:
        typer.echo(problem, err=True)
    pack_files.save(out, built, pack_files.own_signature() if sign else None)
    for made in built:
        typer.echo(
            f"{out}\t{made.kind}\t{len(made.models)} models\t{len(made.questions)} questions\texpires {made.expires}\t{made.digest[:12]}"
        )


def _continued(journal: Journal, enrolment: Enrolment, out: Path, resume: bool) -> Enrolment:
    """The enrolment, as it was begun where it was; refuses what could not be merged."""
    from dataclasses import replace

    if not journal.exists:
        if resume:
            raise UsageError(f"no enrolment was begun beside {out}", "leave out --resume")
        if out.exists():
            raise UsageError(f"{out} exists without the answers that it was made of ({journal.path})", "name another file with --out")
        return enrolment
    begun = journal.enrolments.get(enrolment.model)
    if begun is None:
        if resume:
            raise UsageError(f"the enrolment beside {out} holds no {enrolment.model}", "leave out --resume to add it")
        return enrolment
    if begun.origin != enrolment.origin:
        raise UsageError(
            f"{enrolment.model} was enrolled from {begun.origin}, not {enrolment.origin}", "give that endpoint, or another file with --out"
        )
    return begun if resume else replace(enrolment, began=begun.began)


def _agree(journal: Journal, enrolment: Enrolment, store: QuestionStore, yes: bool) -> None:
    """Say what it will cost and ask, unless told not to."""
    from verifier import enrolling

    price = enrolling.cost(journal, enrolment, store)
    if not price.requests:
        typer.echo(f"{enrolment.model}: all answers are here", err=True)
        return
    typer.echo(
        f"{enrolment.model} from {enrolment.origin}: {len(journal.questions)} questions, {price.requests} requests, "
        f"about {price.prompt_tokens} prompt tokens, at most {price.completion_tokens} completion tokens",
        err=True,
    )
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("nothing is sent before somebody agrees", "give --yes")
    if not typer.confirm("Send them?", err=True):
        raise typer.Exit(2)
