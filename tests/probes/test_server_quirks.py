"""What real servers do that a probe might take for a cheat: each ends as "not tested" with its cause, or is read rightly.

Every arm is an honest endpoint seen in recordings of real servers and vendors, replayed on simulated replies: no channel may ever hold
an e-value above 1 against it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import random
import tarfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from benchmarks.simulated import Endpoint
from fingerprints import tokenizers
from probes.plan import Plan
from probes.probe import Ask, Chunk, Evidence, Reply, ReplyError, Usage
from probes.stream import StreamProbe
from probes.truncation import TruncationProbe
from probes.usage import UsageProbe
from tests.endpoints import answer, claim_of
from verifier.endpoint.wires.base import WireError
from verifier.endpoint.wires.openai import OpenAIChat

Quirk = Callable[[Reply], Reply]
NAMES = ("o200k", "llama3", "smollm", "qwen2.5", "gemma3")
SEEDS = range(6)


@cache
def asks(seed: int, trials: int) -> tuple[Ask, ...]:
    return tuple(TruncationProbe(Plan(seed=seed, claim=None, echo_trials=trials)).next_round([]))


def texts(name: str, quirk: Quirk, seed: int = 0, trials: int = 6, asked: int = 0) -> tuple[Evidence, Evidence]:
    """Evidence of both text channels on an honest endpoint with `quirk`, whose engine is asked for `asked` tokens more than it should."""
    plan = Plan(seed=seed, claim=claim_of(name), echo_trials=trials)
    sent = [dataclasses.replace(ask, max_tokens=ask.max_tokens + asked) for ask in asks(seed, trials)]
    got = [dataclasses.replace(reply, ask=ask) for reply, ask in zip(answer(Endpoint(name), sent), asks(seed, trials), strict=True)]
    replies = [quirk(reply) for reply in got]
    return TruncationProbe(plan).read(replies), StreamProbe(plan).read(replies)


def counts(name: str, change: Callable[[int, Reply], Reply], seed: int = 3) -> Evidence:
    """Evidence of the usage channel on an honest endpoint; `change(i, reply)` alters the i-th reply."""
    probe = UsageProbe(Plan(seed=seed, claim=claim_of(name)))
    replies: list[Reply] = []
    while asked := probe.next_round(replies):
        replies += [change(len(replies) + i, reply) for i, reply in enumerate(answer(Endpoint(name), asked))]
    return probe.read(replies)


def harmless(*found: Evidence) -> None:
    """No e-value above 1, no mismatch told, and what is not tested says why."""
    for evidence in found:
        assert evidence.log_e <= 0.0, evidence
        assert not evidence.tested or evidence.why_not is None
        assert evidence.tested or evidence.why_not
        assert [f for f in evidence.findings if f.code == "tokenizer-mismatch" and f.strength != "weak"] == []


def emptied(reply: Reply) -> Reply:
    return dataclasses.replace(reply, text="", chunks=())


def shown(reply: Reply, text: str, **fields: object) -> Reply:
    """The reply with another text, streamed in one piece."""
    return dataclasses.replace(reply, text=text, chunks=(Chunk(text, 0.0),), **fields)  # type: ignore[arg-type]


# Hidden reasoning.


@pytest.mark.parametrize("name", NAMES)
def test_thought_that_eats_the_whole_limit_is_named(name: str) -> None:
    def quirk(reply: Reply) -> Reply:
        return dataclasses.replace(emptied(reply), usage=Usage(40, reply.ask.max_tokens, None, reply.ask.max_tokens))

    cuts, edges = texts(name, quirk)
    harmless(cuts, edges)
    assert not cuts.tested and "hidden reasoning" in str(cuts.why_not)
    assert not edges.tested


def test_thought_that_eats_the_whole_limit_unreported_is_named_as_a_possibility() -> None:
    cuts, _ = texts("o200k", lambda reply: dataclasses.replace(emptied(reply), usage=Usage(40, reply.ask.max_tokens)))
    assert not cuts.tested and "reasoning" in str(cuts.why_not)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", range(12))
def test_unreported_thought_that_eats_a_part_of_the_limit_is_no_evidence(name: str, seed: int) -> None:
    """Every copy stops some tokens early; no vocabulary explains the ends, and chance hits of one must not count."""
    plan = Plan(seed=seed, claim=claim_of(name), echo_trials=6)
    drawn = random.Random(seed)
    sent = [dataclasses.replace(ask, max_tokens=drawn.randint(2, ask.max_tokens)) for ask in asks(seed, 6)]
    got = [dataclasses.replace(reply, ask=ask) for reply, ask in zip(answer(Endpoint(name), sent), asks(seed, 6), strict=True)]
    harmless(TruncationProbe(plan).read(got), StreamProbe(plan).read(got))


def test_ends_anywhere_hit_a_vocabulary_by_chance_alone() -> None:
    """Characters at random: an e-value may exceed 1 by chance, but its mean may not."""
    values = []
    for seed in range(40):
        drawn = random.Random(seed)

        def quirk(reply: Reply, drawn: random.Random = drawn) -> Reply:
            return dataclasses.replace(reply, text=reply.text[: drawn.randint(4, max(5, len(reply.text) - 1))])

        cuts, _ = texts(NAMES[seed % len(NAMES)], quirk, seed % 6)
        values.append(math.exp(cuts.log_e))
    assert sum(values) / len(values) < 1.0
    assert max(values) < 20.0


def test_thinking_aloud_is_named() -> None:
    cuts, edges = texts("qwen2.5", lambda reply: shown(reply, "<think>\nOkay, the user wants me to repeat"))
    harmless(cuts, edges)
    assert "thinks aloud" in str(cuts.why_not)


def test_counts_of_a_reasoning_model_are_read_all_the_same() -> None:
    found = counts("o200k", lambda i, reply: dataclasses.replace(emptied(reply), finish="length"))
    assert found.supports_claim and found.log_e <= 0.0


def test_a_reasoning_model_that_refuses_a_limit_of_one_token_is_named() -> None:
    text = "HTTP 400: Could not finish the message because max_tokens or model output limit was reached"
    found = counts("o200k", lambda i, reply: Reply(reply.ask, status=400, error=ReplyError("bad-request", text)))
    assert not found.tested and "Could not finish" in str(found.why_not)


# Models that do not repeat.


@pytest.mark.parametrize("text", ["I'm sorry, but I can't repeat that string.", "Repeat this string exactly: X", "Sure! Here it is:"])
def test_a_model_that_does_not_repeat_is_named(text: str) -> None:
    cuts, edges = texts("smollm", lambda reply: shown(reply, text))
    harmless(cuts, edges)
    assert not cuts.tested and "does not copy" in str(cuts.why_not)


# Token limits.


@pytest.mark.parametrize("after", ["", "\n\nLet me know if I can help with anything else!", " " + "again " * 60])
@pytest.mark.parametrize("finish", ["stop", "length"])
def test_a_server_that_ignores_the_limit_is_named(after: str, finish: str) -> None:
    cuts, edges = texts("llama3", lambda reply: shown(reply, reply.ask.payload + after, finish=finish))
    harmless(cuts, edges)
    assert not cuts.tested and "token limit" in str(cuts.why_not)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_gateway_that_raises_small_limits_to_sixteen_is_no_evidence(name: str, seed: int) -> None:
    """OpenAI's Responses API takes no less than 16, so gateways in front of it must raise what they are asked for."""
    plan = Plan(seed=seed, claim=claim_of(name), echo_trials=6)
    sent = [dataclasses.replace(ask, max_tokens=max(16, ask.max_tokens)) for ask in asks(seed, 6)]
    got = [dataclasses.replace(reply, ask=ask) for reply, ask in zip(answer(Endpoint(name), sent), asks(seed, 6), strict=True)]
    harmless(TruncationProbe(plan).read(got), StreamProbe(plan).read(got))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("asked", [-1, 1])
