"""The commands that need no service: audit, identify, judge, catalog, demo.

Reads arguments, calls the library, prints: reports on stdout, progress and messages on stderr, one line per error. Heavy
modules are imported inside the commands, so that `truename --help` is quick.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from verifier.cli_badge import badge
from verifier.cli_catalog import catalog_app
from verifier.cli_compare import ReferenceKey, ReferenceModel, ReferenceUrl, compare, make_reference
from verifier.cli_enroll import enroll
from verifier.cli_keys import keys_app
from verifier.cli_options import (
    Alpha,
    AsJson,
    BaseUrl,
    Body,
    Concurrency,
    DryRun,
    Family,
    Format,
    Headers,
    KeyVariable,
    Lang,
    MaxRequests,
    MaxTokens,
    ModelName,
    NoEarlyStop,
    Out,
    Packs,
    Prompts,
    Query,
    SecretHeaders,
    Seed,
    SuiteName,
    Timeout,
    WireName,
    given_packs,
    language,
    make_settings,
    make_target,
    own_prompts,
)
from verifier.cli_output import failure_printed, output_form, print_report, say_if_no_page
from verifier.cli_packs import packs_app
from verifier.cli_verify import timestamp, verify
from verifier.errors import UsageError

if TYPE_CHECKING:
    from fingerprints.catalog import Claim
    from verifier.conversation import Progress
    from verifier.options import Settings
    from verifier.target import Target

app = typer.Typer(
    name="truename",
    help="Find out which model really answers behind an LLM endpoint.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(catalog_app, name="catalog")
app.add_typer(packs_app, name="packs")
app.add_typer(keys_app, name="keys")
app.command("enroll")(enroll)
app.command("compare")(compare)
app.command("verify")(verify)
app.command("badge")(badge)
app.command("timestamp")(timestamp)


@app.callback()
def _root(debug: Annotated[bool, typer.Option("--debug", help="Show a traceback on errors.")] = False) -> None:
    """Find out which model really answers behind an LLM endpoint."""


@app.command()
def audit(
    base_url: Annotated[
        str | None, typer.Argument(metavar="[BASE_URL]", help="Where the API lives, such as https://api.example.com/v1")
    ] = None,
    claim: Annotated[str | None, typer.Option("--claim", metavar="MODEL", help="The model that the endpoint is said to serve.")] = None,
    targets: Annotated[
        Path | None, typer.Option("--targets", metavar="FILE", help="Audit many endpoints: TOML with [[targets]], or JSON lines.")
    ] = None,
    model: ModelName = None,
    family: Family = None,
    wire: WireName = "auto",
    api_key_env: KeyVariable = None,
    header: Headers = None,
    header_env: SecretHeaders = None,
    query: Query = None,
    body: Body = None,
    suite: SuiteName = "standard",
    max_requests: MaxRequests = None,
    max_tokens: MaxTokens = None,
    timeout: Timeout = 25.0,
    concurrency: Concurrency = 4,
    alpha: Alpha = 0.01,
    no_early_stop: NoEarlyStop = False,
    pack: Packs = None,
    prompts: Prompts = None,
    reference: ReferenceUrl = None,
    reference_model: ReferenceModel = None,
    reference_key_env: ReferenceKey = None,
    seed: Seed = None,
    dry_run: DryRun = False,
    out: Out = None,
    as_json: AsJson = False,
    format: Format = "text",
    lang: Lang = "en",
) -> None:
    """Test the claim that an endpoint serves MODEL. Exit 0 consistent, 1 inconsistent, 3 inconclusive, 2 usage, 4 could not run."""
    settings = make_settings(suite, seed, alpha, no_early_stop, max_requests, max_tokens, timeout, concurrency)
    settings = replace(settings, packs=given_packs(pack), prompts=own_prompts(prompts))
    form, lang = output_form(format, as_json), language(lang)
    if reference is None and (reference_model or reference_key_env):
        raise UsageError("--reference is missing", "name the genuine endpoint's URL with --reference, or leave out its other options")
    if targets is not None:
        from verifier.cli_batch import run_batch

        if base_url is not None or claim is not None or reference is not None:
            raise UsageError("--targets stands beside a BASE_URL, --claim or --reference", "put every endpoint into the file")
        run_batch(targets, settings, dry_run, out, form, lang)
    if base_url is None or claim is None:
        raise UsageError("BASE_URL or --claim is missing", "write `truename audit BASE_URL --claim MODEL`, or --targets FILE")
    target = make_target(base_url, model or claim, wire, api_key_env, header, header_env, query, body)
    beside = make_reference(reference, reference_model or target.model, "auto", reference_key_env, target) if reference else None
    _run(target, wire == "auto", claim, family, settings, dry_run, out, form, lang, beside)


@app.command()
def identify(
    base_url: BaseUrl,
    model: Annotated[str, typer.Option("--model", metavar="NAME", help="Model name sent in requests.")],
    wire: WireName = "auto",
    api_key_env: KeyVariable = None,
    header: Headers = None,
    header_env: SecretHeaders = None,
    query: Query = None,
    body: Body = None,
    suite: SuiteName = "standard",
    max_requests: MaxRequests = None,
    max_tokens: MaxTokens = None,
    timeout: Timeout = 25.0,
    concurrency: Concurrency = 4,
    alpha: Alpha = 0.01,
    pack: Packs = None,
    prompts: Prompts = None,
    seed: Seed = None,
    dry_run: DryRun = False,
    out: Out = None,
    as_json: AsJson = False,
    format: Format = "text",
    lang: Lang = "en",
) -> None:
    """Say which model or vocabulary answers, without a claim. Exit 0 named, 3 unknown, 2 usage, 4 could not run."""
    target = make_target(base_url, model, wire, api_key_env, header, header_env, query, body)
    settings = make_settings(suite, seed, alpha, True, max_requests, max_tokens, timeout, concurrency)
    settings = replace(settings, packs=given_packs(pack), prompts=own_prompts(prompts))
    _run(target, wire == "auto", None, None, settings, dry_run, out, output_form(format, as_json), language(lang))


@app.command()
def judge(
    transcript: Annotated[Path, typer.Argument(metavar="TRANSCRIPT", help="transcript.jsonl.gz, or the folder that holds it.")],
    claim: Annotated[str | None, typer.Option("--claim", metavar="MODEL", help="Judge against another claim.")] = None,
    family: Family = None,
    pack: Packs = None,
    as_json: AsJson = False,
    format: Format = "text",
    lang: Lang = "en",
) -> None:
    """Draw the conclusions again from a stored transcript, offline. Exit codes as for audit."""
    from verifier import auditing, options
    from verifier.references import named_by
    from verifier.transcript import Transcript

    form, lang = output_form(format, as_json), language(lang)
    stored, data = Transcript.load(transcript)
    packs = named_by(stored.header.packs, given_packs(pack))
    if note := auditing.other_digests(stored.header, packs):
        typer.echo(note, err=True)
    report = auditing.judge(stored, data, options.resolve_claim(claim, family), packs)
    print_report(report, form, lang)
    raise typer.Exit(report.exit_code)


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="One folder per audit is written there.")] = Path("demo-reports"),
    lang: Lang = "en",
) -> None:
    """Audit two real local models, one honest, one posing as others. No key, no network. Exit 0 when all three come out right."""
    from rich.console import Console

    from verifier import demo as demonstration
    from verifier.report import text

    console = Console()
    right = True
    for case, report in demonstration.run(out, lang=language(lang)):
        console.rule(f"{case.weights} claimed as {case.claim}", align="left")
        text.show(report, console, lang)
        named = report.data["verdict"]["tokenizer"][0]["family"] if report.data["verdict"]["tokenizer"] else None
        right = right and (report.outcome, named) == (case.outcome, case.tokenizer)
    console.print(
        f"\nReports are in {out}. Judge one again, offline: truename judge {out / demonstration.CASES[0].folder}. "
        f"Check them all: truename verify {out}",
        style="dim",
        markup=False,
    )
    raise typer.Exit(0 if right else 1)


def _run(
    target: Target,
    auto: bool,
    claim: str | None,
    family: str | None,
    settings: Settings,
    dry_run: bool,
    out: Path | None,
    form: str,
    lang: str,
    reference: Target | None = None,
) -> None:
    """Audit or plan, print, write, exit."""
    import asyncio

    from verifier import auditing, options
    from verifier.references import for_claim, remember

    resolved = options.resolve_claim(claim, family)
    settings = replace(settings, packs=for_claim(resolved, settings.packs))
    if dry_run:
        _print_plan(target, settings, resolved, form, reference)
        return
    if resolved is not None and resolved.tokenizer is None:
        typer.echo(options.unknown_claim(resolved), err=True)
    if out is not None:
        from verifier.publishing import ready

        ready(out)
    with failure_printed(form, lang, target, claim):
        report = asyncio.run(auditing.audit_target(target, resolved, settings, _progress(), auto, reference))
    if out is not None:
        remember(settings.packs)
        report = report.save(out, lang)
        say_if_no_page(out)
    print_report(report, form, lang)
    raise typer.Exit(report.exit_code)


def _print_plan(target: Target, settings: Settings, claim: Claim | None, form: str, reference: Target | None) -> None:
    from verifier.auditing import make_header, probes_for
    from verifier.pricing import plan
    from verifier.report.plan import plan_json, plan_text

    header = make_header(target, claim, settings.checked(), reference)
    planned = plan(header, claim, probes_for(header, claim, settings.packs))
    typer.echo(
        json.dumps(plan_json(planned, header.seed), indent=2, ensure_ascii=False) if form == "json" else plan_text(planned, header.seed)
    )


def _progress() -> Progress:
    """One line on stderr per reply, and the state of the evidence after each round."""
    from verifier.report.progress import printer

    return printer()
