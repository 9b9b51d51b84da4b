"""The commands that need no service: audit, identify, judge, catalog, demo.

Reads arguments, calls the library, prints: reports on stdout, progress and messages on stderr, one line per error. Heavy
modules are imported inside the commands, so that `truename --help` is quick.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from verifier.cli_catalog import catalog_app
from verifier.errors import CannotRunError, UsageError

if TYPE_CHECKING:
    from fingerprints.catalog import Claim
    from verifier.auditing import Progress
    from verifier.options import Settings
    from verifier.report.model import Report
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

KEY_VARIABLE = "TRUENAME_API_KEY"

BaseUrl = Annotated[str, typer.Argument(metavar="BASE_URL", help="Where the API lives, such as https://api.example.com/v1")]
ModelName = Annotated[str | None, typer.Option("--model", metavar="NAME", help="Model name sent in requests (default: the claim).")]
Family = Annotated[
    str | None, typer.Option("--family", metavar="NAME", help="Lineage of a claim that the catalog does not know, such as llama-3.")
]
WireName = Annotated[str, typer.Option("--wire", metavar="auto|openai|responses|anthropic|gemini", help="API flavour.")]
KeyVariable = Annotated[
    str | None, typer.Option("--api-key-env", metavar="VAR", help=f"Variable that holds the key (default {KEY_VARIABLE}).")
]
Headers = Annotated[list[str] | None, typer.Option("--header", metavar="'Name: value'", help="Extra header; repeatable.")]
SecretHeaders = Annotated[
    list[str] | None, typer.Option("--header-env", metavar="Name=VAR", help="Extra header whose value is in a variable; repeatable.")
]
Query = Annotated[
    list[str] | None,
    typer.Option("--query", metavar="k=v", help="Query parameter of every request, such as Azure's api-version; repeatable."),
]
Body = Annotated[Path | None, typer.Option("--body", metavar="FILE", help="JSON object with extra fields for every request.")]
SuiteName = Annotated[str, typer.Option("--suite", metavar="quick|standard|deep", help="At most 15, 60 or 300 requests.")]
MaxRequests = Annotated[int | None, typer.Option("--max-requests", metavar="N", help="Send at most N requests.")]
MaxTokens = Annotated[int | None, typer.Option("--max-tokens", metavar="N", help="Spend at most about N tokens.")]
Timeout = Annotated[float, typer.Option("--timeout", metavar="S", help="Seconds that one request may take.")]
Concurrency = Annotated[int, typer.Option("--concurrency", metavar="N", help="Requests in flight at once.")]
Alpha = Annotated[float, typer.Option("--alpha", help="Highest rate of false accusations.")]
NoEarlyStop = Annotated[bool, typer.Option("--no-early-stop", help="Ask the whole suite even when the decision stands.")]
Seed = Annotated[int | None, typer.Option("--seed", metavar="N", help="The same questions again.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan and its cost; send nothing.")]
Out = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Write report.json and transcript.jsonl.gz there.")]
AsJson = Annotated[bool, typer.Option("--json", help="The report as JSON on stdout.")]
Format = Annotated[str, typer.Option("--format", metavar="text|json", help="Form of the report on stdout.")]


@app.callback()
def _root(debug: Annotated[bool, typer.Option("--debug", help="Show a traceback on errors.")] = False) -> None:
    """Find out which model really answers behind an LLM endpoint."""


@app.command()
def audit(
    base_url: BaseUrl,
    claim: Annotated[str, typer.Option("--claim", metavar="MODEL", help="The model that the endpoint is said to serve.")],
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
    seed: Seed = None,
    dry_run: DryRun = False,
    out: Out = None,
    as_json: AsJson = False,
    format: Format = "text",
) -> None:
    """Test the claim that an endpoint serves MODEL. Exit 0 consistent, 1 inconsistent, 3 inconclusive, 2 usage, 4 could not run."""
    target = _target(base_url, model or claim, wire, api_key_env, header, header_env, query, body)
    settings = _settings(suite, seed, alpha, no_early_stop, max_requests, max_tokens, timeout, concurrency)
    _run(target, wire == "auto", claim, family, settings, dry_run, out, _format(format, as_json))


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
    seed: Seed = None,
    dry_run: DryRun = False,
    out: Out = None,
    as_json: AsJson = False,
    format: Format = "text",
) -> None:
    """Say which vocabulary answers, without a claim. Exit 0 named, 3 unknown, 2 usage, 4 could not run."""
    target = _target(base_url, model, wire, api_key_env, header, header_env, query, body)
    settings = _settings(suite, seed, alpha, True, max_requests, max_tokens, timeout, concurrency)
    _run(target, wire == "auto", None, None, settings, dry_run, out, _format(format, as_json))


@app.command()
def judge(
    transcript: Annotated[Path, typer.Argument(metavar="TRANSCRIPT", help="transcript.jsonl.gz, or the folder that holds it.")],
    claim: Annotated[str | None, typer.Option("--claim", metavar="MODEL", help="Judge against another claim.")] = None,
    family: Family = None,
    as_json: AsJson = False,
    format: Format = "text",
) -> None:
    """Draw the conclusions again from a stored transcript, offline. Exit codes as for audit."""
    from verifier import auditing, options
    from verifier.transcript import Transcript

    form = _format(format, as_json)
    stored, data = Transcript.load(transcript)
    if note := auditing.other_digests(stored.header):
        typer.echo(note, err=True)
    report = auditing.judge(stored, data, options.resolve_claim(claim, family))
    _print(report, form)
    raise typer.Exit(report.exit_code)


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="One folder per audit is written there.")] = Path("demo-reports"),
) -> None:
    """Audit two real local models, one honest, one posing as others. No key, no network. Exit 0 when all three come out right."""
    from rich.console import Console

    from verifier import demo as demonstration
    from verifier.report import text

    console = Console()
    right = True
    for case, report in demonstration.run(out):
        console.rule(f"{case.weights} claimed as {case.claim}", align="left")
        text.show(report, console)
        named = report.data["verdict"]["tokenizer"][0]["family"] if report.data["verdict"]["tokenizer"] else None
        right = right and (report.outcome, named) == (case.outcome, case.tokenizer)
    console.print(
        f"\nReports are in {out}. Judge one again, offline: truename judge {out / demonstration.CASES[0].folder}", style="dim", markup=False
    )
    raise typer.Exit(0 if right else 1)


def _run(
    target: Target, auto: bool, claim: str | None, family: str | None, settings: Settings, dry_run: bool, out: Path | None, form: str
) -> None:
    """Audit or plan, print, write, exit."""
    import asyncio

    from verifier import auditing, options

    resolved = options.resolve_claim(claim, family)
    if dry_run:
        _print_plan(target, settings, resolved, form)
        return
    if resolved is not None and resolved.tokenizer is None:
        typer.echo(options.unknown_claim(resolved), err=True)
    report = asyncio.run(auditing.audit_target(target, resolved, settings, _progress(), auto))
    if out is not None:
        report.save(out)
    _print(report, form)
    raise typer.Exit(report.exit_code)


def _target(
    base_url: str,
    model: str,
    wire: str,
    key_variable: str | None,
    header: list[str] | None,
    header_env: list[str] | None,
    query: list[str] | None,
    body: Path | None,
) -> Target:
    from fingerprints.wire import Wire
    from verifier.options import named_wire
    from verifier.target import Target

    spoken = named_wire(wire)
    if key_variable is not None and key_variable not in os.environ:
        raise UsageError(f"the variable {key_variable} is not set", "export it, or leave out --api-key-env")
    headers = [_pair(each, ":", "--header 'Name: value'") for each in header or []]
    for name, variable in (_pair(each, "=", "--header-env Name=VAR") for each in header_env or []):
        if variable not in os.environ:
            raise UsageError(f"the variable {variable} is not set", "export it, or leave out --header-env")
        headers.append((name, os.environ[variable]))
    return Target.parse(
        base_url,
        model,
        wire=spoken or Wire.OPENAI,
        api_key=os.environ.get(key_variable or KEY_VARIABLE),
        headers=headers,
        query=[_pair(each, "=", "--query name=value") for each in query or []],
        body=_json_object(body) if body else None,
    )


def _pair(text: str, separator: str, form: str) -> tuple[str, str]:
    name, found, value = text.partition(separator)
    if not found or not name.strip():
        raise UsageError("an option is not a name and a value", f"write it as {form}")
    return name.strip(), value.strip()


def _json_object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CannotRunError(
            f"{path} is not a readable JSON file ({type(error).__name__})", "give --body a file that holds a JSON object"
        ) from error
    if not isinstance(value, dict):
        raise CannotRunError(f"{path} does not hold a JSON object", 'write {"field": value}')
    return value


def _settings(
    suite: str,
    seed: int | None,
    alpha: float,
    no_early_stop: bool,
    max_requests: int | None,
    max_tokens: int | None,
    timeout: float,
    concurrency: int,
) -> Settings:
    from verifier.options import Settings

    return Settings(
        suite=suite,
        seed=seed,
        alpha=alpha,
        early_stop=not no_early_stop,
        max_requests=max_requests,
        max_tokens=max_tokens,
        timeout_s=timeout,
        concurrency=concurrency,
    ).checked()


def _format(form: str, as_json: bool) -> str:
    if form not in ("text", "json"):
        raise UsageError(f"there is no format {form!r}", "choose text or json")
    return "json" if as_json else form


def _print(report: Report, form: str) -> None:
    if form == "json":
        typer.echo(report.to_json(), nl=False)
        return
    from rich.console import Console

    from verifier.report import text

    text.show(report, Console())


def _print_plan(target: Target, settings: Settings, claim: Claim | None, form: str) -> None:
    from verifier.options import drawn_seed, request_limit
    from verifier.pricing import plan
    from verifier.report.plan import plan_json, plan_text

    seed = drawn_seed(settings)
    planned = plan(settings.suite, claim, seed, settings.alpha, request_limit(settings), target.wire)
    typer.echo(json.dumps(plan_json(planned, seed), indent=2, ensure_ascii=False) if form == "json" else plan_text(planned, seed))


def _progress() -> Progress:
    """One line on stderr per reply, and the state of the evidence after each round."""
    from verifier.report.progress import printer

    return printer()
