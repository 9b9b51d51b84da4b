"""Self-reports whisper and never accuse; a filtered word is found beside controls that come through, and never where nothing is copied."""

from __future__ import annotations

import math
import random
import re
import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fingerprints import brands, catalog
from fingerprints.catalog import claim
from probes import identity_copies as copies
from probes import identity_strings as strings
from probes.identity import CAP, IdentityProbe
from probes.plan import Plan
from probes.probe import Ask, Evidence, Reply, ReplyError, Usage

Answer = Callable[[Ask], str]
STANDARD, DEEP = 8, 36


def audit(answer: Answer, seed: int = 0, asks: int = STANDARD, model: str = "gpt-4o") -> tuple[Evidence, list[Reply]]:
    """The probe's evidence on an endpoint that answers like `answer`, and its replies."""
    probe = IdentityProbe(Plan(seed=seed, claim=claim(model)), asks)
    replies: list[Reply] = []
    while wanted := probe.next_round(replies):
        replies += [Reply(ask, status=200, text=answer(ask), finish="stop") for ask in wanted]
        assert len(replies) <= asks
    keys = [reply.ask.key for reply in replies]
    assert len(keys) == len(set(keys))
    return probe.read(replies), replies


def codes(evidence: Evidence) -> set[str]:
    return {finding.code for finding in evidence.findings}


def is_self(ask: Ask) -> bool:
    return ask.key.startswith("identity/self/")


def perfect(ask: Ask) -> str:
    """A strong model: copies, answers disguised tasks, and names nobody."""
    return "I am a helpful assistant." if is_self(ask) else ask.payload


def weak(rng: random.Random, spoil: float = 0.25, lost: float = 0.2) -> Answer:
    """A weak model: one name in four is garbled, one string in five is not copied at all."""

    def answer(ask: Ask) -> str:
        if is_self(ask) or rng.random() < lost:
            return "The original sentence is a story about a town."
        return re.sub(r"[A-Z]\w+", lambda match: match.group() if rng.random() > spoil else "the", ask.payload)

    return answer


def edited(edit: Callable[[str], str], answer: Answer = perfect, when: Callable[[Ask], bool] = lambda ask: True) -> Answer:
    return lambda ask: edit(answer(ask)) if when(ask) else answer(ask)


def without(*words: str, by: Callable[[str], str] = lambda word: "") -> Callable[[str], str]:
    return lambda text: re.sub("|".join(words), lambda match: by(match.group()), text)


# What honest endpoints show.


@pytest.mark.parametrize("asks", [STANDARD, DEEP])
def test_a_model_that_copies_everything_is_tested_and_has_no_finding(asks: int) -> None:
    for seed in range(10):
        found, replies = audit(perfect, seed, asks)
        assert found.tested and not found.findings and found.log_e == 0.0
        assert len(replies) < asks, "nothing to confirm, nothing more to ask"


def test_the_standard_suite_spends_two_requests_on_an_endpoint_that_hides_nothing() -> None:
    for seed in range(10):
        _, replies = audit(perfect, seed, STANDARD)
        held = [word for reply in replies for word in reply.ask.payload.split() if word in copies.all_brands()]
        assert len(replies) == 2 and {reply.ask.stream for reply in replies} == {False, True}
        assert sorted(held) == sorted(brands.table()["copy"]["latin"])


def test_a_filter_of_a_vendors_two_words_in_one_mode_is_met_by_the_standard_suite() -> None:
    for seed in range(10):
        found, _ = audit(edited(without(*CLAUDE), when=lambda ask: ask.stream), seed)
        assert "word-filter" in codes(found), seed


def test_decomposed_hangul_is_the_same_word() -> None:
    """A gateway or a model that writes NFD changes no word."""
    for seed in range(4):
        assert not codes(audit(edited(lambda text: unicodedata.normalize("NFD", text)), seed, DEEP)[0])


def test_weak_models_are_not_said_to_filter() -> None:
    flagged = 0
    for seed in range(200):
        flagged += "word-filter" in codes(audit(weak(random.Random(seed)), seed, DEEP if seed % 4 == 0 else STANDARD)[0])
    assert flagged == 0


