"""Packs of knowledge: what each known model answers to short questions of fact, reckoning and reading, at temperature 0.

Takes answers and gives a pack, or a pack and answers and gives a `Scored`. Answers of one audit share their causes (a system prompt, a web
search), so likelihoods are tempered and bounded. Against a claim counts only what the claimed model answers right and the endpoint wrong:
a search or a told date makes a model know more, never less. Nothing here is tuned on the answers under test; no text of them is kept.
"""

from __future__ import annotations

import contextlib
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt

from fingerprints import korean
from fingerprints.knowledge_answers import DECLINED, Form, FormError, key
from fingerprints.pack_claims import claimed_models
from fingerprints.packs import Pack, PackError, PackModel
from fingerprints.questions import Question, text_digest
from fingerprints.scored import UNKNOWN, Scored

Floats = npt.NDArray[np.float64]

MAX_TOKENS = 32
MAX_SAMPLES = 8
"""Recorded answers of one model to one question that are kept: at temperature 0 a second one shows whether it repeats itself."""
LEAST_ANSWERS = 6
"""Answers below which nothing is said."""
STRAY = 0.15
"""Share of a model's answers that may come from anywhere (a system prompt, other arithmetic), so that no single answer excludes it."""
OWN_WORTH = 0.5
"""Answers' worth of the other models that steady one model's own recorded answers."""
NEW_ANSWER = 0.02
"""Chance of one particular answer that no reference has given."""
NEW_WORTH = 2.0
"""Models' worth of never-seen answers in what an unknown model may say."""
TEMPER = 0.5
"""Factor on summed log-likelihoods: what makes one answer differ makes the next one differ too."""
BOUND = math.log(1e3)
UNKNOWN_PRIOR = 0.10
"""Prior probability that the endpoint serves a model that is not among the references."""
SUPPORTS = 0.95
"""Posterior of the claimed model from which its answers support the claim."""
TELLING = 5
"""Answers like the claimed model's, and unlike most others', without which nothing is supported: what all models know clears none."""
HONEST_LOST = 0.15
"""Share of what it knows that an honest endpoint may get wrong (a persona, another quantisation, a free temperature)."""
MAX_LOG_E = math.log(20.0)
"""Bound on what lost knowledge says against a claim: one instruction ("answer wrongly") could explain all of it."""
_MOST_CELLS = 4_000_000


@dataclass(frozen=True, slots=True)
class _Prepared:
    forms: tuple[Form, ...]
    answers: npt.NDArray[np.uint32]
    """(questions, models, samples): keys of recorded answers, 0 where there is none."""


def score(pack: Pack, answers: Mapping[str, Sequence[str]], claim_model: str | None) -> Scored:
    """Compare `answers` (question id -> texts; ids that the pack does not hold are left aside) with every model of a knowledge pack.

    Never raises: a pack that is not sound is a reason why nothing can be said."""
    try:
        prepared = reference(pack)
    except PackError as error:
        return Scored({}, 0.0, None, None, False, "family", 0, 0, str(error))
    positions = {question.id: i for i, question in enumerate(pack.questions)}
    asked = [name for name in sorted(answers) if name in positions]
    given = [(positions[name], key(prepared.forms[positions[name]], text)) for name in asked for text in answers[name]]
    told = [(i, answer) for i, answer in given if answer]
    if len(told) < LEAST_ANSWERS:
        why = f"{len(told)} answers could be compared; {LEAST_ANSWERS} are needed"
        return Scored({}, 0.0, None, None, False, "family", len(told), len(given) - len(told), why)
    logs, unknown, usual = _likelihoods(prepared, told)
    claimed = claimed_models(pack, claim_model)
    prior = (1.0 - UNKNOWN_PRIOR) / len(logs)
    weights = np.append(logs + math.log(prior), unknown + math.log(UNKNOWN_PRIOR))
    posterior = np.exp(weights - np.logaddexp.reduce(weights))
    names = [*(model.name for model in pack.models), UNKNOWN]
    log_e = _lost(prepared, told, claimed)
    telling = sum(any(_held(prepared, i, m, answer) for m in claimed) and usual[at] < 0.5 for at, (i, answer) in enumerate(told))
    family = {pack.models[m].family for m in claimed}
    siblings = [m for m, model in enumerate(pack.models) if model.family in family and m not in claimed]
    alone = bool(siblings) and float(posterior[siblings].sum()) < 1.0 - SUPPORTS
    return Scored(
        log_likelihood={name: float(value) for name, value in zip(names, np.append(logs, unknown), strict=True)},
        log_e=log_e,
        p_value=None,
        best=names[int(posterior.argmax())],
        supports_claim=bool(claimed) and float(posterior[claimed].sum()) >= SUPPORTS and telling >= TELLING and log_e <= 0.0,
        resolution="model" if alone else "family",
        answers=len(told),
        invalid=len(given) - len(told),
    )


