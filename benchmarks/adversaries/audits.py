"""One audit of one arm, as the product does it, and what came of it beside what was true.

Takes an arm's name and numbers, so that worker processes can be handed it; gives a plain `Row`. The questions are planned, read and decided
by the code that ships; the endpoint is simulated, and its transcript is judged again from its bytes where asked for.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from benchmarks.adversaries.arms import Arm, Cast, all_arms
from benchmarks.adversaries.endpoint import Endpoint
from benchmarks.adversaries.recorded import SPLITS, split
from fingerprints import catalog
from fingerprints.catalog import Claim
from fingerprints.packs import Pack
from verifier import auditing
from verifier.conversation import interrogate
from verifier.errors import CannotRunError
from verifier.options import Settings, resolve_claim
from verifier.report.model import Report
from verifier.target import Target
from verifier.transcript import Transcript

SUITE_SEEDS = {"standard": 12, "deep": 4}
"""Different sets of questions in a run, shared by all arms: planning the cuts of one set takes a second or more, of deep several."""
JUDGED_AGAIN = ("verdict", "findings", "blocks", "mixture", "switches")
"""Fields of the report that a transcript gives again (CONTRACT, Replay)."""
BASE_URL = "https://api.example.com/v1"
COULD_NOT_RUN = "could not run"
"""Outcome of an audit that exits with 4."""


@dataclass(frozen=True, slots=True)
class Job:
    """Which audit: everything that it depends on."""

    arm: str
    trial: int
    seed: int
    data: Path
    again: bool
    """Whether its transcript is judged again."""

    @property
    def cast(self) -> Cast:
        """The models of this trial: every cast of the arm in turn."""
        casts = arm_of(self.arm).casts
        return casts[self.trial % len(casts)]

    @property
    def split(self) -> int:
        """The way in which answers are held out: changes once all casts had their turn."""
        return (self.trial // len(arm_of(self.arm).casts)) % SPLITS

    @property
    def suite_seed(self) -> int:
        """The seed of the questions."""
        return 1_000 * self.seed + self.trial % SUITE_SEEDS[arm_of(self.arm).suite]


@dataclass(frozen=True, slots=True)
class Row:
    """What came of one audit."""

    arm: str
    trial: int
    seed: int
    suite_seed: int
    cast: Cast
    outcome: str
    resolution: str | None
    impostor_requests: int
    """Requests that another model than the claimed one answered."""
    requests: int
    tokens: int
    family_named: bool
    """Named right at the level that the verdict speaks for: the tokenizer family (of a mixture: its other candidate's), or the family or
    lineage of models. Right is what an impostor is, where any answered, else what the claimed model is."""
    model_family_named: bool
    """The likeliest candidate is of the right family or lineage, whatever the level: one vocabulary serves several (Claude 3 and 4)."""
    vendor_named: bool
    """The likeliest candidate is the right vendor's."""
    candidate: str | None
    """The likeliest candidate."""
    codes: tuple[str, ...]
    reasons: tuple[str, ...]
    against: tuple[str, ...]
    """Channels whose own e-value reached 10."""
    mixture: dict[str, Any] | None
    true_share: float
    """Of requests that another model than the claimed one answered."""
    switches: tuple[int, ...]
    """Where the report dates them, as numbers of requests."""
    true_switches: tuple[int, ...]
    """First requests of the next model."""
    judged_again: bool | None
    """Whether the transcript gave the same conclusions; None where it was not judged again."""


@cache
def _arms() -> dict[str, Arm]:
    return {arm.name: arm for arm in all_arms()}


def arm_of(name: str) -> Arm:
    """The arm of that name. Raises KeyError for any other."""
    return _arms()[name]


def claim_of(arm: Arm, cast: Cast) -> Claim:
    """What an endpoint of this arm claims to serve."""
    claimed, family = arm.claim or (cast[0].partition(",")[0], None)
    resolved = resolve_claim(claimed, family)
    assert resolved is not None
    return resolved


def endpoint_of(job: Job, max_requests: int) -> Endpoint:
    """The endpoint of one audit, fresh."""
    arm = arm_of(job.arm)
    models = [split(job.split, job.data).models[name] for name in job.cast]
    seed = f"{job.arm}/{job.seed}/{job.trial}"
    return Endpoint(claim_of(arm, job.cast).model, models, arm.gateway(job.cast, random.Random(seed)), seed, max_requests)


def audit(job: Job) -> Row:
    """Run one audit in simulated time."""
    arm = arm_of(job.arm)
    claim, packs = claim_of(arm, job.cast), references(job)
    settings = Settings(suite=arm.suite, seed=job.suite_seed, early_stop=arm.early_stop, packs=packs)
    header = auditing.make_header(Target.parse(BASE_URL, claim.model), claim, settings)
    endpoint = endpoint_of(job, header.max_requests)
    try:
        replies, early = asyncio.run(interrogate(endpoint.ask_all, auditing.probes_for(header, claim, packs), header))
    except CannotRunError:
        return _row(job, arm, endpoint, None, None)
    transcript = Transcript(header, tuple(replies), early)
    report = auditing.conclude(transcript, data := transcript.to_bytes(), packs=packs)
    return _row(job, arm, endpoint, report, _again(report, data, packs) if job.again else None)


def references(job: Job) -> tuple[Pack, ...]:
    """The packs of a trial: none holds an answer that its endpoint gives."""
    return _references(job.cast, arm_of(job.arm).lacking, job.split, job.data)


@lru_cache(maxsize=64)
def _references(cast: Cast, lacking: tuple[str, ...], number: int, data: Path) -> tuple[Pack, ...]:
    return split(number, data).packs(cast, lacking)


def _again(report: Report, data: bytes, packs: Sequence[Pack]) -> bool:
    """Whether the transcript's bytes alone give the same conclusions."""
    judged = auditing.judge(Transcript.from_bytes(data), data, packs=packs)
    return all(judged.data[name] == report.data[name] for name in JUDGED_AGAIN)


@lru_cache(maxsize=256)
def _vendors(family: str) -> frozenset[str]:
    """Vendors of a family's or lineage's models."""
    return frozenset(model.vendor for model in catalog.models() if family in (model.family, model.lineage))


def _row(job: Job, arm: Arm, endpoint: Endpoint, report: Report | None, again: bool | None) -> Row:
    data = dict(report.data) if report is not None else {}
    verdict, cost = data.get("verdict", {}), data.get("cost", {})
    asked = endpoint.answered_by
    others = [place for place in asked if place > 0]
    true = [endpoint.models[place] for place in sorted(set(others) or {0})]
    candidates, vocabularies = verdict.get("attribution", []), verdict.get("tokenizer", [])
    mixed = data.get("mixture")
    spoken = [mixed["candidate"]] if mixed else [each["family"] for each in vocabularies[:1]]
    in_vocabulary = any(model.vocabulary in spoken for model in true)
    in_family = bool(candidates) and any(candidates[0]["family"] in (model.family, model.lineage) for model in true)
    against = [
        channel
        for block in data.get("blocks", {}).values()
        for channel, said in block.items()
        if said["tested"] and said.get("e_value") is not None and said["e_value"] >= 10
    ]
    return Row(
        arm=job.arm,
        trial=job.trial,
        seed=job.seed,
        suite_seed=job.suite_seed,
        cast=job.cast,
        outcome=report.outcome if report is not None else COULD_NOT_RUN,
        resolution=verdict.get("resolution"),
        impostor_requests=len(others),
        requests=cost.get("requests", len(asked)),
        tokens=cost.get("prompt_tokens", 0) + cost.get("completion_tokens", 0),
        family_named=in_vocabulary if verdict.get("resolution") in (None, "tokenizer") else in_family,
        model_family_named=in_family,
        vendor_named=bool(candidates) and any(model.vendor in _vendors(candidates[0]["family"]) for model in true),
        candidate=candidates[0]["candidate"] if candidates else None,
        codes=tuple(sorted({finding["code"] for finding in data.get("findings", [])})),
        reasons=tuple(reason["code"] for reason in verdict.get("reasons", [])),
        against=tuple(against),
        mixture=mixed,
        true_share=len(others) / len(asked) if asked else 0.0,
        switches=tuple(int(each["at"]) for each in data.get("switches", [])),
        true_switches=tuple(n + 1 for n in range(1, len(asked)) if asked[n] != asked[n - 1]),
        judged_again=again,
    )
