"""`python -m benchmarks adversaries`: how often honest endpoints are accused and cheating ones found, arm by arm, by the whole pipeline.

Endpoints are replayed from real parts: recorded answers of named models by question, recorded number picks, counts, cuts and chunk edges
of a second tokenizer, in simulated time; nothing that an endpoint answers is in the references that judge it. `--data` is the folder of
response corpora. `--limit` is the number of audits of every arm (each arm has its own full number); a small block of real local models
behind real gateways comes on top.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.adversaries import local
from benchmarks.adversaries.arms import Arm, all_arms
from benchmarks.adversaries.audits import SUITE_SEEDS, Job, Row, audit
from benchmarks.adversaries.recorded import DATA, split
from benchmarks.adversaries.summary import summarised
from benchmarks.adversaries.tables import table

__all__ = ["run", "table"]

WORKERS = 2
AGAIN = 6
"""One transcript in so many of each arm is judged again from its bytes."""
BATCH = 8
"""Audits that a worker takes at a time."""


def run(data: Path | None = None, seed: int = 0, limit: int | None = None, names: tuple[str, ...] | None = None) -> dict[str, Any]:
    """All arms, or those of `names`. `limit` audits per arm instead of each arm's own number. Raises FileNotFoundError without corpora."""
    folder = data or DATA
    split(0, folder)
    chosen = tuple(arm for arm in all_arms() if names is None or arm.name in names)
    rows = _rows([job for arm in chosen for job in jobs(arm, seed, limit, folder)])
    result = summarised(chosen, rows, seed)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    result["cpu_seconds"] = round(used.ru_utime + used.ru_stime, 1)
    result["suite_seeds"] = dict(SUITE_SEEDS)
    if names is None:
        result["real"] = local.run(seed, limit)
    return result


def jobs(arm: Arm, seed: int, limit: int | None, data: Path) -> list[Job]:
    """The audits of one arm: the casts in turn."""
    return [Job(arm.name, trial, seed, data, trial % AGAIN == 0) for trial in range(min(arm.audits, limit or arm.audits))]


def _rows(work: list[Job]) -> list[Row]:
    """Every job's row, in two processes, with a line of progress per arm."""
    rows: list[Row] = []
    with ProcessPoolExecutor(WORKERS, mp_context=multiprocessing.get_context("spawn")) as pool:
        for job, row in zip(work, pool.map(audit, work, chunksize=BATCH), strict=True):
            if rows and rows[-1].arm != job.arm:
                _tell(rows, len(work))
            rows.append(row)
    if rows:
        _tell(rows, len(work))
    return rows


def _tell(rows: list[Row], total: int) -> None:
    arm = [row.outcome for row in rows if row.arm == rows[-1].arm]
    counted = ", ".join(f"{outcome} {arm.count(outcome)}" for outcome in sorted(set(arm)))
    print(f"{len(rows)} of {total} audits; {rows[-1].arm}: {counted}", file=sys.stderr, flush=True)
