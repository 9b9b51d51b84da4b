"""Packs of free choices: how often each known model picks each number, word or row of bits when it is asked the same question again.

Takes answers and gives a pack, or a pack and answers and gives a `Scored`. Only statistics of the reference enter (choice_model,
choice_bets, choice_tests); nothing is tuned on the answers under test, and a claim without references is never contradicted.
"""

from __future__ import annotations

import math
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, lru_cache
from importlib import resources
from typing import Any

import numpy as np

from fingerprints.choice_bets import Bets, bets
from fingerprints.choice_categories import Rule, RuleError
from fingerprints.choice_exchange import Exchange, exchange
from fingerprints.choice_model import LEAST_SAMPLES, Array, Counts, Predictive, log_likelihoods, predictive
from fingerprints.choice_tests import SameModel
from fingerprints.pack_claims import claimed_models
from fingerprints.packs import Pack, PackError, PackModel
from fingerprints.questions import Question, text_digest
from fingerprints.scored import UNKNOWN, Scored

UNKNOWN_PRIOR = 0.10
"""Prior probability that the endpoint serves a model that is not among the references."""
SUPPORTS = 0.95
"""Posterior of the claimed model from which its choices support the claim."""
SIBLINGS = 0.01
"""Posterior of all other models of the claimed family below which the choices speak for the model, not only the family."""
STRANGE = 0.01
"""p-value below which choices no longer support a claim."""
LARGE, MANY = 200, 5
"""Recorded answers of the claimed model to each question from which their error is bounded (choice_bets), which lets one question be asked
again and again; with fewer, and from MANY questions on, it is part of the price (choice_exchange) and each is asked once at first."""
MOST_INVALID = 0.5
"""Share of answers without a choice beyond which the rest are too selected to compare."""
# Bounds on a stranger's pack, so that scoring stays within some hundred megabytes.
_MOST_SAMPLES = 100_000
_MOST_CELLS = 2_000_000
_DEFAULT_RULE = Rule("words", 1, 512)
_MOST_INTEGERS = 2_000
_PLAIN_SHARE = 0.9  # of answers that a guessed rule must explain


def score(pack: Pack, answers: Mapping[str, Sequence[str]], claim_model: str | None) -> Scored:
    """Compare `answers` (question id -> texts; ids that the pack does not hold are left aside) with every model of a choices pack.

    The result's `resolution` is "model" where the pack holds siblings of the claim and excludes them. Never raises: a pack that is not
    sound is a reason why nothing can be said."""
    try:
        rules, _, models = _prepared(pack)
    except PackError as error:
        return _nothing(str(error), 0, 0)
    positions = {question.id: i for i, question in enumerate(pack.questions)}
    asked = [positions[name] for name in sorted(answers, key=lambda name: positions.get(name, -1)) if name in positions]
    drawn = [np.array([rules[i].category(text) for text in answers[pack.questions[i].id]], dtype=np.int64) for i in asked]
    valid = [each[each < rules[i].size - 1] for i, each in zip(asked, drawn, strict=True)]
    count, invalid = sum(map(len, valid)), sum(map(len, drawn)) - sum(map(len, valid))
    if not count or invalid > MOST_INVALID * (count + invalid):
        why = f"{invalid} of {count + invalid} answers are no choice" if invalid else "no question of this pack was answered"
        return _nothing(why, count, invalid)
    tables = [np.bincount(each, minlength=rules[i].size - 1)[None] for i, each in zip(asked, valid, strict=True)]
    logs = np.sum([log_likelihoods(models[i], table)[0] for i, table in zip(asked, tables, strict=True)], axis=0)
    posterior = _posterior(logs)
    names = [*(model.name for model in pack.models), UNKNOWN]
    claimed = claimed_models(pack, claim_model)
    judged = [m for m in claimed if any(models[i].samples[m] >= LEAST_SAMPLES for i in asked)]
    log_e, p_value, supports = 0.0, None, False
    siblings: list[int] = []
    if judged:
        rivals = [m for m in range(len(pack.models)) if m not in claimed]
        odds = [_odds(pack, tuple(asked), m, tuple(rivals)) for m in judged]
        sets = [each[None] for each in valid]
        passes = min(len(each) for each in drawn)
        log_e = min(float((bet.log_e(sets, passes) if isinstance(bet, Exchange) else bet.log_e(sets))[0]) for bet, _ in odds)
        p_value = max(float(same.p_values(sets, np.random.default_rng(0))[0]) for _, same in odds)
        supports = bool(posterior[claimed].sum() >= SUPPORTS and p_value >= STRANGE and log_e <= math.log(2))
        family = {pack.models[m].family for m in claimed}
        siblings = [m for m in rivals if pack.models[m].family in family]
    alone = bool(siblings) and bool(posterior[siblings].sum() < SIBLINGS)
    return Scored(
        log_likelihood={name: float(value) for name, value in zip(names, logs, strict=True)},
        log_e=log_e,
        p_value=p_value,
        best=names[int(posterior.argmax())],
        supports_claim=supports,
        resolution="model" if alone else "family",
        answers=count,
        invalid=invalid,
    )


