"""What the protocol probe asks, in what order, and what it may and may not say."""

from __future__ import annotations

import dataclasses
import json
import random
import re
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fingerprints import tokenizers, wordings
from fingerprints.catalog import claim
from probes.plan import Plan
from probes.probe import Ask, Block, Evidence, Reply, ReplyError, Usage
from probes.protocol import ProtocolProbe

Answer = Callable[[Ask], Reply]
GPT = "gpt-4o"


def probe(claimed: str | None = GPT, asks: int = 6, wire: str = "openai") -> ProtocolProbe:
    return ProtocolProbe(Plan(seed=5, claim=claim(claimed) if claimed else None, protocol_asks=asks, wire=wire))


def story(tokens: int, name: str, about: str = "") -> str:
    """Prose of so many tokens of a vocabulary, ending in the middle of a sentence."""
    words = f"once {about} upon a time there was a quiet harbor and in it a small boat that nobody had ever seen before ".split()
    text, drawn = "", random.Random(about)
    while tokenizers.vocabulary(name).count(text) < tokens:
        text += " " + drawn.choice(words)
    return text.strip()


@dataclasses.dataclass
class Host:
    """An endpoint that answers everything: `cap` limits replies, `keep` the words of a prompt that are read."""

    tokenizer: str = "o200k"
    cap: int | None = None
    keep: int | None = None
    hidden: int = 40
    scale: float = 1.0
    seconds: float = 1.0
    usage: bool = True
    relabel: bool = False
    reasoning: int = 0
    weak: bool = False
    model_ends: int | None = None
    """Tokens after which the model ends a story by itself."""

    def __call__(self, ask: Ask) -> Reply:
        prompt = " ".join(ask.messages[0][1].split(" ")[-self.keep :]) if self.keep else ask.messages[0][1]
        limit = min(ask.max_tokens, self.cap or ask.max_tokens)
        if "/output/" in ask.key:
            room = min(limit, self.model_ends or limit) - self.reasoning
            text = story(max(0, room), self.tokenizer, ask.payload) if room > 0 else ""
            finish = "stop" if self.model_ends or self.relabel else "length"
            text += "." if self.model_ends else ""
        else:
            named = [name for name in ask.payload.split() if name in prompt]
            text, finish = " ".join(named[-1:] if self.weak else named) or "OK", "stop"
        count = tokenizers.vocabulary(self.tokenizer).count
        usage = Usage(round((count(prompt) + self.hidden) * self.scale), round((count(text) + self.reasoning) * self.scale))
        shown = dataclasses.replace(usage, reasoning_tokens=self.reasoning or None)
        return Reply(ask, status=200, text=text, finish=finish, usage=shown if self.usage else None, seconds=self.seconds)


def refusal(ask: Ask, text: str, kind: str = "bad-request") -> Reply:
    return Reply(ask, status=400, error=ReplyError(kind, f"HTTP 400: {text}"), seconds=0.2)


def run(one: ProtocolProbe, answer: Answer) -> tuple[Evidence, list[Reply]]:
    replies: list[Reply] = []
    while asks := one.next_round(replies):
        replies += [answer(ask) for ask in asks]
    return one.read(replies), replies


def codes(found: Evidence) -> list[str]:
    return [finding.code for finding in found.findings]


def keys(replies: list[Reply]) -> list[str]:
    return [reply.ask.key.removeprefix("protocol/") for reply in replies]


# What is asked.


@pytest.mark.parametrize(("asks", "most"), [(0, 0), (6, 6), (12, 12)])
def test_a_suite_is_never_asked_more_than_its_size(asks: int, most: int) -> None:
    for host in (Host(), Host(cap=50), Host(seconds=30), lambda ask: refusal(ask, "no") if ask.raw else Host()(ask)):
        _, replies = run(probe(asks=asks), host)
        assert len(replies) <= most


def test_quick_asks_nothing_and_says_that_nothing_was_tested() -> None:
    found, _ = run(probe(asks=0), Host())
    assert not found.tested and "asks nothing" in str(found.why_not)
    assert "ended before" in str(probe(asks=6).read([]).why_not)


