"""One digest over all that conclusions are compared with: vocabularies, catalog, accounting, marks and the words of questions.

A report names it, so that a replay with other signatures installed is told apart from a replay that disagrees.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources

from fingerprints import accounting, catalog, surface, tokenizers

TABLES = (
    *("words.toml", "choice_questions.toml", "open_questions.toml", "knowledge_questions.toml", "same_prompt.npz"),
    *("style.npz", "style_words.txt", "style_questions.toml"),
)
"""Tables of questions that no module's own digest covers."""


@cache
def digest() -> str:
    """SHA-256 (hex) over the digests of every signature source, in a fixed order."""
    folder = resources.files("fingerprints") / "data"
    tables = [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in TABLES]
    parts = [tokenizers.digest(), catalog.digest(), accounting.digest(), surface.digest(), *tables]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
