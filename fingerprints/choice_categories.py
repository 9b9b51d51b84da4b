"""Which choice an answer makes: a number, a letter, a word, a row of bits or the shape of a list of draws, by a small written rule.

Takes a rule (plain JSON, as a pack holds it) and an answer's text, gives a category's number; the last category means "no choice". A
doubtful answer is no choice rather than a guess, any text is survived, and nothing here knows any model.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

MAX_CATEGORIES = 4096
"""Most categories of one question, so that a stranger's rule cannot ask for unbounded memory."""
_MAX_ANSWER_CHARACTERS = 4_000
_MOST_DRAWS = 1_000
_KINDS = ("integers", "letters", "words", "bits", "runs", "pair")
_DECILES = 10
# A model's thinking that a server leaves in the text; what follows it is the answer.
_THINKING = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.DOTALL | re.IGNORECASE)
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:[.,]\d+)*|\d+")
_WORD = re.compile(r"[^\W_]+")


class RuleError(ValueError):
    """A rule that is none of those described in `Rule`; the message is one line."""


@dataclass(frozen=True, slots=True)
class Rule:
    """How texts become categories: `kind` with its `low` and `high`, then `other` buckets, then one category for "no choice".

    integers: the one whole number from low to high that the text names. letters: the single letter A to Z. words: the first word, hashed
    into `high` buckets. bits: the first `high` zeros and ones, exactly. runs: (first bit, number of runs) of the first `high` bits.
    pair: the tenths of [low, high] that the first two numbers lie in. Every other text falls, by its first word, into an `other` bucket.
    """

    kind: str
    low: int
    high: int
    other: int = 0

    @classmethod
    def from_json(cls, data: Any) -> Rule:
        """Read {"integers": [1, 355]}, {"letters": 26}, {"words": 512}, {"bits": 6}, {"runs": 20} or {"pair": [1, 100]}, each with an
        optional "other". Raises RuleError for anything else."""
        values = dict(data) if isinstance(data, Mapping) else {}
        other = values.pop("other", 0)
        kind, value = next(iter(values.items()), ("", None))
        ranged = kind in ("integers", "pair")
        bounds = value if ranged and isinstance(value, list | tuple) and len(value) == 2 else (None if ranged else 1, value)
        if len(values) != 1 or kind not in _KINDS or not all(type(number) is int for number in (*bounds, other)):
            raise RuleError(f"no rule for categories: {str(data)[:80]!r}")
        low, high = cast("tuple[int, int]", bounds)
        rule = cls(kind, low, high, other)
        least = rule.high - rule.low >= (_DECILES - 1 if kind == "pair" else 1) and abs(rule.low) <= 10**9 and rule.high <= 10**9
        if not (least and 0 <= other and rule.size <= MAX_CATEGORIES and (kind != "letters" or rule.high == 26)):
            raise RuleError(f"a rule for more than {MAX_CATEGORIES} categories, or for fewer than two: {str(data)[:80]!r}")
        return rule

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads back to an equal rule."""
        value: Any = [self.low, self.high] if self.kind in ("integers", "pair") else self.high
        return {self.kind: value} | ({"other": self.other} if self.other else {})

    @property
    def choices(self) -> int:
        """Categories that are choices proper; they come first."""
        spans = {"integers": self.high - self.low + 1, "runs": 2 * self.high, "pair": _DECILES**2}
        if self.kind == "bits":
            return 1 << min(self.high, 32)
        return spans.get(self.kind, self.high)

    @property
    def size(self) -> int:
        """All categories, the last of which is "no choice"."""
        return self.choices + self.other + 1

    @property
    def interval(self) -> tuple[int, int] | None:
        """(low, high) where the choices are neighbouring whole numbers, so that a number says something of the numbers beside it."""
        return (self.low, self.high) if self.kind == "integers" else None

    def label(self, category: int) -> str:
        """How a report names a category: the choice itself where it can be told, else the bucket's number."""
        if category >= self.size - 1:
            return "no choice"
        if category >= self.choices or self.kind == "words":
            return f"bucket {category}"
        if self.kind == "integers":
            return str(self.low + category)
        if self.kind == "letters":
            return chr(ord("a") + category)
        if self.kind == "bits":
            return format(category, f"0{self.high}b")
        step = self.high if self.kind == "runs" else _DECILES
        return f"{category // step}, {category % step + (self.kind == 'runs')}"

    def category(self, text: str) -> int:
        """0 to `size` - 1; never raises."""
        plain = _plain(text)
        found = _CHOICE[self.kind](self, plain)
        if found is not None:
            return found
        if self.other and plain:
            return self.choices + _bucket(_first_word(plain), self.other)
        return self.size - 1


