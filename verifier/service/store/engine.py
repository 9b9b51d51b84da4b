"""Opens the database and gives transactions: one kind for reading, one for writing.

Takes an SQLAlchemy URL of SQLite or PostgreSQL. A statement's parameters never reach a log or an error text, because they hold
sealed secrets and request bodies. Everything that happens in one `write()` happens whole or not at all.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from sqlalchemy import event, text
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError, StatementError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from verifier.errors import UsageError
from verifier.places import create_private, private_directory
from verifier.service.errors import StoreError
from verifier.service.migrations import migrate
from verifier.service.settings import ServiceSettings

Transaction = AsyncConnection
"""What the functions of the store take: the gift of `Store.read()` or `Store.write()`."""

POOL_SIZE = 20
"""Connections that one process keeps open; PostgreSQL allows 100 to all processes unless it is told otherwise."""
MAX_OVERFLOW = 10
"""Connections more that it opens at a peak, and closes again."""
CONNECT_S = 5.0
"""Seconds until PostgreSQL must have taken a connection. A server that is stopped or cut off neither answers nor refuses."""
STATEMENT_S = 15.0
"""Seconds that one statement may take: a run's lease, after which nothing that waits is of use. Migrations have no such limit."""
BUSY_TIMEOUT_MS = 5_000
"""How long SQLite waits for another process's write; see research/stack.md b: 0.9 s for 400 transactions of two processes."""

# Each line is one PRAGMA of a new SQLite connection.
_PRAGMAS = (f"busy_timeout={BUSY_TIMEOUT_MS}", "journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON")
_WRITES = "truename_writes"


class Store:
    """An open database. `close()` it in the end."""

    def __init__(self, engine: AsyncEngine) -> None:
        """`engine` comes from `make_engine`; its schema is up to date."""
        self._engine = engine
        self._writer = engine.execution_options(**{_WRITES: True})
        # SQLite has one writer; waiting for it in line is fair, where its own busy handler polls.
        self._turn = asyncio.Lock() if engine.dialect.name == "sqlite" else contextlib.nullcontext()

    @property
    def dialect(self) -> str:
        """sqlite or postgresql."""
        return self._engine.dialect.name

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncIterator[Transaction]:
        """A transaction that cannot write: one consistent view in SQLite, one of each statement in PostgreSQL. Raises as `write`."""
        async with self._transaction(self._engine) as connection:
            yield connection

    @contextlib.asynccontextmanager
    async def write(self) -> AsyncIterator[Transaction]:
        """A transaction that is committed at the end of the block and rolled back where the block raises.

        Raises StoreError where the database is gone or stays locked, also in the middle of the block; it may be tried again, and
        only where it was lost in the commit may it have happened. Raises UsageError for text that cannot be stored.
        """
        async with self._turn, self._transaction(self._writer) as connection:
            yield connection

    @contextlib.asynccontextmanager
    async def _transaction(self, engine: AsyncEngine) -> AsyncIterator[Transaction]:
        try:
            async with contextlib.AsyncExitStack() as stack:
                connection = await _connected(stack, engine)
                if engine is self._engine and self.dialect == "postgresql":
                    await connection.execution_options(postgresql_readonly=True)
                async with connection.begin():
                    yield connection
        except StatementError as error:
            if isinstance(error.orig, UsageError):
                raise error.orig from None
            if isinstance(error, OperationalError | InterfaceError) or (isinstance(error, DBAPIError) and error.connection_invalidated):
                raise _unusable(error) from None
            raise
        except TimeoutError as error:  # the driver's own, past STATEMENT_S
            raise _unusable(error) from None

    async def check(self) -> None:
        """For readiness: raises StoreError where the database does not answer."""
        async with self.read() as tx:
            await tx.execute(text("SELECT 1"))

    async def close(self) -> None:
        """Close every connection."""
        await self._engine.dispose()


async def open_store(url: str) -> Store:
    """Migrate the database to this version and open it; safe where several processes start at once.

    Raises StoreError, and CannotRunError where SQLite's file cannot be made.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        # The files that SQLite puts beside the database get its permissions.
        await asyncio.to_thread(create_private, Path(parsed.database), b"")
    try:
        await migrate(url)
        return Store(make_engine(url))
    except (SQLAlchemyError, OSError) as error:
        raise _unusable(error) from None


async def open_store_of(settings: ServiceSettings) -> Store:
    """As `open_store`, for the settings' database; the data directory is made where the database lies in it."""
    if settings.database_url is None:
        private_directory(settings.data_dir)
    return await open_store(settings.database)


@contextlib.asynccontextmanager
async def opened(url: str) -> AsyncIterator[Store]:
    """As `open_store`, closed at the end of the block."""
    store = await open_store(url)
    try:
        yield store
    finally:
        await store.close()


def make_engine(url: str | URL) -> AsyncEngine:
    """An engine with the service's settings for the URL's database. It connects on first use."""
    parsed = make_url(url)
    is_file = parsed.get_backend_name() == "sqlite"
    engine = create_async_engine(
        parsed,
        hide_parameters=True,
        pool_size=POOL_SIZE,
        max_overflow=MAX_OVERFLOW,
        # A server may have closed the connection since it was last used; a file does not.
        pool_pre_ping=not is_file,
        connect_args={} if is_file else {"timeout": CONNECT_S, "command_timeout": STATEMENT_S},
    )
    if is_file:
        event.listen(engine.sync_engine, "connect", _prepare_sqlite)
        event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


async def _connected(stack: contextlib.AsyncExitStack, engine: AsyncEngine) -> AsyncConnection:
    try:
        return await stack.enter_async_context(engine.connect())
    except (SQLAlchemyError, OSError) as error:
        raise _unusable(error) from None


def _prepare_sqlite(connection: Any, record: object) -> None:
    # The driver would begin transactions by itself, and only before a write: we say when (SQLAlchemy's documentation of pysqlite).
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    # PostgreSQL refuses to write in `read()`, so SQLite does too: else the mistake would show only there.
    connection.exec_driver_sql(f"PRAGMA query_only={'OFF' if writes else 'ON'}")
    # A transaction that reads first and writes later cannot wait for its turn: SQLite refuses it at once. So writers queue up front.
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _unusable(error: Exception) -> StoreError:
    # The text of a driver's error may quote the URL with its password, so only its kind is shown.
    cause = error if isinstance(error, OSError) else error.__cause__ or error
    return StoreError(f"the database cannot be used ({type(cause).__name__})", "check TRUENAME_DATABASE_URL and that the server runs")
