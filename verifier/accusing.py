"""What an accusation may rest on: which channels, or which second backend, carry one at a given error rate.

Takes the evidence of every channel with the e-value against the claim; gives the channels that accuse together, none where the contract's
rule ("What an accusation may rest on") allows no accusation. It weighs nothing itself. Pure; no clock, no network.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

from fingerprints import catalog
from probes.probe import Block, Evidence, Finding
from verifier.mixture import LEAST_TOLD, Mixture
from verifier.reasons import LEANING

AGREEING = math.log(10.0)
"""Log e-value from which a channel counts as one of the two that an accusation needs (literature: blocks at e >= 10)."""
COUNT_CHANNEL = "usage"
SYSTEM_PROMPT = "system prompt or sampler settings"
"""What moves answers without another model: instructions, and defaults such as top-k, which alone moved first tokens by 0.38 in
total variation on one llama.cpp server (benchmarks drift)."""
EXPLAINED_BY = {
    COUNT_CHANNEL: frozenset({"recounted usage"}),
    "truncation": frozenset({"text cut by the gateway"}),
    "stream": frozenset({"chunks cut by the gateway"}),
    "choice": frozenset({SYSTEM_PROMPT}),
    "paired": frozenset({SYSTEM_PROMPT}),
    "knowledge": frozenset({SYSTEM_PROMPT}),
    "style": frozenset({SYSTEM_PROMPT, "rewriter"}),
}
"""What, short of another model, may show what a channel shows against a claim. Two channels carry an accusation together only
where no single one of these explains both."""


def accused(evidence: Sequence[Evidence], log_e: float, alpha: float, findings: Sequence[Finding]) -> list[Evidence]:
    """The channels that carry an accusation together at this alpha; empty where the contract's rule allows none."""
    threshold = math.log(1.0 / alpha)
    if log_e < threshold:
        return []
    tested = [e for e in evidence if e.tested and e.block is not Block.SURFACE]
    against = [e for e in tested if e.log_e >= AGREEING]
    counts = next((e for e in tested if e.channel == COUNT_CHANNEL), None)
    texts = [e for e in against if e.channel != COUNT_CHANNEL]
    if any(e.supports_claim for e in tested if e.channel != COUNT_CHANNEL):
        return []  # what the model writes is the claimed model's own: the counts were rewritten, nobody swapped it
    if counts is not None and counts.log_e >= threshold and counts.rounds >= 2 and counts.best is not None:
        return [counts]
    if counts is not None and counts.recounted and (sure := [e for e in texts if e.log_e >= threshold and _agrees(e, counts)]):
        return [counts, *sure]
    for one, other in combinations(against, 2):
        if not _explained_together(one, other):
            return [one, other]
    hidden = any(finding.code == "hidden-prompt" for finding in findings)
    leaning = [e for e in tested if e.log_e >= LEANING and e.best is not None]
    for one, other in combinations(leaning, 2):
        alike = one.block is not other.block and same_model(one.best, other.best) and not hidden
        if alike and (min(one.log_e, other.log_e) >= AGREEING or max(one.log_e, other.log_e) >= threshold):
            return [one, other]
    return []


def mixture_accused(mixed: Mixture, log_e: float, alpha: float) -> bool:
    """Whether a second backend carries an accusation at this alpha.

    Counts carry it alone where they match a vocabulary that no honest gateway counts with on fresh strings twice, and no text of the same
    replies says otherwise; else two channels of the same replies that nothing else explains together.
    """
    threshold = math.log(1.0 / alpha)
    if not mixed.mixed or min(log_e, mixed.joint) < threshold:
        return False
    if mixed.channels.get(COUNT_CHANNEL, 0.0) >= threshold and mixed.rounds >= 2:
        return True
    against = [name for name, value in mixed.channels.items() if value >= AGREEING]
    return any(not EXPLAINED_BY.get(a, frozenset()) & EXPLAINED_BY.get(b, frozenset()) for a, b in combinations(against, 2))


def looks_mixed(mixed: Mixture | None) -> bool:
    """Whether a second backend is visible, be it by too little to accuse: then nothing is cleared."""
    return mixed is not None and (len(mixed.others) >= LEAST_TOLD or (bool(mixed.others) and mixed.log_e > LEANING))


def same_model(one: str | None, other: str | None) -> bool:
    """Whether two names are one model's: packs spell names as their sources do."""
    found = [catalog.find(name) if name is not None else None for name in (one, other)]
    return one == other or (found[0] is not None and found[1] is not None and found[0].name == found[1].name)


def _agrees(channel: Evidence, counts: Evidence) -> bool:
    """Whether a channel of text agrees with recounted usage that another model answers.

    A behaviour channel agrees where it looks like a model of the vocabulary that the counts match: a relay that recounts and adds a
    system prompt moves the choices of an honest model too, but not towards that one.
    """
    if channel.block is Block.TOKENIZER:
        return True
    looks_like = catalog.find(channel.best) if channel.best is not None else None
    return looks_like is not None and looks_like.tokenizer == counts.best


def _explained_together(one: Evidence, other: Evidence) -> bool:
    """Whether a single gateway, prompt or forgery shows what both channels show.

    A system prompt moves choices and style alike. They accuse together only where both look like the same other model (both at
    e >= 10, or one beyond the threshold by itself and the other at e >= 3) and the accounting shows no hidden prompt: what makes
    one model choose and write as another is a forgery.
    """
    return bool(EXPLAINED_BY.get(one.channel, frozenset()) & EXPLAINED_BY.get(other.channel, frozenset()))
