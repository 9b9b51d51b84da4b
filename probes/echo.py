"""Choosing and reading "repeat this string exactly" questions, which the channels made of text share.

Chooses fresh strings and cut lengths at which the known vocabularies end in different places, and aligns a reply with the
string that it was to repeat. A reply that is not a copy says nothing about a tokenizer and is refused here, with the reason.
Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock

import numpy as np

from fingerprints import strings, tokenizers
from fingerprints.tokenizers import Vocabulary
from probes.plan import Plan
from probes.probe import Reply

CANDIDATES = 24
"""Fresh strings drawn per trial, of which the one that separates most pairs of vocabularies is asked."""
MANY_TRIALS, LATE_CANDIDATES = 24, 8
"""From so many trials on fewer strings are drawn for each: every pair has been apart often by then, and drawing costs 20 ms a trial."""
SHORTEST_CUT, LONGEST_CUT = 8, 16
"""Tokens; longer echoes separate better, but weak models lose the thread (research: 9 of 10 copies right at 10 words)."""
PRIORITY = {"o200k": 4.0, "llama3": 4.0, "cl100k": 2.0, "qwen2.5": 2.0, "deepseek-v3": 2.0, "gemma3": 2.0}
"""Weight of a vocabulary in choosing strings (others 1): what is claimed and what is served in its place most often. o200k
and Llama 3 split words alike, so that an even choice leaves them together in a third of all sets of three strings."""
LONG_CHARACTERS = 150
"""Length of the string whose chunk edges alone are read: it need not be cut, and where gateways merge chunks few edges are left."""
LONG_POOL = 16
"""Pieces of each kind drawn for it, of which the most telling are joined (0.2 s for all vocabularies together)."""
SURVIVING = 0.1
"""Share of chunk edges, left by a gateway that merges, at which it is to tell vocabularies apart."""
THOUGHT = ("<think>", "<thinking>", "<|channel|>", "<reasoning>")
"""How models of open weights open the reasoning that a server does not take out of the reply."""
SHORTEST_COPY = 12
"""Characters of a string that must come back where no token limit ended the copy: fewer are hardly one."""
CLOSINGS = ".\"'`”’」』》"
"""Signs with which a model may end a whole copy that was not cut. No vocabulary joins them to the letter before them."""
_LEADS = " \t\r\n\"'`“”‘’「『《"
_LONGEST_LEAD = 3


@dataclass(frozen=True, slots=True)
class Cut:
    """A string to repeat and the number of tokens after which the endpoint is to stop."""

    text: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Echo:
    """A reply aligned with the string that it repeats: `lead + text[:length]` is what came back."""

    text: str
    tokens: int
    lead: str
    length: int
    edges: tuple[int, ...]
    """Character offsets in `lead + text` at which streamed chunks ended, inside the reply; empty when not streamed."""


def bounded_vocabularies() -> tuple[str, ...]:
    """Vocabularies whose token boundaries are known (Claude's counts are known, its boundaries are not)."""
    return tuple(name for name in tokenizers.names() if tokenizers.vocabulary(name).cuts("a") is not None)


@lru_cache(maxsize=4096)
def cuts(name: str, lead: str, text: str) -> tuple[int, ...]:
    """Ends, in visible characters of `text`, of `lead + text` cut after 1, 2, … tokens of vocabulary `name`.

    Trailing blanks do not count, because servers strip them. Raises ValueError where boundaries are unknown.
    """
    offsets = tokenizers.vocabulary(name).cuts(lead + text)
    if offsets is None:
        raise ValueError(f"the token boundaries of {name} are not known")
    return tuple(len(text[: max(0, offset - len(lead))].rstrip()) for offset in offsets)


def plan_cuts(seed: int, trials: int, names: tuple[str, ...], least: int = 1) -> tuple[Cut, ...]:
    """The strings of all trials, cut at `least` tokens or more: each separates as many pairs of `names` as it can, pairs that
    are still together first. More trials go on from what fewer have chosen.

    Two vocabularies are apart on a string when neither ends within one character of where the other ends, one token
    sooner or later included: an engine that counts a leading blank or an end token moves the cut by one.
    """
    return _cutter(seed, names, least).take(trials)


@lru_cache(maxsize=64)
def _cutter(seed: int, names: tuple[str, ...], least: int) -> _Cutter:
    return _Cutter(seed, names, least)


class _Cutter:
    """The strings of one plan, chosen one after the other as far as they are wanted, and kept."""

    def __init__(self, seed: int, names: tuple[str, ...], least: int) -> None:
        self._plan, self._names, self._weight = Plan(seed=seed, claim=None), names, _weights(names)
        self._shortest = max(SHORTEST_CUT, least)
        self._pieces = 3 if self._shortest == SHORTEST_CUT else 6
        self._apart = np.zeros((len(names), len(names)))
        self._chosen: list[Cut | None] = []  # None where a trial's strings are too short in some vocabulary
        self._turn = Lock()

    def take(self, trials: int) -> tuple[Cut, ...]:
        """The strings of the first `trials` trials."""
        with self._turn:
            drawn = [self._drawn(trial) for trial in range(len(self._chosen), trials)]
            if drawn:
                tokenizers.learn(self._names, [text for texts in drawn for text in texts])
            for texts in drawn:
                self._choose(texts)
            return tuple(cut for cut in self._chosen[:trials] if cut is not None)

    def _drawn(self, trial: int) -> list[str]:
        rng = self._plan.rng(f"echo/{trial}")
        return [strings.echo_text(rng, self._pieces) for _ in range(CANDIDATES if trial < MANY_TRIALS else LATE_CANDIDATES)]

    def _choose(self, texts: Sequence[str]) -> None:
        vocabularies = [tokenizers.vocabulary(name) for name in self._names]
        best: tuple[float, Cut | None, np.ndarray] = (-np.inf, None, np.zeros_like(self._apart))
        for text in texts:
            ends = _visible_ends(vocabularies, text, LONGEST_CUT + self._shortest - SHORTEST_CUT + 2)
            tokens = np.arange(self._shortest, ends.shape[1] - 1)
            separated = _separated(ends, tokens)
            gains = (self._weight * separated / (1.0 + self._apart) ** 4).reshape(len(tokens), self._weight.size).sum(axis=1)
            at = int(gains.argmax()) if len(gains) else 0  # the first of equals
            if len(gains) and gains[at] > best[0]:
                best = (float(gains[at]), Cut(text, int(tokens[at])), separated[at])
        self._chosen.append(best[1])
        self._apart += best[2]


def _weights(names: Sequence[str]) -> np.ndarray:
    """How much it matters to tell each pair of vocabularies apart."""
    importance = np.array([PRIORITY.get(name, 1.0) for name in names])
    weights: np.ndarray = np.multiply.outer(importance, importance)
    return weights


def _visible_ends(vocabularies: Sequence[Vocabulary], text: str, most: int) -> np.ndarray:
    """[v, k]: as `cuts` of vocabulary v without a lead, after k + 1 tokens; as many as all vocabularies have, at most `most`."""
    visible = np.array([len(text[:offset].rstrip()) for offset in range(len(text) + 1)])
    offsets = [vocabulary.cuts(text, most) or () for vocabulary in vocabularies]
    shared = min(map(len, offsets), default=0)
    ends: np.ndarray = visible[np.array([row[:shared] for row in offsets], dtype=np.intp)]
    return ends


@lru_cache(maxsize=512)
def plan_long(seed: int, names: tuple[str, ...]) -> str:
    """A fresh string of up to LONG_CHARACTERS whose chunk edges tell as many pairs of `names` apart as they can.

    A model of one vocabulary contradicts another by each of its edges that is no boundary of that one; where a share SURVIVING of n such
    edges is left, one of them at least is with probability 1 - (1 - SURVIVING)^n. Pieces of a pool are added one after the other, each
    the one that raises this chance most per character, over all ordered pairs by PRIORITY.
    """
    rng = Plan(seed=seed, claim=None).rng("echo/long")
    pool = [strings.edge_piece(kind, rng) for kind in strings.edge_kinds() for _ in range(LONG_POOL)]
    tokenizers.learn(names, [_inside(piece) for piece in pool])
    foreign = np.array([_foreign_edges(names, piece) for piece in pool])  # (pieces, vocabularies, vocabularies)
    lengths = np.array([len(piece) + 1 for piece in pool])
    weight = _weights(names)
    chosen: list[int] = []
    together = np.zeros((len(names), len(names)))
    left = LONG_CHARACTERS + 1
    while (lengths <= left).any():
        unexcluded = (1.0 - SURVIVING) ** together
        gains = (weight * unexcluded * (1.0 - (1.0 - SURVIVING) ** foreign)).sum(axis=(1, 2)) / lengths
        gains[lengths > left] = -1.0
        best = int(gains.argmax())
        chosen.append(best)
        together += foreign[best]
        left -= int(lengths[best])
        lengths[best] = LONG_CHARACTERS + 2  # a piece is used once
    rng.shuffle(chosen)
    return " ".join(pool[i] for i in chosen)


def _foreign_edges(names: Sequence[str], piece: str) -> np.ndarray:
    """[t, w]: how many token edges of vocabulary t in ` piece`, inside a longer text, are no boundary of vocabulary w."""
    text = _inside(piece)
    edges = np.zeros((len(names), len(text)))
    for row, name in enumerate(names):
        edges[row, [edge - 1 for edge in tokenizers.vocabulary(name).edges(text) or () if edge > 0]] = 1.0
    result: np.ndarray = edges @ (1.0 - edges).T
    return result


def _inside(piece: str) -> str:
    """A piece as it stands inside a longer text."""
    return f"x {piece}"


def _separated(ends: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """[t, u, v]: whether vocabularies u and v are apart on a string that is cut after `tokens[t]` tokens."""
    near = np.stack([ends[:, tokens - 2], ends[:, tokens - 1], ends[:, tokens]], axis=-1).swapaxes(0, 1)  # (tokens, vocabularies, 3)
    distance = np.abs(near[:, :, None, 1, None] - near[:, None, :, :]).min(axis=3)
    both = np.minimum(distance, distance.swapaxes(1, 2))
    result: np.ndarray = both >= 2
    return result


def align(reply: Reply, tokens: int, *, cut: bool = True) -> Echo | str:
    """The reply as a copy of its payload, or one clause saying why it is none.

    With `cut` the token limit must have ended it, since its end is measured. Without, a faithful copy of the whole or of the beginning
    (SHORTEST_COPY characters, where no limit ended it) will do, whatever the finish reason: its inner edges do not depend on how it
    ends, and ai-proxy says `stop` at the end of every stream.
    """
    payload = reply.ask.payload
    if not reply.ok:
        return f"a request failed ({reply.error.kind if reply.error else 'no answer'})"
    if cut and reply.usage is not None and reply.usage.reasoning_tokens:
        return "hidden reasoning spent part of the token limit"
    text = reply.text.rstrip("\ufffd")
    start = 0
    while start < len(text) and start < _LONGEST_LEAD and text[start] in _LEADS:
        start += 1
    lead, body = text[:start], text[start:].rstrip()
    if not body:
        spent = reply.usage is not None and bool(reply.usage.completion_tokens)
        return "the reply is empty, although tokens were spent: hidden reasoning or a filter took them" if spent else "the reply is empty"
    if body.startswith(THOUGHT):
        return "the model thinks aloud before it answers"
    if not cut and body.startswith(payload) and not body[len(payload) :].strip(CLOSINGS):
        body = payload
    if body.startswith(payload) and body != payload:
        return "the whole string and more came back, so the token limit was not applied"
    if not payload.startswith(body):
        return "the model does not copy the string"
    if cut and reply.finish != "length":
        return "the reply was not cut at the token limit"
    if cut and len(body) == len(payload):
        return "the whole string came back, so the token limit was not applied"
    if reply.finish != "length" and len(body) < min(SHORTEST_COPY, len(payload)):
        return "too little of the string came back"
    return Echo(payload, tokens, lead, len(body), _edges(reply, len(lead) + len(body)))


def commonest(reasons: Sequence[str]) -> str | None:
    """The reason that most replies gave, the first of equals; None for no reasons."""
    return max(reasons, key=reasons.count, default=None)


def _edges(reply: Reply, end: int) -> tuple[int, ...]:
    offsets, position = [], 0
    for chunk in reply.chunks:
        position += len(chunk.text)
        if 0 < position < end:
            offsets.append(position)
    return tuple(sorted(set(offsets)))
