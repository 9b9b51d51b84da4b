"""Fresh random text whose length in tokens depends on the vocabulary.

Takes a seeded generator, gives short lines of words, letters, digits and emoji in many scripts. Every line begins and ends
with a letter or digit, so that joined lines never merge and their token counts add up (measured: exactly, over 11 kinds of
line and 6 chat templates). Pure: the same generator state gives the same line, and nothing is ever taken from a stock of
fixed sentences that a router could learn to recognise.
"""

from __future__ import annotations

import random
import string
import tomllib
from collections.abc import Callable
from functools import cache
from importlib import resources

_ZWJ = ("👨‍👩‍👧‍👦", "👩🏽‍💻", "🏳️‍🌈", "❤️‍🔥", "🧑‍🚀", "🏴‍☠️", "👁️‍🗨️", "🙆🏻‍♀️", "👨🏿‍🦰", "🧎🏾‍♂️")
"""Emoji joined by zero-width joiners: single signs to a reader, 2 to 13 tokens to a vocabulary."""

_MATH = "∑∏∫√∞≤≥≠≈∂∇∈∉⊂∪∩∀∃αβγδ"


@cache
def words(language: str) -> tuple[str, ...]:
    """The word list of `language` (english, korean or chinese). Raises KeyError for another."""
    text = (resources.files("fingerprints") / "data" / "words.toml").read_text(encoding="utf-8")
    return tuple(tomllib.loads(text)[language].split())


def _sample(rng: random.Random, alphabet: str, n: int) -> str:
    return "".join(rng.choice(alphabet) for _ in range(n))


def _block(rng: random.Random, first: int, last: int, n: int) -> str:
    return "".join(chr(rng.randint(first, last)) for _ in range(n))


_KINDS: dict[str, Callable[[random.Random], str]] = {
    "english_upper": lambda r: " ".join(r.sample(words("english"), 5)).upper(),
    "english_camel": lambda r: "".join(word.capitalize() for word in r.sample(words("english"), 5)),
    "korean_words": lambda r: " ".join(r.sample(words("korean"), 6)),
    "chinese_words": lambda r: "".join(r.sample(words("chinese"), 8)),
    "hangul": lambda r: _block(r, 0xAC00, 0xD7A3, 10),
    "digits": lambda r: " ".join(_sample(r, string.digits, r.randint(2, 9)) for _ in range(5)) + " x",
    "letters": lambda r: _sample(r, string.ascii_lowercase, 30),
    "upper_letters": lambda r: _sample(r, string.ascii_uppercase, 24),
    "cyrillic": lambda r: _block(r, 0x0430, 0x044F, 24),
    "amharic": lambda r: _block(r, 0x1200, 0x1246, 10),
    "fullwidth": lambda r: _block(r, 0xFF21, 0xFF3A, 12),
    "math": lambda r: "x" + _sample(r, _MATH, 14) + "x",
    "emoji_zwj": lambda r: "x" + "".join(r.choice(_ZWJ) for _ in range(3)) + "x",
    "georgian": lambda r: _block(r, 0x10D0, 0x10F0, 16),
    "devanagari": lambda r: _block(r, 0x0915, 0x0938, 16),
}


def kinds() -> tuple[str, ...]:
    """Names of the kinds of line that `line` can make."""
    return tuple(_KINDS)


def line(kind: str, rng: random.Random) -> str:
    """One fresh line of `kind`, 10 to 60 characters, drawn from `rng`. Raises KeyError for an unknown kind."""
    return _KINDS[kind](rng)


def _pseudo_word(rng: random.Random) -> str:
    return "".join(rng.choice("bcdfghjklmnpqrstvwz") + rng.choice("aeiou") for _ in range(3))


_ECHO_PIECES: tuple[Callable[[random.Random], str], ...] = (
    lambda r: " ".join(r.sample(words("english"), 3)).upper(),
    lambda r: "".join(word.capitalize() for word in r.sample(words("english"), 4)),
    lambda r: "".join(word.capitalize() for word in r.sample(words("english"), 4)),
    lambda r: " ".join(r.sample(words("korean"), 3)),
    lambda r: " ".join(_pseudo_word(r) for _ in range(3)),
)
"""Pieces that vocabularies split differently and small models still copy: o200k and Llama 3 differ by 0.2 tokens in 8 plain
English words, by 1.25 in 6 joined capitals, by 1.95 in 5 invented words. Runs of random letters or digits are not copied."""


def echo_text(rng: random.Random, pieces: int = 3) -> str:
    """Fresh words for a "repeat exactly" question that small models can copy too: about 25 characters a piece."""
    return " ".join(piece(rng) for piece in rng.sample(_ECHO_PIECES * 2, pieces))


_EDGE_KINDS: dict[str, Callable[[random.Random], str]] = {
    "upper_word": lambda r: r.choice(words("english")).upper(),
    "joined_words": lambda r: "".join(r.sample(words("english"), 2)),
    "camel_pseudo": lambda r: "".join(_pseudo_word(r).capitalize() for _ in range(2)),
    "korean_words": lambda r: " ".join(r.sample(words("korean"), 2)),
    "chinese_words": lambda r: "".join(r.sample(words("chinese"), 4)),
    "digits": lambda r: _sample(r, string.digits, r.randint(5, 9)),
}
"""Pieces in which the token boundaries of many vocabularies differ and that are words or digits: runs of random letters, upper case and
Cyrillic in their place raised the share of vocabularies that a tenth of the edges excludes from 75 to 80 % only (12 strings of 150
characters while this was made), and are harder to copy."""


def edge_kinds() -> tuple[str, ...]:
    """Names of the kinds of piece that `edge_piece` can make."""
    return tuple(_EDGE_KINDS)


def edge_piece(kind: str, rng: random.Random) -> str:
    """One fresh piece of `kind`, 3 to 20 characters, for a long string to repeat. Raises KeyError for an unknown kind."""
    return _EDGE_KINDS[kind](rng)
