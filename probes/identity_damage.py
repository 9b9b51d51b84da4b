"""In what way a word that does not come through is damaged, in words for the reader.

Takes copies in which the word failed, gives one phrase: removed, replaced by what, masked, spelled otherwise, cut, refused. It only
describes what identity_copies has shown at its error rate; a wrong phrase never makes a finding.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

from fingerprints import brands
from probes.identity_copies import Copy

_LOOK_ALIKE = str.maketrans(
    "АВСЕНІЈКМОРЅТХУаеосрхуіјѕԁɡһӏΑΒΕΖΗΙΚΜΝΟΡΤΥΧοανειρτυωɑⅼ", "ABCEHIJKMOPSTXYaeocpxyijsdghlABEZHIKMNOPTYXoaveiptuwal"
)
_INVISIBLE = re.compile("[\u00ad\u034f\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
_MASK = re.compile(r"[*█#▇•_x]{3,}|\[[^\]]{0,20}\]|<[^>]{0,20}>|■+|…|\.{3}", re.IGNORECASE)
_SHOWN = 24
"""Characters of a replacement that are quoted."""


def describe(word: str, kind: str, copies: Sequence[Copy]) -> str:
    """One phrase for what most of `copies` (strings that held `word`) show."""
    held = [copy for copy in copies if word in copy.words]
    if kind == "cut":
        return "the reply ends where it stands"
    if kind == "whole":
        empty = sum(not copy.text.strip() for copy in held)
        return "the whole reply is emptied" if 2 * empty > len(held) else "the whole reply is refused"
    # Where both neighbours failed too, it is not known whose place a gap is: such a string is looked at only if there is no other.
    clear = [copy for copy in held if _beside_words_that_came(copy, word)] or held
    counted = Counter(_one(word, copy) for copy in clear)
    return counted.most_common(1)[0][0] if counted else "damaged"


def _one(word: str, copy: Copy) -> str:
    gap = copy.gaps[copy.words.index(word)]
    if not gap.strip(" \"'.,;"):
        return "removed"
    bare = _INVISIBLE.sub("", gap)
    if word in bare and bare != gap:
        return "written with invisible characters inside"
    if word.casefold() in bare.casefold():
        return "written in another case"
    folded = unicodedata.normalize("NFKC", bare).translate(_LOOK_ALIKE)
    if word.casefold() in folded.casefold():
        return "written with look-alike letters"
    if word.casefold() in re.sub(r"[\W_]+", "", folded).casefold():
        return "written with its letters apart"
    named = [other for other in copy_brands() if other != word and other.casefold() in bare.casefold()]
    if named:
        return f"replaced by {named[0]}"
    if mask := _MASK.search(gap):
        return f"masked as {mask.group()[:_SHOWN]}"
    if re.search("[가-힣]", gap) and not re.search("[가-힣]", word):
        return f"replaced by the Korean {gap[:_SHOWN]!r}"
    return f"replaced by {gap[:_SHOWN]!r}" if len(gap) <= _SHOWN else "replaced by other text"


def _beside_words_that_came(copy: Copy, word: str) -> bool:
    place = copy.words.index(word)
    return all(copy.passed[i] for i in (place - 1, place + 1) if 0 <= i < len(copy.words))


def copy_brands() -> tuple[str, ...]:
    """Brand words that one brand may be replaced by, in the table's order."""
    stock = brands.table()["copy"]
    return (*stock["further"], *stock["latin"], *stock["korean"], *stock["chinese"])
