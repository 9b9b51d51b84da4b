"""What copies of strings show that hold brands among words which nobody filters.

Takes replies, gives the exact evidence that one word fails where its controls pass. Words lie in random order, so were a brand copied
like its controls, each place would be equally likely to be the one that fails: a string of ten words in which the brand alone is missing
is worth 10 to 1, and fresh strings multiply. A failed copy without passing controls is worth nothing. A word that an honest model cannot
write at all would look the same, so a word must fail in every fresh string, and this is never evidence about the claim. Pure.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from fingerprints import brands
from probes.probe import Reply

SUSPECTS = 3
"""Words that one audit confirms at most."""
CUT_SUSPECTS = 1
"""The same where replies end at a word: what stands behind it says nothing."""
LEVEL = 1e-3
"""Chance, at most, that an honest endpoint which copies brands like other words is said to filter."""
LEAST_FRESH = 3
"""Fresh strings in which a word must have failed, however telling fewer are."""
LEAST_BEHIND = 5
"""Words that stood behind it and failed too, for saying that replies end there."""
WORTH_CONFIRMING = 2.0
"""E-value of the screening from which a word is asked for again."""
_MODES: tuple[tuple[bool, ...], ...] = ((False, True), (True,), (False,))
"""Streamed or not: a word that fails in both is confirmed in both."""
COPIED = 0.5
"""Share of the controls that must come back before a string, or a frame, counts as copied."""
DROPPED_ODDS = 100.0
"""How many times higher the odds of a dropped reply are thought to be where a filter drops those that hold a brand."""
MISCOPIED = 0.2
"""Share of the stake that is kept back where a word is to be the first that fails: a weak model may lose a control before it."""
_MOST_RANKED = 8
"""Suspects that are bet on, in the order in which they were asked for."""
_MAX_TOKENS, _MAX_CHARACTERS = 300, 4000
"""Words and characters of a reply that are looked at: a hostile reply may have any number."""
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class Copy:
    """One reply beside the string that it was to copy."""

    key: str
    frame: str
    stream: bool
    words: tuple[str, ...]
    """Names in the string, in order; the frame's own words left out."""
    passed: tuple[bool, ...]
    gaps: tuple[str, ...]
    """Per name, what the reply has between the words around it; empty for one that passed."""
    text: str

    @property
    def targets(self) -> tuple[str, ...]:
        """The brands among the words."""
        return tuple(word for word in self.words if word in all_brands())

    @property
    def copied(self) -> float:
        """Share of the controls that came back."""
        controls = [ok for word, ok in zip(self.words, self.passed, strict=True) if word not in all_brands()]
        return sum(controls) / len(controls) if controls else 0.0

    def came(self, word: str) -> bool:
        """Whether `word` came back."""
        return self.passed[self.words.index(word)]

    def beside(self, word: str) -> tuple[list[bool], int]:
        """(passed, place of `word`) among the controls and `word` alone, in order: what is exchangeable in this string."""
        kept = [i for i, other in enumerate(self.words) if other == word or other not in all_brands()]
        return [self.passed[i] for i in kept], kept.index(self.words.index(word))


@dataclass(frozen=True, slots=True)
class Suspicion:
    """What the screening leaves to be confirmed: these words, in these modes, damaged in this way."""

    kind: str
    """word: it fails and others do not; cut: everything from it on fails; whole: the whole reply."""
    words: tuple[str, ...]
    streams: tuple[tuple[bool, ...], ...]
    """Per word, the modes in which it fails."""


@cache
def all_brands() -> frozenset[str]:
    """Every word that is tested, in every script."""
    stock = brands.table()["copy"]
    return frozenset(word for group in ("latin", "further", "korean", "chinese") for word in stock[group])


@cache
def _stock() -> frozenset[str]:
    copy = brands.table()["copy"]
    controls = {word for group in ("controls", "korean_controls", "chinese_controls") for word in copy[group]}
    return frozenset(all_brands() | controls | {word for near in copy["near"].values() for word in near})


