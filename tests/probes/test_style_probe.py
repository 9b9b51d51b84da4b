"""Claims about the style probe: what it asks, what it reports, and when it says that nothing was tested."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from datetime import date

import pytest

from fingerprints import catalog
from fingerprints.packs import Pack, PackModel
from fingerprints.questions import Question, Source, text_digest
from fingerprints.same_prompt_pack import build_pack
from probes.plan import Plan
from probes.probe import Ask, Evidence, Reply, ReplyError
from probes.style import LEAST_ANSWERS, POOL, ROUND, StyleProbe

MODELS = ("gpt-4o", "claude-3-opus", "llama-3-70b-instruct", "mistral-large", "qwen-max")
TOPICS = [f"topic {number}" for number in range(12)]


def write(model: str, topic: str, take: int) -> str:
    """An invented answer: every model has a layout and words of its own, and varies a little."""
    place = MODELS.index(model)
    words = [f"{'abcde'[place]}{'lmnop'[place]}{syllable}" for syllable in ("an", "ere", "ion", "us", "ic", "ar")]
    mark = ("- ", "1. ", "* ", "", "# ")[place]
    return "\n".join(f"{mark}{words[(index + take) % 6]} {topic} {words[(index * 2 + take) % 6]}" + "!;.?,"[place] for index in range(5))


def pack(text: bool = True, expires: str | None = None, models: tuple[str, ...] = MODELS) -> Pack:
    source = None if text else Source("owner/name", "0" * 40, "file.json")
    questions = [Question(f"q{i}", text_digest(t), "open", "en", t if text else None, source, 90, None) for i, t in enumerate(TOPICS)]
    recorded = {(q.id, m): [write(m, t, take) for take in (0, 1, 2)] for q, t in zip(questions, TOPICS, strict=True) for m in models}
    described = [PackModel(model, model, model, model, 36) for model in models]
    return build_pack("invented", "1", "2026-01-01", questions, recorded, described, "a test", "Apache-2.0", expires)


@pytest.fixture(scope="module")
def references() -> Pack:
    return pack()


def plan(packs: tuple[Pack, ...], claim: str | None = "gpt-4o", **other: object) -> Plan:
    claimed = None if claim is None else catalog.claim(claim)
    return dataclasses.replace(Plan(seed=1, claim=claimed), packs=packs, **other)  # type: ignore[arg-type]


def serve(probe: StyleProbe, answer: Callable[[Ask], Reply]) -> list[Reply]:
    replies: list[Reply] = []
    while asks := probe.next_round(replies):
        replies += [answer(ask) for ask in asks]
    return replies


def by(model: str) -> Callable[[Ask], Reply]:
    return lambda ask: Reply(ask, status=200, text=write(model, ask.messages[0][1], 4), finish="stop")


def read(packs: tuple[Pack, ...], model: str, claim: str | None = "gpt-4o", **other: object) -> Evidence:
    probe = StyleProbe(plan(packs, claim, **other))
    return probe.read(serve(probe, by(model)))


def test_the_claimed_model_is_supported_and_another_is_a_mismatch(references: Pack) -> None:
    genuine, other = read((references,), "gpt-4o"), read((references,), "qwen-max")
    assert genuine.tested and genuine.supports_claim and genuine.best == "gpt-4o" and genuine.log_e <= 0 and not genuine.findings
    assert other.tested and not other.supports_claim and other.best in ("qwen-max", None) and other.log_e > 0
    assert [finding.code for finding in other.findings] in ([], ["style-mismatch"])
    assert (other.log_e >= math.log(10)) == bool(other.findings)


def test_rounds_are_small_limits_low_and_questions_change_with_the_seed(references: Pack) -> None:
    probe = StyleProbe(plan((references,), style_answers=4))
    first = probe.next_round([])
    assert len(first) == ROUND and all(ask.max_tokens == 90 and len(ask.messages) == 1 for ask in first)
    assert len(serve(probe, by("gpt-4o"))) == 4 < len(TOPICS) <= 4 * POOL
    asked = {
        tuple(a.key for a in StyleProbe(dataclasses.replace(plan((references,), style_answers=4), seed=s)).next_round([])) for s in range(5)
    }
    assert len(asked) > 1


def test_measured_rows_name_questions_by_digest_and_hold_no_text(references: Pack) -> None:
    evidence = read((references,), "claude-3-opus")
    assert evidence.measured and all(TOPICS[0] not in str(row) for row in evidence.measured)
    assert {row["most_like"] for row in evidence.measured} == {"claude-3-opus"}


def test_without_a_claim_the_model_is_named(references: Pack) -> None:
    evidence = read((references,), "mistral-large", claim=None)
    assert evidence.tested and evidence.best == "mistral-large" and evidence.log_e == 0 and not evidence.supports_claim


@pytest.mark.parametrize(
    ("packs", "claim", "hint"),
    [
        ((), "gpt-4o", "enroll"),
        ((pack(text=False),), "gpt-4o", "truename packs fetch"),
        ((pack(),), "command-r-plus", "enroll"),
        ((pack(models=MODELS[:2]),), None, "packs"),
    ],
    ids=["no pack", "no texts", "no references", "too few models"],
)
def test_what_cannot_be_tested_says_what_to_do(packs: tuple[Pack, ...], claim: str | None, hint: str) -> None:
    probe = StyleProbe(plan(packs, claim))
    assert not probe.next_round([])
    evidence = probe.read([])
    assert not evidence.tested and evidence.why_not is not None and hint in evidence.why_not


def test_an_expired_pack_does_not_accuse() -> None:
    evidence = read((pack(expires="2026-02-01"),), "qwen-max", today=date(2026, 11, 22))
    assert evidence.log_e <= 0 and "pack-expired" in [finding.code for finding in evidence.findings]


@pytest.mark.parametrize("text", ["", "   ", "<think>so many thoughts", "ok"], ids=["empty", "blank", "thinking", "short"])
def test_answers_that_cannot_be_compared_are_not_tested_and_stop_the_asking(references: Pack, text: str) -> None:
    probe = StyleProbe(plan((references,)))
    replies = serve(probe, lambda ask: Reply(ask, status=200, text=text, finish="length"))
    evidence = probe.read(replies)
    assert not evidence.tested and evidence.why_not and evidence.log_e == 0
    assert len(replies) <= (10 if text == "ok" else ROUND)


def test_an_outage_is_neither_good_nor_bad(references: Pack) -> None:
    probe = StyleProbe(plan((references,)))
    evidence = probe.read(serve(probe, lambda ask: Reply(ask, error=ReplyError("server-error", "502"))))
    assert not evidence.tested and "server-error" in str(evidence.why_not)


def test_thinking_in_front_of_an_answer_is_not_compared(references: Pack) -> None:
    probe = StyleProbe(plan((references,)))
    plain = serve(probe, by("gpt-4o"))
    thinking = [dataclasses.replace(reply, text=f"<think>hm\n</think>\n{reply.text}") for reply in plain]
    assert probe.read(thinking) == probe.read(plain)


def test_two_answers_say_nothing_yet(references: Pack) -> None:
    probe = StyleProbe(plan((references,)))
    replies = serve(probe, by("qwen-max"))[: LEAST_ANSWERS - 1]
    assert not probe.read(replies).tested
