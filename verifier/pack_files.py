"""Packs on disk: load a file or an installed pack by name, check its signature, write a file whole and, where it is wanted, signed.

Turns every way in which a file can be wrong into one line. A file whose signature does not hold is refused; one that holds says that the
file is as its signer made it, and nothing about who the signer is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from fingerprints import packs as reference
from fingerprints.pack_file import MAX_FILE_BYTES, Signature, packs_bytes, read_packs, signature_of
from fingerprints.packs import NotAPackError, Pack, PackError
from verifier.errors import CannotRunError, UsageError
from verifier.places import write_whole
from verifier.signing import Keys, key_id, shown


class DoesNotHoldError(CannotRunError):
    """The file is a pack, and a digest, a signature or a field of it is wrong."""


@dataclass(frozen=True, slots=True)
class PackFile:
    """A pack file that was read and whose every digest holds."""

    place: str
    """The path as given, or "installed"."""
    packs: tuple[Pack, ...]
    signed_by: str | None = None
    """Ed25519 public key, hex, whose signature over the manifest holds; None for an unsigned file."""

    @property
    def keyid(self) -> str | None:
        """The signing key's id, as reports and `truename keys show` name it."""
        if self.signed_by is None:
            return None
        return key_id(Ed25519PublicKey.from_public_bytes(bytes.fromhex(self.signed_by)))


def load(path: Path) -> PackFile:
    """Read a pack file. Raises CannotRunError where it cannot be read, is no pack, or carries a signature that does not hold."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise CannotRunError(f"{path} cannot be read ({error.strerror})", "name a .pack file") from error
    try:
        packs = read_packs(data)
        signed = signature_of(data)
    except NotAPackError as error:
        raise CannotRunError(f"{path}: {error}", "name a file that `truename enroll` or `truename packs import` wrote") from error
    except PackError as error:
        raise DoesNotHoldError(f"{path}: {error}", "get the file again from its maker") from error
    if signed is None:
        return PackFile(str(path), packs)
    signature, message = signed
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(signature.public_key)).verify(bytes.fromhex(signature.signature), message)
    except (InvalidSignature, ValueError) as error:  # ValueError for a key that is no point of the curve
        raise DoesNotHoldError(f"{path}: the signature does not hold", "get the file again from its maker") from error
    return PackFile(str(path), packs, signature.public_key)


def check_signer(file: PackFile, keys: Keys) -> None:
    """The file is signed, by one of these keys. Raises DoesNotHoldError."""
    if file.keyid is None:
        raise DoesNotHoldError(f"{file.place} is not signed", "get a signed file from its maker, or verify without --key")
    if file.keyid not in keys.by_id:
        raise DoesNotHoldError(f"{file.place} is signed by another key, {shown(file.keyid)}", "ask its maker which key signs")


def own_signature() -> Callable[[bytes], Signature]:
    """What signs a manifest with this installation's key, made where there is none. Raises CannotRunError, UsageError."""
    from verifier.key_store import KeyStore

    key = KeyStore.of_user().signer().private
    return lambda manifest: Signature(key.public_key().public_bytes_raw().hex(), key.sign(manifest).hex())


def save(path: Path, packs: Sequence[Pack], sign: Callable[[bytes], Signature] | None = None) -> None:
    """Write a pack file, whole or not at all. Raises CannotRunError."""
    try:
        data = packs_bytes(packs, sign)
    except PackError as error:
        raise CannotRunError(f"{path}: {error}", "check what the pack is made of") from error
    write_whole(path, data)


def installed() -> list[PackFile]:
    """The packs that ship with Truename, one entry each. Raises CannotRunError where the installation is damaged."""
    try:
        return [PackFile("installed", (pack,)) for pack in reference.installed()]
    except PackError as error:
        raise DoesNotHoldError(f"an installed pack is damaged: {error}", "install Truename again") from error


def resolve(names: Sequence[str]) -> list[PackFile]:
    """The packs that `names` mean, each an installed pack's name or a path; all installed ones without any. Raises TruenameError."""
    if not names:
        return installed()
    found = []
    for name in names:
        named = [file for file in installed() if file.packs[0].name == name]
        if not named and not Path(name).exists():
            known = ", ".join(sorted({file.packs[0].name for file in installed()})) or "none"
            raise UsageError(f"there is no pack {name!r}", f"name a .pack file or an installed pack (installed: {known})")
        found += named or [load(Path(name))]
    return found
