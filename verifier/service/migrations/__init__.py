"""Brings a database from one version of the tables to another; it needs no alembic.ini.

Takes an SQLAlchemy URL. All migrations of one call are one transaction under a lock of the database itself, so that processes
which start together run them once, and a failing migration leaves nothing behind.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from alembic import command
from alembic.config import Config
from sqlalchemy import event, text
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

ADVISORY_LOCK = 0x7472_6E6D
"""PostgreSQL's advisory lock under which migrations run: "trnm"."""
BUSY_TIMEOUT_MS = 60_000
"""How long a starting process waits for another one's migrations on SQLite."""


async def migrate(url: str | URL) -> None:
    """Bring the database to the newest version."""
    await upgrade(url)


async def upgrade(url: str | URL, revision: str = "head") -> None:
    """Bring the database up to `revision`. Raises SQLAlchemyError.

    One process migrates one database at a time: Alembic's context is global.
    """
    await _run(url, "upgrade", revision)


async def downgrade(url: str | URL, revision: str = "base") -> None:
    """Take the database down to `revision`; "base" removes every table of ours. Raises SQLAlchemyError."""
    await _run(url, "downgrade", revision)


async def _run(url: str | URL, direction: Literal["upgrade", "downgrade"], revision: str) -> None:
    engine = create_async_engine(make_url(url), hide_parameters=True, poolclass=NullPool)
    if engine.dialect.name == "sqlite":
        event.listen(engine.sync_engine, "connect", _prepare_sqlite)
        event.listen(engine.sync_engine, "begin", _begin_sqlite)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(_locked, direction, revision)
    finally:
        await engine.dispose()


def _locked(connection: Connection, direction: Literal["upgrade", "downgrade"], revision: str) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK})
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    if direction == "upgrade":
        command.upgrade(config, revision)
    else:
        command.downgrade(config, revision)


def _prepare_sqlite(connection: Any, record: object) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    # Batch migrations rebuild tables, which foreign keys would answer with deletes.
    for pragma in (f"busy_timeout={BUSY_TIMEOUT_MS}", "journal_mode=WAL", "foreign_keys=OFF"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # SQLite's exclusive lock on the file: a second process waits here until the first has committed.
    connection.exec_driver_sql("BEGIN EXCLUSIVE")
