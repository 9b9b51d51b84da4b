"""Claims about same-prompt comparison: invented models with habits of their own are told apart, and nothing hostile breaks it."""

from __future__ import annotations

import dataclasses
import math
import random

import numpy as np
import pytest

from fingerprints import same_prompt
from fingerprints.catalog import find
from fingerprints.pack_file import pack_bytes, read_pack
from fingerprints.packs import Pack, PackModel, installed
from fingerprints.questions import Question, text_digest
from fingerprints.same_prompt_decide import MAX_LOG_E, MIN_LOG_E, NEXT_VERSION, summed, totals
from fingerprints.same_prompt_features import normalise, traits
from fingerprints.same_prompt_pack import build_pack, own_questions, projected
from fingerprints.same_prompt_references import near
from fingerprints.scored import UNKNOWN

HABITS = {
    "gpt-4o": ("Certainly! ", "### ", "1. **{}**: {}", "I hope this helps!"),
    "gpt-4o-mini": ("Certainly! ", "### ", "- **{}**: {}", "Let me know if you need more."),
    "claude-3-opus": ("", "", "{} matters because {}.", "That said, it depends."),
    "llama-3-70b-instruct": ("Great question! 😊 ", "**", "* {} — {}", "Remember, practice makes perfect!"),
    "mistral-large": ("Sure, here goes. ", "", "{}: {};", "In summary, choose what suits you."),
    "qwen-max": ("", "## ", "{}、{}。", "总之，视情况而定。"),
}
STRANGER = ("yo. ", "~", "{} / {} ...", "k bye")
NOUNS = "water bread bridges letters winters markets gardens phones rivers stories paper music habits chairs tea maps".split()
REASONS = "it keeps well|people forget it|it is cheap|time is short|heat escapes|nobody looks|habits form slowly|the light changes".split(
    "|"
)
FAMILIES = {"gpt-4o": "gpt-4o", "gpt-4o-mini": "gpt-4o", "claude-3-opus": "claude", "llama-3-70b-instruct": "llama-3"}
QUESTIONS = tuple(
    Question(f"q{number}", text_digest(f"question {number}"), "open", "en", f"question {number}", None, 100, None) for number in range(12)
)


def write(habit: tuple[str, str, str, str], question: int, seed: int) -> str:
    """One answer of an invented model: its habits, the question's nouns, random order."""
    rng = random.Random(f"{habit}/{question}/{seed}")
    nouns = rng.sample(NOUNS[question : question + 5] or NOUNS[:5], 4)
    lines = [habit[2].format(noun, rng.choice(REASONS)) for noun in nouns]
    return "\n".join([habit[0] + habit[1] + f"About {NOUNS[question]}", *lines, habit[3]])


def answers(habit: tuple[str, str, str, str], count: int, seed: int = 99) -> dict[str, list[str]]:
    return {f"q{question}": [write(habit, question, seed)] for question in range(count)}


def made(names: list[str] | None = None) -> Pack:
    names = names or list(HABITS)
    models = [PackModel(name, FAMILIES.get(name, name), name, name, 36) for name in names]
    recorded = {
        (question.id, name): [write(HABITS[name], number, seed) for seed in range(3)]
        for number, question in enumerate(QUESTIONS)
        for name in names
    }
    return build_pack("invented", "1", "2026-11-22", QUESTIONS, recorded, models, "a test", "Apache-2.0")


@pytest.fixture(scope="module")
def pack() -> Pack:
    return made()


@pytest.mark.parametrize("name", list(HABITS))
def test_every_model_is_named_from_answers_it_never_gave_before_and_its_claim_is_supported(pack: Pack, name: str) -> None:
    scored = same_prompt.score(pack, answers(HABITS[name], 10), name)
    assert scored.best == name
    assert max(scored.log_likelihood, key=lambda each: scored.log_likelihood[each]) == name
    assert scored.supports_claim and scored.log_e <= 0


@pytest.mark.parametrize("claim", ["claude-3-opus", "llama-3-70b-instruct", "mistral-large"])
def test_answers_of_another_family_speak_against_the_claim_within_bounds(pack: Pack, claim: str) -> None:
    scored = same_prompt.score(pack, answers(HABITS["qwen-max"], 10), claim)
    assert 0 < scored.log_e <= MAX_LOG_E
    assert not scored.supports_claim


def test_style_alone_never_exceeds_its_bound_however_many_answers(pack: Pack) -> None:
    many = {question: texts * 20 for question, texts in answers(HABITS["qwen-max"], 12).items()}
    assert MIN_LOG_E <= same_prompt.score(pack, many, "claude-3-opus").log_e <= MAX_LOG_E == pytest.approx(math.log(1000))


def test_a_stranger_to_all_families_is_less_well_known_than_any_reference_model(pack: Pack) -> None:
    strange = same_prompt.score(pack, answers(STRANGER, 10), None).log_likelihood[UNKNOWN]
    assert all(same_prompt.score(pack, answers(habit, 10), None).log_likelihood[UNKNOWN] < strange for habit in HABITS.values())


