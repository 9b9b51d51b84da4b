"""Token ids are those that servers use, as far as other numberings of the same tokens are at hand."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
import splintr

from fingerprints import tokenizers
from fingerprints.build.readers import byte_spelling, gguf_metadata
from fingerprints.tokenizers import UnknownVocabularyError, id_shifts, vocabulary

TABLE = tomllib.loads((tokenizers.DATA / "token_ids.toml").read_text(encoding="utf-8"))["families"]
FAMILIES = tomllib.loads((tokenizers.DATA / "vocabularies.toml").read_text(encoding="utf-8"))["families"]
# Families that we do not read from splintr ourselves, and the shift of that numbering.
SECOND = {
    "o200k_base": ("o200k", 0),
    "gpt_oss": ("o200k", 0),
    "cl100k_base": ("cl100k", 0),
    "phi4": ("cl100k", 0),
    "olmo2": ("cl100k", 0),
    "qwen2.5": ("qwen2.5", 0),
    "deepseek_v3": ("deepseek-v3", 0),
    "glm4": ("glm4", 0),
    "mistral_v1": ("mistral-v1", 0),
    "mistral_v2": ("mistral-v1", 768),
    "mistral_v3": ("tekken", 0),
}
# Encodings of short texts that several tokenizer projects publish.
PUBLISHED = {"llama2": {15043: b" Hello", 3186: b" world", 29991: b"!"}, "gemma2": {4521: b"Hello", 2134: b" world", 235341: b"!"}}
# Ids beside token strings in replies of Gemini 2.5 on Vertex.
GEMINI = {9259: b"Hello", 236778: b"2", 900: b" +", 236743: b" ", 578: b" =", 236812: b"4", 236775: b'"'}


def test_every_family_has_a_row_that_says_what_its_ids_were_compared_with_or_why_not() -> None:
    assert TABLE.keys() == FAMILIES.keys()
    for name, row in TABLE.items():
        assert set(row) == {"shifts", "checked" if row["shifts"] else "unchecked"}, name
        assert id_shifts(name) == tuple(row["shifts"])


def test_an_unknown_family_is_refused() -> None:
    with pytest.raises(UnknownVocabularyError):
        id_shifts("no-such-family")


@pytest.mark.parametrize("pretrained", SECOND)
def test_another_implementation_numbers_the_tokens_alike(pretrained: str) -> None:
    name, shift = SECOND[pretrained]
    assert shift in id_shifts(name)
    own, other = vocabulary(name), splintr.Tokenizer.from_pretrained(pretrained)
    for token_id in range(1_000, 31_900, 3):
        expected = own.token_text(token_id - shift)
        assert expected is None or other.decode_token_bytes(token_id) == expected, token_id


@pytest.mark.parametrize(("name", "ids"), [*PUBLISHED.items(), ("gemma3", GEMINI)])
def test_published_and_recorded_ids_are_the_tables(name: str, ids: dict[int, bytes]) -> None:
    assert {token_id: vocabulary(name).token_text(token_id) for token_id in ids} == ids


def test_llama_3s_ids_are_those_of_a_gguf_file(shared: Path) -> None:
    gguf = shared / "models" / "llama3-echo.gguf"
    if not gguf.is_file():
        pytest.skip("../shared/models/llama3-echo.gguf is not here")
    metadata: dict[str, Any] = gguf_metadata(gguf.read_bytes())
    spelled = {spelling: byte for byte, spelling in enumerate(byte_spelling())}
    own = vocabulary("llama3")
    assert all(bytes(spelled[c] for c in token) == own.token_text(i) for i, token in enumerate(metadata["tokenizer.ggml.tokens"][:128_000]))
