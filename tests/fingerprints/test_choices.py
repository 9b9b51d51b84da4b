"""Free choices: how texts become categories, how packs are built and judged, and that genuine models are not accused."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fingerprints import choices, packs
from fingerprints.build import choices as build
from fingerprints.choice_bets import CAP, TEMPERATURES, TOLERANCE, bets
from fingerprints.choice_categories import MAX_CATEGORIES, Rule, RuleError
from fingerprints.choice_model import Counts, predictive
from fingerprints.choice_tests import SameModel
from fingerprints.pack_claims import claimed_models
from fingerprints.packs import Pack, PackError, PackModel
from fingerprints.questions import Question, text_digest
from fingerprints.scored import UNKNOWN

NUMBERS = Rule.from_json({"integers": [1, 355]})
QUESTION = Question("pick", text_digest("Pick a number."), "choice", "en", "Pick a number.", None, 16, 1.0)


def model(name: str, family: str | None = None) -> PackModel:
    return PackModel(name, family or name, family or name, name, 1)


def made(seed: int = 0, samples: int = 400) -> tuple[Pack, dict[str, list[str]]]:
    """A pack of four invented models (two of one family), and further answers of each."""
    rng = np.random.default_rng(seed)
    fresh: dict[str, list[str]] = {}
    answers: dict[tuple[str, str], list[str]] = {}
    for position, name in enumerate(("alpha-1", "alpha-2", "beta-1", "gamma-1")):
        law = np.random.default_rng(100 + position).dirichlet(np.full(100, 0.05))
        drawn = [str(number) for number in rng.choice(100, size=samples + 200, p=law) + 1]
        answers["pick", name], fresh[name] = drawn[:samples], drawn[samples:]
    models = [model(name, name.split("-")[0]) for name in fresh]
    pack = choices.build_pack(
        "test", "1", "2026-01-01", [QUESTION], answers, models, "invented", "none", None, {"pick": {"integers": [1, 100]}}
    )
    return pack, fresh


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("42", 42),
        (" 42.\n", 42),
        ("**42**", 42),
        ("４２", 42),
        ("숫자: 42", 42),
        ("我选择：４２。", 42),
        ("42입니다", 42),
        ("From 1 to 355 I choose 42.", 42),
        ("42, yes, 42", 42),
        ("<think>1 or 2? 17</think>42", 42),
        ("1", 1),
        ("355", 355),
    ],
)
def test_a_number_in_any_decoration_is_that_number(text: str, number: int) -> None:
    assert NUMBERS.category(text) == number - 1


@pytest.mark.parametrize("text", ["", "none", "0", "356", "-42", "42.5", "42 or 43", "forty-two", "<think>42", "9" * 5000])
def test_what_is_no_single_number_of_the_range_is_no_choice(text: str) -> None:
    assert NUMBERS.category(text) == NUMBERS.size - 1


@pytest.mark.parametrize(
    ("rule", "text", "label"),
    [
        ({"letters": 26}, "Q", "q"),
        ({"letters": 26}, "A letter: Q.", "q"),
        ({"bits": 6}, "0 1 1, 0 1 0", "011010"),
        ({"bits": 6}, "Heads, tails", "no choice"),
        ({"runs": 8}, "01100111", "0, 4"),
        ({"pair": [1, 100]}, "7, 93, 12", "0, 9"),
        ({"pair": [1, 100], "other": 64}, "seven", None),
    ],
)
def test_other_choices_are_told_by_their_rule(rule: dict[str, object], text: str, label: str | None) -> None:
    read = Rule.from_json(rule)
    found = read.label(read.category(text))
    assert found == label if label is not None else found.startswith("bucket")


def test_any_text_of_a_weak_model_falls_into_a_bucket_of_its_first_word() -> None:
    rule = Rule.from_json({"integers": [1, 100], "other": 64})
    texts = ["Pick a random", "Pick something else", "The", "🎲 🎲"]
    found = [rule.category(text) for text in texts]
    assert found[0] == found[1] != found[2] and all(100 <= each < 164 for each in found)


@given(st.text(max_size=200), st.sampled_from([question.id for question in choices.own_questions()]))
@settings(max_examples=200, deadline=None)
def test_no_text_breaks_a_rule(text: str, name: str) -> None:
    question = next(each for each in choices.own_questions() if each.id == name)
    rule = choices._known_rules()[question.sha256]
    assert 0 <= rule.category(text) < rule.size and rule.label(rule.category(text))


@pytest.mark.parametrize(
    "data", [None, [], {}, {"integers": 5}, {"integers": [5, 1]}, {"words": 10**9}, {"bits": 40}, {"letters": 30}, {"other": 3}, {"x": 1}]
)
def test_a_rule_that_is_none_is_refused_with_one_line(data: object) -> None:
    with pytest.raises(RuleError) as error:
        Rule.from_json(data)
    assert "\n" not in str(error.value)


def test_our_questions_are_many_in_three_languages_and_their_rules_are_bounded() -> None:
    own = choices.own_questions()
    assert len(own) >= 20 and {question.language for question in own} == {"en", "ko", "zh"}
    assert len({question.sha256 for question in own}) == len({question.id for question in own}) == len(own)
    for question in own:
        rule = choices._known_rules()[question.sha256]
        assert question.temperature == 0.5 and question.max_tokens <= 100 and rule.size <= MAX_CATEGORIES
        assert rule.category("anything at all") < rule.size - 1, "every text makes some choice"


def test_each_model_is_named_from_thirty_choices_and_its_sibling_is_told_apart() -> None:
    pack, fresh = made()
    for name, answers in fresh.items():
        scored = choices.score(pack, {"pick": answers[:30]}, name)
        assert scored.best == name and scored.supports_claim and scored.log_e < 0
        assert scored.p_value is not None and scored.p_value > choices.STRANGE
        assert scored.resolution == ("model" if name.startswith("alpha") else "family")


def test_an_impostor_is_contradicted_and_never_supported() -> None:
    pack, fresh = made()
    for served in ("alpha-2", "beta-1", "gamma-1"):
        scored = choices.score(pack, {"pick": fresh[served][:40]}, "alpha-1")
        assert scored.log_e > math.log(100) and scored.p_value == pytest.approx(1 / 2000) and not scored.supports_claim


def test_a_model_that_is_not_among_the_references_is_called_unknown() -> None:
    pack, _ = made()
    drawn = np.random.default_rng(5).choice([3, 33, 61], size=60)
    scored = choices.score(pack, {"pick": [str(each) for each in drawn]}, None)
    assert scored.best == UNKNOWN and scored.log_e == 0.0 and scored.p_value is None and not scored.supports_claim


def test_a_claim_without_references_is_never_contradicted() -> None:
    pack, fresh = made()
    scored = choices.score(pack, {"pick": fresh["beta-1"]}, "never-heard-of")
    assert (scored.log_e, scored.p_value, scored.supports_claim) == (0.0, None, False)


def test_answers_that_are_mostly_no_choice_say_nothing() -> None:
    pack, fresh = made()
    scored = choices.score(pack, {"pick": fresh["beta-1"][:20] + ["I cannot"] * 30}, "alpha-1")
    assert scored.why_not == "30 of 50 answers are no choice" and scored.log_e == 0.0 and not scored.log_likelihood
    assert choices.score(pack, {"other": ["1"]}, "alpha-1").why_not is not None


def test_one_stray_answer_does_not_exclude_a_model() -> None:
    pack, fresh = made()
    unused = next(str(n) for n in range(1, 101) if str(n) not in fresh["beta-1"])
    scored = choices.score(pack, {"pick": [*fresh["beta-1"][:40], unused]}, "beta-1")
    assert scored.best == "beta-1" and scored.supports_claim


def test_names_that_share_weights_are_one_claim() -> None:
    pack, fresh = made()
    shared = dataclasses.replace(
        pack, models=tuple(dataclasses.replace(each, weights="beta-1") if each.name == "gamma-1" else each for each in pack.models)
    )
    assert claimed_models(shared, "beta-1") == [2, 3] and claimed_models(pack, "BETA-1") == [2]
    assert choices.score(shared, {"pick": fresh["gamma-1"][:40]}, "beta-1").log_e < math.log(2)


@pytest.mark.parametrize("damage", ["no table", "wrong shape", "floats", "no rules", "bad rule", "too many", "negative"])
def test_a_strangers_damaged_pack_says_nothing_and_breaks_nothing(damage: str) -> None:
    pack, fresh = made()
    counts = pack.arrays["counts"]
    changed = {
        "no table": {"arrays": {}},
        "wrong shape": {"arrays": {"counts": counts[:, :2]}},
        "floats": {"arrays": {"counts": counts.astype(np.float64)}},
        "no rules": {"extra": {}},
        "bad rule": {"extra": {"categories": [{"words": 10**12}]}},
        "too many": {"arrays": {"counts": counts + np.uint32(10**6)}},
        "negative": {"arrays": {"counts": counts.astype(np.int64) - 5}},
    }[damage]
    scored = choices.score(dataclasses.replace(pack, **changed), {"pick": fresh["beta-1"]}, "beta-1")
    assert scored.why_not and "\n" not in scored.why_not and scored.log_e == 0.0 and scored.best is None


def test_a_pack_keeps_counts_and_no_answer() -> None:
    pack, _ = made()
    assert set(pack.arrays) == {"counts"} and pack.arrays["counts"].sum() == 1600
    assert set(pack.extra) == {"categories"} and [each.samples for each in pack.models] == [400] * 4
    with pytest.raises(PackError):
        choices.build_pack("t", "1", "2026-01-01", [QUESTION], {}, [model("a")], "o", "none", None)


def test_a_question_without_a_rule_gets_one_from_its_answers() -> None:
    def rule(texts: list[str]) -> object:
        pack = choices.build_pack("t", "1", "2026-01-01", [QUESTION], {("pick", "a"): texts}, [model("a")], "o", "none", None)
        return pack.extra["categories"]

    assert rule(["7", "12", "9"]) == [{"integers": [1, 12], "other": 64}]
    assert rule(["q", "Z"]) == [{"letters": 26, "other": 64}]
    assert rule(["blue", "red"]) == [{"words": 512}]


def draw(law: np.ndarray, n: int, rng: np.random.Generator) -> Counts:
    return rng.choice(len(law), size=n, p=law)


def test_genuine_answers_are_rejected_at_the_nominal_rate() -> None:
    rng = np.random.default_rng(1)
    law = rng.dirichlet(np.full(60, 0.1))
    rejected = 0.0
    for _ in range(40):  # a reference of its own for each batch, so that its luck averages out
        counts = np.stack([np.bincount(draw(law, 120, rng), minlength=60), np.bincount(rng.integers(60, size=120), minlength=60)])
        test = SameModel.of([counts], [None], 0, [1])
        p = test.p_values([np.stack([draw(law, 30, rng) for _ in range(20)])], rng, most=199)
        rejected += (p <= 0.05).mean() / 40
    assert rejected <= 0.08


@pytest.mark.parametrize("disturbance", ["none", "temperature", "foreign share", "cut tail"])
def test_an_allowed_configuration_does_not_earn_a_large_e_value(disturbance: str) -> None:
    rng = np.random.default_rng(2)
    reached = trials = 0
    for _ in range(12):
        laws = rng.dirichlet(np.full(60, 0.15), size=4)
        counts = np.stack([np.bincount(draw(law, 150, rng), minlength=60) for law in laws])
        odds = bets([predictive(counts, None)], 0, [1, 2, 3])
        law = laws[0]
        if disturbance == "temperature":
            law = law ** (1 / 0.8)
        elif disturbance == "foreign share":  # all of the tolerance spent on the impostor that the bets await
            law = (1 - TOLERANCE) * law + TOLERANCE * laws[1]
        elif disturbance == "cut tail":
            law = np.where(np.cumsum(np.sort(law))[np.argsort(np.argsort(law))] > 0.1, law, 0)
        law = law / law.sum()
        for _ in range(30):
            drawn = draw(law, 60, rng)
            reached += max(odds.log_e([drawn[None, :n]])[0] for n in (10, 20, 40, 60)) >= math.log(100)
            trials += 1
    assert reached <= 0.01 * trials


def test_each_bet_is_fair_on_average_whatever_a_tenth_of_the_answers_are() -> None:
    rng = np.random.default_rng(3)
    counts = np.stack([np.bincount(draw(law, 500, rng), minlength=40) for law in rng.dirichlet(np.full(40, 0.3), size=3)])
    fitted = predictive(counts, None)
    odds = bets([fitted], 0, [1, 2])
    for temperature, (gains,) in zip(TEMPERATURES, odds.gains, strict=True):
        law = fitted.expected[0] ** (1 / temperature)
        worst = (1 - TOLERANCE) * np.exp(gains) @ (law / law.sum()) + TOLERANCE * np.exp(gains).max(1)
        assert (worst <= 1 + 1e-9).all()
    for temperature, (prices,) in zip(TEMPERATURES, odds.prices, strict=True):
        law = fitted.expected[0] ** (1 / temperature)
        law = law / law.sum()
        for stake, price in zip((2.0, 4.0, 8.0), prices, strict=True):
            assert ((1 - TOLERANCE) * (1 + (stake - 1) * law) + TOLERANCE * stake <= np.exp(price) + 1e-9).all()
    assert odds.log_e([np.zeros((1, 0), dtype=np.int64)])[0] <= 0
    assert odds.log_e([np.full((1, 4000), int(counts[1].argmax()))])[0] <= math.log(CAP)


def test_an_unknown_model_with_a_favourite_is_noticed() -> None:
    pack, _ = made()
    law = np.full(100, 0.5 / 99)
    law[int(pack.arrays["counts"][0].sum(0)[:100].argmin())] = 0.5
    drawn = np.random.default_rng(6).choice(100, size=50, p=law)
    scored = choices.score(pack, {"pick": [str(each + 1) for each in drawn]}, "alpha-1")
    assert scored.best == UNKNOWN and scored.log_e > math.log(100)


def test_the_shipped_pack_is_what_the_build_command_makes(shared: Path) -> None:
    pack, left_out = build.number_picks((shared / "packs" / build.FILE).read_bytes())
    shipped = next(each for each in packs.installed() if each.name == "number-picks")
    assert pack.digest == shipped.digest and left_out == ["minimax-m2.7"]


def test_the_shipped_pack_holds_no_text_and_says_where_its_question_stands() -> None:
    (question,) = next(each for each in packs.installed() if each.name == "number-picks").questions
    assert question.text is None and question.source is not None and question.source.repository == "Tencent/AI-Infra-Guard"
