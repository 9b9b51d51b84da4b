"""Claims about style without references: what it reads, when it abstains, and that no text decides more than it may."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import json
import math
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fingerprints import catalog, style
from fingerprints.scored import UNKNOWN
from fingerprints.style_features import feature_count, features, language

PROSE = (
    "There is more than one way to look at this, and most of them depend on what you want to keep. If the time is short, begin with the "
    "part that other people wait for; if it is not, begin with what you know least about. In both cases it is better to say so early."
)


def prose(count: int) -> list[str]:
    return [f"{PROSE} This is note {number}, and it should be read with the others." for number in range(count)]


def test_the_shipped_model_is_the_one_that_the_manifest_names_and_needs_no_pickle() -> None:
    data = (files("fingerprints") / "data" / "style.npz").read_bytes()
    told = style.manifest()
    assert hashlib.sha256(data).hexdigest() == told["sha256"] and len(data) < 5_000_000
    assert not {"flask", "divergent_words", "logickor_ko", "nonraw_mixtures"} & set(told["sources"])  # no licence is stated for these
    model = style.load(data)
    assert model.weights.shape == (len(model.selected), len(style.CLASSES)) and told["features"] == len(model.selected)
    assert model.selected.max() < feature_count() and np.isfinite(model.weights).all() and (model.scale > 0).all()
    with pytest.raises((ValueError, KeyError)):
        style.load(b"not an archive")


def test_every_family_is_known_to_the_catalog() -> None:
    assert set(style.CATALOG) == set(style.FAMILIES) and set(style.LISTED) < set(style.FAMILIES)
    assert {family for families in style.CATALOG.values() for family in families} <= {model.family for model in catalog.models()}


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ([], "long enough"),
        (["", "   ", "yes"], "long enough"),
        (['{"answer": "It is what the others have said, and there is more than one reason for it to be so."}'] * 10, "ask for free text"),
        (["one two three, the list of it all is here"] * 10, "too short"),
        (["Le chat dort sur le tapis rouge pendant que la pluie tombe doucement. " * 6] * 10, "English and Korean"),
        (["一只猫在红色的地毯上睡觉，外面下着雨。" * 20] * 10, "English and Korean"),
    ],
    ids=["nothing", "no text", "JSON", "labels", "French", "Chinese"],
)
def test_what_cannot_be_read_is_said_and_names_nobody(answers: list[str], says: str) -> None:
    reading = style.read(answers)
    assert reading.family is None and not reading.log_likelihood and reading.why_not is not None and says in reading.why_not


def test_plain_prose_of_nobody_is_given_to_nobody() -> None:
    reading = style.read(prose(12))
    assert reading.family is None and reading.why_not is not None and reading.answers == 12


def test_posteriors_add_up_and_likelihoods_are_bounded_however_many_answers_there_are() -> None:
    rng = np.random.default_rng(3)
    model = style.shipped()
    for answers in (1, 2, 5, 7, 10, 20, 400):
        rows = model.centre + 0.3 * rng.standard_normal((40, len(model.centre))) * model.scale
        for reading in style.judge(rows, answers, "english", model):
            assert math.isclose(sum(reading.posterior.values()), 1, abs_tol=1e-6)
            assert all(abs(value) <= style.BOUND + 1e-9 for value in reading.log_likelihood.values())
            assert reading.family is None or reading.posterior[reading.family] >= 0.5


def test_answers_unlike_anything_in_the_fit_are_not_judged() -> None:
    model = style.shipped()
    far = (model.centre + 20 * model.scale)[None]
    (reading,) = style.judge(far, 10, "english", model)
    assert reading.family is None and not reading.log_likelihood and "unlike anything" in str(reading.why_not)


def test_a_threshold_above_one_never_names_a_family() -> None:
    model = dataclasses.replace(style.shipped(), thresholds=np.full_like(style.shipped().thresholds, 2.0))
    rows = model.centre + np.random.default_rng(0).standard_normal((20, len(model.centre))) * model.scale * 0.5
    assert not any(reading.family for reading in style.judge(rows, 10, "english", model))


def test_only_the_four_listed_families_are_ever_named() -> None:
    unlisted = [style.FAMILIES.index(name) for name in style.FAMILIES if name not in style.LISTED]
    assert (style.shipped().thresholds[:, unlisted] > 1).all() and (style.shipped().thresholds >= 0.5).all()


def test_brand_names_and_spaces_around_an_answer_change_nothing() -> None:
    plain = f"{PROSE} As @ I would add this."
    assert np.allclose(features(plain), features(f"\n\n  {plain}\n"))
    assert np.allclose(features(PROSE + " I am Claude."), features(PROSE + " I am Llama."))


def test_other_topics_leave_the_skeleton_alone() -> None:
    one = features("The baker carried the bread to the market, and then she returned home.")
    two = features("The doctor watched the train to the valley, and then she finished work.")
    three = features("**Step 1:** carry bread!\n\n- market\n- home")
    assert np.linalg.norm(one - two) < np.linalg.norm(one - three)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (PROSE, "english"),
        ("오늘은 비가 오고 바람이 많이 붑니다. 우산을 챙기세요.", "korean"),
        ("def f(x): return x", "other"),
        ("", "other"),
    ],
)
def test_languages_are_told_apart(text: str, expected: str) -> None:
    assert language(text) == expected


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(max_size=400), max_size=6))
def test_no_text_raises(texts: list[str]) -> None:
    reading = style.read([*texts, "\ud800 lone surrogate " * 10, "\u202e" * 50])
    assert reading.answers <= len(texts) + 2 and (reading.family is None or reading.posterior)


def test_own_questions_are_english_and_korean_and_each_once() -> None:
    questions = style.own_questions()
    assert [sum(q.language == code for q in questions) for code in ("en", "ko")] == [12, 4] and len({q.sha256 for q in questions}) == 16
    assert all(q.text and language(q.text) == ("english" if q.language == "en" else "korean") for q in questions)


@pytest.mark.parametrize(
    ("source", "model", "family"), [("alpaca_eval", "claude-3-5-sonnet-20240620", "claude"), ("arena_hard_en", "gemma-2-27b-it", "google")]
)
def test_recorded_answers_are_read_as_their_family(shared: Path, source: str, model: str, family: str) -> None:
    with gzip.open(shared / "corpora" / f"{source}.jsonl.gz", "rt", encoding="utf-8") as lines:
        answers = [record["response"] for line in lines if (record := json.loads(line))["model"] == model][:20]
    reading = style.read(answers)
    assert reading.family == family and reading.posterior[UNKNOWN] < 0.5
