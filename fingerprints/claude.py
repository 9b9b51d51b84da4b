"""Token counts of Claude's tokenizers, which were never published: the fewest pieces of a measured list that tile the marked text.

It takes a family's piece list and gives counts, bare or inside the frame that a message adds; boundaries are not known and are never
given. Exact on every recorded count of all three frames (`python -m benchmarks claude`).
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import regex

from fingerprints.claude_text import BEGIN, CAPS, END, SHIFT, TABLES, Rewriting, rewrite
from fingerprints.pieces import read_tokens

# Words recur within a suite, long segments do not. Emptied when full: a plain dict stays correct whichever thread counts.
CACHED_SEGMENTS, CACHED_LENGTH = 4096, 64
# No piece continues after an end marker or before a begin marker (checked in tests), so segments between them tile on their own.
_SEGMENT = regex.compile(f"[{SHIFT}{CAPS}]*{BEGIN}?[^{BEGIN}{END}{SHIFT}{CAPS}]*{END}?")
# The frame writes two newlines after the content, and newlines at the content's end join them in one token.
_FRAME_NEWLINES = 2
_TRIMMED = " \t\n\r\f\v"


@dataclass(frozen=True, slots=True)
class Frame:
    """What one user message costs around its content: ``tokens``; ``opens_word``: a word boundary comes last before the content and
    absorbs one leading space; ``trims_end``: white space (ASCII) at the content's end is free."""

    tokens: int
    opens_word: bool
    trims_end: bool


@cache
def frames() -> dict[str, Frame]:
    """The measured frames by name: v3 (Claude 3 to 4.6), v4.7 (Opus 4.7), v5 (Claude 5), fitted by ``fingerprints.build.claude``.

    ctok reports that among the models of the v5 frame Opus 5 alone trims white space: end a probe in a letter to be safe from that.
    """
    table = tomllib.loads((Path(__file__).parent / "data" / "claude_frames.toml").read_text(encoding="utf-8"))
    return {name: Frame(row["tokens"], row["opens_word"], row["trims_end"]) for name, row in table.items()}


class ClaudeVocabulary:
    """One Claude tokenizer; see :class:`fingerprints.tokenizers.Vocabulary` for the meaning of each method."""

    def __init__(self, name: str, path: Path, frame: str) -> None:
        self.name = name
        self._frame = frames()[frame]
        self._rules: dict[str, Any] = TABLES["rewriting"][name]
        self._pieces, self._prefixes = _read(path)
        self._longest: dict[str, int] = {}
        for piece in self._pieces:
            self._longest[piece[0]] = max(len(piece), self._longest.get(piece[0], 1))
        self._cache: dict[str, int] = {}

    def count(self, text: str) -> int:
        """Tokens of the content of a message that holds only this text; an empty text is 0."""
        return self.content_tokens(text, self._frame) if text else 0

    def message_tokens(self, text: str, frame: str) -> int:
        """The input tokens that the vendor reports for one user message of this text; ``frame`` is a key of :func:`frames`."""
        chosen = frames()[frame]
        return chosen.tokens + self.content_tokens(text, chosen)

    def content_tokens(self, text: str, frame: Frame) -> int:
        """The tokens of :meth:`message_tokens` beyond the frame's own; at least 1 in a frame that opens a word."""
        rules = Rewriting(self._rules["allcaps"], self._rules["fold_quotes"], frame.opens_word)
        stream, newlines = rewrite(text.rstrip(_TRIMMED) if frame.trims_end else text, rules)
        total = sum(map(self._tiles, _SEGMENT.findall(stream)))
        if newlines:
            total += self._tiles("\n" * (newlines + _FRAME_NEWLINES)) - 1  # the frame pays for its own last token
        return total

    def cuts(self, text: str, most: int | None = None) -> None:
        return None

    def edges(self, text: str) -> None:
        return None

    def contains(self, piece: bytes) -> None:
        return None

    def token_text(self, token_id: int) -> None:
        return None

    def _tiles(self, segment: str) -> int:
        if segment in self._pieces:
            return 1
        total = self._cache.get(segment)
        if total is None:
            total = self._fewest(segment)
            if len(self._cache) >= CACHED_SEGMENTS:
                self._cache.clear()
            if len(segment) <= CACHED_LENGTH:
                self._cache[segment] = total
        return total

    def _fewest(self, segment: str) -> int:
        """Fewest pieces that tile a segment, characters without a piece at the price of their bytes."""
        size = len(segment)
        best = [0] + [size * 4] * size
        for start in range(size):
            here = best[start] + 1
            first = segment[start]
            alone = here if first in self._pieces else best[start] + self._bytes(first)
            best[start + 1] = min(best[start + 1], alone)
            for end in range(start + 2, min(size, start + self._longest.get(first, 1)) + 1):
                if here < best[end] and segment[start:end] in self._pieces:
                    best[end] = here
        return best[size]

    def _bytes(self, character: str) -> int:
        """Fewest byte tokens of a character without a piece: known byte prefixes cost one, every other byte one each."""
        encoded = character.encode()
        best = [0] + [len(encoded)] * len(encoded)
        for start in range(len(encoded)):
            for end in range(start + 1, len(encoded) + 1):
                if best[start] + 1 < best[end] and (end == start + 1 or encoded[start:end] in self._prefixes):
                    best[end] = best[start] + 1
        return best[-1]


def _read(path: Path) -> tuple[frozenset[str], frozenset[bytes]]:
    """Pieces, and the byte prefixes among them, which alone are not UTF-8."""
    pieces: list[str] = []
    prefixes: list[bytes] = []
    for token in read_tokens(path):
        try:
            pieces.append(token.decode())
        except UnicodeDecodeError:
            prefixes.append(token)
    return frozenset(pieces), frozenset(prefixes)
