"""Rows of API tokens: found by the SHA-256 of the token, never by the token. Making and checking tokens is verifier/service/tokens.py."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func, insert, select, text, update

from verifier.service.store.common import as_row, columns, page_of, values_of
from verifier.service.store.engine import Transaction
from verifier.service.store.models import tokens
from verifier.service.store.rows import Page, TokenRow

_FIRST_TOKEN_LOCK = 0x7472_6E6E


async def add(tx: Transaction, row: TokenRow) -> None:
    """Store a token."""
    await tx.execute(insert(tokens).values(**values_of(row)))


async def by_sha256(tx: Transaction, sha256: str) -> TokenRow | None:
    """The token with this digest, revoked and expired ones included."""
    found = (await tx.execute(select(*columns(tokens, TokenRow)).where(tokens.c.sha256 == sha256))).mappings().one_or_none()
    return as_row(TokenRow, found) if found is not None else None


async def page(tx: Transaction, owner: str | None, *, cursor: str | None = None, limit: int = 50) -> Page[TokenRow]:
    """One page of tokens, newest first, of one owner (None: of all). Raises CursorError."""
    return await page_of(tx, tokens, TokenRow, [] if owner is None else [tokens.c.owner == owner], cursor, limit)


async def revoke(tx: Transaction, token_id: str, now: datetime, owner: str | None = None) -> bool:
    """Make a token useless from now on; revoking twice is no error. False where there is none, or where it is not `owner`'s."""
    mine = [tokens.c.id == token_id] if owner is None else [tokens.c.id == token_id, tokens.c.owner == owner]
    gone = update(tokens).where(*mine).values(revoked=func.coalesce(tokens.c.revoked, now))
    return await tx.scalar(gone.returning(tokens.c.id)) is not None


async def none_yet(tx: Transaction) -> bool:
    """Whether no token was ever made. In a writing transaction no other process makes the first one until it ends."""
    if tx.dialect.name == "postgresql":
        await tx.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _FIRST_TOKEN_LOCK})
    return await tx.scalar(select(tokens.c.id).limit(1)) is None
