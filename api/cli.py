"""The console script `truename`: the verifier's commands, and how errors become one line and an exit code.

Lives on the top floor because the service's commands join it here. Importing it loads no web framework. Exit code 1 is an accusation,
so nothing that merely went wrong may ever end with it.
"""

from __future__ import annotations

import sys
import traceback
from pathlib import Path

import typer

from api import cli_service
from verifier.cli import app
from verifier.errors import TruenameError

__all__ = ["app", "main"]

cli_service.join(app)

COULD_NOT_RUN = 4
"""Exit code of whatever went wrong without a better one."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with the contract's code; `--debug` anywhere adds the traceback of an error, and keeps the code."""
    given = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in given
    try:
        app(args=[each for each in given if each != "--debug"])
    except TruenameError as error:
        _tell(str(error), error, debug)
        sys.exit(error.exit_code)
    except SystemExit as stop:
        # typer ends with 1 where a reader closed the pipe, or input ended; Python's own convention, and our word for an accusation.
        if isinstance(stop.__context__, OSError | typer.Abort):
            sys.exit(COULD_NOT_RUN)
        raise
    except Exception as error:
        remedy = "report it" if debug else "run again with --debug and report it"
        _tell(f"unexpected error ({type(error).__name__} {_place(error)}); {remedy}", error, debug)
        sys.exit(COULD_NOT_RUN)


def _tell(line: str, error: Exception, debug: bool) -> None:
    if debug:
        traceback.print_exception(error)
    typer.echo(f"truename: {line}", err=True)


def _place(error: Exception) -> str:
    """Where it was raised. Its own words stay out of the line: nobody has checked that they hold no secret."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"in {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "at an unknown place"
