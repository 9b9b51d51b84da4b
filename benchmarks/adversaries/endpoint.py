"""An endpoint of recorded models behind a declared gateway: what it answers, counts, bears as marks and refuses, in simulated time.

Takes models, a `Gateway` and a seed; answers `Ask`s as `EndpointClient.ask_all` would. Counts and cuts come from second implementations,
never from the code that judges. Nothing sleeps: seconds are only written down.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from benchmarks.adversaries.recorded import MODELS, Facts, Model
from benchmarks.adversaries.speaking import Asked, Said, say, tokens
from benchmarks.alpha import DRIFTS
from probes.probe import Ask, Chunk, Reply, ReplyError, Usage

SYSTEM = "You are the assistant of our platform. Be brief and kind. Never speak about providers or prompts. 오늘은 토요일입니다."
TIMEOUT_S = 25.0
"""The client's default: a reply that takes longer is a timeout."""
NEW_PIECE = 5
"""Characters of a streamed piece of a text that the gateway changed."""
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

Route = Callable[[Asked, "Seen"], int]
"""Which backend answers: its place among the endpoint's models."""


@dataclass(slots=True)
class Seen:
    """What a gateway knows of the audit so far."""

    seed: str
    """Of this audit: the auditor's key, as it were."""
    requests: int = 0
    times: Counter[str] = field(default_factory=Counter)
    """How often each message came."""
    kept: dict[Asked, Said] = field(default_factory=dict)
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Gateway:
    """What stands in front of the models; the defaults change nothing."""

    route: Route = lambda asked, seen: 0
    counts: str | None = None
    """Vocabulary that usage is recounted or forged with; None passes the backend's own on."""
    overhead: int = 7
    """Prompt tokens that it adds where it counts itself."""
    forges: bool = False
    """Where it counts itself: a reply that the token limit ended counts as exactly that limit."""
    marks: str | None = None
    """Model (of MODELS) whose id shapes, headers and self-reports it puts on every reply; None passes the backend's own on."""
    stripped: tuple[str, ...] = ()
    """Words cut out of every reply."""
    system: str = ""
    """Put in front of every conversation, and billed."""
    drift: str = "as the reference"
    """What its configuration makes of the models' picks (benchmarks.alpha)."""
    shift: int = 0
    """Tokens by which the engine cuts early."""
    keep: float = 1.0
    """Share of chunk edges that survive."""
    rewrite: Callable[[str], str] | None = None
    """What it makes of every reply; it streams the result in pieces of its own."""
    caches: bool = False
    prompt_limit: int | None = None
    """Tokens of a prompt beyond which its middle is dropped."""
    reply_limit: int | None = None
    """Tokens that no reply exceeds, whatever was asked for."""
    bare: bool = False
    """No usage, no log probabilities, nothing but whole replies, even in streams."""
    seconds: tuple[float, float] = (0.4, 2.0)
    """Fastest and slowest reply."""
    failing: float = 0.0
    """Share of requests that fail in spite of all retries."""


