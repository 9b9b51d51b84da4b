"""Unicode normalisation as each tokenizer family does it, and the way back.

It takes a text and a normalisation form and gives the text that the family's merges see, together with a map from its character
offsets to offsets in the text as sent. It must never be applied twice by a caller: the vocabularies call it themselves.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from collections.abc import Callable
from typing import Literal

Form = Literal["none", "NFC", "NFKC"]


def apply(form: Form, text: str) -> str:
    """The text in the given normalisation form."""
    return text if form == "none" else unicodedata.normalize(form, text)


def original_offsets(form: Form, text: str, prefix: str = "") -> Callable[[int], tuple[int, bool]]:
    """A function from a character offset in ``prefix + apply(form, text)`` to (offset in ``text``, whether it is exactly there).

    An offset inside a group of characters that were normalised together is floored to the group's start; one inside the prefix is 0.
    """
    shift = len(prefix)
    if form == "none" or unicodedata.is_normalized(form, text):
        return lambda offset: (max(0, offset - shift), True)
    sources, targets = [0], [0]
    for source, end in _groups(form, text):
        sources.append(end)
        targets.append(targets[-1] + len(apply(form, text[source:end])))

    def offset_in_text(offset: int) -> tuple[int, bool]:
        at = max(0, offset - shift)
        index = bisect_right(targets, at) - 1
        return sources[index], targets[index] == at

    return offset_in_text


def _groups(form: Form, text: str) -> list[tuple[int, int]]:
    """Spans that normalise independently of each other: each starts where appending cannot reach back."""
    groups: list[tuple[int, int]] = []
    start = 0
    for index in range(1, len(text)):
        before, here = text[start:index], text[index]
        joined = apply(form, before + here)
        if joined == apply(form, before) + apply(form, here) and unicodedata.combining(apply(form, here)[0]) == 0:
            groups.append((start, index))
            start = index
    if text:
        groups.append((start, len(text)))
    return groups
