"""Secret keys as text: 32 random bytes, in base64 or hexadecimal. No error here quotes one."""

from __future__ import annotations

import base64
import binascii
import re
import secrets

from pydantic import SecretStr

KEY_BYTES = 32

_HEX = re.compile(r"[0-9a-fA-F]{64}")


def new_key() -> SecretStr:
    """A new secret key as TRUENAME_SECRET_KEY takes it."""
    return SecretStr(base64.urlsafe_b64encode(secrets.token_bytes(KEY_BYTES)).decode())


def key_bytes(key: SecretStr) -> bytes:
    """The 32 bytes of a key in base64 (either alphabet) or hexadecimal. Raises ValueError, which does not quote it."""
    text = key.get_secret_value().strip()
    if _HEX.fullmatch(text):
        return bytes.fromhex(text)
    try:
        raw = base64.b64decode(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != KEY_BYTES:
        raise ValueError(f"it is not {KEY_BYTES} bytes in base64 or hexadecimal")
    return raw
