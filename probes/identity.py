"""Who does the model say it is, and do the names of models come through at all?

Asks for a self-report in five languages, and for copies of strings that hold brands among words which nobody filters. A self-report is
worth little (models often name another, and a system prompt may name anyone): it moves the attribution by at most a factor of 2, and
nothing here ever enters the e-value. A word that never comes through where its controls do is the finding `word-filter`, at a stated
error rate; a model that copies nothing is not tested, which is not clean.
"""

from __future__ import annotations

import base64
import codecs
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from fingerprints import brands, catalog
from probes import identity_copies as copies
from probes import identity_strings as strings
from probes.identity_copies import Copy
from probes.identity_damage import describe
from probes.plan import Plan
from probes.probe import JSON, Ask, Block, Evidence, Finding, Reply

DEEP_ASKS = 24
"""Questions from which self-reports, the larger screening (further brands, Korean, Chinese) and the test of dropped replies have room.
With fewer, every brand is screened once, in two strings, and only what does not come through costs more."""
REPORT_TOKENS = 64
CAP = math.log(2.0)
"""What self-reports may move the attribution by: 27 recorded models named another vendor in 25.9 % of theirs (literature.md), so one
consistent name is worth about 3 to 1, and less behind a gateway that may have told the model what to say."""
CONSISTENT = 3
"""Self-reports that must name another vendor, and none the claimed one, for a conflict."""
PART = 3
"""Confirming strings at a time: between two parts the words that came through are dropped, and what is shown ends the asking."""
CONFIRMING = 12
"""Confirming strings at most: three of ten words show a filtered word on a model that copies, weaker ones need more."""
DISGUISED_TOKENS = 40


