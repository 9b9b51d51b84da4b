"""Mixtures and switches: a second backend is found, measured and dated; what an honest gateway does reply by reply is neither."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from itertools import pairwise

import jsonschema
import pytest

from benchmarks.simulated import Endpoint
from probes import suite as suites
from probes.probe import Ask
from tests.endpoints import claim_of, codes, header_for
from tests.verifier.routers import Router, diluting, switching
from tests.verifier.test_auditing import SCHEMA, concluded
from verifier.auditing import conclude, judge
from verifier.conversation import interrogate
from verifier.intervals import lower_bound
from verifier.mixture import Mixture
from verifier.report.model import Report
from verifier.routing import goes_with
from verifier.transcript import Transcript

HONEST = Endpoint("llama3")
SEED = 1


def audited(router: Router, claimed: str, *, suite: str = "deep", early_stop: bool = True) -> Transcript:
    header = header_for(claim_of(claimed), seed=SEED, suite=suite, early_stop=early_stop)
    probes = suites.build(suites.SUITES[suite], header.claim, header.seed, header.alpha)
    replies, stopped = asyncio.run(interrogate(router.ask_all, probes, header))
    return Transcript(header, tuple(replies), stopped)


def report_of(transcript: Transcript) -> Report:
    report = conclude(transcript, transcript.to_bytes())
    jsonschema.validate(report.data, SCHEMA)
    return report


def test_a_fifth_of_the_questions_sent_elsewhere_is_found_by_their_counts_and_measured() -> None:
    router = diluting(Endpoint("o200k"), HONEST, 0.2, seed=1)
    transcript = audited(router, "o200k")
    report = report_of(transcript)
    mixture = report.data["mixture"]
    assert report.outcome == "inconsistent" and "mixed-backends" in codes(report)
    assert mixture["low"] <= 0.2 <= mixture["high"] and mixture["candidate"] == "llama3"
    assert report.data["verdict"]["reasons"][0]["code"] == "replies-mixed"
    right = [router.routed[number - 1] for number in mixture["others"]]
    assert sum(right) >= 0.9 * len(right), "the questions that it names are those that were sent elsewhere"
    again = judge(transcript, transcript.to_bytes())
    assert concluded(again) == concluded(report), "a stored transcript gives the same mixture"


def test_counts_that_any_gateway_may_show_do_not_hide_a_second_writer() -> None:
    """o200k answers a third of a Llama: its counts are a recount's, so only cuts and chunk edges of the copies can tell."""
    report = report_of(audited(diluting(HONEST, Endpoint("o200k", template=1), 0.33, seed=1), "llama3"))
    assert report.outcome == "inconsistent" and report.data["mixture"]["candidate"] == "o200k"
    assert "usage" not in report.data["mixture"]["channels"]


@pytest.mark.parametrize(
    "other",
    [
        dataclasses.replace(HONEST, recount="cl100k"),
        dataclasses.replace(HONEST, hidden=60),
        dataclasses.replace(HONEST, template=3, keep=0.3),
        dataclasses.replace(HONEST, scale=1.3),
    ],
    ids=["recounts", "hidden prompt", "another template, merged chunks", "scaled usage"],
)
def test_a_gateway_that_treats_some_replies_otherwise_is_never_accused(other: Endpoint) -> None:
    report = report_of(audited(diluting(HONEST, other, 0.3, seed=2), "llama3", suite="standard"))
    assert report.outcome != "inconsistent" and report.data["mixture"] is None and report.data["switches"] == []


@pytest.mark.parametrize("claimed", ["llama3", "smollm"])
def test_system_prompts_of_five_lengths_are_no_second_backend(claimed: str) -> None:
    """Counts at one of five constants by chance: the fifth is beyond the usual ones, and a vocabulary near cl100k matches some of it."""
    lengths = [Endpoint(claimed, hidden=words, copies=False) for words in (0, 5, 11, 17, 23)]
    rng = random.Random("lengths")
    router = Router(lengths, lambda ask, n: rng.randrange(len(lengths)))
    report = report_of(audited(router, claimed))
    assert report.outcome != "inconsistent" and report.data["mixture"] is None


def test_rewritten_counts_on_text_of_the_claimed_model_accuse_nobody() -> None:
    """Counts of a vocabulary that no honest gateway counts with, on a third of the replies, whose text is all the claimed model's."""
    report = report_of(audited(diluting(HONEST, dataclasses.replace(HONEST, recount="gemma3"), 0.33, seed=3), "llama3", suite="standard"))
    assert report.outcome != "inconsistent"


def test_two_switches_are_dated_and_named() -> None:
    backends = (Endpoint("claude3", copies=False), Endpoint("o200k", template=1), HONEST)
    report = report_of(audited(switching(backends, (40, 80)), "llama3", early_stop=False))
    assert "backend-switched" in codes(report) and report.outcome == "inconsistent"
    switches = report.data["switches"]
    assert [(each["from"], each["to"]) for each in switches] == [("claude3", "o200k"), ("o200k", "llama3")]
    assert all(abs(each["at"] - true) <= 10 for each, true in zip(switches, (41, 81), strict=True))


def test_a_router_by_streaming_is_named_by_what_it_goes_by() -> None:
    router = Router((HONEST, Endpoint("qwen2.5", copies=False)), lambda ask, n: int(not ask.stream))
    transcript = audited(router, "llama3", early_stop=False)
    report = report_of(transcript)
    assert report.outcome == "inconsistent"
    assert report.data["mixture"]["goes_with"] == "questions that are not streamed"


def test_no_rule_is_named_where_chance_sorts_the_replies() -> None:
    transcript = audited(diluting(HONEST, HONEST, 0.3, seed=4), "llama3", suite="standard", early_stop=False)
    places = range(len(transcript.replies))
    assert goes_with(transcript.replies, [p for p in places if p % 3 == 0], [p for p in places if p % 3]) is None


def test_the_share_covers_what_was_sent_elsewhere_with_exact_bounds() -> None:
    mixed = Mixture(9.0, "llama3", {}, 9.0, 4, tuple(range(6)), tuple(range(6, 60)))
    share, low, high = mixed.share
    assert share == 0.1 and low == lower_bound(6, 60, 0.01) < share < high


def test_the_first_questions_of_an_audit_stay_in_their_order_and_the_rest_is_shuffled() -> None:
    transcript = audited(Router((HONEST,), lambda ask, n: 0), "llama3", early_stop=False)
    asked = [reply.ask.probe for reply in transcript.replies]
    assert asked[:16] == ["usage"] * 10 + ["truncation"] * 6
    dealt = asked[60:140]
    assert sum(a != b for a, b in pairwise(dealt)) > len(dealt) / 4, "consecutive questions are of different kinds"
    assert asked == [reply.ask.probe for reply in audited(Router((HONEST,), lambda ask, n: 0), "llama3", early_stop=False).replies]


def test_a_dozen_questions_at_most_are_dealt_between_two_looks() -> None:
    hands: list[int] = []

    async def ask_all(asks: list[Ask], *, retry_timeouts: bool = True) -> object:
        hands.append(len(asks))
        return await HONEST.ask_all(asks)

    header = header_for(claim_of("llama3"), seed=SEED, suite="deep", early_stop=False)
    probes = suites.build(suites.SUITES["deep"], header.claim, header.seed, header.alpha)
    asyncio.run(interrogate(ask_all, probes, header))  # type: ignore[arg-type]
    assert max(hands[12:]) <= 12
