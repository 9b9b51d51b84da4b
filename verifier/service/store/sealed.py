"""Rows of sealed secrets: ciphertext in, ciphertext out. Sealing and opening is verifier/service/secrets.py."""

from __future__ import annotations

from sqlalchemy import delete, func, select, update

from verifier.service.store.common import as_row, columns, insert_or, values_of
from verifier.service.store.engine import Transaction
from verifier.service.store.models import sealed
from verifier.service.store.rows import Purpose, SealedRow

_COLUMNS = columns(sealed, SealedRow)


async def put(tx: Transaction, row: SealedRow) -> None:
    """Store a sealed secret in place of the holder's earlier one for the same purpose."""
    values = values_of(row)
    statement = insert_or(tx, sealed).values(**values)
    await tx.execute(statement.on_conflict_do_update(index_elements=["holder", "purpose"], set_=values))


async def get(tx: Transaction, holder: str, purpose: Purpose) -> SealedRow | None:
    """A holder's sealed secret for one purpose."""
    query = select(*_COLUMNS).where(sealed.c.holder == holder, sealed.c.purpose == purpose)
    found = (await tx.execute(query)).mappings().one_or_none()
    return as_row(SealedRow, found) if found is not None else None


async def remove(tx: Transaction, holder: str, purpose: Purpose | None = None) -> int:
    """Delete a holder's sealed secrets, of one purpose or all. Gives how many there were."""
    mine = [sealed.c.holder == holder] if purpose is None else [sealed.c.holder == holder, sealed.c.purpose == purpose]
    return (await tx.execute(delete(sealed).where(*mine))).rowcount


async def not_under(tx: Transaction, key_id: str, limit: int) -> tuple[SealedRow, ...]:
    """Some of the secrets that were sealed with another key than `key_id`."""
    query = select(*_COLUMNS).where(sealed.c.key_id != key_id).order_by(sealed.c.holder, sealed.c.purpose).limit(limit)
    return tuple(as_row(SealedRow, each) for each in (await tx.execute(query)).mappings())


async def replace(tx: Transaction, before: SealedRow, key_id: str, data: bytes) -> bool:
    """Put another ciphertext in place of `before`'s; False where the row is no longer what it was."""
    same = update(sealed).where(sealed.c.holder == before.holder, sealed.c.purpose == before.purpose, sealed.c.sealed == before.sealed)
    return await tx.scalar(same.values(key_id=key_id, sealed=data).returning(sealed.c.holder)) is not None


async def key_ids(tx: Transaction) -> dict[str, int]:
    """How many secrets lie under each key."""
    found = await tx.execute(select(sealed.c.key_id, func.count()).group_by(sealed.c.key_id))
    return {key_id: count for key_id, count in found}
