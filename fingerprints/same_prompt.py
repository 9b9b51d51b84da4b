"""Which of the reference models wrote these answers to the same open questions, and do they fit the claimed one?

Takes a pack of kind "answers" and answers to its questions; gives a `Scored`. Attribution has an explicit unknown, and the e-value against
the claim rests on how far honest endpoints stray (other samples, other settings), so that a change of style alone accuses nobody strongly.
Answers of one audit depend on one another: their likelihoods are tempered, never just summed. numpy alone; no text is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np

from fingerprints import catalog, same_prompt_alone
from fingerprints.packs import Pack, PackError, PackModel
from fingerprints.same_prompt_decide import Judged, Pooled, against_claim, judge, pool
from fingerprints.same_prompt_features import LEAST_CHARACTERS, traits
from fingerprints.same_prompt_pack import build_pack, own_questions, projected, read_rows
from fingerprints.same_prompt_references import Near, References, Rows, near, prepare
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
        return _alone(pack, answers, claim_model) or Scored({}, 0.0, None, None, False, "family", 0, invalid, _why_not(pack, answers))
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
        if ready is None or not usable:
            continue
        characters = int(pack.extra["characters"][position])
        found = traits(usable, int(pack.extra["dimensions"]), characters)
        style = projected(found.style)
        parts.append((near(ready, found.content, style), style - ready.style_centre))
    return (pool(parts, prepared) if parts else None), invalid


def _alone(pack: Pack, answers: Mapping[str, Sequence[str]], claim_model: str | None) -> Scored | None:
    """The comparison with the claimed model's own answers alone; None where there are not several of them to one question."""
    claimed = claimed_models(pack, claim_model)
    positions = {question.id: index for index, question in enumerate(pack.questions)}
    rows = _rows(pack)
    known, fresh, count = [], [], 0
    for question_id, texts in answers.items():
        usable = [text for text in texts if len(text.strip()) >= LEAST_CHARACTERS]
        if not claimed or question_id not in positions or not usable:
            continue
        position = positions[question_id]
        characters = int(pack.extra["characters"][position])
        known.append(rows.content[(rows.question == position) & np.isin(rows.model, claimed)])
        fresh.append(traits(usable, int(pack.extra["dimensions"]), characters).content)
        count += len(usable)
    told = same_prompt_alone.compare(known, fresh)
    if told is None:
        return None
    log_e, p_value = told
    name = pack.models[claimed[0]].name
    likelihood = {name: -max(log_e, 0.0), UNKNOWN: min(log_e, 0.0)}
    supports = p_value >= same_prompt_alone.SUPPORTS
    invalid = sum(map(len, answers.values())) - count
    return Scored(likelihood, log_e, p_value, name if supports else None, supports, "family", count, invalid)


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