def _plain(text: str) -> str:
    """The answer without its thinking, with full-width digits and letters made plain, in lower case."""
    visible = _THINKING.sub(" ", text[:_MAX_ANSWER_CHARACTERS])
    return unicodedata.normalize("NFKC", visible)[:_MAX_ANSWER_CHARACTERS].casefold().strip()


def _integer(rule: Rule, plain: str) -> int | None:
    numbers = {int(number) if len(number) < 10 and number.isdecimal() else None for number in _NUMBER.findall(plain)}
    if len(numbers) > 1:  # "from 1 to 355 I choose 42": the question's own bounds, repeated
        numbers -= {rule.low, rule.high} if {rule.low, rule.high} <= numbers else set()
    number = numbers.pop() if len(numbers) == 1 else None
    return number - rule.low if number is not None and rule.low <= number <= rule.high else None


def _letter(_rule: Rule, plain: str) -> int | None:
    alone = set(re.findall(r"(?<![a-z'])[a-z](?![a-z'])", plain))
    if len(alone) > 1:  # "a letter: q", "i choose q"
        alone -= {"a", "i"}
    return ord(alone.pop()) - ord("a") if len(alone) == 1 else None


def _word(rule: Rule, plain: str) -> int | None:
    return _bucket(_first_word(plain), rule.high) if plain else None


def _bit_row(rule: Rule, plain: str) -> str | None:
    rows = re.findall(r"[01](?:[\s,;|./-]*[01])*", plain)
    bits = re.sub(r"[^01]", "", max(rows, key=len, default=""))[: rule.high]
    return bits if len(bits) == rule.high else None


def _bits(rule: Rule, plain: str) -> int | None:
    row = _bit_row(rule, plain)
    return None if row is None else int(row, 2)


def _runs(rule: Rule, plain: str) -> int | None:
    row = _bit_row(rule, plain)
    if row is None:
        return None
    runs = 1 + sum(one != other for one, other in pairwise(row))
    return rule.high * int(row[0]) + runs - 1


def _pair(rule: Rule, plain: str) -> int | None:
    numbers = [int(number) for number in re.findall(r"\d+", plain)[:_MOST_DRAWS] if len(number) < 10]
    if len(numbers) > 4 and {numbers[0], numbers[1]} == {rule.low, rule.high}:  # the question's own bounds, repeated
        numbers = numbers[2:]
    drawn = [number for number in numbers[:2] if rule.low <= number <= rule.high]
    if len(drawn) < 2:
        return None
    first, second = ((number - rule.low) * _DECILES // (rule.high - rule.low + 1) for number in drawn)
    return first * _DECILES + second


_CHOICE = {"integers": _integer, "letters": _letter, "words": _word, "bits": _bits, "runs": _runs, "pair": _pair}


def _first_word(plain: str) -> str:
    """The first word; for a text of signs alone (an emoji), all up to its first space."""
    found = _WORD.search(plain)
    return found.group() if found is not None else plain.split()[0]


def _bucket(word: str, buckets: int) -> int:
    """The same bucket on every machine and in every run."""
    return zlib.crc32(word.encode("utf-8", "surrogatepass")) % buckets
