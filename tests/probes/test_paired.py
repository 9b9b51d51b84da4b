"""The paired test: its e-value is one, it finds swaps, and silence, canned replies and hostile ones never read as "same"."""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from probes.paired import PAIRS, PAIRS_PER_ROUND, PairedProbe
from probes.paired_features import describe
from probes.paired_process import TOLERANCE, Cells, Learner, PairedProcess, bet
from probes.paired_questions import TEMPLATES, questions
from probes.plan import Plan
from probes.probe import Ask, Evidence, Reply, ReplyError

Answer = Callable[[np.random.Generator, Ask], str | None]
"""What an endpoint answers to an ask; None where it fails."""


def probe(pairs: int = 30, seed: int = 3, tolerance: float = TOLERANCE) -> PairedProbe:
    return PairedProbe(Plan(seed=seed, claim=None), pairs, tolerance)


def ask_through(test: PairedProbe, target: Answer, reference: Answer, seed: int = 0) -> list[Reply]:
    """Every round, answered by two simulated endpoints."""
    rng = np.random.default_rng(seed)
    replies: list[Reply] = []
    while asks := test.next_round(replies):
        for ask in asks:
            text = (target if ask.to == "target" else reference)(rng, ask)
            error = ReplyError("server-error", "500") if text is None else None
            replies.append(Reply(ask, status=200 if text is not None else 500, text=text or "", error=error))
    return replies


def words(*favourites: str) -> Answer:
    """An endpoint that draws among these, each twice as often as the next, and puts in the question's name at times."""
    shares = 0.5 ** np.arange(1, len(favourites) + 1)

    def answer(rng: np.random.Generator, ask: Ask) -> str:
        word = str(rng.choice(favourites, p=shares / shares.sum()))
        return f"{word} {ask.payload}" if rng.random() < 0.2 else word

    return answer


ONE = words("42", "Tokyo", "호랑이", "苹果", "seven", "blue", "river")
OTHER = words("73", "Paris", "고양이", "香蕉", "eleven", "red", "sea")


def read(target: Answer, reference: Answer, pairs: int = 60, **settings: float) -> Evidence:
    test = probe(pairs, **settings)  # type: ignore[arg-type]
    return test.read(ask_through(test, target, reference))


# The e-value.


@pytest.mark.parametrize("tolerance", [0.0, 0.1, 0.4])
def test_no_bet_gains_in_expectation_on_any_two_laws_within_the_tolerance(tolerance: float) -> None:
    rng = np.random.default_rng(5)
    for _ in range(300):
        scores = rng.uniform(-1, 1, size=6) * rng.choice([0.2, 1.0])
        first = rng.dirichlet(np.full(6, 0.4))
        moved = rng.dirichlet(np.full(6, 0.4))
        second = (1 - tolerance) * first + tolerance * moved  # total variation at most the tolerance
        allowed = tolerance * (max(0.0, scores.max()) - min(0.0, scores.min())) / 2
        for stake in (0.1, 0.5, 0.9):
            e = np.array([[math.exp(bet(stake, allowed, y, z)) for z in scores] for y in scores])
            assert float(first @ e @ second) <= 1.0 + 1e-12


def test_no_bet_gains_where_both_answers_to_a_question_depend_on_one_another() -> None:
    """Two engines at temperature 0: the same answer to most questions, to a share tau each its own. The divisor is exactly used up."""
    tau, stake = 0.1, 0.9
    together = (1 - tau) * math.exp(bet(stake, tau, 0.0, 0.0)) + tau * math.exp(bet(stake, tau, -1.0, 1.0))
    assert together == pytest.approx(1.0)
    one_law_never_the_same = 0.5 * math.exp(bet(stake, 0.0, -1.0, 1.0)) + 0.5 * math.exp(bet(stake, 0.0, 1.0, -1.0))
    assert one_law_never_the_same <= 1.0


def test_the_span_of_every_score_covers_whatever_is_answered_next() -> None:
    rng = np.random.default_rng(1)
    alphabet = "abc 12가나中.!?\n"
    scores = [Cells("answer"), Cells("first"), Cells("shape"), Learner()]
    draw = lambda kind: describe(kind, "q", "".join(rng.choice(list(alphabet), size=rng.integers(0, 6))))  # noqa: E731
    for i in range(40):
        kind = f"k{i % 2}"
        for score in scores:
            span, seen = score.span(kind), [score.score(draw(kind)) for _ in range(30)]
            assert max(seen) - min(seen) <= span + 1e-9
        pair = draw(kind), draw(kind)
        for score in scores:
            score.learn(*pair)


