"""How Claude's tokenizers rewrite a text before tiling it: words get boundary and case markers, one space between words disappears.

It takes a text and a family's rewriting rules and gives the marked stream that :mod:`fingerprints.claude` tiles. The rules were
measured by Sander Land (ctok 1.3.0, MIT) against the vendor's count endpoint; this is an implementation of our own, and its tables are
in data/claude.toml. It must never be read as the vendor's segmentation: only the number of tiles is known to be right.
"""

from __future__ import annotations

import tomllib
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache
from pathlib import Path

import regex

# Markers are private-use characters: normalisation removes those from the text, so none can stand for itself.
BEGIN, END, SHIFT, CAPS = "\ue000", "\ue001", "\ue002", "\ue003"

TABLES = tomllib.loads((Path(__file__).parent / "data" / "claude.toml").read_text(encoding="utf-8"))
_TEXT = TABLES["text"]
_CONTRACTIONS = frozenset(_TEXT["contractions"])
_LOWER_OF = dict(_TEXT["case_pairs"])
_UNLISTED_CASED = frozenset(_LOWER_OF) | frozenset(_LOWER_OF.values())
_DROPPED = regex.compile(r"[\x01-\x08\x0B-\x1F\x7F-\x9F\uE000-\uF8FF]+")
_SPACES = regex.compile(r"[\0\p{Zs}\p{Zl}\p{Zp}--\u3000]", flags=regex.V1)
_SURROGATES = regex.compile(r"[\uD800-\uDFFF]")
_STRAIGHT_QUOTES = str.maketrans("‘’“”", "''\"\"")
_THAI_SARA_AM = ("\u0e4d\u0e32", "\u0e33")
_SEAM = regex.compile(f"(?<={END}) (?=[{SHIFT}{CAPS}]*{BEGIN})")
_MARK, _ALPHABETIC = regex.compile(r"\p{M}"), regex.compile(r"\p{Alphabetic}")


@dataclass(frozen=True, slots=True)
class Rewriting:
    """A family's rules: ``allcaps`` is the shortest all-capitals word written with a capitals marker (0: none); ``opens_word`` says
    that the message frame ends in a word boundary."""

    allcaps: int
    fold_quotes: bool
    opens_word: bool


class Kind(Enum):
    """Classes of characters; a run is a maximal stretch of one kind."""

    WORD = auto()
    STRAY = auto()  # combining marks with no letter before them
    DIGIT = auto()  # ASCII and Arabic-Indic digits
    NUMBER = auto()  # other digits and numbers of the basic plane
    PUNCTUATION = auto()
    SYMBOL = auto()  # other punctuation, symbols, format characters and mark separators of the basic plane
    ISOLATED = auto()  # Han, Hangul, everything beyond the basic plane
    SELECTOR = auto()  # variation selectors: they ride the run before them
    SPACE = auto()


_BORDERED = (Kind.PUNCTUATION, Kind.SYMBOL, Kind.SELECTOR)


def rewrite(text: str, rules: Rewriting) -> tuple[str, int]:
    """The marked stream of a text, and how many newlines ended it (they are left out: the frame's own newlines join them)."""
    normal = normalise(text, rules.fold_quotes)
    body = normal.rstrip("\n")
    newlines = len(normal) - len(body)
    if rules.opens_word and text.startswith(" ") and body[:1] == " " and body[1:2] != " ":
        body = body[1:]  # the frame's word boundary stands for one leading space
    runs = [*_runs(body)]
    stream = "".join([_opening(runs, rules), *(_marked(runs, index, rules) for index in range(len(runs)))])
    return _SEAM.sub("", stream), newlines


def normalise(text: str, fold_quotes: bool) -> str:
    """NFC without control and private-use characters, all spaces but the ideographic one as U+0020."""
    text = unicodedata.normalize("NFC", _SURROGATES.sub("\ufffd", text))
    text = _DROPPED.sub("", text.replace(*_THAI_SARA_AM))
    if fold_quotes:
        text = text.translate(_STRAIGHT_QUOTES)
    return _SPACES.sub(" ", text)