class IdentityProbe:
    """Reads self-reports, and tests whether brands are filtered."""

    name = "identity"
    block = Block.SURFACE
    reads: tuple[str, ...] = ("identity",)
    goal = "Who does the model say it is, and are names of models stripped from its replies?"

    def __init__(self, plan: Plan, asks: int | None = None) -> None:
        self.plan = plan
        self.size: int = plan.identity_asks if asks is None else asks
        self.deep = self.size >= DEEP_ASKS

    def next_round(self, replies: Sequence[Reply]) -> Sequence[Ask]:
        """The screening (with the self-reports, where there is room for them), then what it makes worth confirming."""
        mine = self._mine(replies)
        asked = {reply.ask.key for reply in mine}
        first = [*strings.screening(self.plan, self.deep), *(self._reports() if self.deep else [])][: self.size]
        left = [ask for ask in first if ask.key not in asked]
        if left or not any(reply.ok for reply in mine):
            return [] if asked else left
        room = self.size - len(mine)
        return self._confirming(mine, asked, room) or (self._disguised(mine, asked, room) if self.deep else [])

    def read(self, replies: Sequence[Reply]) -> Evidence:
        """Self-reports as a bounded likelihood, filtered words and a contradicting self-report as findings; never an e-value."""
        mine = self._mine(replies)
        spoken = [(reply, brands.named(reply.text)) for reply in mine if reply.ok and reply.ask.key.split("/")[1] == "self"]
        naming = [(reply, named) for reply, named in spoken if named]
        copied = copies.read(reply for reply in mine if _is_copy(reply.ask))
        filters = self._filters(mine, copied)
        able = copies.copies_controls(copied) or bool(filters)
        if not naming and not able:
            why = "this suite asks nothing about identity" if not mine else "no question was answered"
            if spoken or copied:
                why = "no self-report names a known model, and the model does not copy the words beside which filtered ones would show"
            return Evidence(
                self.name, self.block, tested=False, why_not=why, requests=len(mine), measured=tuple(_rows(spoken, copied, able))
            )
        findings = [*filters, *self._conflict(naming)]
        return Evidence(
            channel=self.name,
            block=self.block,
            tested=True,
            log_likelihood=_likelihood([named for _, named in naming]),
            resolution="family",
            requests=len(mine),
            findings=tuple(findings),
            measured=tuple(_rows(spoken, copied, able)),
        )

    def _mine(self, replies: Sequence[Reply]) -> list[Reply]:
        return [reply for reply in replies if reply.ask.probe == self.name]

    def _reports(self) -> list[Ask]:
        """One question per language, in random order and wording."""
        rng = self.plan.rng("identity/self")
        questions = rng.sample(brands.table()["question"], len(brands.table()["question"]))
        return [
            Ask(
                self.name,
                f"identity/self/{row['language']}",
                (("user", f"[{rng.randint(1000, 9999)}] {rng.choice(row['texts'])}"),),
                REPORT_TOKENS,
            )
            for row in questions
        ]

    def _confirming(self, mine: Sequence[Reply], asked: set[str], room: int) -> list[Ask]:
        """Fresh strings for what the screening suspects, a few at a time, until every suspect is shown or has come through."""
        copied = copies.read(reply for reply in mine if _is_copy(reply.ask))
        screened, fresh = _parts(copied)
        wholes = room >= strings.WHOLE_STRINGS and not any(copy.key.split("/")[1] == "whole" for copy in fresh)
        what = copies.suspicion(screened, _cleared(fresh), wholes) if copies.copies_some(screened) else None
        if what is None or set(what.words) <= set(copies.confirmed(copied)):
            return []
        if wholes and len(fresh) >= PART and 2 * sum(not any(copy.passed) for copy in fresh) > len(fresh):
            what = replace(what, kind="whole")  # most strings that hold the words come back without any word at all
        done = sum(key.split("/")[1] == "word" for key in asked)
        if what.kind == "whole":
            return strings.confirming_whole(self.plan, what)
        return strings.confirming(self.plan, what, screened, max(0, min(room, CONFIRMING - done, PART)), done)

    def _disguised(self, mine: Sequence[Reply], asked: set[str], room: int) -> list[Ask]:
        """The same word in other forms, beside a control: what a filter of words lets through."""
        word = next(iter(copies.confirmed(copies.read(reply for reply in mine if _is_copy(reply.ask)))), None)
        near = brands.table()["copy"]["near"].get(word, ())
        if word is None or not near or any(key.startswith("identity/disguised") for key in asked):
            return []
        asks = []
        for task, text in brands.table()["disguised"].items():
            for which in (word, near[0]):
                key = f"identity/disguised/{task}/{which}"
                asks.append(Ask(self.name, key, (("user", text.format(word=which)),), DISGUISED_TOKENS, payload=_answer(task, which)))
        return asks[: max(0, room - room % 2)]

    def _filters(self, mine: Sequence[Reply], copied: Sequence[Copy]) -> list[Finding]:
        """One finding per way in which words are damaged."""
        found: dict[tuple[str, str], list[tuple[str, float, int]]] = {}
        for word, (kind, e, times) in sorted(copies.confirmed(copied).items()):
            part = "whole" if kind == "whole" else "word"
            fresh = [copy for copy in copied if copy.key.split("/")[1] == part and word in copy.words]
            found.setdefault((describe(word, kind, fresh), _mode(word, copied, fresh)), []).append((word, e, times))
        findings = []
        for (how, mode), words in found.items():
            # Dropped strings held all suspects together: one of them is enough.
            names = (" or " if how.startswith("the whole") else " and ").join(f'"{word}"' for word, _, _ in words)
            least = min(e for _, e, _ in words)
            text = (
                f"{names} never came through in {words[0][2]} fresh strings{mode} ({how}), where the words beside did. "
                f"A model that copies names of models like other words shows this at most once in {min(least, 1e6):,.0f} audits. "
                "Something between the model and you edits its replies, a system prompt forbids the word, or the model cannot write it; "
                "which model it is, this does not say."
            )
            if through := _through(mine, {word for word, _, _ in words}):
                text += f" In other forms it does come through ({', '.join(through)})."
            keys = tuple(copy.key for copy in copied if copy.key.split("/")[1] in _FRESH and any(w in copy.words for w, _, _ in words))
            findings.append(Finding("word-filter", "moderate", text, keys))
        return findings

    def _conflict(self, naming: Sequence[tuple[Reply, tuple[brands.Brand, ...]]]) -> list[Finding]:
        """Another vendor's name in every self-report that names one."""
        claim = self.plan.claim
        if claim is None or claim.family is None:
            return []
        model = catalog.find(claim.model)
        vendors = {brand.vendor for brand in brands.brands() if claim.family in brand.families} | ({model.vendor} if model else set())
        others = Counter(vendor for _, named in naming for vendor in {brand.vendor for brand in named})
        if not others or vendors & set(others) or not any(brand.vendor in vendors for brand in brands.brands()):
            return []
        vendor, times = others.most_common(1)[0]
        if times < CONSISTENT or times < len(naming):
            return []
        name = next(brand.name for _, named in naming for brand in named if brand.vendor == vendor)
        text = (
            f"{times} of {len(naming)} self-reports that name anyone name {vendor} ({name}), none the claimed model's vendor. "
            "Models are often wrong about themselves, and a system prompt may say so: this never accuses."
        )
        return [Finding("identity-conflict", "weak", text, tuple(reply.ask.key for reply, _ in naming))]


