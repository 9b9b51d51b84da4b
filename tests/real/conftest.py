"""Real local models, each started once per worker and stopped at its end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from verifier import local


@pytest.fixture(scope="session")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Base URL of SmolLM2 135M Instruct."""
    with local.serve(local.weights(local.SMOLLM2, tmp_path_factory.mktemp("smollm2")), local.SMOLLM2) as base_url:
        yield base_url


@pytest.fixture(scope="session")
def gemma3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Base URL of Gemma 3 270M, a base model: it parrots, so only its counts speak."""
    with local.serve(local.weights(local.GEMMA3, tmp_path_factory.mktemp("gemma3")), local.GEMMA3) as base_url:
        yield base_url


@pytest.fixture(scope="session")
def llama3_echo(shared: Path) -> Iterator[str]:
    """Base URL of a tiny model with the real Llama-3 tokenizer, which repeats strings; skips where ../shared is absent."""
    gguf = shared / "models" / "llama3-echo.gguf"
    if not gguf.is_file():
        pytest.skip("../shared/models/llama3-echo.gguf is not here")
    with local.serve(gguf, "llama3-echo") as base_url:
        yield base_url