def test_a_model_that_drops_half_of_all_strings_is_not_said_to_drop_those_with_brands() -> None:
    for seed in range(60):
        assert not codes(audit(weak(random.Random(seed), spoil=0.0, lost=0.5), seed, DEEP)[0])


def test_a_model_that_garbles_one_brand_in_two_strings_of_five_is_not_said_to_filter_it() -> None:
    """A brand may be harder than its controls for an honest model: it must fail every time before it is called filtered."""
    flagged = 0
    for seed in range(100):
        rng = random.Random(seed)

        def hard(word: str, rng: random.Random = rng) -> str:
            return word if rng.random() < 0.6 else "Ant"

        flagged += bool(codes(audit(edited(without("Anthropic", by=hard)), seed)[0]))
    assert flagged <= 1


def test_a_model_that_copies_nothing_is_not_tested_and_says_so() -> None:
    found, _ = audit(lambda ask: "I like turtles.")
    assert not found.tested and found.why_not is not None and "copy" in found.why_not


def test_a_named_model_that_copies_nothing_says_that_filters_were_not_tested() -> None:
    found, _ = audit(lambda ask: "I am Claude.", asks=DEEP)
    assert found.tested
    assert any("not tested" in str(row["measured"]) for row in found.measured if row["key"] == "identity/filters")


def test_a_suite_without_identity_asks_says_nothing() -> None:
    probe = IdentityProbe(Plan(seed=1, claim=None), 0)
    assert not probe.next_round([])
    assert not probe.read([]).tested


def test_an_outage_is_not_evidence() -> None:
    probe = IdentityProbe(Plan(seed=1, claim=claim("gpt-4o")))
    asks = probe.next_round([])
    replies = [Reply(ask, error=ReplyError("timeout", "no answer")) for ask in asks]
    assert not probe.next_round(replies)
    assert not probe.read(replies).tested


def test_hidden_reasoning_that_uses_up_the_limit_is_not_a_filter() -> None:
    probe = IdentityProbe(Plan(seed=1, claim=claim("o1")))
    usage = Usage(10, 64, None, 64)
    replies = [Reply(ask, status=200, text="", finish="length", usage=usage) for ask in probe.next_round([])]
    assert not probe.read(replies).tested


# What filters show.

