"""`python -m benchmarks compare`: false differences and found ones of the paired test, simulated and between real local models.

Simulated: two endpoints that share a law (12 answers to each of six kinds, drawn from a Dirichlet of .25), looked at after every pair at
alpha .01, without tolerance, and with a drift of exactly the tolerance in the least favourable direction; then shares of another law.
Real: SmolLM2 135M against itself on two llama.cpp servers with different settings (a stand-in for two engines), and against Gemma 3
270M. `--limit` is the number of simulated runs per null arm (2000 is the published figure); real seeds are REAL_SEEDS, fewer where
limit is below that. Real arms are skipped where the weights are not installed.
"""

from __future__ import annotations

import asyncio
import math
import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.engines import Engine, serve
from probes.paired_features import Described, describe
from probes.paired_process import TOLERANCE, PairedProcess
from verifier import local
from verifier.comparing import compare_targets
from verifier.intervals import upper_bound
from verifier.options import Settings
from verifier.target import Target

ALPHA = 0.01
PAIRS = 60
"""Pairs of a simulated null run, and the budget that a swap is to be found in."""
POWER_PAIRS = 150
"""Pairs of a simulated run of the power table: the suite deep's."""
POWER_RUNS = 100
KINDS = 6
ANSWERS = 12
SHARES = (0.1, 0.2, 0.5, 1.0)
REAL_SEEDS = 20
SAME_SUITE = "standard"
"""30 pairs a seed: SmolLM2 gives about two answers a second on one thread."""

PLAIN = Engine(slots=4)
OTHER = Engine(slots=4, cache_type="q8_0", flash_attention=1, prompt_cache=False, batch=64)
"""The other "engine": an 8-bit key-value cache, flash attention, small batches, no prompt cache. Not more threads: two of one
server spin against each other on a busy machine, and its answers then take minutes."""

Law = Callable[[np.random.Generator, int], str]
"""Draws one answer to a question of a kind."""


def run(data: Path | None = None, seed: int = 0, limit: int | None = None) -> dict[str, Any]:
    """All arms; `data` is not used."""
    runs = limit or 2000
    null = {name: _null(name, tolerance, drift, runs, seed) for name, tolerance, drift in NULLS}
    power = [_power(share, min(POWER_RUNS, runs), seed) for share in SHARES]
    result: dict[str, Any] = {"alpha": ALPHA, "tolerance": TOLERANCE, "null": null, "power": power, "real": None}
    if local.available() is None:
        result["real"] = _real(range(seed, seed + min(REAL_SEEDS, runs)))
    return result


NULLS = (
    ("same law, no tolerance", 0.0, 0.0),
    ("same law, default tolerance", TOLERANCE, 0.0),
    ("drift of exactly the tolerance", TOLERANCE, TOLERANCE),
)
"""Arms of the null hypothesis: name, the test's tolerance, the endpoints' total variation distance."""


def _null(name: str, tolerance: float, drift: float, runs: int, seed: int) -> dict[str, Any]:
    """How often a run ever reaches 1/alpha, looked at after every pair."""
    reached = 0
    for i in range(runs):
        rng = np.random.default_rng([seed, i, round(1000 * drift), round(1000 * tolerance)])
        shared = _law(rng)
        first, second = _drifted(shared, "left", drift), _drifted(shared, "right", drift)
        reached += _stopped(rng, first, second, tolerance, PAIRS) is not None
    return {"runs": runs, "pairs": PAIRS, "false": reached, "rate": reached / runs, "upper_95": upper_bound(reached, runs)}


def _power(share: float, runs: int, seed: int) -> dict[str, Any]:
    """How often, and after how many pairs, a target is found of whose answers this share is another law's."""
    stops = []
    for i in range(runs):
        rng = np.random.default_rng([seed, i, 7, round(1000 * share)])
        first, other = _law(rng), _law(rng)

        def mixed(rng: np.random.Generator, kind: int, first: Law = first, other: Law = other) -> str:
            return other(rng, kind) if rng.random() < share else first(rng, kind)

        stops.append(_stopped(rng, first, mixed, TOLERANCE, POWER_PAIRS))
    found = [stop for stop in stops if stop is not None]
    within = sum(stop <= PAIRS for stop in found)
    return {"share": share, "runs": runs, "found": len(found), "found_in_60": within, "median_pairs": _median(stops)}


