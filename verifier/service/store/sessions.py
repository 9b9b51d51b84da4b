"""Rows of the web page's sessions: found by the SHA-256 of the cookie, never by the cookie. Rules: verifier/service/sessions.py."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, insert, select

from verifier.service.store.common import as_row, columns, values_of
from verifier.service.store.engine import Transaction
from verifier.service.store.models import sessions, tokens
from verifier.service.store.rows import SessionRow, TokenRow


async def add(tx: Transaction, row: SessionRow) -> None:
    """Store a session."""
    await tx.execute(insert(sessions).values(**values_of(row)))


async def token_of(tx: Transaction, sha256: str, now: datetime) -> TokenRow | None:
    """The token that a session which has not ended stands for, revoked and expired tokens included."""
    query = select(*columns(tokens, TokenRow)).join(sessions, sessions.c.token_id == tokens.c.id)
    found = (await tx.execute(query.where(sessions.c.sha256 == sha256, sessions.c.expires > now))).mappings().one_or_none()
    return as_row(TokenRow, found) if found is not None else None


async def remove(tx: Transaction, sha256: str) -> None:
    """End a session; one that is not there is no error."""
    await tx.execute(delete(sessions).where(sessions.c.sha256 == sha256))


async def remove_ended(tx: Transaction, now: datetime) -> int:
    """Remove the sessions whose time is over. Gives how many there were."""
    return (await tx.execute(delete(sessions).where(sessions.c.expires <= now))).rowcount
