"""The store's transactions and databases: what cannot be stored, reached or used is one line and blocks nobody."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest
from sqlalchemy.exc import DBAPIError

from tests.service.rows import NOW, new_audit
from tests.service.servers import own_postgres
from tests.service.stored import submitted
from verifier.errors import CannotRunError, UsageError
from verifier.service.errors import StoreError
from verifier.service.settings import ServiceSettings
from verifier.service.store import audits
from verifier.service.store.engine import Store, open_store, open_store_of, opened


async def test_a_naive_time_is_refused(store: Store) -> None:
    with pytest.raises(Exception, match="times in the store are aware"):
        async with store.write() as tx:
            await audits.submit(tx, new_audit(), NOW.replace(tzinfo=None))


async def test_what_only_reads_cannot_write(store: Store) -> None:
    with pytest.raises((StoreError, DBAPIError)):
        async with store.read() as tx:
            await audits.submit(tx, new_audit(), NOW)
    async with store.read() as tx:
        assert await audits.queued(tx) == ()
    await submitted(store)


@pytest.mark.parametrize("text", ["a\0b", "a\ud800b"])
async def test_text_that_cannot_be_stored_is_the_users_mistake(store: Store, text: str) -> None:
    for changes in ({"claim": text}, {"owner": text}, {"webhook": text}, {"idempotency_key": text, "request_digest": "1"}):
        with pytest.raises(UsageError):
            await submitted(store, new_audit(**changes))
    async with store.read() as tx:
        assert await audits.queued(tx) == ()
    for filters in ({"claim": text}, {"origin": text}):
        with pytest.raises(UsageError):
            async with store.read() as tx:
                await audits.page(tx, None, **filters)
    with pytest.raises(UsageError):
        async with store.read() as tx:
            await audits.get(tx, text)


async def test_a_writer_that_is_cancelled_leaves_nothing_and_blocks_nobody(store: Store) -> None:
    inside = asyncio.Event()

    async def write() -> None:
        async with store.write() as tx:
            await audits.submit(tx, new_audit(), NOW)
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(write())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    row = await submitted(store)
    async with store.read() as tx:
        assert await audits.queued(tx) == (row.id,)


async def test_the_default_database_is_its_owners_alone(tmp_path: Path) -> None:
    settings = ServiceSettings(data_dir=tmp_path / "new" / "data")
    store = await open_store_of(settings)
    await submitted(store)
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in settings.data_dir.iterdir()}
    await store.close()
    assert stat.S_IMODE(settings.data_dir.stat().st_mode) == 0o700
    assert modes == dict.fromkeys(("truename.db", "truename.db-wal", "truename.db-shm"), 0o600)


@pytest.mark.postgres
async def test_a_killed_postgres_is_a_store_error_and_the_store_works_again_afterwards() -> None:
    with own_postgres() as server:
        async with opened(server.url.replace("postgresql://", "postgresql+asyncpg://")) as store:
            before = await submitted(store)
            with pytest.raises(StoreError):
                async with store.write() as tx:
                    await audits.submit(tx, new_audit(), NOW)
                    server.kill()
                    await audits.submit(tx, new_audit(), NOW)
            with pytest.raises(StoreError):
                await store.check()
            await asyncio.to_thread(server.start)
            after = await submitted(store)
            async with store.read() as tx:
                assert set(await audits.queued(tx)) == {before.id, after.id}


async def test_a_database_that_cannot_be_used_is_one_line_without_its_password() -> None:
    for url in ("postgresql+asyncpg://u:hunter2-hunter2@127.0.0.1:1/x", "sqlite+aiosqlite:////nowhere/at/all/x.db"):
        with pytest.raises(CannotRunError) as caught:
            await open_store(url)
        assert "hunter2" not in str(caught.value) and "\n" not in str(caught.value)


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_text("not a database " * 100)
    with pytest.raises(StoreError):
        await open_store(f"sqlite+aiosqlite:///{tmp_path / 'x.db'}")


async def test_an_open_store_answers_for_readiness(store: Store) -> None:
    await store.check()
