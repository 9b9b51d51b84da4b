"""`python -m benchmarks compare`: false differences and found ones of the paired test, simulated and between real local models.

Simulated: two endpoints that share a law (12 answers to each of six kinds, drawn from a Dirichlet of .25), looked at after every pair at
alpha .01, without tolerance, and with a drift of exactly the tolerance in the least favourable direction; then shares of another law.
Real: SmolLM2 135M on two engines, llama.cpp (4-bit weights) and transformers (the same weights in bfloat16, questions in batches); and
Gemma 3 270M against SmolLM2, both on llama.cpp. `--limit` is the number of simulated runs per null arm (2000 is the published figure);
real seeds are REAL_SEEDS, fewer where limit is below that. `--data` is a folder of the real arms' transcripts: what lies there is judged
again, what is missing is asked and put there. A real arm whose weights or environment cannot be had is said not to have been run.
"""

from __future__ import annotations

import asyncio
import math
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.engines import BATCHED, TRANSFORMERS, Engine, serve, transformers
from probes import paired
from probes.paired_features import Described, describe
from probes.paired_process import TOLERANCE, PairedProcess
from tests.real import environments
from verifier import judge, local
from verifier.comparing import compare_targets
from verifier.intervals import lower_bound, upper_bound
from verifier.options import Settings
from verifier.report.model import Report
from verifier.target import Target
from verifier.transcript import Transcript

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
SERVED = Engine(slots=4)

Law = Callable[[np.random.Generator, int], str]
"""Draws one answer to a question of a kind."""


def run(data: Path | None = None, seed: int = 0, limit: int | None = None) -> dict[str, Any]:
    """All arms. `data` holds, and takes, transcripts of real ones as ARM/seed-N/transcript.jsonl.gz."""
    runs = limit or 2000
    null = {name: _null(name, tolerance, drift, runs, seed) for name, tolerance, drift in NULLS}
    power = [_power(share, min(POWER_RUNS, runs), seed) for share in SHARES]
    result: dict[str, Any] = {"alpha": ALPHA, "tolerance": TOLERANCE, "null": null, "power": power, "real": {}}
    seeds = range(seed, seed + min(REAL_SEEDS, runs))
    for name, (suite, sides) in ARMS.items():
        try:
            result["real"][name] = _summary(_arm(name, sides, suite, seeds, data))
        except NotRunError as why:
            result["real"][name] = {"not_run": str(why)}
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


class NotRunError(Exception):
    """Why a real arm cannot be run here."""


Sides = tuple[Target, Target]
"""The target and the reference of an arm."""


@contextmanager
def _two_engines() -> Iterator[Sides]:
    """SmolLM2 on transformers and on llama.cpp."""
    _weights_or_not_run()
    try:
        programs = environments.made(TRANSFORMERS)
    except (OSError, subprocess.SubprocessError) as error:
        raise NotRunError(f"the environment of {TRANSFORMERS.name} cannot be made here: {error}") from error
    with tempfile.TemporaryDirectory(prefix="truename-compare-") as scratch, ExitStack() as stack:
        weights = local.weights(local.SMOLLM2, Path(scratch))
        url, model = stack.enter_context(transformers(programs, weights, Path(scratch), BATCHED))
        own = stack.enter_context(serve(weights, local.SMOLLM2, SERVED))
        yield Target.parse(url, model), Target.parse(own, local.SMOLLM2)


@contextmanager
def _two_models() -> Iterator[Sides]:
    """Gemma and SmolLM2, both on llama.cpp."""
    _weights_or_not_run()
    with tempfile.TemporaryDirectory(prefix="truename-compare-") as scratch, ExitStack() as stack:
        names = (local.GEMMA3, local.SMOLLM2)
        urls = [stack.enter_context(serve(local.weights(name, Path(scratch)), name, SERVED)) for name in names]
        yield Target.parse(urls[0], names[0]), Target.parse(urls[1], names[1])


def _weights_or_not_run() -> None:
    if why := local.available():
        raise NotRunError(why)


ARMS: dict[str, tuple[str, Callable[[], AbstractContextManager[Sides]]]] = {
    "engines": (SAME_SUITE, _two_engines),
    "models": ("deep", _two_models),
}
"""Real arms: suite, and the servers that are asked."""


def _arm(
    name: str, sides: Callable[[], AbstractContextManager[Sides]], suite: str, seeds: range, data: Path | None
) -> list[dict[str, Any]]:
    """One row per seed; the servers are started where a seed has no transcript yet."""
    stored = {seed: file for seed in seeds if data and (file := _place(data, name, seed)).is_file()}
    rows = {seed: _row(seed, judge(*Transcript.load(file))) for seed, file in stored.items()}
    if missing := [seed for seed in seeds if seed not in stored]:
        with sides() as (target, reference):
            for seed in missing:
                settings = Settings(suite=suite, seed=seed, alpha=ALPHA, timeout_s=240.0, concurrency=5)
                report = asyncio.run(compare_targets(target, reference, settings))
                rows[seed] = _row(seed, report)
                if data:
                    file = _place(data, name, seed)
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_bytes(report.transcript)
    return [rows[seed] for seed in seeds]


def _place(data: Path, name: str, seed: int) -> Path:
    return data / name / f"seed-{seed}" / "transcript.jsonl.gz"


def _row(seed: int, report: Report) -> dict[str, Any]:
    rows = {row["key"]: row["measured"] for row in report.data["blocks"]["choice"]["paired"]["measured"]}
    return {
        "seed": seed,
        "outcome": report.outcome,
        "e_value": report.data["verdict"]["e_value"],
        "highest_log_e": max(float(look["log_e"]) for look in report.data["progress"]),
        "pairs": int(rows[paired.ROW_PAIRS]),
        "separation": rows[paired.ROW_SEPARATION],
        "bound": rows[paired.ROW_BOUND],
    }


def _summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """How many seeds were called different, and after how many pairs."""
    stops = [row["pairs"] if row["outcome"] == "inconsistent" else None for row in rows]
    different = sum(stop is not None for stop in stops)
    return {"seeds": len(rows), "different": different, "median_pairs": _median(stops), "runs": rows}


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
    lines += [
        "",
        "| real arm | seeds | called different | 95 % interval | pairs | largest e on the way | separation |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        _real_line(*each)
        for each in (
            ("SmolLM2, transformers against llama.cpp", result["real"]["engines"]),
            ("Gemma 3 against SmolLM2", result["real"]["models"]),
        )
    ]
    return "\n".join(lines)


def _real_line(name: str, arm: dict[str, Any]) -> str:
    if "not_run" in arm:
        return f"| {name} | not run: {arm['not_run']} | | | | | |"
    low, high = lower_bound(arm["different"], arm["seeds"], 0.025), upper_bound(arm["different"], arm["seeds"], 0.025)
    pairs = sorted(row["pairs"] for row in arm["runs"])
    highest = math.exp(max(row["highest_log_e"] for row in arm["runs"]))
    separation = statistics.fmean(row["separation"] for row in arm["runs"])
    spent = f"median {arm['median_pairs']:g}, {pairs[0]} to {pairs[-1]}" if arm["median_pairs"] else f"{pairs[0]} to {pairs[-1]}, all asked"
    found = f"{arm['seeds']} | {arm['different']} | {100 * low:.0f} to {100 * high:.0f} %"
    return f"| {name} | {found} | {spent} | {highest:.3g} | {separation:.2f} |"
