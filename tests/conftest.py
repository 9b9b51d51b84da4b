"""What all tests share: where recorded data lies, and what happens to a test whose surroundings are missing.

A marker of `ENVIRONMENT` whose check finds something missing skips its tests with the reason, on a user's machine. Where
TRUENAME_REQUIRE names the marker (`real,redis,postgres,ui`, as CI sets it), the same finding fails them instead.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from verifier import local

REPOSITORY = Path(__file__).parents[1]
SHARED = Path(os.environ.get("TRUENAME_SHARED", REPOSITORY.parent / "shared"))


def _redis() -> str | None:
    return None if shutil.which("redis-server") else "redis-server is not installed"


def _postgres() -> str | None:
    return None if shutil.which("psql") else "PostgreSQL is not installed"


def _chromium() -> str | None:
    return None if shutil.which("chromium") else "chromium is not installed"


def _recorded() -> str | None:
    return None if (SHARED / "recorded").is_dir() else "the recorded traffic (../shared) is not here"


ENVIRONMENT: dict[str, Callable[[], str | None]] = {
    "real": local.available,
    "redis": _redis,
    "postgres": _postgres,
    "ui": _chromium,
    "replay": _recorded,
}


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip, or fail where it is required, a test whose surroundings are missing."""
    required = os.environ.get("TRUENAME_REQUIRE", "").split(",")
    for marker, missing in ENVIRONMENT.items():
        if item.get_closest_marker(marker) and (why := missing()):
            if marker in required:
                pytest.fail(f"{why}, and TRUENAME_REQUIRE names {marker}", pytrace=False)
            pytest.skip(why)


@pytest.fixture(scope="session", autouse=True)
def data_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data directory for the tests, their subprocesses included: nobody's own keys, ledger or packs are read or written."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("truename-data")
        patch.setenv("TRUENAME_DATA_DIR", str(folder))
        patch.delenv("TRUENAME_SIGNING_KEY", raising=False)
        yield folder


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of recorded data beside the repository; skips where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("../shared is not here")
    return SHARED
