"""Counts and cuts of every vocabulary, pinned from implementations that are not ours.

o200k, cl100k, p50k and tekken were counted by tiktoken 0.14, llama2, llama3, gemma2, gemma3 and kimi-k2 by splintr-rs 0.22 (llama3, gemma3
and smollm also by llama.cpp, on 2,172 strings each), mistral-v1 by sentencepiece 0.2.3, the others by tokenizers 0.23 on the published
tokenizer.json, both Claude families by ctok 1.3.0.
"""

from __future__ import annotations

import pytest

from fingerprints import tokenizers

TEXTS = {
    "english": "The quick brown fox doesn't jump over 13 lazy dogs; NATO's HELLO World.",
    "korean": "안녕하세요, 오늘 서울 날씨가 정말 좋네요. 뷁쉛쀍",
    "chinese": "今天天气很好，我们去公园散步吧。龘靐",
    "emoji": "👨\u200d👩\u200d👧\u200d👦👩🏽\u200d💻🏳️\u200d🌈❤️\u200d🔥",
    "digits": "3141592653589793 2026-11-21 ٣٤٥ ½",
    "code": "def f(x):\n    return [i**2 for i in range(x) if i % 3 != 0]\n\n\n# TODO:\tfix",
    "decomposed": "cafe\u0301 re\u0301sume\u0301 \u1112\u1161\u11ab\u1100\u1173\u11af",
    "compatibility": "ﬁnance ２０２６ Ⅳ ℃ “quoted” it’s",
    "scripts": "Привет мир שלום עולם مرحبا สวัสดี नमस\u094dते გამარჯობა",
    "spaces": "a  b   c\u00a0d\n\n e \t f      g",
    "mixed": "Zürich 東京 서울 9876 x=[1,2]; 🙆🏻\u200d♀️ End",
}

# Tokens of each text above, in that order.
COUNTS = {
    "o200k": [18, 20, 16, 27, 19, 30, 26, 15, 17, 13, 21],
    "cl100k": [19, 36, 24, 45, 22, 30, 25, 18, 53, 13, 29],
    "p50k": [18, 61, 35, 41, 19, 34, 29, 32, 81, 14, 34],
    "llama2": [25, 49, 35, 52, 37, 36, 27, 32, 46, 15, 33],
    "llama3": [19, 20, 17, 38, 19, 30, 25, 18, 44, 12, 24],
    "claude2": [18, 41, 23, 38, 23, 32, 8, 12, 53, 12, 31],
    "claude3": [20, 39, 22, 41, 25, 36, 7, 27, 35, 15, 33],
    "claude4.7": [34, 39, 22, 41, 25, 39, 7, 30, 35, 15, 36],
    "gemma2": [21, 26, 15, 18, 32, 34, 13, 16, 21, 14, 19],
    "gemma3": [22, 19, 17, 18, 31, 34, 14, 16, 13, 15, 20],
    "qwen2.5": [20, 22, 14, 25, 36, 30, 7, 18, 33, 13, 27],
    "qwen3.5": [20, 19, 13, 44, 36, 32, 4, 17, 20, 13, 28],
    "deepseek-coder": [26, 68, 15, 51, 36, 36, 30, 28, 71, 14, 40],
    "deepseek-v2": [22, 53, 13, 45, 36, 36, 27, 23, 53, 14, 33],
    "deepseek-v3": [20, 27, 13, 27, 21, 30, 23, 18, 23, 13, 22],
    "mistral-v1": [25, 41, 23, 44, 37, 36, 27, 30, 45, 15, 30],
    "tekken": [21, 22, 18, 55, 33, 30, 29, 20, 21, 13, 30],
    "glm4": [19, 31, 13, 39, 26, 30, 25, 17, 48, 13, 28],
    "glm4.7": [19, 31, 13, 20, 23, 30, 25, 17, 39, 13, 26],
    "kimi-k2": [18, 35, 13, 31, 22, 29, 21, 23, 31, 13, 27],
    "minimax": [18, 19, 13, 26, 19, 30, 4, 14, 38, 13, 19],
    "yi": [23, 60, 15, 49, 35, 38, 30, 22, 94, 15, 37],
    "smollm": [21, 61, 36, 47, 36, 34, 29, 25, 64, 14, 37],
}