@pytest.mark.parametrize("wire", ["openai", "responses", "anthropic", "gemini"])
def test_wrong_types_are_the_last_questions_on_every_wire(wire: str) -> None:
    _, replies = run(probe(asks=12, wire=wire), lambda ask: refusal(ask, "no") if ask.raw else Host()(ask))
    asked = keys(replies)
    assert asked[-2:] == ["type/temperature", "type/max_tokens"]
    assert asked.index("context/long") == len(asked) - 3
    assert all(isinstance(json.loads(reply.ask.raw), dict) for reply in replies if reply.ask.raw is not None)


def test_a_server_that_a_question_brought_down_is_asked_nothing_more() -> None:
    def dies(ask: Ask) -> Reply:
        return Reply(ask, error=ReplyError("unreachable", "closed")) if "type/" in ask.key else Host()(ask)

    found, replies = run(probe(asks=12), dies)
    assert sum("type/" in key for key in keys(replies)) == 1
    assert found.tested and found.findings == ()


def test_a_huge_token_limit_is_sent_only_where_values_are_checked() -> None:
    _, lenient = run(probe(asks=12), Host())
    _, strict = run(probe(asks=12), lambda ask: refusal(ask, "temperature") if ask.raw else Host()(ask))
    assert "range/output" not in keys(lenient) and "range/output" in keys(strict)


def test_a_second_long_reply_is_asked_for_only_where_the_first_was_cut() -> None:
    assert "output/2" not in keys(run(probe(), Host())[1])
    assert "output/2" in keys(run(probe(), Host(cap=64))[1])


@pytest.mark.parametrize(("claimed", "words"), [(GPT, 5000), ("claude-sonnet-4", 5000), ("llama-3.1-8b-instruct", 2000), (None, 2000)])
def test_the_long_prompt_fits_the_claimed_models_context(claimed: str | None, words: int) -> None:
    _, replies = run(probe(claimed), Host())
    (long,) = [reply.ask for reply in replies if reply.ask.key == "protocol/context/long"]
    text = long.messages[0][1]
    assert len(text.split()) >= words
    window = wordings.context_window(claim(claimed).family) if claimed else None
    names = tokenizers.names() if window else [name for name in tokenizers.names() if not name.startswith("claude")]
    assert max(tokenizers.vocabulary(name).count(text) for name in names) + 200 < (window or 4096)


def test_a_slow_endpoint_is_asked_shorter_questions_and_a_very_slow_one_says_so() -> None:
    _, replies = run(probe(), Host(seconds=4.0))
    assert [reply.ask.max_tokens for reply in replies if "/output/" in reply.ask.key] == [128]
    found, replies = run(probe(), Host(seconds=20.0))
    assert not any("/output/" in key or key.endswith("context/long") for key in keys(replies))
    said = [str(row["measured"]) for row in found.measured]
    assert sum("too slow" in text for text in said) == 2 and found.findings == ()


# Never against an honest endpoint.

HONEST = {
    "plain": Host(),
    "hidden prompt": Host(hidden=900),
    "half the usage": Host(scale=0.5),
    "more usage": Host(scale=2.3),
    "no usage": Host(usage=False),
    "weak": Host(weak=True),
    "ends by itself": Host(model_ends=90),
    "reported reasoning": Host(reasoning=300),
    "all reasoning": Host(reasoning=1000),
    "slow": Host(seconds=5.0),
}


@pytest.mark.parametrize("name", HONEST)
@pytest.mark.parametrize("asks", [6, 12])
def test_an_honest_endpoint_gets_no_finding(name: str, asks: int) -> None:
    found, _ = run(probe(asks=asks), HONEST[name])
    assert found.findings == () and found.tested
    assert found.log_e == 0.0 and found.log_likelihood == {} and found.block is Block.SURFACE


