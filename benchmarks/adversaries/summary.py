"""From the rows of single audits to the figures that the contract names: counts, medians, one-sided bounds, and what went wrong where.

Takes arms and rows, gives plain JSON. Audits of one model share its recorded answers, so intervals resample casts (claimed and true model),
never audits; the plain binomial bounds beside them treat audits as independent and say so.
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.adversaries.arms import Arm
from benchmarks.adversaries.audits import COULD_NOT_RUN, Row
from verifier.intervals import lower_bound, upper_bound

OUTCOMES = ("consistent", "inconclusive", "inconsistent", COULD_NOT_RUN)
DATED = 10
"""Requests within which a switch has to be dated."""
DRAWS = 2_000
LISTED = 8
"""Failures listed per arm, each enough to run it again."""


def summarised(arms: Sequence[Arm], rows: Sequence[Row], seed: int) -> dict[str, Any]:
    """All figures. Arms without rows are left out."""
    of_arm = {arm.name: [row for row in rows if row.arm == arm.name] for arm in arms}
    kinds = {arm.name: arm.kind for arm in arms if of_arm[arm.name]}
    told = {arm.name: arm for arm in arms}

    def each(*wanted: str) -> dict[str, list[Row]]:
        return {name: of_arm[name] for name, kind in kinds.items() if kind in wanted}

    again = [row.judged_again for row in rows if row.judged_again is not None]
    rng = np.random.default_rng(seed)
    return {
        "audits": len(rows),
        "honest": _honest(told, each("honest"), rng),
        "cheats": {name: _cheat(found, rng) for name, found in each("cheat", "mixture", "sibling").items()},
        "mixtures": {name: _mixture(told[name].share or 0.0, found) for name, found in each("mixture").items()},
        "switches": {name: _switches(found) for name, found in each("switch").items()},
        "siblings": {name: _sibling(found) for name, found in each("sibling").items()},
        "empty": {name: outcomes(found) | {"audits": len(found)} for name, found in each("empty").items()},
        "judged_again": {"transcripts": len(again), "same": sum(again)},
        "rests_on": {name: told[name].rests_on for name in kinds},
        "failures": {name: failures(told[name], found) for name, found in of_arm.items() if found},
    }


def outcomes(rows: Sequence[Row]) -> dict[str, int]:
    """How often each outcome came."""
    counted = Counter(row.outcome for row in rows)
    return {outcome: counted[outcome] for outcome in OUTCOMES if counted[outcome]}


def failures(arm: Arm, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The first audits that came out wrong: accused honest ones, cleared impostors, and where accusing is the arm's aim, unaccused ones."""
    wrong = {"honest": ("inconsistent",), "empty": ("inconsistent", "consistent"), "sibling": ("consistent",)}
    bad = [
        row for row in rows if row.outcome in wrong.get(arm.kind, ("consistent", "inconclusive")) and (arm.kind in wrong or _posing(row))
    ]
    return [
        {
            "trial": row.trial,
            "seed": row.seed,
            "suite_seed": row.suite_seed,
            "cast": row.cast,
            "outcome": row.outcome,
            "why": row.reasons[:3],
        }
        for row in bad[:LISTED]
    ]


def _posing(row: Row) -> bool:
    """Whether another model than the claimed one answered anything."""
    return row.impostor_requests > 0


def _honest(arms: dict[str, Arm], found: dict[str, list[Row]], rng: np.random.Generator) -> dict[str, Any]:
    rows = [row for each in found.values() for row in each]
    full = [row for name, each in found.items() for row in each if arms[name].full]
    accused = sum(row.outcome == "inconsistent" for row in rows)
    consistent = sum(row.outcome == "consistent" for row in full)
    return {
        "audits": len(rows),
        "accused": accused,
        "accused_upper_95": upper_bound(accused, len(rows)),
        "models": len({row.cast[0] for row in rows}),
        "full_feature_audits": len(full),
        "consistent_full_feature": consistent / len(full) if full else None,
        "consistent_full_feature_interval": _interval(full, lambda row: row.outcome == "consistent", rng),
        "arms": {
            name: {"audits": len(each), "accused": sum(row.outcome == "inconsistent" for row in each)} | outcomes(each) | _spent(each)
            for name, each in found.items()
        },
        "models_consistent": {
            model: {"full_feature": len(mine), "consistent": sum(row.outcome == "consistent" for row in mine)}
            for model in sorted({row.cast[0] for row in full})
            if (mine := [row for row in full if row.cast[0] == model])
        },
    }


