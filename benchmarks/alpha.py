"""`python -m benchmarks alpha`: realised false accusations of the whole decision, under early stopping, a look after every reply, and
thirty re-audits; with nulls that are right and nulls that are wrong (drift, another engine, a system prompt).

Honest endpoints are stand-ins: real vocabularies counted by a second implementation, and free choices drawn from one random half of
the recorded choices of a real model while the other half is the reference. Every audit is asked to its end once and then judged at
every place where a looker might have stopped, the bet on a second backend included: early stopping looks after every round and
every-reply looking after every third reply besides. "Worst-case channels" replaces every channel by the heaviest-tailed e-value that its
contract allows, which tests the decision apart from its channels. `--limit` is the number of seeds (40 is the published figure; 50
endpoints each).
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.second import second
from benchmarks.simulated import TEMPLATES, Endpoint, halved_choices
from fingerprints.catalog import Claim
from fingerprints.packs import Pack
from probes import suite as suites
from probes.plan import RECOUNTERS
from probes.probe import Block, Evidence, Probe, Reply
from verifier.conversation import read_by
from verifier.decide import decide, evidence_against
from verifier.intervals import lower_bound, upper_bound
from verifier.mixture import Mixture, mixture
from verifier.multiple import Carried
from verifier.telling import tell

ALPHA = 0.01
SEEDS, ENDPOINTS, RE_AUDITS = 40, 50, 30
VOCABULARIES = ("o200k", "cl100k", "llama3", "smollm", "gemma3", "qwen2.5", "deepseek-v3")
LOOKS = ("early_stopping", "every_reply", "thirty_reaudits")
WORST_CASES = 20_000
EACH = 3
"""Replies between two looks of every-reply looking, which also looks after every round: the bet on a second backend reads all replies anew
at each look."""

Drift = Callable[["np.ndarray[Any, Any]", "np.ndarray[Any, Any]"], "np.ndarray[Any, Any]"]
DRIFTS: dict[str, Drift] = {
    "as the reference": lambda own, other: own,
    "drift of 0.10 (the tolerance)": lambda own, other: 0.9 * own + 0.1 * other,
    "another engine (temperature 0.9)": lambda own, other: own ** (1 / 0.9),
    "system prompt (0.20 towards favourites)": lambda own, other: 0.8 * own + 0.2 * np.where(own >= np.sort(own)[-5], 0.2, 0.0),
}
"""What becomes of the law of an honest endpoint's choices; `other` is another model's law."""
BEYOND = frozenset({"system prompt (0.20 towards favourites)"})
"""Drifts that exceed the tolerance, where the test's null hypothesis is wrong."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One endpoint and what it claims to be."""

    endpoint: Endpoint
    claim: Claim
    packs: tuple[Pack, ...]
    drift: str


@dataclass(slots=True)
class Walk:
    """One audit asked to its end: what each looker would have seen."""

    early: bool
    every: bool
    final: tuple[Evidence, ...]
    mixed: Mixture | None
    """What all replies say of a second backend."""
    requests_to_accusation: int | None


