"""What is kept of one open answer: a content sketch and a style vector, computed from its first characters with numpy alone.

Takes a text and gives numbers from which no sentence can be read back. Brand names are masked, so that an answer is known by how it
is written and never by what it calls itself; only the beginning is read, so that an audit may cap what it pays for.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Hashes = npt.NDArray[np.uint32]

PREFIX_CHARACTERS = 1200
"""Characters of an answer that are read. On misguided_attention the exact model was named as often from 1,200 as from 4,000
(.98 at 10 answers), so an audit need not pay for more."""
LEAST_CHARACTERS = 20
"""Shorter answers show no style and are counted as invalid."""
CONTENT_BUCKETS = 1 << 15
_STYLE_CHARACTER_BUCKETS = 1 << 13
_STYLE_WORD_BUCKETS = 1 << 12
_GRAM_SCALE = 30.0
"""Brings the entries of the unit-length n-gram vectors to the size of the layout counts (about 1)."""

_BRANDS = re.compile(
    r"(?i)claude|anthropic|open\s?ai|chat\s?gpt|gpt(?:-?\d[\w.]*)?|llama|\bmeta\b|gemini|gemma|google|qwen|tongyi|alibaba|mistral|deepseek|grok|\bxai\b"
    r"|클로드|앤트로픽|앤스로픽|오픈\s?AI|챗\s?GPT|라마|메타|제미나이|구글|큐원|알리바바|미스트랄|딥시크"
    r"|克劳德|羊驼|谷歌|通义千问|阿里巴巴|深度求索|米斯特拉尔|クロード|ジェミニ|グーグル|ラマ|アリババ|ミストラル|ディープシーク"
)
_BRAND_HINTS = tuple(
    "claude anth open gpt llam meta gem goog qwen tong alib mist deep grok xai 클로 앤트 앤스 오픈 라마 메타 제미 구글 큐원 알리 미스 딥시 "
    "克劳 羊驼 谷歌 通义 阿里 深度 米斯 クロ ジェ グー ラマ アリ ミス ディ".split()
)
"""One of these stands in every text that `_BRANDS` matches, folded: looking for them first is ten times faster."""
_WORDS = re.compile(r"\w+|[^\w\s]|\n+")
_PRIME = np.uint32(0x01000193)  # FNV's; any odd multiplier serves
_SIGN_LINES = tuple(
    re.compile(pattern)
    for pattern in (
        *(r"[-–] ", r"\* ", r"\*   ", r"• ", r"\d+\. ", r"\d+\) ", r"# ", r"## ", r"### ", r"####", r"\*\*", r"\d+\. \*\*", r"[-*•] +\*\*"),
        *(r"> ", r"\|", r"(?:-{3}|\*{3})$", r"```", r"\*\*.*\*\*:?$", r"\*\*.*:\*\*", r"\(", r"\$", r"\\\["),
    )
)
"""How a line may begin that does not begin with a letter."""
_LETTER_LINES = (re.compile(r"\S{1,40}:$"), re.compile(r"[A-Z]"), re.compile(r".*:$"))
_MARKS = (
    *".,;:!?()[]\"'*_#-—–`|/\\$%=+><&~{}…“”‘’→✅≠×",
    "**",
    ":\n",
    "  ",
    "  \n",
    "\n\n",
    "\\(",
    "\\[",
    "$$",
    "```",
    " - ",
    "n't",
    "'s",
    "’s",
)


@dataclass(frozen=True, slots=True)
class Traits:
    """What is kept of some answers, one row each."""

    content: Floats
    """(answers, dimensions): signed sums of hashed n-gram counts, each row of about unit length."""
    style: Floats
    """(answers, style features): see `style_features`; projected by the caller."""


def normalise(text: str, characters: int = PREFIX_CHARACTERS) -> str:
    """`text` without surrounding white space (which gives away the wire, not the model), brands masked, cut at `characters`."""
    beginning = text.strip()[: 2 * characters]
    folded = beginning.lower()
    return (_BRANDS.sub("@", beginning) if any(hint in folded for hint in _BRAND_HINTS) else beginning)[:characters]


def traits(texts: Sequence[str], dimensions: int, characters: int = PREFIX_CHARACTERS) -> Traits:
    """Content sketches and style features of raw answers. `dimensions` must divide `CONTENT_BUCKETS`."""
    content = np.zeros((len(texts), dimensions), np.float32)
    style = np.zeros((len(texts), style_feature_count()), np.float32)
    for row, text in enumerate(texts):
        clean = normalise(text, characters)
        letters = {length: hashes for length, hashes in _character_grams(clean, 5)}
        words = {length: hashes for length, hashes in _word_grams(clean, 3)}
        content[row] = _sketch([letters[n] for n in (2, 3, 4, 5)] + [words[n] for n in (1, 2, 3)], dimensions)
        style[row] = _style([letters[n] for n in (1, 2, 3, 4)], [words[n] for n in (1, 2)], clean)
    return Traits(content, style)


def style_feature_count() -> int:
    """Length of the style features of one answer: hashed character and word n-grams, then layout counts."""
    return _STYLE_CHARACTER_BUCKETS + _STYLE_WORD_BUCKETS + len(_layout("x"))


def _character_grams(text: str, longest: int) -> Iterator[tuple[int, Hashes]]:
    codes = _mixed(np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32) + np.uint32(1))
    yield from _grams(codes, longest, 7919)


def _word_grams(text: str, longest: int) -> Iterator[tuple[int, Hashes]]:
    words = np.array([_word_hash(word) for word in _WORDS.findall(text.lower())], np.uint32)
    yield from _grams(words, longest, 104729)


@lru_cache(maxsize=1 << 16)
def _word_hash(word: str) -> int:
    return zlib.crc32(word.encode("utf-8", "surrogatepass"))


def _grams(codes: Hashes, longest: int, salt: int) -> Iterator[tuple[int, Hashes]]:
    """(length, hash of each run of that length) for lengths 1 to `longest`."""
    rolling = codes
    for length in range(1, longest + 1):
        if length > 1:
            rolling = rolling[:-1] * _PRIME + codes[length - 1 :] if len(codes) >= length else codes[:0]
        yield length, _mixed(rolling + np.uint32(length * salt))


def _mixed(hashes: Hashes) -> Hashes:
    """A bijection that spreads every input bit (the finaliser of a common 32-bit integer hash)."""
    out = hashes.copy()
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        out ^= out >> np.uint32(shift)
        out *= np.uint32(factor)
    return out ^ (out >> np.uint32(16))


def _counts(grams: Sequence[Hashes], buckets: int) -> Floats:
    hashes = np.concatenate(grams) & np.uint32(buckets - 1)
    counts = np.log1p(np.bincount(hashes, minlength=buckets).astype(np.float32))
    return (counts / max(float(np.linalg.norm(counts)), 1e-9)).astype(np.float32)


def _sketch(grams: Sequence[Hashes], dimensions: int) -> Floats:
    """Feature hashing with signs (Weinberger et al. 2009) after the counts were damped."""
    signed = _counts(grams, CONTENT_BUCKETS) * _signs()
    folded: Floats = signed.reshape(-1, dimensions).sum(axis=0, dtype=np.float32)
    return folded


@lru_cache(maxsize=1)
def _signs() -> Floats:
    return np.where(_mixed(np.arange(CONTENT_BUCKETS, dtype=np.uint32)) & np.uint32(1), 1, -1).astype(np.float32)


def _style(letters: Sequence[Hashes], words: Sequence[Hashes], text: str) -> Floats:
    characters = _counts(letters, _STYLE_CHARACTER_BUCKETS) * _GRAM_SCALE
    vocabulary = _counts(words, _STYLE_WORD_BUCKETS) * _GRAM_SCALE
    return np.concatenate([characters, vocabulary, np.array(_layout(text), np.float32)])


def _layout(text: str) -> list[float]:
    """Lengths, kinds of lines, marks: logarithms or shares, so that all are of the order of 1."""
    length = max(len(text), 1)
    lines = [line for line in text.split("\n") if line.strip()] or [""]
    words = max(len(text.split()), 1)
    sizes = [np.log1p(length), np.log1p(words), np.log1p(len(lines)), np.log(length / len(lines) + 1), length / words]
    stripped = [line.strip() for line in lines]
    signs = [line for line in stripped if not line[:1].isalpha()]
    starts = [sum(pattern.match(line) is not None for line in signs) / len(lines) for pattern in _SIGN_LINES]
    starts += [sum(pattern.match(line) is not None for line in stripped) / len(lines) for pattern in _LETTER_LINES]
    marks = [np.log1p(1000 * text.count(mark) / length) for mark in _MARKS]
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    shares = [10 * _between(codes, "A", "Z") / length, 10 * _between(codes, "0", "9") / length]
    pictures = _between(codes, "\u2600", "\u27bf") + _between(codes, "\U0001f000", "\U0010ffff")
    indented = sum(line[:1].isspace() for line in lines) / len(lines)
    ends = [float(text.endswith((".", "!"))), float(text.endswith("?")), float(text[:1].isupper()), float(text[:1] in "*#")]
    edges = [np.log1p(len(stripped[0])), np.log1p(len(stripped[-1])), np.log1p(text.find("\n") + 1)]
    return [float(value) for value in (*sizes, *starts, *marks, *shares, np.log1p(pictures), indented, *ends, *edges)]


def _between(codes: Hashes, first: str, last: str) -> int:
    return int(np.count_nonzero((codes >= ord(first)) & (codes <= ord(last))))
