"""Truename on the same relay: one audit in a process of its own, over the socket, with references that hold none of the relay's answers."""

from __future__ import annotations

import asyncio
import sys

from benchmarks.adversaries.audits import Job, arm_of, claim_of, references
from verifier.auditing import audit_async
from verifier.errors import CannotRunError
from verifier.options import Settings

OUTCOMES = {"inconsistent": "accused", "consistent": "cleared", "inconclusive": "undecided"}


def audit(job: Job, base_url: str) -> tuple[str, int]:
    """Outcome in the words of `adapters`, and the exit code, of one audit with the arm's suite and the command's other defaults."""
    arm, claim = arm_of(job.arm), claim_of(arm_of(job.arm), job.cast)
    settings = Settings(suite=arm.suite, seed=job.suite_seed, packs=references(job))
    family = arm.claim[1] if arm.claim else None
    try:
        report = asyncio.run(audit_async(base_url, claim.model, family=family, settings=settings))
    except CannotRunError as error:
        return "undecided", error.exit_code
    except Exception as error:  # whatever it is, a crash of ours is an error, as a peer's is
        print(f"truename on {job.arm}: {error!r}", file=sys.stderr)
        return "error", CannotRunError.exit_code
    return OUTCOMES[report.outcome], report.exit_code
