"""Does the report tell a model passed on from a fine-tune of its base? Recorded answers of models whose makers and bases the catalog knows,
each audited with ten answers against references that lack it (a vendor's own model also against references that hold other samples of it).

`--data` is a folder of response corpora. The answers are real; the tokenizer channel is a stand-in that is sure of the true vocabulary, and
the accounting is left out. Models weigh the same; `--limit` keeps that many questions of each corpus (default 120).
"""

from __future__ import annotations

import errno
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fingerprints import catalog, tokenizers
from fingerprints.build.same_prompt import PACKS
from fingerprints.build.same_prompt_style import hash_id, read_corpus
from fingerprints.build.same_prompt_trials import Compared, Table, compare, draw, known_comparisons, macro, read_table
from fingerprints.catalog import Model
from fingerprints.same_prompt_decide import judge, shipped
from fingerprints.same_prompt_pack import projected
from probes.probe import Block, Evidence
from verifier import lineage
from verifier.attribution import attribute

CORPORA = {
    "alpaca_eval": "arena-hard-en",
    "arena_hard_en": "arena-hard-en",
    "logickor_ko": "arena-hard-ko",
    "misguided_attention": "misguided-attention",
}
"""Corpus -> the pack whose dimensions its answers are read with. The mixing weights were set on alpaca_eval alone."""
QUESTIONS, ANSWERS, DRAWS = 120, 10, 3
SURE = -math.log(1000.0)
"""Log likelihood of every other vocabulary where the stand-in is sure of one."""
Row = dict[str, Any]


def run(data: Path | None, seed: int = 0, limit: int | None = None) -> dict[str, Any]:
    """Per corpus, truth and what the references hold: audits, share of each kind named, and how sure. Raises FileNotFoundError."""
    if data is None:
        raise FileNotFoundError(errno.ENOENT, "no --data", "alpaca_eval.jsonl.gz")
    rows = [row for corpus, pack in CORPORA.items() for row in _corpus(data, corpus, PACKS[pack]["dimensions"], seed, limit or QUESTIONS)]
    groups = dict.fromkeys((row["corpus"], row["truth"], row["references"]) for row in rows)
    return {"arms": [_arm(key, [row for row in rows if (row["corpus"], row["truth"], row["references"]) == key]) for key in groups]}


def table(result: dict[str, Any]) -> str:
    """Markdown."""
    lines = ["| corpus | truth | references | models | right | wrong | undecided | base or family right | mean posterior of the truth |"]
    lines.append("|---|---|---|---|---|---|---|---|---|")
    for arm in result["arms"]:
        numbers = " | ".join(f"{arm[key]:.2f}" for key in ("right", "wrong", "undecided", "of_right", "posterior"))
        lines.append(f"| {arm['corpus']} | {arm['truth']} | {arm['references']} | {arm['models']} | {numbers} |")
    return "\n".join(lines)


def _arm(key: tuple[str, str, str], rows: list[Row]) -> Row:
    def mean(value: str) -> float:
        return macro([(row["model"], float(row[value])) for row in rows])

    named = [row for row in rows if row["right"]]
    return {
        **dict(zip(("corpus", "truth", "references"), key, strict=True)),
        "models": len({row["model"] for row in rows}),
        "audits": len(rows),
        **{value: mean(value) for value in ("right", "wrong", "undecided", "posterior")},
        "of_right": macro([(row["model"], float(row["of_right"])) for row in named]),
    }


def _corpus(data: Path, corpus: str, dimensions: int, seed: int, limit: int) -> Iterator[Row]:
    kept = set(sorted({hash_id(record) for record in read_corpus(data, corpus)})[:limit])
    recorded = read_table(data, corpus, dimensions, projected, lambda record: hash_id(record) in kept)
    truths = [_truth(name) for name in recorded.models]
    rng = np.random.default_rng(seed)
    yield from _rows(corpus, "others, none of it", recorded, truths, _without(recorded, truths), rng)
    yield from _rows(corpus, "other samples of it too", recorded, truths, known_comparisons(recorded), rng)


def _without(recorded: Table, truths: list[Model | None]) -> Iterator[Compared]:
    """Answers of each class of weights with a known base against references without the class."""
    for name in sorted({name for name, truth in zip(recorded.classes, truths, strict=True) if truth is not None}):
        mine = recorded.of_class(name)
        yield compare(recorded, ~mine, mine)


def _rows(
    corpus: str, held: str, recorded: Table, truths: list[Model | None], compared: Iterable[Compared], rng: np.random.Generator
) -> Iterator[Row]:
    for one in compared:
        if not len(one.row):
            continue
        scores = one.scores(shipped())
        for model, _, chosen in draw(recorded, one, (ANSWERS,), DRAWS, rng):
            truth = truths[model]
            if truth is None:
                continue
            judged = judge(one.pooled(chosen, scores), recorded.families)
            logs = {name: float(value) for name, value in zip(recorded.models, judged.log_likelihood, strict=True)}
            best = None if judged.rejected else recorded.models[judged.best]
            style = Evidence("style", Block.STYLE, True, log_likelihood=logs | {"unknown": float(judged.unknown)}, best=best)
            yield _row(corpus, held, recorded.models[model], truth, style)


def _row(corpus: str, held: str, model: str, truth: Model, style: Evidence) -> Row:
    fits = dict.fromkeys((*tokenizers.names(), "unknown"), SURE) | {str(truth.tokenizer): 0.0}
    tokens = Evidence("truncation", Block.TOKENIZER, True, log_likelihood=fits, best=truth.tokenizer)
    evidence = (tokens, style)
    said = lineage.lineage(evidence, attribute(evidence))
    assert said is not None
    own = truth.vendor == lineage.maker(truth.lineage)
    kind = lineage.WRAPPER if own else lineage.FINE_TUNE
    of = {truth.family, truth.vendor} if own else {truth.lineage}
    return {
        "corpus": corpus,
        "truth": "the vendor's own model" if own else "a fine-tune",
        "references": held,
        "model": model,
        "right": said.kind == kind,
        "wrong": said.kind not in (kind, lineage.UNDECIDED),
        "undecided": said.kind == lineage.UNDECIDED,
        "of_right": said.of in of,
        "posterior": dict(said.kinds)[kind],
    }


def _truth(name: str) -> Model | None:
    found = catalog.find(name)
    return found if found is not None and found.tokenizer in tokenizers.names() else None
