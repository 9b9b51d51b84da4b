"""The options that several commands share, and what becomes of them: a target, settings, an output form.

Takes what typer parsed, gives what the library wants; raises UsageError or CannotRunError with one line. A key is never an
argument: options name the variable that holds it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from verifier.errors import CannotRunError, UsageError

if TYPE_CHECKING:
    from fingerprints.packs import Pack
    from verifier.options import Settings
    from verifier.target import Target

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
Packs = Annotated[list[Path] | None, typer.Option("--pack", metavar="PATH", help="Extra reference packs; repeatable.")]
Prompts = Annotated[Path | None, typer.Option("--prompts", metavar="FILE", help='Own open questions: JSON lines {"id", "prompt"}.')]
Out = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Write report, page, signature and transcript there.")]
AsJson = Annotated[bool, typer.Option("--json", help="The report as JSON on stdout.")]
Format = Annotated[
    str, typer.Option("--format", metavar="text|json|markdown|junit|sarif", help="Form of the report on stdout; the last three are for CI.")
]

Lang = Annotated[str, typer.Option("--lang", metavar="en|ko", help="Language of the report's text and page.")]


def make_target(
    base_url: str,
    model: str,
    wire: str,
    key_variable: str | None,
    header: list[str] | None,
    header_env: list[str] | None,
    query: list[str] | None,
    body: Path | None,
) -> Target:
    """The endpoint that the options name."""
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


def make_settings(
    suite: str,
    seed: int | None,
    alpha: float,
    no_early_stop: bool,
    max_requests: int | None,
    max_tokens: int | None,
    timeout: float,
    concurrency: int,
) -> Settings:
    """The settings that the options give, checked."""
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


def given_packs(paths: list[Path] | None) -> tuple[Pack, ...]:
    """The reference packs in the files of --pack. Raises CannotRunError for one that is not sound."""
    if not paths:
        return ()
    from verifier import pack_files

    return tuple(pack for path in paths for pack in pack_files.load(path).packs)


def own_prompts(path: Path | None) -> tuple[tuple[str, str], ...]:
    """The user's own open questions; none without a file."""
    if path is None:
        return ()
    from verifier.own_prompts import read_prompts

    return read_prompts(path)


def language(lang: str) -> str:
    """The language of the report. Raises UsageError for one that there are no texts in."""
    from verifier.report.texts import texts

    return texts(lang).lang
