"""POST /v1/reports/verify checks a report against the service's own keys and ledger, and says which check fails."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.service.api_client import Api, settings, started
from tests.verifier.signed import NOW, small_report
from verifier.publishing import Published, sealed
from verifier.report.model import Report
from verifier.service.store import ledger
from verifier.signing import ENVELOPE, PAGE, REPORT, TRANSCRIPT

FIELDS = {ENVELOPE: "envelope", REPORT: "report", TRANSCRIPT: "transcript", PAGE: "html"}


@pytest.fixture
def report() -> Report:
    """Made before the test's event loop runs: its simulated audit has a loop of its own."""
    return small_report()


@pytest.fixture
def database(migrated_sqlite: Path, tmp_path: Path) -> str:
    return f"sqlite+aiosqlite:///{shutil.copy(migrated_sqlite, tmp_path)}"


async def entered(api: Api, report: Report) -> Published:
    """A report that this service signed and entered first."""
    made = sealed(report, None, api.service.keys.signer(), NOW)
    async with api.service.store.write() as tx:
        await ledger.append(tx, made.entry.report, lambda *_: made.entry.to_bytes(), NOW)
    return made


async def states(api: Api, files: dict[str, bytes]) -> dict[str, str]:
    given = {FIELDS[name]: (name, data) for name, data in files.items()}
    answer: Any = (await api.call("alice:read", "POST", "/v1/reports/verify", files=given)).json()
    return {check["name"]: check["state"] for check in answer["checks"]}


async def test_a_report_of_this_service_holds_and_fails_once_its_ledger_does_not(report: Report, database: str, tmp_path: Path) -> None:
    async with started(settings(tmp_path / "data", database)) as api:
        files = dict((await entered(api, report)).files)
        assert set((await states(api, files)).values()) == {"held"}
        changed = await states(api, files | {PAGE: files[PAGE] + b" "})
        assert (changed["files"], changed["ledger"]) == ("failed", "held")
        async with api.service.store.write() as tx:
            await ledger.append(tx, "0" * 64, lambda *_: b"{}", NOW)
        assert (await states(api, files))["ledger"] == "failed"
