"""Where do the streamed chunks of a copied string end?

Engines stream whole tokens, so a chunk can only end where a token ends: every observed edge must be an edge of the model's
vocabulary, which survives gateways that merge chunks. Gateways that cut chunks anew (by characters, by words, at random) are
part of the null hypothesis. Reads the streamed replies of the truncation probe and, where the plan allows, asks for one longer
copy, whose edges still tell vocabularies apart where a gateway leaves a tenth of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache

import numpy as np

from fingerprints import tokenizers
from probes import echo
from probes.counts import log_mean_exp
from probes.plan import Plan
from probes.probe import JSON, Ask, Block, Evidence, Finding, Reply
from probes.readings import UNKNOWN, Reading
from probes.truncation import ENOUGH, INSTRUCTION, TRIAL_BOUND, bounded

KEEP = tuple(np.round(np.linspace(0.05, 0.99, 12), 3).tolist())
"""Shares of token boundaries that may survive a gateway's merging of chunks."""
STRAY = 0.01
"""Probability, per character, of a chunk edge off the vocabulary's canonical boundaries."""
LONG_LIMIT = 160
"""Token limit of the long copy: enough for 150 characters in most vocabularies; in the others a part comes back."""
ENOUGH_EDGES = 6
"""Inner chunk edges over all copies, below which the stream says nothing."""
EXCLUDED = 100.0
"""How many times less likely than under the claim the edges must be under a vocabulary that could have made all of them, before edges
may clear the claim. A likelihood ratio: the edges of that vocabulary itself reach it by chance in 1 % of audits at most."""


class StreamProbe:
    """Compares chunk edges with every vocabulary whose boundaries are known."""

    name = "stream"
    block = Block.TOKENIZER
    reads: tuple[str, ...] = ("truncation", "stream")
    goal = "Do streamed chunks end where the claimed vocabulary's tokens end?"

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Loaded on first use, as the truncation probe's."""
        return echo.bounded_vocabularies()

    def next_round(self, replies: Sequence[Reply]) -> Sequence[Ask]:
        """The long string, once, where the plan has it; not where none of the short ones came back as a copy in several chunks."""
        asked = any(reply.ask.probe == self.name for reply in replies)
        aligned = [echo.align(reply, reply.ask.max_tokens, cut=False) for reply in replies]
        useless = bool(replies) and not any(isinstance(copy, echo.Echo) and copy.edges for copy in aligned)
        if not self.plan.long_echo or asked or useless:
            return []
        text = echo.plan_long(self.plan.seed, self.names)
        question = (("user", INSTRUCTION + text),)
        return [Ask(probe=self.name, key="stream/long", messages=question, max_tokens=LONG_LIMIT, payload=text, stream=True)]

    def read(self, replies: Sequence[Reply]) -> Evidence:
        """Evidence from the chunk edges of streamed copies."""
        requests = sum(reply.ask.probe == self.name for reply in replies)
        streamed = [reply for reply in replies if reply.chunks]
        aligned = [(reply.ask.key, echo.align(reply, reply.ask.max_tokens, cut=False)) for reply in streamed]
        copies = [(key, copy) for key, copy in aligned if isinstance(copy, echo.Echo) and copy.edges]
        if sum(len(copy.edges) for _, copy in copies) < ENOUGH_EDGES:
            why = echo.commonest([c for _, c in aligned if isinstance(c, str)]) or "the chunks are too few and too large"
            if not streamed:
                why = "nothing came in chunks" if any(reply.ok for reply in replies) else "no streamed copy was asked for"
            return Evidence(self.name, self.block, tested=False, why_not=why, requests=requests)
        per_share = {name: [sum(_log_edges(c, _boundaries(name, c), keep) for _, c in copies) for keep in KEEP] for name in self.names}
        logs = {name: log_mean_exp(values) for name, values in per_share.items()}
        rechunked = sum(_log_rechunked(copy) for _, copy in copies)
        claimed = self.plan.claimed_tokenizer
        best = max(self.names, key=lambda name: (round(logs[name], 9), name == claimed))  # a tie speaks for the claim
        known = logs[best] > rechunked
        log_e = 0.0
        bound = len(copies) * math.log(TRIAL_BOUND)
        if claimed in self.names:
            null = max(max(per_share[claimed]), rechunked)
            ratio = log_mean_exp([logs[name] for name in self.names if name != claimed]) - null
            log_e = min(bound, max(-bound, ratio))
        supports = known and best == claimed
        findings = []
        keys = tuple(key for key, _ in copies)
        if claimed in self.names and known and best != claimed and log_e > 0:
            text = f"Streamed chunks end at the token boundaries of the vocabulary {best}, not of {claimed} of the claimed model."
            findings.append(Finding("tokenizer-mismatch", "strong", text, keys))
        return Evidence(
            channel=self.name,
            block=self.block,
            tested=True,
            log_e=log_e,
            log_likelihood=bounded(logs, rechunked, bound),
            best=best if known else None,
            supports_claim=supports,
            discriminating=self._discriminating([copy for _, copy in copies], logs) if supports else 0,
            answers="truncation",
            rounds=len(copies),
            requests=requests,
            findings=tuple(findings),
            measured=tuple(self._row(key, copy) for key, copy in copies),
        )

    def readings(self, replies: Sequence[Reply]) -> Sequence[Reading]:
        """Every copy's chunk edges by themselves, against each vocabulary and against any gateway that merges or cuts chunks anew."""
        found = []
        for reply in replies:
            copy = echo.align(reply, reply.ask.max_tokens, cut=False) if reply.chunks else ""
            if isinstance(copy, echo.Echo) and copy.edges:
                logs, null = _alone(copy, self.names, self.plan.claimed_tokenizer)
                found.append(Reading(reply.ask.key, self.name, dict(logs), null))
        return found

    def _discriminating(self, copies: Sequence[echo.Echo], logs: Mapping[str, float]) -> int:
        """Copies whose edges the claimed vocabulary explains and the one that is hardest to tell from it does not.

        Among those that are told apart at least ENOUGH times, as the truncation probe counts them: the share that the report rules out
        does not speak of vocabularies that are closer. None count where another vocabulary, whose boundaries are not the same all over
        the copies, has every edge and is not EXCLUDED times less likely: few edges may lie on boundaries of the claim by chance.
        """
        claimed = self.plan.claimed_tokenizer
        if claimed is None:
            return 0
        others = [name for name in self.names if name != claimed]
        strays = {name: [not _boundaries(name, copy).issuperset(copy.edges) for copy in copies] for name in self.names}
        for name in others:
            alike = all(_boundaries(name, copy) == _boundaries(claimed, copy) for copy in copies)
            if not alike and not any(strays[name]) and logs[claimed] - logs[name] < math.log(EXCLUDED):
                return 0
        apart = [sum(b and not a for a, b in zip(strays[claimed], strays[name], strict=True)) for name in others]
        return min((n for n in apart if n >= ENOUGH), default=0)

    def _row(self, key: str, copy: echo.Echo) -> JSON:
        on = {name: sum(edge in _boundaries(name, copy) for edge in copy.edges) for name in self.names}
        return {"key": key, "measured": len(copy.edges), "predicted": on}


