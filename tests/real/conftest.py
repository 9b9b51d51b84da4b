"""Real local models, each started once per worker and stopped at its end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.checking import check_reasons
from verifier import auditing, comparing, local
from verifier.report.model import Report, build
from verifier.transcript import Transcript


@pytest.fixture(autouse=True)
def _reasons_can_be_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every report that a real test draws up in this process gives reasons that its own transcript bears out."""

    def checked(transcript: Transcript, *rest: Any) -> Report:
        report = build(transcript, *rest)
        check_reasons(report.data, transcript)
        return report

    for module in (auditing, comparing):
        monkeypatch.setattr(module, "build", checked)


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
