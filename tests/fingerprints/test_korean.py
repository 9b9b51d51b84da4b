"""Deformed Korean stays near enough to be read, is the same for the same seed, and leaves everything else alone."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fingerprints.korean import FINALS, INITIALS, VOWELS, deform, syllables

REVIEW = "화장실에서 바퀴벌레가 나왔어요. 절대 가지 마세요!"
SOUNDS = {"ㄲ": "ㄱ", "ㅋ": "ㄱ", "ㄸ": "ㄷ", "ㅌ": "ㄷ", "ㅃ": "ㅂ", "ㅍ": "ㅂ", "ㅆ": "ㅅ", "ㅉ": "ㅈ", "ㅊ": "ㅈ"}


def parts(one: str) -> tuple[str, str, str]:
    place = ord(one) - 0xAC00
    return INITIALS[place // 588], VOWELS[place % 588 // 28], FINALS[place % 28]


def test_the_tables_are_those_of_unicode() -> None:
    assert (len(INITIALS), len(VOWELS), len(FINALS)) == (19, 21, 28)
    assert parts("한") == ("ㅎ", "ㅏ", "ㄴ") and parts("뷁") == ("ㅂ", "ㅞ", "ㄺ")


def test_the_same_seed_gives_the_same_text_and_another_another() -> None:
    assert deform(REVIEW, 1) == deform(REVIEW, 1) != deform(REVIEW, 2)


@pytest.mark.parametrize("seed", range(20))
def test_nearly_every_syllable_changes_and_none_is_lost(seed: int) -> None:
    changed = deform(REVIEW, seed)
    assert len(changed) == len(REVIEW) and syllables(changed) == syllables(REVIEW)
    pairs = [(a, b) for a, b in zip(REVIEW, changed, strict=True) if syllables(a)]
    assert all(a != b for a, b in pairs)
    assert all(a == b for a, b in zip(REVIEW, changed, strict=True) if not syllables(a))


@pytest.mark.parametrize("seed", range(20))
def test_initials_stay_in_their_row_of_sounds(seed: int) -> None:
    for a, b in zip(REVIEW, deform(REVIEW, seed), strict=True):
        if syllables(a):
            before, after = parts(a)[0], parts(b)[0]
            assert SOUNDS.get(before, before) == SOUNDS.get(after, after)


def test_decomposed_hangul_is_deformed_like_composed() -> None:
    assert deform(unicodedata.normalize("NFD", REVIEW), 3) == deform(REVIEW, 3)


def test_a_syllable_that_no_rule_touches_is_left_and_ends() -> None:
    assert deform("용", 0) in {"용"} and deform("ㅋㅋ ABC 中文 🎉", 0) == "ㅋㅋ ABC 中文 🎉"


@given(st.text(max_size=60), st.integers(0, 5))
def test_any_text_is_survived(text: str, seed: int) -> None:
    assert syllables(deform(text, seed)) == syllables(text)
