"""Which endpoints the tools are pointed at: arms of the adversary benchmark, each as a relay, which may sell a second model besides.

Takes a seed and the folder of corpora, gives jobs and fresh relays. Nothing is kept from one run to the next.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.adversaries.audits import Job, arm_of, claim_of, endpoint_of
from benchmarks.adversaries.endpoint import Endpoint, Gateway
from benchmarks.adversaries.recorded import split
from benchmarks.peers.relay import Relay

PAIRS = {"gpt-4o": "llama-3.3-70b-instruct", "claude-sonnet-4": "deepseek-v3", "llama-3.3-70b-instruct": "mistral-small-2501"}
"""Claimed model -> the impostor, which the relay also sells under its own name."""
RUNS = {
    "plain": 3, "recount": 3, "swap": 3, "forged-usage": 3, "forged-identity-usage": 3, "reflection": 3, "dilution-20": 3,
    "content-free": 3, "dead": 1,
}  # fmt: skip
"""Arms -> runs of every tool: one per claim (of reflection, which has one claim, three)."""
MANY = 10**6
"""Requests that a relay allows."""


def jobs(seed: int, limit: int | None, data: Path) -> list[Job]:
    """The runs of every arm: of casts that claim the same, the one of PAIRS. `limit` is the number of runs of every arm."""
    return list(_jobs(seed, limit, data))


def _jobs(seed: int, limit: int | None, data: Path) -> Iterator[Job]:
    for name, runs in RUNS.items():
        casts = arm_of(name).casts
        wanted = [i for i, cast in enumerate(casts) if cast[0] in PAIRS and cast[1:] in ((), (PAIRS[cast[0]],))]
        for run in range(min(runs, limit or runs)):
            yield Job(name, wanted[run] if wanted else run, seed, data, False)


def claim(job: Job) -> str:
    """The model name that the relay sells."""
    return claim_of(arm_of(job.arm), job.cast).model


def other(job: Job) -> str:
    """The second model on sale: the impostor under its own name, or what would be."""
    return PAIRS.get(job.cast[0], job.cast[-1])


def relay(job: Job, two: bool = False) -> Relay:
    """The relay under audit. A second model comes through the same gateway where the relay is honest or useless throughout."""
    endpoint = endpoint_of(job, MANY)
    sold = {endpoint.name: endpoint}
    if two:
        gateway = endpoint.gateway if arm_of(job.arm).kind in ("honest", "empty") else Gateway()
        sold[other(job)] = _endpoint(other(job), other(job), gateway, job)
    return Relay(sold)


def genuine(job: Job) -> Relay:
    """An endpoint that serves what is claimed; for a fine-tune that nobody has, its base."""
    return Relay({claim(job): _endpoint(claim(job), job.cast[0], Gateway(), job)})


def market(every: Sequence[Job]) -> Relay:
    """An endpoint that serves every claimed model and every impostor as what they are."""
    served = {name: name for name in (*PAIRS, *PAIRS.values())} | {claim(job): job.cast[0] for job in every}
    return Relay({name: _endpoint(name, model, Gateway(), every[0]) for name, model in served.items()})


def rivals(job: Job) -> list[str]:
    """Names of `market` that a genuine endpoint of the claim is to be told from: models of other vocabularies."""
    models = split(job.split, job.data).models
    every = dict.fromkeys((*PAIRS, *PAIRS.values()))
    return [name for name in every if models[name].vocabulary != models[job.cast[0]].vocabulary]


def _endpoint(name: str, model: str, gateway: Gateway, job: Job) -> Endpoint:
    return Endpoint(name, [split(job.split, job.data).models[model]], gateway, f"{name}/{job.arm}/{job.seed}/{job.trial}", MANY)
