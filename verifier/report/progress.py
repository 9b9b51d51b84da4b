"""Progress of a running audit on stderr: what came back, and how the evidence stands after each round."""

from __future__ import annotations

from collections.abc import Callable

import typer

from probes.probe import Reply
from verifier.decide import Verdict
from verifier.report.text import plain


def printer() -> Callable[[Reply, Verdict | None], None]:
    """A progress function that numbers replies and prints one line for each, and one after each round."""
    count = 0

    def tell(reply: Reply, verdict: Verdict | None) -> None:
        nonlocal count
        if verdict is not None:
            best = f"{verdict.tokenizer[0][0]} {verdict.tokenizer[0][1]:.2f}" if verdict.tokenizer else "nothing yet"
            typer.echo(f"      evidence so far: tokenizer {best}; {verdict.outcome}", err=True)
            return
        count += 1
        said = f"failed: {reply.error.kind}: {reply.error.text}" if reply.error else f"{reply.status} in {reply.seconds:.2f} s"
        typer.echo(plain(f"{count:4d}  {reply.ask.key}  {said}"), err=True)

    return tell
