"""How many of the recorded Claude counts our own counting code meets exactly, for each of the three message frames.

It takes the folder of claude_counts.jsonl.gz (``--data``) and counts every row with the piece lists and frames that ship; nothing is
fitted here. Times are of this process and include no loading.
"""

from __future__ import annotations

import errno
import random
import time
from pathlib import Path
from typing import Any, cast

from fingerprints.build.claude import VOCABULARIES, recorded
from fingerprints.claude import ClaudeVocabulary
from fingerprints.tokenizers import vocabulary


def run(data: Path | None, seed: int = 0, limit: int | None = None) -> dict[str, Any]:
    """``exact``: share of rows met exactly by frame; ``n``: rows counted; ``misses``: at most ten rows that are not met.

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
    return {"exact": exact, "n": counted, "megabytes_per_second": speed, "misses": misses[:10]}


def table(result: dict[str, Any]) -> str:
    """The result in Markdown."""
    lines = ["| frame | recorded counts | exact | MB/s |", "|---|---|---|---|"]
    for frame, share in result["exact"].items():
        lines.append(f"| {frame} | {result['n'][frame]} | {share:.4%} | {result['megabytes_per_second'][frame]:.2f} |")
    return "\n".join(lines)
