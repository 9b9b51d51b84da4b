"""Bounds on rates are the exact binomial ones."""

from __future__ import annotations

import pytest

from verifier.intervals import lower_bound, upper_bound


def test_the_rule_of_three_holds_for_no_hits() -> None:
    assert upper_bound(0, 300) == pytest.approx(1 - 0.05 ** (1 / 300), rel=1e-9)


@pytest.mark.parametrize(("hits", "trials", "upper"), [(1, 20, 0.21611), (5, 50, 0.19883), (10, 10, 1.0), (0, 0, 1.0)])
def test_upper_bounds_match_published_tables(hits: int, trials: int, upper: float) -> None:
    assert upper_bound(hits, trials) == pytest.approx(upper, abs=5e-4)


def test_lower_and_upper_bounds_mirror_each_other() -> None:
    assert lower_bound(19, 20) == pytest.approx(1 - upper_bound(1, 20))
    assert lower_bound(0, 0) == 0.0
