"""The command `truename compare URL_A URL_B`: do two endpoints serve the same thing?

Reads arguments, calls `verifier.comparing`, prints the report on stdout and progress on stderr. A key goes to the endpoint that it
was given for and to no other.
"""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from verifier.cli_options import (
    Alpha,
    AsJson,
    Concurrency,
    DryRun,
    Format,
    KeyVariable,
    MaxRequests,
    MaxTokens,
    NoEarlyStop,
    Out,
    Seed,
    Timeout,
    WireName,
    make_settings,
    make_target,
    output_form,
)
from verifier.errors import UsageError

if TYPE_CHECKING:
    from probes.probe import Reply
    from verifier.auditing import Progress
    from verifier.decide import Verdict
    from verifier.options import Settings
    from verifier.target import Target

ReferenceUrl = Annotated[
    str | None, typer.Option("--reference", metavar="URL", help="A live genuine endpoint: the same questions go to both.")
]
ReferenceKey = Annotated[
    str | None,
    typer.Option("--reference-key-env", metavar="VAR", help="Variable that holds the reference's key (default: none is sent)."),
]
ReferenceModel = Annotated[
    str | None, typer.Option("--reference-model", metavar="NAME", help="Model name sent to the reference (default: the target's).")
]
ReferenceWire = Annotated[
    str, typer.Option("--reference-wire", metavar="auto|openai|responses|anthropic|gemini", help="API flavour of the reference.")
]


def compare(
    url_a: Annotated[str, typer.Argument(metavar="URL_A", help="One endpoint, such as https://relay.example.com/v1")],
    url_b: Annotated[str, typer.Argument(metavar="URL_B", help="The other one, the reference.")],
    model: Annotated[str, typer.Option("--model", metavar="NAME", help="Model name sent to A, and to B without --reference-model.")],
    reference_model: ReferenceModel = None,
    wire: WireName = "auto",
    reference_wire: ReferenceWire = "auto",
    api_key_env: KeyVariable = None,
    reference_key_env: ReferenceKey = None,
    suite: Annotated[
        str, typer.Option("--suite", metavar="quick|standard|deep", help="At most 15, 60 or 300 requests to both; only deep can say same.")
    ] = "deep",
    tolerance: Annotated[
        float | None, typer.Option("--tolerance", metavar="T", help="Total variation that honest copies of one model may differ by.")
    ] = None,
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
    """Do two endpoints serve the same thing? Exit 0 same, 1 different, 3 unknown, 2 usage, 4 could not run."""
    import asyncio

    from probes.paired_process import TOLERANCE
    from verifier import comparing

    form = output_form(format, as_json)
    if tolerance is not None and not 0.0 <= tolerance < 1.0:
        raise UsageError(f"the tolerance {tolerance:g} is out of range", "give a total variation distance from 0 to below 1, such as 0.1")
    target = make_target(url_a, model, wire, api_key_env, None, None, None, None)
    reference = make_reference(url_b, reference_model or model, reference_wire, reference_key_env, target)
    settings = make_settings(suite, seed, alpha, no_early_stop, max_requests, max_tokens, timeout, concurrency)
    if dry_run:
        _print_plan(target, reference, settings, form)
        return
    auto = frozenset(side for side, named in (("target", wire), ("reference", reference_wire)) if named == "auto")
    report = asyncio.run(
        comparing.compare_targets(target, reference, settings, TOLERANCE if tolerance is None else tolerance, _progress(), auto)
    )
    if out is not None:
        report.save(out)
    if form == "json":
        typer.echo(report.to_json(), nl=False)
    else:
        from rich.console import Console

        from verifier.report import comparison

        comparison.show(report, Console())
    raise typer.Exit(report.exit_code)


def make_reference(base_url: str, model: str, wire: str, key_variable: str | None, target: Target) -> Target:
    """The reference endpoint that the options name, on the wire that its URL gives away where none is named.

    The target's key goes to the reference only where both are one origin. Raises UsageError.
    """
    from fingerprints.wire import Wire
    from verifier.endpoint.detect import wire_by_url
    from verifier.options import named_wire
    from verifier.target import Target

    if key_variable is not None and key_variable not in os.environ:
        raise UsageError(f"the variable {key_variable} is not set", "export it, or leave out --reference-key-env")
    spoken = named_wire(wire)
    parsed = Target.parse(base_url, model, wire=spoken or Wire.OPENAI)
    own = urlsplit(parsed.base_url)[:2] == urlsplit(target.base_url)[:2]
    key = os.environ[key_variable] if key_variable is not None else target.api_key if own else None
    reference = Target.parse(base_url, model, wire=spoken or Wire.OPENAI, api_key=key)
    return reference if spoken else reference.speaking(wire_by_url(reference) or Wire.OPENAI)


def _progress() -> Progress:
    """One line on stderr per reply, and the weight of the evidence after each round."""
    from verifier.report.comparison import WORDS
    from verifier.report.progress import printer

    each = printer()

    def tell(reply: Reply, verdict: Verdict | None) -> None:
        if verdict is None:
            each(reply, None)
        else:
            typer.echo(f"      evidence so far: e = {math.exp(min(verdict.log_e, 300.0)):.3g}; {WORDS[verdict.outcome]}", err=True)

    return tell


def _print_plan(target: Target, reference: Target, settings: Settings, form: str) -> None:
    """Every question of the comparison; nothing is sent."""
    import json

    from verifier import auditing
    from verifier.pairing import paired_probe

    header = auditing.make_header(target, None, settings, reference)
    probe = paired_probe(header)
    asks = [ask for index in range(probe.pairs) for ask in probe.pair(index)][: header.max_requests]
    if form == "json":
        questions = [{"key": ask.key, "to": ask.to, "max_tokens": ask.max_tokens, "message": ask.messages[-1][1]} for ask in asks]
        typer.echo(json.dumps({"seed": header.seed, "requests": len(asks), "questions": questions}, indent=2, ensure_ascii=False))
        return
    typer.echo(f"At most {len(asks)} requests, half to each endpoint. Nothing was sent. Seed {header.seed}.\n\npaired: {probe.goal}")
    for ask in asks:
        typer.echo(f"[{ask.key}] max_tokens {ask.max_tokens}\n    {ask.messages[-1][1]}")
