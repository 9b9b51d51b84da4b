"""Short ways to audit simulated endpoints in tests; they count with a second implementation (benchmarks.simulated)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from benchmarks.simulated import Endpoint
from fingerprints.catalog import Claim
from probes import suite as suites
from probes.probe import Ask, Reply
from verifier.auditing import conclude, current_digests
from verifier.conversation import interrogate
from verifier.report.model import Report
from verifier.transcript import Header, Transcript


def claim_of(tokenizer: str | None) -> Claim:
    """A claim of some model with that vocabulary."""
    return Claim(model=f"some-{tokenizer}-model", family=None, tokenizer=tokenizer, lineage=None, in_catalog=False)


def header_for(claim: Claim | None, *, seed: int = 7, suite: str = "quick", alpha: float = 0.01, early_stop: bool = True) -> Header:
    """A transcript header with fixed times, so that reports are comparable."""
    chosen = suites.SUITES[suite]
    return Header(
        version="test",
        started="2026-01-02T03:04:05Z",
        target={"origin": "http://127.0.0.1:9", "model": "m", "wire": "openai"},
        claim=claim,
        suite=suite,
        seed=seed,
        alpha=alpha,
        early_stop=early_stop,
        max_requests=chosen.max_requests,
        max_tokens=None,
        digests=current_digests(chosen),
    )


def transcript_of(endpoint: Endpoint, claim: Claim | None, **settings: object) -> Transcript:
    """The transcript of a whole audit of `endpoint`."""
    header = header_for(claim, **settings)  # type: ignore[arg-type]
    probes = suites.build(suites.SUITES[header.suite], claim, header.seed, header.alpha)
    replies, early = asyncio.run(interrogate(endpoint.ask_all, probes, header))
    return Transcript(header, tuple(replies), early)


def report_on(endpoint: Endpoint, claim: Claim | None, **settings: object) -> Report:
    """The report of a whole audit of `endpoint`."""
    transcript = transcript_of(endpoint, claim, **settings)
    return conclude(transcript, transcript.to_bytes())


def answer(endpoint: Endpoint, asks: Sequence[Ask]) -> list[Reply]:
    """The endpoint's replies to `asks`."""
    return asyncio.run(endpoint.ask_all(asks))


def codes(report: Report) -> set[str]:
    """Codes of a report's findings."""
    return {finding["code"] for finding in report.data["findings"]}
