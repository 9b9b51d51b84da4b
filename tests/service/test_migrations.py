"""The schema that migrations make is the one that the code speaks of, on both databases, however many processes start at once."""

from __future__ import annotations

import asyncio
import subprocess
import sys

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import CheckConstraint, inspect
from sqlalchemy.engine import Connection

from tests.conftest import REPOSITORY
from tests.service.rows import NOW, new_audit
from verifier.service.migrations import downgrade, upgrade
from verifier.service.store import audits
from verifier.service.store.engine import make_engine, opened
from verifier.service.store.models import metadata

PROCESSES = 3


async def tables_of(url: str) -> set[str]:
    engine = make_engine(url)
    try:
        async with engine.connect() as connection:
            return set(await connection.run_sync(lambda each: inspect(each).get_table_names()))
    finally:
        await engine.dispose()


async def test_the_migrated_schema_is_the_models(database_url: str) -> None:
    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection, opts={"compare_server_default": True}), metadata))

    await upgrade(database_url)
    engine = make_engine(database_url)
    try:
        async with engine.connect() as connection:
            assert await connection.run_sync(differences) == []
    finally:
        await engine.dispose()


async def test_the_checks_are_there_by_name_too(database_url: str) -> None:
    """Alembic compares no CHECK constraints."""

    def checks(connection: Connection) -> set[str | None]:
        found = inspect(connection)
        return {each["name"] for table in metadata.tables for each in found.get_check_constraints(table)}

    await upgrade(database_url)
    declared = [each for table in metadata.tables.values() for each in table.constraints if isinstance(each, CheckConstraint)]
    engine = make_engine(database_url)
    try:
        async with engine.connect() as connection:
            assert await connection.run_sync(checks) == {str(each.name) for each in declared}
    finally:
        await engine.dispose()


async def test_up_down_and_up_again_leaves_nothing_between(database_url: str) -> None:
    await upgrade(database_url)
    assert await tables_of(database_url) == {*metadata.tables, "alembic_version"}
    await downgrade(database_url)
    assert await tables_of(database_url) == {"alembic_version"}
    await upgrade(database_url)
    assert await tables_of(database_url) == {*metadata.tables, "alembic_version"}


async def test_opening_again_keeps_what_is_there(database_url: str) -> None:
    async with opened(database_url) as store, store.write() as tx:
        submitted = await audits.submit(tx, new_audit(), NOW)
    async with opened(database_url) as store, store.read() as tx:
        assert await audits.get(tx, submitted.audit.id) == submitted.audit


async def test_migrations_that_overlap_wait_for_each_other(database_url: str) -> None:
    await asyncio.gather(*(upgrade(database_url) for _ in range(PROCESSES)))
    assert await tables_of(database_url) == {*metadata.tables, "alembic_version"}


START = """
import asyncio, sys
from verifier.service.migrations import upgrade
print("ready", flush=True)
sys.stdin.readline()
asyncio.run(upgrade(sys.argv[1]))
"""


def test_processes_that_start_at_once_migrate_once(database_url: str) -> None:
    command = [sys.executable, "-W", "error", "-c", START, database_url]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    started = [subprocess.Popen(command, cwd=REPOSITORY, text=True, **pipes) for _ in range(PROCESSES)]
    for process in started:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    ended = [(process.communicate(timeout=60)[1], process.returncode) for process in started]
    assert ended == [("", 0)] * PROCESSES
    assert asyncio.run(tables_of(database_url)) == {*metadata.tables, "alembic_version"}
