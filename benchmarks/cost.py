"""What audits cost on real local models: requests, tokens, seconds against the ideal, peak memory of the audit's process. Real
llama.cpp server with SmolLM2 on loopback. The ideal is the time that the server itself took to answer, which no audit can
undercut on a server with one slot; planning, reading and deciding come on top."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from verifier import local

CASES = (
    ("honest, quick", local.SMOLLM2, "quick"),
    ("posing as gpt-4o, quick", "gpt-4o", "quick"),
    ("honest, standard", local.SMOLLM2, "standard"),
)


def run(data: Path | None = None, seed: int = 0, limit: int | None = None) -> dict[str, Any]:
    """Audit SmolLM2 in a process of its own per case; `limit` runs only the first cases."""
    rows = []
    with tempfile.TemporaryDirectory() as scratch, local.serve(local.weights(local.SMOLLM2, Path(scratch)), local.SMOLLM2) as url:
        for name, claim, suite in CASES[: limit or len(CASES)]:
            rows.append({"case": name, **_audit(url, claim, suite, seed)})
    return {"audits": rows, "help_seconds": _help_seconds(), "server": "xllamacpp, SmolLM2-135M Q4_1, one slot, one thread"}


def _audit(url: str, claim: str, suite: str, seed: int) -> dict[str, Any]:
    arguments = ["audit", url, "--claim", claim, "--suite", suite, "--seed", str(seed), "--concurrency", "1", "--json"]
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "api", *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    report = json.loads(process.stdout.read())
    process.stdout.close()
    _, _, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    process.returncode = 0
    ideal = _served_seconds(url, claim, suite, seed)
    cost = report["cost"]
    return {
        "outcome": report["verdict"]["outcome"],
        "requests": cost["requests"],
        "tokens": cost["prompt_tokens"] + cost["completion_tokens"],
        "wall_seconds": round(wall, 1),
        "wall_over_ideal": round(wall / ideal, 2),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_memory_mb": round(usage.ru_maxrss / 1000),
    }


def _served_seconds(url: str, claim: str, suite: str, seed: int) -> float:
    """Seconds that the server took over the same questions, one after the other: the sum over the transcript's replies."""
    from verifier import Settings, audit
    from verifier.transcript import Transcript

    report = audit(url, claim, settings=Settings(suite=suite, seed=seed, concurrency=1))
    return sum(reply.seconds for reply in Transcript.from_bytes(report.transcript).replies)


def _help_seconds() -> float:
    """Best of five runs of `truename --help`."""
    times = []
    for _ in range(5):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "api", "--help"], check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - began)
    return round(min(times), 2)


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    head = "| audit | outcome | requests | tokens | seconds | over ideal | CPU seconds | peak MB |\n|---|---|---|---|---|---|---|---|"
    rows = "\n".join(
        f"| {r['case']} | {r['outcome']} | {r['requests']} | {r['tokens']} | {r['wall_seconds']} | {r['wall_over_ideal']} | "
        f"{r['cpu_seconds']} | {r['peak_memory_mb']} |"
        for r in result["audits"]
    )
    return f"Server: {result['server']}. `truename --help`: {result['help_seconds']} s.\n\n{head}\n{rows}"
