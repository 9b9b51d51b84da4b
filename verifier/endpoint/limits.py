"""What one audit may cost and what one reply may weigh: plain numbers with their defaults, checked when they are made."""

from __future__ import annotations

import math
from dataclasses import dataclass

from verifier.errors import UsageError


@dataclass(frozen=True, slots=True)
class Limits:
    """What one audit may cost, and what one reply may weigh."""

    timeout_s: float = 25.0
    """Whole request, connect to last byte."""
    max_body_bytes: int = 2_000_000
    max_chunks: int = 20_000
    """Streamed events."""
    max_header_bytes: int = 65_536
    max_requests: int = 60
    """A retry counts as a request."""
    max_tokens: int | None = None
    """Prompt and completion tokens, as reported, or estimated where usage is missing."""
    concurrency: int = 4
    retries: int = 2
    """Further attempts after a 429, a 5xx or a timeout."""
    max_retry_wait_s: float = 10.0
    """A server that asks to wait longer is not retried."""

    def __post_init__(self) -> None:
        """Raises UsageError for limits under which nothing could ever be asked, or that no server could keep."""
        counts = (self.max_body_bytes, self.max_chunks, self.max_header_bytes, self.max_requests, self.retries, self.max_retry_wait_s)
        if self.concurrency < 1 or not 0 < self.timeout_s < math.inf or min(counts) < 0 or (self.max_tokens or 0) < 0:
            raise UsageError("a limit on requests, tokens, time or concurrency is zero or negative", "give a positive number")
