"""The block of really real endpoints: local models on llama.cpp servers behind HTTP gateways, audited over sockets. Few audits.

SmolLM2 under its own name, and as what it is not: swapped plainly, with usage forged by the claimed tokenizer, and diluted (a share of the
requests of a genuine Gemma is answered by SmolLM2). What a stand-in might get wrong shows here; numbers are too small for rates.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import statistics
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks import gateways
from verifier import local
from verifier.auditing import audit_async
from verifier.options import Settings

SEEDS = 3
GEMMA3 = "gemma-3-270m-it"
PATIENCE_S = 120.0
DILUTION = 0.5


def run(seed: int = 0, limit: int | None = None) -> dict[str, Any]:
    """Outcomes per arm, `limit` (at most SEEDS) audits each."""
    told: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as stack:
        folder = Path(scratch)
        smollm = stack.enter_context(local.serve(local.weights(local.SMOLLM2, folder), local.SMOLLM2))
        gemma = stack.enter_context(local.serve(local.weights(local.GEMMA3, folder), GEMMA3))
        urls = {
            "SmolLM2 as itself": (smollm, local.SMOLLM2),
            "swap: SmolLM2 as Gemma 3": (smollm, GEMMA3),
            "forged-usage: SmolLM2 as Gemma 3": (stack.enter_context(gateways.serve(smollm, gateways.forge("gemma3"))), GEMMA3),
            "dilution-50: SmolLM2 in Gemma 3": (
                stack.enter_context(gateways.serve(gemma, gateways.dilute(smollm, DILUTION, random.Random(seed)))),
                GEMMA3,
            ),
        }
        for name, (url, claim) in urls.items():
            found = [asyncio.run(_audit(url, claim, each)) for each in range(seed, seed + min(SEEDS, limit or SEEDS))]
            told[name] = {
                "audits": len(found),
                "outcomes": dict(Counter(outcome for outcome, _ in found)),
                "median_requests": statistics.median(requests for _, requests in found),
            }
            print(name, told[name], file=sys.stderr, flush=True)
    return told


async def _audit(base_url: str, claim: str, seed: int) -> tuple[str, int]:
    report = await audit_async(base_url, claim, settings=Settings(seed=seed, timeout_s=PATIENCE_S))
    return report.outcome, int(report.data["cost"]["requests"])