@lru_cache(maxsize=8192)
def kind(character: str) -> Kind:
    """The class of one character; STRAY is decided by its neighbours and not here."""
    code = ord(character)
    if character in _UNLISTED_CASED:
        return Kind.WORD
    category = unicodedata.category(character)
    if category[0] == "Z" or character in "\t\n":
        return Kind.SPACE
    if _within(code, _TEXT["symbol_letters"]):
        return Kind.WORD
    if category == "Nd" and (code < 0x80 or 0x0660 <= code <= 0x0669 or 0x06F0 <= code <= 0x06F9):
        return Kind.DIGIT
    if (code < 0x80 and category[0] in "PS") or character in _TEXT["punctuation"]:
        return Kind.PUNCTUATION
    if 0xFE00 <= code <= 0xFE0F:
        return Kind.SELECTOR
    if code >= 0x10000:
        return Kind.ISOLATED
    if _MARK.fullmatch(character):
        # An alphabetic mark stays in its word; any other stands outside it, like a symbol.
        return Kind.WORD if _ALPHABETIC.fullmatch(character) else Kind.SYMBOL
    if category[0] == "L" and not _within(code, _TEXT["isolated_blocks"]) and character not in _TEXT["isolated_letters"]:
        return Kind.WORD
    if category in ("Nd", "No"):
        return Kind.NUMBER
    ideographic = 0x3001 <= code <= 0x303F and (category[0] == "P" or character in _TEXT["ideographic_symbols"])
    if (category[0] in "PS" or category in ("Cf", "Cn")) and not ideographic:
        return Kind.SYMBOL
    return Kind.ISOLATED


def _within(code: int, blocks: list[list[int]]) -> bool:
    return any(first <= code <= last for first, last in blocks)


def _runs(text: str) -> Iterator[tuple[Kind, str]]:
    run, current = "", Kind.SPACE
    for character in text:
        here = kind(character)
        if here is Kind.WORD and (current is not Kind.WORD or not run) and _may_stray(character):
            here = Kind.STRAY
        elif here is Kind.SELECTOR:
            here = current if run and current in (Kind.NUMBER, Kind.SYMBOL, Kind.ISOLATED) else Kind.ISOLATED
        if here is not current and run:
            yield current, run
            run = ""
        current = here
        run += character
    if run:
        yield current, run


def _may_stray(character: str) -> bool:
    return unicodedata.combining(character) != 0 and not _within(ord(character), _TEXT["letter_marks"])


def _opening(runs: list[tuple[Kind, str]], rules: Rewriting) -> str:
    """The frame's word boundary, where the first run does not take it up."""
    if not rules.opens_word:
        return ""
    if not runs:
        return BEGIN
    if _quote_opens_word(runs, 0):
        return " "
    first, body = runs[0]
    taken = (
        first in (Kind.WORD, Kind.STRAY, Kind.PUNCTUATION)
        or kind(body[0]) in _BORDERED
        or _bordered_number(runs[0], 0)
        or (first is Kind.SPACE and body[0] == " ")
    )
    return "" if taken else BEGIN


def _marked(runs: list[tuple[Kind, str]], index: int, rules: Rewriting) -> str:
    """One run with the markers it carries."""
    run = runs[index]
    here, body = run
    if here is Kind.WORD:
        if index and runs[index - 1][0] is Kind.STRAY:
            return body + END  # the marks before it have begun this word
        case, body = mark_case(body, rules.allcaps)
        return case + ("" if _contracted(runs, index) else BEGIN) + body + END
    if here is Kind.STRAY:
        joined = index + 1 < len(runs) and runs[index + 1][0] is Kind.WORD
        return BEGIN + body + ("" if joined else END)
    begins = _space_before(runs, index, rules) and _takes_marker(run, 0) and not _quote_opens_word(runs, index)
    ends = _space_after(runs, index) and _takes_marker(run, -1)
    return (BEGIN if begins else "") + body + (END if ends else "")


