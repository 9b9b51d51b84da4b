"""The choice probe asks in rounds, judges only what it has references for, and takes neither a cache nor thinking for another model."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from datetime import date

import numpy as np
import pytest

from fingerprints import catalog, choices
from fingerprints.packs import Pack, PackModel
from fingerprints.questions import Question, Source, text_digest
from probes.choice import ROUND, ChoiceProbe
from probes.plan import Plan
from probes.probe import Ask, Block, Evidence, Reply, ReplyError, Usage

NAMES = ("gpt-4o", "gpt-4o-mini", "claude-sonnet-4-5", "qwen3-8b")
LAWS = {name: np.random.default_rng(50 + i).dirichlet(np.full(100, 0.06)) for i, name in enumerate(NAMES)}


def references(questions: int = 1, text: bool = True, samples: int = 300, **fields: object) -> Pack:
    rng = np.random.default_rng(9)
    asked = []
    for i in range(questions):
        words = f"Pick a whole number from 1 to 100, please ({i})."
        source = None if text else Source("somebody/something", "0" * 40, "file.py", {})
        asked.append(Question(f"pick-{i}", text_digest(words), "choice", "en", words if text else None, source, 16, 1.0))
    answers = {(each.id, name): [str(n + 1) for n in rng.choice(100, samples, p=LAWS[name])] for each in asked for name in NAMES}
    models = []
    for name in NAMES:
        known = catalog.find(name)
        assert known is not None
        models.append(PackModel(name, known.family, known.lineage, name, 1))
    rules = {each.id: {"integers": [1, 100]} for each in asked}
    pack = choices.build_pack("test", "1", "2026-01-01", asked, answers, models, "invented", "none", "2026-03-01", rules)
    return dataclasses.replace(pack, extra=dict(pack.extra) | fields)


def plan(claim: str | None = "gpt-4o", packs: Sequence[Pack] = (), answers: int = 30) -> Plan:
    return Plan(seed=1, claim=catalog.claim(claim) if claim else None, packs=tuple(packs), choice_answers=answers)


def converse(probe: ChoiceProbe, served: str, **fields: object) -> list[Reply]:
    rng = np.random.default_rng(4)
    replies: list[Reply] = []
    while asks := probe.next_round(replies):
        assert len(asks) <= ROUND
        replies += [Reply(ask, text=f"{rng.choice(100, p=LAWS[served]) + 1}.", **fields) for ask in asks]
    return replies


def audit(served: str, claim: str | None = "gpt-4o", **fields: object) -> Evidence:
    probe = ChoiceProbe(plan(claim, [references(**fields)]))
    return probe.read(converse(probe, served))


def test_the_claimed_model_is_supported_at_model_level_because_its_sibling_is_excluded() -> None:
    evidence = audit("gpt-4o")
    assert evidence.tested and evidence.supports_claim and evidence.best == "gpt-4o" and evidence.resolution == "model"
    assert evidence.log_e < 0 and not evidence.findings and evidence.block is Block.CHOICE and evidence.requests == 30
    assert max(evidence.log_likelihood.values()) == 0 and "unknown" in evidence.log_likelihood


@pytest.mark.parametrize("served", ["gpt-4o-mini", "claude-sonnet-4-5", "qwen3-8b"])
def test_another_model_is_a_choice_mismatch_that_names_it(served: str) -> None:
    evidence = audit(served)
    assert math.log(100) <= evidence.log_e <= math.log(10_000) and evidence.best == served and not evidence.supports_claim
    (finding,) = evidence.findings
    assert (finding.code, finding.strength) == ("choice-mismatch", "strong") and served in finding.text
    (row,) = evidence.measured
    assert row["answers"] == 30 and row["invalid"] == 0 and set(row["measured"]) == set(row["predicted"])


def test_without_a_claim_the_model_is_named_and_nothing_accused() -> None:
    evidence = audit("qwen3-8b", None)
    assert evidence.tested and evidence.best == "qwen3-8b" and evidence.log_e == 0 and not evidence.findings


def test_each_ask_is_a_request_of_its_own_and_the_first_round_is_the_start_of_all() -> None:
    probe = ChoiceProbe(plan(packs=[references(questions=2)], answers=25))
    replies = converse(probe, "gpt-4o")
    keys = [reply.ask.key for reply in replies]
    assert len(set(keys)) == 25 and {key.split("/")[1] for key in keys[:ROUND]} == {"pick-0", "pick-1"}
    assert all(reply.ask.temperature == 1.0 and reply.ask.max_tokens == 16 for reply in replies)
    assert keys == [reply.ask.key for reply in converse(ChoiceProbe(plan(packs=[references(questions=2)], answers=25)), "gpt-4o")]


def test_questions_with_small_references_are_each_asked_once_before_any_is_asked_again() -> None:
    probe = ChoiceProbe(plan(packs=[references(questions=12, samples=14)], answers=20))
    names = [reply.ask.key.split("/")[1] for reply in converse(probe, "gpt-4o")]
    assert len(set(names[:12])) == 12 and len(set(names[12:])) == 8


def test_a_dozen_references_to_each_of_many_questions_tell_another_model_and_clear_the_claimed_one() -> None:
    for served in ("gpt-4o", "qwen3-8b"):
        probe = ChoiceProbe(plan(packs=[references(questions=20, samples=14)], answers=20))
        evidence = probe.read(converse(probe, served))
        assert evidence.best == served and evidence.supports_claim == (served == "gpt-4o")
        assert (evidence.log_e >= math.log(100)) == (served != "gpt-4o")


def test_an_ask_is_never_below_the_wires_least_limit() -> None:
    asks = ChoiceProbe(dataclasses.replace(plan(packs=[references()]), least_limit=64)).next_round([])
    assert {ask.max_tokens for ask in asks} == {64}


def test_what_cannot_be_judged_is_not_asked_and_says_what_to_do() -> None:
    for packs, claim, words in (
        ((), "gpt-4o", "--pack"),
        ((references(text=False),), "gpt-4o", "truename packs fetch"),
        ((references(),), "llama-3.1-8b-instruct", "no references for llama-3.1-8b-instruct"),
        ((references(),), "gpt-4o", "--suite standard"),
    ):
        probe = ChoiceProbe(plan(claim, packs, answers=0 if "--suite" in words else 30))
        assert list(probe.next_round([])) == []
        evidence = probe.read([])
        assert not evidence.tested and evidence.why_not and words in evidence.why_not and evidence.log_e == 0


def test_identical_answers_of_a_cache_are_a_finding_and_not_evidence() -> None:
    probe = ChoiceProbe(plan(packs=[references()]))
    number = int(LAWS["qwen3-8b"].argmax()) + 1
    replies = [Reply(ask, text=str(number)) for ask in [*probe.next_round([])]]
    evidence = probe.read(replies)
    assert not evidence.tested and evidence.log_e == 0 and [finding.code for finding in evidence.findings] == ["cached-replies"]


def test_thinking_is_not_compared_with_references_recorded_without_it() -> None:
    probe = ChoiceProbe(plan(packs=[references(thinking_off=["gpt-4o"])]))
    evidence = probe.read(converse(probe, "qwen3-8b", usage=Usage(10, 90, None, 80)))
    assert not evidence.tested and evidence.why_not is not None and "thinking off" in evidence.why_not
    silent = probe.read(converse(probe, "qwen3-8b", usage=Usage(10, 2, None, 0)))
    assert silent.tested and silent.log_e > math.log(100)


def test_an_endpoint_that_refuses_or_rambles_is_asked_one_round_and_not_tested() -> None:
    probe = ChoiceProbe(plan(packs=[references()]))
    refused = [Reply(ask, error=ReplyError("server-error", "boom")) for ask in probe.next_round([])]
    assert list(probe.next_round(refused)) == [] and "boom" in (probe.read(refused).why_not or "")
    rambling = [Reply(ask, text="I would rather not say") for ask in probe.next_round([])]
    evidence = probe.read(rambling)
    assert not evidence.tested and "no choice" in (evidence.why_not or "")


def test_an_outdated_pack_does_not_accuse_and_says_so() -> None:
    base = plan(packs=[references()])
    old = ChoiceProbe(dataclasses.replace(base, today=date(2026, 4, 1)))
    evidence = old.read(converse(old, "qwen3-8b"))
    assert evidence.tested and evidence.log_e <= 0 and [finding.code for finding in evidence.findings] == ["pack-expired"]
    assert evidence.best == "qwen3-8b" and not evidence.supports_claim
    fresh = ChoiceProbe(dataclasses.replace(base, today=date(2026, 2, 1)))
    assert fresh.read(converse(fresh, "qwen3-8b")).log_e > math.log(100)


def test_a_damaged_pack_is_passed_over() -> None:
    pack = references()
    probe = ChoiceProbe(plan(packs=[dataclasses.replace(pack, extra={})]))
    assert list(probe.next_round([])) == [] and not probe.read([]).tested


def test_replies_of_other_probes_and_unasked_keys_are_left_aside() -> None:
    probe = ChoiceProbe(plan(packs=[references()]))
    ask = probe.next_round([])[0]
    foreign = Reply(dataclasses.replace(ask, probe="usage"), text="7")
    stray = Reply(Ask(probe="choice", key="choice/elsewhere/1", messages=ask.messages, max_tokens=5), text="7")
    assert not probe.read([foreign, stray]).tested
