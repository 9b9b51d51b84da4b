"""Builds every pack that ships: ``python -m fingerprints.build packs --data DIR [--out DIR]``, DIR being the folder of recorded answers.

Takes a folder that holds `packs/` (number picks) and `corpora/` (answers to open questions), gives one .pack file each.
The same data give the same digests; texts of answers never leave it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from fingerprints.build import choices, same_prompt
from fingerprints.pack_file import pack_bytes

TARGET = Path(__file__).parents[1] / "data" / "packs"


def main(arguments: list[str]) -> int:
    """Write every pack and say what it holds."""
    parser = argparse.ArgumentParser(prog="python -m fingerprints.build packs", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds packs/ and corpora/")
    parser.add_argument("--out", type=Path, default=TARGET)
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    picks, left_out = choices.number_picks((options.data / "packs" / choices.FILE).read_bytes())
    built = [picks, *(same_prompt.corpus_pack(options.data / "corpora", name) for name in same_prompt.PACKS)]
    for pack in built:
        data = pack_bytes(pack)
        (options.out / f"{pack.name}.pack").write_bytes(data)
        print(f"{pack.name}: {len(pack.questions)} questions, {len(pack.models)} models, {len(data)} bytes, digest {pack.digest}")
    for name in left_out:
        print(f"left out: {name} (its answers repeat the question's first number)")
    return 0