def _takes_marker(run: tuple[Kind, str], side: int) -> bool:
    """Whether a run other than a word is marked where it borders a space on that side (0: left, -1: right)."""
    here, body = run
    if here is Kind.SPACE:
        return False
    return here is Kind.PUNCTUATION or kind(body[side]) in _BORDERED or _bordered_number(run, side)


def _bordered_number(run: tuple[Kind, str], side: int) -> bool:
    """A run of numbers, all of one category, is marked on a side where it does not show an ASCII digit."""
    here, body = run
    if here not in (Kind.DIGIT, Kind.NUMBER) or body[side].isascii():
        return False
    return len({unicodedata.category(character) for character in body}) == 1


def _space_before(runs: list[tuple[Kind, str]], index: int, rules: Rewriting) -> bool:
    if index == 0:
        return rules.opens_word
    before, body = runs[index - 1]
    return before is Kind.SPACE and body[-1] == " "


def _space_after(runs: list[tuple[Kind, str]], index: int) -> bool:
    """Exactly one space, or a space before another kind of white space: a longer run of spaces takes no marker."""
    if index + 1 == len(runs) or runs[index + 1][0] is not Kind.SPACE:
        return False
    body = runs[index + 1][1]
    return body[0] == " " and body[1:2] != " "


def _quote_opens_word(runs: list[tuple[Kind, str]], index: int) -> bool:
    return runs[index][1] == "'" and index + 1 < len(runs) and runs[index + 1][0] in (Kind.WORD, Kind.STRAY)


def _contracted(runs: list[tuple[Kind, str]], index: int) -> bool:
    """Whether an apostrophe stands for this word's beginning, as in "it's": the word is one of the contractions, the apostrophe a
    run of its own, and what is before that would not be marked on its right."""
    if runs[index][1] not in _CONTRACTIONS or index == 0 or runs[index - 1] != (Kind.PUNCTUATION, "'"):
        return False
    return index < 2 or runs[index - 2][0] in (Kind.WORD, Kind.STRAY) or not _takes_marker(runs[index - 2], -1)


def mark_case(word: str, allcaps: int) -> tuple[str, str]:
    """A word's case marker and its spelling: capitals only at the head, or everywhere in a word of at least ``allcaps`` characters,
    become a marker and lower case; any other capitals stay as they are."""
    if "ẞ" in word or (word.islower() and word[0] not in _LOWER_OF):
        return "", word
    capitals = [_is_upper(character) and character != "İ" for character in word]
    if "İ" in word:
        return (SHIFT, _lower(word)) if capitals[0] and not any(capitals[1:]) else ("", word)
    if allcaps and len(word) >= allcaps and any(capitals) and all(map(_fits_capitals, word)):
        return CAPS, _lower(word)
    return (SHIFT, _lower(word)) if capitals[0] and not any(capitals[1:]) else ("", word)


def _fits_capitals(character: str) -> bool:
    """A capital, or a symbol without case; a caseless letter or mark keeps a word from being all capitals."""
    if _is_upper(character):
        return True
    caseless_symbol = unicodedata.category(character)[0] not in "LM" and character not in _UNLISTED_CASED
    return caseless_symbol and not _is_lower(character)


def _is_upper(character: str) -> bool:
    if character in _TEXT["uncased"]:
        return False
    return character in _LOWER_OF or (character.isupper() and character.lower() != character)


def _is_lower(character: str) -> bool:
    return character in _LOWER_OF.values() or character.islower()


def _lower(word: str) -> str:
    """Character by character, so that a final sigma stays an ordinary one; the dotted capital I and uncased capitals stay."""
    kept = _TEXT["uncased"] + "İ"
    return "".join(c if c in kept else _LOWER_OF.get(c) or c.lower() for c in word)