def _stopped(rng: np.random.Generator, first: Law, second: Law, tolerance: float, pairs: int) -> int | None:
    """The pair after which the e-process first reaches 1/alpha; None where it never does."""
    process = PairedProcess(tolerance)
    for pair in range(pairs):
        kind = pair % KINDS
        process.add(_described(kind, first(rng, kind)), _described(kind, second(rng, kind)))
        if process.log_e >= math.log(1.0 / ALPHA):
            return pair + 1
    return None


def _law(rng: np.random.Generator) -> Law:
    """A law per kind over made-up words, drawn anew."""
    shares = rng.dirichlet(np.full(ANSWERS, 0.25), size=KINDS)
    return lambda rng, kind: f"word{kind}{chr(97 + int(rng.choice(ANSWERS, p=shares[kind])))}"


def _drifted(law: Law, own: str, drift: float) -> Law:
    """The law with a share of its answers replaced by one of its own: two such laws differ by exactly `drift`."""
    return lambda rng, kind: own if rng.random() < drift else law(rng, kind)


@lru_cache(maxsize=4096)
def _described(kind: int, answer: str) -> Described:
    return describe(f"kind{kind}", "Say a word.", answer)


def _real(seeds: range) -> dict[str, Any]:
    """The real arms, one seed after another on servers that stay up."""
    with _servers() as (plain, other, gemma):
        same = [_compare(plain, local.SMOLLM2, other, local.SMOLLM2, seed, SAME_SUITE) for seed in seeds]
        swapped = [_compare(gemma, local.GEMMA3, plain, local.SMOLLM2, seed, "deep") for seed in seeds]
    stops = [row["pairs"] if row["outcome"] == "inconsistent" else None for row in swapped]
    return {
        "same_model": {"seeds": len(same), "different": sum(row["outcome"] == "inconsistent" for row in same), "runs": same},
        "other_model": {
            "seeds": len(swapped), "found": sum(s is not None for s in stops), "median_pairs": _median(stops), "runs": swapped,
        },
    }  # fmt: skip


@contextmanager
def _servers() -> Iterator[tuple[str, str, str]]:
    """SmolLM2 on two servers with different settings, and Gemma."""
    with tempfile.TemporaryDirectory(prefix="truename-compare-") as scratch, ExitStack() as stack:
        smollm2, gemma3 = (local.weights(name, Path(scratch)) for name in (local.SMOLLM2, local.GEMMA3))
        yield (
            stack.enter_context(serve(smollm2, local.SMOLLM2, PLAIN)),
            stack.enter_context(serve(smollm2, local.SMOLLM2, OTHER)),
            stack.enter_context(serve(gemma3, local.GEMMA3, PLAIN)),
        )


def _compare(url_a: str, model_a: str, url_b: str, model_b: str, seed: int, suite: str) -> dict[str, Any]:
    settings = Settings(suite=suite, seed=seed, alpha=ALPHA, timeout_s=120.0)
    report = asyncio.run(compare_targets(Target.parse(url_a, model_a), Target.parse(url_b, model_b), settings))
    rows = {row["key"]: row["measured"] for row in report.data["blocks"]["choice"]["paired"]["measured"]}
    return {
        "seed": seed,
        "outcome": report.outcome,
        "e_value": report.data["verdict"]["e_value"],
        "pairs": int(rows["pairs complete"]),
        "separation": rows["separation by the learnt score"],
        "bound": rows["separation, upper bound"],
    }


def _median(stops: list[int | None]) -> float | None:
    """Median with "never" as infinity; None where that is the median."""
    middle = statistics.median([math.inf if stop is None else float(stop) for stop in stops])
    return middle if math.isfinite(middle) else None


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    lines = ["| null arm | runs | pairs, looked at after each | false differences | one-sided 95 % bound |", "|---|---|---|---|---|"]
    lines += [f"| {name} | {r['runs']} | {r['pairs']} | {r['false']} | {100 * r['upper_95']:.2f} % |" for name, r in result["null"].items()]
    lines += ["", "| share of another law | runs | found in 60 pairs | found in 150 | median pairs |", "|---|---|---|---|---|"]
    lines += [
        f"| {100 * r['share']:.0f} % | {r['runs']} | {r['found_in_60']} | {r['found']} | {r['median_pairs'] or 'not reached'} |"
        for r in result["power"]
    ]
    if real := result["real"]:
        same, other = real["same_model"], real["other_model"]
        highest = max(row["e_value"] for row in same["runs"])
        lines += [
            "",
            f"SmolLM2 on two servers: {same['different']} of {same['seeds']} seeds called different (largest e {highest:.3g}).",
            f"SmolLM2 against Gemma: {other['found']} of {other['seeds']} seeds found, median {other['median_pairs']} pairs.",
        ]
    return "\n".join(lines)
