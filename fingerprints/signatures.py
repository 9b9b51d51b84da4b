"""One digest over all that conclusions are compared with: vocabularies, catalog, accounting, marks and the words of questions.

A report names it, so that a replay with other signatures installed is told apart from a replay that disagrees.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources

from fingerprints import accounting, catalog, surface, tokenizers


@cache
def digest() -> str:
    """SHA-256 (hex) over the digests of every signature source, in a fixed order."""
    words = (resources.files("fingerprints") / "data" / "words.toml").read_bytes()
    parts = [tokenizers.digest(), catalog.digest(), accounting.digest(), surface.digest(), hashlib.sha256(words).hexdigest()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
