"""Which vocabulary do the tokens come from that an endpoint's log probabilities spell?

Asks for a few tokens of free text with log probabilities. Every token, and every alternative that the model weighed, must be
an entry of its vocabulary: one entry that the claimed vocabulary lacks cannot have come from the claimed model. It works with
models that do not copy strings; it needs an endpoint that offers log probabilities. A vocabulary that contains another one
(Llama 3 contains cl100k) is not contradicted by it; tokens that other vocabularies hold too do not support a claim.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property, lru_cache

from fingerprints import strings, tokenizers
from probes.counts import log_mean_exp
from probes.plan import Plan
from probes.probe import Ask, Block, Evidence, Finding, Reply, TokenBytes
from probes.readings import UNKNOWN, Reading
from probes.truncation import TRIAL_BOUND, bounded

INSTRUCTION = "Continue this list with more words of the same kinds: "
MAX_TOKENS = 12
ALTERNATIVES = 5
FOREIGN = 0.002
"""Probability that an honest endpoint spells a token that its vocabulary lacks (special tokens, repaired bytes). Recorded
traffic: token bytes equal to the expected vocabulary in 43 of 43 replies of GPT and DeepSeek models."""
HIDING = ("\ufffd", "\u2581")
"""Signs in a token's text that stand for other bytes: a replaced part of a character, SentencePiece's mark for a space."""
LEGIBLE = 0.5
"""Share of a reply's characters that its tokens must spell where some of them do not say their bytes."""
ENOUGH = 10
"""Distinct tokens below which the channel says nothing."""
COMPARED_IDS = range(0, 262_144, 61)
"""Token ids whose pieces stand for a vocabulary where containment is asked: 520 pieces of the smallest (32,000 entries), 4,297 of the
largest. Over all pairs of the 21 vocabularies they answer as the whole lists do: Llama 3 contains cl100k, GLM-4.7 contains GLM-4."""


class LogprobsProbe:
    """Compares the spelled tokens with every vocabulary whose entries are known."""

    name = "logprobs"
    block = Block.TOKENIZER
    reads: tuple[str, ...] = ("logprobs",)
    goal = "Are the tokens that log probabilities spell entries of the claimed vocabulary?"

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Vocabularies whose entries are known, loaded on first use."""
        return tuple(name for name in tokenizers.names() if tokenizers.vocabulary(name).contains(b"a") is not None)

    def next_round(self, replies: Sequence[Reply]) -> Sequence[Ask]:
        """One question; the others only where the first brought log probabilities."""
        mine = [reply for reply in replies if reply.ask.probe == self.name]
        if len(mine) >= self.plan.logprob_trials or (mine and not any(reply.tokens for reply in mine)):
            return []
        first = len(mine) + 1
        last = first if not mine else self.plan.logprob_trials
        return [self._ask(number) for number in range(first, last + 1)]

    def read(self, replies: Sequence[Reply]) -> Evidence:
        """Evidence from the distinct tokens of all replies; each entry counts once."""
        mine = [reply for reply in replies if reply.ask.probe == self.name]
        spelled = [reply for reply in mine if reply.tokens and _spells(reply)]
        pieces = {piece for reply in spelled for token in reply.tokens for piece in _entries(token)}
        pieces = {piece for piece in pieces if _ordinary(piece)}
        if len(pieces) < ENOUGH:
            why = "too few tokens were spelled" if spelled else "the endpoint gives no log probabilities"
            if not any(reply.ok for reply in mine):
                why = "no question was answered" if mine else "no log probabilities were asked for"
            return Evidence(self.name, self.block, tested=False, why_not=why, requests=len(mine))
        foreign = {name: sum(not _contains(name, piece) for piece in pieces) for name in self.names}
        logs = {name: n * math.log(FOREIGN) + (len(pieces) - n) * math.log1p(-FOREIGN) for name, n in foreign.items()}
        none = min(len(pieces), 2) * math.log(FOREIGN)
        claimed = self.plan.claimed_tokenizer
        best = self._best(foreign)
        bound = len(spelled) * math.log(TRIAL_BOUND)
        log_e = 0.0
        if claimed in self.names:
            ratio = log_mean_exp([logs[name] for name in self.names if name != claimed]) - logs[claimed]
            log_e = min(bound, max(-bound, ratio))
        keys = tuple(reply.ask.key for reply in spelled)
        findings = []
        if claimed in self.names and foreign[claimed] and log_e > 0:
            lacks = sorted(piece for piece in pieces if not _contains(claimed, piece))
            shown = ", ".join(repr(piece.decode("utf-8", "replace")) for piece in lacks[:3])
            text = f"Log probabilities spell {len(lacks)} tokens that the claimed vocabulary {claimed} does not have, such as {shown}."
            findings.append(Finding("tokenizer-mismatch", "strong" if log_e >= math.log(10) else "moderate", text, keys))
        return Evidence(
            channel=self.name,
            block=self.block,
            tested=True,
            log_e=log_e,
            log_likelihood=bounded(logs, none, bound),
            best=best,
            supports_claim=claimed is not None and best == claimed,
            rounds=len(spelled),
            requests=len(mine),
            findings=tuple(findings),
            measured=({"key": keys[0], "measured": len(pieces), "predicted": {n: len(pieces) - k for n, k in foreign.items()}},),
        )

    def readings(self, replies: Sequence[Reply]) -> Sequence[Reading]:
        """Every reply's distinct tokens by themselves."""
        found = []
        for reply in replies:
            if reply.ask.probe != self.name or not reply.tokens or not _spells(reply):
                continue
            pieces = {piece for token in reply.tokens for piece in _entries(token) if _ordinary(piece)}
            foreign = {name: sum(not _contains(name, piece) for piece in pieces) for name in self.names}
            logs = {name: n * math.log(FOREIGN) + (len(pieces) - n) * math.log1p(-FOREIGN) for name, n in foreign.items()}
            null = logs.get(self.plan.claimed_tokenizer or "")
            found.append(Reading(reply.ask.key, self.name, logs | {UNKNOWN: min(len(pieces), 2) * math.log(FOREIGN)}, null))
        return found

    def _best(self, foreign: dict[str, int]) -> str | None:
        """The one vocabulary that has every token; the claimed one among several only where each of the others contains it whole.

        Tokens that an unrelated vocabulary holds too (plain English words stand in all of them) speak for neither.
        """
        whole = [name for name, n in foreign.items() if n == 0]
        claimed = self.plan.claimed_tokenizer
        if claimed in whole and all(contains_all(name, claimed) for name in whole):
            return claimed
        return whole[0] if len(whole) == 1 else None

    def _ask(self, number: int) -> Ask:
        rng = self.plan.rng(f"logprobs/{number}")
        seeds = [
            *rng.sample(strings.words("korean"), 2),
            *rng.sample(strings.words("english"), 3),
            *rng.sample(strings.words("chinese"), 2),
        ]
        rng.shuffle(seeds)
        text = ", ".join(seeds)
        return Ask(
            probe=self.name,
            key=f"logprobs/{number}",
            messages=(("user", INSTRUCTION + text),),
            max_tokens=MAX_TOKENS,
            payload=text,
            temperature=None,
            logprobs=ALTERNATIVES,
        )


