"""The keys of one Truename: the one that signs, made on first use, and the public keys of all that ever signed here.

Takes a folder and, where one is set, a private key from a setting; gives a Signer and trusted Keys. The folder is its owner's alone
(0700, files 0600), and two processes that make the first key at once get the same one. A replaced private key is not kept.

    signing.pem              the private key that signs now
    KEYID.public.pem         one per key that signs or has signed: deleting it is how a key stops being trusted
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from verifier.errors import CannotRunError, UsageError
from verifier.places import data_directory, locked, private_directory, write_private
from verifier.signing import Keys, Signer

KEY_VARIABLE = "TRUENAME_SIGNING_KEY"
_PRIVATE = "signing.pem"
_PUBLIC = ".public.pem"


@dataclass(frozen=True, slots=True)
class KeyStore:
    """A folder of keys. `setting` is a private key that signs in place of the folder's own."""

    folder: Path
    setting: SecretStr | None = None

    @classmethod
    def of_user(cls, environment: Mapping[str, str] = os.environ) -> KeyStore:
        """The keys in the data directory; TRUENAME_SIGNING_KEY, where it is set and not empty, signs in their place."""
        given = environment.get(KEY_VARIABLE, "")
        return cls(data_directory() / "keys", SecretStr(given) if given.strip() else None)

    def signer(self) -> Signer:
        """The key that signs, made where there is none; its public key is kept. Raises CannotRunError, UsageError."""
        private_directory(self.folder.parent)
        private_directory(self.folder)
        with locked(self.folder / ".lock"):
            signer = self._present()
            if signer is None:
                signer = Signer.generate()
                write_private(self.folder / _PRIVATE, signer.private_pem)
            self._keep_public(signer)
        return signer

    def rotate(self) -> Signer:
        """A new key that signs from now on; public keys of earlier ones stay. Raises UsageError where a setting gives the key."""
        if self.setting is not None:
            raise UsageError(f"the signing key is the one in {KEY_VARIABLE}", "change the variable, or unset it")
        self.signer()
        with locked(self.folder / ".lock"):
            signer = Signer.generate()
            self._keep_public(signer)
            write_private(self.folder / _PRIVATE, signer.private_pem)
        return signer

    def trusted(self) -> Keys:
        """The public keys of all that ever signed here, the setting's included. Makes nothing.

        Raises CannotRunError where a file cannot be read or holds another key than its name says.
        """
        keys = Keys()
        try:
            files = sorted(self.folder.glob(f"*{_PUBLIC}"))
            for file in files:
                found = Keys.from_pem(file.read_bytes(), str(file))
                if list(found) != [file.name.removesuffix(_PUBLIC)]:
                    raise CannotRunError(f"{file} holds another key than its name says", "delete it, or restore it from a copy")
                keys = keys | found
        except OSError as error:
            raise CannotRunError(f"{self.folder} cannot be read ({error.strerror})", "run as the user who owns it") from error
        return keys if self.setting is None else keys | self._setting_signer(self.setting).public

    def current(self) -> str | None:
        """The id of the key that signs now; None where none was made yet."""
        signer = self._present()
        return signer.keyid if signer is not None else None

    def _present(self) -> Signer | None:
        if self.setting is not None:
            return self._setting_signer(self.setting)
        file = self.folder / _PRIVATE
        try:
            return Signer.from_text(file.read_text(encoding="ascii"), str(file))
        except FileNotFoundError:
            return None
        except (OSError, UnicodeError) as error:
            raise CannotRunError(f"{file} cannot be read ({type(error).__name__})", "restore it, or move it away for a new key") from error

    def _setting_signer(self, setting: SecretStr) -> Signer:
        return Signer.from_text(setting.get_secret_value(), KEY_VARIABLE)

    def _keep_public(self, signer: Signer) -> None:
        file = self.folder / f"{signer.keyid}{_PUBLIC}"
        if not file.exists():
            write_private(file, signer.public_pem)
