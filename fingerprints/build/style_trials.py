"""Audits of recorded endpoints read by a style model, what they add up to: precision, abstention, unlisted families, shifts.

Takes a table of answers and a model, gives numbers; nothing is fitted here. Sources weigh the same, in each
its families, in each its models; intervals resample endpoints, never audits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fingerprints import style
from fingerprints.build.style_corpora import Mask, Names, Table, balanced, draw
from fingerprints.scored import UNKNOWN

UNLISTED = {"DeepSeek": ("deepseek",), "Mistral": ("mistral",), "Grok": ("grok",), "Command": ("command",)}
ARMS: dict[str, Callable[[str, str], bool]] = {
    "concise": lambda model, kind: model.endswith("/concise"),
    "verbose": lambda model, kind: model.endswith("/verbose"),
    "rewritten": lambda model, kind: kind in ("pipeline", "adversarial"),
    "mixture": lambda model, kind: kind in ("mixture", "rerank"),
}
_BINS = 10
_RESAMPLES = 500


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Audits that were read, one row each."""

    source: Names
    model: Names
    family: Names
    lineage: Names
    kind: Names
    language: Names
    said: Names
    """Family that was named; "" for an abstention."""
    probability: npt.NDArray[np.floating[Any]]
    """(audits, FAMILIES + 1), the unknown last; NaN where nothing could be said."""

    def where(self, mask: Mask) -> Outcomes:
        """The audits in `mask`."""
        return Outcomes(
            source=self.source[mask],
            model=self.model[mask],
            family=self.family[mask],
            lineage=self.lineage[mask],
            kind=self.kind[mask],
            language=self.language[mask],
            said=self.said[mask],
            probability=self.probability[mask],
        )


def joined(parts: Sequence[Outcomes]) -> Outcomes:
    """One after another."""
    return Outcomes(
        source=np.concatenate([part.source for part in parts]),
        model=np.concatenate([part.model for part in parts]),
        family=np.concatenate([part.family for part in parts]),
        lineage=np.concatenate([part.lineage for part in parts]),
        kind=np.concatenate([part.kind for part in parts]),
        language=np.concatenate([part.language for part in parts]),
        said=np.concatenate([part.said for part in parts]),
        probability=np.concatenate([part.probability for part in parts]),
    )


def outcomes(table: Table, mask: Mask, model: style.Model, size: int, times: int, rng: np.random.Generator) -> Outcomes:
    """`times` audits of `size` answers of every endpoint in `mask`, read as `style.read` reads them."""
    audits = draw(table, list(table.endpoints(mask & (table.family != "")).values()), size, times, rng)
    said = np.full(len(audits.rows), "", dtype="<U12")
    probability = np.full((len(audits.rows), len(style.FAMILIES) + 1), np.nan)
    values = audits.pooled(table, model.selected)
    long = table.characters[audits.rows].mean(axis=1) >= style.LEAST_MEAN_CHARACTERS
    long &= table.free[audits.rows].mean(axis=1) > 0.5
    for language in style.LANGUAGES:
        here = np.flatnonzero(long & ((table.spoken[audits.rows] == language).mean(axis=1) > 0.5))
        for place, reading in zip(here, style.judge(values[here], size, language, model), strict=True):
            said[place] = reading.family or ""
            probability[place] = [reading.posterior.get(name, np.nan) for name in (*style.FAMILIES, UNKNOWN)]
    return labelled(table, audits.rows[:, 0], said, probability)


def labelled(table: Table, rows: npt.NDArray[np.intp], said: Names, probability: npt.NDArray[np.floating[Any]]) -> Outcomes:
    """Outcomes of audits whose labels stand in `rows` of the table."""
    return Outcomes(
        source=table.source[rows],
        model=table.model[rows],
        family=table.family[rows],
        lineage=table.lineage[rows],
        kind=table.kind[rows],
        language=table.language[rows],
        said=said,
        probability=probability,
    )


def summary(found: Outcomes, rng: np.random.Generator) -> dict[str, Any]:
    """Precision and abstention per listed family, unlisted families, and calibration, of the raw audits."""
    raw = found.where(found.kind == "raw")
    rows: dict[str, Any] = {name: _family(raw, name, rng) for name in style.LISTED}
    known = [row for row in rows.values() if row["abstained"] is not None]
    decided = [row["precision"] for row in known if row["precision"] is not None]
    return {
        "families": rows,
        "macro": {
            "precision": float(np.mean(decided)) if decided else None,
            "abstained": float(np.mean([row["abstained"] for row in known])) if known else None,
        },
        "unlisted": {name: _kept(raw.where(np.isin(raw.lineage, lineages)), rng) for name, lineages in UNLISTED.items()},
        "ece": _calibration_error(raw),
        "audits": len(raw.said),
        "endpoints": len(set(zip(raw.source, raw.model, strict=True))),
    }


