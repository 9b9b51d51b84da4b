"""`python -m benchmarks shifts --data DIR`: how often changed settings of the same weights raise the style e-value of a pack of few models,
as after `truename enroll`, and how often another model's answers do.

DIR as ../shared/corpora. Every trial draws a claimed model and a rival of another family, their reference answers to nine questions, and
one answer to each that is to be judged: the claimed model's own at the same setting, its own at another setting (thinking on or off,
effort, chain of thought), or the rival's. English: misguided_attention, two references a question (of three answers), beginnings of 250
characters, as 64 tokens give; the bet's two constants were chosen there. Korean: logickor_ko, where nothing was chosen, the two other
settings as references, 130 characters. The bound of that e-value rests on these rows. `--limit` is the number of trials a row (2,000 is
the published figure).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fingerprints import same_prompt_pairs
from fingerprints.build.same_prompt_style import read_corpus, weights_class
from fingerprints.same_prompt_features import LEAST_CHARACTERS, traits
from fingerprints.same_prompt_pack import DIMENSIONS
from fingerprints.same_prompt_references import Floats

TRIALS = 2_000
QUESTIONS = 9
REFERENCES = 2
CHARACTERS = {"misguided_attention": 250, "logickor_ko": 130}
LEVELS = (3, 10, 30, 100)
KINDS = ("same setting", "another setting", "another model")
_MOST_DRAWS = 1_000

Answers = Mapping[str, Floats]
"""Question -> sketches of one model's answers at one setting."""


def run(data: Path | None = None, seed: int = 0, limit: int | None = None) -> dict[str, Any]:
    """Per corpus and kind of answer: trials, and the shares whose e-value reaches LEVELS."""
    folder = data or Path("../shared/corpora")
    rows: dict[str, Any] = {}
    for corpus, draw in (("misguided_attention", _english), ("logickor_ko", _korean)):
        answers, families = _read(folder, corpus)
        for kind in KINDS:
            rng = np.random.default_rng(seed)
            logs = [told for _ in range(limit or TRIALS) if (told := _trial(draw, kind, answers, families, rng)) is not None]
            if logs:
                rows[f"{corpus}: {kind}"] = {"trials": len(logs)} | {str(each): _share(logs, each) for each in LEVELS}
    return {"questions": QUESTIONS, "rows": rows}


def _read(folder: Path, corpus: str) -> tuple[dict[tuple[str, str], Answers], dict[str, str]]:
    """(weights, setting) -> answers by question, and the family of each weights."""
    records = [r for r in read_corpus(folder, corpus) if r["turn"] in (0, None) and len(str(r["response"]).strip()) >= LEAST_CHARACTERS]
    sketches = traits([str(r["response"]) for r in records], DIMENSIONS, CHARACTERS[corpus]).content
    found: defaultdict[tuple[str, str], defaultdict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
    families = {}
    for record, sketch in zip(records, sketches, strict=True):
        weights = weights_class(record)
        families[weights] = str(record["family"])
        setting = record["setting"] if corpus == "logickor_ko" else ""  # elsewhere it names the file that the answer came in
        found[weights, f"{record['model']}/{setting}"][str(record["prompt_id"])].append(sketch)
    return {key: {name: np.stack(each) for name, each in of.items()} for key, of in found.items()}, families


Drawn = tuple[dict[str, Floats], dict[str, Floats], dict[str, Floats]]
"""The claimed model's references, the rival's, and the answers that are judged, by question."""


def _trial(
    draw: Callable[..., Drawn | None],
    kind: str,
    answers: Mapping[tuple[str, str], Answers],
    families: dict[str, str],
    rng: np.random.Generator,
) -> float | None:
    keys = sorted(answers)
    for _ in range(_MOST_DRAWS):
        claimed, rival = keys[rng.integers(len(keys))], keys[rng.integers(len(keys))]
        if families[claimed[0]] == families[rival[0]] or (drawn := draw(kind, answers, claimed, rival, rng)) is None:
            continue
        own, other, fresh = drawn
        common = sorted(set(own) & set(other) & set(fresh))
        if len(common) < QUESTIONS:
            continue
        asked = [common[i] for i in rng.permutation(len(common))[:QUESTIONS]]
        return same_prompt_pairs.against([own[q] for q in asked], [[other[q]] for q in asked], [fresh[q] for q in asked])
    return None


def _english(
    kind: str, answers: Mapping[tuple[str, str], Answers], claimed: tuple[str, str], rival: tuple[str, str], rng: np.random.Generator
) -> Drawn | None:
    """REFERENCES each; the answer is a further one, of another setting of the same weights, or of the rival."""
    judged = {"same setting": claimed, "another model": rival}.get(kind)
    if judged is not None and sum(len(each) > REFERENCES for each in answers[judged].values()) < QUESTIONS:
        return None
    mixed = {name: each[rng.permutation(len(each))] for name, each in answers[claimed].items()}
    own = {name: each[:REFERENCES] for name, each in mixed.items() if len(each) >= REFERENCES}
    other = {name: each[:REFERENCES] for name, each in answers[rival].items() if len(each) >= REFERENCES}
    further = {name: each[REFERENCES : REFERENCES + 1] for name, each in mixed.items() if len(each) > REFERENCES}
    if kind == "same setting":
        return own, other, further
    if kind == "another model":
        return own, other, {name: each[-1:] for name, each in answers[rival].items() if len(each) > REFERENCES}
    settings = [key for key in sorted(answers) if key[0] == claimed[0] and key != claimed]
    return (own, other, dict(answers[settings[rng.integers(len(settings))]])) if settings else None


def _korean(
    kind: str, answers: Mapping[tuple[str, str], Answers], claimed: tuple[str, str], rival: tuple[str, str], rng: np.random.Generator
) -> Drawn | None:
    """References of two settings; the answer is of the third, the claimed model's own or the rival's."""
    if kind == "same setting":
        return None  # one answer a setting was recorded
    settings = sorted({key[1].rpartition("/")[2] for key in answers})
    judged = settings[rng.integers(len(settings))]
    held = [_settings_of(answers, each) for each in (claimed, rival)]
    if not all(set(settings) <= set(each) for each in held):
        return None
    own, other = (_stacked([each[name] for name in settings if name != judged]) for each in held)
    return own, other, dict(held[1 if kind == "another model" else 0][judged])


def _settings_of(answers: Mapping[tuple[str, str], Answers], of: tuple[str, str]) -> dict[str, Answers]:
    name = of[1].rpartition("/")[0]
    return {key[1].rpartition("/")[2]: each for key, each in answers.items() if key[0] == of[0] and key[1].rpartition("/")[0] == name}


def _stacked(parts: list[Answers]) -> dict[str, Floats]:
    return {name: np.concatenate([part[name][:1] for part in parts]) for name in parts[0] if all(name in part for part in parts)}


def _share(logs: list[float], level: int) -> float:
    return sum(log_e >= math.log(level) - 1e-9 for log_e in logs) / len(logs)


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    lines = ["| answers | trials | " + " | ".join(f"e >= {each}" for each in LEVELS) + " |", "|---|---|" + "---|" * len(LEVELS)]
    for name, row in result["rows"].items():
        lines.append(f"| {name} | {row['trials']} | " + " | ".join(f"{row[str(each)]:.4f}" for each in LEVELS) + " |")
    return "\n".join(lines)
