"""The bet on choices with small references keeps its promise whatever the law, however few the answers, and still finds another model."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fingerprints.choice_bets import TEMPERATURES, TOLERANCE, bets
from fingerprints.choice_exchange import exchange
from fingerprints.choice_model import Array, Counts, predictive

SIZE, QUESTIONS, SETS = 40, 20, 40


def laws(rng: np.random.Generator, concentration: float, models: int = 2) -> Array:
    """(models, questions, choices)."""
    drawn: Array = rng.dirichlet(np.full(SIZE, concentration), size=(models, QUESTIONS))
    return drawn


def recorded(rng: np.random.Generator, models: Array, answers: int) -> list[Counts]:
    return [np.stack([rng.multinomial(answers, model[q]) for model in models]) for q in range(QUESTIONS)]


def given(rng: np.random.Generator, law: Array, answers: int = 1) -> list[Counts]:
    return [rng.choice(SIZE, size=(SETS, answers), p=each) for each in law]


def heated(law: Array, temperature: float) -> Array:
    raised = law ** (1 / temperature)
    warm: Array = raised / raised.sum(1, keepdims=True)
    return warm


@pytest.mark.parametrize("answers", [1, 3])
@pytest.mark.parametrize("concentration", [0.05, 0.5])
@pytest.mark.parametrize("disturbance", ["none", "another model's answers", *TEMPERATURES[1:]])
def test_an_honest_endpoint_is_not_contradicted_by_a_dozen_references(disturbance: str | float, concentration: float, answers: int) -> None:
    rng = np.random.default_rng(7)
    logs = []
    for _ in range(3):
        models = laws(rng, concentration)
        bet = exchange(recorded(rng, models, 12), [None] * QUESTIONS, 0, [1])
        draws = given(rng, heated(models[0], disturbance) if isinstance(disturbance, float) else models[0], answers)
        if disturbance == "another model's answers":
            for own, other in zip(draws, given(rng, models[1], answers), strict=True):
                changed = rng.random(own.shape) < TOLERANCE
                own[changed] = other[changed]
        logs.append(bet.log_e(draws, answers))
    e_values = np.exp(np.concatenate(logs))
    assert e_values.mean() <= 1 and (e_values >= 10).mean() <= 0.01


def test_another_model_is_found_by_a_dozen_references_where_a_bound_on_their_error_finds_nothing() -> None:
    rng = np.random.default_rng(3)
    models = laws(rng, 0.05)
    counts = recorded(rng, models, 12)
    draws = given(rng, models[1])
    found = exchange(counts, [None] * QUESTIONS, 0, [1]).log_e(draws, 1)
    bounded = bets([predictive(each, None) for each in counts], 0, [1]).log_e(draws)
    assert (found >= math.log(100)).mean() >= 0.9 and (bounded >= math.log(3)).mean() <= 0.1


def test_a_model_that_nobody_enrolled_is_contradicted_too() -> None:
    rng = np.random.default_rng(5)
    models = laws(rng, 0.05, models=3)
    bet = exchange(recorded(rng, models[:2], 24), [None] * QUESTIONS, 0, [1])
    assert (bet.log_e(given(rng, models[2]), 1) >= math.log(10)).mean() >= 0.8


def test_second_answers_count_once_every_question_has_one() -> None:
    rng = np.random.default_rng(1)
    models = laws(rng, 0.05)
    bet = exchange(recorded(rng, models, 12), [None] * QUESTIONS, 0, [1])
    draws = given(rng, models[1], 2)
    first = [each[:, :1] for each in draws]
    assert np.array_equal(bet.log_e(draws, 1), bet.log_e(first, 1))
    started = [each if q else draws[0] for q, each in enumerate(first)]
    assert np.array_equal(bet.log_e(started, 1), bet.log_e(first, 1))
    assert (bet.log_e(draws, 2) >= bet.log_e(draws, 1)).all()


@pytest.mark.parametrize("answers", [0, 4, 9])
def test_references_too_few_to_be_halved_contradict_nobody(answers: int) -> None:
    rng = np.random.default_rng(2)
    models = laws(rng, 0.05)
    bet = exchange(recorded(rng, models, answers), [None] * QUESTIONS, 0, [1])
    assert (bet.log_e(given(rng, models[1]), 1) <= 0).all()


def test_a_claim_without_rivals_is_tested_against_an_unknown_model_alone() -> None:
    rng = np.random.default_rng(4)
    models = laws(rng, 0.05)
    bet = exchange([each[:1] for each in recorded(rng, models, 24)], [None] * QUESTIONS, 0, [])
    assert (bet.log_e(given(rng, models[0]), 1) <= 0).all() and (bet.log_e(given(rng, models[1]), 1) >= math.log(3)).mean() >= 0.8
