"""What the catalog promises: every spelling of a known model resolves, and nothing resolves to a tokenizer that it might not have."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fingerprints import catalog

VOCABULARIES = set(
    "o200k cl100k p50k llama2 llama3 llama4 claude2 claude3 claude4.7 gemma2 gemma3 qwen2.5 qwen3.5 deepseek-v2 deepseek-v3 mistral-v1 "
    "tekken glm4 glm4.7 kimi-k2 yi smollm minimax command-r".split()
)
WIRES = {"openai", "responses", "anthropic", "gemini"}


def skeleton(name: str) -> str:
    return "-".join(re.findall(r"[^\W\d_]+|\d+", name.lower()))


def resolved(name: str) -> tuple[str, str | None]:
    model = catalog.find(name)
    assert model is not None, f"{name} does not resolve"
    return model.name, model.tokenizer


def test_it_knows_more_than_three_hundred_models() -> None:
    assert len(catalog.models()) >= 300
    assert sum(1 + len(model.aliases) for model in catalog.models()) >= 1000


def test_no_two_models_share_a_spelling_and_no_alias_is_listed_twice() -> None:
    owner: dict[str, str] = {}
    for model in catalog.models():
        for name in (model.name, *model.aliases):
            assert skeleton(name) not in owner, f"{name} of {model.name} is already {owner[skeleton(name)]}"
            owner[skeleton(name)] = model.name


def test_every_name_and_alias_resolves_to_its_own_model() -> None:
    for model in catalog.models():
        for name in (model.name, *model.aliases, model.name.upper(), f"  {model.name}\n"):
            assert catalog.find(name) is model, name


def test_every_row_is_well_formed() -> None:
    for model in catalog.models():
        assert model.name == model.name.lower() and model.vendor and model.family and model.lineage
        assert model.tokenizer is None or model.tokenizer in VOCABULARIES, model
        assert model.wires and set(model.wires) <= WIRES, model
        for date in (model.released, model.cutoff):
            assert date is None or re.fullmatch(r"20[12]\d-(0[1-9]|1[0-2])(-[0-3]\d)?", date), model


def test_a_lineage_has_at_most_one_tokenizer() -> None:
    for model in catalog.models():
        assert model.tokenizer in (None, catalog.families()[model.lineage]), model


@pytest.mark.parametrize(
    ("name", "model", "tokenizer"),
    [
        ("anthropic.claude-3-5-sonnet-20241022-v2:0", "claude-3-5-sonnet", "claude3"),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5", "claude3"),
        ("anthropic.claude-3-haiku-20240307-v1:0:48k", "claude-3-haiku", "claude3"),
        ("claude-3-5-sonnet@20240620", "claude-3-5-sonnet", "claude3"),
        ("anthropic/claude-3.5-sonnet", "claude-3-5-sonnet", "claude3"),
        ("anthropic/claude-3.7-sonnet:thinking", "claude-3-7-sonnet", "claude3"),
        ("claude-3-5-haiku-latest", "claude-3-5-haiku", "claude3"),
        ("arn:aws:bedrock:eu-west-1:0:inference-profile/eu.anthropic.claude-sonnet-4-20250514-v1:0", "claude-sonnet-4", "claude3"),
        ("gpt-4o-2024-08-06", "gpt-4o", "o200k"),
        ("azure/gpt-35-turbo", "gpt-3.5-turbo", "cl100k"),
        ("openrouter/openai/gpt-4o-mini:free", "gpt-4o-mini", "o200k"),
        ("openai.gpt-oss-20b-1:0", "gpt-oss-20b", "o200k"),
        ("o3-mini-high", "o3-mini", "o200k"),
        ("models/gemini-2.5-pro-preview-05-06", "gemini-2.5-pro", "gemma3"),
        ("publishers/google/models/gemini-2.5-flash-001", "gemini-2.5-flash", "gemma3"),
        ("llama-3.3-70b-versatile", "llama-3.3-70b-instruct", "llama3"),
        ("meta-llama/Meta-Llama-3.1-70B-Instruct-Turbo", "llama-3.1-70b-instruct", "llama3"),
        ("llama3.1:70b", "llama-3.1-70b-instruct", "llama3"),
        ("llama3.1:70b-instruct-q4_K_M", "llama-3.1-70b-instruct", "llama3"),
        ("us.meta.llama3-1-70b-instruct-v1:0", "llama-3.1-70b-instruct", "llama3"),
        ("accounts/fireworks/models/llama-v3p1-70b-instruct", "llama-3.1-70b-instruct", "llama3"),
        ("@cf/meta/llama-3.1-8b-instruct", "llama-3.1-8b-instruct", "llama3"),
        ("/models/Qwen3-1.7B-Q4_K_M.gguf", "qwen3-1.7b", "qwen2.5"),
        ("meta-llama/Llama-2-13b-chat-hf", "llama-2-13b-chat", "llama2"),
        ("mistral.mistral-7b-instruct-v0:2", "mistral-7b-instruct", "mistral-v1"),
        ("HuggingFaceTB/SmolLM2-360M-Instruct", "smollm2-360m-instruct", "smollm"),
        ("smollm2-135m", "smollm2-135m-instruct", "smollm"),
        ("gemma-3-270m", "gemma-3-270m-it", "gemma3"),
        ("beomi/Llama-3-Open-Ko-8B", "llama-3-open-ko-8b", "llama3"),
    ],
)
def test_a_providers_spelling_resolves(name: str, model: str, tokenizer: str) -> None:
    assert resolved(name) == (model, tokenizer)


@pytest.mark.parametrize(
    ("name", "tokenizer"),
    [
        ("gpt-4", "cl100k"), ("gpt-4o", "o200k"), ("gpt-4-turbo", "cl100k"), ("gpt-4.1", "o200k"),
        ("deepseek-r1", "deepseek-v3"), ("deepseek-r1:671b", "deepseek-v3"), ("deepseek-v2.5", "deepseek-v2"),
        ("deepseek-r1-distill-llama-70b", "llama3"), ("deepseek-r1:70b", "llama3"), ("deepseek-ai/DeepSeek-R1-Distill-Qwen-32B", "qwen2.5"),
        ("deepseek-r1:1.5b", "qwen2.5"), ("deepseek-r1:7b", "qwen2.5"), ("deepseek-r1:14b", "qwen2.5"), ("deepseek-r1:32b", "qwen2.5"),
        ("deepseek-r1:latest", "qwen2.5"), ("ollama/deepseek-r1", "qwen2.5"),
        ("phi-3", "llama2"), ("phi-4", "cl100k"), ("phi-4-mini-instruct", "o200k"), ("phi-3-small-8k-instruct", "cl100k"),
        ("gemma-2-9b-it", "gemma2"), ("gemma-3-27b-it", "gemma3"), ("gemini-2.5-pro", "gemma3"),
        ("claude-opus-4-6", "claude3"), ("claude-opus-4-7", "claude4.7"), ("claude-sonnet-5", "claude4.7"), ("claude-2.1", "claude2"),
        ("llama-guard3:1b", "llama3"), ("llama-guard-4-12b", "llama4"), ("llama-4-scout", "llama4"), ("vicuna-13b-v1.5", "llama2"),
        ("mistral-large-2407", "mistral-v1"), ("mistral-large-2512", "tekken"), ("mistral-small-2409", "mistral-v1"),
        ("qwen3-8b", "qwen2.5"), ("qwen3.5-9b", "qwen3.5"), ("smollm3-3b", "llama3"), ("gpt-oss-120b", "o200k"),
        ("glm-4.5", "glm4"), ("glm-5", "glm4.7"), ("kimi-k3", "kimi-k2"), ("wizardlm-2-8x22b", "mistral-v1"),
    ],
)  # fmt: skip
def test_models_that_are_easily_confused_keep_their_own_tokenizer(name: str, tokenizer: str) -> None:
    assert resolved(name)[1] == tokenizer


@pytest.mark.parametrize(
    "name",
    [
        "mistral-large-latest", "mistral-medium", "deepseek-r1:8b", "qwen-max", "grok-4", "hyperclova-x", "eeve-korean-instruct-10.8b",
        "llama-3-Korean-Bllossom-70B", "exaone-3.5-7.8b-instruct", "amazon.nova-lite-v1:0", "sonar", "glm-4.7", "gemini-2.0-flash-001",
    ],
)  # fmt: skip
def test_a_name_that_does_not_decide_the_vocabulary_names_none(name: str) -> None:
    assert resolved(name)[1] is None


@pytest.mark.parametrize(
    "name",
    [
        "gpt-4o-super-finetune-x", "reflection-70b", "mattshumer/Reflection-Llama-3.1-70B", "ft:gpt-4o-mini-2024-07-18:acme::1",
        "somebody/llama-3.1-8b-instruct", "gpt-4o-llama-merge", "claude", "chatgpt", "qwen", "deepseek", "text-embedding-3-small",
        "does-not-exist", "gpt", "70b", "openrouter/auto", "llama-3.1-70b-instruct-abliterated", "not-deepseek-r1",
    ],
)  # fmt: skip
def test_what_no_rule_explains_is_not_in_the_catalog(name: str) -> None:
    assert catalog.find(name) is None
    assert catalog.claim(name) == catalog.Claim(name, None, None, None, False)


@pytest.mark.parametrize(
    "name",
    [
        "", " ", "\n\t", "/", "-", ":", "하이퍼클로바", "클로드 소네트 4.5", "文心一言", "豆包", "🤖", "\x00",
        "a" * 100_000, "-latest" * 5_000, "openai/" * 5_000,
    ],
)  # fmt: skip
def test_any_text_is_answered(name: str) -> None:
    assert catalog.find(name) is None
    assert isinstance(catalog.suggest(name), list)
    assert not catalog.claim(name).in_catalog


def test_near_misses_are_suggested_best_first() -> None:
    assert catalog.suggest("gtp-4o")[0] == "gpt-4o"
    assert catalog.suggest("claude-3-5-sonet")[0] == "claude-3-5-sonnet"
    assert catalog.suggest("lama-3.1-70b-instruct")[0] == "llama-3.1-70b-instruct"
    assert all(name.startswith("gpt-4o") for name in catalog.suggest("gpt-4o-super-finetune-x"))
    assert len(catalog.suggest("gpt-4", 5)) == 5
    assert catalog.suggest("하이퍼클로바") == []


def test_a_claim_of_a_known_model_carries_what_is_known() -> None:
    assert catalog.claim("openai/GPT-4o") == catalog.Claim("openai/GPT-4o", "gpt-4o", "o200k", "gpt-4o", True)
    assert catalog.claim("deepseek-r1:70b") == catalog.Claim("deepseek-r1:70b", "deepseek-r1-distill", "llama3", "llama-3", True)


@pytest.mark.parametrize("family", ["llama-3", "Llama3", "llama 3", "llama-3.1-70b-instruct", "llama-3.1"])
def test_a_family_explains_a_model_that_the_catalog_does_not_know(family: str) -> None:
    assert catalog.claim("reflection-70b", family) == catalog.Claim("reflection-70b", "llama-3", "llama3", "llama-3", False)


def test_a_family_settles_a_tokenizer_that_the_name_leaves_open() -> None:
    assert catalog.claim("mistral-large", "mistral-tekken").tokenizer == "tekken"


@pytest.mark.parametrize("family", ["lama-3", "nonsense", "", "클로드"])
def test_an_unknown_family_is_refused_in_one_line_that_names_others(family: str) -> None:
    with pytest.raises(catalog.UnknownFamilyError, match=r"use one of [a-z0-9]") as refusal:
        catalog.claim("reflection-70b", family)
    assert "\n" not in str(refusal.value)


def test_a_family_that_contradicts_the_catalog_is_refused() -> None:
    with pytest.raises(catalog.UnknownFamilyError, match="leave --family out"):
        catalog.claim("gpt-4o", "llama-3")


def test_a_family_of_several_vocabularies_names_none() -> None:
    families = catalog.families()
    assert {name: families[name] for name in ("gpt-4o", "llama-3", "claude-3", "gemini", "smollm", "gemma-3", "mistral-tekken")} == {
        "gpt-4o": "o200k", "llama-3": "llama3", "claude-3": "claude3", "gemini": "gemma3",
        "smollm": "smollm", "gemma-3": "gemma3", "mistral-tekken": "tekken",
    }  # fmt: skip
    assert all(families[name] is None for name in ("gemma", "mistral", "qwen", "phi", "sonar", "grok", "hyperclova-x"))


def test_the_digest_is_that_of_the_file_as_it_lies() -> None:
    assert catalog.digest() == hashlib.sha256(Path(catalog.__file__).with_name("data").joinpath("catalog.toml").read_bytes()).hexdigest()


def test_importing_reads_nothing_and_the_first_use_is_quick() -> None:
    code = """
from fingerprints import catalog
assert catalog._catalog.cache_info().currsize == 0
from time import process_time
best = 1.0
for _ in range(5):
    catalog._catalog.cache_clear()
    start = process_time()
    catalog.models()
    best = min(best, process_time() - start)
print(best)
"""
    root = Path(catalog.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert float(done.stdout) < 0.05
