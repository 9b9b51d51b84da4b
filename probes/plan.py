"""What a probe is built from: the claim, the seed and the sizes that the suite sets. Plain data, no secrets."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import date

from fingerprints import tokenizers
from fingerprints.catalog import Claim
from fingerprints.packs import Pack

RECOUNTERS = ("o200k", "cl100k")
"""Vocabularies with which honest gateways recount usage (tiktoken's two); the null hypothesis allows both for any claim."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that the questions and their reading depend on, besides the replies."""

    seed: int
    claim: Claim | None
    """None where nothing is claimed (`identify`)."""
    usage_rounds: int = 2
    echo_trials: int = 3
    long_echo: bool = False
    """Whether one long streamed copy is asked for besides."""
    logprob_trials: int = 1
    bias_trials: int = 2
    protocol_asks: int = 6
    choice_answers: int = 20
    style_answers: int = 10
    style_alone_answers: int = 12
    knowledge_answers: int = 30
    identity_asks: int = 8
    wire: str = "openai"
    alpha: float = 0.01
    least_limit: int = 1
    """Smallest token limit that the wire lets an ask set: cuts are planned at or above it."""
    packs: tuple[Pack, ...] = ()
    """References for behaviour; questions whose text was not fetched are not asked."""
    prompts: tuple[tuple[str, str], ...] = ()
    """Open questions of the user's own, (id, text) pairs."""
    today: date | None = None
    """Day of the audit: references that have expired do not accuse. None expires nothing."""

    def rng(self, purpose: str) -> random.Random:
        """A generator for one purpose, the same for the same seed whatever else was drawn."""
        return random.Random(f"truename/{self.seed}/{purpose}")

    @property
    def claimed_tokenizer(self) -> str | None:
        """Vocabulary of the claimed model, None where nothing is claimed or no vocabulary is installed for it."""
        name = self.claim.tokenizer if self.claim is not None else None
        return name if name in tokenizers.names() else None

    @property
    def allowed_counters(self) -> tuple[str, ...]:
        """Vocabularies that may honestly have produced the usage counts of the claimed model; empty without one."""
        if self.claimed_tokenizer is None:
            return ()
        return (self.claimed_tokenizer, *(name for name in RECOUNTERS if name != self.claimed_tokenizer))
