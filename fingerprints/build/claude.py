"""Fits what a Claude message costs around its content from recorded counts, and writes data/claude_frames.toml.

It takes the folder of claude_counts.jsonl.gz (texts with the counts that the vendor's endpoint gave for three frames) and gives, for
each frame, the shape and the constant that fit most rows. It must never touch the piece lists: a row that no frame fits is reported.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections import Counter
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any, cast

from fingerprints.claude import ClaudeVocabulary, Frame
from fingerprints.tokenizers import DATA, vocabulary

# Which piece list a recorded frame is counted with.
VOCABULARIES = {"v3": "claude3", "v4.7": "claude4.7", "v5": "claude4.7"}


def main(arguments: list[str]) -> int:
    """Fit, print and write; 0."""
    parser = argparse.ArgumentParser(prog="python -m fingerprints.build claude", description=__doc__)
    parser.add_argument("--recorded", type=Path, required=True, help="folder of claude_counts.jsonl.gz")
    options = parser.parse_args(arguments)
    rows = list(recorded(options.recorded))
    lines = [f"# Fitted by `python -m fingerprints.build claude` on {len(rows)} recorded counts; exact: share of rows that fit."]
    for name in VOCABULARIES:
        frame, exact = fit(name, rows)
        print(f"{name}: {frame}, exact on {exact:.4%} of {len(rows)}")
        lines += ["", f'["{name}"]', f"tokens = {frame.tokens}", f"opens_word = {str(frame.opens_word).lower()}"]
        lines += [f"trims_end = {str(frame.trims_end).lower()}", f"exact = {exact:.6f}"]
    (DATA / "claude_frames.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


def recorded(folder: Path) -> Iterator[dict[str, Any]]:
    """Rows ``{"text": str, "counts": {frame: int}}`` of the folder's claude_counts.jsonl.gz."""
    with gzip.open(folder / "claude_counts.jsonl.gz", "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def fit(name: str, rows: list[dict[str, Any]]) -> tuple[Frame, float]:
    """The frame that fits most rows, and the share that it fits; among equals the first of the shapes, plainest first."""
    counter = cast(ClaudeVocabulary, vocabulary(VOCABULARIES[name]))
    best: tuple[float, Frame] | None = None
    for trims_end, opens_word in product((False, True), (True, False)):
        shape = Frame(0, opens_word, trims_end)
        spare = Counter(row["counts"][name] - counter.content_tokens(row["text"], shape) for row in rows)
        tokens, fitting = spare.most_common(1)[0]
        if best is None or fitting / len(rows) > best[0]:
            best = fitting / len(rows), Frame(tokens, opens_word, trims_end)
    if best is None:
        raise ValueError("no recorded rows")
    return best[1], best[0]
