"""Audits drawn for the style benchmark, and how often style speaks against a claim that is true, a sibling's or another family's.

Takes compared answers, gives pooled audits and shares of e-values. Constants are those that ship; nothing is fitted here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fingerprints.build.same_prompt import SHIFTED_MODELS, shifted_tables
from fingerprints.build.same_prompt_trials import Compared, Mask, Table, draw, other_settings
from fingerprints.same_prompt_decide import Pooled, against_claim, shipped
from fingerprints.same_prompt_pack import projected

DRAWS = 9
LEAST_QUESTIONS = 20
"""Models with fewer questions answered are candidates, but not tested: a draw of 10 of their 9 questions would be the same each time."""
HELD_OUT_MODELS = ("gpt-3.5-turbo-1106", "gpt4_1106_preview", "alpaca-7b")

Audit = tuple[int, Pooled]


def against(table: Table, known: list[Compared], allowed: Mask, rng: np.random.Generator) -> dict[str, Any]:
    """How often style speaks against a claim: a true one, one of a sibling, one of another family."""
    often = sorted(tested(table))
    true, sibling, foreign = [], [], []
    for model, pooled in audits(table, known, (10,), allowed, rng):
        true.append(_log_e(table, pooled, table.classes[model]))
        claim = int(rng.choice(often))
        if table.families[claim] != table.families[model]:
            foreign.append(_log_e(table, pooled, table.classes[claim]))
        brothers = [m for m in often if table.families[m] == table.families[model] and table.classes[m] != table.classes[model]]
        if brothers:
            sibling.append(_log_e(table, pooled, table.classes[int(rng.choice(brothers))]))
    settings = [_log_e(table, pooled, table.classes[model]) for model, pooled in audits(table, other_settings(table), (10,), allowed, rng)]
    groups = {"true": true, "true, other setting of the weights": settings, "of a sibling": sibling, "of another family": foreign}
    return {name: _shares(values) for name, values in groups.items()}


def _log_e(table: Table, pooled: Pooled, claim: str) -> float:
    claimed = [place for place, name in enumerate(table.classes) if name == claim and np.isfinite(pooled.cosine[place])]
    return against_claim(pooled, claimed, table.families, table.classes)[0] if claimed else 0.0


def _shares(values: Sequence[float]) -> dict[str, Any]:
    if not values:
        return {"audits": 0, "e10": None, "e100": None}
    e_values = np.exp(values)
    return {"audits": len(values), "e10": float((e_values >= 9.999).mean()), "e100": float((e_values >= 99.99).mean())}


def shifted(data: Path, rng: np.random.Generator) -> dict[str, Any] | None:
    """Genuine models under a setting that their references lack: efforts (fitted on), concise and verbose (fitted on, and others)."""
    try:
        efforts, concise = shifted_tables(data, projected, (*SHIFTED_MODELS, *HELD_OUT_MODELS))
    except FileNotFoundError:
        return None
    groups: defaultdict[str, list[float]] = defaultdict(list)
    for name, one_table in (("effort", efforts), ("prompt", concise)):
        for compared in other_settings(one_table):
            if not len(compared.row):
                continue
            scores = compared.scores(shipped())
            for model, _, chosen in draw(one_table, compared, (10,), DRAWS, rng):
                if name == "prompt" and not one_table.models[model].endswith(("/concise", "/verbose")):
                    continue
                fitted = name == "effort" or one_table.models[model].startswith(SHIFTED_MODELS)
                label = "reasoning effort" if name == "effort" else f"concise or verbose, {'fitted on' if fitted else 'held out'}"
                groups[label].append(_log_e(one_table, compared.pooled(chosen, scores), one_table.classes[model]))
    return {name: _shares(values) for name, values in groups.items()}


def audits(table: Table, compared: Iterable[Compared], sizes: Sequence[int], allowed: Mask | None, rng: np.random.Generator) -> list[Audit]:
    often = tested(table)
    made = []
    for one in compared:
        if len(one.row):
            scores = one.scores(shipped())
            drawn = draw(table, one, sizes, DRAWS, rng, allowed)
            made += [(model, one.pooled(chosen, scores)) for model, _, chosen in drawn if model in often]
    return made


def tested(table: Table, least: int = LEAST_QUESTIONS) -> set[int]:
    """Models that answered enough of the questions (fewer where the corpus itself is small)."""
    answered = [len(set(table.rows.question[table.rows.model == model].tolist())) for model in range(len(table.models))]
    return {model for model, count in enumerate(answered) if count >= min(least, max(answered) / 2)}
