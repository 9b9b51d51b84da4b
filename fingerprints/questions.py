"""A fixed question that models are known by: its digest, how it is asked, and where its text is published.

Our own questions carry their text. Texts that others wrote are named by digest and `Source` alone and come from the question
store once they were fetched. Nothing here reads a file or opens a socket.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

QuestionKind = Literal["choice", "open", "knowledge"]


@dataclass(frozen=True, slots=True)
class Source:
    """Where a text that others wrote is published."""

    repository: str
    """"owner/name" on GitHub."""
    commit: str
    """40 hex digits: a state that cannot move."""
    path: str
    """The file inside the repository."""
    position: Mapping[str, str] = field(default_factory=dict, hash=False)
    """How to find the text in the file; the forms are in fingerprints.published."""
    licence: str = "unknown"
    file_sha256: str | None = None
    """SHA-256 (hex) of the file, where it was known."""


@dataclass(frozen=True, slots=True)
class Question:
    """One user message, sent alone, and how long and how freely it is answered."""

    id: str
    """Unique in its pack."""
    sha256: str
    """Hex, over the UTF-8 text exactly as it is sent."""
    kind: QuestionKind
    language: str
    """"en", "ko", "zh", …"""
    text: str | None
    """None until fetched, for a text that others wrote."""
    source: Source | None
    max_tokens: int
    temperature: float | None
    """None leaves the endpoint's own default."""


def text_digest(text: str) -> str:
    """SHA-256, in hex, over the UTF-8 of `text`."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
