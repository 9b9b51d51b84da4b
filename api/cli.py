"""The console script `truename`: the verifier's commands, and how errors become one line and an exit code.

Lives on the top floor because the service's commands join it here. Importing it loads no web framework.
"""

from __future__ import annotations

import sys

import typer

from verifier.cli import app
from verifier.errors import TruenameError


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with the contract's code; `--debug` anywhere lets errors through as tracebacks."""
    given = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in given
    try:
        app(args=[each for each in given if each != "--debug"])
    except TruenameError as error:
        if debug:
            raise
        typer.echo(f"truename: {error}", err=True)
        sys.exit(error.exit_code)
