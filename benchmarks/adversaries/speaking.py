"""What a recorded model says to a chat request: its recorded answer, a copy, a number of its own distribution, its name, or nothing.

Takes a model and a request, gives the text cut at the token limit by a second implementation of the model's vocabulary. Real: answers to
the recorded questions, picks, counts and cuts. Stand-ins: copies are perfect, self-reports are one sentence, lists are continued by their
own words. To anything else it has no recorded answer and says nothing: nobody's words are put into another model's mouth.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from functools import cache, lru_cache

from benchmarks.adversaries.recorded import Model
from benchmarks.gateways import encoding
from benchmarks.second import second
from benchmarks.simulated import QUESTION, count, recorded_choices, token_pieces
from fingerprints.questions import text_digest
from probes.probe import Ask, TokenBytes

PICKS = frozenset({text_digest(QUESTION), recorded_choices().questions[0].sha256})
"""Digests of the questions that are answered from recorded picks: ours, and the one that was really asked."""
COPY = re.compile(r"^(?:Repeat|Copy|Echo)[^:\n]{0,60}:\s*(.*)$", re.DOTALL)
OK = re.compile(r"\b(?:answer|reply|respond) with (?:the word )?[\"']?OK\b", re.IGNORECASE)
CONTINUE = re.compile(r"^Continue this list[^:]*: (.*)$", re.DOTALL)
CODE_WORDS = re.compile(r"The (?:first|second|third) code word is (\S+?)\.")
WHO = re.compile(
    r"(?:which|what) (?:AI |language )*model|who (?:are|made|trained) you|name the (?:language )?model|language model that writes"
    r"|모델이며|언어 모델의 이름|哪个AI模型|语言模型叫什么|どのAIモデル|言語モデルの名前|modelo de IA eres|modelo de lenguaje que escribe",
    re.IGNORECASE,
)
PIECE_OF_UNKNOWN = 4
"""Tokens of one streamed piece of a model whose token boundaries nobody knows; Claude's streams bring 3 to 5."""
ALTERNATIVES = 5
"""Tokens beside each that log probabilities spell."""
OFFERING_LOGPROBS = frozenset({"openai", "deepseek", "engine"})
OFFERING_BIAS = frozenset({"openai"})
"""Hosts that take logit_bias; the others drop the field, as many gateways do."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One chat request as a backend gets it."""

    text: str
    """The last user message."""
    contents: tuple[str, ...]
    max_tokens: int
    stream: bool = False
    logprobs: bool = False
    bias: tuple[tuple[int, int], ...] = ()
    wrong: bool = False
    """Fields of the wrong shape or range, which every host refuses."""

    @classmethod
    def of(cls, ask: Ask) -> Asked:
        """The request that an ask becomes."""
        contents = tuple(content for _, content in ask.messages)
        wrong = ask.raw is not None or any(role not in ("system", "user", "assistant") for role, _ in ask.messages)
        return cls(contents[-1], contents, ask.max_tokens, ask.stream, ask.logprobs is not None, ask.logit_bias, wrong)


@dataclass(frozen=True, slots=True)
class Said:
    """What a model wrote, before any gateway."""

    pieces: tuple[str, ...]
    """As a stream would bring them."""
    finish: str
    tokens: tuple[TokenBytes, ...] = ()

    @property
    def text(self) -> str:
        """The whole reply."""
        return "".join(self.pieces)


def say(model: Model, asked: Asked, time: int, seed: str, law: tuple[float, ...]) -> Said:
    """The model's reply. `time` counts from 0 how often the endpoint was asked this; `law` is what it picks numbers by."""
    if asked.bias and model.facts.host in OFFERING_BIAS:
        forced = max(asked.bias, key=lambda pair: pair[1])[0]
        piece = encoding(model.vocabulary).decode([forced])
        return Said((piece,) * asked.max_tokens, "length")
    pieces = _pieces(model.vocabulary, _answer(model, asked, time, seed, law), asked.max_tokens, asked.stream)
    spelled = asked.logprobs and model.facts.host in OFFERING_LOGPROBS
    return Said(*pieces, _spelled(model.vocabulary, "".join(pieces[0]), asked.text) if spelled else ())


def tokens(vocabulary: str, text: str) -> int:
    """Tokens of a text alone, by the second implementation."""
    return count(vocabulary, text) - _frame(vocabulary) if text else 0


@cache
def _frame(vocabulary: str) -> int:
    """What the second implementation counts around a text: ctok counts whole messages, the others texts."""
    implementation = second(vocabulary)
    assert implementation is not None
    return 0 if implementation.encode is not None else count(vocabulary, "a") - 1


def _answer(model: Model, asked: Asked, time: int, seed: str, law: tuple[float, ...]) -> str:
    digest = text_digest(asked.text)
    if answers := model.answers.get(digest):
        return answers[time % len(answers)].strip()
    rng = random.Random(f"{seed}/{time}/{digest}")
    if digest in PICKS:
        return str(rng.choices(range(1, len(law) + 1), law)[0]) if law else ""
    if OK.search(asked.text):
        return "OK"
    if copied := COPY.match(asked.text):
        text = copied[1]
        return text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text
    if listed := CONTINUE.match(asked.text):
        words = listed[1].split(", ")
        rng.shuffle(words)
        return ", ".join(words * 3)
    if words := CODE_WORDS.findall(asked.text):
        return " ".join(words)
    if WHO.search(asked.text):
        return f"I am {model.facts.brand[0]}, a language model by {model.facts.brand[1]}."
    return ""


def _pieces(vocabulary: str, text: str, limit: int, stream: bool) -> tuple[tuple[str, ...], str]:
    """The text up to the token limit as a stream brings it (else in one piece, where pieces are costly), and why it ends."""
    implementation = second(vocabulary)
    assert implementation is not None
    if implementation.encode is not None:
        pieces = token_pieces(vocabulary, text, limit)
    else:
        ends = _ends(vocabulary, text, limit, stream)
        pieces = tuple(text[a:b] for a, b in zip((0, *ends), ends, strict=False))
    return pieces, "length" if tokens(vocabulary, text) > limit else "stop"


@lru_cache(maxsize=20_000)
def _ends(vocabulary: str, text: str, limit: int, stream: bool) -> tuple[int, ...]:
    """Where pieces end whose tokens can be counted but not seen: at the longest beginnings of so many tokens."""
    ends: list[int] = []
    steps = range(PIECE_OF_UNKNOWN, limit, PIECE_OF_UNKNOWN) if stream else ()
    for most in (*steps, limit):
        low, high = (ends[-1] if ends else 0), len(text)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if tokens(vocabulary, text[:middle]) <= most else (low, middle - 1)
        end = low if low == len(text) else len(text[:low].rstrip())  # a space is the beginning of the next token, not the end of one
        if end > (ends[-1] if ends else 0):
            ends.append(end)
        if end == len(text):
            break
    return tuple(ends)


def _spelled(vocabulary: str, text: str, beside: str) -> tuple[TokenBytes, ...]:
    """Every token, with tokens of the question as its alternatives: real entries of the vocabulary, in no order of likelihood."""
    implementation = second(vocabulary)
    if implementation is None or implementation.encode is None:
        return ()
    others: list[bytes] = implementation.encode(beside)
    rng = random.Random(text)
    return tuple(TokenBytes(token, tuple(rng.sample(others, min(len(others), ALTERNATIVES)))) for token in implementation.encode(text))