def test_endpoints_that_share_a_law_reach_an_e_value_of_20_no_more_often_than_once_in_20() -> None:
    reached, finals = 0, []
    for seed in range(80):
        rng = np.random.default_rng([9, seed])
        shares = rng.dirichlet(np.full(8, 0.3))
        process, highest = PairedProcess(0.0), 0.0
        for i in range(20):
            pair = [describe(f"k{i % 3}", "q", f"w{rng.choice(8, p=shares)}") for _ in range(2)]
            process.add(*pair)
            highest = max(highest, process.log_e)
        reached += highest >= math.log(20)
        finals.append(math.exp(process.log_e))
    assert reached <= 8  # P(more than 8 of 80 at rate 1/20) is below 3 %; seeds are fixed
    assert np.mean(finals) < 1.5


def test_the_first_pair_is_bet_on_blindly_and_costs_nothing() -> None:
    process = PairedProcess(TOLERANCE)
    process.add(describe("k", "q", "left"), describe("k", "q", "right"))
    assert process.log_e == pytest.approx(0.0)


def test_learning_by_bordering_equals_solving_anew() -> None:
    rng, learner = np.random.default_rng(2), Learner()
    answers = [describe("k", "q", f"{rng.choice(list('abcdef'))} {rng.choice(list('uvw'))}") for _ in range(70)]
    for reference, target in zip(answers[::2], answers[1::2], strict=True):
        learner.learn(reference, target)
    vectors = np.array([answer.vector for answer in answers])
    weights = np.linalg.solve(vectors @ vectors.T + 0.3 * np.eye(70), np.tile([-1.0, 1.0], 35))
    assert learner._weights == pytest.approx(weights, abs=1e-8)


# What it finds.


def test_another_law_is_found_and_the_same_law_is_not() -> None:
    found, clear = read(OTHER, ONE), read(ONE, ONE)
    assert found.log_e > math.log(100) and not found.supports_claim
    assert [finding.code for finding in found.findings] == ["choice-mismatch"]
    assert clear.log_e < 0 and not clear.findings


def test_the_same_law_is_called_the_same_only_with_enough_pairs() -> None:
    assert read(ONE, ONE, pairs=PAIRS["deep"]).supports_claim
    assert not read(ONE, ONE, pairs=PAIRS["quick"]).supports_claim


def test_canned_replies_are_never_called_the_same() -> None:
    evidence = read(words("I cannot help with that."), lambda rng, ask: "I cannot help with that.", pairs=150)
    assert not evidence.supports_claim
    assert not read(lambda rng, ask: "no", lambda rng, ask: "no", pairs=150).supports_claim


def test_two_laws_in_korean_and_chinese_are_told_apart() -> None:
    assert read(words("고양이", "강아지"), words("호랑이", "곰"), pairs=40).log_e > math.log(100)
    assert read(words("香蕉", "葡萄"), words("苹果", "西瓜"), pairs=40).log_e > math.log(100)


def test_hangul_reads_the_same_composed_or_not() -> None:
    composed, split = (describe("ko-word", "동물?", unicodedata.normalize(form, "호랑이")) for form in ("NFC", "NFD"))
    assert composed.symbols[:2] == split.symbols[:2]


# What is missing.


def test_a_pair_with_a_missing_answer_is_skipped_and_counts_for_nobody() -> None:
    test = probe(20)
    replies = ask_through(test, ONE, OTHER)
    whole = test.read(replies)
    gone = {"paired/3/target", "paired/7/reference", "paired/8/target", "paired/8/reference"}
    failed = [Reply(r.ask, status=500, error=ReplyError("server-error", "x")) if r.ask.key in gone else r for r in replies]
    absent = [r for r in replies if r.ask.key.split("/")[1] not in ("3", "7", "8")]
    assert test.read(failed).log_e == test.read(absent).log_e != whole.log_e
    shown = {row["key"]: row["measured"] for row in test.read(failed).measured}
    assert (shown["pairs complete"], shown["pairs with a missing answer"]) == (17, 3)