_FRESH = ("word", "whole")
"""Second parts of the keys of confirming strings."""
_NOT_COPIED = "not tested: the model does not copy the words beside which filtered ones would show"
_UNSETTLED = "not settled: {} did not come through, in too few strings to tell a filter from chance; the deep suite asks more"


def _is_copy(ask: Ask) -> bool:
    return ask.probe == "identity" and ask.key.split("/")[1] not in ("self", "disguised")


def _parts(copied: Sequence[Copy]) -> tuple[list[Copy], list[Copy]]:
    """Strings of the screening, and the fresh ones that confirm."""
    return [c for c in copied if c.key.split("/")[1] not in _FRESH], [c for c in copied if c.key.split("/")[1] in _FRESH]


def _cleared(fresh: Sequence[Copy]) -> set[str]:
    """Words that came through after the screening."""
    return {word for copy in fresh for word in copy.targets if copy.came(word)}


def _likelihood(named: Sequence[tuple[brands.Brand, ...]]) -> dict[str, float]:
    """Log-likelihood per family, from -log 2 to 0: the share of self-reports that name its brand. `unknown` may call itself anything."""
    if not named:
        return {}
    families = sorted({model.family for model in catalog.models()})
    shares = {family: sum(any(family in brand.families for brand in one) for one in named) / len(named) for family in families}
    return {family: -CAP * (1.0 - share) for family, share in shares.items()} | {"unknown": -CAP / 2.0}


def _rows(spoken: Sequence[tuple[Reply, tuple[brands.Brand, ...]]], copied: Sequence[Copy], able: bool) -> list[JSON]:
    """Per self-report the brands that it names, per string the words that did not come through, and what was left open."""
    rows: list[JSON] = [
        {"key": reply.ask.key, "measured": ", ".join(brand.name for brand in named) or "no known name", "predicted": {}}
        for reply, named in spoken
    ]
    for copy in copied:
        lost = [word for word, ok in zip(copy.words, copy.passed, strict=True) if not ok]
        measured = "all came through" if not lost else f"{len(copy.words) - len(lost)} of {len(copy.words)} came through"
        rows.append({"key": copy.key, "measured": measured, "predicted": {}, "lost": lost, "stream": copy.stream})
    screened, fresh = _parts(copied)
    what = copies.suspicion(screened, _cleared(fresh)) if copies.copies_some(screened) else None
    if what is not None and not set(what.words) & set(copies.confirmed(copied)):
        rows.append({"key": "identity/filters", "measured": _UNSETTLED.format(" or ".join(what.words)), "predicted": {}})
    elif copied and not able:
        rows.append({"key": "identity/filters", "measured": _NOT_COPIED, "predicted": {}})
    return rows


def _mode(word: str, copied: Sequence[Copy], fresh: Sequence[Copy]) -> str:
    """ " of streamed replies" where plain ones bring the word, and the other way round."""
    through = {copy.stream for copy in copied if word in copy.words and copy.came(word)}
    failed = {copy.stream for copy in fresh}
    if failed == {True} and False in through:
        return ", streamed replies only"
    return ", replies that are not streamed only" if failed == {False} and True in through else ""


def _answer(task: str, word: str) -> str:
    """The right answer to a disguised task."""
    if task == "letters":
        return "-".join(word)
    if task == "reversed":
        return word[::-1]
    if task == "base64":
        return base64.b64encode(word.encode()).decode()
    return codecs.encode(word, "rot13") if task == "rot13" else str(len(word))


def _through(mine: Sequence[Reply], words: set[str]) -> list[str]:
    """Disguised tasks that the model solved for one of `words`."""
    solved = []
    for reply in mine:
        parts = reply.ask.key.split("/")
        if parts[1] == "disguised" and reply.ok and parts[3] in words and reply.ask.payload.casefold() in reply.text[:400].casefold():
            solved.append(parts[2])
    return solved