def run(data: Path | None = None, seed: int = 0, limit: int | None = None) -> dict[str, Any]:
    """All arms and looks. `limit` seeds per endpoint (default 40)."""
    seeds = limit or SEEDS
    honest = [_honest(i, seed) for i in range(ENDPOINTS)]
    swaps = [_swap(i, seed, forged=i % 2 == 1) for i in range(ENDPOINTS // 2)]
    paths = _paths(honest, range(seed, seed + seeds))
    cheats = _paths(swaps, range(seed, seed + max(2, seeds // 4)))
    result: dict[str, Any] = {"alpha": ALPHA, "endpoints": len(honest), "seeds": seeds}
    for look in LOOKS:
        per_drift = {
            drift: [p for arm, ps in zip(honest, paths, strict=True) if arm.drift == drift for p in _alarms(look, ps, arm, seed)]
            for drift in DRIFTS
        }
        alarms = [alarm for each in per_drift.values() for alarm in each]
        power = [p for arm, ps in zip(swaps, cheats, strict=True) for p in _alarms(look, ps, arm, seed)]
        result[look] = _rate(alarms) | {
            "per_null": {drift: _rate(each) for drift, each in per_drift.items()},
            "power": {"runs": len(power), "rate": sum(power) / len(power), "low_95": lower_bound(sum(power), len(power))},
        }
    result["worst_case_channels"] = _rate(_worst_cases(seed, WORST_CASES if limit is None else 500 * limit))
    spent = [p.requests_to_accusation for ps in cheats for p in ps if p.requests_to_accusation is not None]
    result["swap_median_requests"] = float(np.median(spent)) if spent else None
    return result


def _rate(alarms: Sequence[bool]) -> dict[str, Any]:
    hits, runs = sum(alarms), len(alarms)
    return {"runs": runs, "accused": hits, "rate": hits / runs if runs else 0.0, "upper_95": upper_bound(hits, runs)}


def _alarms(look: str, paths: Sequence[Walk], arm: Arm, seed: int) -> list[bool]:
    """Whether each run of this endpoint ended in an accusation, for one way of looking."""
    if look == "early_stopping":
        return [path.early for path in paths]
    if look == "every_reply":
        return [path.every for path in paths]
    rng = random.Random(f"reaudits/{seed}/{arm.endpoint.seed}")
    return [_re_audited([rng.choice(paths) for _ in range(RE_AUDITS)], arm.claim) for _ in paths]


def _re_audited(paths: Sequence[Walk], claim: Claim) -> bool:
    """Whether any of thirty audits of one endpoint, each carrying on from the one before, accuses."""
    carried = Carried()
    for path in paths:
        own = evidence_against(path.final, path.mixed)
        if carried.after(own).log_e >= math.log(1 / ALPHA):
            if decide(path.final, claim, ALPHA, carried=carried, mixed=path.mixed).outcome == "inconsistent":
                return True
        carried = carried.after(own)
    return False


def _paths(arms: Sequence[Arm], seeds: Sequence[int]) -> list[list[Walk]]:
    """Every arm audited with every seed; the questions of a seed are planned once and remembered."""
    return [[_path(arm, seed) for seed in seeds] for arm in arms]


def _path(arm: Arm, seed: int) -> Walk:
    """Ask the whole standard suite, then look as every looker would."""
    suite = suites.SUITES["standard"]
    probes = suites.build(suite, arm.claim, seed, ALPHA, packs=arm.packs)
    endpoint = replace(arm.endpoint, seed=hash((arm.endpoint.seed, seed)) % 2**31)
    replies: list[Reply] = []
    rounds: list[int] = []
    for probe in probes:
        while asks := probe.next_round(read_by(probe, replies)):
            replies += asyncio.run(endpoint.ask_all(asks))
            rounds.append(len(replies))
    read = _reader(probes, replies)
    every, early, spent = False, False, None
    keys = [reply.ask.key for reply in replies]

    def mixed_at(n: int) -> Mixture | None:
        return mixture(tell(probes, replies[:n], arm.claim), keys[:n])

    for n in sorted({*range(EACH, len(replies), EACH), *rounds}):
        evidence, mixed = read(n), mixed_at(n)
        if evidence_against(evidence, mixed) < math.log(1 / ALPHA):
            continue
        if decide(evidence, arm.claim, ALPHA, mixed=mixed).outcome == "inconsistent":
            every = True
            if n in rounds:
                early, spent = True, n
                break
    return Walk(early, every, read(len(replies)), mixed_at(len(replies)), spent)


def _reader(probes: Sequence[Probe], replies: Sequence[Reply]) -> Callable[[int], tuple[Evidence, ...]]:
    """The evidence after the first n replies; a probe reads again only where it got another reply."""
    known: dict[tuple[str, int], Evidence] = {}

    def read(n: int) -> tuple[Evidence, ...]:
        found = []
        for probe in probes:
            mine = read_by(probe, replies[:n])
            if (probe.name, len(mine)) not in known:
                known[probe.name, len(mine)] = probe.read(mine)
            found.append(known[probe.name, len(mine)])
        return tuple(found)

    return read


def _honest(i: int, seed: int) -> Arm:
    """An honest endpoint: any vocabulary, template, hidden prompt, honest bookkeeping, and the choices of a recorded model."""
    rng = random.Random(f"alpha/{seed}/{i}")
    vocabularies = [name for name in VOCABULARIES if second(name) is not None]
    name = vocabularies[i % len(vocabularies)]
    drift = list(DRIFTS)[i % len(DRIFTS)]
    pack, model, law = _halved(rng, drift)
    endpoint = Endpoint(
        name,
        template=rng.randrange(len(TEMPLATES)),
        hidden=rng.choice((0, 20, 200)),
        recount=rng.choice((None, None, *RECOUNTERS)),
        scale=rng.choice((1.0, 1.0, round(rng.uniform(0.5, 2.5), 3))),
        copies=rng.random() < 0.5,
        keep=rng.choice((1.0, 0.5, 0.1)),
        seed=i,
        choices=law,
    )
    return Arm(endpoint, Claim(model, None, name, None, False), (pack,), drift)


def _swap(i: int, seed: int, forged: bool) -> Arm:
    """Another model under the claimed name: its own vocabulary and choices; where forged, the usage is the claimed tokenizer's."""
    rng = random.Random(f"alpha/swap/{seed}/{i}")
    vocabularies = [name for name in VOCABULARIES if second(name) is not None]
    claimed, true = rng.sample(vocabularies, 2)
    pack, model, _ = _halved(rng, "as the reference")
    _, _, law = _halved(random.Random(f"other/{seed}/{i}"), "as the reference")
    endpoint = Endpoint(
        true, template=i % len(TEMPLATES), recount=claimed if forged else None, copies=i % 4 < 2, seed=1000 + i, choices=law
    )
    return Arm(endpoint, Claim(model, None, claimed, None, False), (pack,), "as the reference")


def _halved(rng: random.Random, drift: str) -> tuple[Pack, str, tuple[float, ...]]:
    """A reference made of half of the recorded choices, a model of it, and the law of that model's other half after `drift`."""
    reference, rest = halved_choices(rng.randrange(2**31))
    m, other = rng.sample(range(len(reference.models)), 2)
    held_out = rest.astype(float) + 1e-12
    law = DRIFTS[drift](held_out[m] / held_out[m].sum(), held_out[other] / held_out[other].sum())
    return reference, reference.models[m].name, tuple(float(p) for p in law / law.sum())


def _worst_cases(seed: int, runs: int) -> list[bool]:
    """Decisions on channels whose e-values are as heavy-tailed as an e-value can be: x with probability 1/x, else nearly 0."""
    rng = random.Random(f"worst/{seed}")
    claim = Claim("m", None, "llama3", None, False)
    logs = {name: -1.0 for name in ("llama3", "smollm", "unknown")}
    channels = (
        ("usage", Block.TOKENIZER, ""), ("truncation", Block.TOKENIZER, ""), ("stream", Block.TOKENIZER, "truncation"),
        ("logprobs", Block.TOKENIZER, ""), ("bias", Block.TOKENIZER, ""), ("choice", Block.CHOICE, ""), ("style", Block.STYLE, ""),
    )  # fmt: skip
    alarms = []
    for _ in range(runs):
        evidence: list[Evidence] = []
        accused = False
        for name, block, answers in channels:
            x = rng.choice((2.0, 10.0, 100.0, 1000.0))
            e = x if rng.random() < 1.0 / x else 1e-9
            evidence.append(Evidence(name, block, True, log_e=math.log(e), log_likelihood=logs, best="smollm", answers=answers, rounds=2))
            accused = accused or decide(evidence, claim, ALPHA).outcome == "inconsistent"
        alarms.append(accused)
    return alarms


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    lines = [
        f"{result['endpoints']} honest endpoints, {result['seeds']} audits each, alpha {result['alpha']:g}. Bounds are one-sided, 95 %.",
        "",
        "| look | null | runs | accused | rate | bound |",
        "|---|---|---|---|---|---|",
    ]
    for look in LOOKS:
        rows = {"all": result[look], **result[look]["per_null"]}
        lines += [f"| {look} | {null} | {r['runs']} | {r['accused']} | {r['rate']:.4f} | {r['upper_95']:.4f} |" for null, r in rows.items()]
    worst = result["worst_case_channels"]
    lines += [
        "| after every channel | worst-case e-values | "
        + f"{worst['runs']} | {worst['accused']} | {worst['rate']:.4f} | {worst['upper_95']:.4f} |",
        "",
        "| look | swapped endpoints audited | found | bound below |",
        "|---|---|---|---|",
        *(f"| {look} | {(p := result[look]['power'])['runs']} | {p['rate']:.3f} | {p['low_95']:.3f} |" for look in LOOKS),
        "",
        "Half of the swaps forge the usage with the claimed tokenizer. "
        f"Median requests to an accusation: {result['swap_median_requests']}.",
    ]
    return "\n".join(lines)
