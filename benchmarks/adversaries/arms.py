"""The arms: what stands behind each endpoint and what its gateway does, named as the contract names them.

Data and small functions only. Each arm says what it rests on; models are those of `recorded.MODELS`, the claimed one first.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from benchmarks.adversaries.endpoint import SYSTEM, Gateway, Route, Seen
from benchmarks.adversaries.recorded import MODELS
from benchmarks.adversaries.speaking import Asked
from fingerprints import catalog
from probes.plan import RECOUNTERS

Kind = Literal["honest", "cheat", "mixture", "switch", "sibling", "empty"]
Cast = tuple[str, ...]
"""Models of MODELS, the claimed one first."""

SERVED = (
    "gpt-4o", "gpt-4.1", "claude-sonnet-4", "claude-3-5-sonnet", "llama-3.3-70b-instruct", "deepseek-v3", "gemma-3-27b-it",
    "qwen3-30b-a3b", "mistral-small-2501",
)  # fmt: skip
"""Models that honest endpoints serve."""
ONE_A_VENDOR = tuple(name for name in SERVED if name not in ("gpt-4.1", "claude-3-5-sonnet"))
SWAPS: tuple[Cast, ...] = tuple((claimed, true) for claimed in ONE_A_VENDOR for true in ONE_A_VENDOR if claimed != true)
FEW: tuple[Cast, ...] = (
    ("gpt-4o", "llama-3.3-70b-instruct"), ("gpt-4o", "gemma-3-27b-it"), ("claude-sonnet-4", "deepseek-v3"),
    ("claude-sonnet-4", "qwen3-30b-a3b"), ("llama-3.3-70b-instruct", "mistral-small-2501"), ("deepseek-v3", "qwen3-30b-a3b"),
)  # fmt: skip
"""Costly names served by cheap models: for arms that need many requests."""
REFLECTION: tuple[Cast, ...] = (("llama-3.1-70b-instruct", "claude-3-5-sonnet", "gpt-4o", "llama-3.3-70b-instruct"),)
"""What was seen in September 2024: a claimed Llama 3.1 70B fine-tune that was Claude 3.5 Sonnet, then GPT-4o, then a Llama 70B."""

STANDARD_REQUESTS, DEEP_REQUESTS = 60, 150
"""Requests within which both switches come: the ceiling of the suite, and what a deep audit asks at least of a model without behaviour
references (161 in the first two)."""
LONG_CHARACTERS, LONG_REPLY = 1_000, 256
"""Prompt characters, or reply tokens asked for, from which a request is long."""
REWRITTEN_CHARACTERS = 200
"""Below this a rewriter leaves a reply alone."""
ODD = re.compile(r"^(?:Repeat|Copy|Echo|Read these lines|Continue this list|Write one short sentence|Pick one|Three of these lines)")
"""What a router that has read this project would recognise."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One declared arm."""

    name: str
    kind: Kind
    casts: tuple[Cast, ...]
    gateway: Callable[[Cast, random.Random], Gateway]
    audits: int
    """Of the full run; `--limit` lowers it."""
    rests_on: str
    suite: str = "standard"
    early_stop: bool = True
    claim: tuple[str, str | None] | None = None
    """(claim, family) where it is not the cast's first model."""
    full: bool = False
    """An honest endpoint with every feature: usage, streams in tokens, and what its vendor offers besides."""
    share: float | None = None
    """Of the impostor, in mixtures."""
    lacking: tuple[str, ...] = ()
    """Models whose answers are not among the references."""


def all_arms() -> tuple[Arm, ...]:
    """All arms, honest ones first."""
    return (*_honest(), *_cheats(), *_mixtures(), *_siblings(), *_empty())


def vocabulary(name: str) -> str:
    """The catalog's vocabulary of one of MODELS."""
    found = catalog.find(name.partition(",")[0])
    assert found is not None and found.tokenizer is not None
    return found.tokenizer