def _cheat(rows: Sequence[Row], rng: np.random.Generator) -> dict[str, Any]:
    posing = [row for row in rows if _posing(row)]
    exposed = [row for row in posing if row.outcome == "inconsistent"]
    named = sum(row.family_named for row in exposed)
    return {
        "audits": len(posing),
        "inconsistent": len(exposed),
        "inconsistent_lower_95": lower_bound(len(exposed), len(posing)),
        "inconsistent_interval": _interval(posing, lambda row: row.outcome == "inconsistent", rng),
        "consistent": sum(row.outcome == "consistent" for row in posing),
        "family_named": named,
        "family_named_share": named / len(exposed) if exposed else None,
        "model_family_named": sum(row.model_family_named for row in exposed),
        "vendor_named": sum(row.vendor_named for row in exposed),
        "without_an_impostor": len(rows) - len(posing),
        "accused_without_an_impostor": sum(row.outcome == "inconsistent" for row in rows if not _posing(row)),
        "casts": {
            " as ".join((cast[1], cast[0])): outcomes([row for row in posing if row.cast == cast])
            for cast in dict.fromkeys(row.cast for row in posing)
        },
        **_spent(exposed),
    }


def _spent(rows: Sequence[Row]) -> dict[str, Any]:
    return {
        "median_requests": statistics.median(row.requests for row in rows) if rows else None,
        "median_tokens": statistics.median(row.tokens for row in rows) if rows else None,
    }


def _mixture(share: float, rows: Sequence[Row]) -> dict[str, Any]:
    """Whether the stated interval holds the share with which requests are drawn, and the one that the draw of this audit came to."""
    stated = [row for row in rows if row.mixture is not None]
    covered = sum(_within(row, share) for row in stated)
    return {
        "audits": len(rows),
        "share": share,
        "stated": len(stated),
        "covered": covered,
        "covered_as_drawn": sum(_within(row, row.true_share) for row in stated),
        "covered_share": covered / len(rows) if rows else None,
        "median_true_share": statistics.median(row.true_share for row in rows) if rows else None,
        "median_width": statistics.median(float(row.mixture["high"]) - float(row.mixture["low"]) for row in stated if row.mixture)
        if stated
        else None,
    }


def _within(row: Row, share: float) -> bool:
    return row.mixture is not None and float(row.mixture["low"]) <= share <= float(row.mixture["high"])


def _switches(rows: Sequence[Row]) -> dict[str, Any]:
    """How often every true switch of an audit is dated, and how many dates are no switch."""
    dated = [[any(abs(at - true) <= DATED for at in row.switches) for true in row.true_switches] for row in rows]
    false = sum(not any(abs(at - true) <= DATED for true in row.true_switches) for row in rows for at in row.switches)
    both = sum(bool(each) and all(each) for each in dated)
    return {
        "audits": len(rows),
        "both_dated": both,
        "both_dated_share": both / len(rows) if rows else None,
        "true": sum(map(len, dated)),
        "dated": sum(map(sum, dated)),
        "false_dates": false,
        "within_requests": DATED,
    }


def _sibling(rows: Sequence[Row]) -> dict[str, Any]:
    return {
        "audits": len(rows),
        **outcomes(rows),
        "consistent_at_model": sum(row.outcome == "consistent" and row.resolution == "model" for row in rows),
        "sibling_named": sum(row.candidate == row.cast[1] for row in rows),
        "mismatch_found": sum(bool({"style-mismatch", "choice-mismatch"} & set(row.codes)) for row in rows),
    }


def _interval(rows: Sequence[Row], hit: Callable[[Row], bool], rng: np.random.Generator) -> list[float] | None:
    """95 % interval of the share of hits, from resampling casts; None for fewer than three casts."""
    groups: defaultdict[tuple[str, ...], list[bool]] = defaultdict(list)
    for row in rows:
        groups[row.cast].append(hit(row))
    if len(groups) < 3:
        return None
    hits, sizes = (np.array([measure(each) for each in groups.values()], float) for measure in (sum, len))
    drawn = rng.integers(len(groups), size=(DRAWS, len(groups)))
    shares = hits[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    return [round(float(each), 4) for each in np.quantile(shares, [0.025, 0.975])]
