"""Whose vocabulary numbers the tokens: a token asked for by its id comes out as the text that the model's vocabulary has there.

Asks for a short sentence with the bias of one token id at its largest, so that an engine that applies `logit_bias` can write nothing
else. What it repeats then names the table of ids, with one output of a few tokens and without any copying. A server that drops the
field answers the question instead: that is "not tested" and never a mismatch. Vocabularies whose ids were compared with nothing
(fingerprints/data/token_ids.toml) are left out.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from fingerprints import strings, tokenizers
from probes.counts import log_mean_exp
from probes.plan import Plan
from probes.probe import JSON, Ask, Block, Evidence, Finding, Reply
from probes.truncation import TRIAL_BOUND, bounded

INSTRUCTION = "Write one short sentence about this word: "
MAX_TOKENS = 4
BIAS = 100
"""The largest that OpenAI's API takes; on llama.cpp it decides every token (SmolLM2, Gemma 3, Llama-3 echo: 21 of 21 ids)."""
LEAST_REPEATS = 2
"""Times that the token's text must come before the reply counts as forced: one word alone might be an answer."""
IDS = range(1_000, 31_900)
"""Ids to choose from: above all reserved ones, and below the size of every known vocabulary. An id that a vocabulary lacks proves
nothing, and used to crash engines (vllm #16529, sglang #7670)."""
DRAWN = 1_500
"""Ids drawn for an audit, of which those are asked that tell most vocabularies apart."""
LEAST_LETTERS = 4
"""Letters of the claimed vocabulary's text: a word that no other id shares but for its case."""
OTHER_TABLE = 0.002
"""Probability that an honest endpoint's forced tokens are those of another known vocabulary: a table that is wrong about the claimed
model. Assumed; one cause for all replies of an audit, so that further replies do not multiply it away."""
STRAY = 0.002
"""Probability of one reply that is not of the endpoint's own table: another backend, a cached answer. Assumed."""


@dataclass(frozen=True, slots=True)
class Numbering:
    """The ids of one vocabulary as some servers use them: those of its table, `shift` higher."""

    name: str
    shift: int

    def text(self, token_id: int) -> str | None:
        """The text that the id writes; None where it cannot be told in a reply: no token, part of a character, a sign or less."""
        piece = tokenizers.vocabulary(self.name).token_text(token_id - self.shift)
        try:
            text = (piece or b"").decode()
        except UnicodeDecodeError:
            return None
        word = text.strip()
        special = word.startswith(("<", "[")) and word.endswith((">", "]"))
        legible = len(word) > 1 and text.isprintable() and "\ufffd" not in text and not special
        return text if legible else None


