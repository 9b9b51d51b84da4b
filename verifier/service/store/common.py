"""What the aggregates share: rows into dataclasses, inserts that may meet an existing row, and page cursors."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import json
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from sqlalchemy import Column, ColumnElement, RowMapping, Select, Table, and_, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from verifier.service.errors import CursorError
from verifier.service.store.rows import Page

MAX_PAGE = 200
"""Most rows of one page, whatever is asked for."""

Kind = TypeVar("Kind")


def columns(table: Table, kind: type[Any]) -> list[Column[Any]]:
    """The table's columns that are fields of the dataclass `kind`, in its order."""
    return [table.c[each.name] for each in dataclasses.fields(kind)]


def as_row(kind: Callable[..., Kind], found: RowMapping) -> Kind:
    """One row as the dataclass `kind`, whose fields are named like the columns."""
    return kind(**found)


def values_of(row: Any) -> dict[str, Any]:
    """The fields of a dataclass as column values, without copying what they hold."""
    return {each.name: getattr(row, each.name) for each in dataclasses.fields(row)}


def insert_or(tx: AsyncConnection, table: Table) -> Any:
    """An INSERT that takes `on_conflict_do_nothing` and `on_conflict_do_update`: both databases have it, each under its own name."""
    return postgresql.insert(table) if tx.dialect.name == "postgresql" else sqlite.insert(table)


async def page_of(
    tx: AsyncConnection,
    table: Table,
    kind: type[Kind],
    filters: Iterable[ColumnElement[bool]],
    cursor: str | None,
    limit: int,
) -> Page[Kind]:
    """One page of a table with `created` and `id`, newest first; `limit` is held to 1..MAX_PAGE. Raises CursorError."""
    limit = max(1, min(limit, MAX_PAGE))
    query: Select[Any] = select(*columns(table, kind)).where(*filters)
    if cursor is not None:
        created, row_id = _read_cursor(cursor)
        query = query.where(or_(table.c.created < created, and_(table.c.created == created, table.c.id < row_id)))
    found = (await tx.execute(query.order_by(table.c.created.desc(), table.c.id.desc()).limit(limit + 1))).mappings().all()
    return Page(tuple(as_row(kind, each) for each in found[:limit]), _cursor_after(found, limit))


def _cursor_after(found: Sequence[RowMapping], limit: int) -> str | None:
    if len(found) <= limit:
        return None
    last = found[limit - 1]
    return base64.urlsafe_b64encode(json.dumps([last["created"].isoformat(), last["id"]]).encode()).decode().rstrip("=")


def _read_cursor(cursor: str) -> tuple[datetime, str]:
    refused = CursorError("the page cursor is not one that was given out", "start again without a cursor")
    try:
        created, row_id = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
        time = datetime.fromisoformat(created)
    except (ValueError, TypeError, binascii.Error):
        raise refused from None
    if time.tzinfo is None or not isinstance(row_id, str) or "\0" in row_id or not row_id.isascii():
        raise refused
    try:
        return time.astimezone(UTC), row_id
    except OverflowError:
        raise refused from None
