"""API tokens: `tn_` and 256 random bits, shown once, kept as a SHA-256.

A digest without salt is enough for a token that nobody chose (there is nothing to guess), and it can be looked up: the comparison
happens in the database's index on the digest, so its time says nothing about the token.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from pydantic import SecretStr

from verifier.errors import UsageError
from verifier.service.store import tokens
from verifier.service.store.engine import Transaction
from verifier.service.store.rows import Scope, TokenRow, new_id

PREFIX = "tn_"
SHOWN_CHARS = 9
"""Characters of a token that lists show: the prefix and 36 of its 256 bits."""
SCOPES: tuple[Scope, ...] = ("read", "submit", "admin")
FIRST_OWNER = "admin"
"""Owner of the token that is made on an empty data directory."""
MAX_OWNER_CHARS = 100

_TOKEN = re.compile(r"tn_[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token just made: the only time that it can be read."""

    token: SecretStr
    row: TokenRow


async def create(tx: Transaction, owner: str, scopes: Iterable[str], now: datetime, expires: datetime | None = None) -> NewToken:
    """Make a token for an owner. Raises UsageError for an empty owner, an unknown scope or an end that has passed."""
    if not owner.strip() or not owner.isprintable() or len(owner) > MAX_OWNER_CHARS:
        raise UsageError("the token's owner is empty, too long or not printable", f"give a name of at most {MAX_OWNER_CHARS} characters")
    asked = set(scopes)
    if not asked or asked - set(SCOPES):
        raise UsageError("a token's scopes are some of read, submit and admin", "give at least one of them and no other")
    if expires is not None and expires <= now:
        raise UsageError("the token would have ended already", "give a time to come")
    token = PREFIX + secrets.token_urlsafe(32)
    row = TokenRow(
        id=new_id("tok"),
        owner=owner.strip(),
        prefix=token[:SHOWN_CHARS],
        sha256=_digest(token),
        scopes=tuple(scope for scope in SCOPES if scope in asked),
        created=now,
        expires=expires,
        revoked=None,
    )
    await tokens.add(tx, row)
    return NewToken(SecretStr(token), row)


async def create_first(tx: Transaction, now: datetime) -> NewToken | None:
    """The admin token of an empty database; None where any token was ever made, a revoked one included."""
    return await create(tx, FIRST_OWNER, ["admin"], now) if await tokens.none_yet(tx) else None


async def authenticate(tx: Transaction, presented: SecretStr, now: datetime) -> TokenRow | None:
    """The row of a token that is valid now; None where it is malformed, unknown, revoked or expired."""
    text = presented.get_secret_value()
    if not _TOKEN.fullmatch(text):
        return None
    row = await tokens.by_sha256(tx, _digest(text))
    return row if row is not None and valid(row, now) else None


def valid(row: TokenRow, now: datetime) -> bool:
    """Whether the token is neither revoked nor expired."""
    return row.revoked is None and (row.expires is None or now < row.expires)


def allows(row: TokenRow, scope: Scope) -> bool:
    """Whether the token may do what `scope` names; admin may do everything."""
    return scope in row.scopes or "admin" in row.scopes


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