def build_pack(
    name: str,
    version: str,
    created: str,
    questions: Sequence[Question],
    answers: Mapping[tuple[str, str], Sequence[str]],
    models: Sequence[PackModel],
    origin: str,
    licence: str,
    expires: str | None,
    rules: Mapping[str, Any] | None = None,
) -> Pack:
    """A choices pack from `answers` ((question id, model name) -> texts). A model's `samples` are its answers that make a choice; a model
    without any is left out, and so is a question that nobody answered.

    `rules` gives questions their categories by id; without one, our own questions and known published ones have theirs, and others get
    one from what they ask and how they were answered. Smoothing is fitted when the pack is used, from its counts alone. Raises
    PackError where no choice is left or a rule is not sound."""
    given = {question.id: [answers.get((question.id, model.name), ()) for model in models] for question in questions}
    kept = [question for question in questions if any(given[question.id])]
    try:
        chosen = [_rule(question, given[question.id], (rules or {}).get(question.id)) for question in kept]
    except RuleError as error:
        raise PackError(str(error)) from error
    width = max((rule.size for rule in chosen), default=1)
    counts = np.zeros((len(kept), len(models), width), dtype=np.uint32)
    for q, (question, rule) in enumerate(zip(kept, chosen, strict=True)):
        for m, texts in enumerate(given[question.id]):
            for text, times in Counter(texts).items():
                counts[q, m, rule.category(text)] += times
    samples = sum((counts[q, :, : rule.size - 1].sum(1) for q, rule in enumerate(chosen)), start=np.zeros(len(models), dtype=np.int64))
    whole = [m for m in range(len(models)) if samples[m]]
    if not whole:
        raise PackError("none of the answers makes a choice that can be counted")
    return Pack(
        name=name,
        version=version,
        kind="choices",
        created=created,
        expires=expires,
        origin=origin,
        licence=licence,
        questions=tuple(kept),
        models=tuple(replace(models[m], samples=int(samples[m])) for m in whole),
        arrays={"counts": counts[:, whole]},
        extra={"categories": [rule.to_json() for rule in chosen]},
    )


@cache
def own_questions() -> tuple[Question, ...]:
    """Our own questions, in the order in which an enrolment asks them: data/choice_questions.toml.

    All at one temperature below 1, where what servers cut off by default hardly matters (see there), and models still vary."""
    heat = _table()["temperature"]
    return tuple(
        Question(row["id"], text_digest(row["text"]), "choice", row["language"], row["text"], None, row["max_tokens"], heat)
        for row in _table()["question"]
    )


def asks_again(pack: Pack, model: int) -> bool:
    """Whether few questions asked again and again test a claim of this model (position) best: it has LARGE answers to each that it
    answered, or answered fewer than MANY. Raises PackError for an unsound pack."""
    recorded = [answers for each in _prepared(pack)[1] if (answers := int(each[model].sum()))]
    return len(recorded) < MANY or min(recorded) >= LARGE


def reference(pack: Pack) -> tuple[tuple[Rule, ...], tuple[Counts, ...], tuple[Predictive, ...]]:
    """Per question of a choices pack: its rule, its counts (models x choices) and what its models are expected to choose.

    Raises PackError where the pack holds no such counts."""
    return _prepared(pack)


