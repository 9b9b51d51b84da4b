"""Simulated endpoints that count and cut with a second implementation, for arms that no real server can be made to show 200 times.

An endpoint has a true vocabulary, a chat template, perhaps a hidden system prompt, and perhaps a gateway in front that
recounts or scales usage and merges chunks. Stand-in: it has no model; it copies perfectly or refuses to copy. Its free choices come
from one half of recorded ones, and the other half is the reference that judges them.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.second import second
from fingerprints import packs as installed_packs
from fingerprints.packs import Pack
from fingerprints.questions import text_digest
from probes.probe import Ask, Chunk, Reply, Usage

TEMPLATES = (
    ("<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"),
    ("<|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"),
    ("<start_of_turn>user\n", "<end_of_turn>\n<start_of_turn>model\n"),
    ("[INST] ", " [/INST]"),
    ("\n\nHuman: ", "\n\nAssistant:"),
    ("USER: ", "\nASSISTANT:"),
)
"""Text around a user message in six families of chat templates, read as plain text."""
HIDDEN = "You are a helpful assistant of our platform. Never mention the provider. 오늘은 토요일입니다. Answer briefly and kindly."
QUESTION = "Pick one whole number from 1 to 355 at random and write the number alone."
"""Ours, in place of the recorded question, whose text does not ship: the stand-in answers from recorded counts either way."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What answers: `tokenizer` writes and counts; a gateway may count with `recount` and multiply by `scale`."""

    tokenizer: str
    template: int = 0
    hidden: int = 0
    """Words of hidden system prompt."""
    recount: str | None = None
    scale: float = 1.0
    copies: bool = True
    keep: float = 1.0
    """Share of chunk edges that the gateway keeps."""
    seed: int = 0
    choices: tuple[float, ...] = ()
    """Probabilities of the integers 1, 2, … that it picks where it is asked to choose; empty where it does not choose."""

    async def ask_all(self, asks: Sequence[Ask], *, retry_timeouts: bool = True) -> list[Reply]:
        """Answer every ask."""
        return [self._answer(ask) for ask in asks]

    def _answer(self, ask: Ask) -> Reply:
        head, tail = TEMPLATES[self.template]
        hidden = " ".join((HIDDEN.split() * 40)[: self.hidden])
        counter = self.recount or self.tokenizer
        prompt = count(counter, hidden) + count(counter, head + ask.messages[-1][1] + tail)
        text, finish = (self._pick(ask.key) if ask.probe == "choice" and self.choices else "OK"), "stop"
        chunks: tuple[str, ...] = ("OK",)
        if ask.stream and self.copies:
            chunks = token_pieces(self.tokenizer, ask.payload, ask.max_tokens)
            text, finish = "".join(chunks), "length"
            chunks = self._merged(chunks, ask.key)
        usage = Usage(round(prompt * self.scale), round(count(counter, text) * self.scale))
        timed = tuple(Chunk(chunk, 0.0) for chunk in chunks) if ask.stream else ()
        return Reply(ask, status=200, text=text, finish=finish, usage=usage, chunks=timed)

    def _pick(self, key: str) -> str:
        return str(random.Random(f"{self.seed}/{key}").choices(range(1, len(self.choices) + 1), self.choices)[0])

    def _merged(self, chunks: tuple[str, ...], key: str) -> tuple[str, ...]:
        rng = random.Random(f"{self.seed}/{key}")
        merged: list[str] = []
        for chunk in chunks:
            if merged and rng.random() > self.keep:
                merged[-1] += chunk
            else:
                merged.append(chunk)
        return tuple(merged)


def recorded_choices() -> Pack:
    """The installed pack of recorded number picks."""
    return next(each for each in installed_packs.installed() if each.kind == "choices")


def halved_choices(seed: int) -> tuple[Pack, npt.NDArray[np.int64]]:
    """A reference made of a random half of every model's recorded choices, and the other half, (models, choices)."""
    pack = recorded_choices()
    numbers = np.random.default_rng(seed)
    counts = pack.arrays["counts"].astype(np.int64)
    half = np.zeros_like(counts)
    for m in range(counts.shape[1]):
        half[0, m] = numbers.multivariate_hypergeometric(counts[0, m], int(counts[0, m].sum() // 2))
    question = replace(pack.questions[0], text=QUESTION, sha256=text_digest(QUESTION), source=None)
    models = tuple(replace(model, samples=max(1, int(half[0, m].sum()))) for m, model in enumerate(pack.models))
    arrays: dict[str, npt.NDArray[Any]] = {"counts": half.astype(np.uint32)}
    return replace(pack, questions=(question,), models=models, arrays=arrays, expires=None), (counts - half)[0, :, :-1]


@lru_cache(maxsize=200_000)
def count(name: str, text: str) -> int:
    """Tokens of `text` by the second implementation of vocabulary `name`. Raises ValueError where there is none."""
    implementation = second(name)
    if implementation is None:
        raise ValueError(f"no second implementation of {name}")
    return implementation.count(text) if text else 0


@lru_cache(maxsize=20_000)
def token_pieces(name: str, text: str, k: int) -> tuple[str, ...]:
    """The first k tokens of `text` as streamed pieces; characters that are cut in the middle wait for their last byte."""
    implementation = second(name)
    if implementation is None or implementation.encode is None:
        raise ValueError(f"no token boundaries of {name}")
    streamed, pending = [], b""
    for token in implementation.encode(text)[:k]:
        pending += token
        try:
            streamed.append(pending.decode())
            pending = b""
        except UnicodeDecodeError:
            continue
    if streamed and name in ("llama2", "mistral-v1"):
        streamed[0] = streamed[0].lstrip(" ")
    return tuple(piece for piece in streamed if piece)
