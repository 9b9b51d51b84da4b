"""The user's price table counts before the one that ships, from the moment it is changed, and a wrong one is one clear line."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.verifier.truename import truename
from verifier.errors import UsageError
from verifier.prices import PRICES_VARIABLE, price_of, prices, read_prices

GOOD = '"gpt-4o" = { input = 1.0, output = 2.0, as_of = "2026-11" }\n"My-Reseller/x" = { input = 0, output = 3, as_of = 2026-11-20 }\n'
DEAD = "http://127.0.0.1:9/v1"


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRUENAME_DATA_DIR", str(tmp_path))
    monkeypatch.delenv(PRICES_VARIABLE, raising=False)
    return tmp_path


def dry_run(capsys: pytest.CaptureFixture[str], claim: str = "gpt-4o") -> tuple[int, str, str]:
    return truename(capsys, "audit", DEAD, "--claim", claim, "--suite", "quick", "--seed", "1", "--dry-run", "--json")


def test_without_a_table_of_the_users_the_shipped_one_prices_any_spelling_of_a_model() -> None:
    shipped = price_of("openai/gpt-4o")
    assert shipped is not None and not shipped.own and shipped == price_of("gpt-4o") == price_of("gpt-4o-2024-08-06")
    assert price_of("nobody-knows-this") is None
    assert all(price.dollars(1_000_000, 0) == price.input for price in prices().values())


def test_a_table_in_the_data_directory_counts_first_and_only_for_what_it_prices(data: Path) -> None:
    before = price_of("gpt-4o-mini")
    (data / "prices.toml").write_text(GOOD, encoding="utf-8")
    own, theirs = price_of("gpt-4o"), price_of("MY-reseller/X")
    assert own is not None and own.own and (own.input, own.output, own.as_of) == (1.0, 2.0, "2026-11")
    assert theirs is not None and (theirs.input, theirs.as_of) == (0.0, "2026-11-20")
    assert price_of("gpt-4o-mini") == before


def test_the_variable_names_another_table_and_a_change_of_it_counts_at_once(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (data / "prices.toml").write_text(GOOD, encoding="utf-8")
    other = data / "other.toml"
    monkeypatch.setenv(PRICES_VARIABLE, str(other))
    for dollars in (7, 8):
        other.write_text(f'"gpt-4o" = {{ input = {dollars}, output = 9, as_of = "2026-11" }}', encoding="utf-8")
        os.utime(other, ns=(dollars, dollars))
        found = price_of("gpt-4o")
        assert found is not None and found.input == dollars


def test_a_dry_run_is_priced_by_the_users_table(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = dry_run(capsys)
    listed = json.loads(out)
    (data / "prices.toml").write_text(GOOD, encoding="utf-8")
    code, out, _ = dry_run(capsys)
    plan = json.loads(out)
    assert code == 0 and plan["price"] == "your price of 2026-11" and listed["price"].startswith("list price of")
    assert plan["dollars"] == pytest.approx((plan["prompt_tokens"] + 2 * plan["completion_tokens"]) / 1e6, rel=0.01)


BAD = {
    "not TOML": "gpt-4o: 3",
    "a field too many": '"gpt-4o" = { input = 1, output = 2, as_of = "2026-11", currency = "EUR" }',
    "a field too few": '"gpt-4o" = { input = 1, as_of = "2026-11" }',
    "no table": '"gpt-4o" = 3',
    "no number": '"gpt-4o" = { input = "1", output = 2, as_of = "2026-11" }',
    "a truth": '"gpt-4o" = { input = true, output = 2, as_of = "2026-11" }',
    "below nothing": '"gpt-4o" = { input = -1, output = 2, as_of = "2026-11" }',
    "not a number": '"gpt-4o" = { input = nan, output = 2, as_of = "2026-11" }',
    "without end": '"gpt-4o" = { input = inf, output = 2, as_of = "2026-11" }',
    "beyond all bounds": '"gpt-4o" = { input = 1e9, output = 2, as_of = "2026-11" }',
    "no date": '"gpt-4o" = { input = 1, output = 2, as_of = "lately" }',
    "a date and time": '"gpt-4o" = { input = 1, output = 2, as_of = 2026-11-20T10:00:00Z }',
    "twice": '"gpt-4o" = { input = 1, output = 2, as_of = "2026-11" }\n"GPT-4o" = { input = 1, output = 3, as_of = "2026-11" }',
    "not UTF-8": "\udcff",
    "too large": "# " + "x" * 1_000_000,
}


@pytest.mark.parametrize("why", BAD)
def test_a_table_that_is_none_stops_a_dry_run_with_one_line_that_names_it(why: str, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (data / "prices.toml").write_text(BAD[why], encoding="utf-8", errors="surrogateescape")
    code, out, err = dry_run(capsys)
    assert code == 2 and not out and len(err.splitlines()) == 1 and "prices.toml" in err
    assert "gpt-4o" in err.casefold() or why in ("not UTF-8", "too large")
    with pytest.raises(UsageError):
        prices()


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir()])
def test_a_named_table_that_cannot_be_read_is_said_and_not_ignored(
    make: object, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make(data / "named.toml")  # type: ignore[operator]
    monkeypatch.setenv(PRICES_VARIABLE, str(data / "named.toml"))
    code, _, err = dry_run(capsys)
    assert code == 2 and "named.toml cannot be read" in err and PRICES_VARIABLE in err


def test_an_audit_needs_no_price_table(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (data / "prices.toml").write_text(BAD["no table"], encoding="utf-8")
    code, _, err = truename(capsys, "audit", DEAD, "--claim", "gpt-4o", "--suite", "quick")
    assert code == 4 and "unreachable" in err and "prices" not in err


def test_an_empty_table_is_a_table() -> None:
    assert read_prices(b"", "it", own=True) == {}
