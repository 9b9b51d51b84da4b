"""Which model wrote the answers to the same open questions: exact model, family, family of a version that the references lack, unknown.

`--data` is a folder of response corpora; references come from other samples of the same models there, weights and calibration ship.
Attribution is closed-set except where a field says unknown. Models weigh the same, in a macro figure families; intervals (95 %) resample
the one or the other.
"""

from __future__ import annotations

import errno
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.style_audits import DRAWS, Audit, against, audits, shifted, tested
from benchmarks.style_baselines import baselines
from benchmarks.style_transfer import run_transfer, transfer_table
from fingerprints.build.same_prompt import PACKS, named_setting
from fingerprints.build.same_prompt_fit import developed
from fingerprints.build.same_prompt_style import read_corpus
from fingerprints.build.same_prompt_trials import (
    Compared,
    Mask,
    Table,
    compare,
    draw,
    known_comparisons,
    macro,
    read_table,
    unseen_families,
    unseen_versions,
)
from fingerprints.same_prompt_decide import Judged, judge, known_log_odds, shipped
from fingerprints.same_prompt_features import LEAST_CHARACTERS, traits
from fingerprints.same_prompt_pack import projected
from fingerprints.same_prompt_references import near

SAME_PROMPT = "misguided_attention"
SIZES = (1, 5, 10, 20)
_BINS = 10
_MISSED = 0.5
"""Share of an unseen version's audits that name its family, below which it is listed."""
_SPEED_ANSWERS = 300
_SAME_PROMPT_FIELDS = (
    *("same_prompt", "unknown_detected_at_5pct", "unknown_detected_as_shipped", "known_called_unknown", "ece"),
    *("held_out_half", "baselines", "against_claim", "answers_per_second", "models", "questions"),
)


def run(data: Path | None, seed: int = 0, limit: int | None = None) -> dict[str, Any]:
    """The fields of the contract; `limit` keeps that many questions of misguided_attention.

    Each part needs its corpora: without misguided_attention `same_prompt` and what belongs to it are None. Raises FileNotFoundError
    where the folder holds no corpus at all."""
    if data is None:
        raise FileNotFoundError(errno.ENOENT, "no --data", f"{SAME_PROMPT}.jsonl.gz")
    rng = np.random.default_rng(seed)
    result = _same_prompt(data, limit, rng) if (data / f"{SAME_PROMPT}.jsonl.gz").is_file() else dict.fromkeys(_SAME_PROMPT_FIELDS)
    result["korean"] = {"logickor_settings": _corpus(data, "logickor_ko", rng), "arena_hard_ko": _corpus(data, "arena_hard_ko", rng)}
    return result | run_transfer(data, seed, limit)


def _same_prompt(data: Path, limit: int | None, rng: np.random.Generator) -> dict[str, Any]:
    table = read_table(data, SAME_PROMPT, PACKS["misguided-attention"]["dimensions"], projected, _first(data, limit))
    every, held = np.ones(len(table.questions), bool), ~developed(table.questions)
    known, versions, families = list(known_comparisons(table)), list(unseen_versions(table)), list(unseen_families(table))
    result = _rows(table, known, versions, families, every, rng)
    result["held_out_half"] = _rows(table, known, versions, families, held, rng)
    result["baselines"] = _baselines(data, table, known, _first(data, limit), rng)
    result["against_claim"] = against(table, known, held, rng) | {"shifted": shifted(data, rng)}
    return result | {"answers_per_second": _speed(data, table), "models": len(table.models), "questions": len(table.questions)}


def table(result: dict[str, Any]) -> str:
    """The result in Markdown."""
    lines = _same_prompt_lines(result) if result["same_prompt"] is not None else [f"Same prompts: not run, {SAME_PROMPT} is not here."]
    lines += ["", "| Korean, 10 answers | exact model | family | family of an unseen version |", "|---|---|---|---|"]
    for name, row in result["korean"].items():
        if row is not None:
            korean = [_cell(row[key], row[f"{key}_interval"]) for key in ("model", "family", "family_unseen_version")]
            lines.append(f"| {name} | {' | '.join(korean)} |")
    return "\n".join([*lines, "", transfer_table(result)])


