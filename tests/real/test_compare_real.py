"""The paired test on real models: SmolLM2 on two servers with different settings, and SmolLM2 against Gemma. Few seeds; the
published figures come from `python -m benchmarks compare`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.engines import Engine, serve
from tests.checking import check_reasons
from tests.real.command import truename
from verifier import local
from verifier.transcript import Transcript

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("compare"), pytest.mark.timeout(600)]

OTHER = Engine(slots=4, cache_type="q8_0", flash_attention=1, prompt_cache=False, batch=64, top_k=0, top_p=0.5, min_p=0.0)
"""Other arithmetic and another sampler. Not more threads: two of one server spin against each other on a busy machine."""
PATIENT = ("--timeout", "120", "--concurrency", "2")


@pytest.fixture(scope="module")
def smollm2_elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """SmolLM2 again, on a server with an 8-bit key-value cache, flash attention, small batches and other sampler defaults."""
    gguf = local.weights(local.SMOLLM2, tmp_path_factory.mktemp("elsewhere"))
    with serve(gguf, local.SMOLLM2, OTHER) as base_url:
        yield base_url


@pytest.mark.parametrize("seed", [101, 102])
def test_the_same_weights_on_two_servers_are_never_called_different(
    smollm2: str, smollm2_elsewhere: str, seed: int, tmp_path: Path
) -> None:
    arguments = ("compare", smollm2, smollm2_elsewhere, "--model", local.SMOLLM2, "--suite", "standard", "--seed", str(seed))
    done = truename(*arguments, *PATIENT, "--json", "--out", str(tmp_path), timeout_s=500)
    assert done.code in (0, 3), done.stdout
    verdict = done.json["verdict"]
    assert verdict["e_value"] < 1
    assert [reason["code"] for reason in verdict["reasons"]] in (["paired-same"], ["paired-undecided"])
    check_reasons(done.json, Transcript.load(tmp_path)[0])


def test_another_model_is_found_within_sixty_pairs(smollm2: str, gemma3: str, tmp_path: Path) -> None:
    models = ("--model", local.GEMMA3, "--reference-model", local.SMOLLM2, "--out", str(tmp_path))
    done = truename("compare", gemma3, smollm2, *models, "--max-requests", "120", "--seed", "101", *PATIENT, "--json", timeout_s=500)
    assert done.code == 1, done.stdout
    assert done.json["verdict"]["e_value"] >= 100 and done.json["cost"]["stopped_early"]
    check_reasons(done.json, Transcript.load(tmp_path)[0])