def test_a_version_that_the_references_lack_goes_to_its_family() -> None:
    pack = made([name for name in HABITS if name != "gpt-4o-mini"])
    scored = same_prompt.score(pack, answers(HABITS["gpt-4o-mini"], 10), None)
    named = {name: value for name, value in scored.log_likelihood.items() if name != UNKNOWN}
    assert max(named, key=lambda each: named[each]) == "gpt-4o"


def test_a_claim_without_references_is_never_contradicted(pack: Pack) -> None:
    scored = same_prompt.score(pack, answers(HABITS["gpt-4o"], 10), "command-r-plus")
    assert scored.log_e == 0.0 and scored.p_value is None and not scored.supports_claim


def test_a_claim_in_another_spelling_means_the_same_model(pack: Pack) -> None:
    assert find("openai/gpt-4o") is not None
    assert same_prompt.claimed_models(pack, "openai/gpt-4o") == same_prompt.claimed_models(pack, "gpt-4o") != []


def test_what_a_model_calls_itself_and_white_space_around_it_do_not_matter() -> None:
    assert normalise("  I am Claude by Anthropic.\n") == normalise("I am ChatGPT by OpenAI.")
    assert normalise("저는 클로드입니다") == normalise("저는 챗GPT입니다")
    one, other = traits(["\n\n As Llama, I would walk.", "As Gemini, I would walk."], 256).content
    assert np.array_equal(one, other)


HOSTILE = ["", " ", "\x00" * 5000, "\ud800" * 300, "a" * 2_000_000, "```" * 4000, "𝔘" * 999, "\n" * 9999 + "x" * 30, "\u202e" * 100]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_answers_give_finite_numbers_or_a_reason(pack: Pack, text: str) -> None:
    scored = same_prompt.score(pack, {"q0": [text], "q1": [text], "no such question": [text]}, "gpt-4o")
    assert math.isfinite(scored.log_e) and all(map(math.isfinite, scored.log_likelihood.values()))
    assert scored.answers + scored.invalid == 3
    assert scored.why_not or scored.answers


def test_one_enrolled_model_is_compared_with_its_own_answers_and_contradicted_only_weakly() -> None:
    alone = made(["gpt-4o"])
    own = same_prompt.score(alone, answers(HABITS["gpt-4o"], 10), "gpt-4o")
    other = same_prompt.score(alone, answers(HABITS["qwen-max"], 10), "gpt-4o")
    assert own.supports_claim and own.log_e <= 0 and own.resolution == "family"
    assert not other.supports_claim and 0 < other.log_e <= math.log(5)
    assert own.why_not is None and other.best is None


def test_of_two_enrolled_models_each_is_contradicted_by_the_others_answers_and_supported_by_its_own() -> None:
    two = made(["gpt-4o", "claude-3-opus"])
    for claim, other in (("gpt-4o", "claude-3-opus"), ("claude-3-opus", "gpt-4o")):
        own = same_prompt.score(two, answers(HABITS[claim], 10), claim)
        posing = same_prompt.score(two, answers(HABITS[other], 10), claim)
        assert own.supports_claim and own.log_e <= 0 and own.best == claim
        assert not posing.supports_claim and posing.log_e >= math.log(10) and posing.best == other
        assert posing.log_e <= math.log(1000) and same_prompt.score(two, answers(HABITS[other], 10), None).best == other


def test_a_third_models_answers_are_named_after_neither_of_two() -> None:
    scored = same_prompt.score(made(["gpt-4o", "claude-3-opus"]), answers(HABITS["qwen-max"], 10), None)
    assert scored.best is None and not scored.supports_claim and scored.log_e == 0.0


def test_references_that_only_repeat_themselves_accuse_nobody() -> None:
    text = write(HABITS["gpt-4o"], 0, 0)
    model = PackModel("gpt-4o", "gpt-4o", "gpt-4o", "gpt-4o", 36)
    recorded = {(question.id, "gpt-4o"): [text] * 3 for question in QUESTIONS}
    repeating = build_pack("repeating", "1", "2026-11-22", QUESTIONS, recorded, [model], "a test", "Apache-2.0")
    scored = same_prompt.score(repeating, answers(HABITS["gpt-4o"], 10), "gpt-4o")
    assert scored.why_not is not None and scored.log_e == 0.0


@pytest.mark.parametrize("name", ["content", "style", "question", "model"])
def test_a_pack_whose_arrays_do_not_fit_is_a_reason_and_no_traceback(pack: Pack, name: str) -> None:
    for array in (pack.arrays[name][:-1], pack.arrays[name].astype("f8")):
        broken = dataclasses.replace(pack, arrays={**pack.arrays, name: array})
        assert same_prompt.score(broken, answers(HABITS["gpt-4o"], 3), "gpt-4o").why_not
    without = dataclasses.replace(pack, arrays={key: value for key, value in pack.arrays.items() if key != name})
    assert same_prompt.score(without, answers(HABITS["gpt-4o"], 3), "gpt-4o").why_not


