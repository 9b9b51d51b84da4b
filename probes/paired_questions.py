"""Free-choice questions for the paired test: short, fresh, in English, Korean and Chinese, some of them open.

Takes a seeded generator, gives questions of a few recurring kinds. Each carries a made-up name, so that no cache answers it and
no list of known probes holds it, while the kind stays the same and its answers can be learnt from. Any text is a legal answer:
there is no right one, only a law that two endpoints with the same model share.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

SYLLABLES = {
    "en": tuple("ba cor del fin gal hes jo kel lum mar nov or pel quin ros sil tav ul ven zo".split()),
    "ko": tuple("가나다라마바사아자차노도로미보소우주하루"),
    "zh": tuple("安白辰东方光海江凯兰明宁平秋荣山天文雪云"),
}
"""What made-up names are made of, per language; three of 20 give 8,000 names, which makes repeats within an audit rare."""
NAME_SYLLABLES = 3

TEMPLATES: dict[str, tuple[str, ...]] = {
    "en-number": (
        "{name} wants a number from 1 to 100. Which one do you choose? Reply with the number only.",
        "Choose a number between 1 and 100 for {name}. Reply with only that number.",
    ),
    "en-word": (
        "Say one random English word for {name}. Reply with that single word only.",
        "{name} asks for one English word, any word. Reply with that word only.",
    ),
    "en-animal": (
        "Which animal should be the mascot of team {name}? Reply with one animal only.",
        "Choose an animal for the flag of {name}. Reply with the animal only.",
    ),
    "en-open": (
        "Write one short sentence about a place called {name}.",
        "Begin a story about {name} with one short sentence.",
    ),
    "ko-word": (
        "{name}에게 어울리는 동물 하나를 골라 주세요. 동물 이름만 답하세요.",
        "{name} 팀의 마스코트로 좋은 동물은? 동물 이름만 쓰세요.",
    ),
    "zh-word": (
        "请为{name}选一种水果。只回答水果的名称。",
        "{name}今天该吃什么水果?只写一种水果。",
    ),
}
"""Kinds of questions and their wordings. With fewer kinds each repeats sooner and its difference is learnt sooner; with more, two
models are less likely to share all favourites. Six: ten needed a third more pairs for the same swap (simulated cells)."""


@dataclass(frozen=True, slots=True)
class Question:
    """One question of a kind. `kind` is a key of TEMPLATES, `name` the made-up name in its text."""

    kind: str
    name: str
    text: str


def questions(rng: random.Random) -> Iterator[Question]:
    """Questions without end: every six hold each kind once, in an order and with names drawn from `rng`."""
    asked: set[str] = set()
    while True:
        kinds = list(TEMPLATES)
        rng.shuffle(kinds)
        for kind in kinds:
            question = _fresh(kind, rng, asked)
            asked.add(question.text)
            yield question


def _fresh(kind: str, rng: random.Random, asked: set[str]) -> Question:
    """A question of this kind that has not been asked yet."""
    while True:
        name = "".join(rng.choice(SYLLABLES[kind[:2]]) for _ in range(NAME_SYLLABLES)).capitalize()
        question = Question(kind, name, rng.choice(TEMPLATES[kind]).format(name=name))
        if question.text not in asked:
            return question
