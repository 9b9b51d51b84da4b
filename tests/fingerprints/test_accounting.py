"""Accounting: constants of recorded stacks, hidden prompt text, and likelihoods of vocabularies from counts and texts alone."""

from __future__ import annotations

import math
import tomllib
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from fingerprints import accounting, tokenizers
from fingerprints.accounting import Completion, completion_evidence, expected_offset, expected_overhead, hidden_prompt_tokens
from fingerprints.stack_likelihood import LOG_BOUND, stream_evidence
from fingerprints.stacks import UNKNOWN, Table, overhead, shape, shipped

RECORDED = Path(__file__).parents[3] / "shared" / "recorded"

TEXTS = (
    "The lighthouse keeper's daughter counted 1,482 ships before the archipelago's fog swallowed the harbour entirely.",
    "Quarterly revenue rose 12.5% to ₩48,200,000, although restructuring costs offset most of the improvement in Daejeon.",
    "Photosynthesis converts carbon dioxide and water into glucose; chlorophyll absorbs mostly red and blue wavelengths.",
    "def rolling_mean(values, window):\n    return [sum(values[i:i + window]) / window for i in range(len(values) - window + 1)]",
    "한국어 문장은 토크나이저마다 조각의 수가 크게 다르기 때문에 좋은 증거가 됩니다. 그래서 자주 묻습니다.",
)
PROMPTS = ("Tell me something surprising about the sea.", "요즘 서울 날씨는 어떤가요?", "Write a short function, please.")


def rows(vocabulary: str, offset: int, overheads: tuple[int, ...] = (), flavour: str = "chat") -> list[Completion]:
    """What an endpoint with this vocabulary, completion offset and user-only overhead would report."""
    count = tokenizers.vocabulary(vocabulary).count
    made = []
    for i, text in enumerate(TEXTS):
        prompt = PROMPTS[i % len(PROMPTS)]
        sent = (("user", prompt),) if overheads else ()
        tokens = count(prompt) + overheads[i % len(overheads)] if overheads else None
        made.append(Completion(text, count(text) + offset, prompt_tokens=tokens, messages=sent, flavour=flavour))
    return made


@pytest.mark.parametrize(
    ("model", "roles", "tokens"),
    [
        ("gpt-4o", ["user"], 7),
        ("gpt-4o", ["system", "user"], 11),
        ("gpt-4o-mini", ["user", "assistant", "user"], 15),
        ("gpt-4o", ["developer", "user", "assistant", "user"], 19),
        ("gpt-3.5-turbo", ["user"], 7),
        ("llama-3.3-70b-instruct", ["user"], 35),
        ("claude-sonnet-4-5", ["system", "user"], 7),
        ("claude-sonnet-4-5", ["user", "assistant", "user"], 13),
    ],
)
def test_a_template_costs_what_recorded_prompts_paid(model: str, roles: list[str], tokens: int) -> None:
    constant = expected_overhead(model, roles)
    assert constant is not None
    assert constant.tokens == tokens
    assert constant.share > 0.8


@pytest.mark.parametrize(
    ("provider", "flavour", "tools", "tokens"),
    [("openai", "openai", False, 0), ("openai", "openai", True, 1), ("openai", "responses", False, 1), ("azure", "chat", False, 1)],
)
def test_the_offset_of_gpt_4o_tells_its_upstream(provider: str, flavour: str, tools: bool, tokens: int) -> None:
    constant = expected_offset("gpt-4o", provider, flavour, tools=tools)
    assert constant is not None
    assert constant.tokens == tokens
    assert constant.n > 100


def test_a_reply_that_was_cut_has_no_offset() -> None:
    assert all(row["tokens"] == 0 for row in shipped().offsets if row["length"])


def test_nothing_is_expected_of_a_model_that_nobody_recorded() -> None:
    assert expected_overhead("no-such-model", ["user"]) is None
    assert expected_offset("no-such-model") is None
    assert hidden_prompt_tokens("no-such-model", [("user", "hi")], 20) is None


def test_a_hidden_prompt_is_measured_to_the_token() -> None:
    messages = [("system", "Be brief."), ("user", "What is the tallest mountain on Earth?")]
    own = sum(tokenizers.vocabulary("o200k").count(text) for _, text in messages)
    assert hidden_prompt_tokens("gpt-4o", messages, own + 11) == 0
    assert hidden_prompt_tokens("gpt-4o", messages, own + 11 + 212) == 212


@pytest.mark.parametrize(
    ("vocabulary", "offset"), [("o200k", 0), ("claude3", 3), ("llama3", 1), ("qwen2.5", 1), ("gemma3", 0), ("tekken", 1)]
)
def test_the_vocabulary_is_named_without_knowing_the_offset(vocabulary: str, offset: int) -> None:
    assert completion_evidence(rows(vocabulary, offset, flavour="")).best == vocabulary


