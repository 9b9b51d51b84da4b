"""A file of endpoints: both forms read alike, and every mistake is one line that names the row."""

from __future__ import annotations

from pathlib import Path

import pytest

from verifier.errors import CannotRunError, UsageError
from verifier.targets import MAX_ROWS, read_targets

TOML = """
[[targets]]
base_url = "https://one.example/v1"
claim = "gpt-4o"
name = "릴레이 一号"

[[targets]]
base_url = "https://two.example/openai"
claim = "claude-3-opus"
model = "resold-claude"
wire = "anthropic"
api_key_env = "SECOND_KEY"
headers = {"X-Team" = "쿠팡"}
query = {"api-version" = "2024-10-21"}
""".replace("쿠팡", "blue")

LINES = """{"base_url": "https://one.example/v1", "claim": "gpt-4o", "name": "릴레이 一号"}

{"base_url": "https://two.example/openai", "claim": "claude-3-opus", "model": "resold-claude", "wire": "anthropic",
"""


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "targets"
    file.write_text(text, encoding="utf-8")
    return file


def test_toml_tables_are_read_with_keys_from_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECOND_KEY", "sk-second")
    one, two = read_targets(written(tmp_path, TOML))
    assert (one.name, one.claim.model, one.target.model, one.auto) == ("릴레이 一号", "gpt-4o", "gpt-4o", True)
    assert (two.name, two.target.model, two.auto) == ("https://two.example as claude-3-opus", "resold-claude", False)
    assert two.target.api_key is not None and two.target.api_key.get_secret_value() == "sk-second"
    assert "sk-second" not in repr(two)


def test_json_lines_are_read_and_blank_lines_skipped(tmp_path: Path) -> None:
    rows = read_targets(
        written(
            tmp_path, '{"base_url": "https://one.example", "claim": "gpt-4o"}\n\n{"base_url": "https://one.example", "claim": "gpt-4o"}\n'
        )
    )
    assert [row.name for row in rows] == ["https://one.example as gpt-4o", "https://one.example as gpt-4o (2)"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LINES, "line 3 is not JSON"),
        ("[[targets]\nbase_url=1", "is not TOML"),
        ("title = 'nothing'", "names 0 endpoints"),
        ("[[targets]]\nclaim = 'gpt-4o'", "target 1: base_url or claim is missing"),
        ("[[targets]]\nbase_url = 'https://a.example'\nclaim = 'gpt-4o'\nkey = 'sk'", "target 1: there is no field 'key'"),
        ("[[targets]]\nbase_url = 'ftp://a.example'\nclaim = 'gpt-4o'", "target 1: the scheme 'ftp'"),
        ("[[targets]]\nbase_url = 'https://a.example'\nclaim = 'gpt-4o'\nwire = 'smoke'", "target 1: the wire 'smoke'"),
        ("[[targets]]\nbase_url = 'https://a.example'\nclaim = 'gpt-4o'\napi_key_env = 'NOT_SET_HERE'", "NOT_SET_HERE is not set"),
        ("[[targets]]\nbase_url = 'https://a.example'\nclaim = 3", "the field claim is not a string"),
        ("[[targets]]\nbase_url = 'https://a.example'\nclaim = 'gpt-4o'\nheaders = {a = 1}", "not a string"),
        ("[[targets]]\nbase_url = 'https://a.example'\nclaim = 'gpt-4o'\nquery = 'x'", "the field query is not a table"),
        ('{"base_url": "https://a.example", "claim": "gpt-4o"}\n[1]', "target 2: it is not a table"),
        ("[[targets]]\nbase_url = 'https://a.example'\nclaim = 'g'\n" * (MAX_ROWS + 1), f"names {MAX_ROWS + 1} endpoints"),
    ],
)
def test_a_mistake_is_one_line_that_says_where(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError) as raised:
        read_targets(written(tmp_path, text))
    assert said in str(raised.value) and "\n" not in str(raised.value)


def test_an_unreadable_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(CannotRunError, match="cannot be read"):
        read_targets(tmp_path / "absent")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CannotRunError, match="not UTF-8"):
        read_targets(tmp_path / "bytes")
