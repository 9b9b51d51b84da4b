"""How does the endpoint treat limits and requests of the wrong shape: long prompts, long replies, values out of range, wrong types?

Asks a handful of questions one at a time, those that may bring a server down last of all. What it finds is news for the reader
(a cut prompt, a cut reply, another vendor's words): a host may configure all of it, so nothing here is ever evidence against a claim.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

from fingerprints import catalog, strings, wordings
from probes import protocol_limits as limits
from probes.plan import Plan
from probes.probe import JSON, Ask, Block, Evidence, Finding, Reply

PLAIN = "Answer with the word OK only."
SHORT_WORDS, LONG_WORDS, LONG_WORDS_SOLD = 240, (2400, 1200), 5200
"""Words of filler in the short prompt, in the long one (the longest that the endpoint is fast enough for), and in the long one of a
model whose vendor states a context far above it. A word is 1.13 (minimax) to 1.60 (llama2) tokens, 2.63 for Claude 4.7, over the 23
vocabularies: 2400 words stay under 4096 tokens with every vocabulary of open weights (smollm 2,960), 5200 under 14,000 with any."""
WORDS_A_LINE = 12
NAMES_TOKENS = 48
"""Room for three code words; the costliest vocabulary takes 27."""
REPLY_TOKENS = {"standard": 384, "deep": 768, "slow": 128}
"""Token limits of the long reply. A cap above four fifths of them goes unseen."""
STORY_WORDS_A_TOKEN = 1.3
"""Words asked for per token of the limit: no vocabulary writes English in less than one token a word, so the limit ends the story."""
PATIENCE_S = 15.0
"""Seconds that one question may be expected to take: an audit's requests end after 25 s by default."""
LATENCY_S = 2.0
"""Seconds of the short prompt's reply that do not grow with the prompt."""
SLOW_S, TOO_SLOW_S = 3.0, 10.0
"""Seconds for the short prompt from which long replies are asked for with the slow limit, and from which with none. SmolLM2 on one
thread of a loaded machine (load 7): 7.6 s for the short prompt, 6 s for 112 tokens."""
DEEP_ASKS = 12
_ORDINALS = ("first", "second", "third")
_HUGE = 10_000_000
_STOP = ["OK", " ", "\n", "."]
"""Ends the reply of a server that takes a huge token limit at its first word."""

WRONG: dict[str, dict[str, JSON]] = {
    "openai": {
        "range/temperature": {"temperature": 9},
        "range/output": {"max_tokens": _HUGE, "stop": _STOP},
        "role": {},
        "type/temperature": {"temperature": "hot"},
        "type/max_tokens": {"max_tokens": "many"},
    },
    "responses": {
        "range/temperature": {"temperature": 9},
        "range/output": {"max_output_tokens": _HUGE},
        "type/temperature": {"temperature": "hot"},
        "type/max_tokens": {"max_output_tokens": "many"},
    },
    "anthropic": {
        "range/temperature": {"temperature": 9},
        "range/output": {"max_tokens": _HUGE, "stop_sequences": _STOP[:1]},
        "type/temperature": {"temperature": "hot"},
        "type/max_tokens": {"max_tokens": "many"},
    },
    "gemini": {
        "range/temperature": {"generationConfig": {"temperature": 9, "maxOutputTokens": 1}},
        "range/output": {"generationConfig": {"maxOutputTokens": _HUGE, "stopSequences": _STOP[:1]}},
        "type/temperature": {"generationConfig": {"temperature": "hot", "maxOutputTokens": 1}},
        "type/max_tokens": {"generationConfig": {"maxOutputTokens": "many"}},
    },
}
"""Request fields that no endpoint should take, per wire. dasllama 0.6.6 dies of the wrong types: these come last."""


