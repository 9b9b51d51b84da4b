"""A token asked for by its id, on live llama.cpp servers: the text that comes out is the model's own, whatever its name says."""

from __future__ import annotations

import asyncio
import math

import pytest

from probes.bias import BiasProbe
from probes.plan import Plan
from probes.probe import Evidence, Reply
from verifier import local
from verifier.endpoint.client import EndpointClient, Limits
from verifier.endpoint.guard import cli_policy
from verifier.options import resolve_claim
from verifier.target import Target

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("local-models")]


async def _asked(base_url: str, probe: BiasProbe) -> list[Reply]:
    replies: list[Reply] = []
    async with EndpointClient(Target.parse(base_url, local.SMOLLM2), Limits(), cli_policy()) as client:
        while asks := probe.next_round(replies):
            replies += await client.ask_all(asks)
    return replies


def found(base_url: str, claim: str | None, seed: int) -> Evidence:
    probe = BiasProbe(Plan(seed=seed, claim=None if claim is None else resolve_claim(claim, None)))
    return probe.read(asyncio.run(_asked(base_url, probe)))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_an_honest_model_writes_the_tokens_of_its_claim(smollm2: str, seed: int) -> None:
    evidence = found(smollm2, "smollm2-135m-instruct", seed)
    assert evidence.tested and evidence.supports_claim and evidence.best == "smollm"
    assert (evidence.rounds, evidence.log_e <= 0, evidence.findings) == (2, True, ())


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_llama_3_behind_the_name_of_smollm2_contradicts_the_claim(llama3_echo: str, seed: int) -> None:
    evidence = found(llama3_echo, "smollm2-135m-instruct", seed)
    assert evidence.tested and not evidence.supports_claim and evidence.log_e >= math.log(100)
    assert [finding.code for finding in evidence.findings] == ["tokenizer-mismatch"]
    assert "llama3" in evidence.findings[0].text


def test_an_honest_llama_3_and_an_honest_gemma_support_their_claims(llama3_echo: str, gemma3: str) -> None:
    assert found(llama3_echo, "llama-3-8b-instruct", 4).supports_claim
    assert found(gemma3, "gemma-3-270m", 4).best == "gemma3"


def test_without_a_claim_the_vocabulary_is_named(smollm2: str) -> None:
    assert found(smollm2, None, 5).best == "smollm"
