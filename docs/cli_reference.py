"""Writes docs/cli.md from the commands themselves: `python -m docs.cli_reference --write`; without the option it prints the page.

tests/test_docs.py compares the page with the commands, so that neither changes alone.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from api.cli import app

PAGE = Path(__file__).with_name("cli.md")
HEAD = """# The command line

This page is written by `python -m docs.cli_reference --write` from the commands themselves. `truename COMMAND --help` says the same.
Reports go to stdout, progress and messages to stderr. An error is one line: what happened and what to do. `--debug` anywhere adds its
traceback.

## Exit codes

| exit | audit, judge | compare | identify | verify | badge |
|---|---|---|---|---|---|
| 0 | consistent | same | named | holds | drawn |
| 1 | inconsistent | different | – | does not hold | the report does not hold: no badge |
| 3 | inconclusive | unknown | unknown | holds, but was not judged again | drawn; the report was not judged again |
| 2 | wrong usage | wrong usage | wrong usage | wrong usage | wrong usage |
| 4 | could not run | could not run | could not run | unreadable | unreadable |

With `--targets` it is the worst of the rows: 1, then 4, then 3, then 0. `demo` exits 0 where its audits come out as they should, else 1.
`packs verify` exits 1 for a pack that does not hold. All other commands exit 0 where they did what they say, 2 for wrong usage and 4 where
they could not. A bug of ours exits 4 in every command, and never 1, because 1 is an accusation; so does a reader that closes the pipe.
130 means that it was interrupted.
"""


def page() -> str:
    """The whole page."""
    root = typer.main.get_command(app)
    return HEAD + "\n" + "\n".join(section for name, command in commands(root, "truename") for section in _section(name, command))


def commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """(name, command) of every command that can be run, in the order of `--help`."""
    if not isinstance(command, TyperGroup):
        yield name, command
        return
    for each, inside in command.commands.items():
        yield from commands(inside, f"{name} {each}")


def _section(name: str, command: Any) -> list[str]:
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [each for each in command.params if each.param_type_name == "option" and "--help" not in each.opts]
    usage = " ".join([name, *(["[OPTIONS]"] if options else []), *(_metavar(each) for each in arguments)])
    lines = [f"## {name}", "", " ".join((command.help or "").split()), "", f"    {usage}", ""]
    if arguments or options:
        lines += ["| argument or option | what |", "|---|---|"]
        lines += [f"| `{_cell(_metavar(each))}` | {_cell(each.help or '')} |" for each in arguments]
        lines += [f"| `{_cell(_spelled(each))}` | {_cell(_explained(each))} |" for each in options]
        lines.append("")
    return lines


def _metavar(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name.upper())


def _spelled(option: Any) -> str:
    names = ", ".join(option.opts)
    return names if option.is_flag else f"{names} {_metavar(option)}"


def _explained(option: Any) -> str:
    """Its help, and its default where the help does not say it."""
    text = (option.help or "").strip()
    if option.required:
        return f"{text} Required."
    default = option.default
    if option.is_flag or default is None or callable(default) or default in ([], ()) or "default" in text:
        return text
    return f"{text} Default: `{default}`."


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    if "--write" in sys.argv[1:]:
        PAGE.write_text(page(), encoding="utf-8")
    else:
        print(page(), end="")
