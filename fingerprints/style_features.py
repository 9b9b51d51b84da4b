"""What is kept of one answer to an unknown question: how often it uses each habit of writing, as hashed counts.

Takes a text, gives numbers: words, letters, and above all a skeleton of the text in which function words, punctuation and layout stay and
every other word becomes its shape (text distortion, Stamatatos 2017), so that the topic of the question says little. Brand names are
masked, numpy alone, and no sentence can be read back.
"""

from __future__ import annotations

import re
import zlib
from functools import lru_cache
from importlib.resources import files
from typing import Literal

import numpy as np
import numpy.typing as npt

from fingerprints.same_prompt_features import normalise

Floats = npt.NDArray[np.float32]
Hashes = npt.NDArray[np.uint32]
Language = Literal["english", "korean", "other"]

PREFIX_CHARACTERS = 2000
"""Characters of an answer that are read."""
LEAST_CHARACTERS = 30
"""Shorter answers show no style."""
_BITS = {"words": 13, "word pairs": 14, "skeleton": 15, "letters": 14, "line starts": 12, "openings": 11}
"""Group of features -> binary logarithm of its number of buckets."""
_OFFSETS = dict(zip(_BITS, np.cumsum([0, *[1 << bits for bits in _BITS.values()]]), strict=False))
_HASHED = sum(1 << bits for bits in _BITS.values())
_TOKEN = re.compile(r"[A-Za-z]+(?:['’][a-z]+)?|[0-9]+|[\uac00-\ud7a3]+|[^\W\d_]+|\n\s*|([^\w\s])\1*|_+")
_SPREAD = np.uint32(0x9E3779B1)  # 2^32 over the golden ratio: multiplicative hashing (Knuth, volume 3, 6.4)
_ODD = np.uint32(0x01000193)
_MARKS = (
    *(".", ",", ";", ":", "!", "?", "(", '"', "'", "*", "#", "-", "–", "—", "`", "|", "/", "\\", "$", "=", "…", "“", "‘", "’", "→", "**"),
    *(":\n", "  \n", "\n\n", "\\(", "\\[", "```", " - ", "n't", "'s", "\n- ", "\n* ", "\n• ", "\n#", "\n1.", "\n---"),
)
_ENGLISH_SHARE = 0.2
"""Share of function words among words from which a text is taken for English: .35 to .5 in English answers of the corpora."""
_KOREAN_SHARE = 0.25
"""Share of Hangul among letters from which a text is taken for Korean."""


def features(text: str) -> Floats:
    """(`feature_count()`,) of one raw answer: square roots of shares within each group, then layout counts."""
    clean = normalise(text, PREFIX_CHARACTERS)
    words, skeleton, breaks = _tokens(clean)
    letters = np.frombuffer(clean.encode("utf-32-le", "surrogatepass"), np.uint32) * _SPREAD + np.uint32(1)
    starts = np.concatenate([np.zeros(1, np.intp), np.flatnonzero(breaks) + 1])
    grams = {
        "words": [_grams(words, 1)],
        "word pairs": [_grams(words, 2)],
        "skeleton": [_grams(skeleton, length) for length in (1, 2, 3, 4)],
        "letters": [_grams(letters, length) for length in (1, 2, 3, 4)],
        "line starts": [_grams(skeleton, length, starts) for length in (1, 2, 3)],
        "openings": [_grams(words, length, starts[:1]) for length in (1, 2, 3)],
    }
    buckets = []
    shares = []
    for name, hashes in grams.items():
        found = np.concatenate(hashes)
        buckets.append(((found * _SPREAD) >> np.uint32(32 - _BITS[name])).astype(np.intp) + _OFFSETS[name])
        shares.append(np.full(len(found), 1 / max(len(found), 1)))
    hashed = np.bincount(np.concatenate(buckets), np.concatenate(shares), minlength=_HASHED).astype(np.float32)
    return np.concatenate([np.sqrt(hashed, out=hashed), _layout(clean)])


def feature_count() -> int:
    """Length of the features of one answer."""
    return _HASHED + len(_layout("x"))


def layout_features() -> npt.NDArray[np.intp]:
    """Indices of the layout counts."""
    return np.arange(_HASHED, feature_count())


def group_features(*names: str) -> npt.NDArray[np.intp]:
    """Indices of the hashed groups `names` (keys such as "words", "letters"). Raises KeyError."""
    return np.concatenate([np.arange(_OFFSETS[name], _OFFSETS[name] + (1 << _BITS[name])) for name in names])


