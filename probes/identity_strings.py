"""Strings to copy that hold brands among words which nobody filters: the screening, and fresh ones that confirm what it suspects.

Takes the plan (and what the screening suspects), gives asks. Words, their order, frames and modes are drawn from the seed, so that a cache
or a router cannot know them; where a brand stands in its string is random, which is what the evidence in identity_copies rests on. Measured
on SmolLM2 135M and a tiny Llama-3 copier, 10 words in quotation marks: 7 of 8 and 12 of 12 strings came back whole. Pure.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from fingerprints import brands
from probes.identity_copies import COPIED, Copy, Suspicion
from probes.plan import Plan
from probes.probe import Ask

SLOTS = {"list": 10, "quoted": 10, "json": 10, "sentence": 7, "visit": 7}
"""Words per string. Fourteen are still copied by the Llama-3 copier, ten is where SmolLM2 begins to lose the thread."""
SCREENED = 4
"""Brands per screening string; the rest are controls."""
LATIN_TOKENS, OTHER_TOKENS = 80, 128
"""Token limits of a copy. The longest strings take 70 tokens (Claude 4.7) and 115 (Korean, deepseek-coder) of all vocabularies."""
WHOLE_STRINGS, WHOLE_TARGETS = 17, 8
"""Strings, and those of them with brands, that show a filter which drops whole replies: of 24310 ways to choose 8 of 17, enough that one
of the eight may come through."""
CONFIRMING_FRAMES = ("list", "quoted", "sentence", "list", "quoted", "visit")


def screening(plan: Plan, deep: bool) -> list[Ask]:
    """Every brand among controls: once in two strings, or (deep) plain and streamed beside strings of controls alone."""
    rng = plan.rng("identity/screening")
    copy = brands.table()["copy"]
    if not deep:
        return _short_screening(plan, rng, copy["vendors"])
    further = rng.sample(copy["further"], len(copy["further"]))
    asks = [_string(plan, "control/1", "list", (), False)]
    for stream, frames, extra in ((False, ("list", "quoted", "json"), further[:4]), (True, ("quoted", "sentence", "list"), further[4:])):
        words = [*copy["latin"], *extra]
        rng.shuffle(words)
        for i, frame in enumerate(frames, start=1):
            size = min(SCREENED, SLOTS[frame] - SCREENED)
            held, words = words[:size], words[size:]
            asks.append(_string(plan, f"{'stream' if stream else 'plain'}/{i}", frame, held, stream))
    asks.append(_string(plan, "control/2", "quoted", (), True))
    for stream, script in ((False, "korean"), (True, "chinese")):
        held = rng.sample(copy[script], SCREENED)
        asks.append(_string(plan, f"{script}/1", "list", held, stream))
    return asks


def _short_screening(plan: Plan, rng: random.Random, vendors: Sequence[Sequence[str]]) -> list[Ask]:
    """One plain and one streamed string; of a vendor's two words each holds one, so that a filter of one mode meets the vendor too."""
    held: tuple[list[str], list[str]] = ([], [])
    for words in vendors:
        first = rng.randrange(2)
        for i, word in enumerate(words):
            held[(first + i) % 2].append(word)
    return [_string(plan, "plain/1", "list", held[0], False), _string(plan, "stream/1", "quoted", held[1], True)]


def confirming(plan: Plan, what: Suspicion, copies: Sequence[Copy], count: int, done: int) -> list[Ask]:
    """`count` fresh strings after `done` earlier ones, with the suspects of a mode once among controls, in frames that the model copies."""
    asks = []
    frames = _frames(copies) if what.kind == "word" else CONFIRMING_FRAMES
    modes = _modes(what)
    for i in range(done + 1, done + count + 1):
        stream = modes[i % len(modes)]
        held = tuple(word for word, streams in zip(what.words, what.streams, strict=True) if stream in streams)
        asks.append(_string(plan, f"word/{i}", frames[i % len(frames)], _of_one_script(held), stream))
    return asks


def confirming_whole(plan: Plan, what: Suspicion) -> list[Ask]:
    """Fresh strings of which a random choice holds the suspects and the others hold controls alone, in the modes of the first suspect."""
    rng = plan.rng("identity/whole")
    chosen = set(rng.sample(range(1, WHOLE_STRINGS + 1), WHOLE_TARGETS))
    modes = what.streams[0]
    held = _of_one_script([word for word, streams in zip(what.words, what.streams, strict=True) if streams == modes])
    script = _script(held[0])
    asks = []
    for i in range(1, WHOLE_STRINGS + 1):
        frame = CONFIRMING_FRAMES[i % len(CONFIRMING_FRAMES)]
        asks.append(_string(plan, f"whole/{i}", frame, held if i in chosen else (), modes[i % len(modes)], script))
    return asks


def _modes(what: Suspicion) -> tuple[bool, ...]:
    """Modes in which any suspect fails."""
    return tuple(sorted({stream for streams in what.streams for stream in streams}))


def _of_one_script(words: Sequence[str]) -> tuple[str, ...]:
    """Those of `words` that are written like the first: one string holds one script."""
    return tuple(word for word in words if _script(word) == _script(words[0]))


def _frames(copies: Sequence[Copy]) -> tuple[str, ...]:
    """Frames for confirming, without those whose controls the screening did not bring back."""
    shares: dict[str, list[float]] = {}
    for copy in copies:
        if any(copy.passed):
            shares.setdefault("sentence" if copy.frame == "visit" else copy.frame, []).append(copy.copied)
    poor = {frame for frame, seen in shares.items() if sum(seen) / len(seen) < COPIED}
    return tuple(frame for frame in CONFIRMING_FRAMES if ("sentence" if frame == "visit" else frame) not in poor) or ("list",)


def _script(word: str) -> str:
    copy = brands.table()["copy"]
    return next((script for script in ("korean", "chinese") if word in copy[script]), "latin")


def _string(plan: Plan, key: str, frame: str, held: Sequence[str], stream: bool, script: str | None = None) -> Ask:
    """One string: `held` and controls (one of each brand's near ones among them) in random order; `script` where nothing is held."""
    script = script or (_script(held[0]) if held else "latin")
    rng = plan.rng(f"identity/{key}")
    copy = brands.table()["copy"]
    if script != "latin":
        frame = "list" if frame in ("sentence", "visit", "json") else frame
    near = [rng.choice(copy["near"][brand]) for brand in held if brand in copy["near"]]
    words = _distinct(rng, held, near, copy["controls" if script == "latin" else f"{script}_controls"], SLOTS[frame])
    text = copy["frames"][frame].format(*words, words=" ".join(words), listed=", ".join(f'"{word}"' for word in words))
    return Ask(
        probe="identity",
        key=f"identity/{key}/{frame}",
        messages=(("user", text),),
        max_tokens=LATIN_TOKENS if script == "latin" else OTHER_TOKENS,
        payload=text[text.index(": ") + 2 :].strip('"'),
        stream=stream,
    )


def _distinct(rng: random.Random, held: Sequence[str], near: Sequence[str], pool: Sequence[str], size: int) -> list[str]:
    """`size` different words in random order: those held, near controls for at most half of the rest, others from the pool."""
    chosen = list(dict.fromkeys(held))
    room = (size - len(chosen)) // 2
    chosen += [word for word in dict.fromkeys(near) if word not in chosen][:room]
    chosen += rng.sample([word for word in pool if word not in chosen], size - len(chosen))
    rng.shuffle(chosen)
    return chosen