def suspicion(copies: Sequence[Copy], cleared: Iterable[str] = (), wholes: bool = True) -> Suspicion | None:
    """What the screening makes worth confirming, besides words `cleared` since; None where nothing is left or nothing is copied.

    Without `wholes` (there is no room for the strings that it takes) dropped replies are left aside.
    """
    found: list[tuple[float, str, str, tuple[bool, ...]]] = []
    for word in sorted({word for copy in copies for word in copy.targets} - set(cleared)):
        held = [copy for copy in copies if word in copy.targets]
        for streams in _MODES:
            seen = [copy for copy in held if copy.stream in streams]
            if seen and {copy.stream for copy in seen} == set(streams) and not any(copy.came(word) for copy in seen):
                alone = math.prod(only(copy, word) for copy in seen)
                found.append((alone, "word", word, streams))
                # A brand that another filtered brand cut off earlier in the string says nothing here.
                reached = [copy for copy in seen if not _cut_before(copy, word)]
                ends = not any(any(copy.passed[copy.words.index(word) :]) for copy in reached)
                if ends and any(any(copy.passed) for copy in reached):  # an empty reply is a cut only beside one that began
                    found.append((math.prod(first_to_fail(copy, word) for copy in reached), "cut", word, streams))
                pool = [copy for copy in copies if copy.stream in streams or not copy.targets]
                if wholes:
                    found.append((_wholes([(copy, word in copy.targets) for copy in pool]), "whole", word, streams))
                break
    order = ("word", "cut", "whole")
    found = sorted((row for row in found if row[0] >= WORTH_CONFIRMING), key=lambda row: (-row[0], order.index(row[1]), row[2]))
    if not found:
        return None
    kind = found[0][1]
    chosen = [row for row in found if row[1] == kind][: CUT_SUSPECTS if kind == "cut" else SUSPECTS]
    return Suspicion(kind, tuple(row[2] for row in chosen), tuple(row[3] for row in chosen))


def read(replies: Iterable[Reply]) -> list[Copy]:
    """The replies that answer, aligned with their strings. An endpoint that turns a string down, or drops the stream, gave no more."""
    copies = []
    for reply in replies:
        kind = reply.error.kind if reply.error is not None else None
        thought_only = reply.usage is not None and bool(reply.usage.reasoning_tokens) and reply.finish == "length"
        if (kind is None and not thought_only) or kind in ("bad-request", "cut-stream"):
            copies.append(_align(reply))
    return copies


def only(copy: Copy, *held: str) -> float:
    """E-value of one string against "`held` are copied like the controls": 1 over the chance that all of them are among those that fail."""
    kept = [ok for word, ok in zip(copy.words, copy.passed, strict=True) if word in held or word not in all_brands()]
    failed = kept.count(False)
    if not failed:
        return 1.0
    return 0.0 if any(copy.came(word) for word in held) else math.comb(len(kept), len(held)) / math.comb(failed, len(held))


def first_to_fail(copy: Copy, word: str) -> float:
    """E-value of one string against the same: 1 over the chance that `word` is the first to fail."""
    passed, place = copy.beside(word)
    won = 1.0 if all(passed) else float(len(passed)) if passed.index(False) == place else 0.0
    return MISCOPIED + (1.0 - MISCOPIED) * won


def confirmed(copies: Sequence[Copy]) -> dict[str, tuple[str, float, int]]:
    """Word -> (kind, e-value, strings) for every word that meets LEVEL in fresh strings and came through in none of them.

    The stake is laid out before any fresh string is read: half on sets of suspects failing together (a suspect that comes through loses
    the sets that hold it, not the others), half on single ones being the first to fail. A word's e-value is what the bets on it are
    worth together, so that choosing the word and the kind afterwards costs nothing further.
    """
    found: dict[str, tuple[str, float, int]] = {}
    fresh = [copy for copy in copies if copy.key.split("/")[1] == "word"]
    ranked = list(dict.fromkeys(word for copy in fresh for word in sorted(copy.targets)))[:_MOST_RANKED]
    sets = [frozenset(word for i, word in enumerate(ranked) if bits >> i & 1) for bits in range(1, 1 << len(ranked))]
    together = {held: _stake(ranked, held) * math.prod(only(copy, *(held & set(copy.targets))) for copy in fresh) for held in sets}
    for i, word in enumerate(ranked, start=1):
        held = [copy for copy in fresh if word in copy.targets]
        first = math.prod(first_to_fail(copy, word) for copy in held) / (i * (i + 1))
        e = (math.fsum(worth for held_words, worth in together.items() if word in held_words) + first) / 2.0
        if e >= 1.0 / LEVEL and len(held) >= LEAST_FRESH and not any(copy.came(word) for copy in held):
            behind = [ok for copy in held for ok in copy.passed[copy.words.index(word) + 1 :]]
            ends = len(behind) >= LEAST_BEHIND and not any(behind)
            found[word] = ("cut" if ends else "word", e, len(held))
    whole = [copy for copy in copies if copy.key.split("/")[1] == "whole"]
    e = _wholes([(copy, bool(copy.targets)) for copy in whole])
    if e >= 1.0 / LEVEL:
        held = [copy for copy in whole if copy.targets]
        found |= {word: ("whole", e, len(held)) for word in held[0].targets}
    return found


