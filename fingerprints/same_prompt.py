"""Which of the reference models wrote these answers to the same open questions, and do they fit the claimed one?

Takes a pack of kind "answers" and answers to its questions; gives a `Scored`. Attribution has an explicit unknown, and the e-value against
the claim rests on how far honest endpoints stray (other samples, other settings), so that a change of style alone accuses nobody strongly.
Answers of one audit depend on one another: their likelihoods are tempered, never just summed. numpy alone; no text is kept.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np

from fingerprints import catalog, same_prompt_alone, same_prompt_pairs
from fingerprints.packs import Pack, PackError, PackModel
from fingerprints.same_prompt_decide import Judged, Pooled, against_claim, judge, pool
from fingerprints.same_prompt_features import LEAST_CHARACTERS, traits
from fingerprints.same_prompt_pack import build_pack, own_questions, projected, read_rows
from fingerprints.same_prompt_references import Floats, Near, References, Rows, near, prepare
from fingerprints.scored import UNKNOWN, Resolution, Scored

__all__ = ["build_pack", "claimed_models", "comparable", "own_questions", "references", "score", "similarity"]

MODEL_CONFIDENCE = 0.9
"""Posterior share of the claimed model (or of its family) from which answers support a claim."""


def score(pack: Pack, answers: Mapping[str, Sequence[str]], claim_model: str | None) -> Scored:
    """What `answers` (question id -> answer texts, as they came) say against the references of `pack`.

    Never raises, on hostile answers or an unsound pack; ids that the pack does not hold are counted as invalid."""
    try:
        pooled, invalid = _pooled(pack, answers)
    except PackError as error:
        return Scored({}, 0.0, None, None, False, "family", 0, sum(map(len, answers.values())), str(error))
    if pooled is None:
        return _among_few(pack, answers, claim_model) or Scored({}, 0.0, None, None, False, "family", 0, invalid, _why_not(pack, answers))
    families = [model.family for model in pack.models]
    weights = [model.weights for model in pack.models]
    judged = judge(pooled, families)
    likelihood = {model.name: float(value) for model, value in zip(pack.models, judged.log_likelihood, strict=True)}
    likelihood[UNKNOWN] = float(judged.unknown)
    best = UNKNOWN if judged.rejected else pack.models[judged.best].name
    claimed = claimed_models(pack, claim_model)
    if not claimed:
        return Scored(likelihood, 0.0, None, best, False, _resolution(judged, weights), pooled.answers, invalid)
    log_e, p_value = against_claim(pooled, claimed, families, weights)
    supports, resolution = _supports(judged, claimed, pack.models)
    return Scored(likelihood, log_e, p_value, best, supports and log_e <= 0, resolution, pooled.answers, invalid)


@lru_cache(maxsize=1024)
def similarity(pack: Pack, question_id: str, answer: str, claim_model: str | None) -> tuple[float | None, str | None]:
    """(z-score of the answer's likeness to the claimed model among all models, the model that it is most like), for a report's table."""
    pooled, _ = _pooled(pack, {question_id: [answer]})
    if pooled is None:
        return None, None
    claimed = claimed_models(pack, claim_model)
    likeness = float(np.max(pooled.total[claimed])) if claimed else None
    return likeness, pack.models[int(np.argmax(pooled.total))].name


def claimed_models(pack: Pack, claim_model: str | None) -> list[int]:
    """Indices of the pack's models that a claim of `claim_model` means: of that name, or the same in the catalog, or of their weights."""
    if claim_model is None:
        return []
    known = catalog.find(claim_model)
    named = {
        model.weights
        for model in pack.models
        if model.name == claim_model or (known is not None and (found := catalog.find(model.name)) is not None and found.name == known.name)
    }
    return [index for index, model in enumerate(pack.models) if model.weights in named]


def comparable(pack: Pack, claim_model: str | None) -> list[bool]:
    """Per question, whether answers to it can be compared: with many models, or with several answers of the claimed one.

    Raises PackError for an unsound pack."""
    claimed = claimed_models(pack, claim_model)
    if claim_model is not None and not claimed:
        return [False] * len(pack.questions)
    rows = _rows(pack)
    own = np.bincount(rows.question[np.isin(rows.model, claimed)], minlength=len(pack.questions))
    prepared = references(pack).questions
    return [
        (ready is not None and (not claimed or bool(ready.present[claimed].any()))) or int(count) >= same_prompt_alone.LEAST_SAMPLES
        for ready, count in zip(prepared, own, strict=True)
    ]


@lru_cache(maxsize=4)
def references(pack: Pack) -> References:
    """The pack's references, ready for comparison; kept for the last few packs. Raises PackError for an unsound pack."""
    return prepare(_rows(pack), len(pack.questions), [model.family for model in pack.models])


@lru_cache(maxsize=4)
def _rows(pack: Pack) -> Rows:
    return read_rows(pack)


def _pooled(pack: Pack, answers: Mapping[str, Sequence[str]]) -> tuple[Pooled | None, int]:
    """All comparable answers together, and the number of those that are not."""
    prepared = references(pack)
    positions = {question.id: index for index, question in enumerate(pack.questions)}
    parts: list[tuple[Near, np.ndarray]] = []
    invalid = 0
    for question_id, texts in answers.items():
        position = positions.get(question_id)
        ready = None if position is None else prepared.questions[position]
        usable = [text for text in texts if len(text.strip()) >= LEAST_CHARACTERS] if ready is not None else []
        invalid += len(texts) - len(usable)
        if position is None or ready is None or not usable:
            continue
        characters = int(pack.extra["characters"][position])
        found = traits(usable, int(pack.extra["dimensions"]), characters)
        style = projected(found.style)
        parts.append((near(prepared, position, found.content, style), style - ready.style_centre))
    return (pool(parts, prepared) if parts else None), invalid


def _among_few(pack: Pack, answers: Mapping[str, Sequence[str]], claim_model: str | None) -> Scored | None:
    """The comparison where too few models are known to see what is usual: is each model's own answer as like its others as they are to one
    another, and whose are liker? None where no model has several answers to a question."""
    positions = {question.id: index for index, question in enumerate(pack.questions)}
    rows = _rows(pack)
    asked, fresh, count = [], [], 0
    for question_id, texts in answers.items():
        usable = [text for text in texts if len(text.strip()) >= LEAST_CHARACTERS]
        if question_id in positions and usable:
            asked.append(positions[question_id])
            characters = int(pack.extra["characters"][asked[-1]])
            fresh.append(traits(usable, int(pack.extra["dimensions"]), characters).content)
            count += len(usable)
    classes = list(dict.fromkeys(model.weights for model in pack.models))
    held = {name: [m for m, model in enumerate(pack.models) if model.weights == name] for name in classes}
    known = {name: [rows.content[(rows.question == each) & np.isin(rows.model, held[name])] for each in asked] for name in classes}
    told = {name: each for name in classes if (each := _against_few(name, known, fresh)) is not None}
    if not told:
        return None
    logs = {name: log_e for name, (log_e, _) in told.items()}
    best = min(logs, key=lambda name: (logs[name], name))
    others = [value for name, value in logs.items() if name != best]
    fits = logs[best] <= 0 and told[best][1] >= same_prompt_alone.REJECTS and all(value >= same_prompt_pairs.AHEAD for value in others)
    likelihood = {pack.models[m].name: -max(log_e, 0.0) for name, log_e in logs.items() for m in held[name]}
    likelihood[UNKNOWN] = min(0.0, math.log(same_prompt_alone.LEAST_E) if fits else 0.0)
    claimed = {pack.models[m].weights for m in claimed_models(pack, claim_model)}
    mine = next((told[name] for name in told if name in claimed), None)
    log_e, p_value = mine if mine is not None else (0.0, None)
    supports = fits and best in claimed and p_value is not None and p_value >= same_prompt_alone.SUPPORTS
    invalid = sum(map(len, answers.values())) - count
    name = pack.models[held[best][0]].name if fits else None
    return Scored(likelihood, log_e, p_value, name, supports, "family", count, invalid)


def _against_few(name: str, known: Mapping[str, Sequence[Floats]], fresh: Sequence[Floats]) -> tuple[float, float] | None:
    """(log e-value, p-value) of "`name` wrote the fresh answers", from its own answers and those of the others; their e-values average."""
    rivals = [other for other in known if other != name]
    alone = same_prompt_alone.compare(known[name], fresh)
    beside = same_prompt_pairs.against(known[name], [[known[other][i] for other in rivals] for i in range(len(fresh))], fresh)
    if alone is None or beside is None:
        return alone if beside is None else (beside, min(1.0, math.exp(-beside)))
    return float(np.logaddexp(alone[0], beside)) - math.log(2), alone[1]


def _why_not(pack: Pack, answers: Mapping[str, Sequence[str]]) -> str:
    if not any(one is not None for one in references(pack).questions):
        return f"pack {pack.name} holds too few models to compare with: enroll others too, or several answers each"
    return "no answer was long enough to compare" if any(answers.values()) else "no question of the pack was answered"


def _supports(judged: Judged, claimed: Sequence[int], models: Sequence[PackModel]) -> tuple[bool, Resolution]:
    """Whether the answers are what the claimed model writes, and at which level that can be said."""
    shares = np.exp(judged.log_likelihood - np.logaddexp.reduce([*judged.log_likelihood, judged.unknown]))
    family = {models[index].family for index in claimed}
    if shares[list(claimed)].sum() >= MODEL_CONFIDENCE:
        return True, "model"
    of_family = sum(share for share, model in zip(shares, models, strict=True) if model.family in family)
    return bool(of_family >= MODEL_CONFIDENCE), "family"


def _resolution(judged: Judged, weights: Sequence[str]) -> Resolution:
    shares = np.exp(judged.log_likelihood - np.logaddexp.reduce([*judged.log_likelihood, judged.unknown]))
    of_best = sum(share for share, name in zip(shares, weights, strict=True) if name == weights[judged.best])
    return "model" if of_best >= MODEL_CONFIDENCE else "family"
