"""The choices benchmark runs on a small limit, holds the contract's fields and beats the plain classifier beside it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import choices


def test_the_fields_of_the_contract_are_there_and_hold(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, smaller in (("GENUINE_TRIALS", 15), ("IMPOSTOR_SEEDS", 1), ("E_VALUE_SEEDS", 1), ("E_VALUE_TRIALS", 10)):
        monkeypatch.setattr(choices, name, smaller)
    result = json.loads(json.dumps(choices.run(shared / "packs", seed=7, limit=2)))
    for field in ("model_accuracy", "baseline_accuracy", "vendor_accuracy"):
        assert set(result[field]) == {"10", "20", "50"}
    assert result["model_accuracy"]["50"] > result["baseline_accuracy"]["50"]
    assert result["vendor_accuracy"]["10"] >= result["model_accuracy"]["10"]
    assert result["mean_genuine_rejection_at_1pct"] <= 0.025  # of 870 trials
    assert result["impostors_rejected_at_50"]["mean"] >= 0.97 and "worst_pair" in result["impostors_rejected_at_50"]
    assert result["e_value"]["worst_genuine_rejection"] == 0 and result["e_value"]["impostors_rejected_by_50"] > 0.5
    assert "| 50 |" in choices.table(result)


def test_missing_answers_are_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        choices.run(tmp_path)
