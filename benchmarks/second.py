"""Second implementations of the vocabularies: the endpoints of simulations count with these, never with the code that judges.

tiktoken's engine for byte-level vocabularies (the same ranks, another program), splintr for those that it ships, ctok for
Claude 3 and later. A vocabulary without a second implementation is left out and listed, never counted with our own code.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import cache
from typing import Any

from fingerprints import tokenizers

_SPLINTR = {
    "llama2": "llama2", "llama3": "llama3", "gemma2": "gemma2", "gemma3": "gemma3", "qwen2.5": "qwen2.5",
    "deepseek-v3": "deepseek_v3", "glm4": "glm4", "kimi-k2": "kimi_k2", "mistral-v1": "mistral_v1", "tekken": "mistral_v3",
}  # fmt: skip
_CTOK = {"claude3": "3.0", "claude4.7": "4.7"}


@dataclass(frozen=True, slots=True)
class Second:
    """A counter that shares no code with `fingerprints.tokenizers`."""

    name: str
    engine: str
    encode: Any
    """text -> list of token bytes, or None where only counts are known."""
    counter: Any

    def count(self, text: str) -> int:
        """Tokens of `text`, special strings read as text."""
        return int(self.counter(text))


@cache
def second(name: str) -> Second | None:
    """The second implementation of vocabulary `name`; None where there is none here."""
    if name in _CTOK:
        import ctok

        return Second(name, "ctok", None, lambda text: ctok.token_count(text, _CTOK[name]))
    if name in _SPLINTR:
        return _splintr(name)
    return _tiktoken(name)


def _splintr(name: str) -> Second:
    import splintr

    tokenizer = splintr.Tokenizer.from_pretrained(_SPLINTR[name])
    nfc = name.startswith("qwen")

    def ids(text: str) -> list[int]:
        result: list[int] = tokenizer.encode(unicodedata.normalize("NFC", text) if nfc else text)
        return result

    return Second(name, "splintr", lambda text: [tokenizer.decode_token_bytes(i) or b"" for i in ids(text)], lambda text: len(ids(text)))


def _tiktoken(name: str) -> Second | None:
    """tiktoken's Rust engine over the family's ranks, for byte-level families; the family's patterns cut before it."""
    import regex
    import tiktoken

    family = tokenizers._families()[name]
    if family.get("units") == "characters" or "atoms" in family or "package" in family:
        return None
    own: Any = tokenizers.vocabulary(name)
    ranks: dict[bytes, int] = {}
    for i in range(400_000):
        token = own.token_text(i)
        if token:
            ranks.setdefault(token, i)
    # The pattern that tiktoken is given never cuts: pieces are cut here, because some families cut several times over.
    encoding = tiktoken.Encoding(f"{name}-second", pat_str=r"[\s\S]+", mergeable_ranks=ranks, special_tokens={})
    form = family.get("form", "none")

    def pieces(text: str) -> list[str]:
        cut = [text if form == "none" else unicodedata.normalize(form, text)]
        for pattern in family["splits"]:
            cut = [piece for each in cut for piece in regex.split(f"({pattern})", each) if piece]
        return cut

    def ids(text: str) -> list[int]:
        return [i for piece in pieces(text) for i in encoding.encode_ordinary(piece)]

    return Second(name, "tiktoken", lambda text: encoding.decode_tokens_bytes(ids(text)), lambda text: len(ids(text)))
