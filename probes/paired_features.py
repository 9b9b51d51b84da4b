"""What a score may look at in a short answer: the answer itself, its first word, its shape, how much it repeats the question.

Takes a question's kind and text and one answer, gives a `Described` answer: symbols to count and a vector to learn from. Answers are
hostile input: only their first MAX_CHARACTERS are looked at. Nothing here knows which endpoint an answer came from.
"""

from __future__ import annotations

import math
import unicodedata
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

MAX_CHARACTERS = 160
"""Characters of an answer that are looked at; 12 to 16 tokens are rarely longer."""
CUT_CHARACTER = "\ufffd"
"""What engines put where the limit cuts a character in half (transformers does, llama.cpp leaves it out): no part of an answer."""
DIMENSIONS = 1024
"""Hashed features. An answer has about 60, so that collisions blur little."""
GENERAL_WEIGHT = 2.0
"""Weight of a feature such as the shape or the first word, against 1 for a word or three letters. Chosen, with the learner's
numbers in paired_process.py, on 400 answers each of two local models that no published figure uses."""
VIEWS = ("answer", "first", "shape")
"""Symbols that cell scores count: the whole answer, its first word, its shape."""
VIEWS_BY_KIND = frozenset({"answer"})
"""Views that are counted per kind of question; the others over all kinds together."""

_SCRIPTS = (("hangul", 0xAC00, 0xD7A3), ("han", 0x4E00, 0x9FFF), ("kana", 0x3040, 0x30FF), ("latin", 0x41, 0x24F))


@dataclass(frozen=True, slots=True, eq=False)
class Described:
    """One answer as scores see it."""

    kind: str
    """The question's kind."""
    symbols: tuple[str, ...]
    """One symbol per view, in the order of VIEWS."""
    vector: Vector
    """Shape (DIMENSIONS,), length 1."""


def describe(kind: str, question: str, answer: str) -> Described:
    """The symbols and the feature vector of `answer` to a `question` of this kind. Never raises, whatever the answer holds."""
    raw = answer.strip().rstrip(CUT_CHARACTER)[:MAX_CHARACTERS]
    words = normal(raw).split()
    asked = set(normal(question).split())
    whole = " ".join(words)
    first = words[0].strip(".,!?;:\"'*`()[]。，！？、：") if words else ""
    echoed = round(4 * sum(word in asked for word in words) / len(words)) if words else 0
    shape = f"{_script(raw)}/{_size(raw)}/{raw[-1:] in ('.', '!', '?', '。')}/{chr(10) in raw}/{raw[:1].isupper()}/{echoed}"
    general = {
        f"first {kind} {first}",
        f"first {first}",
        f"shape {shape}",
        f"kind and shape {kind} {_script(raw)} {_size(raw)}",
        f"kind and letter {kind} {first[:1]}",
        f"echoed {echoed}",
        f"words {len(words)}",
    }
    particular = {
        f"answer {kind} {whole}",
        *(f"word {word}" for word in words),
        *(f"letters {whole[i : i + 3]}" for i in range(len(whole) - 2)),
    }
    return Described(kind, (whole, first, shape), _vector(general, particular))


def normal(text: str) -> str:
    """`text` in one form for all engines: compatibility-composed, case folded, single spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _vector(general: set[str], particular: set[str]) -> Vector:
    """Hashed features, scaled to length 1; the few that any two answers may share weigh more than the many that rarely recur."""
    vector = np.zeros(DIMENSIONS)
    for features, weight in ((general, GENERAL_WEIGHT), (particular, 1.0)):
        for feature in features:
            vector[zlib.crc32(feature.encode("utf-8", "surrogatepass")) % DIMENSIONS] += weight
    return vector / math.sqrt(float(vector @ vector))


def _script(text: str) -> str:
    """The script of the first letter or digit."""
    first = next((char for char in text if char.isalnum()), "")
    if not first or first.isdigit():
        return "digit" if first else "none"
    return next((name for name, low, high in _SCRIPTS if low <= ord(first) <= high), "other")


def _size(text: str) -> int:
    """Length in doublings: 0 for nothing, 1 for one character, 2 for two or three, and so on."""
    return len(text).bit_length()
