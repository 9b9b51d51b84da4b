"""The short version of `benchmarks service`: workers, queue and database die by kill -9, and no audit is lost or done twice."""

from __future__ import annotations

import pytest

from benchmarks import faults

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
