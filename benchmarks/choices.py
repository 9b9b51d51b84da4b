"""Which model is it, from 10, 20 or 50 free choices, and is a claim to be rejected? For each seed every model's recorded answers are
split in halves: one builds the reference through `build_pack`, from the other test answers are drawn without replacement. Nothing is
fitted on the test half; the plain Dirichlet(.1) classifier runs beside ours on the same draws. `genuine` halves and `impostors` meet the
permutation test at a nominal 1 %, and the e-value that decides (threshold 100, looked at after every fifth answer). Intervals
resample models."""

from __future__ import annotations

import errno
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fingerprints import catalog, pack_sources
from fingerprints.choice_bets import bets
from fingerprints.choice_model import Array, Counts, Predictive, log_likelihoods
from fingerprints.choice_tests import SameModel
from fingerprints.choices import build_pack, reference
from fingerprints.packs import PackModel
from fingerprints.questions import Question

SEEDS = 200
SIZES = (10, 20, 50)
DRAWS = 5
"""Test draws per seed, model and size for attribution."""
GENUINE_TRIALS = 50
"""Per seed and model: 10,000 a model at SEEDS."""
IMPOSTOR_SEEDS = 8
"""Seeds with one trial for every ordered pair of models."""
E_VALUE_SEEDS = 2
E_VALUE_TRIALS = 500
"""Genuine trials per seed and model for the e-value; each takes 50 answers and may stop at any look."""
E_THRESHOLD = 100.0
LOOK_EVERY = 5
"""Answers between looks at the e-value."""
NOMINAL = 0.01
PERMUTATIONS, EXCEEDANCES = 199, 2
"""At 1 %, a p-value is decided once two of 199 reassignments are as extreme."""
LEAST = 2 * max(SIZES)
"""Recorded answers that a model needs to be split."""
RESAMPLES = 2_000


@dataclass(frozen=True, slots=True)
class _Split:
    reference: Counts
    expected: Predictive
    test: list[Counts]


