"""Simulated endpoints that count and cut with a second implementation, for arms that no real server can be made to show 200 times.

An endpoint has a true vocabulary, a chat template, perhaps a hidden system prompt, and perhaps a gateway in front that
recounts or scales usage and merges chunks. Stand-in: it has no model; it copies perfectly or refuses to copy.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from benchmarks.second import second
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
        prompt = _count(counter, hidden) + _count(counter, head + ask.messages[-1][1] + tail)
        text, finish = (self._pick(ask.key) if ask.probe == "choice" and self.choices else "OK"), "stop"
        chunks: tuple[str, ...] = ("OK",)
        if ask.stream and self.copies:
            chunks = _tokens(self.tokenizer, ask.payload, ask.max_tokens)
            text, finish = "".join(chunks), "length"
            chunks = self._merged(chunks, ask.key)
        usage = Usage(round(prompt * self.scale), round(_count(counter, text) * self.scale))
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


@lru_cache(maxsize=200_000)
def _count(name: str, text: str) -> int:
    implementation = second(name)
    if implementation is None:
        raise ValueError(f"no second implementation of {name}")
    return implementation.count(text) if text else 0


@lru_cache(maxsize=20_000)
def _tokens(name: str, text: str, k: int) -> tuple[str, ...]:
    """The first k tokens of `text` as streamed pieces; characters that are cut in the middle wait for their last byte."""
    implementation = second(name)
    if implementation is None or implementation.encode is None:
        raise ValueError(f"no token boundaries of {name}")
    pieces, pending = [], b""
    for token in implementation.encode(text)[:k]:
        pending += token
        try:
            pieces.append(pending.decode())
            pending = b""
        except UnicodeDecodeError:
            continue
    if pieces and name in ("llama2", "mistral-v1"):
        pieces[0] = pieces[0].lstrip(" ")
    return tuple(piece for piece in pieces if piece)
