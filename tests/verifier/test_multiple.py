"""Errors over many looks and many endpoints stay within alpha, and a late swap is still found."""

from __future__ import annotations

import math

import numpy as np
import pytest

from verifier.multiple import Carried, rejected, row_alpha


def test_the_first_audit_is_worth_half_of_its_own_evidence() -> None:
    assert math.exp(Carried().after(math.log(240)).log_e) == pytest.approx(0.5 * 240 + 0.5)


def test_the_carried_process_has_expectation_one_under_fair_bets() -> None:
    rng = np.random.default_rng(0)
    ends = []
    for _ in range(4000):
        carried = Carried()
        for log_e in np.log(np.where(rng.random(8) < 0.5, 1.6, 0.4)):
            carried = carried.after(float(log_e))
        ends.append(math.exp(carried.log_e))
    assert np.mean(ends) == pytest.approx(1.0, abs=0.06)


def test_thirty_audits_of_an_honest_endpoint_alarm_no_more_often_than_alpha() -> None:
    rng = np.random.default_rng(1)
    alarms = 0
    for _ in range(2000):
        carried, worst = Carried(), -math.inf
        for log_e in np.log(np.where(rng.random(30) < 0.02, 50.0, 0.0) + 1e-12):  # the largest jump that a fair e-value of 50 allows
            carried = carried.after(float(log_e))
            worst = max(worst, carried.log_e)
        alarms += worst >= math.log(100)
    assert alarms / 2000 <= 0.01


def test_a_swap_after_a_long_honest_time_is_found_within_three_audits() -> None:
    carried = Carried()
    for _ in range(30):
        carried = carried.after(math.log(0.06))
    by_counts_alone = [carried := carried.after(math.log(240)) for _ in range(3)]
    assert [each.log_e >= math.log(100) for each in by_counts_alone] == [False, False, True]


def test_a_plain_product_would_have_hidden_it() -> None:
    assert 30 * math.log(0.06) + 3 * math.log(240) < 0.0


def test_one_strong_row_of_many_is_accused_only_beyond_the_batch_threshold() -> None:
    honest = [math.log(0.06)] * 9
    assert rejected([*honest, math.log(999)], 0.01) == 0
    assert rejected([*honest, math.log(1001)], 0.01) == 1


def test_rows_that_are_strong_together_need_less_each() -> None:
    assert rejected([math.log(240)] * 5 + [0.0] * 5, 0.01) == 5
    assert row_alpha(10, 5, 0.01) == pytest.approx(0.005)
    assert row_alpha(10, 0, 0.01) == pytest.approx(0.001)


def test_false_accusations_in_batches_stay_within_alpha() -> None:
    """Honest rows that bet all on one event each: e = 2000 with probability 1/2000, the heaviest tail that Markov's inequality allows."""
    rng = np.random.default_rng(2)
    false = 0
    for _ in range(3000):
        e = np.where(rng.random(20) < 0.0005, 2000.0, 0.0)
        false += rejected(list(np.log(np.maximum(e, 1e-300))), 0.01) > 0
    assert false / 3000 <= 0.015


def test_no_rows_accuse_nobody() -> None:
    assert rejected([], 0.01) == 0
