"""Keeps the caller's secrets out of what comes back: servers echo keys in error texts, headers and answers.

Takes the target and gives a Redactor that replaces every occurrence of a secret in text, streamed chunks and headers, and shapes
error texts into one safe line. It must never change a reply that holds no secret.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from urllib.parse import quote

from probes.probe import Chunk, TokenBytes
from verifier.target import Target

REDACTED = "<redacted>"
MAX_ERROR_CHARS = 300

# A shorter secret ("ollama", "EMPTY") guards nothing and occurs in honest answers: cutting it out would falsify evidence.
_MIN_KEY_CHARS = 8
# Extra headers and query values are mostly not secret (api-version=2024-10-21); below this length only those named like one are.
_MIN_OTHER_CHARS = 16

SECRET_NAME = re.compile(
    r"cookie|authori[sz]ation|authenticate|api[-_]?key|(^|[-_])(key|token|sig|signature|secret|password|credentials?)$|secret|"
    r"organi[sz]ation|(^|[-_])org([-_]|$)|project|tenant|account|subscription|customer|(^|[-_])user([-_]id)?$|email|workspace",
    re.IGNORECASE,
)
_SPACES = re.compile(r"\s+")


class Redactor:
    """Replaces the target's secrets wherever they occur."""

    def __init__(self, target: Target) -> None:
        secrets = [target.api_key.get_secret_value()] if target.api_key else []
        kept = {secret for secret in secrets if len(secret) >= _MIN_KEY_CHARS}
        for name, value in (*target.headers, *target.query):
            least = _MIN_KEY_CHARS if SECRET_NAME.search(name) else _MIN_OTHER_CHARS
            text = value.get_secret_value()
            # "Bearer sk-…" comes back without its scheme as often as with it.
            kept |= {part for part in (text, *text.split()) if len(part) >= least}
        forms = {form for secret in kept for form in (secret, json.dumps(secret)[1:-1], quote(secret), quote(secret, safe=""))}
        forms |= {form.lower() for form in forms}  # a host that is redirected to and header names come back lowered
        # Longest first, so that "Bearer sk-…" is one redaction and not two.
        self._pattern = (
            re.compile("|".join(re.escape(form) for form in sorted(forms, key=lambda form: (-len(form), form)))) if forms else None
        )

    def text(self, text: str) -> str:
        """The text with every secret replaced."""
        return self._pattern.sub(REDACTED, text) if self._pattern else text

    def optional(self, text: str | None) -> str | None:
        """As `text`, for a field that may be absent."""
        return None if text is None else self.text(text)

    def chunks(self, chunks: Sequence[Chunk]) -> tuple[Chunk, ...]:
        """The chunks with every secret replaced, also one that runs over several chunks: the first of them gets the mark."""
        if self._pattern is None:
            return tuple(chunks)
        spans = [match.span() for match in self._pattern.finditer("".join(chunk.text for chunk in chunks))]
        kept: list[Chunk] = []
        start = 0
        for chunk in chunks:
            text = _without(chunk.text, start, spans) if spans else chunk.text
            start += len(chunk.text)
            if text:
                kept.append(Chunk(text, chunk.at))
        return tuple(kept)

    def tokens(self, tokens: Sequence[TokenBytes]) -> tuple[TokenBytes, ...]:
        """The tokens, or none where they spell a secret: one after the other, within one entry, or across the alternatives."""
        if self._pattern is not None:
            spelled = [b"".join(token.token for token in tokens), b"".join(piece for token in tokens for piece in token.alternatives)]
            if any(self._pattern.search(each.decode("latin-1")) for each in spelled):
                return ()
        return tuple(tokens)

    def headers(self, headers: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
        """Response headers as a Reply keeps them: lower-case names, values of cookies, credentials and account ids replaced."""
        lowered = ((name.lower(), value) for name, value in headers)
        return tuple((self.text(name), REDACTED if SECRET_NAME.search(name) else self.text(value)) for name, value in lowered)

    def error_line(self, text: str) -> str:
        """One line of at most MAX_ERROR_CHARS, without secrets, control characters and characters that change text direction."""
        # Category C holds control characters, surrogates, and the format characters that hide or reorder text in a terminal.
        visible = "".join(char for char in text if char.isspace() or unicodedata.category(char)[0] != "C")
        line = _SPACES.sub(" ", self.text(visible)).strip()
        return line if len(line) <= MAX_ERROR_CHARS else line[: MAX_ERROR_CHARS - 1] + "…"


def _without(text: str, start: int, spans: Sequence[tuple[int, int]]) -> str:
    """`text`, which begins at offset `start` of the whole, without the part that `spans` of the whole cover."""
    pieces: list[str] = []
    position = start
    for begin, end in spans:
        if end <= start or begin >= start + len(text):
            continue
        pieces.append(text[position - start : max(begin, position) - start])
        if begin >= start:
            pieces.append(REDACTED)
        position = min(end, start + len(text))
    pieces.append(text[position - start :])
    return "".join(pieces)
