"""Fits the constants of same-prompt comparison and builds the packs of answers: ``python -m fingerprints.build same-prompt --data DIR``.

It takes recorded answers (DIR as ../shared/corpora) and writes data/same_prompt.npz and data/packs/{misguided-attention,arena-hard-en,
arena-hard-ko}.pack. What it writes holds digests, sketches and names, never a text of the corpora.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from fingerprints import catalog, question_sources
from fingerprints.build.same_prompt_fit import fit
from fingerprints.build.same_prompt_style import fit_style, hash_id, read_corpus, read_prompts, weights_class
from fingerprints.build.same_prompt_trials import Table, read_table
from fingerprints.pack_file import pack_bytes
from fingerprints.packs import Pack, PackModel
from fingerprints.questions import Question, text_digest
from fingerprints.same_prompt_decide import load, shipped
from fingerprints.same_prompt_features import LEAST_CHARACTERS
from fingerprints.same_prompt_pack import build_pack
from fingerprints.same_prompt_references import LEAST_MODELS, Floats

CREATED, VERSION = "2026-11-22", "1"
SEED = 0
PACKS: dict[str, dict[str, Any]] = {
    "misguided-attention": {"corpus": "misguided_attention", "language": "en", "questions": 40, "dimensions": 1024, "tokens": 400},
    "arena-hard-en": {"corpus": "arena_hard_en", "language": "en", "questions": 120, "dimensions": 512, "tokens": 400},
    "arena-hard-ko": {"corpus": "arena_hard_ko", "language": "ko", "questions": 100, "dimensions": 512, "tokens": 600},
}
EXPIRES = {"misguided-attention": "2027-11-30", "arena-hard-en": "2027-11-30", "arena-hard-ko": "2027-11-30"}
SHIFTED_MODELS = ("Mixtral-8x7B-Instruct-v0.1", "claude-2.1", "gpt4_0613")
"""Models of alpaca_eval whose "concise" and "verbose" answers tell how far an honest endpoint strays; the other three are for testing."""
_ALPACA_SHARE = 7  # one question in so many
_CONTENT_DIMENSIONS = 512


def main(arguments: list[str]) -> int:
    """Fit, write, and say what was written."""
    parser = argparse.ArgumentParser(prog="python -m fingerprints.build same-prompt", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/corpora"), help="folder with the corpora")
    parser.add_argument("--packs-only", action="store_true", help="keep the constants that are there")
    options = parser.parse_args(arguments)
    folder = Path(str(files("fingerprints") / "data"))
    if not options.packs_only:
        write_constants(options.data, folder / "same_prompt.npz")
        load.cache_clear()
        shipped.cache_clear()
    total = 0
    for name in PACKS:
        pack = corpus_pack(options.data, name)
        data = pack_bytes(pack)
        (folder / "packs" / f"{name}.pack").write_bytes(data)
        total += len(data)
        print(
            f"{name}: {len(pack.questions)} questions, {len(pack.models)} models, {len(pack.arrays['model'])} answers, {len(data):,} bytes"
        )
    print(f"{total:,} bytes in all")
    return 0


def write_constants(data: Path, target: Path) -> None:
    """Fit everything that data/same_prompt.npz holds."""
    selected, projection = fit_style(data, SEED)

    def project(style: Floats) -> Floats:
        return np.asarray(style[:, selected] @ projection.astype(np.float32))

    main_table = read_table(data, "misguided_attention", PACKS["misguided-attention"]["dimensions"], project)
    constants = fit(main_table, shifted_tables(data, project), SEED)
    arrays: dict[str, Any] = {"selected": selected, "projection": projection}
    arrays |= {key: np.asarray(value) for key, value in asdict(constants).items()}
    with target.open("wb") as file:
        np.savez_compressed(file, **arrays)


def shifted_tables(data: Path, project: Any, models: tuple[str, ...] = SHIFTED_MODELS) -> list[Table]:
    """Corpora in which the same weights answer under several settings: reasoning efforts in Korean, concise and verbose in English."""

    def kept(record: dict[str, Any]) -> bool:
        chosen = int(text_digest(str(record["prompt_id"])), 16) % _ALPACA_SHARE == 0
        plain = record.get("setting") not in ("concise", "verbose") or record["model"] in models
        return chosen and plain and record.get("kind") in ("raw", "finetune")

    efforts = read_table(data, "arena_hard_ko", _CONTENT_DIMENSIONS, project, _some_questions, named_setting, 600)
    return [efforts, read_table(data, "alpaca_eval", _CONTENT_DIMENSIONS, project, kept, named_setting)]


def named_setting(record: dict[str, Any]) -> str:
    """A model's name in its source with its setting."""
    return f"{record['model']}/{record.get('setting') or ''}"


def _some_questions(record: dict[str, Any]) -> bool:
    return int(text_digest(str(record["prompt_id"])), 16) % 3 == 0


def corpus_pack(data: Path, name: str) -> Pack:
    """One of PACKS from its corpus: the shortest questions that most models answered."""
    told = PACKS[name]
    records = [r for r in read_corpus(data, told["corpus"]) if len(str(r["response"]).strip()) >= LEAST_CHARACTERS]
    prompts = read_prompts(data, told["corpus"])
    questions = _questions(name, told, records, prompts)
    asked = {question.id for question in questions}
    records = [record for record in records if record["prompt_id"] in asked and record["turn"] == 0]
    names = _names(records)
    answers: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for record in records:
        answers[record["prompt_id"], names[_own_name(record)]].append(str(record["response"]))
    described = {names[_own_name(r)]: (str(r["family"]), str(r.get("base") or r["base_family"]), weights_class(r)) for r in records}
    samples = Counter(names[_own_name(record)] for record in records)
    models = [PackModel(each, *described[each], samples[each]) for each in sorted(described)]
    source = question_sources.source(name)
    origin = f"recorded answers published with {source.repository}, gathered and sketched {CREATED}"
    return build_pack(
        name, VERSION, CREATED, questions, answers, models, origin, source.licence, EXPIRES[name], told["dimensions"]
    )  # fmt: skip


def _questions(name: str, told: dict[str, Any], records: list[dict[str, Any]], prompts: dict[str, str]) -> list[Question]:
    models: defaultdict[str, set[str]] = defaultdict(set)
    for record in records:
        if hash_id(record) == f"{record['prompt_id']}/0":
            models[record["prompt_id"]].add(record["model"])
    most = max(map(len, models.values()))
    usable = [each for each in prompts if len(models.get(each, ())) >= max(LEAST_MODELS, most / 2)]
    chosen = sorted(usable, key=lambda each: (len(prompts[each]), each))[: told["questions"]]
    return [
        Question(
            each, text_digest(prompts[each]), "open", told["language"], None, question_sources.source(name, each), told["tokens"], None
        )
        for each in sorted(chosen)
    ]


def _own_name(record: dict[str, Any]) -> str:
    """The model's name in its source, with the setting where one name stands for several."""
    setting = str(record.get("setting") or "")
    return f"{record['model']} ({setting})" if setting == "thinking" else str(record["model"])


def _names(records: list[dict[str, Any]]) -> dict[str, str]:
    """Own name -> the catalog's spelling where it means one of them alone, else the own one."""
    own = sorted({_own_name(record) for record in records})
    found = {name: catalog.find(name) for name in own}
    meant = Counter(model.name for model in found.values() if model is not None)
    return {name: model.name if model is not None and meant[model.name] == 1 else name for name, model in found.items()}
