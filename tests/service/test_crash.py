"""The short version of `benchmarks service` and `rolling`: processes and servers stop or die, and no audit is lost or done twice."""

from __future__ import annotations

import pytest

from benchmarks import faults, rolling

MAX_RESUMED_S = 30.0


@pytest.mark.redis
@pytest.mark.postgres
@pytest.mark.timeout(240)
def test_nothing_is_lost_or_done_twice_when_a_worker_the_queue_and_the_database_are_killed() -> None:
    found = faults.on_servers(30, questions=3, apart=False)
    assert (found["lost"], found["duplicated"], found["ledger_entries"]) == (0, 0, 30)
    assert found["interrupted"] > 0


@pytest.mark.timeout(240)
def test_nothing_is_lost_or_done_twice_when_the_only_process_is_killed() -> None:
    found = faults.embedded(15, kills=1, questions=3)
    assert (found["lost"], found["duplicated"], found["ledger_entries"]) == (0, 0, 15)
    assert found["interrupted"] > 0
    assert found["resumed_s"] <= MAX_RESUMED_S


@pytest.mark.redis
@pytest.mark.postgres
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "disturb", [rolling.roll, rolling.kill], ids=["every process stopped in turn", "apis killed in the middle of a POST"]
)
def test_clients_that_send_again_under_the_same_key_get_one_audit_each(disturb: rolling.Disturb, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rolling, "ROUNDS", 1)
    monkeypatch.setattr(rolling, "KILLS", 2)
    monkeypatch.setattr(rolling, "QUESTIONS", 5)
    found = rolling.measured(24, disturb)
    assert (found["lost"], found["duplicated"], found["made_twice"], found["ledger_entries"]) == (0, 0, 0, 24)
    assert found["sent_again"] > 0