def _stake(ranked: Sequence[str], held: frozenset[str]) -> float:
    """Share of the stake on one set: 1 / (m (m + 1)) on all sets whose last word is the m-th, evenly; all shares add up to 1 at most."""
    last = max(i for i, word in enumerate(ranked, start=1) if word in held)
    return 1.0 / (last * (last + 1)) / 2.0 ** (last - 1)


def copies_controls(copies: Sequence[Copy]) -> bool:
    """Whether the model copies well enough that a missing brand would have been seen."""
    return sum(copy.copied >= COPIED for copy in copies) >= 2


def copies_some(copies: Sequence[Copy]) -> bool:
    """Whether the model copies at all: a filter may cut or drop every string that holds a brand, and leave those of controls alone."""
    return copies_controls(copies) or any(copy.copied >= COPIED and not copy.targets for copy in copies)


def _wholes(copies: Sequence[tuple[Copy, bool]]) -> float:
    """E-value of a random choice of strings (the flag) against "they are dropped like the others".

    Given how many are dropped in all, the number dropped among those chosen is hypergeometric; the alternative is that they are dropped
    at odds DROPPED_ODDS times as high (Fisher's noncentral law), so that one that came through for want of the word is no veto."""
    dropped = sum(not any(copy.passed) for copy, _ in copies)
    chosen = sum(held for _, held in copies)
    gone = sum(held and not any(copy.passed) for copy, held in copies)
    others = len(copies) - chosen
    ways = {k: math.comb(chosen, k) * math.comb(others, dropped - k) for k in range(max(0, dropped - others), min(chosen, dropped) + 1)}
    weighed = {k: n * DROPPED_ODDS**k for k, n in ways.items()}
    return weighed[gone] / sum(weighed.values()) * sum(ways.values()) / ways[gone]


def _cut_before(copy: Copy, word: str) -> bool:
    first = copy.passed.index(False)
    return copy.words[first] != word and copy.words[first] in all_brands() and first < copy.words.index(word)


def _align(reply: Reply) -> Copy:
    """Names that stand in the reply have passed; where the others should be shows the longest run of words in common, in order."""
    wanted = _WORD.findall(reply.ask.payload)
    text = unicodedata.normalize("NFC", reply.text[:_MAX_CHARACTERS])  # decomposed Hangul is the same word
    got = [(match.group(), match.start(), match.end()) for match, _ in zip(_WORD.finditer(text), range(_MAX_TOKENS), strict=False)]
    longest = [[0] * (len(got) + 1) for _ in range(len(wanted) + 1)]
    for i in range(len(wanted) - 1, -1, -1):
        for j in range(len(got) - 1, -1, -1):
            same = wanted[i] == got[j][0]
            longest[i][j] = longest[i + 1][j + 1] + 1 if same else max(longest[i + 1][j], longest[i][j + 1])
    place: list[int | None] = [None] * len(wanted)
    i = j = 0
    while i < len(wanted) and j < len(got):
        if wanted[i] == got[j][0]:
            place[i] = j
            i, j = i + 1, j + 1
        elif longest[i + 1][j] >= longest[i][j + 1]:
            i += 1
        else:
            j += 1
    names = [i for i, word in enumerate(wanted) if word in _stock()]
    came = {i for i in names if _written(wanted[i], text)}
    gaps = ["" if i in came else _gap(text, place, got, i) for i in names]
    key = reply.ask.key
    return Copy(
        key=key,
        frame=key.rsplit("/", 1)[1],
        stream=reply.ask.stream,
        words=tuple(wanted[i] for i in names),
        passed=tuple(i in came for i in names),
        gaps=tuple(gaps),
        text=text,
    )


def _written(word: str, text: str) -> bool:
    """Whether `word` stands anywhere in the reply: not inside another Latin word, but Korean takes endings and Chinese has no blanks."""
    if not word.isascii():
        return word in text
    return re.search(rf"(?<![^\W\d_]){word}(?![^\W\d_])", text) is not None


def _gap(text: str, place: Sequence[int | None], got: Sequence[tuple[str, int, int]], i: int) -> str:
    """What the reply has where word `i` should be: everything between its nearest neighbours that came back."""
    before = next((j for j in reversed(place[:i]) if j is not None), None)
    after = next((j for j in place[i + 1 :] if j is not None), None)
    return text[got[before][2] if before is not None else 0 : got[after][1] if after is not None else len(text)].strip()