def test_an_offset_that_no_stack_had_is_found_too() -> None:
    assert completion_evidence(rows("deepseek-v3", 13)).best == "deepseek-v3"


def test_counts_that_no_vocabulary_explains_are_called_unknown() -> None:
    strange = [replace(row, completion_tokens=round(row.completion_tokens * 1.31) + i % 3) for i, row in enumerate(rows("o200k", 0))]
    assert completion_evidence(strange).best == UNKNOWN


def test_a_true_claim_is_favoured_and_a_false_one_is_not() -> None:
    true = completion_evidence(rows("o200k", 0, (7,)), "gpt-4o").claim_log_odds
    false = completion_evidence(rows("claude3", 3, (7,)), "gpt-4o").claim_log_odds
    assert true is not None and true > math.log(100)
    assert false is not None and false < -math.log(100)


def test_a_claim_without_a_known_vocabulary_gets_no_odds() -> None:
    assert completion_evidence(rows("o200k", 0), "no-such-model").claim_log_odds is None
    assert completion_evidence(rows("o200k", 0)).claim_log_odds is None


def test_no_amount_of_counts_is_worth_more_than_the_bound() -> None:
    evidence = completion_evidence(rows("o200k", 0, (7,)) * 20, "gpt-4o")
    assert min(evidence.log_likelihood.values()) >= -LOG_BOUND
    assert max(evidence.log_likelihood.values()) == 0.0
    assert evidence.claim_log_odds is not None and abs(evidence.claim_log_odds) <= LOG_BOUND


def test_rows_of_two_flavours_may_have_two_offsets() -> None:
    both = rows("o200k", 0)[:3] + rows("o200k", 1, flavour="responses")[3:]
    mixed = [replace(row, flavour="chat") for row in both]
    apart = completion_evidence(both, "gpt-4o").claim_log_odds
    together = completion_evidence(mixed, "gpt-4o").claim_log_odds
    assert apart is not None and together is not None and apart > together


def test_streamed_pieces_speak_for_the_vocabulary_that_they_are_tokens_of() -> None:
    text = TEXTS[4]
    cuts = (0, *(tokenizers.vocabulary("llama3").cuts(text) or ()))
    pieces = tuple(text[a:b] for a, b in pairwise(cuts) if a < b)
    logs = stream_evidence([Completion(text, len(pieces), pieces=pieces)])
    assert logs["llama3"] == 0.0
    assert logs["o200k"] < -3.0
    assert logs["claude3"] < 0.0  # boundaries unknown: no better than what is common


def test_no_rows_say_nothing_and_odd_rows_do_no_harm() -> None:
    nothing = completion_evidence([], "gpt-4o")
    assert nothing.rows == 0
    assert set(nothing.log_likelihood.values()) == {0.0}
    odd = [
        Completion("\ud800x", 3),
        Completion("a", 10**12, prompt_tokens=-5, messages=(("user", ""),)),
        Completion("", 5),
        Completion("b", -1),
    ]
    assert completion_evidence(odd, "gpt-4o").rows == 2


def test_templates_add_up_over_messages() -> None:
    assert overhead((7, 4, 4, None), shape(["system", "user", "model", "user"])) == 19
    assert overhead((7, None, 4, None), shape(["system", "user"])) is None
    assert overhead((7, 4, 4, None), shape(["prompt"])) is None


def test_every_prior_is_a_probability() -> None:
    table = shipped()
    for vocabulary in (*tokenizers.names(), UNKNOWN):
        for family in (None, "gpt-4o"):
            assert math.isclose(sum(table.offset_prior(vocabulary, "chat", False, family).values()), 1.0)
            assert math.isclose(sum(table.template_prior(vocabulary, None, family).values()), 1.0)
    assert all(sum(noise) <= 1.001 for noise in table.noise.values())


def test_the_table_names_its_source_and_holds_no_text() -> None:
    assert len(accounting.digest()) == 64
    for row in (*shipped().offsets, *shipped().overheads):
        assert all(len(str(value)) < 40 for key, value in row.items() if key not in ("models", "seen", "shapes"))


@pytest.mark.replay
@pytest.mark.skipif(not (RECORDED / "completions.jsonl.gz").exists(), reason="recorded traffic is not here")
def test_the_build_command_fits_the_table_that_ships() -> None:
    from fingerprints.build.accounting import fit, render
    from fingerprints.build.recorded import read

    assert Table.parse(tomllib.loads(render(fit(read(RECORDED)), "", 0))) == shipped()