def lost(pack: Pack, answers: Mapping[str, Sequence[str]], claim_model: str | None) -> tuple[tuple[str, ...], int]:
    """(ids of questions that the claimed model answers right and that were answered wrong here, questions that it answers right)."""
    forms = {question.id: form for question, form in zip(pack.questions, reference(pack).forms, strict=True)}
    asked = [(name, forms[name], answers[name]) for name in known(pack, claim_model) if name in answers]
    return tuple(name for name, form, texts in asked if any(_wrong(form, key(form, text)) for text in texts)), len(asked)


def known(pack: Pack, claim_model: str | None) -> tuple[str, ...]:
    """Ids of the questions that the claimed model answered right every time. Raises PackError for an unsound pack."""
    positions = _known(reference(pack), claimed_models(pack, claim_model))
    return tuple(pack.questions[i].id for i in sorted(positions))


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
    forms: Mapping[str, Form] | None = None,
) -> Pack:
    """A knowledge pack from `answers` ((question id, model name) -> texts). `forms` says by a question's digest how its answers are read;
    for our own questions that is known.

    Raises PackError where no answer can be read, for a question without a form, and where the table would be too large."""
    kept = [question for question in questions if any(answers.get((question.id, model.name)) for model in models)]
    known_forms = {**(forms or {}), **_forms()}
    strange = [question.id for question in kept if question.sha256 not in known_forms]
    if strange:
        raise PackError(f"it is not known how answers to {strange[0]} are read")
    if len(kept) * len(models) * MAX_SAMPLES > _MOST_CELLS:
        raise PackError(f"{len(kept)} questions and {len(models)} models are more than a knowledge pack holds")
    read_as = [known_forms[question.sha256] for question in kept]
    table = np.zeros((len(kept), len(models), MAX_SAMPLES), dtype=np.uint32)
    for q, (question, form) in enumerate(zip(kept, read_as, strict=True)):
        for m, model in enumerate(models):
            for s, text in enumerate(answers.get((question.id, model.name), ())[:MAX_SAMPLES]):
                table[q, m, s] = key(form, text)
    samples = (table > 0).sum(axis=(0, 2))
    whole = [m for m in range(len(models)) if samples[m]]
    if not whole:
        raise PackError("none of the answers can be read")
    return Pack(
        name=name,
        version=version,
        kind="knowledge",
        created=created,
        expires=expires,
        origin=origin,
        licence=licence,
        questions=tuple(kept),
        models=tuple(PackModel(models[m].name, models[m].family, models[m].base, models[m].weights, int(samples[m])) for m in whole),
        arrays={"answers": table[:, whole]},
        extra={"forms": [form.to_json() for form in read_as]},
    )


@cache
def own_questions() -> tuple[Question, ...]:
    """Our own questions: data/knowledge_questions.toml, the reviews deformed."""
    return tuple(
        Question(row["id"], text_digest(text := _text(row)), "knowledge", row["language"], text, None, MAX_TOKENS, 0.0) for row in _table()
    )


def forms_of(packs: Sequence[Pack]) -> dict[str, Form]:
    """How answers to the questions of these packs are read, by the question's digest; the first pack's word counts. Of sound knowledge
    packs only: others have no such forms."""
    found: dict[str, Form] = {}
    for pack in packs:
        with contextlib.suppress(PackError):
            for question, form in zip(pack.questions, reference(pack).forms, strict=True):
                found.setdefault(question.sha256, form)
    return found


def own_forms() -> tuple[Form, ...]:
    """How answers to our own questions are read, in their order."""
    return tuple(_forms()[question.sha256] for question in own_questions())


