"""`python -m benchmarks simulate`: false accusations and detected swaps over simulated endpoints, per vocabulary and pair.

Honest arm: every vocabulary under six chat templates, hidden system prompts, recounting and scaling. Swap arm: every ordered
pair of claimed and true vocabulary, with usage alone (the model refuses to copy) and with copies. `--limit` is the number of
endpoints per vocabulary and pair (200 is the published figure).
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.second import second
from benchmarks.simulated import TEMPLATES, Endpoint
from fingerprints import tokenizers
from fingerprints.catalog import Claim
from probes import suite as suites
from probes.plan import RECOUNTERS
from verifier.auditing import conclude
from verifier.conversation import interrogate
from verifier.intervals import upper_bound
from verifier.report.model import Report
from verifier.transcript import Digests, Header, Transcript

FIRST = ("o200k", "cl100k", "llama3", "claude3", "claude4.7", "smollm", "gemma3")
"""The most claimed vocabularies, over whose ordered pairs the published figure runs."""
OUTCOMES = ("consistent", "inconclusive", "inconsistent")
ARMS = {"usage_only": False, "with_copies": True}
"""Swap arms, and whether the model copies strings."""


def run(data: Path | None = None, seed: int = 0, limit: int | None = None, names: tuple[str, ...] = FIRST) -> dict[str, Any]:
    """Run all arms. `limit` endpoints per vocabulary (honest) and per ordered pair (swaps); default 200."""
    n = limit or 200
    names = tuple(name for name in names if second(name) is not None and name in tokenizers.names())
    honest = {name: dict.fromkeys(OUTCOMES, 0) for name in names}
    pairs = [(claimed, true) for claimed in names for true in names if claimed != true]
    swaps: dict[str, dict[tuple[str, str], Tally]] = {arm: {pair: Tally() for pair in pairs} for arm in ARMS}
    for i in range(n):  # seeds outside: the questions of a seed are planned once for all endpoints
        for name in names:
            honest[name][_audit(name, _honest(name, seed + i), seed + i).outcome] += 1
        for arm, copies in ARMS.items():
            for claimed, true in pairs:
                if not (copies and _boundless(true)):
                    endpoint = Endpoint(true, template=i % len(TEMPLATES), copies=copies, seed=i)
                    swaps[arm][claimed, true].add(_audit(claimed, endpoint, seed + i), true)
    audits = sum(sum(row.values()) for row in honest.values())
    accused = sum(row["inconsistent"] for row in honest.values())
    return {
        "vocabularies": list(names),
        "honest": {"audits": audits, "accused": accused, "accused_upper_95": upper_bound(accused, audits), "per_vocabulary": honest},
        "swaps": {arm: _summary(rows, ARMS[arm]) for arm, rows in swaps.items()},
    }


@dataclass(slots=True)
class Tally:
    """Counts over the audits of one ordered pair."""

    audits: int = 0
    contradicted: int = 0
    named: int = 0
    recounted: int = 0

    def add(self, report: Report, true: str) -> None:
        """Count one report on an endpoint whose vocabulary is `true`."""
        codes = {finding["code"] for finding in report.data["findings"]}
        accused = report.outcome == "inconsistent"
        self.audits += 1
        self.contradicted += accused
        self.named += accused and report.data["verdict"]["tokenizer"][0]["family"] == true
        self.recounted += report.outcome == "inconclusive" and "usage-recounted" in codes


def _summary(rows: dict[tuple[str, str], Tally], copies: bool) -> dict[str, Any]:
    """Totals over the pairs that the contract lets an audit contradict, and over the others.

    Counts of o200k and cl100k are what any recounting gateway shows: only text can contradict a claim then, and where the
    claimed vocabulary's boundaries are unknown (Claude), nothing can.
    """
    tested = {pair: tally for pair, tally in rows.items() if tally.audits}
    closed = {pair for pair in tested if pair[1] in RECOUNTERS and (not copies or _boundless(pair[0]))}
    allowed = {pair: tally for pair, tally in tested.items() if pair not in closed}
    worst = min(allowed, key=lambda pair: allowed[pair].contradicted / allowed[pair].audits)
    return {
        "pairs": len(allowed),
        "audits": sum(tally.audits for tally in allowed.values()),
        "contradicted": sum(tally.contradicted for tally in allowed.values()),
        "tokenizer_named": sum(tally.named for tally in allowed.values()),
        "worst_pair": {"rate": allowed[worst].contradicted / allowed[worst].audits, "pair": f"{worst[1]} claimed as {worst[0]}"},
        "not_allowed": {
            "audits": sum(tested[pair].audits for pair in closed),
            "contradicted": sum(tested[pair].contradicted for pair in closed),
            "inconclusive_with_usage_recounted": sum(tested[pair].recounted for pair in closed),
        },
    }


def _boundless(name: str) -> bool:
    return tokenizers.vocabulary(name).cuts("a") is None


def _honest(name: str, seed: int) -> Endpoint:
    rng = random.Random(f"honest/{seed}/{name}")
    return Endpoint(
        name,
        template=rng.randrange(len(TEMPLATES)),
        hidden=rng.choice((0, 0, 20, 200)),
        recount=rng.choice((None, None, *RECOUNTERS)),
        scale=rng.choice((1.0, 1.0, round(rng.uniform(0.5, 2.5), 3))),
        copies=rng.random() < 0.5 and not _boundless(name),
        keep=rng.choice((1.0, 0.5, 0.1)),
        seed=seed,
    )


def _audit(claimed: str, endpoint: Endpoint, seed: int) -> Report:
    claim = Claim(model=f"a model of {claimed}", family=None, tokenizer=claimed, lineage=None, in_catalog=False)
    header = Header(
        version="simulation", started="2026-01-01T00:00:00Z", target={"origin": "simulated", "model": "m", "wire": "openai"},
        claim=claim, suite="quick", seed=seed, alpha=0.01, early_stop=True, max_requests=15, max_tokens=None, digests=Digests("", ""),
    )  # fmt: skip
    probes = suites.build(suites.SUITES["quick"], claim, seed, 0.01)
    replies, early = asyncio.run(interrogate(endpoint.ask_all, probes, header))
    return conclude(Transcript(header, tuple(replies), early), b"")


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    honest = result["honest"]
    lines = [
        f"Honest: {honest['accused']} of {honest['audits']} accused (one-sided 95 % bound {100 * honest['accused_upper_95']:.2f} %).",
        "",
        "| vocabulary | consistent | inconclusive | accused |",
        "|---|---|---|---|",
        *(f"| {n} | {r['consistent']} | {r['inconclusive']} | {r['inconsistent']} |" for n, r in honest["per_vocabulary"].items()),
        "",
        "| swaps | ordered pairs | audits | contradicted | tokenizer named | worst pair | not allowed to accuse: inconclusive |",
        "|---|---|---|---|---|---|---|",
    ]
    for arm, row in result["swaps"].items():
        other = row["not_allowed"]
        lines.append(
            f"| {arm} | {row['pairs']} | {row['audits']} | {row['contradicted']} | {row['tokenizer_named']} | "
            f"{row['worst_pair']['rate']:.3f} {row['worst_pair']['pair']} | "
            f"{other['inconclusive_with_usage_recounted']} of {other['audits']} |"
        )
    return "\n".join(lines)
