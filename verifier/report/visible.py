"""Hostile text made harmless to look at: every character that is invisible, moves others or breaks a line becomes a sign.

Takes what a model or a server wrote, gives text or pieces of it in which nothing hides: control characters by their names (⟦ESC⟧),
bidirectional and other formatting characters, lone surrogates and invisible letters by their numbers (⟦U+202E⟧). It never
escapes markup: that is the template's own work, and both are needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

import regex

_HIDDEN = regex.compile(
    r"[[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Noncharacter_Code_Point}\p{Default_Ignorable_Code_Point}"
    r"\u2800\U000E0100-\U000E01EF]--[\n\ufe0e\ufe0f]]",
    regex.VERSION1,
)
"""Everything that draws nothing or moves what is drawn. Line feeds stay, because answers are shown in lines; so do the two common
variation selectors, which only choose between two drawings of one sign."""
_NAMES = "NUL SOH STX ETX EOT ENQ ACK BEL BS TAB LF VT FF CR SO SI DLE DC1 DC2 DC3 DC4 NAK SYN ETB CAN EM SUB ESC FS GS RS US".split()
"""Names of the control characters from 0 on: Unicode has pictures of them too, but few phones have a font that holds those."""
_DELETE = 0x7F


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of text as it is shown; `symbol` where it stands for a character that would not be seen."""

    text: str
    symbol: bool = False


@dataclass(frozen=True, slots=True)
class Excerpt:
    """The beginning of a text in pieces, and how many characters are not shown."""

    pieces: tuple[Piece, ...]
    left_out: int = 0


def visible(text: str) -> str:
    """`text` with every hidden character replaced by its sign."""
    return _HIDDEN.sub(lambda found: _sign(found.group()), text)


def excerpt(text: str, most_bytes: int) -> Excerpt:
    """As much of `text` from its beginning as fits into about `most_bytes` of escaped UTF-8, in pieces."""
    pieces: list[Piece] = []
    room, shown = most_bytes, 0
    for piece, length in _pieces(text[: most_bytes + 1]):  # a character costs at least a byte
        cost = _cost(piece.text)
        if cost > room:
            if not piece.symbol and (kept := _fitting(piece.text, room)):
                pieces.append(Piece(kept))
                shown += len(kept)
            break
        pieces.append(piece)
        room -= cost
        shown += length
    return Excerpt(tuple(pieces), len(text) - shown)


def _pieces(text: str) -> Iterator[tuple[Piece, int]]:
    """Pieces of `text` with the number of its characters that each stands for."""
    at = 0
    for found in _HIDDEN.finditer(text):
        if found.start() > at:
            yield Piece(text[at : found.start()]), found.start() - at
        yield Piece(_sign(found.group()), symbol=True), 1
        at = found.end()
    if at < len(text):
        yield Piece(text[at:]), len(text) - at


def _sign(character: str) -> str:
    code = ord(character)
    if code < len(_NAMES):
        return f"⟦{_NAMES[code]}⟧"
    return "⟦DEL⟧" if code == _DELETE else f"⟦U+{code:04X}⟧"


def _cost(text: str) -> int:
    """Bytes of `text` in the page."""
    return len(escape(text).encode("utf-8"))


def _fitting(text: str, room: int) -> str:
    """The longest beginning of `text` that costs at most `room` bytes."""
    low, high = 0, min(len(text), room)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _cost(text[:middle]) <= room else (low, middle - 1)
    return text[:low]
