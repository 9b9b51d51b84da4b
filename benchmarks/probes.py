"""Are vocabularies told apart by prompt counts alone? Endpoints count with an independent implementation under six chat
templates and random hidden prompts; counts are exact, off by up to 3 tokens a request, or scaled by 0.8 to 1.5 and rounded.
Leave-one-out: the endpoint's own vocabulary is taken away and must be called unknown. Stand-in endpoints, real vocabularies."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.second import second
from benchmarks.simulated import TEMPLATES, Endpoint
from fingerprints import tokenizers
from probes.plan import Plan
from probes.probe import Reply, Usage
from probes.separation import margins, scaled_margins
from probes.usage import UsageProbe, plan_round
from verifier.intervals import lower_bound

ROUNDS = 6
"""Rounds of four questions, as in the suite `deep`: 26 requests."""
ENDPOINTS_PER_SEED = 25
ARMS = ("exact", "noise3", "scaled_rounded")


def run(data: Path | None = None, seed: int = 0, limit: int | None = None) -> dict[str, Any]:
    """Identify `limit` endpoints (default 1,000) per arm."""
    n = limit or 1000
    names = tokenizers.names()
    counted = [name for name in names if second(name) is not None]
    hits = dict.fromkeys(ARMS, 0)
    unknown = wrong = 0
    worst = scaled = float("inf")
    misses: list[str] = []
    for i in range(n):
        plan_seed = seed + i // ENDPOINTS_PER_SEED
        rng = random.Random(f"probes/{seed}/{i}")
        true = counted[i % len(counted)]
        probe = UsageProbe(Plan(seed=plan_seed, claim=None, usage_rounds=ROUNDS))
        endpoint = Endpoint(true, template=rng.randrange(len(TEMPLATES)), hidden=rng.randrange(0, 300))
        for arm in ARMS:
            found = probe.read(_replies(probe, _arm(endpoint, arm, rng), arm, rng)).best
            hits[arm] += found == true
            if found != true:
                misses.append(f"{arm}: {true} as {found}")
        without = UsageProbe(Plan(seed=plan_seed, claim=None, usage_rounds=ROUNDS))
        replies = _replies(without, endpoint, "exact", rng)
        without.names = tuple(name for name in names if name != true)
        named = without.read(replies).best
        unknown += named is None
        wrong += named is not None
        if named is not None:
            misses.append(f"unlisted {true} as {named}")
        if i % ENDPOINTS_PER_SEED == 0:
            table = np.array([q.counts for number in range(ROUNDS) for q in plan_round(plan_seed, number, names)], dtype=float).T
            worst, scaled = min(worst, float(margins(table).min())), min(scaled, float(scaled_margins(table).min()))
    return {
        "families": list(names),
        "counted_independently": counted,
        "endpoints": n,
        "requests": 2 + 4 * ROUNDS,
        "worst_pair_margin_tokens": worst,
        "worst_pair_margin_scaled_tokens": round(scaled, 2),
        "identified": {arm: hits[arm] / n for arm in ARMS},
        "identified_lower_95": {arm: lower_bound(hits[arm], n) for arm in ARMS},
        "unlisted_called_unknown": unknown / n,
        "misses": misses[:20],
    }


def _arm(endpoint: Endpoint, arm: str, rng: random.Random) -> Endpoint:
    return dataclasses.replace(endpoint, scale=rng.uniform(0.8, 1.5)) if arm == "scaled_rounded" else endpoint


def _replies(probe: UsageProbe, endpoint: Endpoint, arm: str, rng: random.Random) -> list[Reply]:
    replies: list[Reply] = []
    while asks := probe.next_round(replies):
        for reply in asyncio.run(endpoint.ask_all(asks)):
            count = reply.usage.prompt_tokens if reply.usage else None
            if arm == "noise3" and count is not None:
                reply = dataclasses.replace(reply, usage=Usage(count + rng.randint(-3, 3), 1))
            replies.append(reply)
    return replies


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    rows = [f"| {arm} | {rate:.4f} | {result['identified_lower_95'][arm]:.4f} |" for arm, rate in result["identified"].items()]
    return "\n".join(
        [
            f"{len(result['families'])} vocabularies, {len(result['counted_independently'])} counted independently; "
            f"{result['endpoints']} endpoints an arm, {result['requests']} requests each. Closest pair in tokens: "
            f"{result['worst_pair_margin_tokens']:g}, at its worst common scale {result['worst_pair_margin_scaled_tokens']:g}.",
            "",
            "| counts | identified | one-sided 95 % lower bound |",
            "|---|---|---|",
            *rows,
            "",
            f"Own vocabulary taken away: called unknown in {result['unlisted_called_unknown']:.4f}."
            + (f" Misses: {'; '.join(result['misses'])}." if result["misses"] else ""),
        ]
    )