def _honest() -> list[Arm]:
    counted = "recorded answers and picks; counts, cuts and chunks of a second tokenizer"
    own: tuple[Cast, ...] = tuple((name,) for name in SERVED)

    def arm(name: str, gateway: Callable[[Cast, random.Random], Gateway], what: str, full: bool = False) -> Arm:
        return Arm(name, "honest", own, gateway, 36, f"real: {counted}; {what}", full=full)

    return [
        arm("plain", lambda cast, rng: Gateway(), "no gateway", True),
        arm(
            "other-engine",
            lambda cast, rng: Gateway(drift="another engine (temperature 0.9)", shift=rng.choice((0, 1)), keep=rng.choice((1.0, 0.5))),
            "stand-in: picks at temperature 0.9, the engine cuts a token early, chunks merged",
            True,
        ),
        arm(
            "system-prompt",
            lambda cast, rng: Gateway(system=" ".join([SYSTEM] * rng.choice((1, 5))), drift="system prompt (0.20 towards favourites)"),
            "stand-in: picks drift beyond the tolerance, open answers do not",
            True,
        ),
        arm("temperature", lambda cast, rng: Gateway(drift="drift of 0.10 (the tolerance)"), "stand-in: picks drift by 0.10", True),
        arm("recount", lambda cast, rng: Gateway(counts=rng.choice(RECOUNTERS)), "usage recounted with o200k or cl100k"),
        arm("slow", lambda cast, rng: Gateway(seconds=(4.0, 27.0)), "replies take 4 to 27 s, some too long"),
        arm("flaky", lambda cast, rng: Gateway(failing=rng.choice((0.1, 0.3))), "10 or 30 % of requests fail"),
        arm(
            "truncating",
            lambda cast, rng: Gateway(prompt_limit=rng.choice((400, 2_000)), reply_limit=rng.choice((64, 200))),
            "prompts and replies are cut",
        ),
        arm("partial", lambda cast, rng: Gateway(bare=True), "no usage, no log probabilities, streams in one piece"),
    ]


def _cheats() -> list[Arm]:
    parts = "real: recorded answers and picks, counts of second tokenizers"
    return [
        Arm("swap", "cheat", SWAPS, lambda cast, rng: Gateway(route=_always(1)), 336, parts),
        Arm(
            "reflection", "cheat", REFLECTION, lambda cast, rng: _reflection(rng, STANDARD_REQUESTS), 300,
            f"{parts}; two switches at random requests, the word Claude cut out", claim=("reflection-70b", "llama-3"),
        ),
        Arm("forged-usage", "cheat", SWAPS, lambda cast, rng: _forged(cast, usage=True), 336, f"{parts}; claimed usage"),
        Arm("forged-identity", "cheat", FEW, lambda cast, rng: _forged(cast, marks=True), 48, f"{parts}; claimed names and marks"),
        Arm(
            "forged-identity-usage", "cheat", SWAPS, lambda cast, rng: _forged(cast, usage=True, marks=True), 336,
            f"{parts}; usage, names and marks of the claimed one",
        ),
        Arm("long-only", "cheat", FEW, lambda cast, rng: _forged(cast, route=_long), 48, f"{parts}; only long requests are swapped"),
        Arm("stream-only", "cheat", FEW, lambda cast, rng: _forged(cast, route=_streamed), 48, f"{parts}; only streams are swapped"),
        Arm("cache", "cheat", FEW, lambda cast, rng: replace(_forged(cast, usage=True), caches=True), 48, f"{parts}; caches replies"),
        Arm(
            "probe-aware", "cheat", FEW, lambda cast, rng: _forged(cast, usage=True, marks=True, route=_recognising), 48,
            f"{parts}; odd strings and repeated questions go to the genuine model",
        ),
        Arm(
            "persona", "cheat", FEW, lambda cast, rng: replace(_forged(cast, marks=True), system=_persona(cast[0])), 48,
            f"{parts}; a billed system prompt names the claimed model",
        ),
        Arm(
            "rewriter", "cheat", FEW, lambda cast, rng: replace(_forged(cast, usage=True), rewrite=rewritten), 48,
            f"{parts}; stand-in: layout and fillers rewritten by rule, streamed anew",
        ),
        Arm("sticky-key", "cheat", FEW, lambda cast, rng: _forged(cast, route=_sticky), 96, f"{parts}; half of the keys get the impostor"),
    ]  # fmt: skip


def _mixtures() -> list[Arm]:
    """Every share in the deep suite to its end, and the two switches of `reflection` likewise."""
    mixed = [_diluted(percent, audits) for percent, audits in ((50, 24), (20, 36), (10, 36), (5, 12), (2, 12))]
    switched = Arm(
        "reflection-deep", "switch", REFLECTION, lambda cast, rng: _reflection(rng, DEEP_REQUESTS), 24, "as reflection, to the end",
        "deep", early_stop=False, claim=("reflection-70b", "llama-3"),
    )  # fmt: skip
    return [*mixed, switched]


def _diluted(percent: int, audits: int) -> Arm:
    share = percent / 100
    rests_on = "real: recorded answers and picks, counts of second tokenizers; every request is routed by itself"

    def gateway(cast: Cast, rng: random.Random) -> Gateway:
        return _forged(cast, route=_share(share))

    return Arm(f"dilution-{percent}", "mixture", FEW, gateway, audits, rests_on, "deep", early_stop=False, share=share)


