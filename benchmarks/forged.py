"""`python -m benchmarks forged`: real local models behind gateways that strip usage, forge it with the claimed tokenizer, or forge it
with a scale. SmolLM2, Gemma and, where `--data` (default `../shared/models`) holds it, the Llama-3 echo model; each under its own
name and under false ones, suite standard. `--limit` is the number of seeds per arm (20 is the published figure)."""

from __future__ import annotations

import asyncio
import multiprocessing
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import gateways
from benchmarks.gateways import Gateway
from fingerprints.catalog import Claim
from verifier import auditing, local
from verifier.conversation import interrogate
from verifier.endpoint.client import EndpointClient
from verifier.endpoint.guard import cli_policy
from verifier.endpoint.limits import Limits
from verifier.intervals import upper_bound
from verifier.options import Settings, resolve_claim
from verifier.report.model import Report
from verifier.target import Target
from verifier.transcript import Transcript

SEEDS = 20
SCALE = 1.37
"""Factor of the scaled forgery: far from 1, and no count of another tokenizer."""
LLAMA3 = "llama-3.1-8b-instruct"
GEMMA3 = "gemma-3-270m-it"
WEIGHTS = {GEMMA3: local.GEMMA3, local.SMOLLM2: local.SMOLLM2}
WORKERS = 2
"""Models audited at the same time, each on a server and in a process of its own."""
DATA = Path(__file__).parents[2] / "shared" / "models"
CLAIMS = {
    local.SMOLLM2: (local.SMOLLM2, "gpt-4o", LLAMA3),
    GEMMA3: (GEMMA3, "gpt-4o", LLAMA3),
    LLAMA3: (LLAMA3, "gpt-4o", "qwen2.5-7b-instruct"),
}
"""What really answers -> the names it is audited under, its own first."""
PATIENCE_S = 120.0
"""Per request: on a machine that is busy with other things, 25 s were once too few."""
OUTCOMES = ("consistent", "inconclusive", "inconsistent")
ARMS: dict[str, Callable[[str], Gateway]] = {
    "stripped": lambda claimed: gateways.strip_usage(),
    "forged": gateways.forge,
    "forged and scaled": lambda claimed: gateways.forge(claimed, factor=SCALE),
}
"""What the gateway does to the usage, given the vocabulary of the claim."""
SETTLING = frozenset({"not-tested", "one-channel"})
"""Reasons of which an inconclusive report must give one, or a next step with a text channel: they name what could settle it."""


@dataclass(slots=True)
class Row:
    """Outcomes of one arm of one model under one claim."""

    model: str
    claim: str
    honest: bool
    arm: str
    outcomes: Counter[str]
    channels: Counter[str]
    """Channels whose e-value alone reached 10 against the claim, over the audits that accused."""
    silent: int = 0
    """Inconclusive reports that do not say what could settle them."""


def run(data: Path | None = None, seed: int = 0, limit: int | None = None) -> dict[str, Any]:
    """Audit every model under every claim behind every gateway, `limit` seeds each (default 20) from `seed` on."""
    seeds = range(seed, seed + (limit or SEEDS))
    with ProcessPoolExecutor(WORKERS, mp_context=multiprocessing.get_context("spawn")) as pool:
        found = pool.map(_of_model, [(model, data or DATA, seeds) for model in CLAIMS])
        rows = [row for of_model in found for row in of_model]
    honest = [row for row in rows if row.honest]
    audits = sum(row.outcomes.total() for row in honest)
    accused = sum(row.outcomes["inconsistent"] for row in honest)
    return {
        "rows": [
            {
                "model": row.model,
                "claim": row.claim,
                "honest": row.honest,
                "usage": row.arm,
                **{outcome: row.outcomes[outcome] for outcome in OUTCOMES},
                "decided_by": dict(row.channels),
            }
            for row in rows
        ],
        "honest_audits": audits,
        "wrong_accusations": accused,
        "wrong_accusations_upper_95": upper_bound(accused, audits),
        "false_claims_cleared": sum(row.outcomes["consistent"] for row in rows if not row.honest),
        "false_claims": sum(row.outcomes.total() for row in rows if not row.honest),
        "false_claims_exposed": sum(row.outcomes["inconsistent"] for row in rows if not row.honest),
        "inconclusive_without_a_next_step": sum(row.silent for row in rows),
    }


def _of_model(work: tuple[str, Path, range]) -> list[Row]:
    """All rows of one model on a server of its own; none of the Llama-3 echo model where its file is not in the folder."""
    model, folder, seeds = work
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        gguf = folder / "llama3-echo.gguf" if model == LLAMA3 else local.weights(WEIGHTS[model], Path(scratch))
        if not gguf.is_file():
            return []
        with local.serve(gguf, model) as upstream:
            for claim in CLAIMS[model]:
                for arm in ARMS:
                    rows.append(_audits(model, upstream, claim, arm, seeds))
                    print(model, claim, arm, dict(rows[-1].outcomes), file=sys.stderr, flush=True)
    return rows


def _audits(model: str, upstream: str, claim: str, arm: str, seeds: range) -> Row:
    resolved = resolve_claim(claim, None)
    assert resolved is not None and resolved.tokenizer is not None
    row = Row(model, claim, claim == CLAIMS[model][0], arm, Counter(), Counter())
    with gateways.serve(upstream, ARMS[arm](resolved.tokenizer)) as url:
        for seed in seeds:
            report = asyncio.run(_audit(url, resolved, seed))
            verdict = report.data["verdict"]
            row.outcomes[report.outcome] += 1
            if report.outcome == "inconsistent":
                row.channels.update(_against(report.data))
            named = SETTLING & {reason["code"] for reason in verdict["reasons"]} or "made of text" in verdict["next"]
            row.silent += report.outcome == "inconclusive" and not named
    return row


async def _audit(base_url: str, claim: Claim, seed: int) -> Report:
    """An audit by the suite's own loop, without the probes that never decide (limits and error shapes)."""
    target = Target.parse(base_url, claim.model)
    header = auditing.make_header(target, claim, Settings(seed=seed, timeout_s=PATIENCE_S))
    probes = [probe for probe in auditing.probes_for(header, claim) if probe.name != "protocol"]
    async with EndpointClient(target, Limits(timeout_s=PATIENCE_S, max_requests=header.max_requests), cli_policy()) as client:
        replies, early = await interrogate(client.ask_all, probes, header)
    transcript = Transcript(header, tuple(replies), early)
    return auditing.conclude(transcript, transcript.to_bytes())


def _against(report: Mapping[str, Any]) -> list[str]:
    return [name for block in report["blocks"].values() for name, said in block.items() if said["tested"] and said["e_value"] >= 10]


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    lines = [
        f"Wrong accusations: {result['wrong_accusations']} of {result['honest_audits']} audits under the model's own name "
        f"(one-sided 95 % bound {100 * result['wrong_accusations_upper_95']:.2f} %). False claims: {result['false_claims_exposed']} of "
        f"{result['false_claims']} exposed, {result['false_claims_cleared']} cleared; "
        f"{result['inconclusive_without_a_next_step']} inconclusive reports that name no channel which could settle it.",
        "",
        "| answers | claimed | usage | consistent | inconclusive | inconsistent | channels against, over accusing audits |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        channels = ", ".join(f"{name} {n}" for name, n in sorted(row["decided_by"].items())) or "–"
        counts = " | ".join(str(row[outcome]) for outcome in OUTCOMES)
        lines.append(f"| {row['model']} | {row['claim']}{' (own)' if row['honest'] else ''} | {row['usage']} | {counts} | {channels} |")
    return "\n".join(lines)
