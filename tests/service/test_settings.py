"""Settings come from TRUENAME_* variables, an empty value is none, and a wrong one is one clear line that does not quote it."""

from __future__ import annotations

import os
import re
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy.engine import make_url

from tests.conftest import REPOSITORY
from verifier.errors import UsageError
from verifier.places import create_private
from verifier.service.errors import ConfigError
from verifier.service.keys import new_key
from verifier.service.secrets import KEY_FILE, open_keyring
from verifier.service.settings import ServiceSettings, load_settings, variable
from verifier.service.store.engine import opened

PAGE = (REPOSITORY / "docs" / "settings.md").read_text(encoding="utf-8")
ROWS = {row[0]: row[1] for row in re.findall(r"^\| `(TRUENAME_\w+)` \| (.+?) \| .+ \|$", PAGE, re.MULTILINE)}
CANARY = "canary-7f3a9c-do-not-show"


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting but a data directory of the test's own."""
    for name in [each for each in os.environ if each.startswith("TRUENAME_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TRUENAME_DATA_DIR", str(tmp_path))


def test_the_page_lists_the_settings_and_no_other() -> None:
    assert set(ROWS) == {variable(name) for name in ServiceSettings.model_fields}


def test_the_page_states_the_defaults() -> None:
    defaults = load_settings()
    stated = {name: value.strip("`") for name, value in ROWS.items() if re.fullmatch(r"`[^`]+`", value)}
    assert len(stated) >= 8
    for name, value in stated.items():
        default = getattr(defaults, name.removeprefix("TRUENAME_").lower())
        assert value == str(default.get_secret_value() if isinstance(default, SecretStr) else default), name


def test_without_any_variable_everything_is_embedded(tmp_path: Path) -> None:
    settings = load_settings()
    assert make_url(settings.database).database == str(tmp_path / "truename.db")
    assert (settings.queue, settings.embedded, settings.secret_key, settings.allowed_networks) == ("memory://", True, None, ())


def test_an_empty_value_is_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = load_settings()
    for name in ServiceSettings.model_fields:
        if name != "data_dir":
            monkeypatch.setenv(variable(name), "")
    assert load_settings() == plain
    monkeypatch.setenv("TRUENAME_DATA_DIR", "")
    monkeypatch.setenv("XDG_DATA_HOME", "/elsewhere")
    assert load_settings().data_dir == Path("/elsewhere/truename")


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("postgres://u:p%40ss@db.example:5433/t", "postgresql+asyncpg://u:p%40ss@db.example:5433/t"),
        ("postgresql://db.example/t?ssl=require", "postgresql+asyncpg://db.example/t?ssl=require"),
        ("sqlite:///relative.db", "sqlite+aiosqlite:///relative.db"),
        ("sqlite:////absolute/데이터.db", "sqlite+aiosqlite:////absolute/데이터.db"),
    ],
)
def test_a_usual_database_url_gets_our_driver(monkeypatch: pytest.MonkeyPatch, given: str, used: str) -> None:
    monkeypatch.setenv("TRUENAME_DATABASE_URL", given)
    assert make_url(load_settings().database) == make_url(used)


@pytest.mark.parametrize("name", ["plain", "데이터 폴더", "a?b#c", "100%20", "a:b@c"])
async def test_the_default_database_lies_in_a_data_directory_of_any_name(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    async with opened(ServiceSettings(data_dir=folder).database) as store:
        await store.check()
    assert (folder / "truename.db").stat().st_size > 0


def test_lists_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [new_key().get_secret_value() for _ in range(2)]
    monkeypatch.setenv("TRUENAME_ALLOWED_NETWORKS", "10.1.0.0/16, 127.0.0.0/8,")
    monkeypatch.setenv("TRUENAME_OLD_SECRET_KEYS", ",".join(keys))
    settings = load_settings()
    assert settings.allowed_networks == ("10.1.0.0/16", "127.0.0.0/8")
    assert [each.get_secret_value() for each in settings.old_secret_keys] == keys
    assert ServiceSettings(old_secret_keys=settings.old_secret_keys) == settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TRUENAME_DATABASE_URL", f"mysql://u:{CANARY}@host/x"),
        ("TRUENAME_DATABASE_URL", f"{CANARY}"),
        ("TRUENAME_DATABASE_URL", f"postgresql://u:{CANARY}@host:port/x"),
        ("TRUENAME_DATABASE_URL", "sqlite://"),
        ("TRUENAME_REDIS_URL", f"http://{CANARY}"),
        ("TRUENAME_SECRET_KEY", CANARY),
        ("TRUENAME_OLD_SECRET_KEYS", f"{'0' * 64},{CANARY}"),
        ("TRUENAME_ALLOWED_NETWORKS", "10.0.0.0/8,everything"),
        ("TRUENAME_ALLOWED_NETWORKS", "169.254.0.0/16"),
        ("TRUENAME_TOKEN_RATE", "often"),
        ("TRUENAME_SUBMIT_RATE", "-1/hour"),
        ("TRUENAME_ORIGIN_RATE", "1/fortnight"),
        ("TRUENAME_ORIGIN_DAILY_REQUESTS", "0"),
        ("TRUENAME_CONCURRENT_AUDITS", "many"),
        ("TRUENAME_RETENTION_DAYS", "1.5"),
        ("TRUENAME_LOG_LEVEL", "loud"),
    ],
)
def test_a_value_that_cannot_be_used_is_one_line(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as caught:
        load_settings()
    line = str(caught.value)
    assert line.startswith(f"{name}: ") and "\n" not in line and CANARY not in line
    assert isinstance(caught.value, UsageError) and caught.value.exit_code == 2
    assert caught.value.__cause__ is None and caught.value.__context__ is None


def test_every_wrong_value_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUENAME_RETENTION_DAYS", "x")
    monkeypatch.setenv("TRUENAME_LOG_LEVEL", "x")
    with pytest.raises(ConfigError, match=r"TRUENAME_RETENTION_DAYS: .+TRUENAME_LOG_LEVEL: "):
        load_settings()


def test_settings_show_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUENAME_DATABASE_URL", f"postgresql://u:{CANARY}@host/x")
    monkeypatch.setenv("TRUENAME_REDIS_URL", f"redis://u:{CANARY}@host/0")
    monkeypatch.setenv("TRUENAME_SIGNING_KEY", CANARY)
    settings = load_settings()
    assert CANARY not in repr(settings) + str(settings) + settings.model_dump_json()


def test_the_secret_key_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    settings = load_settings()
    first = open_keyring(settings).key_id
    assert open_keyring(settings).key_id == first
    assert stat.S_IMODE((tmp_path / KEY_FILE).stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == [KEY_FILE]


def test_processes_that_start_at_once_get_the_same_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        given = list(pool.map(lambda number: create_private(tmp_path / "one", str(number).encode()), range(40)))
    assert len(set(given)) == 1
    assert [each.name for each in tmp_path.iterdir()] == ["one"]


def test_a_key_file_that_is_no_key_is_one_line(tmp_path: Path) -> None:
    (tmp_path / KEY_FILE).write_bytes(b"\xff" + CANARY.encode())
    with pytest.raises(ConfigError) as caught:
        open_keyring(load_settings())
    assert CANARY not in str(caught.value) and KEY_FILE in str(caught.value)


def test_a_given_key_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUENAME_SECRET_KEY", "0" * 64)
    open_keyring(load_settings())
    assert list(tmp_path.iterdir()) == []