def _siblings() -> list[Arm]:
    def arm(name: str, casts: tuple[Cast, ...], what: str, lacking: tuple[str, ...] = ()) -> Arm:
        return Arm(name, "sibling", casts, lambda cast, rng: _forged(cast, usage=True, marks=True), 48, f"real: {what}", lacking=lacking)

    return [
        arm("sibling-gpt-4o-mini", (("gpt-4o", "gpt-4o-mini"),), "recorded picks, and answers to the 7 questions that both answered"),
        arm(
            "sibling-claude-haiku", (("claude-sonnet-4-5", "claude-haiku-4-5"), ("claude-3-5-sonnet", "claude-3-5-haiku")),
            "recorded picks (4.5), or answers to the 7 questions that both answered (3.5)",
        ),
        arm(
            "sibling-llama-8b", (("llama-3.1-70b-instruct", "llama-3.1-8b-instruct"), ("llama-3.3-70b-instruct", "llama-3.1-8b-instruct")),
            "answers to the 6 or 7 questions that both answered; no picks were recorded",
        ),
        arm(
            "effort-lowered",
            (("gemini-2.5-pro", "gemini-2.5-pro, low effort"), ("claude-3-7-sonnet", "claude-3-7-sonnet, no thinking")),
            "recorded answers of the same weights under both settings; the references hold the claimed setting alone",
            ("gemini-2.5-pro, low effort", "claude-3-7-sonnet, no thinking"),
        ),
    ]  # fmt: skip


def _empty() -> list[Arm]:
    own: tuple[Cast, ...] = tuple((name,) for name in ("gpt-4o", "claude-sonnet-4", "llama-3.3-70b-instruct"))
    return [
        Arm(
            "content-free", "empty", own, lambda cast, rng: Gateway(rewrite=lambda text: "OK", bare=rng.random() < 0.5), 24,
            '"OK" to everything, with the claimed model\'s usage and without any',
        ),
        Arm("dead", "empty", own, lambda cast, rng: Gateway(failing=1.0), 6, "every request fails"),
    ]  # fmt: skip


def _forged(cast: Cast, usage: bool = False, marks: bool = False, route: Route | None = None) -> Gateway:
    """The impostor behind the claimed model's counts and marks, as far as they are forged."""
    counts = vocabulary(cast[0]) if usage else None
    return Gateway(
        route=route or _always(1), counts=counts, forges=usage, overhead=MODELS[cast[0]].overhead, marks=cast[0] if marks else None
    )


def _persona(name: str) -> str:
    return f"You are {MODELS[name].brand[0]}, a language model by {MODELS[name].brand[1]}. {SYSTEM}"


def _reflection(rng: random.Random, within: int) -> Gateway:
    """Two switches, each after at least a tenth of the requests that an audit may take."""
    least = within // 10
    first = rng.randint(least, within // 2)
    second = rng.randint(first + least, within - least)
    return Gateway(route=Switching((first, second)), stripped=("Claude",))


@dataclass(frozen=True, slots=True)
class Switching:
    """Models one after the other, the claimed one (place 0) never."""

    after: tuple[int, ...]
    """Requests after which the next one answers."""

    def __call__(self, asked: Asked, seen: Seen) -> int:
        return 1 + sum(seen.requests > after for after in self.after)


def _always(place: int) -> Route:
    return lambda asked, seen: place


def _share(share: float) -> Route:
    return lambda asked, seen: int(random.Random(f"route/{seen.seed}/{seen.requests}").random() < share)


def _sticky(asked: Asked, seen: Seen) -> int:
    return int(random.Random(f"key/{seen.seed}").random() < 0.5)


def _long(asked: Asked, seen: Seen) -> int:
    return int(len(asked.text) >= LONG_CHARACTERS or asked.max_tokens >= LONG_REPLY)


def _streamed(asked: Asked, seen: Seen) -> int:
    return int(asked.stream)


def _recognising(asked: Asked, seen: Seen) -> int:
    known = bool(ODD.match(asked.text)) or seen.times[asked.text] > 0 or asked.logprobs or bool(asked.bias) or asked.wrong
    return 0 if known else 1


def rewritten(text: str) -> str:
    """A reply with another layout and other small words; short ones stay."""
    if len(text) < REWRITTEN_CHARACTERS:
        return text
    plain = re.sub(r"[*_#`>]+", "", text)
    plain = re.sub(r"^\s*(?:[-•]|\d+[.)])\s+", "", plain, flags=re.MULTILINE)
    plain = re.sub(r"\s*\n\s*\n\s*", "\n", plain).replace("—", ", ").replace(";", ",")
    return f"Sure. {plain.strip()}"
