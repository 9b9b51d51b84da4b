"""`python -m benchmarks enrolled`: two real local models are enrolled, then audited under their own and the other's name behind a
gateway that forges the usage with the claimed tokenizer, judged by behaviour alone (free choices and open questions).

SmolLM2 and Gemma on real llama.cpp servers. A third arm serves the enrolled SmolLM2 weights with other server settings (8-bit cache,
flash attention, no prompt cache, none of llama.cpp's sampler cut-offs) under its own name: it must not be accused. `--data DIR` takes the
enrolled pack from DIR/local.pack, or leaves it there, so that the models are enrolled once. `--limit` is the number of seeds (10 is the
published figure).
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from api.cli import main
from benchmarks import engines, gateways
from fingerprints.packs import Pack
from verifier import auditing, local, pack_files
from verifier.conversation import interrogate, read_by
from verifier.decide import decide
from verifier.endpoint.client import EndpointClient
from verifier.endpoint.guard import cli_policy
from verifier.endpoint.limits import Limits
from verifier.options import Settings, resolve_claim
from verifier.target import Target

SEEDS = 10
SMOLLM2, GEMMA3 = local.SMOLLM2, "gemma-3-270m-it"
QUESTIONS, SAMPLES, OPEN_SAMPLES = 20, {SMOLLM2: 12, GEMMA3: 24}, 3
"""Of each kind; answers to each choice; answers to each open question (there are 16): 288 and 528 requests. Gemma echoes most questions
and SmolLM2 some: with 12 answers of Gemma, choices told SmolLM2 from it in 8 of 10 leave-one-out audits of the recorded answers."""
BEHAVIOUR = ("usage", "choice", "style")
"""Probes of these audits: what forges usage may hide every other channel too."""
SERVED = engines.Engine(slots=4, context=1024)
OTHER = engines.Engine(
    slots=4, context=1024, cache_type="q8_0", flash_attention=1, prompt_cache=False, batch=64, top_k=0, top_p=1.0, min_p=0.0
)
"""The same engine with other arithmetic, no prompt cache and no sampler cut-offs; another engine needs an environment of its own."""
OUTCOMES = ("consistent", "inconclusive", "inconsistent")
PATIENCE_S, CONCURRENCY = 120.0, 4


def run(data: Path | None = None, seed: int = 0, limit: int | None = None) -> dict[str, Any]:
    """Enrol both models (or read the pack in `data`), then audit each under both names. `limit` seeds per arm."""
    rows: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as stack:
        folder, file = Path(scratch), (data or Path(scratch)) / "local.pack"
        files = {SMOLLM2: local.weights(SMOLLM2, folder), GEMMA3: local.weights(local.GEMMA3, folder)}
        served = {model: stack.enter_context(engines.serve(gguf, model, SERVED)) for model, gguf in files.items()}
        if not file.exists():
            for model, base_url in served.items():
                enrol(base_url, model, file)
        packs = pack_files.load(file).packs
        arms = [(f"{model} as {claim}", base_url, claim) for model, base_url in served.items() for claim in served]
        other = stack.enter_context(engines.serve(files[SMOLLM2], SMOLLM2, OTHER))
        arms.append((f"{SMOLLM2} with other settings as {SMOLLM2}", other, SMOLLM2))
        forged = [(name, stack.enter_context(_forged(base_url, claim)), claim) for name, base_url, claim in arms]
        for each in range(seed, seed + (limit or SEEDS)):
            for name, base_url, claim in forged:
                row = {"seed": each} | asyncio.run(_by_behaviour(base_url, claim, each, packs))
                rows.setdefault(name, []).append(row)
                print(name, row, file=sys.stderr, flush=True)
    told = {name: {"audits": len(of)} | {each: sum(row["outcome"] == each for row in of) for each in OUTCOMES} for name, of in rows.items()}
    honest = [arm for name, arm in told.items() if name.split(" as ")[1] in name.split(" as ")[0]]
    posing = [arm for name, arm in told.items() if name.split(" as ")[1] not in name.split(" as ")[0]]
    return {
        "audits": sum(arm["audits"] for arm in told.values()),
        "honest_accused": sum(arm["inconsistent"] for arm in honest),
        "honest_consistent": sum(arm["consistent"] for arm in honest),
        "posing_accused": sum(arm["inconsistent"] for arm in posing),
        "posing_consistent": sum(arm["consistent"] for arm in posing),
        "arms": {name: arm | {"rows": rows[name]} for name, arm in told.items()},
    }


def enrol(base_url: str, model: str, file: Path) -> None:
    """Record `model` into the pack file with the command that users have. Raises RuntimeError where it fails."""
    sizes = ["--questions", str(QUESTIONS), "--samples", str(SAMPLES[model]), "--open-samples", str(OPEN_SAMPLES)]
    try:
        main(["enroll", base_url, "--as", model, "--out", str(file), "--yes", *sizes])
    except SystemExit as ended:
        if ended.code:
            raise RuntimeError(f"enrolling {model} failed with exit code {ended.code}") from ended


def _forged(upstream: str, claim: str) -> contextlib.AbstractContextManager[str]:
    """A gateway that counts with the claimed model's tokenizer."""
    resolved = resolve_claim(claim, None)
    return gateways.serve(upstream, gateways.forge(str(resolved.tokenizer) if resolved else ""))


async def _by_behaviour(base_url: str, claim: str, seed: int, packs: tuple[Pack, ...]) -> dict[str, Any]:
    """The outcome of the audit's own loop and decision on forged usage, choices and style, and what each channel said (log e)."""
    target, resolved = Target.parse(base_url, claim), resolve_claim(claim, None)
    header = auditing.make_header(target, resolved, Settings(seed=seed, packs=packs, timeout_s=PATIENCE_S))
    probes = [probe for probe in auditing.probes_for(header, resolved, packs) if probe.name in BEHAVIOUR]
    async with EndpointClient(target, Limits(timeout_s=PATIENCE_S, concurrency=CONCURRENCY), cli_policy()) as client:
        replies, _ = await interrogate(client.ask_all, probes, header)
    evidence = [probe.read(read_by(probe, replies)) for probe in probes]
    said = {e.channel: float(f"{e.log_e:.3g}") if e.tested else e.why_not for e in evidence}
    supporting = [e.channel for e in evidence if e.supports_claim]
    outcome = decide(evidence, resolved, header.alpha).outcome
    return {"outcome": outcome} | said | {"supporting": supporting, "requests": len(replies)}


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    titles = ["served, and claimed as", "audits", "consistent", "inconclusive", "inconsistent", "median requests"]
    lines = [f"| {' | '.join(titles)} |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {name} | {arm['audits']} | {arm['consistent']} | {arm['inconclusive']} | {arm['inconsistent']} | {_requests(arm)} |"
        for name, arm in result["arms"].items()
    ]
    audits = min(arm["audits"] for arm in result["arms"].values())
    note = f"{audits} of {audits} means at least {0.05 ** (1 / audits):.2f}, 0 of {audits} at most {1 - 0.05 ** (1 / audits):.2f}"
    return "\n".join([*lines, "", f"{note} (one-sided, 95 %)."])


def _requests(arm: dict[str, Any]) -> int:
    return int(statistics.median(row["requests"] for row in arm["rows"]))
