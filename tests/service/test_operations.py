"""docs/operations.md holds: it names every metric that is there and no other, and its backup, restore and upgrade are tried."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import text

from api.metrics import REGISTRY, of_service
from tests.conftest import REPOSITORY
from tests.service.api_client import CANARY, settings, started
from tests.service.rows import NOW, new_audit
from tests.service.servers import own_postgres, psql
from verifier.service.migrations import downgrade
from verifier.service.store import audits, numbers, runs
from verifier.service.store.engine import Store, opened

PAGE = (REPOSITORY / "docs" / "operations.md").read_text(encoding="utf-8")
NAMED = set(re.findall(r"^\| `(truename_\w+)`", PAGE, re.MULTILINE))
COMMANDS = re.findall(r"^    \$ (.+)$", PAGE, re.MULTILINE)


def test_the_page_lists_every_metric_and_no_other() -> None:
    numbers_of_none = numbers.Numbers(0, 0, 0.0, 0.0, 0, {("done", "consistent"): 1})
    found = {each.name for registry in (REGISTRY, of_service(numbers_of_none, {"w": 0.0}, 0.0)) for each in registry.collect()}
    # Counters are exposed under their name with _total.
    ours = {name for name in found if name.startswith("truename_")}
    assert {name.removesuffix("_total") for name in NAMED} == ours


def test_the_alerts_are_rules_over_metrics_that_exist() -> None:
    (block,) = re.findall(r"```yaml\n(groups:.+?)```", PAGE, re.DOTALL)
    rules: list[dict[str, Any]] = yaml.safe_load(block)["groups"][0]["rules"]
    assert len(rules) >= 7
    for rule in rules:
        assert set(rule) == {"alert", "expr", "for", "annotations"}
        assert rule["annotations"]["runbook"].strip("#") in re.sub(r"[^a-z0-9\n]+", "-", PAGE.lower())
        used = {re.sub(r"_(total|bucket|count|sum)$", "", name) for name in re.findall(r"truename_\w+", rule["expr"])}
        assert used and used <= {name.removesuffix("_total") for name in NAMED}, rule["alert"]


async def test_the_numbers_are_those_of_the_rows(store: Store) -> None:
    hours = timedelta(hours=1)
    async with store.write() as tx:
        for kind in ("refused-key", "refused-key", "timeout"):
            failed = await audits.submit(tx, new_audit(), NOW - hours)
            claimed = await runs.claim(tx, failed.audit.id, "w", NOW)
            assert claimed is not None
            await runs.fail(tx, claimed.run.id, "no", NOW, kind)
        old = await audits.submit(tx, new_audit(), NOW - 3 * hours)
        again = await runs.claim(tx, old.audit.id, "w", NOW)
        assert again is not None
        await runs.fail(tx, again.run.id, "no", NOW - 2 * hours, "timeout")
        for minutes in (5, 2):
            await audits.submit(tx, new_audit(), NOW - timedelta(minutes=minutes))
    async with store.read() as tx:
        found = await numbers.now(tx, NOW)
    assert (found.queued, found.running, found.oldest_queued_s) == (2, 0, 300.0)
    assert found.recent == {("failed", "refused-key"): 2, ("failed", "timeout"): 1}


@pytest.fixture
def backed_up(tmp_path: Path) -> Iterator[Path]:
    """An empty folder for a backup."""
    folder = tmp_path / "backup"
    folder.mkdir()
    yield folder


async def test_a_backup_of_sqlite_made_while_it_is_written_restores_audits_tokens_and_sealed_keys(tmp_path: Path, backed_up: Path) -> None:
    """The page's own commands, with its folders put in place."""
    data, restored = tmp_path / "data", tmp_path / "restored"
    data.mkdir(mode=0o700)
    given = settings(data, f"sqlite:///{data}/truename.db")
    async with started(given) as api:
        audit = await api.submit()
        writing = asyncio.create_task(_submit_many(api))
        await asyncio.sleep(0.1)
        for command in [each for each in COMMANDS if "$DATA" in each]:
            done = await asyncio.to_thread(_shell, command, DATA=data, BACKUP=backed_up, RESTORED=restored)
            assert done.returncode == 0, (command, done.stderr)
        writing.cancel()
        token = api.tokens["alice:read"]
    shutil.rmtree(data)
    for command in [each for each in COMMANDS if "$RESTORED" in each]:
        done = await asyncio.to_thread(_shell, command, DATA=data, BACKUP=backed_up, RESTORED=restored)
        assert done.returncode == 0, (command, done.stderr)
    again = settings(restored, f"sqlite:///{restored}/truename.db")
    async with started(again) as api:
        answer = await api.client.get(f"/v1/audits/{audit}", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 200 and answer.json()["status"] == "queued"
        assert (restored / "truename.db").stat().st_mode & 0o077 == 0
        async with api.service.store.read() as tx:
            from verifier.service.secrets import Binding, reveal

            secret = await reveal(tx, api.service.keyring, Binding("alice", audit, "target", "https://api.example.com"))
    assert CANARY in secret.get_secret_value()


async def _submit_many(api: Any) -> None:
    while True:
        await api.submit()


def _shell(command: str, **folders: Path) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TRUENAME_")}
    environment |= {name: str(value) for name, value in folders.items()} | {"PATH": path}
    return subprocess.run(["bash", "-euc", command], capture_output=True, text=True, env=environment, timeout=60)


@pytest.mark.postgres
async def test_a_dump_of_postgresql_restores_into_another_server(tmp_path: Path) -> None:
    dump, restore = (next(each for each in COMMANDS if each.startswith(name)) for name in ("pg_dump", "pg_restore"))
    with own_postgres() as server, own_postgres() as other:
        async with opened(server.url.replace("postgresql://", "postgresql+asyncpg://")) as store, store.write() as tx:
            made = await audits.submit(tx, new_audit(), NOW)
        assert psql(other.url, "CREATE DATABASE restored")
        empty = other.url.removesuffix("/postgres") + "/restored"
        for command, url in ((dump, server.url), (restore, empty)):
            done = await asyncio.to_thread(_shell, command.replace("$URL", url), BACKUP=tmp_path)
            assert done.returncode == 0, (command, done.stderr)
        async with opened(empty.replace("postgresql://", "postgresql+asyncpg://")) as store, store.read() as tx:
            assert await audits.get(tx, made.audit.id) == made.audit


async def test_an_upgrade_keeps_what_the_first_release_stored(database_url: str, tmp_path: Path) -> None:
    async with opened(database_url) as store, store.write() as tx:
        made = await audits.submit(tx, new_audit(), NOW)
    await downgrade(database_url, "0001")
    environment = os.environ | {"TRUENAME_DATABASE_URL": database_url, "TRUENAME_DATA_DIR": str(tmp_path)}
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-m", "api", "migrate"], cwd=REPOSITORY, env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "the database has this version's tables\n"), done.stderr
    async with opened(database_url) as store, store.read() as tx:
        assert await audits.get(tx, made.audit.id) == made.audit
        assert await tx.scalar(text("SELECT failure FROM audits")) is None
