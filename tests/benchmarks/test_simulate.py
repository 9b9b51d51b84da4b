"""The simulation benchmark at a small size: no honest endpoint accused, every allowed swap contradicted."""

from __future__ import annotations

from benchmarks.simulate import run, table


def test_no_honest_endpoint_is_accused_and_every_allowed_swap_is_contradicted() -> None:
    result = run(seed=1000, limit=2, names=("o200k", "llama3", "claude3"))
    assert result["honest"]["accused"] == 0 and result["honest"]["audits"] == 6
    for arm in result["swaps"].values():
        assert arm["contradicted"] == arm["tokenizer_named"] == arm["audits"] > 0
        assert arm["not_allowed"]["contradicted"] == 0
        assert arm["not_allowed"]["inconclusive_with_usage_recounted"] == arm["not_allowed"]["audits"]
    assert "| usage_only |" in table(result)
