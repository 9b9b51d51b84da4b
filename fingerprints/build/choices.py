"""Builds the choices pack that ships from recorded number picks: ``python -m fingerprints.build choices --data DIR``.

Takes the folder of number-picks.json, gives data/packs/number-picks.pack: counts per model, the question's digest and where its text is
published. The text itself, and models whose answers are an accident of how they were recorded, never enter the pack.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

from fingerprints import pack_sources
from fingerprints.choices import build_pack
from fingerprints.pack_file import packs_bytes
from fingerprints.packs import Pack

FILE = "number-picks.json"
TARGET = Path(__file__).parents[1] / "data" / "packs" / "number-picks.pack"
CREATED = "2026-08-05"
"""Day of the newest recording (deepseek-v4-flash); the others are of 2026-07-22."""
EXPIRES = "2027-07-22"
"""A year after the older recordings, as for every pack: chosen, not measured (docs/packs.md says why it is no shorter)."""
ORIGIN = (
    "Tencent/AI-Infra-Guard services/api_checker/baselines.json, commit 4908db1, recorded 2026-07-22 to 2026-08-05 through vendors' APIs"
)
LICENCE = "Apache-2.0"
MAX_TOKENS = 512
"""The publisher allowed 100 tokens with thinking off and 2,048 otherwise; short thinking fits, and most answers have three tokens."""
RESTATED = 0.95
"""Share of answers equal to the question's own first number beyond which they are not choices: the publisher read the first number of the
text, thinking included, and a model that repeats "from 1 to 355" then seems to pick 1 (499 of 500 for MiniMax-M2.7)."""


def main(arguments: list[str]) -> int:
    """Write the pack and say what it holds."""
    parser = argparse.ArgumentParser(prog="python -m fingerprints.build choices", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help=f"folder of {FILE}")
    parser.add_argument("--out", type=Path, default=TARGET)
    options = parser.parse_args(arguments)
    pack, left_out = number_picks((options.data / FILE).read_bytes())
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_bytes(packs_bytes([pack]))
    print(f"{options.out.name}: {len(pack.models)} models, {sum(model.samples for model in pack.models)} answers, digest {pack.digest}")
    for name in left_out:
        print(f"left out: {name} (its answers repeat the question's first number)")
    return 0


def number_picks(data: bytes) -> tuple[Pack, list[str]]:
    """The pack of the recorded picks in `data`, and the models that were left out. Raises PackError where there are none."""
    recorded = pack_sources.read({FILE: data}, "number-picks")
    models, answers = pack_sources.models(recorded)
    question = dataclasses.replace(recorded.questions[0], max_tokens=MAX_TOKENS)
    left_out = [model.name for model in models if _restates(answers[question.id, model.name])]
    pack = build_pack(
        name="number-picks",
        version=CREATED,
        created=CREATED,
        questions=[question],
        answers=answers,
        models=[model for model in models if model.name not in left_out],
        origin=ORIGIN,
        licence=LICENCE,
        expires=EXPIRES,
    )
    unthinking = _unthinking(data) & {model.name for model in pack.models}
    return dataclasses.replace(pack, extra=dict(pack.extra) | {"thinking_off": sorted(unthinking)}), left_out


def _unthinking(data: bytes) -> set[str]:
    """Models that were recorded with their thinking switched off, under every name that they may have in the pack."""
    raw = {str(row["model"]) for row in json.loads(data) if row.get("noThink") is True and "model" in row}
    return raw | {pack_sources.pack_model(name, 1).name for name in raw}


def _restates(picks: list[str]) -> bool:
    return picks.count("1") >= RESTATED * len(picks)
