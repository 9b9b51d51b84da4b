"""Whose answers are liker: an e-value that honest answers do not raise, another model's do, and that knows when it has nothing to say."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fingerprints.same_prompt_pairs import MAX_LOG_E, MIN_LOG_E, TOLERANCE, against

Floats = npt.NDArray[np.floating[Any]]
DIMENSIONS = 64


def answers(rng: np.random.Generator, topic: Floats, count: int, spread: float = 0.5) -> Floats:
    """Sketches of one model's answers to one question: around its own topic."""
    return topic + spread * rng.normal(size=(count, DIMENSIONS)) / math.sqrt(DIMENSIONS)


def audit(rng: np.random.Generator, served: int, questions: int = 9, changed: float = 0.0) -> float:
    """Log e-value against model 0, whose rival is model 1; a share of answers comes from the rival whoever is served."""
    own, other, fresh = [], [], []
    for _ in range(questions):
        topics = rng.normal(size=(2, DIMENSIONS)) / math.sqrt(DIMENSIONS)
        own.append(answers(rng, topics[0], 3))
        other.append([answers(rng, topics[1], 3)])
        fresh.append(answers(rng, topics[1 if rng.random() < changed else served], 1))
    told = against(own, other, fresh)
    assert told is not None
    return told


@pytest.mark.parametrize("changed", [0.0, TOLERANCE])
def test_honest_answers_do_not_raise_it_even_where_a_tenth_is_changed(changed: float) -> None:
    rng = np.random.default_rng(1)
    e_values = np.exp([audit(rng, 0, changed=changed) for _ in range(400)])
    assert e_values.mean() <= 1 and (e_values >= 10).mean() <= 0.01


def test_another_models_answers_raise_it_to_its_bound_and_no_further() -> None:
    rng = np.random.default_rng(2)
    assert all(audit(rng, 1) >= math.log(100) for _ in range(20))
    assert audit(rng, 1, questions=60) == MAX_LOG_E and audit(rng, 0, questions=60) >= MIN_LOG_E - 0.02


def test_without_two_references_or_without_a_rival_nothing_is_said() -> None:
    row = np.ones((1, DIMENSIONS))
    assert against([row], [[row]], [row]) is None
    assert against([np.ones((3, DIMENSIONS))], [[]], [row]) is None
    assert against([np.ones((3, DIMENSIONS))], [[np.zeros((0, DIMENSIONS))]], [row]) is None


def test_answers_that_are_all_alike_say_nothing_for_or_against() -> None:
    same = np.ones((3, DIMENSIONS))
    told = against([same] * 9, [[same]] * 9, [same[:1]] * 9)
    assert told is not None and told < 0