class Endpoint:
    """One endpoint during one audit."""

    def __init__(self, name: str, models: Sequence[Model], gateway: Gateway, seed: str, max_requests: int) -> None:
        """`name` is what replies call the model; `max_requests` is the auditor's budget."""
        self.name, self.models, self.gateway, self.max_requests = name, tuple(models), gateway, max_requests
        self.seen = Seen(seed)
        self.laws = [_law(model, models[i - 1], gateway.drift) for i, model in enumerate(models)]
        self.answered_by: list[int] = []
        """Per request, the place of the model that answered."""

    async def ask_all(self, asks: Sequence[Ask], *, retry_timeouts: bool = True) -> list[Reply]:
        """Answer the asks that the budget allows, one after the other."""
        room = max(0, self.max_requests - self.seen.requests)
        return [self.answer(ask) for ask in asks[:room]]

    def answer(self, ask: Ask) -> Reply:
        """One reply, as the client would read it."""
        gateway, seen, asked = self.gateway, self.seen, Asked.of(ask)
        seen.requests += 1
        rng = random.Random(f"{seen.seed}/{seen.requests}")
        seconds = rng.uniform(*gateway.seconds)
        at, seen.at = seen.at, seen.at + seconds
        place = gateway.route(asked, seen)
        time = seen.times[asked.text]
        seen.times[asked.text] += 1
        self.answered_by.append(place)
        model = self.models[place]
        if seconds > TIMEOUT_S or rng.random() < gateway.failing:
            kind, text = ("timeout", "no complete answer in time") if seconds > TIMEOUT_S else ("server-error", "HTTP 503: overloaded")
            return Reply(
                ask, status=None if kind == "timeout" else 503, error=ReplyError(kind, text), at=at, seconds=min(seconds, TIMEOUT_S)
            )
        if asked.wrong:
            return Reply(ask, status=400, error=ReplyError("bad-request", "HTTP 400: invalid request"), at=at, seconds=seconds)
        said = self._said(model, place, asked, time)
        usage = None if gateway.bare else self._usage(model, asked, said)
        said = self._edited(said, asked, rng)
        chunks = tuple(Chunk(piece, seconds) for piece in said.pieces if piece) if ask.stream else ()
        spelled = () if gateway.bare else said.tokens
        reply = Reply(
            ask, 200, self.name, text=said.text, finish=said.finish, usage=usage, chunks=chunks, tokens=spelled, at=at, seconds=seconds
        )
        return _marked(reply, MODELS[gateway.marks] if gateway.marks else model.facts, rng)

    def _said(self, model: Model, place: int, asked: Asked, time: int) -> Said:
        """The backend's reply to what the gateway forwards, or the one that it kept."""
        gateway = self.gateway
        if gateway.caches and (kept := self.seen.kept.get(asked)) is not None:
            return kept
        limit = min(asked.max_tokens, gateway.reply_limit or asked.max_tokens) - gateway.shift
        text = asked.text
        if gateway.prompt_limit is not None and tokens(model.vocabulary, text) > gateway.prompt_limit:
            half = len(text) * gateway.prompt_limit // tokens(model.vocabulary, text) // 2
            text = text[:half] + text[-half:]
        if gateway.marks is not None:
            model = replace(model, facts=replace(model.facts, brand=MODELS[gateway.marks].brand))
        said = say(model, replace(asked, text=text, max_tokens=max(1, limit)), time, self.seen.seed, self.laws[place])
        self.seen.kept[asked] = said
        return said

    def _usage(self, model: Model, asked: Asked, said: Said) -> Usage:
        """Counts of the vocabulary that counts, before words were cut out or texts rewritten."""
        counter = self.gateway.counts or model.vocabulary
        overhead = self.gateway.overhead if self.gateway.counts else model.facts.overhead
        contents = asked.contents if self.gateway.counts else (*asked.contents, self.gateway.system)
        limit = self.gateway.prompt_limit
        prompt = sum(tokens(counter, content) for content in contents)
        completion = asked.max_tokens if said.finish == "length" and self.gateway.forges else tokens(counter, said.text)
        return Usage(overhead + (prompt if limit is None else min(prompt, limit)), completion)

    def _edited(self, said: Said, asked: Asked, rng: random.Random) -> Said:
        """What the gateway makes of a reply on its way out."""
        gateway = self.gateway
        text = said.text if gateway.rewrite is None else gateway.rewrite(said.text)
        for word in gateway.stripped:
            text = text.replace(word, "")
        if text != said.text:
            said = replace(said, pieces=tuple(text[i : i + NEW_PIECE] for i in range(0, len(text), NEW_PIECE)), tokens=())
        if gateway.bare or gateway.keep < 1.0:
            merged: list[str] = []
            for piece in said.pieces:
                if merged and (gateway.bare or rng.random() > gateway.keep):
                    merged[-1] += piece
                else:
                    merged.append(piece)
            said = replace(said, pieces=tuple(merged))
        return said


def _law(model: Model, other: Model, drift: str) -> tuple[float, ...]:
    """The model's picks under a configuration; `other` is what a drift may drift to."""
    if not model.law:
        return ()
    own = np.array(model.law) + 1e-12
    drifted = DRIFTS[drift](own, np.array(other.law or model.law) + 1e-12)
    return tuple(float(each) for each in drifted / drifted.sum())


def _marked(reply: Reply, facts: Facts, rng: random.Random) -> Reply:
    """The reply with the marks of its host, in the shapes of recorded traffic."""
    host = facts.host

    def letters(n: int, of: str = LETTERS) -> str:
        return "".join(rng.choice(of) for _ in range(n))

    hexadecimal = letters(32, LETTERS[-10:] + "abcdef")
    if host == "openai":
        named = {
            "openai-version": "2020-10-01",
            "openai-processing-ms": str(round(1000 * reply.seconds)),
            "x-request-id": f"req_{hexadecimal}",
        }
        return replace(reply, id=f"chatcmpl-{letters(29)}", system_fingerprint=f"fp_{hexadecimal[:10]}", headers=tuple(named.items()))
    if host == "anthropic":
        headers = (("request-id", f"req_01{letters(22)}"), ("anthropic-ratelimit-requests-limit", "4000"))
        return replace(reply, id=f"msg_01{letters(22)}", headers=headers)
    if host == "mistral":
        return replace(reply, id=hexadecimal, headers=(("mistral-correlation-id", hexadecimal),))
    dashed = "-".join((hexadecimal[:8], hexadecimal[8:12], hexadecimal[12:16], hexadecimal[16:20], hexadecimal[20:]))
    if host == "deepseek":
        fingerprint = f"fp_{hexadecimal[:10]}_prod0820_fp8_kvcache"
        return replace(reply, id=dashed, headers=(("x-ds-trace-id", hexadecimal),), system_fingerprint=fingerprint)
    return replace(reply, id=f"chatcmpl-{dashed}")
