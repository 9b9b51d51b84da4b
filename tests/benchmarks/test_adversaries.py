"""Claims about the adversary benchmark: its endpoints are what their arms say, and nothing judges an answer by itself."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.adversaries import arms as declared
from benchmarks.adversaries import serving
from benchmarks.adversaries.arms import Switching, all_arms
from benchmarks.adversaries.audits import COULD_NOT_RUN, Job, Row, audit, references
from benchmarks.adversaries.endpoint import Endpoint, Gateway
from benchmarks.adversaries.recorded import MODELS, SPLITS, Split, split
from benchmarks.adversaries.speaking import PICKS, WHO, Asked, say
from benchmarks.adversaries.summary import summarised
from benchmarks.adversaries.tables import table
from benchmarks.second import second
from benchmarks.simulated import QUESTION, recorded_choices
from fingerprints import brands, catalog, tokenizers
from fingerprints.questions import text_digest
from fingerprints.same_prompt_pack import build_pack
from probes.probe import Ask, Reply
from verifier.endpoint.client import EndpointClient
from verifier.endpoint.guard import cli_policy
from verifier.endpoint.limits import Limits
from verifier.target import Target

HONEST = "plain other-engine system-prompt temperature recount slow flaky truncating partial".split()
CHEATING = (
    "swap reflection forged-usage forged-identity forged-identity-usage long-only stream-only dilution-50 dilution-20 dilution-10 "
    "dilution-5 dilution-2 cache probe-aware persona rewriter sticky-key sibling-gpt-4o-mini sibling-claude-haiku sibling-llama-8b "
    "effort-lowered"
).split()
COPY = "Repeat this string exactly: 고양이 Walnut 17 blue-green Zurich 무지개"


@pytest.fixture(scope="module")
def corpora(shared: Path) -> Path:
    return shared / "corpora"


@pytest.fixture(scope="module")
def first(corpora: Path) -> Split:
    return split(0, corpora)


def ask(text: str, tokens: int = 64, **fields: Any) -> Ask:
    return replace(Ask("served", "a/1", (("user", text),), tokens), **fields)


def endpoint(found: Split, names: Sequence[str], gateway: Gateway, seed: str = "s") -> Endpoint:
    return Endpoint(names[0], [found.models[name] for name in names], gateway, seed, 300)


def test_arms_bear_the_names_of_the_contract_and_say_what_they_rest_on() -> None:
    told = {arm.name: arm for arm in all_arms()}
    assert [name for name, arm in told.items() if arm.kind == "honest"] == HONEST
    assert set(CHEATING) <= set(told)
    assert all(arm.rests_on and arm.audits > 0 and arm.casts for arm in told.values())
    assert sum(told[name].audits for name in HONEST) >= 300
    assert all(told[name].audits >= 300 for name in ("swap", "reflection", "forged-usage", "forged-identity-usage"))


@pytest.mark.parametrize("number", range(SPLITS))
def test_no_reference_holds_an_answer_that_an_endpoint_gives(corpora: Path, number: int) -> None:
    found = split(number, corpora)
    ids = {question.sha256: question.id for question in found.style.questions}
    given = {(ids[digest], name): texts for name, model in found.models.items() for digest, texts in model.answers.items()}
    models = [replace(found.style.models[0], name=name) for name in MODELS]
    dimensions = int(found.style.extra["dimensions"])
    sketched = build_pack("t", "1", "2026-01-01", found.style.questions, given, models, "t", "t", dimensions=dimensions)
    rows = {(int(q), c.tobytes()) for q, c in zip(found.style.arrays["question"], found.style.arrays["content"], strict=True)}
    replayed = [(int(q), c.tobytes()) for q, c in zip(sketched.arrays["question"], sketched.arrays["content"], strict=True)]
    assert len(replayed) > 300 and not rows & set(replayed)


def test_picks_and_their_reference_are_two_halves_of_what_was_recorded(first: Split) -> None:
    recorded = recorded_choices()
    place = [model.name for model in recorded.models].index("gpt-4o")
    reference = first.choices.arrays["counts"][0, place].astype(int)
    rest = recorded.arrays["counts"][0, place].astype(int) - reference
    assert (rest >= 0).all() and abs(int(rest.sum()) - int(reference.sum())) <= 1
    law = np.array(first.models["gpt-4o"].law)
    assert np.allclose(law, rest[: len(law)] / rest[: len(law)].sum())


def test_references_of_a_lowered_effort_hold_the_claimed_setting_alone(corpora: Path) -> None:
    style = references(Job("effort-lowered", 0, 0, corpora, False))[1]
    held = {style.models[m].name for m in set(style.arrays["model"].tolist())}
    assert "gemini-2.5-pro-high" in held and "gemini-2.5-pro-low" not in held


def test_endpoints_count_and_cut_without_the_code_that_judges(first: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [name for name in declared.SERVED if name in first.models]
    for name in names:
        second(first.models[name].vocabulary)  # made ready: some are built from the installed ranks

    def unused(name: str) -> object:
        raise AssertionError("an endpoint asked the judge's tokenizer")

    monkeypatch.setattr(tokenizers, "vocabulary", unused)
    for name in names:
        model = first.models[name]
        reply = endpoint(first, (name,), Gateway()).answer(ask(COPY, 7, stream=True))
        counter = second(model.vocabulary)
        assert counter is not None and reply.usage is not None
        frame = 0 if counter.encode is not None else counter.count("a") - 1  # ctok counts whole messages
        assert reply.usage.prompt_tokens == counter.count(COPY) - frame + model.facts.overhead
        assert reply.finish == "length" and reply.text and counter.count(reply.text) - frame <= 7
        assert "".join(chunk.text for chunk in reply.chunks) == reply.text == COPY.partition(": ")[2][: len(reply.text)]


def test_a_model_says_nothing_where_nothing_was_recorded_of_it(first: Split) -> None:
    llama = first.models["llama-3.3-70b-instruct"]
    for text in (QUESTION, "Write a poem about the sea."):
        assert say(llama, Asked(text, (text,), 50), 0, "s", llama.law).text == ""
    question = next(iter(first.models["gpt-4o"].answers))
    text = next(first.prompts[each.id] for each in first.style.questions if each.sha256 == question)
    assert say(first.models["gpt-4o"], Asked(text, (text,), 4_000), 0, "s", ()).text == first.models["gpt-4o"].answers[question][0].strip()


def test_every_wording_of_a_self_report_is_understood() -> None:
    assert all(WHO.search(text) for row in brands.table()["question"] for text in row["texts"])
    assert text_digest(QUESTION) in PICKS


def test_a_forging_gateway_counts_as_the_claimed_model_and_bears_its_marks(first: Split) -> None:
    cast = ("gpt-4o", "gemma-3-27b-it")
    arm = next(each for each in all_arms() if each.name == "forged-identity-usage")
    forged = endpoint(first, cast, arm.gateway(cast, random.Random(0)))
    genuine, reply = endpoint(first, cast[:1], Gateway()).answer(ask(COPY)), forged.answer(ask(COPY))
    assert forged.answered_by == [1] and reply.usage == genuine.usage
    assert (reply.id or "").startswith("chatcmpl-") and "openai-version" in dict(reply.headers)
    assert "OpenAI" in forged.answer(ask("Which AI model are you?")).text


def test_routes_send_to_the_impostor_what_their_arms_say(first: Split) -> None:
    cast = ("gpt-4o", "llama-3.3-70b-instruct")
    told = {arm.name: arm.gateway(cast, random.Random(0)) for arm in all_arms() if cast in arm.casts}

    def places(name: str, *asks: Ask) -> list[int]:
        served = endpoint(first, cast, told[name])
        asyncio.run(served.ask_all(asks))
        return served.answered_by

    plain, long, stream = ask("Hello"), ask("word " * 400), ask("Hello", stream=True)
    assert places("long-only", plain, long, ask("Hello", 400)) == [0, 1, 1]
    assert places("stream-only", plain, stream) == [0, 1]
    assert places("probe-aware", plain, plain, ask(COPY), ask(QUESTION), long) == [1, 0, 0, 0, 1]
    assert len(set(places("sticky-key", *[plain] * 10))) == 1
    assert 20 <= sum(places("dilution-10", *[plain] * 300)) <= 42
    reflection = ("llama-3.1-70b-instruct", "claude-3-5-sonnet", "gpt-4o", "llama-3.3-70b-instruct")
    switching = endpoint(first, reflection, Gateway(route=Switching((2, 3)), stripped=("Claude",)))
    asyncio.run(switching.ask_all([ask("Repeat: Claude and Walnut")] * 4))
    assert switching.answered_by == [1, 1, 2, 3]
    assert "Claude" not in switching.answer(ask("Repeat: Claude and Walnut")).text


def test_a_cache_repeats_itself_and_a_rewriter_leaves_short_replies_alone(first: Split) -> None:
    cached = endpoint(first, ("gpt-4o",), Gateway(caches=True))
    assert len({cached.answer(ask(QUESTION, 8)).text for _ in range(20)}) == 1
    assert len({endpoint(first, ("gpt-4o",), Gateway(), str(i)).answer(ask(QUESTION, 8)).text for i in range(20)}) > 1
    assert declared.rewritten("OK") == "OK"
    assert "**" not in declared.rewritten("**Bold** — and\n\n- a list\n- of things; " * 20)


async def _over_http(base_url: str, asks: Sequence[Ask]) -> list[Reply]:
    target = Target.parse(base_url, "gpt-4o")
    async with EndpointClient(target, Limits(concurrency=1), cli_policy()) as client:
        return await client.ask_all(asks)


def test_over_http_an_endpoint_says_what_it_says_in_memory(first: Split) -> None:
    asks = [ask(COPY, 9, stream=True), ask("Continue this list: Oxford, Walnut, 고양이", 12, logprobs=5), ask(QUESTION, 8, temperature=1.0)]
    asks.append(ask("Hello", raw='{"temperature": 9}'))
    served, plain = (endpoint(first, ("gpt-4o",), Gateway()) for _ in range(2))
    with serving.serve(served) as base_url:
        over_http = asyncio.run(_over_http(base_url, asks))
    for one, other in zip(over_http, asyncio.run(plain.ask_all(asks)), strict=True):
        for field in ("status", "text", "finish", "usage", "tokens", "id", "system_fingerprint"):
            assert getattr(one, field) == getattr(other, field), field
        assert [chunk.text for chunk in one.chunks] == [chunk.text for chunk in other.chunks]
        assert (one.error is None) == (other.error is None)
    assert served.answered_by == plain.answered_by


def test_an_honest_endpoint_a_swap_and_a_dead_one_come_out_as_they_are(corpora: Path) -> None:
    honest = audit(Job("plain", 6, 0, corpora, True))
    assert honest.outcome == "consistent" and honest.judged_again and honest.impostor_requests == 0
    swap = audit(Job("swap", 1, 0, corpora, True))
    assert swap.cast == ("gpt-4o", "llama-3.3-70b-instruct") and swap.outcome == "inconsistent" and swap.judged_again
    assert swap.family_named and swap.vendor_named and swap.requests <= 25
    assert audit(Job("dead", 0, 0, corpora, True)).outcome == COULD_NOT_RUN
    empty = audit(Job("content-free", 0, 0, corpora, True))
    assert empty.outcome == "inconclusive"
    result = summarised([arm for arm in all_arms() if arm.name in ("plain", "swap", "content-free")], [honest, swap, empty], 0)
    assert result["honest"]["accused"] == 0 and result["cheats"]["swap"]["inconsistent"] == 1
    assert result["judged_again"] == {"transcripts": 3, "same": 3}
    assert "| swap | 1 | 1 |" in table(result)


def test_the_summary_counts_only_audits_in_which_somebody_posed() -> None:
    def row(arm: str, trial: int, outcome: str, posed: int, **fields: Any) -> Row:
        cast = ("gpt-4o", "gemma-3-27b-it")
        named = (True, True, True, None)
        plain = Row(arm, trial, 0, 0, cast, outcome, None, posed, 20, 500, *named, (), (), (), None, posed / 20, (), (), None)
        return replace(plain, **fields)

    told = {arm.name: arm for arm in all_arms()}
    rows = [row("sticky-key", 0, "inconsistent", 20), row("sticky-key", 1, "consistent", 0), row("sticky-key", 2, "inconclusive", 20)]
    rows += [
        row("dilution-10", 0, "inconclusive", 2, mixture={"low": 0.05, "high": 0.2}),
        row("dilution-10", 1, "inconclusive", 2, mixture={"low": 0.2, "high": 0.4}),
    ]
    rows += [row("reflection-deep", 0, "inconsistent", 20, switches=(9, 80), true_switches=(15, 40))]
    result = summarised([told["sticky-key"], told["dilution-10"], told["reflection-deep"]], rows, 0)
    sticky = result["cheats"]["sticky-key"]
    assert (sticky["audits"], sticky["inconsistent"], sticky["without_an_impostor"], sticky["accused_without_an_impostor"]) == (2, 1, 1, 0)
    mixture = result["mixtures"]["dilution-10"]
    assert (mixture["share"], mixture["covered"], mixture["covered_as_drawn"], mixture["covered_share"]) == (0.1, 1, 1, 0.5)
    switched = result["switches"]["reflection-deep"]
    assert (switched["both_dated"], switched["dated"], switched["true"], switched["false_dates"]) == (0, 1, 2, 1)
    assert [each["trial"] for each in result["failures"]["sticky-key"]] == [2]


def test_models_of_the_benchmark_are_in_the_catalog_with_a_second_tokenizer() -> None:
    for name in MODELS:
        found = catalog.find(name.partition(",")[0])
        assert found is not None and second(str(found.tokenizer)) is not None
