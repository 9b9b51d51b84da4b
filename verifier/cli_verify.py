"""The commands `truename verify DIR|FILE`, does a report hold, and `truename timestamp DIR`, which has an authority say since when.

Reads arguments, calls `verifier.verifying`, prints one line per check on stdout. Verifying sends nothing and makes no key.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from verifier.cli_options import AsJson, Packs, given_packs
from verifier.cli_output import print_json
from verifier.errors import CannotRunError, TruenameError

if TYPE_CHECKING:
    from verifier.signing import Keys
    from verifier.verifying import Trust, Verification

SignerKeys = Annotated[
    Path | None, typer.Option("--key", metavar="PUB", help="The signer's public keys (PEM), in place of this machine's own.")
]
SignerLedger = Annotated[
    Path | None, typer.Option("--ledger", metavar="FILE", help="A copy of the signer's ledger, in place of this machine's own.")
]

_WORDS = {0: "HOLDS", 1: "DOES NOT HOLD", 3: "HOLDS, BUT WAS NOT JUDGED AGAIN", 4: "UNREADABLE"}
_MARKS = {"held": "✓", "failed": "✗", "not checked": "–"}


def verify(
    path: Annotated[Path, typer.Argument(metavar="DIR|FILE", help="A report's folder or file, a batch's, or a folder of such folders.")],
    key: SignerKeys = None,
    ledger: SignerLedger = None,
    authority: Annotated[
        Path | None, typer.Option("--authority", metavar="PEM", help="Root certificates of the time-stamp authority: stamps must hold.")
    ] = None,
    pack: Packs = None,
    as_json: AsJson = False,
) -> None:
    """Check signature, digests and ledger, and judge again. Exit 0 holds, 1 does not, 3 holds but was not re-judged, 4 unreadable."""
    from verifier import verifying
    from verifier.verifying_batch import find_batches, verify_batch

    batches = find_batches(path)
    try:
        found = verifying.find_reports(path.parent if batches and path.is_file() else path)
    except CannotRunError:
        if not batches:
            raise
        found = []  # a batch of which no row could be audited
    trust = make_trust(key, ledger, pack)
    if authority is not None:
        trust = replace(trust, authority=_read(authority, "name a PEM file of the authority's root certificates"))
    ended: list[Verification] = []
    for verification in chain((verify_batch(folder, trust) for folder in batches), verifying.verify_each(found, trust)):
        ended.append(verification)
        if not as_json:
            _print(verification)
    code = verifying.worst(ended)
    if as_json:
        told = [each.to_json() for each in ended]
        print_json({"exit_code": code, "batches": told[: len(batches)], "reports": told[len(batches) :]})
    raise typer.Exit(code)


def make_trust(key: Path | None, ledger: Path | None, pack: list[Path] | None) -> Trust:
    """What the options say to trust: without them this machine's own keys and ledger. Raises CannotRunError."""
    from verifier.key_store import KeyStore
    from verifier.ledger import Ledger
    from verifier.verifying import Trust

    packs = tuple(given_packs(pack))
    own = KeyStore.of_user().trusted()
    keys = own if key is None else read_keys(key)
    book = Ledger(ledger) if ledger is not None else Ledger.of_user()
    if ledger is None and not book.exists():
        return Trust(keys, packs=packs)
    must = None if ledger is not None else frozenset(own)
    try:
        return Trust(keys, book.read(keys if ledger is not None else own), must, packs)
    except CannotRunError:
        raise
    except TruenameError as error:
        return Trust(keys, error, must, packs)


def read_keys(path: Path) -> Keys:
    """The public keys of a PEM file. Raises CannotRunError."""
    from verifier.signing import Keys

    return Keys.from_pem(_read(path, "name a PEM file of public keys"), str(path))


def timestamp(
    path: Annotated[Path, typer.Argument(metavar="DIR|FILE", help="A report's folder, or a folder of such folders.")],
    authority: Annotated[str, typer.Option("--authority", metavar="URL", help="A time-stamp authority (RFC 3161).")],
) -> None:
    """Have an authority stamp a report's signature: proof that it existed by then. Sends a digest, and writes report.dsse.tsr."""
    import asyncio

    from verifier import verifying
    from verifier.endpoint.fetch import fetch
    from verifier.endpoint.guard import cli_policy
    from verifier.places import write_whole
    from verifier.signing import ENVELOPE
    from verifier.timestamp import MAX_STAMP_BYTES, QUERY_TYPE, STAMP, stamp

    async def send(request: bytes) -> bytes:
        body = (QUERY_TYPE, request)
        return await fetch(authority, cli_policy(), purpose="time stamp authority", max_bytes=MAX_STAMP_BYTES, body=body)

    for envelope in verifying.find_reports(path):
        data = verifying.read_files(envelope)[ENVELOPE]
        write_whole(envelope.with_name(STAMP), asyncio.run(stamp(data, send)))
        typer.echo(f"{envelope.with_name(STAMP)} written", err=True)


def _read(path: Path, remedy: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CannotRunError(f"{path} cannot be read ({error.strerror})", remedy) from error


def _print(verification: Verification) -> None:
    from verifier.report.text import plain

    said = f" ({verification.outcome})" if verification.outcome else ""
    typer.echo(plain(f"{verification.place}: {_WORDS[verification.exit_code]}{said}"))
    for check in verification.checks:
        typer.echo(plain(f"  {_MARKS[check.state]} {check.name:<12} {check.text}"))
    if verification.error is not None:
        typer.echo(plain(f"  {verification.error}"))
