"""Sessions of the web page: 256 random bits in a cookie, kept as a SHA-256, and the token that they stand for.

The cookie never holds the token, so whoever reads it can use the page until the session ends and nothing longer. A session says no more
than its token does: it ends with the token, at once.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from datetime import datetime, timedelta

from pydantic import SecretStr

from verifier.service import tokens
from verifier.service.store import sessions
from verifier.service.store.engine import Transaction
from verifier.service.store.rows import SessionRow, TokenRow

LIFE = timedelta(hours=12)
"""How long a session lasts, used or not: a working day."""

_KEY = re.compile(r"[A-Za-z0-9_-]{43}")


def new_key() -> SecretStr:
    """The value of a new cookie."""
    return SecretStr(secrets.token_urlsafe(32))


def well_formed(key: str) -> bool:
    """Whether a cookie may be one that was given out."""
    return _KEY.fullmatch(key) is not None


async def begin(tx: Transaction, token: TokenRow, now: datetime) -> SecretStr:
    """Begin a session under a key that nobody has seen before; sessions whose time is over go."""
    key = new_key()
    await sessions.remove_ended(tx, now)
    await sessions.add(tx, SessionRow(_digest(key), token.id, now, now + LIFE))
    return key


async def token_of(tx: Transaction, key: SecretStr, now: datetime) -> TokenRow | None:
    """The token that a session stands for; None where the session or the token has ended, or the token was revoked."""
    row = await sessions.token_of(tx, _digest(key), now)
    return row if row is not None and tokens.valid(row, now) else None


async def end(tx: Transaction, key: SecretStr) -> None:
    """End a session."""
    await sessions.remove(tx, _digest(key))


def form_token(key: SecretStr, action: str) -> str:
    """What a form must bring back so that it is known to come from our own page: good for one cookie and one action only."""
    return hmac.new(key.get_secret_value().encode(), b"truename form " + action.encode(), hashlib.sha256).hexdigest()


def form_token_holds(key: SecretStr, action: str, given: str) -> bool:
    """Whether a form brought the token that was put into it."""
    return hmac.compare_digest(form_token(key, action).encode(), given.encode("utf-8", "replace"))


def _digest(key: SecretStr) -> str:
    return hashlib.sha256(b"truename session" + key.get_secret_value().encode()).hexdigest()