def shifts(found: Outcomes) -> dict[str, Any]:
    """Share of audits under each shift that are given a family that is not theirs."""
    arms: dict[str, Any] = {}
    for name, of_arm in ARMS.items():
        here = found.where(np.array([of_arm(str(model), str(kind)) for model, kind in zip(found.model, found.kind, strict=True)], bool))
        wrong = (here.said != "") & (here.said != here.family)
        arms[name] = {"audits": len(wrong), "wrong": float(wrong.mean()) if len(wrong) else None, "decided": _mean(here.said != "")}
    rates = [arm["wrong"] for arm in arms.values() if arm["wrong"] is not None]
    return {"wrong": max(rates, default=None), "arms": arms}


def _mean(values: Mask) -> float | None:
    return float(values.mean()) if len(values) else None


def _family(raw: Outcomes, name: str, rng: np.random.Generator) -> dict[str, Any]:
    """Of audits that were given the family, how many are of it: among listed families (`precision`), and with every other raw model."""
    mine = raw.family == name
    if not mine.any():
        return {"precision": None, "precision_open": None, "abstained": None, "endpoints": 0}
    listed = raw.where(np.isin(raw.family, style.LISTED))
    own = raw.where(mine)
    return {
        "precision": _precision(listed, name),
        "precision_interval": _interval(listed, lambda o: _precision(o, name), rng),
        "precision_open": _precision(raw, name),
        "abstained": _share(own, own.said == ""),
        "abstained_interval": _interval(own, lambda o: _share(o, o.said == ""), rng),
        "given_another": _share(own, (own.said != "") & (own.said != name)),
        "decided_audits": int((raw.said == name).sum()),
        "endpoints": len(set(zip(own.source, own.model, strict=True))),
    }


def _precision(found: Outcomes, name: str) -> float | None:
    category = np.where(np.isin(found.family, style.LISTED), found.family, "unlisted")
    weights = balanced(found.source, category, found.model)
    said = found.said == name
    return float(weights[said & (found.family == name)].sum() / weights[said].sum()) if said.any() else None


def _share(found: Outcomes, event: Mask) -> float:
    return float(balanced(found.source, found.model)[event].sum())


def _kept(found: Outcomes, rng: np.random.Generator) -> dict[str, Any]:
    if not len(found.said):
        return {"kept": None, "endpoints": 0}

    def kept(some: Outcomes) -> float:
        return 1 - _share(some, np.isin(some.said, style.LISTED))

    return {
        "kept": kept(found),
        "interval": _interval(found, kept, rng),
        "endpoints": len(set(zip(found.source, found.model, strict=True))),
    }


def _interval(found: Outcomes, statistic: Callable[[Outcomes], float | None], rng: np.random.Generator) -> list[float] | None:
    """95 % interval from resampling endpoints."""
    names, place = np.unique(np.char.add(np.char.add(found.source, "|"), found.model), return_inverse=True)
    rows = [np.flatnonzero(place == one) for one in range(len(names))]
    values = []
    for _ in range(_RESAMPLES if len(names) > 1 else 0):
        drawn = rng.integers(len(names), size=len(names))
        copies = [found.where(rows[one]) for one in drawn]
        renamed = np.concatenate([np.char.add(copy.model, f"#{number}") for number, copy in enumerate(copies)])
        again = joined(copies)
        value = statistic(replace(again, model=renamed))
        if value is not None:
            values.append(value)
    return [float(each) for each in np.quantile(values, [0.025, 0.975])] if values else None


def _calibration_error(raw: Outcomes) -> float | None:
    """Expected calibration error of the likeliest of: each listed family, anything else."""
    there = raw.where(~np.isnan(raw.probability[:, 0]))
    if not len(there.said):
        return None
    listed = there.probability[:, : len(style.LISTED)]
    five = np.hstack([listed, 1 - listed.sum(axis=1, keepdims=True)])
    truth = np.array([style.LISTED.index(name) if name in style.LISTED else len(style.LISTED) for name in there.family.tolist()])
    best, confidence = five.argmax(axis=1), five.max(axis=1)
    category = np.where(np.isin(there.family, style.LISTED), there.family, "unlisted")
    weights = balanced(there.source, category, there.model)
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    gaps = [abs(float((weights * ((best == truth) - confidence))[bins == each].sum())) for each in range(_BINS)]
    return float(sum(gaps))