def test_an_end_token_that_counts_or_not_moves_every_cut_alike_and_is_read_rightly(name: str, asked: int) -> None:
    cuts, edges = texts(name, lambda reply: reply, asked=asked)
    harmless(cuts, edges)
    assert cuts.supports_claim


@pytest.mark.parametrize("finish", [None, "stop", "eos", "model_length", "incomplete"])
def test_a_cut_that_does_not_call_itself_one_is_not_tested(finish: str | None) -> None:
    cuts, _ = texts("o200k", lambda reply: dataclasses.replace(reply, finish=finish))
    harmless(cuts)
    assert not cuts.tested and "token limit" in str(cuts.why_not)


# Prompt caches.


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("apart", [False, True], ids=["cached-included", "cached-apart"])
def test_cached_tokens_inside_or_beside_the_count_are_read_rightly(name: str, apart: bool) -> None:
    def change(i: int, reply: Reply) -> Reply:
        assert reply.usage is not None and reply.usage.prompt_tokens is not None
        total = reply.usage.prompt_tokens
        kept = 0 if i == 0 else total - 1 if reply.ask.key == "usage/base/2" else 12
        return dataclasses.replace(reply, usage=Usage(total - kept if apart else total, 1, kept))

    found = counts(name, change)
    assert found.supports_claim and found.log_e <= 0.0, found


@pytest.mark.parametrize("name", NAMES)
def test_a_cache_that_is_left_out_of_the_count_without_a_word_is_named(name: str) -> None:
    def change(i: int, reply: Reply) -> Reply:
        assert reply.usage is not None and reply.usage.prompt_tokens is not None
        total = reply.usage.prompt_tokens
        kept = 0 if i == 0 else total - 1 if reply.ask.key == "usage/base/2" else 12
        return dataclasses.replace(reply, usage=Usage(total - kept, 1))

    found = counts(name, change)
    harmless(found)
    assert not found.tested and "cache" in str(found.why_not)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kept", [12, 31])