def run(data: Path | None = None, seed: int = 0, limit: int | None = None) -> dict[str, Any]:
    """`limit` seeds instead of SEEDS. Raises FileNotFoundError without the recorded answers."""
    if data is None or not (data / "number-picks.json").is_file():
        raise FileNotFoundError(errno.ENOENT, "no recorded choices", "number-picks.json (--data)")
    recorded = pack_sources.read({"number-picks.json": (data / "number-picks.json").read_bytes()}, "number-picks")
    question = recorded.questions[0]
    texts = {name: answers for (_, name), answers in recorded.answers.items() if len(answers) >= LEAST}
    names = sorted(texts)
    vendors = np.array([_vendor(name) for name in names])
    seeds = limit or SEEDS
    size = len(names)
    hits = {kind: {n: np.zeros(size) for n in SIZES} for kind in ("ours", "vendor", "plain")}
    genuine = np.zeros(size)
    pairs, e_pairs, e_false, e_rounds = np.zeros((size, size)), np.zeros((size, size)), np.zeros(size), 0
    for number in range(seeds):
        rng = np.random.default_rng([seed, number])
        split = _split(question, names, texts, rng)
        for n in SIZES:
            drawn = np.array([np.bincount(_draw(each, n, rng), minlength=split.reference.shape[1]) for each in split.test * DRAWS])
            true = np.tile(np.arange(size), DRAWS)
            ours = log_likelihoods(split.expected, drawn)[:, :-1].argmax(1)
            plain = _plain(split.reference, drawn).argmax(1)
            for kind, right in (("ours", ours == true), ("vendor", vendors[ours] == vendors[true]), ("plain", plain == true)):
                hits[kind][n] += right.reshape(DRAWS, size).sum(0) / (DRAWS * seeds)
        for claimed in range(size):
            test = SameModel.of([split.reference], [(1, split.reference.shape[1])], claimed, [m for m in range(size) if m != claimed])
            halves, posed = _halves(split, claimed, rng)
            genuine[claimed] += (test.compare([posed], [halves], rng, PERMUTATIONS, EXCEEDANCES) <= NOMINAL).mean() / seeds
            if number < IMPOSTOR_SEEDS:
                posed = np.stack([_draw(each, max(SIZES), rng) for each in split.test])
                pairs[claimed] += test.p_values([posed], rng, PERMUTATIONS, EXCEEDANCES) <= NOMINAL
        if number < E_VALUE_SEEDS:
            e_rounds += 1
            _e_values(split, rng, e_false, e_pairs)
    off = ~np.eye(size, dtype=bool)
    pairs /= min(seeds, IMPOSTOR_SEEDS)
    e_pairs /= e_rounds
    worst = np.unravel_index(np.where(off, pairs, 2).argmin(), pairs.shape)
    per_size = {str(n): n for n in SIZES}
    resampled = np.random.default_rng(seed).integers(size, size=(RESAMPLES, size))
    gain = {n: hits["ours"][n] - hits["plain"][n] for n in SIZES}
    return {
        "models": size,
        "seeds": seeds,
        "model_accuracy": {key: float(hits["ours"][n].mean()) for key, n in per_size.items()},
        "baseline_accuracy": {key: float(hits["plain"][n].mean()) for key, n in per_size.items()},
        "vendor_accuracy": {key: float(hits["vendor"][n].mean()) for key, n in per_size.items()},
        "model_accuracy_95": {key: _interval(hits["ours"][n], resampled) for key, n in per_size.items()},
        "gain_95": {key: _interval(gain[n], resampled) for key, n in per_size.items()},
        "worst_genuine_rejection_at_1pct": float(genuine.max()),
        "worst_genuine": names[int(genuine.argmax())],
        "mean_genuine_rejection_at_1pct": float(genuine.mean()),
        "genuine_trials_per_model": seeds * GENUINE_TRIALS,
        "impostors_rejected_at_50": {
            "mean": float(pairs[off].mean()),
            "worst_pair": float(pairs[worst]),
            "worst_pair_claim": names[int(worst[0])],
            "worst_pair_served": names[int(worst[1])],
            "trials_per_pair": min(seeds, IMPOSTOR_SEEDS),
            "mean_95": _interval(pairs.sum(1) / max(size - 1, 1), resampled),
        },
        "e_value": {
            "worst_genuine_rejection": float((e_false / (e_rounds * E_VALUE_TRIALS)).max()),
            "mean_genuine_rejection": float((e_false / (e_rounds * E_VALUE_TRIALS)).mean()),
            "genuine_trials_per_model": e_rounds * E_VALUE_TRIALS,
            "impostors_rejected_by_50": float(e_pairs[off].mean()),
        },
        "least_accurate": {names[m]: float(hits["ours"][max(SIZES)][m]) for m in np.argsort(hits["ours"][max(SIZES)])[:3]},
    }


def _split(question: Question, names: list[str], texts: dict[str, list[str]], rng: np.random.Generator) -> _Split:
    """One half of each model's answers as a pack's counts, the other as categories."""
    halves: dict[tuple[str, str], list[str]] = {}
    rest: list[list[str]] = []
    for name in names:
        order = rng.permutation(len(texts[name]))
        middle = len(order) // 2
        halves[question.id, name] = [texts[name][i] for i in order[:middle]]
        rest.append([texts[name][i] for i in order[middle:]])
    models = [PackModel(name, name, name, name, 1) for name in names]
    pack = build_pack("half", "1", "2026-01-01", [question], halves, models, "benchmark", "none", None)
    (rule,), (counts,), (expected,) = reference(pack)
    kinds = {text: rule.category(text) for each in rest for text in set(each)}
    test = [np.array([kinds[text] for text in each if kinds[text] < rule.size - 1], dtype=np.int64) for each in rest]
    return _Split(counts, expected, test)


