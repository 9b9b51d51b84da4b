"""Fits the prompt-independent style model: ``python -m fingerprints.build style --corpora DIR``; with ``--check`` it measures instead.

It takes recorded answers (DIR as ../shared/corpora) and writes data/style.npz and data/style.json: weights of hashed features and where
they come from, never a text. ``--check`` leaves every group of sources out in turn, fits everything again without it (features, weights,
calibration, thresholds), and prints what the sources left out say.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import resource
import time
from dataclasses import asdict
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from fingerprints.build.style_baseline import baseline
from fingerprints.build.style_corpora import FITTED, TESTED_ONLY, Table, read_table
from fingerprints.build.style_fit import fit
from fingerprints.build.style_table import markdown
from fingerprints.build.style_trials import Outcomes, joined, outcomes, shifts, summary
from fingerprints.style import FAMILIES, Model

SEED = 0
LEFT_OUT = ("alpaca_eval", "arena_hard", "misguided_attention", "m_ifeval", "zeroeval", "wildbench")
"""Groups of sources that are left out in turn; sources without a licence are never fitted, so the whole model is tested on them."""
CHECKED_SIZES = (5, 10, 20)
DRAWS = 12


def main(arguments: list[str]) -> int:
    """Fit and write, or measure and print."""
    parser = argparse.ArgumentParser(prog="python -m fingerprints.build style", description=__doc__)
    parser.add_argument("--corpora", type=Path, default=Path("../shared/corpora"), help="folder with the corpora")
    parser.add_argument("--check", action="store_true", help="leave sources out in turn and print what they say; writes nothing")
    parser.add_argument("--json", action="store_true", help="with --check: one JSON object instead of tables")
    options = parser.parse_args(arguments)
    began = time.perf_counter()
    if options.check:
        result = check(read_table(options.corpora, {**FITTED, **TESTED_ONLY}))
        print(json.dumps(result) if options.json else markdown(result))
    else:
        table = read_table(options.corpora, FITTED)
        write(table, fit(table, np.ones(len(table.prompt), bool), SEED), Path(str(files("fingerprints") / "data")))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{time.perf_counter() - began:.0f} s, {peak:.1f} GB")
    return 0


def check(table: Table) -> dict[str, Any]:
    """Summaries per number of answers, of the baseline, per source, of shifts and of Korean; every source by a model that lacks it."""
    rng = np.random.default_rng(SEED)
    fitted = np.isin(table.source, list(FITTED))
    found: dict[int, list[Outcomes]] = {size: [] for size in CHECKED_SIZES}
    plain: list[Outcomes] = []
    for group in (*LEFT_OUT, None):
        training = fitted & (table.group != group) if group else fitted
        tested = (table.group == group) if group else ~fitted & ~np.isin(table.group, LEFT_OUT)
        tested &= np.isin(table.language, ("en", "ko"))
        model = fit(table, training, SEED)
        for size in CHECKED_SIZES:
            found[size].append(outcomes(table, tested, model, size, DRAWS, rng))
        plain.append(baseline(table, training, tested, 10, DRAWS, rng))
        print(f"left out {group or 'sources without a licence'}", flush=True)
    by_size = {size: joined(parts) for size, parts in found.items()}
    ten = by_size[10]
    english = {size: one.where(one.language == "en") for size, one in by_size.items()}
    sources = sorted(set(english[10].source[english[10].kind == "raw"]))
    korean = ten.where(ten.language == "ko")
    return {
        "answers": {str(size): summary(one, rng) for size, one in english.items()},
        "baseline": summary(_english(joined(plain)), rng) | {"shifts": shifts(joined(plain))},
        "shifts": shifts(ten),
        "sources": {name: summary(english[10].where(english[10].source == name), rng) for name in sources},
        "korean": {name: summary(korean.where(korean.source == name), rng) for name in sorted(set(korean.source))},
    }


def _english(found: Outcomes) -> Outcomes:
    return found.where(found.language == "en")


def write(table: Table, model: Model, folder: Path) -> None:
    """Write data/style.npz and its manifest data/style.json."""
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {name: np.asarray(value) for name, value in asdict(model).items()}
    np.savez_compressed(buffer, **arrays)
    data = buffer.getvalue()
    (folder / "style.npz").write_bytes(data)
    sources = {
        name: {
            "answers": int((table.source == name).sum()),
            "models": len(set(table.model[table.source == name])),
        }
        for name in FITTED
        if (table.source == name).any()
    }
    told = {
        "sha256": hashlib.sha256(data).hexdigest(),
        "made_by": "python -m fingerprints.build style --corpora DIR",
        "sources": sources,
        "families": list(FAMILIES),
        "features": len(model.selected),
        "seed": SEED,
        "libraries": {name: version(name) for name in ("numpy", "scikit-learn", "scipy")},
    }
    (folder / "style.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