def _boundaries(name: str, copy: echo.Echo) -> frozenset[int]:
    return _edges(name, copy.lead + copy.text)


@lru_cache(maxsize=2048)
def _alone(copy: echo.Echo, names: tuple[str, ...], claimed: str | None) -> tuple[tuple[tuple[str, float], ...], float | None]:
    """One copy's log likelihood per vocabulary and of an unknown one, and the most that any allowed gateway of `claimed` gives it."""
    per_share = {name: [_log_edges(copy, _boundaries(name, copy), keep) for keep in KEEP] for name in names}
    rechunked = _log_rechunked(copy)
    logs = (*((name, log_mean_exp(values)) for name, values in per_share.items()), (UNKNOWN, rechunked))
    return logs, max(*per_share[claimed], rechunked) if claimed in per_share else None


@lru_cache(maxsize=4096)
def _edges(name: str, text: str) -> frozenset[int]:
    return tokenizers.vocabulary(name).edges(text) or frozenset()


def _log_edges(copy: echo.Echo, boundaries: frozenset[int], keep: float) -> float:
    """Log probability of the observed edges: each boundary survives with `keep`, other places show one with STRAY."""
    inner = range(1, len(copy.lead) + copy.length)
    seen = set(copy.edges)
    n_on = sum(place in boundaries for place in inner)
    hit = sum(edge in boundaries for edge in seen)
    stray = len(seen) - hit
    off = len(inner) - n_on
    return hit * math.log(keep) + (n_on - hit) * math.log1p(-keep) + stray * math.log(STRAY) + (off - stray) * math.log1p(-STRAY)


def _log_rechunked(copy: echo.Echo) -> float:
    """The largest log probability of the edges under a gateway that cuts chunks anew, without regard to tokens."""
    whole = copy.lead + copy.text[: copy.length]
    everywhere = frozenset(range(1, len(whole)))
    before_words = frozenset(i for i in everywhere if whole[i].isspace() or whole[i - 1].isspace())
    sizes = {b - a for a, b in zip((0, *copy.edges), copy.edges, strict=False)}
    options = [_log_edges(copy, places, keep) for places in (everywhere, before_words) for keep in KEEP]
    if len(sizes) == 1:
        options.append(-math.log(len(whole)))
    return max(options)