def test_a_pair_asked_at_two_temperatures_is_left_out() -> None:
    test = probe(20)
    replies = ask_through(test, OTHER, ONE)
    sampled = {"paired/3/target", "paired/7/reference", "paired/8/target", "paired/8/reference"}
    unlike = [replace(r, ask=replace(r.ask, temperature=None)) if r.ask.key in sampled else r for r in replies]
    absent = [r for r in replies if r.ask.key.split("/")[1] not in ("3", "7")]
    assert test.read(unlike).log_e == test.read(absent).log_e
    shown = {row["key"]: row["measured"] for row in test.read(unlike).measured}
    assert (shown["pairs complete"], shown["pairs asked at two temperatures, left out"]) == (18, 2)


def test_a_character_that_the_limit_cut_in_half_is_no_difference() -> None:
    cut, left_out = (describe("zh-word", "水果?", text) for text in ("请为海雪文选一\ufffd", "请为海雪文选一"))
    assert cut.symbols == left_out.symbols and np.array_equal(cut.vector, left_out.vector)


@pytest.mark.parametrize("silent", ["target", "reference"])
def test_a_silent_side_is_not_tested_and_is_asked_no_further(silent: str) -> None:
    test = probe(30)
    quiet: Answer = lambda rng, ask: None  # noqa: E731
    replies = ask_through(test, *((quiet, ONE) if silent == "target" else (ONE, quiet)))
    evidence = test.read(replies)
    assert len(replies) == 2 * PAIRS_PER_ROUND
    assert not evidence.tested and evidence.why_not and silent in evidence.why_not and evidence.log_e == 0.0


def test_nothing_asked_is_not_tested() -> None:
    assert not probe().read([]).tested


# Hostile replies.

HOSTILE = ("", " ", "\x00\x1b[31m", "\ud800\udfff", "‮" * 50, "a" * 300_000, "́" * 5000, "\n" * 999, "{}[]()", "🙂" * 400, "٣٤٥ ǅ ﷺ")


def test_hostile_replies_neither_crash_nor_leave_the_numbers_finite() -> None:
    def hostile(rng: np.random.Generator, ask: Ask) -> str:
        return HOSTILE[int(rng.integers(len(HOSTILE)))]

    for target, reference in ((hostile, ONE), (ONE, hostile), (hostile, hostile)):
        evidence = read(target, reference, pairs=40)
        assert evidence.tested and math.isfinite(evidence.log_e)
        json.dumps(list(evidence.measured), allow_nan=False)


@pytest.mark.parametrize("key", ["", "paired", "paired/x/target", "paired/-1/target", "paired/" + "9" * 5000 + "/target", "a/b/c/d"])
def test_a_key_that_no_pair_has_is_ignored(key: str) -> None:
    test = probe(5)
    replies = ask_through(test, ONE, ONE)
    stray = Reply(Ask("paired", key, (("user", "x"),), 12), status=200, text="x")
    assert test.read([*replies, stray]).log_e == test.read(replies).log_e
    assert test.next_round([*replies, stray]) == []


# The questions.


def test_questions_are_the_seeds_own_fresh_and_hold_every_kind_in_turn() -> None:
    first, again, another = (list(_asks(probe(30, seed))) for seed in (1, 1, 2))
    assert first == again
    assert not {ask.messages for ask in first} & {ask.messages for ask in another}
    texts = [ask.messages[0][1] for ask in first]
    assert len(set(texts)) == 30 and all(texts.count(text) == 2 for text in texts)
    kinds = [question.kind for question, _ in zip(questions(Plan(seed=1, claim=None).rng("x")), range(12), strict=False)]
    assert set(kinds[:6]) == set(kinds[6:]) == set(TEMPLATES)


def test_both_sides_get_the_same_question_and_neither_is_always_first() -> None:
    asks = list(_asks(probe(30)))
    for one, other in zip(asks[::2], asks[1::2], strict=True):
        assert {one.to, other.to} == {"target", "reference"} and one.messages == other.messages
        assert one.key == f"paired/{one.key.split('/')[1]}/{one.to}"
    assert {ask.to for ask in asks[::2]} == {"target", "reference"}


def test_a_tolerance_that_is_no_distance_is_refused() -> None:
    with pytest.raises(ValueError, match="tolerance"):
        probe(tolerance=1.5)


def _asks(test: PairedProbe) -> Sequence[Ask]:
    return [ask for index in range(test.pairs) for ask in test.pair(index)]
