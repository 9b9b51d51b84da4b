"""Databases and queues of the service's tests: a fresh database for each test, an empty Redis of their own."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import redis
from pydantic import SecretStr
from sqlalchemy import text

from benchmarks.light import lighten
from benchmarks.vendor import Vendor
from tests.service.api_client import Api, settings, started
from tests.service.running import Running, make_running
from tests.service.servers import own_postgres, own_redis, psql
from verifier.service import execute, jobs
from verifier.service.migrations import upgrade
from verifier.service.settings import ServiceSettings
from verifier.service.store.engine import Store, make_engine
from verifier.service.store.models import metadata

RUNNING_POSTGRES = "postgresql://postgres@127.0.0.1:5432/postgres"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of a PostgreSQL where the tests may make and drop databases: the one on this machine if it lets us in, else our own."""
    with contextlib.ExitStack() as stack:
        yield RUNNING_POSTGRES if psql(RUNNING_POSTGRES, "SELECT 1") else stack.enter_context(own_postgres()).url


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """An SQLAlchemy URL of an empty PostgreSQL database, dropped afterwards."""
    with _database(postgres_server) as url:
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """An SQLAlchemy URL of an SQLite file that does not exist yet."""
    return f"sqlite+aiosqlite:///{tmp_path / 'truename.db'}"


@pytest.fixture
async def api(tmp_path: Path, sqlite_url: str) -> AsyncIterator[Api]:
    """The application over an SQLite file, with tokens of everybody."""
    async with started(settings(tmp_path, sqlite_url)) as made:
        yield made


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest) -> str:
    """An empty database of each kind."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture(scope="session")
def migrated_postgres(postgres_server: str) -> Iterator[str]:
    """A PostgreSQL database with every table, for all tests of one process: making one takes a second."""
    with _database(postgres_server) as url, asyncio.Runner() as runner:
        runner.run(upgrade(url))
        yield url


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with every table, to be copied."""
    path = tmp_path_factory.mktemp("migrated") / "truename.db"
    with asyncio.Runner() as runner:
        runner.run(upgrade(f"sqlite+aiosqlite:///{path}"))
    return path


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def migrated_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database of each kind with every table; PostgreSQL's may hold rows of other tests."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{shutil.copy(request.getfixturevalue('migrated_sqlite'), tmp_path)}"
    url: str = request.getfixturevalue("migrated_postgres")
    return url


@pytest.fixture
async def store(migrated_url: str) -> AsyncIterator[Store]:
    """An open, empty store on each kind of database."""
    empty = Store(make_engine(migrated_url))
    if empty.dialect == "postgresql":
        async with empty.write() as tx:
            await tx.execute(text(f"TRUNCATE {', '.join(metadata.tables)}"))
    yield empty
    await empty.close()


@contextlib.contextmanager
def _database(server: str) -> Iterator[str]:
    name = f"truename_{secrets.token_hex(6)}"
    assert psql(server, f"CREATE DATABASE {name}")
    yield server.replace("postgresql://", "postgresql+asyncpg://").removesuffix("/postgres") + f"/{name}"
    assert psql(server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def redis_server() -> Iterator[str]:
    """URL of a redis-server of our own."""
    with own_redis() as server:
        yield server.url


@pytest.fixture
def redis_url(redis_server: str) -> str:
    """The URL of an empty Redis."""
    with redis.Redis.from_url(redis_server) as client:
        client.flushall()
    return redis_server


@pytest.fixture
async def vendor() -> AsyncIterator[Vendor]:
    """A vendor that answers "OK" at once."""
    async with Vendor() as served:
        yield served


@pytest.fixture
def quick_beats(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heartbeats, ticks and looks for lost ticks many times a second."""
    monkeypatch.setattr(execute, "BEAT_S", 0.3)
    monkeypatch.setattr(jobs, "TICK", timedelta(milliseconds=100))
    monkeypatch.setattr(jobs, "RESEED_S", 0.3)


@pytest.fixture
async def running(
    request: pytest.FixtureRequest, tmp_path: Path, store: Store, vendor: Vendor, quick_beats: None, monkeypatch: pytest.MonkeyPatch
) -> Running:
    """The service's parts with light audits: SQLite and the queue in memory, then PostgreSQL and Redis. No worker runs yet."""
    lighten(monkeypatch.setattr)
    queue = "memory://" if store.dialect == "sqlite" else request.getfixturevalue("redis_url")
    monkeypatch.setenv("TRUENAME_DATA_DIR", str(tmp_path))
    settings = ServiceSettings(
        data_dir=tmp_path, redis_url=SecretStr(queue), allowed_networks=("127.0.0.0/8",), origin_rate="10000/hour", concurrent_audits=50
    )
    return make_running(settings, store, vendor)
