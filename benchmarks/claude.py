"""How many of the recorded Claude counts our own counting code meets exactly, for each of the three message frames.

It takes the folder of claude_counts.jsonl.gz (``--data``) and counts every row with the piece lists and frames that ship; nothing is
fitted here. Where completions.jsonl.gz lies beside it, the replies that a token limit ended are counted too: what the probe `truncation`
holds against them. Times are of this process and include no loading.
"""

from __future__ import annotations

import errno
import gzip
import json
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any, cast

from fingerprints import catalog
from fingerprints.build.claude import VOCABULARIES, recorded
from fingerprints.claude import ClaudeVocabulary
from fingerprints.tokenizers import vocabulary
from probes import counted_cuts


def run(data: Path | None, seed: int = 0, limit: int | None = None) -> dict[str, Any]:
    """``exact``: share of rows met exactly by frame; ``n``: rows counted; ``misses``: at most ten rows that are not met.

    ``truncated``: recorded replies of Claude that ended at their limit, by tokens that our count of their text is above that limit.

    ``limit`` counts a sample of that many rows, drawn with ``seed``. Raises ``FileNotFoundError`` without the recorded counts.
    """
    if data is None:
        raise FileNotFoundError(errno.ENOENT, "no --data", "claude_counts.jsonl.gz")
    rows = list(recorded(data))
    if limit is not None and limit < len(rows):
        rows = random.Random(seed).sample(rows, limit)
    exact: dict[str, float] = {}
    counted: dict[str, int] = {}
    speed: dict[str, float] = {}
    misses: list[dict[str, Any]] = []
    for frame, name in VOCABULARIES.items():
        counter = cast(ClaudeVocabulary, vocabulary(name))
        known = [row for row in rows if frame in row["counts"]]
        start = time.perf_counter()
        errors = [counter.message_tokens(row["text"], frame) - row["counts"][frame] for row in known]
        elapsed = time.perf_counter() - start
        exact[frame] = errors.count(0) / len(known) if known else 0.0
        counted[frame] = len(known)
        speed[frame] = sum(len(row["text"].encode()) for row in known) / 1e6 / elapsed if elapsed else 0.0
        misses += [{"frame": frame, "id": row["id"], "error": error} for row, error in zip(known, errors, strict=True) if error]
    return {"exact": exact, "n": counted, "megabytes_per_second": speed, "misses": misses[:10], "truncated": _truncated(data)}


def _truncated(data: Path) -> dict[str, int]:
    """Tokens above the limit -> recorded replies; without tools and reasoning, whose tokens are not in the text."""
    path = data / "completions.jsonl.gz"
    found: Counter[int] = Counter()
    if not path.exists():
        return {}
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            model = catalog.find(row["model"] or "")
            if model is None or model.tokenizer not in counted_cuts.counted() or row["finish_reason"] != "max_tokens":
                continue
            if row["completion_text"] and not (row["has_tools"] or row["reasoning_tokens"] or row["has_reasoning_text"]):
                found[vocabulary(model.tokenizer).count(row["completion_text"]) - row["completion_tokens"]] += 1
    return {f"{above:+d}": n for above, n in sorted(found.items())}


def table(result: dict[str, Any]) -> str:
    """The result in Markdown."""
    lines = ["| frame | recorded counts | exact | MB/s |", "|---|---|---|---|"]
    for frame, share in result["exact"].items():
        lines.append(f"| {frame} | {result['n'][frame]} | {share:.4%} | {result['megabytes_per_second'][frame]:.2f} |")
    if result["truncated"]:
        rows = ", ".join(f"{n} at {above}" for above, n in result["truncated"].items())
        lines += ["", f"Replies that `max_tokens` ended, by our count of their text less the limit: {rows}."]
    return "\n".join(lines)