class BiasProbe:
    """Compares what a forced token id writes with every vocabulary whose ids are known."""

    name = "bias"
    block = Block.TOKENIZER
    reads: tuple[str, ...] = ("bias",)
    goal = "Which text do token ids stand for that logit_bias forces? Ids are the model's own; a gateway passes them on or drops them."

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.trials: int = plan.bias_trials

    @cached_property
    def numberings(self) -> tuple[Numbering, ...]:
        """Every numbering of every vocabulary whose ids were compared with something."""
        return tuple(Numbering(name, shift) for name in tokenizers.names() for shift in tokenizers.id_shifts(name))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Vocabularies with a numbering."""
        return tuple(dict.fromkeys(numbering.name for numbering in self.numberings))

    def next_round(self, replies: Sequence[Reply]) -> Sequence[Ask]:
        """One question; the others only where the first was forced."""
        mine = [reply for reply in replies if reply.ask.probe == self.name]
        if len(mine) >= self.trials or (mine and not any(map(self._written, mine))):
            return []
        chosen = self.ids
        last = len(chosen) if mine else 1
        return [self._ask(number, chosen[number - 1]) for number in range(len(mine) + 1, last + 1)]

    def read(self, replies: Sequence[Reply]) -> Evidence:
        """Evidence from the replies that were forced."""
        mine = [reply for reply in replies if reply.ask.probe == self.name]
        forced = [(reply, names) for reply in mine if (names := self._written(reply))]
        if not forced:
            return Evidence(self.name, self.block, tested=False, why_not=self._why_not(mine), requests=len(mine))
        bound = len(forced) * math.log(TRIAL_BOUND)
        logs = self._log_likelihoods(names for _, names in forced)
        claimed = self.plan.claimed_tokenizer
        log_e = 0.0
        if claimed in self.names:
            ratio = log_mean_exp([logs[name] for name in self.names if name != claimed]) - logs[claimed]
            log_e = min(bound, max(-bound, ratio))
        best = self._best([names for _, names in forced])
        supports = claimed is not None and best == claimed
        return Evidence(
            channel=self.name,
            block=self.block,
            tested=True,
            log_e=log_e,
            log_likelihood=bounded(logs, math.log(OTHER_TABLE), bound),
            best=best,
            supports_claim=supports,
            discriminating=self._discriminating([reply for reply, _ in forced]) if supports else 0,
            rounds=len(forced),
            requests=len(mine),
            findings=self._findings([reply for reply, _ in forced], log_e),
            measured=tuple(self._row(reply) for reply, _ in forced),
        )

    @cached_property
    def ids(self) -> tuple[int, ...]:
        """The ids to ask for."""
        return _chosen_ids(self.plan.seed, self.plan.claimed_tokenizer, self.trials)

    def choose(self, claimed: str | None) -> list[int]:
        """Ids for a claim of that vocabulary, each told from the vocabularies that those before it did not tell apart."""
        rng = self.plan.rng("bias/ids")
        token_ids = rng.sample(IDS, DRAWN)
        if claimed in self.names:  # first, so that few ids are spelt by every vocabulary
            token_ids = [token_id for token_id in token_ids if _is_word(self._texts(token_id, (claimed,)).get(claimed, ()))]
        drawn = [(token_id, self._texts(token_id)) for token_id in token_ids]
        chosen: list[int] = []
        told: dict[str, int] = {}
        for _ in range(self.trials):
            open_ids = [(token_id, texts) for token_id, texts in drawn if token_id not in chosen]
            if not open_ids:
                break
            gains = [math.fsum(0.25 ** told.get(name, 0) for name in _apart(texts, claimed)) for _, texts in open_ids]
            token_id, texts = open_ids[gains.index(max(gains))]
            chosen.append(token_id)
            for name in _apart(texts, claimed):
                told[name] = told.get(name, 0) + 1
        return chosen

    def _texts(self, token_id: int, names: Sequence[str] | None = None) -> dict[str, tuple[str, ...]]:
        """What the id writes by each of these vocabularies or all, one text for each of its numberings; those with a text for all."""
        texts: dict[str, tuple[str, ...]] = {}
        for name in self.names if names is None else names:
            found = [numbering.text(token_id) for numbering in self.numberings if numbering.name == name]
            legible = tuple(text for text in found if text is not None)
            if len(legible) == len(found):
                texts[name] = legible
        return texts

    def _ask(self, number: int, token_id: int) -> Ask:
        rng = self.plan.rng(f"bias/{number}")
        word = _other_word(rng, [text for texts in self._texts(token_id).values() for text in texts])
        return Ask(
            probe=self.name,
            key=f"bias/{number}",
            messages=(("user", INSTRUCTION + word),),
            max_tokens=MAX_TOKENS,
            payload=word,
            logit_bias=((token_id, BIAS),),
        )

    def _written(self, reply: Reply) -> frozenset[Numbering]:
        """The numberings by which the reply is nothing but the id's token over and over; empty where the token was not forced."""
        ids = reply.ask.logit_bias
        said = reply.text.strip()
        if not said or not ids or not reply.ok:
            return frozenset()
        repeats = range(LEAST_REPEATS, max(reply.ask.max_tokens, LEAST_REPEATS) + 1)
        texts = {numbering: numbering.text(ids[0][0]) for numbering in self.numberings}
        return frozenset(numbering for numbering, text in texts.items() if text and any((text * n).strip() == said for n in repeats))

    def _log_likelihoods(self, replies: Iterable[frozenset[Numbering]]) -> dict[str, float]:
        """Log probability of all forced replies for each vocabulary: its best numbering, or by OTHER_TABLE any other's.

        A vocabulary with several numberings is given the one that fits best: servers of the claimed model may use either.
        """
        seen = list(replies)
        own = {numbering: _log_product(numbering in written for written in seen) for numbering in self.numberings}
        best = {name: max(own[numbering] for numbering in self.numberings if numbering.name == name) for name in self.names}
        logs = {}
        for name in self.names:
            others = log_mean_exp([best[other] for other in self.names if other != name])
            logs[name] = _log_sum(math.log1p(-OTHER_TABLE) + best[name], math.log(OTHER_TABLE) + others)
        return logs

    def _best(self, replies: Sequence[frozenset[Numbering]]) -> str | None:
        """The one vocabulary of which a single numbering explains all replies; the claimed one among several."""
        common = frozenset.intersection(*replies)
        names = sorted({numbering.name for numbering in common})
        if self.plan.claimed_tokenizer in names:
            return self.plan.claimed_tokenizer
        return names[0] if len(names) == 1 else None

    def _discriminating(self, replies: Sequence[Reply]) -> int:
        """Replies that would have differed for the vocabulary that is hardest to tell apart, among those told apart at all."""
        others = [name for name in self.names if name != self.plan.claimed_tokenizer]
        written = [{numbering.name for numbering in self._written(reply)} for reply in replies]
        apart = (sum(name not in names for names in written) for name in others)
        return min((n for n in apart if n), default=0)

    def _findings(self, replies: Sequence[Reply], log_e: float) -> tuple[Finding, ...]:
        claimed = self.plan.claimed_tokenizer
        if claimed is None or claimed not in self.names or log_e <= 0:
            return ()
        against = [reply for reply in replies if claimed not in {numbering.name for numbering in self._written(reply)}]
        if not against:
            return ()
        shown = against[0]
        token_id = shown.ask.logit_bias[0][0]
        expected = " or ".join(repr(text) for text in self._texts(token_id, (claimed,)).get(claimed, ())) or "no such text"
        names = sorted({numbering.name for numbering in self._written(shown)})
        text = (
            f"Asked for token id {token_id}, the endpoint writes {shown.text.strip()[:60]!r}, the token of {', '.join(names)}; "
            f"in the claimed vocabulary {claimed} that id is {expected}."
        )
        strength = "strong" if log_e >= math.log(10) else "moderate"
        return (Finding("tokenizer-mismatch", strength, text, tuple(reply.ask.key for reply in against)),)

    def _row(self, reply: Reply) -> JSON:
        token_id = reply.ask.logit_bias[0][0]
        measured = min(numbering.text(token_id) or "" for numbering in self._written(reply))
        texts: dict[str, list[str | None]] = {name: [] for name in self.names}
        for numbering in self.numberings:
            texts[numbering.name].append(numbering.text(token_id))
        # A vocabulary with several numberings is shown with the text that came, where one of them has it.
        predicted = {name: measured if measured in found else found[0] for name, found in texts.items()}
        return {"key": reply.ask.key, "id": token_id, "measured": measured, "predicted": predicted}

    def _why_not(self, mine: Sequence[Reply]) -> str:
        if not mine:
            return "no token was asked for by its id"
        if not any(reply.ok for reply in mine):
            return "the endpoint answered no question with logit_bias"
        return "the endpoint does not write the token that logit_bias asks for"


