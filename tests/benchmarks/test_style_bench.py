"""Claims about the style benchmark: it scores recorded answers with the constants that ship and never looks at its own halves twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import style, style_audits
from fingerprints.build.same_prompt import PACKS
from fingerprints.build.same_prompt_fit import developed
from fingerprints.build.same_prompt_style import weights_class


def test_settings_of_the_same_weights_are_one_class_and_versions_are_not() -> None:
    def named(name: str) -> str:
        return weights_class({"model": name})

    assert named("o3-mini-high") == named("o3-mini-low") == "o3-mini"
    assert named("o4-mini-high-long") == "o4-mini"
    assert named("qwen3-30b-a3b-nothink") == named("qwen3-30b-a3b-think")
    assert named("gpt-4o-2024-11-20") != named("gpt-4o")


def test_the_half_of_a_question_depends_on_its_id_alone() -> None:
    names = [f"question-{number}/0" for number in range(200)]
    assert np.array_equal(developed(names)[::-1], developed(names[::-1]))
    assert 70 < developed(names).sum() < 130


def test_missing_data_is_said() -> None:
    with pytest.raises(FileNotFoundError):
        style.run(None)


def test_eight_questions_of_the_corpora_give_all_fields(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style, "DRAWS", 2)
    monkeypatch.setattr(style_audits, "DRAWS", 2)
    monkeypatch.setitem(PACKS["misguided-attention"], "dimensions", 256)  # short sketches: a quarter of the time
    monkeypatch.setattr(style, "shifted", lambda data, rng: None)
    monkeypatch.setattr(style, "_corpus", lambda data, corpus, rng: None)
    result = style.run(shared / "corpora", limit=8)
    rows = result["same_prompt"]
    assert set(rows) == {"1", "5", "10", "20"}
    assert rows["5"]["model"] > 0.8 and rows["5"]["family"] > rows["5"]["family_unseen_version"]
    assert rows["1"]["model"] > result["baselines"]["trigrams"]["1"]["model"]
    assert rows["10"]["model"] is None
    low, high = rows["5"]["macro_family_interval"]
    assert low <= rows["5"]["macro_family"] <= high
    assert any("r1" in name for name in rows["5"]["unseen_missed"])  # whose style none of its vendor's other models shares
    assert 0 <= result["ece"] < 0.3 and result["answers_per_second"] > 50
    assert "exact model" in style.table(result)
