"""How the wires spell tokens beside their log probabilities: OpenAI's `content` lists and Gemini's `logprobsResult`.

Takes decoded JSON of any shape and gives TokenBytes in order. A token whose bytes cannot be known from its spelling is kept in its
place with no bytes, so that the tokens around it still align with the text; nothing here guesses what it was.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

from probes.probe import TokenBytes
from verifier.endpoint.wires.reading import mapping

MAX_TOKENS_READ = 4096
"""Spelled tokens of one reply that are kept; a hostile server may send as many as its body's cap lets through."""
MAX_ALTERNATIVES_READ = 20
"""Alternatives kept at one position: the most that OpenAI and Google let one ask for."""
MAX_TOKEN_BYTES = 1024
"""Bytes of one token, several times the longest of any known vocabulary; what is longer is no token."""
UNUSABLE = b""
"""Stands for a token whose bytes are not known."""

# Spellings that do not say the bytes: a replacement sign for part of a character, SentencePiece's mark for a space, OpenAI's
# own escape ("bytes:\xe2\x80") where a gateway dropped the list of bytes beside it.
_NOT_THE_BYTES = re.compile(r"[\ufffd\u2581\ud800-\udfff]|^bytes:\\x")


def openai_tokens(entries: object) -> Iterator[TokenBytes]:
    """The tokens of a list in OpenAI's shape, by their `bytes` where given, else by their `token` string."""
    for entry in _listed(entries, MAX_TOKENS_READ):
        if "token" in mapping(entry) or "bytes" in mapping(entry):
            yield _token(entry, mapping(entry).get("top_logprobs"))


def gemini_tokens(result: object) -> Iterator[TokenBytes]:
    """The tokens of Gemini's `logprobsResult`: those chosen, and at the same index the candidates that were weighed."""
    chosen = _listed(mapping(result).get("chosenCandidates"), MAX_TOKENS_READ)
    weighed = _listed(mapping(result).get("topCandidates"), len(chosen))
    for entry, top in zip_longest(chosen, weighed):
        yield _token(entry, mapping(top).get("candidates"))


def extend(tokens: list[TokenBytes], more: Iterator[TokenBytes]) -> None:
    """Append what one event of a stream spells, up to MAX_TOKENS_READ tokens in all."""
    for token in more:
        if len(tokens) >= MAX_TOKENS_READ:
            return
        tokens.append(token)


def _token(entry: object, alternatives: object) -> TokenBytes:
    others = (_bytes(other) for other in _listed(alternatives, MAX_ALTERNATIVES_READ))
    return TokenBytes(_bytes(entry), tuple(other for other in others if other != UNUSABLE))


def _bytes(entry: object) -> bytes:
    fields = mapping(entry)
    given, text = fields.get("bytes"), fields.get("token")
    if isinstance(given, list) and given:
        whole = len(given) <= MAX_TOKEN_BYTES and all(isinstance(b, int) and not isinstance(b, bool) and 0 <= b < 256 for b in given)
        return bytes(given) if whole else UNUSABLE
    if not isinstance(text, str) or len(text) > MAX_TOKEN_BYTES or _NOT_THE_BYTES.search(text):
        return UNUSABLE
    return text.encode()


def _listed(value: object, most: int) -> list[Any]:
    return value[:most] if isinstance(value, list) else []
