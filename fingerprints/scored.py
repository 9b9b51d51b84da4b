"""What a comparison with reference statistics can say about a set of answers: one `Scored`, whatever the kind of pack.

Made by fingerprints.choices and fingerprints.same_prompt, read by the probes. It holds numbers and names only, never the
text of an answer, and it must never leave out why nothing could be said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Resolution = Literal["model", "family", "tokenizer"]

UNKNOWN = "unknown"
"""The candidate that stands for every model that is not among the references."""


@dataclass(frozen=True, slots=True)
class Scored:
    """How well a set of answers fits each reference model."""

    log_likelihood: Mapping[str, float]
    """Reference model -> natural log-likelihood, up to one constant; holds `UNKNOWN` too. Empty where nothing can be said."""
    log_e: float
    """Natural log of an e-value against "serves the claimed model under an allowed configuration"; 0.0 where the claim is not among
    the references."""
    p_value: float | None
    """Of the same hypothesis; None where the claim is not among the references."""
    best: str | None
    """The reference model that fits best, `UNKNOWN` included; None where nothing can be said."""
    supports_claim: bool
    resolution: Resolution
    """The finest level that these answers can speak for."""
    answers: int
    """Answers that were compared."""
    invalid: int
    """Answers that were given but could not be compared (not a choice, empty)."""
    why_not: str | None = None
    """One line, set where nothing can be said."""
