"""Where do the streamed chunks of a copied string end?

Engines stream whole tokens, so a chunk can only end where a token ends: every observed edge must be an edge of the model's
vocabulary, which survives gateways that merge chunks. Gateways that cut chunks anew (by characters, by words, at random) are
part of the null hypothesis. Reads the streamed replies of the truncation probe and asks nothing itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property, lru_cache

import numpy as np

from fingerprints import tokenizers
from probes import echo
from probes.counts import log_mean_exp
from probes.plan import Plan
from probes.probe import JSON, Ask, Block, Evidence, Finding, Reply
from probes.truncation import TRIAL_BOUND, bounded

KEEP = tuple(np.round(np.linspace(0.05, 0.99, 12), 3).tolist())
"""Shares of token boundaries that may survive a gateway's merging of chunks."""
STRAY = 0.01
"""Probability, per character, of a chunk edge off the vocabulary's canonical boundaries."""
ENOUGH_EDGES = 6
"""Inner chunk edges over all copies, below which the stream says nothing."""


class StreamProbe:
    """Compares chunk edges with every vocabulary whose boundaries are known."""

    name = "stream"
    block = Block.TOKENIZER
    reads: tuple[str, ...] = ("truncation",)
    goal = "Do streamed chunks end where the claimed vocabulary's tokens end?"

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Loaded on first use, as the truncation probe's."""
        return echo.bounded_vocabularies()

    def next_round(self, replies: Sequence[Reply]) -> Sequence[Ask]:
        """Nothing: the truncation probe streams its questions."""
        return []

    def read(self, replies: Sequence[Reply]) -> Evidence:
        """Evidence from the chunk edges of streamed copies."""
        streamed = [reply for reply in replies if reply.chunks]
        aligned = [(reply.ask.key, echo.align(reply, reply.ask.max_tokens)) for reply in streamed]
        copies = [(key, copy) for key, copy in aligned if isinstance(copy, echo.Echo) and copy.edges]
        if sum(len(copy.edges) for _, copy in copies) < ENOUGH_EDGES:
            why = "nothing came in chunks" if not streamed else echo.commonest([c for _, c in aligned if isinstance(c, str)])
            return Evidence(self.name, self.block, tested=False, why_not=why or "the chunks are too few and too large")
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
            supports_claim=known and best == claimed,
            answers="truncation",
            rounds=len(copies),
            findings=tuple(findings),
            measured=tuple(self._row(key, copy) for key, copy in copies),
        )

    def _row(self, key: str, copy: echo.Echo) -> JSON:
        on = {name: sum(edge in _boundaries(name, copy) for edge in copy.edges) for name in self.names}
        return {"key": key, "measured": len(copy.edges), "predicted": on}


def _boundaries(name: str, copy: echo.Echo) -> frozenset[int]:
    return _edges(name, copy.lead + copy.text)


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