@lru_cache(maxsize=512)
def _chosen_ids(seed: int, claimed: str | None, trials: int) -> tuple[int, ...]:
    """Remembered: an audit builds its probes anew to ask and to conclude, and choosing takes a fifth of a second."""
    return tuple(BiasProbe(Plan(seed=seed, claim=None, bias_trials=trials)).choose(claimed))


def _is_word(texts: Sequence[str]) -> bool:
    """Whether every text is a plain English-looking word with the space before it, which no server's trimming blurs."""
    words = [text[1:] for text in texts if text.startswith(" ")]
    return bool(texts) and len(words) == len(texts) and all(w.isascii() and w.isalpha() and len(w) >= LEAST_LETTERS for w in words)


def _apart(texts: Mapping[str, tuple[str, ...]], claimed: str | None) -> list[str]:
    """Vocabularies that the id tells from the claimed one; without a claim, those whose text no other vocabulary has."""
    if claimed is not None and claimed in texts:
        return [name for name, found in texts.items() if name != claimed and not set(found) & set(texts[claimed])]
    shared: dict[str, int] = {}
    for found in texts.values():
        for text in set(found):
            shared[text] = shared.get(text, 0) + 1
    return [name for name, found in texts.items() if all(shared[text] == 1 for text in found)]


def _other_word(rng: random.Random, texts: Sequence[str]) -> str:
    """A word for the question that is none of the texts which may come."""
    taken = {text.strip().lower() for text in texts}
    return next(word for word in rng.sample(strings.words("english"), len(taken) + 1) if word.lower() not in taken)


def _log_product(matches: Iterable[bool]) -> float:
    return math.fsum(math.log1p(-STRAY) if match else math.log(STRAY) for match in matches)


def _log_sum(first: float, second: float) -> float:
    peak = max(first, second)
    return peak + math.log(math.exp(first - peak) + math.exp(second - peak))