def language(text: str) -> Language:
    """What an answer is written in."""
    clean = text[:PREFIX_CHARACTERS]
    codes = np.frombuffer(clean.encode("utf-32-le", "surrogatepass"), np.uint32)
    words = [match.group() for match in _TOKEN.finditer(clean) if match.group()[0].isalpha()]
    if _between(codes, "\uac00", "\ud7a3") > _KOREAN_SHARE * max(sum(map(len, words)), 1):
        return "korean"
    common = sum(_folded(word) in _function_words() for word in words)
    return "english" if words and common >= _ENGLISH_SHARE * len(words) else "other"


def _tokens(text: str) -> tuple[Hashes, Hashes, npt.NDArray[np.bool_]]:
    """Hash of each token, hash of what the skeleton keeps of it, and whether it is a line break."""
    rows = [_token(match.group()) for match in _TOKEN.finditer(text)] or [(0, 0, False)]
    words, skeleton, breaks = zip(*rows, strict=True)
    return np.array(words, np.uint32), np.array(skeleton, np.uint32), np.array(breaks, bool)


@lru_cache(maxsize=1 << 16)
def _token(token: str) -> tuple[int, int, bool]:
    return _hash(_folded(token)), _hash("skeleton " + _shape(token)), token[0] == "\n"


def _shape(token: str) -> str:
    """What the skeleton keeps: function words as they are, of other words case and length, of Korean ones the ending."""
    first, folded = token[0], _folded(token)
    if first == "\n":
        return "\n" * min(token.count("\n"), 3) + str(min(len(token) - 1 - token.rfind("\n"), 8))
    if folded in _function_words():
        return token if first.islower() else "^" + folded
    if first.isdigit():
        return "9" * min(len(token), 4)
    if "\uac00" <= first <= "\ud7a3":
        return "K" + (token[-2:] if len(token) > 2 else token[-1])
    if first < "\u0250" and first.isalpha():
        size = "" if len(token) < 4 else "4" if len(token) < 8 else "8"
        return ("A" if token.isupper() else "X" if first.isupper() else "x") + size + ("'" if "'" in folded else "")
    return "Z" + token[-1] if first.isalpha() else token[:4]


def _folded(token: str) -> str:
    return token.lower().replace("’", "'")


@lru_cache(maxsize=1)
def _function_words() -> frozenset[str]:
    return frozenset((files("fingerprints") / "data" / "style_words.txt").read_text(encoding="utf-8").split())


def _hash(text: str) -> int:
    return zlib.crc32(text.encode("utf-8", "surrogatepass"))


def _grams(codes: Hashes, length: int, starts: npt.NDArray[np.intp] | None = None) -> Hashes:
    """Hash of each run of `length` codes (of those that begin at `starts`)."""
    if starts is None:
        runs = [codes[place : max(len(codes) - length + 1 + place, 0)] for place in range(length)]
    else:
        kept = starts[starts + length <= len(codes)]
        runs = [codes[kept + place] for place in range(length)]
    rolling = np.full(len(runs[0]), length * 7919, np.uint32)
    for run in runs:
        rolling = (rolling ^ (rolling >> np.uint32(15))) * _ODD + run * _SPREAD
    return rolling ^ (rolling >> np.uint32(13))


def _layout(text: str) -> Floats:
    """Lengths, marks, kinds of letters: logarithms or shares, so that all are of the order of 1."""
    length = max(len(text), 1)
    lines = [line.strip() for line in text.split("\n") if line.strip()] or [""]
    words = max(len(text.split()), 1)
    sizes = [np.log1p(length), np.log1p(len(lines)), np.log1p(length / len(lines)), length / words]
    marks = [np.log1p(1000 * text.count(mark) / length) for mark in _MARKS]
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    upper, digits = _between(codes, "A", "Z"), _between(codes, "0", "9")
    pictures = _between(codes, "\u2600", "\u27bf") + _between(codes, "\U0001f000", "\U0010ffff")
    ends = [text.endswith((".", "!")), text.endswith("?"), text[:1].isupper(), text[:1] in ("*", "#")]
    edges = [np.log1p(len(lines[0])), np.log1p(len(lines[-1])), np.log1p(sum(line.endswith(":") for line in lines))]
    return np.array([*sizes, *marks, 10 * upper / length, 10 * digits / length, np.log1p(pictures), *ends, *edges], np.float32)


def _between(codes: Hashes, first: str, last: str) -> int:
    return int(np.count_nonzero((codes >= ord(first)) & (codes <= ord(last))))