def test_a_cache_that_only_the_questions_hit_is_no_evidence(name: str, kept: int) -> None:
    def change(i: int, reply: Reply) -> Reply:
        assert reply.usage is not None and reply.usage.prompt_tokens is not None
        left = 0 if "/base/" in reply.ask.key else kept
        return dataclasses.replace(reply, usage=Usage(reply.usage.prompt_tokens - left, 1))

    harmless(counts(name, change))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", SEEDS)
def test_counts_that_have_nothing_to_do_with_the_text_are_no_evidence(name: str, seed: int) -> None:
    drawn = random.Random(seed)

    def change(i: int, reply: Reply) -> Reply:
        assert reply.usage is not None and reply.usage.prompt_tokens is not None
        return reply if "/base/" in reply.ask.key else dataclasses.replace(reply, usage=Usage(20 + drawn.randint(0, 200), 1))

    harmless(counts(name, change, seed))


def test_a_copy_that_a_cache_changed_is_refused_and_the_others_are_read() -> None:
    def quirk(reply: Reply) -> Reply:
        return shown(reply, "Something else entirely") if reply.ask.key in ("truncation/2", "truncation/5") else reply

    cuts, edges = texts("llama3", quirk)
    harmless(cuts, edges)
    assert cuts.supports_claim and cuts.rounds == 4


# Streams.


@pytest.mark.parametrize("name", NAMES)
def test_a_stream_that_comes_in_one_piece_is_named(name: str) -> None:
    _, edges = texts(name, lambda reply: shown(reply, reply.text))
    harmless(edges)
    assert not edges.tested and "too few" in str(edges.why_not)


def test_a_server_that_does_not_stream_at_all_is_named() -> None:
    _, edges = texts("llama3", lambda reply: dataclasses.replace(reply, chunks=()))
    assert not edges.tested and "nothing came in chunks" in str(edges.why_not)


@pytest.mark.parametrize("name", NAMES)
def test_empty_pieces_and_a_last_piece_of_nothing_change_nothing(name: str) -> None:
    def quirk(reply: Reply) -> Reply:
        return dataclasses.replace(reply, chunks=(Chunk("", 0.0), *reply.chunks, Chunk("", 0.0)))

    assert texts(name, quirk)[1] == texts(name, lambda reply: reply)[1]


# The same facts in what real servers sent.

SERVED = {"smollm2": "smollm", "qwen25coder": "qwen2.5", "gemma3-270m": "gemma3"}
"""Names of recorded servers end in the model that they served."""
FORCED = ("logit_bias", "json_mode")
"""Questions whose answers the server forced into other tokens than the text's own."""


@cache
def _recorded(archive: Path) -> list[tuple[str, str, str, str, Usage]]:
    """(server, vocabulary, finish, text, usage) of every plain chat completion that a real server gave of its own accord."""
    rows = []
    with tarfile.open(archive) as tar:
        for member in tar:
            server = member.name.split("/")[1] if member.name.count("/") > 1 else ""
            name = next((name for end, name in SERVED.items() if server.endswith(end)), None)
            file = tar.extractfile(member) if name is not None and not any(word in member.name for word in FORCED) else None
            if name is None or file is None:
                continue
            head, _, body = file.read().decode("utf-8", "replace").partition("\n<\n")
            if "/v1/chat/completions" in head and " 200 OK" in head and "event-stream" not in head:
                with contextlib.suppress(WireError):
                    said = OpenAIChat().parse(body.encode())
                    if said.usage is not None and said.finish is not None:
                        rows.append((server, name, said.finish, said.text, said.usage))
    return rows


@pytest.mark.replay
def test_real_servers_cut_exactly_where_their_tokens_reach_the_limit(shared: Path) -> None:
    cut = [row for row in _recorded(shared / "recorded" / "servers.tar.gz") if row[2] == "length"]
    assert len(cut) > 60 and len({server for server, *_ in cut}) >= 6
    off = [(usage.completion_tokens or 0) - tokenizers.vocabulary(name).count(text) for _, name, _, text, usage in cut]
    assert set(off) <= {0, 1} and off.count(0) >= len(off) - 1


@pytest.mark.replay
def test_real_servers_count_an_end_token_or_not_and_each_does_so_always(shared: Path) -> None:
    ended: dict[str, set[int]] = {}
    for server, name, finish, text, usage in _recorded(shared / "recorded" / "servers.tar.gz"):
        if finish == "stop" and usage.completion_tokens is not None:
            ended.setdefault(server.split("_")[0], set()).add(usage.completion_tokens - tokenizers.vocabulary(name).count(text))
    assert ended["xllamacpp"] == {1} and ended["dasllama"] == {0}
    assert all(offsets <= {0, 1} for offsets in ended.values())


@pytest.mark.replay
def test_real_servers_count_cached_tokens_inside_the_prompt(shared: Path) -> None:
    usages = [usage for *_, usage in _recorded(shared / "recorded" / "servers.tar.gz") if usage.cached_tokens]
    assert len(usages) > 60
    assert all((usage.cached_tokens or 0) < (usage.prompt_tokens or 0) for usage in usages)
