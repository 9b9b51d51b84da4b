"""`python -m benchmarks enrolled`: two real local models are enrolled, then audited under their own and the other's name behind a
gateway that forges the usage with the claimed tokenizer, judged by behaviour alone (free choices and open questions).

SmolLM2 and Gemma on real llama.cpp servers. A third arm serves the enrolled SmolLM2 weights with other server settings (8-bit cache,
flash attention) under its own name: it must not be accused. `--limit` is the number of seeds (10 is the published figure).
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from api.cli import main
from benchmarks import engines, gateways
from fingerprints.packs import Pack
from verifier import auditing, local, pack_files
from verifier.decide import Verdict, decide
from verifier.endpoint.client import EndpointClient
from verifier.endpoint.guard import cli_policy
from verifier.endpoint.limits import Limits
from verifier.options import Settings, resolve_claim
from verifier.target import Target

SEEDS = 10
SMOLLM2, GEMMA3 = local.SMOLLM2, "gemma-3-270m-it"
QUESTIONS, SAMPLES, OPEN_SAMPLES = 10, 16, 3
"""Of each kind; answers to each choice; answers to each open question: 190 requests a model."""
BEHAVIOUR = ("usage", "choice", "style")
"""Probes of these audits: what forges usage may hide every other channel too."""
OTHER = engines.Engine(cache_type="q8_0", flash_attention=1, prompt_cache=False, batch=64)
"""The same engine with other arithmetic and no prompt cache; another engine needs an environment of its own (tests/long)."""
PATIENCE_S = 120.0


def run(data: Path | None = None, seed: int = 0, limit: int | None = None, pack: Path | None = None) -> dict[str, Any]:
    """Enrol both models (or read `pack`), then audit each under both names. `limit` seeds per arm."""
    seeds = range(seed, seed + (limit or SEEDS))
    arms: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        file = pack or Path(folder) / "local.pack"
        served = {
            SMOLLM2: stack.enter_context(local.serve(local.weights(SMOLLM2, Path(folder)), SMOLLM2)),
            GEMMA3: stack.enter_context(local.serve(local.weights(local.GEMMA3, Path(folder)), GEMMA3)),
        }
        if pack is None:
            for model, base_url in served.items():
                enrol(base_url, model, file)
        packs = pack_files.load(file).packs
        for model, base_url in served.items():
            for claim in served:
                arms[f"{model} as {claim}"] = _arm(base_url, claim, seeds, packs)
        with engines.serve(local.weights(SMOLLM2, Path(folder)), SMOLLM2, OTHER) as other:
            arms[f"{SMOLLM2} with other settings as {SMOLLM2}"] = _arm(other, SMOLLM2, seeds, packs)
    honest = [arm for name, arm in arms.items() if name.split(" as ")[1] in name.split(" as ")[0]]
    posing = [arm for arm in arms.values() if arm not in honest]
    return {
        "audits": sum(arm["audits"] for arm in arms.values()),
        "honest_accused": sum(arm["inconsistent"] for arm in honest),
        "honest_consistent": sum(arm["consistent"] for arm in honest),
        "posing_accused": sum(arm["inconsistent"] for arm in posing),
        "posing_consistent": sum(arm["consistent"] for arm in posing),
        "arms": arms,
    }


def enrol(base_url: str, model: str, file: Path) -> None:
    """Record `model` into the pack file with the command that users have. Raises RuntimeError where it fails."""
    sizes = ["--questions", str(QUESTIONS), "--samples", str(SAMPLES), "--open-samples", str(OPEN_SAMPLES)]
    try:
        main(["enroll", base_url, "--as", model, "--out", str(file), "--yes", *sizes])
    except SystemExit as ended:
        if ended.code:
            raise RuntimeError(f"enrolling {model} failed with exit code {ended.code}") from ended


def _arm(upstream: str, claim: str, seeds: range, packs: tuple[Pack, ...]) -> dict[str, Any]:
    resolved = resolve_claim(claim, None)
    outcomes: Counter[str] = Counter()
    rows = []
    with gateways.serve(upstream, gateways.forge(str(resolved.tokenizer) if resolved else "")) as base_url:
        for seed in seeds:
            verdict, e_values = asyncio.run(_by_behaviour(base_url, claim, seed, packs))
            outcomes[verdict.outcome] += 1
            rows.append({"seed": seed, "outcome": verdict.outcome} | e_values)
    return {"audits": len(seeds), **{each: outcomes[each] for each in ("consistent", "inconclusive", "inconsistent")}, "rows": rows}


async def _by_behaviour(base_url: str, claim: str, seed: int, packs: tuple[Pack, ...]) -> tuple[Verdict, dict[str, Any]]:
    """The verdict of the audit's own loop and decision on forged usage, choices and style."""
    target, resolved = Target.parse(base_url, claim), resolve_claim(claim, None)
    header = auditing.make_header(target, resolved, Settings(seed=seed, packs=packs, timeout_s=PATIENCE_S))
    probes = [probe for probe in auditing.probes_for(header, resolved, packs) if probe.name in BEHAVIOUR]
    async with EndpointClient(target, Limits(timeout_s=PATIENCE_S, concurrency=1), cli_policy()) as client:
        replies, _ = await auditing.interrogate(client.ask_all, probes, header)
    evidence = [probe.read(auditing.read_by(probe, replies)) for probe in probes]
    said = {e.channel: float(f"{e.log_e:.3g}") if e.tested else e.why_not for e in evidence}
    return decide(evidence, resolved, header.alpha), said | {"requests": len(replies)}


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    lines = ["| served, and claimed as | audits | consistent | inconclusive | inconsistent |", "|---|---|---|---|---|"]
    lines += [
        f"| {name} | {arm['audits']} | {arm['consistent']} | {arm['inconclusive']} | {arm['inconsistent']} |"
        for name, arm in result["arms"].items()
    ]
    return "\n".join(lines)
