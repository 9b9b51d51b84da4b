"""The two plain baselines of same-prompt attribution, for comparison: cosine of character trigrams, and a sum of several similarities.

Takes the texts of misguided_attention, gives the similarity of each answer to each model's other answers. Nothing is fitted or weighted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fingerprints.build.same_prompt_trials import SAMPLES, Table
from fingerprints.same_prompt_features import CONTENT_BUCKETS, _character_grams, _layout, _word_grams

Floats = npt.NDArray[np.floating[Any]]
CHARACTERS = 4000


def baselines(table: Table, texts: Sequence[str]) -> dict[str, Floats]:
    """Name -> (rows, models) similarity of each row to the other answers of each model to its question; NaN where there are none."""
    made = {name: np.full((len(texts), len(table.models)), np.nan, np.float32) for name in ("trigrams", "sum")}
    for question in range(len(table.questions)):
        index = np.flatnonzero(table.rows.question == question)
        channels = _similarities([texts[int(row)] for row in index])
        for rank in range(SAMPLES):
            suspects = np.flatnonzero(table.rank[index] == rank)
            others = np.flatnonzero(table.rank[index] != rank)
            for model in np.unique(table.rows.model[index[others]]):
                own = others[table.rows.model[index[others]] == model]
                blocks = [channel[np.ix_(suspects, own)] for channel in channels]
                made["trigrams"][index[suspects], model] = blocks[0].mean(axis=1)
                made["sum"][index[suspects], model] = sum(block.mean(axis=1) + block.max(axis=1) for block in blocks)
    return made


def _similarities(texts: Sequence[str]) -> list[Floats]:
    """(answers, answers) cosines of trigrams, of longer character n-grams and of words, and nearness of layout."""
    cut = [text.strip()[:CHARACTERS] for text in texts]
    letters = [dict(_character_grams(text, 5)) for text in cut]
    words = [dict(_word_grams(text, 2)) for text in cut]
    grams = ([each[3] for each in letters], [each[5] for each in letters], [np.concatenate([each[1], each[2]]) for each in words])
    layout = np.array([_layout(text) for text in cut])
    layout = (layout - layout.mean(axis=0)) / (layout.std(axis=0) + 1e-6)
    distance = ((layout[:, None] - layout[None]) ** 2).mean(axis=2)
    return [*(_cosines(group) for group in grams), 1 / (1 + distance)]


def _cosines(grams: Sequence[npt.NDArray[np.uint32]]) -> Floats:
    counts = np.array([np.bincount(each % CONTENT_BUCKETS, minlength=CONTENT_BUCKETS) for each in grams], np.float32)
    counts /= np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1e-9)
    cosines: Floats = counts @ counts.T
    return cosines