def _halves(split: _Split, claimed: int, rng: np.random.Generator) -> tuple[Counts, Counts]:
    """GENUINE_TRIALS fresh splits of one model's answers: halves for the reference, and test answers from the other halves.

    A split of its own for each trial: trials that share a reference would share its luck, and 200 splits estimate 1 % poorly."""
    whole = np.concatenate([np.repeat(np.arange(split.reference.shape[1]), split.reference[claimed]), split.test[claimed]])
    mixed = rng.permuted(np.broadcast_to(whole, (GENUINE_TRIALS, len(whole))), axis=1)
    middle = len(whole) // 2
    return mixed[:, :middle], mixed[:, middle : middle + max(SIZES)]


def _draw(answers: Counts, n: int, rng: np.random.Generator) -> Counts:
    return rng.choice(answers, n, replace=len(answers) < n)


def _plain(reference_counts: Counts, drawn: Counts) -> Array:
    """(B, M): Dirichlet(.1) posterior predictive of each draw, as the publisher's judge and most peers compute it."""
    pseudo = reference_counts + 0.1
    out = np.zeros((len(drawn), len(pseudo)))
    for already in range(int(drawn.max())):
        out = out + (drawn > already).astype(np.float64) @ np.log(pseudo + already).T
    n = int(drawn[0].sum())
    logs: Array = out - np.log(pseudo.sum(1)[:, None] + np.arange(n)).sum(1)
    return logs


def _e_values(split: _Split, rng: np.random.Generator, false: Array, caught: Array) -> None:
    """Add, per model, genuine trials that ever reach the threshold, and per pair whether an impostor does within 50 answers."""
    size, n = len(split.test), max(SIZES)
    for claimed in range(size):
        odds = bets([split.expected], claimed, [m for m in range(size) if m != claimed])
        trials = [_draw(split.test[claimed], n, rng) for _ in range(E_VALUE_TRIALS)] + [_draw(each, n, rng) for each in split.test]
        drawn = np.stack(trials)
        ever = np.max([odds.log_e([drawn[:, :stop]]) for stop in range(LOOK_EVERY, n + 1, LOOK_EVERY)], axis=0)
        reached = ever >= math.log(E_THRESHOLD)
        false[claimed] += reached[:E_VALUE_TRIALS].sum()
        caught[claimed] += reached[E_VALUE_TRIALS:]


def _vendor(name: str) -> str:
    found = catalog.find(name)
    return found.vendor if found is not None else name.split("/")[-1].split("-")[0].casefold()


def _interval(values: Array, resampled: Counts) -> list[float]:
    """95 % interval of the mean over models, by resampling models."""
    low, high = np.quantile(values[resampled].mean(1), (0.025, 0.975))
    return [float(low), float(high)]


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    rows = [
        f"| {n} | {result['model_accuracy'][n]:.3f} | {low:.3f} to {high:.3f} | {result['baseline_accuracy'][n]:.3f} | "
        f"{result['gain_95'][n][0]:+.3f} to {result['gain_95'][n][1]:+.3f} | {result['vendor_accuracy'][n]:.3f} |"
        for n, (low, high) in result["model_accuracy_95"].items()
    ]
    posed, cautious = result["impostors_rejected_at_50"], result["e_value"]
    return "\n".join(
        [
            f"{result['models']} models, {result['seeds']} splits.",
            "",
            "| answers | exact model | 95 % | plain Dirichlet(.1) | gain, 95 % | vendor |",
            "|---|---|---|---|---|---|",
            *rows,
            "",
            f"Test at 1 %: genuine halves rejected in {result['mean_genuine_rejection_at_1pct']:.4f}, worst "
            f"{result['worst_genuine_rejection_at_1pct']:.4f} ({result['worst_genuine']}), {result['genuine_trials_per_model']} trials a "
            f"model; impostors at 50 answers in {posed['mean']:.4f}, worst pair {posed['worst_pair']:.2f} "
            f"({posed['worst_pair_served']} as {posed['worst_pair_claim']}).",
            "",
            f"E-value at 100, looked at after every fifth answer: genuine in {cautious['mean_genuine_rejection']:.4f}, worst "
            f"{cautious['worst_genuine_rejection']:.4f} ({cautious['genuine_trials_per_model']} trials a model); impostors within 50 "
            f"answers in {cautious['impostors_rejected_by_50']:.3f}.",
        ]
    )
