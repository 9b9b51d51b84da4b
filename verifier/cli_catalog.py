"""The commands about what Truename knows: `truename catalog list|show`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from verifier.errors import CannotRunError

catalog_app = typer.Typer(help="The models that Truename knows.", no_args_is_help=True)


@catalog_app.command("list")
def catalog_list(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """All models, one a line: name, vendor, family, tokenizer."""
    from fingerprints import catalog

    models = catalog.models()
    if as_json:
        typer.echo(
            json.dumps([{"name": m.name, "vendor": m.vendor, "family": m.family, "tokenizer": m.tokenizer} for m in models], indent=2)
        )
        return
    for m in models:
        typer.echo(f"{m.name}\t{m.vendor}\t{m.family}\t{m.tokenizer or 'no vocabulary known'}")


@catalog_app.command("show")
def catalog_show(name: Annotated[str, typer.Argument(metavar="NAME")]) -> None:
    """What is known of one model, as JSON."""
    from dataclasses import asdict

    from fingerprints import catalog

    model = catalog.find(name)
    if model is None:
        near = ", ".join(catalog.suggest(name))
        raise CannotRunError(f"{name!r} is not in the catalog", f"did you mean {near}?" if near else "see `truename catalog list`")
    typer.echo(json.dumps(asdict(model), indent=2, ensure_ascii=False))