@lru_cache(maxsize=8)
def _prepared(pack: Pack) -> tuple[tuple[Rule, ...], tuple[Counts, ...], tuple[Predictive, ...]]:
    whole = pack.arrays.get("counts")
    listed = pack.extra.get("categories")
    shape = (len(pack.questions), len(pack.models))
    if pack.kind != "choices" or whole is None or whole.ndim != 3 or whole.shape[:2] != shape or whole.dtype.kind not in "iu":
        raise PackError(f"the pack {pack.name} holds no table of choices")
    if not isinstance(listed, list) or len(listed) != len(pack.questions):
        raise PackError(f"the pack {pack.name} does not say what the choices of its questions are")
    try:
        rules = tuple(Rule.from_json(each) for each in listed)
    except RuleError as error:
        raise PackError(f"the pack {pack.name} has {error}") from error
    if any(rule.size > whole.shape[2] for rule in rules) or shape[1] * whole.shape[2] > _MOST_CELLS:
        raise PackError(f"the pack {pack.name} has a table of choices of the wrong size")
    if whole.max(initial=0) > _MOST_SAMPLES or whole.min(initial=0) < 0 or whole.sum(axis=2, dtype=np.float64).max() > _MOST_SAMPLES:
        raise PackError(f"the pack {pack.name} counts more than {_MOST_SAMPLES} answers of one model to one question")
    counts = tuple(whole[q, :, : rule.size - 1].astype(np.int64) for q, rule in enumerate(rules))
    return rules, counts, tuple(predictive(each, rule.interval) for each, rule in zip(counts, rules, strict=True))


def _posterior(logs: Array) -> Array:
    """(M + 1,): posterior with UNKNOWN_PRIOR on the last and equal shares for the others."""
    known = len(logs) - 1
    weighted = logs + np.log(np.append(np.full(known, (1 - UNKNOWN_PRIOR) / known), UNKNOWN_PRIOR))
    odds = np.exp(weighted - weighted.max())
    posterior: Array = odds / odds.sum()
    return posterior


@lru_cache(maxsize=32)
def _odds(pack: Pack, asked: tuple[int, ...], claimed: int, rivals: tuple[int, ...]) -> tuple[Bets | Exchange, SameModel]:
    """Both tests of one claimed model, fixed before any answer: an audit reads the same ones after every round."""
    rules, counts, models = _prepared(pack)
    recorded, intervals = [counts[i] for i in asked], [rules[i].interval for i in asked]
    same = SameModel.of(recorded, intervals, claimed, rivals)
    if asks_again(pack, claimed):
        return bets([models[i] for i in asked], claimed, rivals), same
    return exchange(recorded, intervals, claimed, rivals), same


def _nothing(why: str, count: int, invalid: int) -> Scored:
    return Scored({}, 0.0, None, None, False, "family", count, invalid, why)


def _rule(question: Question, given: Sequence[Sequence[str]], wanted: Any) -> Rule:
    """The rule that was handed in, ours, a published question's, or the one that explains nearly all answers."""
    if wanted is not None:
        return wanted if isinstance(wanted, Rule) else Rule.from_json(wanted)
    if (known := _known_rules().get(question.sha256)) is not None:
        return known
    texts = [text.strip() for each in given for text in each]
    numbers = [int(text) for text in texts if text.isdecimal() and len(text) < 6]
    if numbers and len(numbers) >= _PLAIN_SHARE * len(texts) and 1 <= max(numbers) - min(min(numbers), 1) <= _MOST_INTEGERS:
        return Rule("integers", min(min(numbers), 1), max(numbers), 64)
    letters = sum(len(text) == 1 and text.isascii() and text.isalpha() for text in texts)
    return Rule("letters", 1, 26, 64) if texts and letters >= _PLAIN_SHARE * len(texts) else _DEFAULT_RULE


@cache
def _known_rules() -> dict[str, Rule]:
    table = _table()
    published = {digest: Rule.from_json(rule) for digest, rule in table["published"].items()}
    return published | {text_digest(row["text"]): Rule.from_json(row["rule"]) for row in table["question"]}


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads((resources.files("fingerprints") / "data" / "choice_questions.toml").read_text(encoding="utf-8"))
