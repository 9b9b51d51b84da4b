"""The runs themselves: every tool on every endpoint, in a process that has no network but loopback where namespaces are allowed.

Takes a plan as JSON (where each peer's programs are, a scratch folder, seed, limit, data) and writes rows as JSON. Started by
`benchmarks.peers.run` and by nobody else.
"""

from __future__ import annotations

import json
import multiprocessing
import shutil
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.adversaries.audits import Job, arm_of, references
from benchmarks.adversaries.recorded import split
from benchmarks.peers import cases, ours, sandbox
from benchmarks.peers.adapters import PEERS, TRUENAME, Case, Peer
from benchmarks.peers.relay import Relay, serve
from benchmarks.peers.sandbox import Programs

AT_ONCE = 6
"""Peers that run side by side: they wait most of the time."""


@dataclass(frozen=True, slots=True)
class Row:
    """What came of one tool on one endpoint."""

    arm: str
    kind: str
    claim: str
    tool: str
    outcome: str
    code: int | None
    requests: int
    """Chat requests at the relay, and at the genuine endpoint where the tool asks one."""
    tokens: int
    unanswered: int
    """Requests to which no answer was recorded or written."""
    seconds: float


def main(plan_file: str, rows_file: str) -> None:
    """Carry out the plan."""
    plan = json.loads(Path(plan_file).read_text(encoding="utf-8"))
    confined = sandbox.raise_loopback()
    rows = _rows(plan, Path(plan["scratch"]))
    Path(rows_file).write_text(json.dumps({"confined": confined, "rows": [asdict(row) for row in rows]}), encoding="utf-8")


def _rows(plan: dict[str, Any], scratch: Path) -> list[Row]:
    chosen = [(peer, Programs(*plan["programs"][peer.name])) for peer in PEERS if peer.name in plan["programs"]]
    every = cases.jobs(plan["seed"], plan["limit"], Path(plan["data"]))
    for peer, programs in chosen:
        if peer.collect:
            _collect(peer, programs, every, scratch)
    for number in {job.split for job in every}:
        split(number, Path(plan["data"]))  # once, before the threads ask for it side by side
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawned) as own, ThreadPoolExecutor(1) as waiting, ThreadPoolExecutor(AT_ONCE) as pool:
        ahead = [waiting.submit(_own, own, job) for job in every] if plan["truename"] else []
        # From the last on: the dead endpoint, which takes longest, at once.
        ahead += [pool.submit(_peer, peer, programs, job, scratch) for job in reversed(every) for peer, programs in chosen]
        rows = []
        for future in as_completed(ahead):
            rows.append(future.result())
            print(json.dumps(asdict(rows[-1])), file=sys.stderr, flush=True)
        return sorted(rows, key=lambda row: list(cases.RUNS).index(row.arm))


def _own(own: ProcessPoolExecutor, job: Job) -> Row:
    relay = cases.relay(job)
    own.submit(references, job).result()  # what only this benchmark loads
    with serve(relay) as base_url:
        began = time.perf_counter()
        outcome, code = own.submit(ours.audit, job, base_url).result()
        seconds = time.perf_counter() - began
    return _row(job, TRUENAME, outcome, code, [relay], seconds)


def _peer(peer: Peer, programs: Programs, job: Job, scratch: Path) -> Row:
    relay, genuine = cases.relay(job, peer.compares), cases.genuine(job)
    folder = sandbox.open_to_others(scratch / "runs" / f"{peer.name}-{job.arm}-{job.trial}")
    with serve(relay) as base_url, serve(genuine) as reference:
        case = Case(base_url, cases.claim(job), cases.other(job), reference, _baselines(peer, scratch) / cases.claim(job))
        for name, text in peer.files(case).items():
            (folder / name).write_text(text, encoding="utf-8")
        began = time.perf_counter()
        ran = sandbox.run(programs, (peer.module, *peer.arguments(case)), folder, peer.variables(case))
        seconds = time.perf_counter() - began
    return _row(job, peer.name, peer.outcome(ran), ran.code, [relay, genuine], seconds)


def _row(job: Job, tool: str, outcome: str, code: int | None, relays: Sequence[Relay], seconds: float) -> Row:
    return Row(
        arm=job.arm,
        kind=arm_of(job.arm).kind,
        claim=cases.claim(job),
        tool=tool,
        outcome=outcome,
        code=code,
        requests=sum(relay.requests for relay in relays),
        tokens=sum(relay.tokens for relay in relays),
        unanswered=sum(relay.unanswered for relay in relays),
        seconds=round(seconds, 1),
    )


def _baselines(peer: Peer, scratch: Path) -> Path:
    return scratch / "baselines" / peer.name


def _collect(peer: Peer, programs: Programs, every: Sequence[Job], scratch: Path) -> None:
    """Record genuine endpoints once, as the peer asks for; every claim gets its own and those of its rivals."""
    folder, market = sandbox.open_to_others(_baselines(peer, scratch)), cases.market(every)
    with serve(market) as base_url:
        for name in market.sold:
            assert peer.collect is not None
            sandbox.run(programs, (peer.module, *peer.collect(base_url, name, f"{name}.json")), folder, {})
    for job in every:
        (folder / cases.claim(job)).mkdir(exist_ok=True)
        for name in (cases.claim(job), *cases.rivals(job)):
            shutil.copy(folder / f"{name}.json", folder / cases.claim(job))


if __name__ == "__main__":
    main(*sys.argv[1:3])
