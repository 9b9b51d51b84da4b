"""`truename demo`: three audits of two real local models, one under its own name, two posing as others.

Takes an output folder, gives three reports. The models are real weights on a real llama.cpp server on loopback; nothing
leaves the machine and no key is needed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from verifier import local
from verifier.auditing import audit
from verifier.options import Settings
from verifier.publishing import ready
from verifier.report.model import Report


@dataclass(frozen=True, slots=True)
class Case:
    """One audit of the demo: which weights answer, which model is claimed, and what ought to come out."""

    folder: str
    weights: str
    claim: str
    outcome: str
    tokenizer: str


CASES = (
    Case("honest-smollm2", local.SMOLLM2, local.SMOLLM2, "consistent", "smollm"),
    Case("smollm2-as-gpt-4o", local.SMOLLM2, "gpt-4o", "inconsistent", "smollm"),
    Case("gemma3-as-llama-3.1-70b", local.GEMMA3, "llama-3.1-70b-instruct", "inconsistent", "gemma3"),
)


def run(out: Path | None = None, seed: int | None = None, lang: str = "en") -> Iterator[tuple[Case, Report]]:
    """Run the cases in order; each report is written to `out/<case>` where `out` is given. Raises CannotRunError."""
    if out is not None:
        ready(out)
    with tempfile.TemporaryDirectory(prefix="truename-demo-") as scratch:
        for name in dict.fromkeys(case.weights for case in CASES):
            with local.serve(local.weights(name, Path(scratch)), name) as base_url:
                for case in (case for case in CASES if case.weights == name):
                    report = audit(base_url, case.claim, settings=Settings(suite="quick", seed=seed))
                    if out is not None:
                        report = report.save(out / case.folder, lang)
                    yield case, report
