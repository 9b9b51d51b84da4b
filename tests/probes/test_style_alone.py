"""Claims about open questions without references: asked only where nothing better is, never an accusation, always a reason."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import pytest

from fingerprints import catalog, style
from fingerprints.scored import UNKNOWN
from probes import style_alone
from probes.plan import Plan
from probes.probe import Ask, Block, Evidence, Reply, ReplyError
from probes.style_alone import LEAST_ANSWERS, LIKE, ROUND, UNLIKE, StyleAloneProbe
from verifier.attribution import ANOTHER, attribute
from verifier.decide import decide


def plan(claim: str | None = "gpt-4o", **other: object) -> Plan:
    claimed = None if claim is None else catalog.claim(claim)
    return dataclasses.replace(Plan(seed=1, claim=claimed, style_alone_answers=12), **other)  # type: ignore[arg-type]


def serve(probe: StyleAloneProbe, answer: Callable[[Ask], Reply]) -> list[Reply]:
    replies: list[Reply] = []
    while asks := probe.next_round(replies):
        replies += [answer(ask) for ask in asks]
    return replies


def prose(ask: Ask) -> Reply:
    text = f"This is an answer to what was asked, and it is long enough to be read by those who want to: {ask.messages[0][1]} " * 3
    return Reply(ask, status=200, text=text, finish="stop")


def reads_as(monkeypatch: pytest.MonkeyPatch, family: str | None, why: str | None = None) -> None:
    """The style model says this, whatever it is given."""
    sure = {name: 0.01 for name in style.FAMILIES} | {UNKNOWN: 0.01} | ({family: 0.92} if family else {})
    ratio = {name: 3.0 if name == family else -1.0 for name in style.FAMILIES} | {UNKNOWN: 0.0}

    def read(answers: list[str]) -> style.Reading:
        return style.Reading(family, sure, ratio, sum(bool(answer) for answer in answers), why)

    monkeypatch.setattr(style_alone.style, "read", read)


def read(claim: str | None) -> Evidence:
    probe = StyleAloneProbe(plan(claim))
    return probe.read(serve(probe, prose))


def test_another_family_is_a_weak_finding_and_never_accuses(monkeypatch: pytest.MonkeyPatch) -> None:
    reads_as(monkeypatch, "claude")
    found = read("gpt-4o")
    assert found.tested and found.block is Block.STYLE and found.log_e == UNLIKE <= math.log(2) and not found.supports_claim
    assert [(each.code, each.strength) for each in found.findings] == [("style-mismatch", "weak")]
    verdict = decide([found], catalog.claim("gpt-4o"), 0.01)
    assert verdict.outcome == "inconclusive"


def test_the_claimed_family_neither_clears_nor_accuses(monkeypatch: pytest.MonkeyPatch) -> None:
    reads_as(monkeypatch, "gpt")
    found = read("gpt-4o")
    assert found.tested and found.log_e == LIKE < 0 and not found.supports_claim and not found.findings
    assert decide([found], catalog.claim("gpt-4o"), 0.01).outcome == "inconclusive"
    assert 0.05 * math.exp(UNLIKE) + 0.95 * math.exp(LIKE) <= 1.01  # an e-value at the rate that is promised


def test_a_claim_outside_the_families_is_not_contradicted(monkeypatch: pytest.MonkeyPatch) -> None:
    reads_as(monkeypatch, "claude")
    assert read("grok-2").log_e == 0.0 and not read("grok-2").findings and read(None).log_e == 0.0


def test_a_reading_speaks_for_the_catalogs_families_in_attribution(monkeypatch: pytest.MonkeyPatch) -> None:
    reads_as(monkeypatch, "claude")
    found = read(None)
    assert style_alone.ANOTHER == ANOTHER and {f"claude-3{ANOTHER}", f"gpt-4o{ANOTHER}", UNKNOWN} <= set(found.log_likelihood)
    assert max(abs(value) for value in found.log_likelihood.values()) <= style.BOUND
    counts = Evidence("usage", Block.TOKENIZER, True, log_likelihood={"claude3": 0.0, "o200k": 0.0, "unknown": -5.0}, best=None)
    before, after = attribute([counts]), attribute([counts, found])
    assert not any(candidate.name.startswith("google") for candidate in after.candidates)
    assert after.of_family("claude-3") > before.of_family("claude-3") and after.of_family("gpt-4o") < before.of_family("gpt-4o")


def test_an_abstention_is_not_tested_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    reads_as(monkeypatch, None, "the style of 12 answers names no family: at best gpt (0.40)")
    found = read("gpt-4o")
    assert not found.tested and found.log_e == 0.0 and not found.log_likelihood and "names no family" in str(found.why_not)


def test_few_answers_and_outages_are_not_tested() -> None:
    probe = StyleAloneProbe(plan())
    down = serve(probe, lambda ask: Reply(ask, error=ReplyError("server-error", "502")))
    found = probe.read(down)
    assert len(down) == ROUND and not found.tested and "server-error" in str(found.why_not)
    few = [prose(ask) for ask in probe.next_round([])][: LEAST_ANSWERS - 1]
    assert f"{LEAST_ANSWERS} are needed" in str(probe.read(few).why_not)


def test_a_suite_without_them_says_what_to_do() -> None:
    probe = StyleAloneProbe(plan(style_alone_answers=0))
    assert not probe.next_round([]) and "--prompts" in str(probe.read([]).why_not)


def test_own_questions_come_first_in_english_and_change_order_with_the_seed() -> None:
    orders = {tuple(ask.key for ask in serve_asks(seed)) for seed in range(4)}
    assert len(orders) > 1 and all(key.startswith("style-alone/alone-en-") for order in orders for key in order)


def serve_asks(seed: int) -> list[Ask]:
    probe = StyleAloneProbe(plan(seed=seed))
    return [reply.ask for reply in serve(probe, prose)]


def test_the_users_questions_are_asked_as_they_stand_even_by_a_quick_suite() -> None:
    given = tuple((f"q{number}", f"왜 하늘은 파랄까요? {number}") for number in range(6))
    probe = StyleAloneProbe(plan(style_alone_answers=0, prompts=given))
    replies = serve(probe, prose)
    assert [(reply.ask.key, reply.ask.messages[0][1]) for reply in replies] == [(f"style-alone/{name}", text) for name, text in given]


@pytest.mark.parametrize(
    "text", ["<think>so many thoughts", "", "\ud800" * 400, "\u202e" * 500], ids=["thinking", "empty", "surrogate", "bidi"]
)
def test_hostile_answers_are_read_without_harm(text: str) -> None:
    probe = StyleAloneProbe(plan())
    found = probe.read(serve(probe, lambda ask: Reply(ask, status=200, text=text, finish="length")))
    assert not found.tested and found.why_not