class ProtocolProbe:
    """Records limits, error wordings and finish reasons; its e-value is always 1."""

    name = "protocol"
    block = Block.SURFACE
    reads: tuple[str, ...] = ("protocol",)
    goal = "Are long prompts and long replies cut, and in whose words are wrong requests refused?"

    def __init__(self, plan: Plan, patience_s: float = PATIENCE_S) -> None:
        self.plan = plan
        self.patience_s = patience_s
        self.size, self.wire = plan.protocol_asks, str(plan.wire)
        self.family = plan.claim.family if plan.claim is not None else None
        model = catalog.find(plan.claim.model) if plan.claim is not None else None
        self.vendor = model.vendor if model is not None else None

    def next_round(self, replies: Sequence[Reply]) -> Sequence[Ask]:
        """One question at a time: each tells whether the next is worth asking, and none after one that broke the connection."""
        mine = {reply.ask.key: reply for reply in replies if reply.ask.probe == self.name}
        broken = any(reply.error is not None and reply.error.kind == "unreachable" for reply in mine.values())
        if not broken and len(mine) < self.size:
            for ask in self._sequence(mine):
                if ask.key not in mine:
                    return [ask]
        return []

    def read(self, replies: Sequence[Reply]) -> Evidence:
        """Findings and measurements; never evidence for or against the claim."""
        mine = [reply for reply in replies if reply.ask.probe == self.name]
        if not any(reply.status is not None for reply in mine):
            none = "the audit ended before its questions" if self.size else "this suite asks nothing about limits and errors"
            why = "no question about limits was answered" if mine else none
            return Evidence(self.name, self.block, tested=False, why_not=why, requests=len(mine))
        by_key = {reply.ask.key: reply for reply in mine}
        output = limits.output(
            [by_key[key] for key in ("protocol/output/1", "protocol/output/2") if key in by_key], self.plan.claimed_tokenizer
        )
        base, short, long = (by_key.get(f"protocol/{key}") for key in ("output/1", "context/short", "context/long"))
        context = limits.context(base, short, long, self.plan.claimed_tokenizer, wordings.context_window(self.family))
        rows = [*output.rows, *context.rows, *(self._error_row(reply) for reply in mine if reply.ask.raw is not None), *limits.speed(mine)]
        findings = [*output.findings, *context.findings, *self._foreign(mine), *limits.repeated(mine)]
        return Evidence(self.name, self.block, tested=True, requests=len(mine), findings=tuple(findings), measured=tuple(rows))

    def _sequence(self, mine: dict[str, Reply]) -> Iterator[Ask]:
        """The questions in the order in which they are asked, as far as the replies so far decide them."""
        short = mine.get("protocol/context/short")
        yield self._context("short", SHORT_WORDS)
        if short is None:
            return
        head = [self._output(1, short), self._output(2, short) if limits.looks_cut(mine.get("protocol/output/1")) else None]
        wrong = WRONG.get(self.wire, {})
        refused = (checked := mine.get("protocol/range/temperature")) is not None and limits.refused(checked)
        middle = ["range/temperature", *(["range/output"] if refused else []), "unknown", "role"]
        tail = ["type/temperature", "type/max_tokens"] if self.size >= DEEP_ASKS else ["type/max_tokens"]
        long = self._long(short)
        asked_before = [ask for ask in head if ask is not None]
        yield from asked_before
        room = self.size - 1 - len(asked_before) - (long is not None) - len(tail)
        for key in middle[: max(0, room)]:
            if key == "unknown":
                yield self._wrong(key, {f"{self._word(key)}_mode": True})
            elif key in wrong:
                yield self._wrong(key, wrong[key])
        if long is not None:
            yield long
        for key in tail:
            if key in wrong:
                yield self._wrong(key, wrong[key])

    def _long(self, short: Reply) -> Ask | None:
        """The long prompt in the longest size that this endpoint is fast enough for; None where it is too slow for any."""
        sizes = (LONG_WORDS_SOLD, *LONG_WORDS) if wordings.context_window(self.family) is not None else LONG_WORDS
        for words in sizes:
            if max(0.0, short.seconds - LATENCY_S) * words / SHORT_WORDS <= self.patience_s:
                return self._context("long", words)
        return None

    def _context(self, key: str, words: int) -> Ask:
        """Filler with a code word at its start, in its middle and at its end; the payload is the code words."""
        rng = self.plan.rng(f"protocol/context/{key}")
        stock = strings.words("english")
        names = [f"{word}-{rng.randint(100, 999)}" for word in rng.sample(stock, 3)]
        lines = [" ".join(rng.choice(stock) for _ in range(WORDS_A_LINE)) + "." for _ in range(words // WORDS_A_LINE)]
        for place, ordinal, name in reversed(list(zip((0, len(lines) // 2, len(lines)), _ORDINALS, names, strict=True))):
            lines.insert(place, f"The {ordinal} code word is {name}.")
        text = "Three of these lines name a code word. Read all of them.\n" + "\n".join(lines)
        text += "\nWrite the first, the second and the third code word, and nothing else."
        return self._ask(f"context/{key}", text, NAMES_TOKENS, " ".join(names))

    def _output(self, number: int, short: Reply) -> Ask | None:
        """A story that the token limit has to end; None where the endpoint is too slow to write it in time."""
        slowness = short.seconds * PATIENCE_S / self.patience_s
        if slowness > TOO_SLOW_S:
            return None
        tokens = REPLY_TOKENS["slow" if slowness > SLOW_S else "deep" if self.size >= DEEP_ASKS else "standard"]
        rng = self.plan.rng(f"protocol/output/{number}")
        about = rng.sample(strings.words("english"), 3)
        length = math.ceil(tokens * STORY_WORDS_A_TOKEN / 50) * 50
        text = f"Write a story of at least {length} words about {about[0]}, {about[1]} and {about[2]}. Write it out in full."
        return self._ask(f"output/{number}", text, tokens, " ".join(about))

    def _wrong(self, key: str, fields: JSON) -> Ask:
        least = max(1, self.plan.least_limit)
        return self._ask(key, PLAIN, least, raw=json.dumps(fields), role="narrator" if key == "role" else "user")

    def _ask(self, key: str, text: str, tokens: int, payload: str = "", raw: str | None = None, role: str = "user") -> Ask:
        return Ask(self.name, f"protocol/{key}", ((role, text),), tokens, payload=payload, temperature=1.0 if payload else 0.0, raw=raw)

    def _word(self, key: str) -> str:
        return self.plan.rng(f"protocol/{key}").choice(strings.words("english"))

    def _error_row(self, reply: Reply) -> JSON:
        """What came of a wrong request, and whose words its refusal uses."""
        said = [f"{one.owner} ({one.kind}): {one.what}" for one in wordings.wordings(reply.error.text)] if reply.error is not None else []
        row: dict[str, Any] = {"key": reply.ask.key, "measured": "accepted" if reply.ok else limits.failure(reply), "predicted": {}}
        return row | {"sent": reply.ask.raw, "status": reply.status, "wording": said}

    def _foreign(self, mine: Sequence[Reply]) -> Iterator[Finding]:
        """Words of another vendor, or of an engine that serves open weights, under the claim of a model that only its vendor can serve."""
        if self.vendor is None or wordings.context_window(self.family) is None:
            return
        seen: dict[tuple[str, str], list[str]] = {}
        for reply in mine:
            if reply.error is not None:
                for wording in wordings.wordings(reply.error.text):
                    named = catalog.find(wording.model) if wording.model is not None else None
                    if named is not None and named.family != self.family:
                        seen.setdefault((f"An error names the model {named.name}", "moderate"), []).append(reply.ask.key)
                    elif wording.kind == "engine":
                        text = f"An error is in the words of {wording.owner}, an engine of open weights ({wording.what})"
                        seen.setdefault((text, "moderate"), []).append(reply.ask.key)
                    elif wording.kind == "vendor" and wording.owner != self.vendor:
                        seen.setdefault((f"An error is in the words of {wording.owner} ({wording.what})", "weak"), []).append(reply.ask.key)
            owner = wordings.finish_owner(reply.finish, self.wire) if reply.finish is not None else None
            if owner is not None and owner != self.vendor:
                seen.setdefault((f"A reply ends with {owner}'s own word {reply.finish!r}", "weak"), []).append(reply.ask.key)
        for (text, strength), keys in seen.items():
            yield Finding("foreign-marker", strength, f"{text}. Words are easily copied or passed on.", tuple(keys))