@pytest.mark.parametrize(
    "text", ["OK", "I am sorry but I only talk about cooking here and never tell stories of any other kind to anybody, ever"]
)
def test_one_canned_reply_to_everything_is_not_called_cut(text: str) -> None:
    found, _ = run(probe(), lambda ask: dataclasses.replace(Host()(ask), text=text, finish="stop"))
    assert found.findings == ()


@pytest.mark.parametrize("true", ["claude4.7", "llama2", "smollm", "gemma3"])
def test_a_model_with_another_vocabulary_is_not_called_cut(true: str) -> None:
    found, _ = run(probe(), Host(tokenizer=true))
    assert found.findings == ()


def test_unreported_reasoning_that_eats_the_limit_is_not_called_cut() -> None:
    eaten = {"protocol/output/1": 250, "protocol/output/2": 180}

    def thinks(ask: Ask) -> Reply:
        reply = Host()(ask)
        if ask.key not in eaten:
            return reply
        return dataclasses.replace(reply, text=story(ask.max_tokens - eaten[ask.key], "o200k", ask.payload))

    for usage in (True, False):
        found, _ = run(probe(), lambda ask, usage=usage: thinks(ask) if usage else dataclasses.replace(thinks(ask), usage=None))  # type: ignore[misc]
        assert found.findings == ()


def test_growth_of_prompts_is_the_same_in_every_vocabulary() -> None:
    one = probe(None)
    short = Reply(one._context("short", 240), seconds=1.0)
    output = one._output(1, short)
    assert output is not None
    texts = [ask.messages[0][1] for ask in (output, short.ask, one._context("long", 1200))]
    counts = [[tokenizers.vocabulary(name).count(text) for text in texts] for name in tokenizers.names()]
    growth = [(many - few) / (few - none) for none, few, many in counts]
    assert min(growth) / max(growth) > 0.85


# What is found.


@pytest.mark.parametrize("claimed", [GPT, "claude-sonnet-4", "llama-3.1-8b-instruct"])
@pytest.mark.parametrize("cap", [32, 64, 128, 256])
def test_a_cap_on_replies_is_found(claimed: str, cap: int) -> None:
    name = claim(claimed).tokenizer
    assert name is not None
    found, _ = run(probe(claimed), Host(tokenizer=name, cap=cap))
    assert codes(found) == ["output-truncated"] and found.log_e == 0.0
    (said,) = found.findings
    assert said.strength == "moderate"
    assert abs(int(re.findall(r"about (\d+) tokens", said.text)[0]) - cap) <= 2


def test_a_cap_that_calls_itself_an_end_is_a_weak_finding() -> None:
    found, _ = run(probe(), Host(cap=64, relabel=True))
    assert [(finding.code, finding.strength) for finding in found.findings] == [("output-truncated", "weak")]


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.7])
def test_a_prompt_whose_first_half_is_dropped_is_found_whatever_the_counts_are_multiplied_by(scale: float) -> None:
    found, _ = run(probe(), Host(keep=2600, scale=scale))
    assert [(finding.code, finding.strength) for finding in found.findings] == [("context-truncated", "moderate")]


def test_a_missing_code_word_alone_is_no_sign_of_a_cut() -> None:
    def forgets(ask: Ask) -> Reply:
        reply = Host()(ask)
        return dataclasses.replace(reply, text=ask.payload.split()[-1]) if ask.key.endswith("context/long") else reply

    assert run(probe(), forgets)[0].findings == ()


def test_missing_counts_alone_are_no_sign_of_a_cut() -> None:
    def undercounts(ask: Ask) -> Reply:
        reply = Host()(ask)
        return dataclasses.replace(reply, usage=Usage(900, 20)) if ask.key.endswith("context/long") else reply

    assert run(probe(), undercounts)[0].findings == ()


LLAMACPP = "request (5976 tokens) exceeds the available context size (4096 tokens), try increasing it"


@pytest.mark.parametrize(("claimed", "said"), [(GPT, ["context-truncated", "foreign-marker"]), ("llama-3.1-8b-instruct", []), (None, [])])
def test_a_stated_context_far_below_the_vendors_is_told_of_models_that_only_the_vendor_serves(claimed: str | None, said: list[str]) -> None:
    found, _ = run(probe(claimed), lambda ask: refusal(ask, LLAMACPP) if ask.key.endswith("/long") else Host()(ask))
    assert codes(found) == said
    assert 4096 in [row.get("stated_limit") for row in found.measured]


