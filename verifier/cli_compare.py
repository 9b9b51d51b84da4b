"""The command `truename compare URL_A URL_B`: do two endpoints serve the same thing?

Reads arguments, calls `verifier.comparing`, prints the report on stdout and progress on stderr. A key goes to the endpoint that it
was given for and to no other.
"""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Annotated

import typer

from verifier.cli_options import (
    Alpha,
    AsJson,
    Concurrency,
    DryRun,
    Format,
    KeyVariable,
    Lang,
    MaxRequests,
    MaxTokens,
    NoEarlyStop,
    Out,
    Seed,
    Timeout,
    WireName,
    language,
    make_settings,
    make_target,
)
from verifier.cli_output import failure_printed, output_form, print_report, say_if_no_page
from verifier.errors import UsageError

if TYPE_CHECKING:
    from probes.probe import Reply
    from verifier.conversation import Progress
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
    lang: Lang = "en",
) -> None:
    """Do two endpoints serve the same thing? Exit 0 same, 1 different, 3 unknown, 2 usage, 4 could not run."""
    import asyncio

    from probes.paired_process import TOLERANCE
    from verifier import comparing

    form, lang = output_form(format, as_json), language(lang)
    if tolerance is not None and not 0.0 <= tolerance < 1.0:
        raise UsageError(f"the tolerance {tolerance:g} is out of range", "give a total variation distance from 0 to below 1, such as 0.1")
    target = make_target(url_a, model, wire, api_key_env, None, None, None, None)
    reference = make_reference(url_b, reference_model or model, reference_wire, reference_key_env, target)
    settings = make_settings(suite, seed, alpha, no_early_stop, max_requests, max_tokens, timeout, concurrency)
    if dry_run:
        _print_plan(target, reference, settings, form)
        return
    auto = frozenset(side for side, named in (("target", wire), ("reference", reference_wire)) if named == "auto")
    if out is not None:
        from verifier.publishing import ready

        ready(out)
    with failure_printed(form, lang, target, None):
        report = asyncio.run(
            comparing.compare_targets(target, reference, settings, TOLERANCE if tolerance is None else tolerance, _progress(), auto)
        )
    if out is not None:
        report = report.save(out, lang)
        say_if_no_page(out)
    print_report(report, form, lang)
    raise typer.Exit(report.exit_code)


def make_reference(base_url: str, model: str, wire: str, key_variable: str | None, target: Target) -> Target:
    """The reference endpoint that the options name, on the wire that its URL gives away where none is named.

    The target's key goes to the reference only where both are one origin. Raises UsageError.
    """
    from verifier.options import named_wire
    from verifier.pairing import reference_target

    if key_variable is not None and key_variable not in os.environ:
        raise UsageError(f"the variable {key_variable} is not set", "export it, or leave out --reference-key-env")
    return reference_target(base_url, model, named_wire(wire), os.environ[key_variable] if key_variable else None, target)


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
    """Every question of the comparison, and what both endpoints would bill; nothing is sent."""
    import json

    from verifier import auditing
    from verifier.pairing import paired_probe
    from verifier.pricing import plan
    from verifier.report.plan import plan_json, plan_text

    header = auditing.make_header(target, None, settings.checked(), reference)
    planned = plan(header, None, [paired_probe(header)])
    typer.echo(
        json.dumps(plan_json(planned, header.seed), indent=2, ensure_ascii=False) if form == "json" else plan_text(planned, header.seed)
    )
