"""Does the endpoint answer open questions as the claimed model answered the very same ones?

Asks questions of the answers packs whose text is here and that have references for the claim, each once and with few tokens (references are
compared by their beginnings), and hands the answers to fingerprints.same_prompt. It must never accuse from an outdated reference, and
what it says is bounded: a prompt in front of the model can change its style.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from fingerprints import catalog, packs, same_prompt
from fingerprints.packs import Pack, PackError
from fingerprints.questions import Question
from fingerprints.scored import UNKNOWN, Scored
from probes.open_answers import answer
from probes.plan import Plan
from probes.probe import JSON, Ask, Block, Evidence, Finding, Reply

ROUND = 3
"""Asks per round: between rounds the audit may stop. Three answers name the family in .97 of trials on misguided_attention."""
LEAST_ANSWERS = 3
"""Comparable answers below which the channel says nothing."""
POOL = 3
"""Questions are drawn among so many times as many as are asked, so that nobody can prepare for the few most telling ones."""
AGAINST, STRONG = math.log(10.0), math.log(100.0)
"""Log e-values from which style is reported as a mismatch, and as a strong one."""
_SHOWN_DIGITS = 12


class StyleProbe:
    """Open questions with reference answers of many models."""

    name = "style"
    block = Block.STYLE
    reads: tuple[str, ...] = ("style",)
    goal = "Does the endpoint answer open questions as the claimed model answered the same ones?"

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    @cached_property
    def _pack(self) -> Pack | None:
        """The one pack that is asked: of those that can be, the one with most answers of the claimed model (of all, without a claim)."""
        usable = [pack for pack in self.plan.packs if pack.kind == "answers" and self._askable(pack)]
        return max(usable, key=lambda pack: (self._references(pack), pack.name), default=None)

    def next_round(self, replies: Sequence[Reply]) -> Sequence[Ask]:
        """The next asks; none once a whole round brought nothing that can be compared."""
        mine = [reply for reply in replies if reply.ask.probe == self.name]
        if len(mine) >= ROUND and not any(answer(reply) for reply in mine):
            return []
        return self._asks[len(mine) : len(mine) + ROUND]

    def read(self, replies: Sequence[Reply]) -> Evidence:
        """Evidence from all answers so far."""
        mine = [reply for reply in replies if reply.ask.probe == self.name]
        pack = self._pack
        if pack is None:
            return self._untested(mine, self._why_no_reference())
        if not self._asks:
            return self._untested(mine, "this suite asks no open questions: use --suite standard or deep")
        given = {reply.ask.key.partition("/")[2]: [answer(reply)] for reply in mine if reply.ok}
        if not given:
            error = next((reply.error for reply in mine if reply.error is not None), None)
            return self._untested(mine, f"no question was answered ({error.kind}: {error.text})" if error else "no question was asked")
        claim = self._claim
        scored = same_prompt.score(pack, given, claim)
        if scored.why_not is not None or scored.answers < LEAST_ANSWERS:
            few = f"{scored.answers} of {len(mine)} answers could be compared; {LEAST_ANSWERS} are needed"
            thinks = any(reply.ok and reply.finish == "length" and not answer(reply) for reply in mine)
            hint = " (the model may spend its tokens on thinking)" if thinks else ""
            return self._untested(mine, (scored.why_not or few) + hint)
        return self._evidence(pack, mine, scored, [self._row(pack, reply, claim) for reply in mine if answer(reply)])

    @property
    def _claim(self) -> str | None:
        return self.plan.claim.model if self.plan.claim is not None else None

    @cached_property
    def _asks(self) -> list[Ask]:
        if self._pack is None or self.plan.style_answers <= 0:
            return []
        telling = self._askable(self._pack)[: POOL * self.plan.style_answers]
        drawn = self.plan.rng("style").sample(telling, min(self.plan.style_answers, len(telling)))
        return [
            Ask(
                probe=self.name,
                key=f"style/{question.id}",
                messages=(("user", question.text or ""),),
                max_tokens=max(question.max_tokens, self.plan.least_limit),
                temperature=question.temperature,
            )
            for question in drawn
        ]

    def _askable(self, pack: Pack) -> list[Question]:
        """Questions with a text here and references for the claim, those on which models differ most first. Empty for an unsound pack."""
        if not any(question.text for question in pack.questions):
            return []
        try:
            usable = same_prompt.comparable(pack, self._claim)
            prepared = same_prompt.references(pack).questions
        except PackError:
            return []
        found = [
            (0.0 if ready is None else ready.rival_mean, question.id, question)
            for question, good, ready in zip(pack.questions, usable, prepared, strict=True)
            if question.text and good
        ]
        return [question for _, _, question in sorted(found, key=lambda each: each[:2])]

    def _references(self, pack: Pack) -> int:
        claimed = same_prompt.claimed_models(pack, self._claim) or range(len(pack.models))
        return int(np.isin(pack.arrays["model"], list(claimed)).sum())

    def _why_no_reference(self) -> str:
        """What is missing, and what to do about it."""
        available = [pack for pack in self.plan.packs if pack.kind == "answers"]
        if not available:
            return "no answers pack is installed: record one with `truename enroll` or name one with --pack"
        if self._claim is not None and not any(same_prompt.claimed_models(pack, self._claim) for pack in available):
            return f"no reference answers of {self._claim}: record some with `truename enroll` or name a pack with --pack"
        if not any(question.text for pack in available for question in pack.questions):
            return "no question texts: run `truename packs fetch`"
        return "no question whose text is here has enough reference answers: run `truename packs fetch` or `truename packs verify`"

    def _evidence(self, pack: Pack, mine: Sequence[Reply], scored: Scored, rows: Sequence[JSON]) -> Evidence:
        findings = []
        late = packs.stale(pack, self.plan.today) if self.plan.today is not None else None
        if late is not None:
            findings.append(Finding("pack-expired", "weak", f"{late[:1].upper()}{late[1:]}."))
        log_e = scored.log_e if late is None else min(scored.log_e, 0.0)
        best = None if scored.best in (None, UNKNOWN) else _spelt(str(scored.best))
        keys = tuple(reply.ask.key for reply in mine if answer(reply))
        if log_e >= AGAINST:
            like = f"they are most like those of {best}" if best else "they are like those of no referenced model"
            text = f"{scored.answers} open answers are not written as {self._claim} writes: {like} (e-value {math.exp(log_e):.3g})."
            findings.append(Finding("style-mismatch", "strong" if log_e >= STRONG else "moderate", text, keys))
        return Evidence(
            channel=self.name,
            block=self.block,
            tested=True,
            log_e=log_e,
            log_likelihood=_merged(scored),
            best=best,
            supports_claim=scored.supports_claim and log_e <= 0,
            resolution=scored.resolution,
            rounds=1,
            requests=len(mine),
            findings=tuple(findings),
            measured=tuple(rows),
        )

    def _row(self, pack: Pack, reply: Reply, claim: str | None) -> JSON:
        question_id = reply.ask.key.partition("/")[2]
        digest = next((question.sha256 for question in pack.questions if question.id == question_id), "")
        likeness, nearest = same_prompt.similarity(pack, question_id, answer(reply), claim)
        return {
            "question": digest[:_SHOWN_DIGITS],
            "pack": pack.name,
            "likeness": None if likeness is None else round(likeness, 3),
            "most_like": nearest,
        }

    def _untested(self, mine: Sequence[Reply], why: str) -> Evidence:
        return Evidence(self.name, self.block, tested=False, why_not=why, requests=len(mine))


def _spelt(name: str) -> str:
    """The catalog's spelling of a pack's model, where it has one."""
    found = catalog.find(name)
    return name if found is None else found.name


def _merged(scored: Scored) -> dict[str, float]:
    """Log-likelihoods under the catalog's names; of several versions with one name the likeliest speaks."""
    merged: dict[str, float] = {}
    for name, value in scored.log_likelihood.items():
        spelt = name if name == UNKNOWN else _spelt(name)
        merged[spelt] = max(value, merged.get(spelt, -math.inf))
    return merged