def _spells(reply: Reply) -> bool:
    """Whether the tokens are the bytes of the text. Some servers write a vocabulary's raw pieces ("Ġthe"), which prove nothing.

    Tokens that do not say their bytes leave gaps: what lies between the gaps must stand in the text, in order.
    """
    joined = b"".join(token.token for token in reply.tokens).decode("utf-8", "replace")
    if reply.text.strip().strip("\ufffd").strip() in joined:
        return True
    runs = _runs(reply.tokens)
    if len(runs) < 2:
        return False
    at = 0
    for run in runs:
        at = reply.text.find(run, at)
        if at < 0:
            return False
        at += len(run)
    return sum(map(len, runs)) >= len(reply.text) * LEGIBLE


def _runs(tokens: Sequence[TokenBytes]) -> list[str]:
    """The text between tokens that do not say their bytes, without the white space at its ends (servers trim a reply's)."""
    runs: list[bytearray] = [bytearray()]
    for token in tokens:
        if _ordinary(token.token):
            runs[-1] += token.token
        else:
            runs.append(bytearray())
    spelled = (bytes(run).decode("utf-8", "replace").strip().strip("\ufffd").strip() for run in runs)
    return [run for run in spelled if run]


def _entries(token: TokenBytes) -> tuple[bytes, ...]:
    """The vocabulary entries at one position: the sampled token and its alternatives.

    llama.cpp withholds the first tokens of a character that takes several (an emoji) and joins their bytes to the last. The joined
    bytes are no entry of anything; alternatives that begin within a character show that the position lies within one.
    """
    within = any(piece and piece[0] & 0xC0 == 0x80 for piece in token.alternatives)
    joined = within and token.token not in token.alternatives
    return token.alternatives if joined else (token.token, *token.alternatives)


@lru_cache(maxsize=1024)
def contains_all(name: str, inner: str) -> bool:
    """Whether vocabulary `name` has every token of `inner`, by the pieces of COMPARED_IDS (4 ms)."""
    if name == inner:
        return True
    pieces = list(filter(None, map(tokenizers.vocabulary(inner).token_text, COMPARED_IDS)))
    return bool(pieces) and all(tokenizers.vocabulary(name).contains(piece) for piece in pieces)


@lru_cache(maxsize=16384)
def _contains(name: str, piece: bytes) -> bool:
    return bool(tokenizers.vocabulary(name).contains(piece))


def _ordinary(piece: bytes) -> bool:
    """Whether a spelled token can be compared: special tokens are entries of no list, and some spellings hide the bytes."""
    text = piece.decode("utf-8", "ignore")
    special = len(text) > 2 and text.startswith(("<", "[", "|")) and text.endswith((">", "]", "|"))
    return bool(piece) and not special and not any(mark in text for mark in HIDING)
