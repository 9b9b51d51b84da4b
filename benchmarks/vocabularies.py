"""Size, loading time, memory and counting speed of every vocabulary, beside tiktoken and splintr on the same texts in one run.

It needs no data: the texts are drawn from the seed. Each vocabulary is loaded and measured in a process of its own; tiktoken and splintr
are optional and reported as absent where they are not installed. What they count must equal what we count, or the row says so.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fingerprints import tokenizers
from fingerprints.pieces import read_tokens

TEXTS = 400
TEXT_CHARACTERS = 150
# Names of the same vocabularies in the other two implementations. tiktoken 0.14 ships no ranks: it is given ours.
TIKTOKEN = {"o200k": "o200k_base", "cl100k": "cl100k_base", "p50k": "p50k_base"}
SPLINTR = {
    "o200k": "o200k_base",
    "cl100k": "cl100k_base",
    "llama2": "llama2",
    "llama3": "llama3",
    "gemma2": "gemma2",
    "gemma3": "gemma3",
    "qwen2.5": "qwen3",
    "deepseek-v3": "deepseek_v3",
    "mistral-v1": "mistral_v1",
    "tekken": "mistral_v3",
    "glm4": "glm4",
    "kimi-k2": "kimi_k2",
}
_WORDS = (
    "the quick brown fox jumps over lazy dogs while seventeen engineers review return value self index None",
    "오늘 서울 날씨가 정말 좋네요 산책을 나갔습니다 모델 검증 서비스",
    "今天天气很好我们去公园散步 東京都 の 技術 検証",
    "Привет мир проверка модели שלום עולם مرحبا بالعالم नमस्ते दुनिया สวัสดี",
    "def f(x): x += 1 // {} => != [0-9] 3.14159 2026-11-21 0xFF 👨‍👩‍👧 🙆🏻 §",
)


def run(data: Path | None = None, seed: int = 0, limit: int | None = None) -> dict[str, Any]:
    """``rows``: one a vocabulary; ``total``: artefacts (KiB) and the peak memory (MB) of one process that loads all; ``limit``: the
    first so many vocabularies. ``data`` is not used."""
    names = tokenizers.names()[:limit]
    rows = [_in_process("row", name, seed) for name in names]
    total = _in_process("all", ",".join(names), seed)
    return {"rows": rows, "total": total, "texts": TEXTS, "characters": TEXT_CHARACTERS}


def table(result: dict[str, Any]) -> str:
    """The result in Markdown."""
    lines = [
        "| vocabulary | artefact KiB | load s | memory MB | worst probe ms | MB/s | tiktoken MB/s | splintr MB/s | counts differ |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        cells = [row["name"], _cell(row["kib"], 0, "from a package"), _cell(row["load_s"], 2), _cell(row["memory_mb"], 1)]
        cells += [_cell(row["worst_ms"], 2), _cell(row["mb_per_s"], 2), _cell(row["tiktoken"], 2), _cell(row["splintr"], 2)]
        lines.append(f"| {' | '.join(cells)} | {row['differ']} |")
    total = result["total"]
    load, peak = f"loaded in {total['load_s']:.1f} s", f"{total['peak_mb']:.0f} MB at the peak"
    lines += ["", f"All at once: {total['kib']:.0f} KiB of artefacts, {load}, {peak}."]
    lines.append(f"Speeds are over {result['texts']} fresh texts of {result['characters']} characters, one thread, each text seen once.")
    return "\n".join(lines)


def _cell(value: float | str | None, digits: int, missing: str = "–") -> str:
    if value is None:
        return missing
    return value if isinstance(value, str) else f"{value:.{digits}f}"


def _in_process(task: str, argument: str, seed: int) -> dict[str, Any]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-m", "benchmarks.vocabularies", task, argument, str(seed)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


def _row(name: str, seed: int) -> dict[str, Any]:
    texts = _texts(seed)
    size = sum(len(text.encode()) for text in texts) / 1e6
    before = _memory("VmRSS")
    start = time.perf_counter()
    vocabulary = tokenizers.vocabulary(name)
    load = time.perf_counter() - start
    memory = _memory("VmRSS") - before
    counts, times = [], []
    for text in texts:
        start = time.perf_counter()
        counts.append(vocabulary.count(text))
        times.append(time.perf_counter() - start)
    row: dict[str, Any] = {"name": name, "kib": _kib(name), "load_s": load, "memory_mb": memory}
    row |= {"worst_ms": max(times) * 1e3, "mb_per_s": size / sum(times), "differ": 0}
    for other, make in (("tiktoken", _tiktoken), ("splintr", _splintr)):
        count = make(name) if find_spec(other) else None
        if count is None:
            row[other] = "absent" if not find_spec(other) else None
            continue
        start = time.perf_counter()
        theirs = [count(text) for text in texts]
        row[other] = size / (time.perf_counter() - start)
        row["differ"] += sum(one != two for one, two in zip(counts, theirs, strict=True))
    return row


def _all(names: list[str]) -> dict[str, Any]:
    start = time.perf_counter()
    for name in names:
        tokenizers.vocabulary(name).count("안녕하세요 hello 123")
    load = time.perf_counter() - start
    return {"kib": sum(_kib(name) or 0 for name in names), "load_s": load, "peak_mb": _memory("VmHWM")}


def _texts(seed: int) -> list[str]:
    generator = random.Random(seed)
    words = [phrase.split() for phrase in _WORDS]

    def text() -> str:
        drawn = ""
        while len(drawn) < TEXT_CHARACTERS:
            word = generator.choice(generator.choice(words))
            drawn += f"{word}{generator.choice('abcdefghij')}{generator.randrange(100)} " if generator.random() < 0.3 else f"{word} "
        return drawn[:TEXT_CHARACTERS].rstrip()

    return [text() for _ in range(TEXTS)]


def _kib(name: str) -> float | None:
    path = tokenizers.DATA / "vocab" / f"{name}.npz.xz"
    return path.stat().st_size / 1024 if path.exists() else None


def _memory(field: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def _tiktoken(name: str) -> Callable[[str], int] | None:
    if name not in TIKTOKEN:
        return None
    tokens = read_tokens(tokenizers.DATA / "vocab" / f"{name}.npz.xz")
    ranks = {token: rank for rank, token in enumerate(tokens) if token}
    (pattern,) = tokenizers._families()[name]["splits"]
    encoding = import_module("tiktoken").Encoding(name, pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    return lambda text: len(encoding.encode_ordinary(text))


def _splintr(name: str) -> Callable[[str], int] | None:
    if name not in SPLINTR:
        return None
    tokenizer = import_module("splintr").Tokenizer.from_pretrained(SPLINTR[name])
    return lambda text: len(tokenizer.encode_ordinary(text))


if __name__ == "__main__":
    task, argument, seed = sys.argv[1:]
    print(json.dumps(_row(argument, int(seed)) if task == "row" else _all(argument.split(","))))
