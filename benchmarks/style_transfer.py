"""Which family wrote answers to unknown questions: the shipped prompt-independent style model on a folder of response corpora.

Nothing is fitted: model, calibration and thresholds are those that ship. A source that the shipped model was fitted on is named as such;
what sources say that a model has not seen is the table of `python -m fingerprints.build style --check`.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from fingerprints import style
from fingerprints.build.same_prompt_style import read_corpus
from fingerprints.build.style_corpora import read_table
from fingerprints.build.style_table import rows, shift_rows
from fingerprints.build.style_trials import outcomes, shifts, summary

ANSWERS_PER_MODEL = 40
"""Answers of each model and source that are read: audits of ten are drawn among them."""
SIZE = 10
DRAWS = 8
_SPEED_ANSWERS = 300
_ENDING = ".jsonl.gz"


def run_transfer(data: Path, seed: int = 0, limit: int | None = None) -> dict[str, Any]:
    """`prompt_independent`, `unlisted`, `shifts`, `transfer_ece` and more; `limit` keeps that many answers of each model, of the three
    smallest sources.

    Raises FileNotFoundError where the folder holds no corpus."""
    rng = np.random.default_rng(seed)
    model = style.shipped()
    paths = sorted(data.glob(f"*{_ENDING}"), key=lambda path: path.stat().st_size)
    names = sorted(path.name.removesuffix(_ENDING) for path in (paths[:3] if limit else paths))
    answers = read_table(data, dict.fromkeys(names, limit or ANSWERS_PER_MODEL))
    found = outcomes(answers, np.isin(answers.language, ("en", "ko")), model, SIZE, DRAWS, rng)
    english = summary(found.where(found.language == "en"), rng)
    fitted = set(style.manifest()["sources"])
    unseen = ~np.isin(found.source, sorted(fitted)) & (found.language == "en")
    korean = found.where((found.language == "ko") & (found.kind == "raw"))
    return {
        "prompt_independent": english["families"],
        "prompt_independent_macro": english["macro"],
        "unlisted": english["unlisted"],
        "shifts": shifts(found),
        "transfer_ece": english["ece"],
        "transfer_korean": summary(korean, rng) if len(korean.said) else None,
        "transfer_unseen_sources": summary(found.where(unseen), rng) if unseen.any() else None,
        "fitted_sources": sorted(fitted & set(names)),
        "transfer_answers_per_second": _speed(data, paths[-1].name.removesuffix(_ENDING)),
        "transfer_endpoints": english["endpoints"],
    }


def transfer_table(result: dict[str, Any]) -> str:
    """The fields of `run_transfer` in Markdown."""
    names = ("precision", "with unlisted models", "abstained", "given another", "endpoints")
    lines = ["| shipped model, 10 answers | family | " + " | ".join(names) + " |", "|---" * (2 + len(names)) + "|"]
    whole = {
        "families": result["prompt_independent"],
        "macro": result["prompt_independent_macro"],
        "unlisted": result["unlisted"],
        "ece": result["transfer_ece"],
        "endpoints": result["transfer_endpoints"],
    }
    for label, one in (
        ("English", whole),
        ("English, sources not fitted on", result["transfer_unseen_sources"]),
        ("Korean", result["transfer_korean"]),
    ):
        lines += rows(label, one) if one is not None else []
    lines += ["", *shift_rows(result["shifts"]), ""]
    fitted = ", ".join(result["fitted_sources"]) or "none"
    lines.append(
        f"{result['transfer_answers_per_second']:.0f} answers a second; sources here that the shipped model was fitted on: {fitted}."
    )
    return "\n".join(lines)


def _speed(data: Path, name: str) -> float:
    """Answers a second on one core, from text to reading, ten at a time."""
    texts = [str(record["response"]) for record in read_corpus(data, name)[:_SPEED_ANSWERS]]
    style.shipped()
    began = time.process_time()
    for start in range(0, len(texts), SIZE):
        style.read(texts[start : start + SIZE])
    return len(texts) / (time.process_time() - began)
