"""Korean text as guests write it in reviews that a host's translator must not read: readers of Korean understand it, machines often do not.

Takes Korean text and a seed, gives the same text with deformed syllables: tensed or aspirated initials, diphthongs for vowels, extra and
look-alike finals. The rules are our own; the sound stays near enough to be read aloud. Pure, seeded, and nothing but Hangul is touched.
"""

from __future__ import annotations

import random
import unicodedata
from itertools import zip_longest

INITIALS = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ"
VOWELS = "ㅏㅐㅑㅒㅓㅔㅕㅖㅗㅘㅙㅚㅛㅜㅝㅞㅟㅠㅡㅢㅣ"
FINALS = ("", *"ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ")
_FIRST, _LAST = 0xAC00, 0xD7A3
"""Code points of the first and last precomposed syllable (Unicode, chapter 3.12: 19 initials, 21 vowels, 28 finals)."""

_INITIAL = {"ㄱ": "ㄲㄲㅋ", "ㄷ": "ㄸㄸㅌ", "ㅂ": "ㅃㅃㅍ", "ㅅ": "ㅆ", "ㅈ": "ㅉㅉㅊ"}
_VOWEL = {
    **{"ㅏ": "ㅑㅘ", "ㅐ": "ㅒㅙ", "ㅓ": "ㅕㅝ", "ㅔ": "ㅖㅞ", "ㅗ": "ㅛ", "ㅜ": "ㅠ", "ㅡ": "ㅢ", "ㅣ": "ㅟㅢ"},
    **{"ㅚ": "ㅙㅞ", "ㅙ": "ㅞㅚ"},
}
_FINAL = {
    **{"ㄱ": "ㄲㄳㅋ", "ㄴ": "ㄵㄶ", "ㄹ": "ㄼㄽㅀ", "ㅁ": "ㄻ", "ㅂ": "ㅄㅍ", "ㅅ": "ㅆㅊㅌ", "ㅆ": "ㅅㅊ", "ㅈ": "ㅊㅅ", "ㅌ": "ㅅㅆ"},
    **{"ㅇ": "ㅇ", "ㄷ": "ㅅㅌ"},
}
_EXTRA = "ㄱㄴㅁㅂㅅㅎ"
"""Finals that an open syllable may get where its neighbour suggests none."""
_TRIES = 50
_TENSED, _DRAWN_OUT, _CLOSED = 0.4, 0.35, 0.7
"""Share of syllables whose initial, vowel and final change, chosen by eye so that a reader of Korean still follows."""


def deform(text: str, seed: int) -> str:
    """`text` (NFC) with every Hangul syllable that a rule touches deformed in at least one place; the same for the same seed.

    Never raises on any text."""
    rng = random.Random(f"truename/korean/{seed}")
    whole = unicodedata.normalize("NFC", text)
    return "".join(_deformed(one, after, rng) for one, after in zip_longest(whole, whole[1:], fillvalue=" "))


def syllables(text: str) -> int:
    """How many Hangul syllables `text` has, composed or decomposed."""
    return sum(_FIRST <= ord(each) <= _LAST for each in unicodedata.normalize("NFC", text))


def _deformed(one: str, after: str, rng: random.Random) -> str:
    if not _FIRST <= ord(one) <= _LAST:
        return one
    place = ord(one) - _FIRST
    parts = initial, vowel, final = INITIALS[place // 588], VOWELS[place % 588 // 28], FINALS[place % 28]
    for _ in range(_TRIES):
        changed = (
            rng.choice(_INITIAL[initial]) if initial in _INITIAL and rng.random() < _TENSED else initial,
            rng.choice(_VOWEL[vowel]) if vowel in _VOWEL and rng.random() < _DRAWN_OUT else vowel,
            _closed(final, after, rng) if rng.random() < _CLOSED else final,
        )
        if changed != parts:
            return _composed(*changed)
    return one  # no rule touches it, as in 용


def _closed(final: str, after: str, rng: random.Random) -> str:
    """Another final that is read alike; an open syllable takes over the next one's initial, which the reader hears anyway."""
    if final:
        return rng.choice(_FINAL.get(final, final))
    if _FIRST <= ord(after) <= _LAST and (initial := INITIALS[(ord(after) - _FIRST) // 588]) in FINALS and initial not in "ㅇㄹㅎ":
        return initial
    return rng.choice(_EXTRA)


def _composed(initial: str, vowel: str, final: str) -> str:
    return chr(_FIRST + (INITIALS.index(initial) * 21 + VOWELS.index(vowel)) * 28 + FINALS.index(final))