def _same_prompt_lines(result: dict[str, Any]) -> list[str]:
    lines = ["| answers | exact model | family | macro family | family of an unseen version |", "|---|---|---|---|---|"]
    for name, rows in (
        ("", result["same_prompt"]),
        (" (held-out half of the questions)", result["held_out_half"]["same_prompt"]),
        *((f" (baseline: {name})", rows) for name, rows in result["baselines"].items()),
    ):
        for size, row in rows.items():
            cells = " | ".join(
                _cell(row.get(key), row.get(f"{key}_interval")) for key in ("model", "family", "macro_family", "family_unseen_version")
            )
            lines.append(f"| {size}{name} | {cells} |")
    lines += ["", "| at 10 answers | all questions | held-out half |", "|---|---|---|"]
    for label, key in (
        ("unseen family called unknown, at 5 % false alarms", "unknown_detected_at_5pct"),
        ("the same at the threshold that ships", "unknown_detected_as_shipped"),
        ("false alarms at that threshold", "known_called_unknown"),
        ("calibration error", "ece"),
    ):
        halves = [_cell(each[key], each.get(f"{key}_interval")) for each in (result, result["held_out_half"])]
        lines.append(f"| {label} | {' | '.join(halves)} |")
    missed = result["same_prompt"]["10"]["unseen_missed"]
    lines += ["", f"Unseen versions whose family is missed in most draws of 10 answers (all questions): {', '.join(missed) or 'none'}."]
    lines += ["", "| claim | audits | e ≥ 10 | e ≥ 100 |", "|---|---|---|---|"]
    for name, row in _flat(result["against_claim"]):
        lines.append(f"| {name} | {row['audits']} | {_cell(row['e10'])} | {_cell(row['e100'])} |")
    speed = f"{result['answers_per_second']:.0f} answers a second; {result['models']} models, {result['questions']} questions."
    return [*lines, "", speed]