@pytest.mark.parametrize("extra", [{}, {"dimensions": "512"}, {"dimensions": 500}, {"characters": [10**9]}, {"features": 2}])
def test_a_pack_that_describes_itself_wrongly_is_a_reason(pack: Pack, extra: dict[str, object]) -> None:
    broken = dataclasses.replace(pack, extra={**pack.extra, **extra} if extra else {})
    assert same_prompt.score(broken, answers(HABITS["gpt-4o"], 3), "gpt-4o").why_not


def test_a_pack_reads_back_equal_and_holds_no_sentence(pack: Pack) -> None:
    data = pack_bytes(pack)
    again = read_pack(data)
    assert again.digest == pack.digest
    assert same_prompt.score(again, answers(HABITS["gpt-4o"], 6), "gpt-4o") == same_prompt.score(
        pack, answers(HABITS["gpt-4o"], 6), "gpt-4o"
    )
    assert b"Certainly" not in b"".join(array.tobytes() for array in again.arrays.values())


def test_the_packs_that_ship_are_small_sound_and_hold_no_text_of_others() -> None:
    shipped = [pack for pack in installed() if pack.kind == "answers"]
    assert {pack.name for pack in shipped} >= {"misguided-attention", "arena-hard-en", "arena-hard-ko"}
    assert sum(len(pack_bytes(pack)) for pack in shipped) <= 20_000_000
    for pack in shipped:
        assert all(question.text is None and question.source is not None for question in pack.questions)
        assert any(one is not None for one in same_prompt.references(pack).questions)
    for claim in ("gpt-4o", "claude-3-5-sonnet", "llama-3.3-70b-instruct"):
        assert any(same_prompt.claimed_models(pack, claim) for pack in shipped)


def test_our_own_questions_are_short_and_in_three_languages() -> None:
    questions = own_questions()
    assert len(questions) >= 12 and {question.language for question in questions} == {"en", "ko", "zh"}
    assert all(question.text and question.sha256 == text_digest(question.text) and question.max_tokens <= 120 for question in questions)


def test_a_model_that_answered_few_of_the_questions_is_not_pushed_back_by_the_others() -> None:
    """Where it has no references, its likeness at the other questions stands in, a little less."""
    scores = np.zeros((10, 2, 3))
    scores[:, 0, 0] = 1.0
    scores[:, 1, 0] = np.nan
    scores[:2, 1, 0] = 2.0
    whole, part = summed(scores)
    assert whole == pytest.approx(10) and part > whole
    assert part < 20


def test_two_near_versions_of_a_family_outweigh_one_slightly_nearer_stranger_and_absent_versions_do_not_count() -> None:
    scores = np.zeros((4, 4, 3))
    scores[:, :, 0] = [1.0, 0.9, 1.0, np.nan]
    scores[:, 3, 2] = -1000
    near_pair, _, alone, _ = totals(scores, ["a", "a", "b", "b"])
    assert near_pair == pytest.approx(4 - NEXT_VERSION * 0.4) and alone == pytest.approx(4)


def test_a_model_whose_own_answers_are_alike_is_expected_to_stay_alike(pack: Pack) -> None:
    steady = {(f"q{number}", "mistral-large"): [write(HABITS["mistral-large"], number, 0)] * 3 for number in range(12)}
    recorded = {
        (question.id, name): [write(HABITS[name], number, seed) for seed in range(3)]
        for number, question in enumerate(QUESTIONS)
        for name in HABITS
    } | steady
    models = [PackModel(name, FAMILIES.get(name, name), name, name, 36) for name in HABITS]
    prepared = same_prompt.references(build_pack("steady", "1", "2026-11-22", QUESTIONS, recorded, models, "a test", "Apache-2.0"))
    assert int(prepared.consistency.argmax()) == [model.name for model in models].index("mistral-large")


def test_habits_are_known_of_a_model_that_never_answered_this_question() -> None:
    recorded = {
        (question.id, name): [write(HABITS[name], number, seed) for seed in range(3)]
        for number, question in enumerate(QUESTIONS)
        for name in HABITS
        if (question.id, name) != ("q0", "qwen-max")
    }
    models = [PackModel(name, FAMILIES.get(name, name), name, name, 36) for name in HABITS]
    pack = build_pack("partial", "1", "2026-11-22", QUESTIONS, recorded, models, "a test", "Apache-2.0")
    found = traits([write(HABITS["qwen-max"], 0, 99)], 512)
    one = near(same_prompt.references(pack), 0, found.content, projected(found.style))
    place = [model.name for model in models].index("qwen-max")
    assert np.isnan(one.average[0, place]) and int(np.nanargmax(one.habit[0])) == place


def test_a_question_with_too_few_references_is_refused_and_not_compared() -> None:
    alone = same_prompt.references(made(["gpt-4o", "claude-3-opus"]))
    with pytest.raises(ValueError, match="too few references"):
        near(alone, 0, np.zeros((1, 512), np.float32), np.zeros((1, 64), np.float32))