@pytest.mark.parametrize(
    ("text", "strength"),
    [
        ("max_tokens: 10000000 > 8192, which is the maximum allowed number of output tokens for claude-3-5-haiku-20241022", "moderate"),
        ("litellm.BadRequestError: OpenAIException - Field 'max_tokens': [json.exception.type_error.302] type must be number", "moderate"),
        ("temperature: range: 0..1", "weak"),
        ("Invalid 'temperature': decimal above maximum value. Expected a value <= 2, but got 9 instead.", None),
        ("1 validation error: Input should be a valid integer", None),
        ("Failed to deserialize the JSON body into the target type: max_tokens: invalid type", None),
        ("the gateway does not like this", None),
    ],
)
def test_refusals_in_anothers_words_are_told_and_a_frameworks_are_not(text: str, strength: str | None) -> None:
    found, _ = run(probe(GPT), lambda ask: refusal(ask, text) if ask.raw else Host()(ask))
    assert [finding.strength for finding in found.findings if finding.code == "foreign-marker"] == ([strength] if strength else [])
    open_weights, _ = run(probe("llama-3.1-8b-instruct"), lambda ask: refusal(ask, text) if ask.raw else Host(tokenizer="llama3")(ask))
    assert open_weights.findings == ()  # whoever serves open weights chooses the software


@pytest.mark.parametrize(("finish", "claimed", "told"), [("pause_turn", GPT, True), ("pause_turn", "claude-opus-4", False)])
def test_another_vendors_finish_reason_is_a_weak_mark(finish: str, claimed: str, told: bool) -> None:
    found, _ = run(probe(claimed), lambda ask: dataclasses.replace(Host()(ask), finish=finish) if "short" in ask.key else Host()(ask))
    assert [(f.code, f.strength) for f in found.findings if f.code == "foreign-marker"] == ([("foreign-marker", "weak")] if told else [])


def test_one_text_for_two_questions_that_names_the_words_of_one_is_a_cached_reply() -> None:
    kept: list[str] = []

    def caches(ask: Ask) -> Reply:
        reply = Host()(ask)
        if "/context/" in ask.key:
            kept.append(reply.text)
            return dataclasses.replace(reply, text=kept[0])
        return reply

    assert "cached-replies" in codes(run(probe(), caches)[0])


def test_speed_is_a_row_and_never_a_finding() -> None:
    found, _ = run(probe(), Host(seconds=2.5))
    (row,) = [row for row in found.measured if row["key"] == "protocol/speed"]
    assert row["measured"] == 2.5 and row["tokens_per_second"] > 0 and found.findings == ()


def test_every_row_has_what_a_report_shows() -> None:
    found, _ = run(probe(asks=12), lambda ask: refusal(ask, "no") if ask.raw else Host()(ask))
    assert all({"key", "measured", "predicted"} <= set(row) and row["predicted"] == {} for row in found.measured)
    json.dumps(found.measured, allow_nan=False)


@settings(max_examples=25, deadline=None)
@given(
    st.text(max_size=80),
    st.sampled_from(["stop", "length", "refusal", "", None]),
    st.one_of(st.none(), st.builds(Usage, *[st.one_of(st.none(), st.integers(0, 10**7))] * 4)),
    st.one_of(st.none(), st.text(max_size=80)),
    st.floats(0, 1e6),
)
def test_hostile_replies_never_break_it(text: str, finish: str | None, usage: Usage | None, error: str | None, seconds: float) -> None:
    failed = None if error is None else ReplyError("bad-request", error)
    found, replies = run(
        probe(asks=12), lambda ask: Reply(ask, status=200, text=text, finish=finish, usage=usage, error=failed, seconds=seconds)
    )
    assert found.log_e == 0.0 and len(replies) <= 12
    json.dumps(found.measured, allow_nan=False)