def _cell(value: float | None, interval: Sequence[float] | None = None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" + (f" ({interval[0]:.3f}–{interval[1]:.3f})" if interval else "")


def _flat(rows: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    flat = [(name, row) for name, row in rows.items() if name != "shifted"]
    return flat + [(f"{name} (genuine, other setting)", row) for name, row in (rows["shifted"] or {}).items()]


def _first(data: Path, limit: int | None) -> Any:
    """A filter for the first `limit` questions by id."""
    if limit is None:
        return lambda record: True
    chosen = set(sorted({record["prompt_id"] for record in read_corpus(data, SAME_PROMPT)})[:limit])
    return lambda record: record["prompt_id"] in chosen


def _rows(
    table: Table, known: list[Compared], versions: list[Compared], families: list[Compared], allowed: Mask, rng: np.random.Generator
) -> dict[str, Any]:
    """Everything on the questions `allowed`."""
    genuine, unseen, strangers = (audits(table, group, SIZES, allowed, rng) for group in (known, versions, families))
    unseen = [audit for audit in unseen if _has_sibling(table, audit)]
    rows: dict[str, Any] = {}
    for size in SIZES:
        rows[str(size)] = _closed(table, [a for a in genuine if a[1].answers == size], [a for a in unseen if a[1].answers == size], rng)
    constants = shipped()
    odds = [(model, known_log_odds(p, table.families, constants)) for model, p in genuine if p.answers == 10]
    foreign = [(model, known_log_odds(p, table.families, constants)) for model, p in strangers if p.answers == 10]
    limit = np.quantile([value for _, value in odds], 0.05) if odds else -np.inf
    shipped_limit = float(np.interp(10, *constants.rejection))
    detected, interval = _macro([(table.families[m], float(value < limit)) for m, value in foreign], rng)
    detected_as_shipped, _ = _macro([(table.families[m], float(value < shipped_limit)) for m, value in foreign], rng)
    return {
        "same_prompt": rows,
        "unknown_detected_at_5pct": detected,
        "unknown_detected_at_5pct_interval": interval,
        "unknown_detected_as_shipped": detected_as_shipped,
        "known_called_unknown": float(np.mean([value < shipped_limit for _, value in odds])) if odds else None,
        "ece": _calibration(table, genuine, strangers),
    }


def _has_sibling(table: Table, audit: Audit) -> bool:
    """Whether another version of the family answered the questions of this audit at all."""
    model, pooled = audit
    there = np.isfinite(pooled.cosine)
    return any(
        bool(there[place]) and family == table.families[model] and table.classes[place] != table.classes[model]
        for place, family in enumerate(table.families)
    )


def _closed(table: Table, genuine: list[Audit], unseen: list[Audit], rng: np.random.Generator) -> dict[str, Any]:
    """Shares of audits whose best candidate is right."""
    model_hits = [(m, float(table.classes[int(p.total.argmax())] == table.classes[m])) for m, p in genuine]
    family_hits = [(m, float(table.families[int(p.total.argmax())] == table.families[m])) for m, p in genuine]
    version_hits = [(m, float(table.families[int(p.total.argmax())] == table.families[m])) for m, p in unseen]
    row: dict[str, Any] = {}
    for name, hits in (("model", model_hits), ("family", family_hits), ("family_unseen_version", version_hits)):
        row[name], row[f"{name}_interval"] = _mean(hits, rng)
    by_model = [(table.families[m], hit) for m, hit in _per_model(family_hits).items()]
    row["macro_family"], row["macro_family_interval"] = _macro(by_model, rng)
    row["unseen_missed"] = sorted(table.models[m] for m, share in _per_model(version_hits).items() if share < _MISSED)
    row["models"], row["audits"] = len({m for m, _ in genuine}), len(genuine)
    return row


def _macro(hits: Sequence[tuple[str, float]], rng: np.random.Generator) -> tuple[float | None, list[float] | None]:
    """Mean over families of each one's mean, and its 95 % interval from resampling families."""
    values = np.array([macro([hit for hit in hits if hit[0] == family]) for family in sorted({family for family, _ in hits})])
    if not len(values):
        return None, None
    means = rng.choice(values, (1000, len(values))).mean(axis=1)
    return float(values.mean()), [float(each) for each in np.quantile(means, [0.025, 0.975])]


def _per_model(hits: Iterable[tuple[int, float]]) -> dict[int, float]:
    groups: defaultdict[int, list[float]] = defaultdict(list)
    for model, hit in hits:
        groups[model].append(hit)
    return {model: float(np.mean(values)) for model, values in groups.items()}


def _mean(hits: Sequence[tuple[int, float]], rng: np.random.Generator) -> tuple[float | None, list[float] | None]:
    """Mean over models and its 95 % interval from resampling models."""
    values = np.array(list(_per_model(hits).values()))
    if not len(values):
        return None, None
    means = rng.choice(values, (1000, len(values))).mean(axis=1)
    return float(values.mean()), [float(each) for each in np.quantile(means, [0.025, 0.975])]


def _calibration(table: Table, genuine: list[Audit], strangers: list[Audit]) -> float | None:
    """Expected calibration error of the highest posterior (a class of weights, or unknown), genuine and foreign audits weighing alike."""
    rows = [(*_claimed(table, judge(p, table.families), m), 0.5 / max(len(genuine), 1)) for m, p in genuine]
    rows += [(*_claimed(table, judge(p, table.families), None), 0.5 / max(len(strangers), 1)) for m, p in strangers]
    if not rows:
        return None
    confidence, right, weight = np.array(rows).T
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    gaps = [abs(float((weight * (right - confidence))[bins == each].sum())) for each in range(_BINS)]
    return float(sum(gaps) / weight.sum())


def _claimed(table: Table, judged: Judged, truth: int | None) -> tuple[float, float]:
    """(posterior of the likeliest class or unknown, whether it is right)."""
    shares: defaultdict[str, float] = defaultdict(float)
    for name, value in zip(table.classes, judged.log_likelihood, strict=True):
        shares[name] += float(np.exp(value))
    shares[""] = float(np.exp(judged.unknown))
    best = max(shares, key=lambda name: shares[name])
    return shares[best] / sum(shares.values()), float(best == ("" if truth is None else table.classes[truth]))


def _corpus(data: Path, corpus: str, rng: np.random.Generator) -> dict[str, Any] | None:
    """Ten answers of another corpus: exact model where it holds several answers to a question, and unseen versions."""
    korean = PACKS["arena-hard-ko"]
    try:
        one = read_table(
            data, corpus, korean["dimensions"], projected, name=_plain if corpus == "logickor_ko" else named_setting, characters=600
        )
    except FileNotFoundError:
        return None
    genuine = audits(one, known_comparisons(one), (10,), None, rng)
    unseen = [audit for audit in audits(one, unseen_versions(one), (10,), None, rng) if _has_sibling(one, audit)]
    return _closed(one, genuine, unseen, rng)


def _plain(record: dict[str, Any]) -> str:
    return str(record["model"])


def _baselines(data: Path, table: Table, known: list[Compared], keep: Any, rng: np.random.Generator) -> dict[str, Any]:
    records = read_corpus(data, SAME_PROMPT)
    texts = [str(r["response"]) for r in records if len(str(r["response"]).strip()) >= LEAST_CHARACTERS and keep(r)]
    often = tested(table)
    made: dict[str, Any] = {}
    for name, similarity in baselines(table, texts).items():
        rows: dict[str, Any] = {}
        for size in SIZES:
            right: list[tuple[int, float]] = []
            family: list[tuple[int, float]] = []
            for one in known:
                for model, _, chosen in draw(table, one, (size,), DRAWS, rng):
                    if model not in often:
                        continue
                    picked = similarity[one.row[chosen]]
                    best = int(np.where(np.isfinite(picked), picked, -1 if size == 1 else 0).sum(axis=0).argmax())
                    right.append((model, float(table.classes[best] == table.classes[model])))
                    family.append((model, float(table.families[best] == table.families[model])))
            by_model = [(table.families[m], hit) for m, hit in _per_model(family).items()]
            rows[str(size)] = {"model": _mean(right, rng)[0], "family": _mean(family, rng)[0], "macro_family": macro(by_model)}
        made[name] = rows
    return made


def _speed(data: Path, table: Table) -> float:
    """Answers a second on one core, from text to pooled scores, against references that are ready."""
    records = read_corpus(data, SAME_PROMPT)[:_SPEED_ANSWERS]
    texts = [str(record["response"]) for record in records]
    compared = compare(table, np.ones(len(table.rank), bool), table.rank == 0)
    ready = next(place for place, one in enumerate(compared.references.questions) if one is not None)
    began = time.process_time()
    for start in range(0, len(texts), 10):
        found = traits(texts[start : start + 10], PACKS["misguided-attention"]["dimensions"])
        near(compared.references, ready, found.content, projected(found.style))
    return len(texts) / (time.process_time() - began)