@lru_cache(maxsize=8)
def reference(pack: Pack) -> _Prepared:
    """The pack's recorded answers and how they are read. Raises PackError where it holds no such table."""
    table, listed = pack.arrays.get("answers"), pack.extra.get("forms")
    shape = (len(pack.questions), len(pack.models))
    if pack.kind != "knowledge" or table is None or table.ndim != 3 or table.shape[:2] != shape or table.dtype != np.uint32:
        raise PackError(f"the pack {pack.name} holds no table of answers")
    if table.shape[2] > MAX_SAMPLES or table.size > _MOST_CELLS or not isinstance(listed, list) or len(listed) != len(pack.questions):
        raise PackError(f"the pack {pack.name} has a table of answers of the wrong size, or does not say how they are read")
    try:
        return _Prepared(tuple(Form.from_json(each) for each in listed), table)
    except FormError as error:
        raise PackError(f"the pack {pack.name} has {error}") from error


def knows(pack: Pack, models: Sequence[int]) -> list[bool]:
    """Per question, whether any of these models has a recorded answer."""
    table = reference(pack).answers
    return [bool((row[list(models)] if models else row).any()) for row in table]


def _likelihoods(prepared: _Prepared, told: Sequence[tuple[int, int]]) -> tuple[Floats, float, list[float]]:
    """(per model, of an unknown one, per answer the share of models that give it); log-likelihoods relative to the best, tempered."""
    total, stranger, usual = np.zeros(prepared.answers.shape[1]), 0.0, []
    for i, answer in told:
        recorded = prepared.answers[i]
        seen = (recorded > 0).sum(axis=1)
        shares = (recorded == answer).sum(axis=1) / np.maximum(seen, 1)
        models = int((seen > 0).sum())
        new = NEW_WORTH * NEW_ANSWER
        anyone = (shares.sum() + new) / (models + NEW_WORTH)
        others = (shares.sum() - shares + new) / (models - (seen > 0) + NEW_WORTH)
        own = (shares * seen + OWN_WORTH * others) / (seen + OWN_WORTH)
        total += np.where(seen > 0, np.log((1.0 - STRAY) * own + STRAY * anyone), math.log(anyone))
        stranger += math.log(anyone)
        usual.append(float(shares.sum() / max(models, 1)))
    total, stranger = TEMPER * total, TEMPER * stranger
    peak = max(float(total.max()), stranger)
    return np.maximum(total - peak, -BOUND), max(stranger - peak, -BOUND), usual


def _known(prepared: _Prepared, claimed: Sequence[int]) -> set[int]:
    """Questions that every claimed model answered right every time, and that have a right answer."""
    found = set()
    for i, form in enumerate(prepared.forms):
        recorded = prepared.answers[i, list(claimed)]
        if claimed and form.right and (recorded > 0).any(axis=1).all() and (recorded[recorded > 0] == form.right).all():
            found.add(i)
    return found


def _lost(prepared: _Prepared, told: Sequence[tuple[int, int]], claimed: Sequence[int]) -> float:
    """Log e-value of wrong answers to what the claimed model knows: a uniform mixture over higher rates against HONEST_LOST.

    Answers that decline are left out: a prompt in front may forbid a subject."""
    known = _known(prepared, claimed)
    counted = [_wrong(prepared.forms[i], answer) for i, answer in told if i in known and answer != DECLINED]
    n, k = len(counted), sum(counted)
    if not n:
        return 0.0
    rates = np.linspace(HONEST_LOST, 1.0, 201)[1:-1]
    alternative = float(np.logaddexp.reduce(k * np.log(rates) + (n - k) * np.log1p(-rates))) - math.log(len(rates))
    null = k * math.log(HONEST_LOST) + (n - k) * math.log1p(-HONEST_LOST)
    return max(-math.log(2.0), min(MAX_LOG_E, alternative - null))


def _wrong(form: Form, answer: int) -> bool:
    return bool(answer) and answer not in (DECLINED, form.right)


def _held(prepared: _Prepared, i: int, model: int, answer: int) -> bool:
    return bool((prepared.answers[i, model] == answer).any())


def _text(row: Mapping[str, Any]) -> str:
    return str(row["text"]).replace("{review}", korean.deform(row["review"], row["seed"])) if "review" in row else str(row["text"])


@cache
def _forms() -> dict[str, Form]:
    return {text_digest(_text(row)): Form(row["form"], tuple(row.get("accept", ()))) for row in _table()}


@cache
def _table() -> list[dict[str, Any]]:
    raw = tomllib.loads((resources.files("fingerprints") / "data" / "knowledge_questions.toml").read_text(encoding="utf-8"))
    return list(raw["question"])
