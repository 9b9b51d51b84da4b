"""Which answer a short reply gives: a right one, a name, a number, a version, or a refusal to say, as one number that packs can hold.

Takes how a question is answered (plain JSON, as a pack holds it) and a reply's text; gives a key. Any text is survived, composed and
decomposed letters and full-width digits are the same, and a text that says nothing gives 0. Nothing here knows any model.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

DECLINED = 1
"""Key of an answer that says it does not know."""
KINDS = ("words", "number", "version")
MAX_ACCEPTED = 16
_MAX_CHARACTERS = 600
_MAX_ACCEPTED_CHARACTERS = 80
_WORDS = 3
"""Words by which a wrong answer is told from another."""
_THOUGHT = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.DOTALL | re.IGNORECASE)
_NUMBER = re.compile(r"(?<![\w.])\d+(?:,\d{3})*(?![\d.]*\d)")
_VERSION = re.compile(r"(?<![\d.])\d+(?:\.\d+)?")
_DECLINES = re.compile(
    r"\bi (?:do not|don['’]t|cannot|can['’]t|am not able|am unable|have no)\b|\bi['’]m (?:not able|unable|sorry)"
    r"|\bas of my\b|\bunknown\b|\bnot sure\b"
    r"|\bno (?:information|knowledge)\b|모르겠|모릅니다|알 수 없|알지 못|확인할 수 없|정보가 없|제공할 수 없|不知道|无法|無法|抱歉|죄송"
)
_FILLERS = frozenset("the a an answer is was it of in for correct name country team family".split())


class FormError(ValueError):
    """A description of answers that is none of those in `Form`; the message is one line."""


@dataclass(frozen=True)
class Form:
    """How answers are read: `kind` words, number or version; `accept` the right ones, any of which counts as the first."""

    kind: str
    accept: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, data: Any) -> Form:
        """Read {"kind": …, "accept": […]}. Raises FormError for anything else."""
        values = dict(data) if isinstance(data, Mapping) else {}
        accept = values.get("accept")
        fine = isinstance(accept, list) and len(accept) <= MAX_ACCEPTED
        if not fine or set(values) != {"kind", "accept"} or values["kind"] not in KINDS:
            raise FormError(f"no form of answers: {str(data)[:80]!r}")
        if not all(isinstance(each, str) and 0 < len(each) <= _MAX_ACCEPTED_CHARACTERS and _folded(each) for each in accept or ()):
            raise FormError(f"a right answer that is no short text: {str(data)[:80]!r}")
        return cls(str(values["kind"]), tuple(accept or ()))

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads back to an equal form."""
        return {"kind": self.kind, "accept": list(self.accept)}

    @cached_property
    def right(self) -> int:
        """Key of a right answer; 0 where none is known."""
        return _key(_folded(self.accept[0])) if self.accept else 0


def key(form: Form, text: str) -> int:
    """The answer that `text` gives, 0 where it gives none; never raises."""
    folded = _folded(_THOUGHT.sub(" ", text[:_MAX_CHARACTERS]))
    if not folded:
        return 0
    if form.kind == "words" and any(_says(each, folded) for each in map(_folded, form.accept)):
        return form.right
    if form.kind != "words":
        found = (_VERSION if form.kind == "version" else _NUMBER).search(folded)
        if found is not None:
            number = found.group().replace(",", "")
            return form.right if number in form.accept else _key(number)
        if any(_says(each, folded) for each in map(_folded, form.accept) if not each.isdecimal()):
            return form.right
    if _DECLINES.search(folded):
        return DECLINED
    words = [word for word in re.findall(r"[^\W_]+", folded) if word not in _FILLERS][:_WORDS]
    return _key(" ".join(words)) if words else 0


def _folded(text: str) -> str:
    """NFKC, lower case, marks on Latin letters dropped: Krejčíková and krejcikova are one name; Hangul is composed."""
    plain = unicodedata.normalize("NFD", unicodedata.normalize("NFKC", text).casefold())
    return unicodedata.normalize("NFC", "".join(c for c in plain if not 0x300 <= ord(c) <= 0x36F)).strip()


def _says(accepted: str, folded: str) -> bool:
    """Whether a right answer stands in the text: as a word in Latin script, anywhere (blanks aside) in Korean and Chinese."""
    if accepted.isascii():
        return re.search(rf"(?<![a-z0-9]){re.escape(accepted)}(?![a-z0-9])", folded) is not None
    return accepted.replace(" ", "") in folded.replace(" ", "")


def _key(text: str) -> int:
    """The same number on every machine; never 0 or DECLINED."""
    return zlib.crc32(text.encode("utf-8", "surrogatepass")) | 2