CLAUDE = ("Claude", "Anthropic")
WAYS: dict[str, tuple[Callable[[str], str], str]] = {
    "deleted": (without(*CLAUDE), "removed"),
    "replaced": (without(*CLAUDE, by=lambda word: "ChatGPT"), "replaced by ChatGPT"),
    "censored": (without(*CLAUDE, by=lambda word: "***"), "masked"),
    "case": (without(*CLAUDE, by=str.lower), "another case"),
    "spaced": (without(*CLAUDE, by=" ".join), "letters apart"),
    "look-alike": (without(*CLAUDE, by=lambda word: word.replace("a", "а").replace("o", "о")), "look-alike"),
    "invisible": (without(*CLAUDE, by=lambda word: word[0] + "\u200b" + word[1:]), "invisible"),
    "korean": (without(*CLAUDE, by=lambda word: "인공지능"), "Korean"),
    "cut": (lambda text: re.split("Claude|Anthropic", text)[0], "ends where it stands"),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_filter_is_found_and_described(way: str) -> None:
    edit, how = WAYS[way]
    for seed in range(10):
        # A cut loses the controls behind the word too, for which two strings are too few.
        found, _ = audit(edited(edit), seed, DEEP if way == "cut" else STANDARD)
        texts = [finding.text for finding in found.findings if finding.code == "word-filter"]
        assert texts and all(how in text for text in texts), (seed, texts)
        assert found.log_e == 0.0 and all(finding.ask_ids for finding in found.findings)


@pytest.mark.parametrize("reply", ["", "I'm sorry, I can't help with that."])
def test_replies_that_are_dropped_whole_are_found_with_enough_questions(reply: str) -> None:
    for seed in range(5):
        found, _ = audit(edited(lambda text: reply if re.search("Claude|Anthropic", text) else text), seed, DEEP)
        assert any("whole reply" in finding.text for finding in found.findings)


def test_dropped_replies_that_too_few_questions_saw_are_left_open_and_not_called_clean() -> None:
    for seed in range(5):
        found, _ = audit(edited(lambda text: "" if re.search("Claude|Anthropic", text) else text), seed)
        assert not found.findings
        assert any(
            str(row["measured"]).startswith(("not settled", "not tested")) for row in found.measured if row["key"] == "identity/filters"
        )


@pytest.mark.parametrize(("stream", "said"), [(True, "streamed replies only"), (False, "not streamed only")])
def test_a_filter_of_one_mode_is_named_as_such(stream: bool, said: str) -> None:
    for seed in range(5):
        found, _ = audit(edited(without("Gemini"), when=lambda ask: ask.stream is stream), seed, DEEP)
        assert any(said in finding.text for finding in found.findings)


def test_a_filter_is_found_through_a_weak_model_more_often_than_not() -> None:
    seen = sum("word-filter" in codes(audit(edited(without(*CLAUDE), weak(random.Random(i), 0.1, 0.1)), i, DEEP)[0]) for i in range(20))
    assert seen >= 14


def test_only_the_filtered_words_are_named() -> None:
    for seed in range(10):
        text = " ".join(finding.text for finding in audit(edited(without("Llama", "Meta")), seed, DEEP)[0].findings)
        named = set(re.findall(r'"(\w+)"', text))
        assert named and named <= {"Llama", "Meta"}


@pytest.mark.parametrize("word", ["클로드", "제미나이"])
def test_a_filter_of_korean_spellings_is_found_in_some_audits(word: str) -> None:
    assert any("word-filter" in codes(audit(edited(without(word)), seed, DEEP)[0]) for seed in range(6))


def test_a_filtered_word_that_comes_through_in_disguise_is_said_to() -> None:
    found, _ = audit(edited(without("Claude")), 0, DEEP)
    assert any("In other forms it does come through" in finding.text and "base64" in finding.text for finding in found.findings)


def test_seeds_ask_other_strings() -> None:
    plans = [IdentityProbe(Plan(seed=seed, claim=None)).next_round([]) for seed in (1, 2, 1)]
    texts = [{ask.messages for ask in plan} for plan in plans]
    assert texts[0] == texts[2] and not texts[0] & texts[1]


def test_the_e_value_of_one_string_is_fair_to_an_honest_model() -> None:
    """Its mean over random orders is at most 1, whatever the model fails at."""
    rng = random.Random(0)
    total, n = 0.0, 4000
    for i in range(n):
        ask = strings.confirming(Plan(seed=i, claim=None), copies.Suspicion("word", ("Claude",), ((False,),)), [], 1, 0)[0]
        words = ask.payload.split()
        failed = set(rng.sample(range(len(words)), rng.randint(0, 4)))
        (copy,) = copies.read([Reply(ask, status=200, text=" ".join(word for j, word in enumerate(words) if j not in failed))])
        total += copies.only(copy, "Claude")
    assert total / n < 1.15  # standard error 0.03


# Self-reports.

SAYS = [
    ("I am Claude, made by Anthropic, not OpenAI.", {"Claude"}),
    ("I'm not ChatGPT, Gemini or Llama. I'm an assistant.", set()),
    ("I am not ChatGPT but Claude.", {"Claude"}),
    ("I wasn't made by Google; OpenAI trained me.", {"ChatGPT"}),
    ("I'm Llama 3.1, trained by Meta.", {"Llama"}),
    ("I use an OpenAI-compatible API. I am Acme.", set()),
    ("As an AI similar to ChatGPT, I can help.", set()),
    ("I'm a GPT-style model.", set()),
    ("저는 ChatGPT가 아니라 앤트로픽이 만든 클로드입니다.", {"Claude"}),
    ("저는 OpenAI에서 만든 모델이 아닙니다. 저는 구글이 학습한 대규모 언어 모델입니다.", {"Google"}),
    ("저는 메타에서 개발한 라마입니다.", {"Llama"}),
    ("라마단에 메타버스를 배웠어요.", set()),
    ("我不是ChatGPT，我是由阿里云开发的通义千问。", {"Qwen"}),
    ("抱歉，我不是谷歌的模型，而是Anthropic开发的Claude。", {"Claude"}),
    ("我没有名字。", set()),
    ("私はChatGPTではなく、Anthropicが開発したClaudeです。", {"Claude"}),
    ("私はOpenAIのモデルではありません。", set()),
    ("No soy ChatGPT, soy Claude, de Anthropic.", {"Claude"}),
    ("Soy un modelo de Meta.", {"Llama"}),
    ("La meta es ayudar.", set()),
    ("C\u200bl\u200bau\u200bde", {"Claude"}),
]


@pytest.mark.parametrize(("text", "names"), SAYS)
def test_a_self_report_is_read_in_five_languages(text: str, names: set[str]) -> None:
    assert {brand.name for brand in brands.named(text)} == names


def test_a_self_report_moves_the_attribution_by_at_most_a_factor_of_two() -> None:
    found, _ = audit(edited(lambda text: "I am Claude, made by Anthropic." if "assistant" in text else text), asks=DEEP)
    logs = found.log_likelihood
    assert logs["unknown"] < logs["claude-3"] == logs["claude-4"] == 0.0 > logs["gpt-4o"]
    assert max(logs.values()) - min(logs.values()) <= math.log(2.0) + 1e-9 == CAP + 1e-9
    assert set(logs) - {"unknown"} <= {model.family for model in catalog.models()}


def test_another_vendors_name_in_every_language_is_a_weak_finding() -> None:
    def answer(ask: Ask) -> str:
        return {"ko": "저는 클로드입니다.", "zh": "我是Claude。"}.get(ask.key[-2:], "I'm Claude.") if is_self(ask) else ask.payload

    found, _ = audit(answer, asks=DEEP)
    assert [(finding.code, finding.strength) for finding in found.findings] == [("identity-conflict", "weak")]
    assert not codes(audit(answer, asks=DEEP, model="claude-3-5-sonnet")[0])


def test_a_system_prompts_persona_and_a_fine_tunes_base_are_no_conflict() -> None:
    for model, says in (("gpt-4o", "I am Aria, the assistant of Acme Bank."), ("hermes-3-llama-3.1-8b", "I'm Llama, made by Meta.")):
        assert not codes(audit(lambda ask, says=says: says if is_self(ask) else ask.payload, asks=DEEP, model=model)[0])  # type: ignore[misc]


def test_mixed_names_are_no_conflict() -> None:
    def answer(ask: Ask) -> str:
        return ("I am Claude." if ask.key[-2:] in ("en", "ko", "es") else "I am ChatGPT.") if is_self(ask) else ask.payload

    assert not codes(audit(answer, asks=DEEP)[0])


def test_every_family_of_a_brand_is_in_the_catalog() -> None:
    known = {model.family for model in catalog.models()}
    assert {family for brand in brands.brands() for family in brand.families} <= known


def test_controls_hold_no_brand() -> None:
    stock = brands.table()["copy"]
    controls = [word for group in ("controls", "korean_controls", "chinese_controls") for word in stock[group]]
    controls += [word for near in stock["near"].values() for word in near]
    for control in controls:
        assert not [brand for brand in copies.all_brands() if brand.casefold() in control.casefold()], control
        assert len(set(re.findall(r"[^\W_]+", control))) == 1


# Hostile replies.


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=300), st.integers(0, 3))
def test_no_reply_breaks_the_reading(text: str, seed: int) -> None:
    found, _ = audit(lambda ask: text, seed, DEEP)
    assert not {"word-filter"} & codes(found)


def test_a_huge_reply_is_read_in_time() -> None:
    found, _ = audit(lambda ask: "Claude 클로드 " * 200_000)
    assert "word-filter" not in codes(found)
