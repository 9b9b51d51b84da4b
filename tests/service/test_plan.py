"""POST /v1/plan says what an audit would ask and cost, by the operator's own prices, and neither queues nor sends anything."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from api.cli_service import serve
from tests.service.api_client import Api, audit, settings, started
from verifier.errors import UsageError
from verifier.service.store import audits


@pytest.fixture
async def api(migrated_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    async with started(settings(tmp_path / "data", migrated_url)) as running:
        yield running


def table(api: Api, text: str) -> None:
    (api.service.settings.data_dir / "prices.toml").write_text(text, encoding="utf-8")


async def test_a_plan_costs_what_the_operators_table_says_and_queues_nothing(api: Api) -> None:
    async with api.service.store.read() as tx:
        before = await audits.counts(tx)
    body = audit() | {"claim": {"model": "gpt-4o"}, "suite": "quick", "seed": 1}
    listed = (await api.call("alice:submit", "POST", "/v1/plan", json=body)).json()
    table(api, '"gpt-4o" = { input = 1000, output = 2000, as_of = "2026-11" }')
    found = await api.call("alice:submit", "POST", "/v1/plan", json=body)
    plan = found.json()
    assert found.status_code == 200 and plan["price"] == "your price of 2026-11"
    assert plan["dollars"] == pytest.approx((plan["prompt_tokens"] + 2 * plan["completion_tokens"]) / 1000, rel=0.01)
    assert 0 < plan["requests"] <= 15 and "usage" in plan["probes"] and plan["sides"].keys() == {"target"}
    assert {name: plan[name] for name in ("requests", "prompt_tokens")} == {name: listed[name] for name in ("requests", "prompt_tokens")}
    async with api.service.store.read() as tx:
        assert await audits.counts(tx) == before


async def test_the_models_name_their_prices_where_they_are_known(api: Api) -> None:
    table(api, '"claude-3-opus" = { input = 5, output = 6, as_of = "2026-11" }')
    models = {each["name"]: each["price"] for each in (await api.call("alice:read", "GET", "/v1/models")).json()}
    assert models["claude-3-opus"] == {"input": 5.0, "output": 6.0, "as_of": "2026-11"}
    assert models["gpt-4o"] is not None and None in models.values()


async def test_a_table_that_is_none_is_the_operators_matter_and_not_the_callers(api: Api) -> None:
    table(api, '"gpt-4o" = "much"')
    found = await api.call("alice:submit", "POST", "/v1/plan", json=audit())
    assert found.status_code == 500 and found.json()["code"] == "cannot-run" and "prices.toml" not in found.text
    models = await api.call("alice:read", "GET", "/v1/models")
    assert models.status_code == 200 and {each["price"] for each in models.json()} == {None}


async def test_a_plan_refuses_what_an_audit_would_refuse(api: Api) -> None:
    hostile = audit() | {"target": {"base_url": "http://169.254.169.254/v1", "model": "m"}}
    found = await api.call("alice:submit", "POST", "/v1/plan", json=hostile)
    assert found.status_code == 422 and found.json()["code"] == "target-refused"
    assert (await api.call("alice:read", "POST", "/v1/plan", json=audit())).status_code == 403


def test_a_server_with_a_table_that_is_none_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUENAME_DATA_DIR", str(tmp_path))
    (tmp_path / "prices.toml").write_text('"gpt-4o" = "much"', encoding="utf-8")
    with pytest.raises(UsageError, match=r"prices\.toml.*gpt-4o"):
        serve()
    assert not (tmp_path / "truename.db").exists()
