"""Keeps the keys of other people's endpoints: sealed in the database, opened only for the origin that each was given for.

AES-256-GCM (NIST SP 800-38D) with owner, holder, purpose and origin as associated data: a ciphertext that is moved to another row
does not open. Every ciphertext names its key, so that keys can be rotated. A secret is a SecretStr outside this file, and no error
quotes one.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import SecretStr

from verifier.places import create_private, private_directory
from verifier.service.errors import ConfigError, SecretError
from verifier.service.keys import key_bytes, new_key
from verifier.service.settings import ServiceSettings
from verifier.service.store import sealed
from verifier.service.store.engine import Store, Transaction
from verifier.service.store.rows import Purpose, SealedRow

KEY_FILE = "secret.key"
_NONCE_BYTES = 12
_KEY_ID_CHARS = 8
_PORTION = 100


@dataclass(frozen=True, slots=True)
class Binding:
    """What a secret belongs to. All of it must be the same again when the secret is opened."""

    owner: str
    holder: str
    """Id of the audit or the schedule."""
    purpose: Purpose
    origin: str
    """The only origin (`Target.origin`) that the secret may be sent to."""

    @property
    def associated_data(self) -> bytes:
        """An unambiguous spelling of all fields."""
        return json.dumps(["truename.sealed/1", self.owner, self.holder, self.purpose, self.origin]).encode()


class Keyring:
    """The keys that seal and open: the first seals, all of them open."""

    __slots__ = ("_keys", "key_id")

    def __init__(self, keys: Sequence[SecretStr]) -> None:
        """`keys` as in TRUENAME_SECRET_KEY, the current one first. Raises ValueError for one that is no key."""
        raw = [key_bytes(each) for each in keys]
        self._keys = {_key_id(each): AESGCM(each) for each in raw}
        self.key_id = _key_id(raw[0])

    def __repr__(self) -> str:
        return f"Keyring(key_id={self.key_id!r})"

    def seal(self, secret: SecretStr, binding: Binding) -> SealedRow:
        """Encrypt a secret for what it belongs to."""
        nonce = os.urandom(_NONCE_BYTES)
        data = nonce + self._keys[self.key_id].encrypt(nonce, secret.get_secret_value().encode(), binding.associated_data)
        return SealedRow(binding.holder, binding.purpose, binding.owner, binding.origin, self.key_id, self.key_id.encode() + data)

    def open(self, data: bytes, binding: Binding) -> SecretStr:
        """Decrypt what `seal` made for the same binding. Raises SecretError."""
        key_id, nonce = data[:_KEY_ID_CHARS], data[_KEY_ID_CHARS : _KEY_ID_CHARS + _NONCE_BYTES]
        key = self._keys.get(key_id.decode("ascii", "replace"))
        if key is None:
            raise SecretError(
                "a stored key was sealed with a secret key that is not here",
                "set the same TRUENAME_SECRET_KEY on every machine, and earlier ones in TRUENAME_OLD_SECRET_KEYS",
            )
        try:
            opened = key.decrypt(nonce, data[_KEY_ID_CHARS + _NONCE_BYTES :], binding.associated_data)
        except (InvalidTag, ValueError):
            raise SecretError("a stored key does not belong here or was altered", "give the endpoint's key again") from None
        return SecretStr(opened.decode())


def open_keyring(settings: ServiceSettings) -> Keyring:
    """The keyring of the settings; without TRUENAME_SECRET_KEY, the key in the data directory, made on first use.

    Processes that start together end up with the same key. Raises ConfigError, CannotRunError.
    """
    current = settings.secret_key
    if current is None:
        path = private_directory(settings.data_dir) / KEY_FILE
        current = SecretStr(create_private(path, new_key().get_secret_value().encode()).decode("ascii", "replace").strip())
        try:
            key_bytes(current)
        except ValueError as error:
            raise ConfigError(f"{path}: {error}", "restore it, or remove it and give every stored key again") from None
    return Keyring([current, *settings.old_secret_keys])


async def keep(tx: Transaction, keyring: Keyring, secret: SecretStr, binding: Binding) -> None:
    """Seal and store a secret, in place of the holder's earlier one for the same purpose."""
    await sealed.put(tx, keyring.seal(secret, binding))


async def reveal(tx: Transaction, keyring: Keyring, binding: Binding) -> SecretStr:
    """A stored secret, only for the owner, holder, purpose and origin that it was kept for. Raises SecretError."""
    row = await sealed.get(tx, binding.holder, binding.purpose)
    if row is None:
        raise SecretError("the endpoint's key is no longer stored", "give it again")
    if (row.owner, row.origin) != (binding.owner, binding.origin):
        raise SecretError("the stored key was given for another endpoint", "a key is only sent where it was given for; give it again")
    return keyring.open(row.sealed, binding)


async def reencrypt_all(store: Store, keyring: Keyring) -> int:
    """Seal again, with the keyring's current key, everything that lies under another; gives how many. Raises SecretError.

    Safe while the service runs: a secret that changes meanwhile is left to the next round. Afterwards the old keys can go.
    """
    done = 0
    while True:
        async with store.write() as tx:
            rows = await sealed.not_under(tx, keyring.key_id, _PORTION)
            for row in rows:
                binding = Binding(row.owner, row.holder, row.purpose, row.origin)
                fresh = keyring.seal(keyring.open(row.sealed, binding), binding)
                done += await sealed.replace(tx, row, fresh.key_id, fresh.sealed)
        if not rows:
            return done


def _key_id(key: bytes) -> str:
    return hashlib.sha256(b"truename key id" + key).hexdigest()[:_KEY_ID_CHARS]
