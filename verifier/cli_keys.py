"""The commands about signing keys: `truename keys show|rotate|export`.

Prints ids and public keys; a private key is never printed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

keys_app = typer.Typer(help="The keys that sign reports here.", no_args_is_help=True)


@keys_app.command("show")
def keys_show(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """The id of every key that signs or has signed here; the one that signs now is marked. Makes none."""
    from verifier.key_store import KeyStore

    store = KeyStore.of_user()
    current, trusted = store.current(), store.trusted()
    if as_json:
        rows = [{"keyid": keyid, "signs": keyid == current, "public_key": trusted.pem_of(keyid).decode()} for keyid in trusted]
        typer.echo(json.dumps(rows, indent=2))
        return
    for keyid in trusted:
        typer.echo(f"{keyid}  {'signs now' if keyid == current else 'verifies earlier reports'}")
    if current is None:
        typer.echo("No key yet: the first report that is written makes one.", err=True)


@keys_app.command("rotate")
def keys_rotate() -> None:
    """Make a new signing key. Reports under earlier ones still verify: their public keys are kept, the private one is not."""
    from verifier.key_store import KeyStore

    typer.echo(f"{KeyStore.of_user().rotate().keyid}  signs now")


@keys_app.command("export")
def keys_export(
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write there instead of to stdout.")] = None,
) -> None:
    """The public keys as PEM, for whoever checks your reports (`truename verify --key FILE`). Makes the first key where there is none."""
    from verifier.key_store import KeyStore
    from verifier.places import write_whole

    store = KeyStore.of_user()
    store.signer()
    data = store.trusted().pem()
    if out is None:
        typer.echo(data, nl=False)
    else:
        write_whole(out, data)