# Characters of the "mixed" text complete after each of its tokens.
MIXED_CUTS = {
    "o200k": "1 3 6 9 12 13 16 17 19 21 22 23 24 26 27 28 29 30 31 32 36",
    "cl100k": "1 3 6 7 8 9 11 11 12 13 16 17 19 21 22 23 24 26 27 27 28 28 28 29 29 30 31 32 36",
    "p50k": "1 2 6 7 7 8 8 9 10 10 11 11 11 12 15 17 19 21 22 23 24 26 27 27 28 28 28 29 29 30 30 31 32 36",
    "llama2": "6 7 8 9 10 11 11 11 12 13 14 15 16 17 19 21 22 23 24 26 27 27 27 27 28 28 28 28 29 30 31 32 36",
    "llama3": "1 3 6 9 12 13 16 17 19 21 22 23 24 26 27 27 28 28 28 29 30 31 32 36",
    "claude2": "1 3 6 7 7 8 9 10 11 11 12 14 17 19 21 22 23 24 26 27 27 28 28 28 29 29 30 30 31 32 36",
    "gemma2": "2 6 9 12 13 14 15 16 17 19 21 22 23 24 26 27 28 32 36",
    "gemma3": "1 6 9 12 13 14 15 16 17 19 21 22 23 24 26 27 28 29 32 36",
    "qwen2.5": "1 3 6 7 8 9 12 13 14 15 16 17 19 21 22 23 24 26 27 27 28 29 29 30 31 32 36",
    "qwen3.5": "1 3 6 7 9 12 13 14 15 16 17 19 21 22 23 24 26 27 27 28 28 28 29 29 30 31 32 36",
    "deepseek-coder": "1 2 6 7 7 8 9 10 10 10 11 11 11 12 13 14 15 16 17 19 20 21 22 23 24 26 27 28 28 28 29 29 30 30 30 31 31 31 32 36",
    "deepseek-v2": "1 2 6 7 7 8 9 10 11 11 12 13 14 15 16 17 19 21 22 23 24 26 27 28 28 28 29 29 30 30 31 32 36",
    "deepseek-v3": "1 3 6 7 9 12 13 16 17 19 21 22 23 24 26 27 28 29 30 31 32 36",
    "mistral-v1": "1 3 6 7 8 9 10 11 12 13 14 15 16 17 19 21 22 23 24 26 27 27 27 27 28 29 30 31 32 36",
    "tekken": "1 3 6 9 12 13 14 15 16 17 19 21 22 23 24 26 27 27 28 28 28 28 29 30 30 31 31 31 32 36",
    "glm4": "1 3 6 7 8 9 11 12 13 15 16 17 19 21 22 23 24 26 27 27 28 28 28 29 30 31 32 36",
    "glm4.7": "1 3 6 7 8 9 11 12 13 15 16 17 19 21 22 23 24 26 27 27 28 29 30 31 32 36",
    "kimi-k2": "1 3 6 7 9 11 11 12 13 16 17 19 21 22 23 24 26 27 27 28 28 29 30 30 31 32 36",
    "minimax": "1 3 6 9 12 13 16 17 19 21 22 23 24 26 27 28 29 32 36",
    "yi": "1 2 6 7 8 9 10 11 11 11 12 13 14 15 16 17 19 21 22 23 24 26 27 27 27 27 28 28 28 28 29 30 30 30 31 32 36",
    "smollm": "1 2 6 7 7 8 8 9 10 10 11 11 11 12 13 14 15 16 17 19 21 22 23 24 26 27 27 28 28 28 29 29 30 30 31 32 36",
}


@pytest.mark.parametrize("name", COUNTS)
def test_every_family_counts_like_an_implementation_that_is_not_ours(name: str) -> None:
    vocabulary = tokenizers.vocabulary(name)
    assert [vocabulary.count(text) for text in TEXTS.values()] == COUNTS[name]


@pytest.mark.parametrize("name", MIXED_CUTS)
def test_every_family_with_known_boundaries_cuts_where_another_implementation_cuts(name: str) -> None:
    cuts = tokenizers.vocabulary(name).cuts(TEXTS["mixed"])
    assert cuts is not None
    assert " ".join(map(str, cuts)) == MIXED_CUTS[name]


def test_no_two_families_count_alike_on_these_texts() -> None:
    counts = {name: tuple(map(tokenizers.vocabulary(name).count, TEXTS.values())) for name in tokenizers.names()}
    assert len(set(counts.values())) == len(counts) >= 20


def test_every_installed_family_is_pinned() -> None:
    optional = {"llama4"}  # read from llama-models, which is no dependency of ours
    assert set(tokenizers.names()) - optional == set(COUNTS)
