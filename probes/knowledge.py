"""Does the endpoint know, miss and read what the claimed model does?

Asks short questions of the knowledge packs that hold references for the claim, each once at temperature 0, and hands the answers to
fingerprints.knowledge. None asks for the day, and only what is known less than claimed counts against a claim: a web search, tools or a
told date make a model know more. What it says is bounded, and it must never accuse from an outdated reference.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from fingerprints import knowledge, packs
from fingerprints.pack_claims import claimed_models
from fingerprints.packs import Pack, PackError
from fingerprints.questions import Question
from fingerprints.scored import UNKNOWN, Scored
from probes.plan import Plan
from probes.probe import JSON, Ask, Block, Evidence, Finding, Reply

ROUND = 10
"""Asks per round: between rounds the audit may stop."""
AGAINST, STRONG = math.log(10.0), math.log(100.0)
"""Log e-values from which missing knowledge is reported, and as strong; fingerprints.knowledge never goes as far as the second."""
_SHOWN = 60
"""Characters of an answer in the report's table."""


@dataclass(frozen=True, slots=True)
class _Referenced:
    pack: Pack
    question: Question
    text: str


class KnowledgeProbe:
    """Short questions of fact, reckoning and reading with reference answers."""

    name = "knowledge"
    block = Block.KNOWLEDGE
    reads: tuple[str, ...] = ("knowledge",)
    goal = "Does the endpoint know, miss and read what the claimed model does?"

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def next_round(self, replies: Sequence[Reply]) -> Sequence[Ask]:
        """The next asks; none once nothing came back from a whole round."""
        mine = [reply for reply in replies if reply.ask.probe == self.name]
        if len(mine) >= ROUND and not any(_answered(reply) for reply in mine):
            return []
        return self._asks[len(mine) : len(mine) + ROUND]

    def read(self, replies: Sequence[Reply]) -> Evidence:
        """Evidence from all answers so far."""
        mine = [reply for reply in replies if reply.ask.probe == self.name]
        if self._pack is None:
            return self._untested(mine, self._why_no_reference())
        if not self._asks:
            return self._untested(mine, "this suite asks no questions of knowledge: use --suite deep")
        given = {reply.ask.key.partition("/")[2]: [reply.text] for reply in mine if _answered(reply)}
        if not given:
            error = next((reply.error for reply in mine if reply.error is not None), None)
            return self._untested(mine, f"no question was answered ({error.kind}: {error.text})" if error else "no question was answered")
        scored = knowledge.score(self._pack, given, self._claim)
        if scored.why_not is not None:
            return self._untested(mine, scored.why_not)
        return self._evidence(self._pack, mine, given, scored)

    @property
    def _claim(self) -> str | None:
        return self.plan.claim.model if self.plan.claim is not None else None

    @cached_property
    def _pack(self) -> Pack | None:
        """The one pack that is asked: of those with references for the claim (any, without one), the one with most of them."""
        usable = [pack for pack in self.plan.packs if pack.kind == "knowledge" and self._askable(pack)]
        return max(usable, key=lambda pack: (len(self._askable(pack)), len(pack.models), pack.name), default=None)

    def _askable(self, pack: Pack) -> list[Question]:
        """Questions with a text here and recorded answers of the claimed model. Empty for an unsound pack."""
        try:
            claimed = claimed_models(pack, self._claim)
            recorded = knowledge.knows(pack, claimed)
        except PackError:
            return []
        if self._claim is not None and not claimed:
            return []
        return [question for question, known in zip(pack.questions, recorded, strict=True) if question.text is not None and known]

    @cached_property
    def _asks(self) -> list[Ask]:
        """The questions in a random order, as many as the suite asks."""
        if self._pack is None or self.plan.knowledge_answers <= 0:
            return []
        askable = self._askable(self._pack)
        drawn = self.plan.rng("knowledge").sample(askable, min(self.plan.knowledge_answers, len(askable)))
        return [
            Ask(
                probe=self.name,
                key=f"knowledge/{question.id}",
                messages=(("user", question.text or ""),),
                max_tokens=max(question.max_tokens, self.plan.least_limit),
                temperature=question.temperature,
            )
            for question in drawn
        ]

    def _why_no_reference(self) -> str:
        available = [pack for pack in self.plan.packs if pack.kind == "knowledge"]
        if not available:
            return "no knowledge pack is installed: record one with `truename enroll` or name one with --pack"
        return f"no reference answers of {self._claim}: record some with `truename enroll` or name a pack with --pack"

    def _evidence(self, pack: Pack, mine: Sequence[Reply], given: dict[str, list[str]], scored: Scored) -> Evidence:
        findings = []
        late = packs.stale(pack, self.plan.today) if self.plan.today is not None else None
        if late is not None:
            findings.append(Finding("pack-expired", "weak", f"{late[:1].upper()}{late[1:]}."))
        log_e = scored.log_e if late is None else min(scored.log_e, 0.0)
        missed, known = knowledge.lost(pack, given, self._claim)
        if log_e >= AGAINST:
            text = (
                f"{len(missed)} of {known} questions that {self._claim} answers right were answered wrong (e-value {math.exp(log_e):.3g}). "
                "A search or a told date would add knowledge, not take it away; a prompt that changes answers might."
            )
            keys = tuple(f"knowledge/{name}" for name in missed)
            findings.append(Finding("knowledge-mismatch", "strong" if log_e >= STRONG else "moderate", text, keys))
        return Evidence(
            channel=self.name,
            block=self.block,
            tested=True,
            log_e=log_e,
            log_likelihood=dict(scored.log_likelihood),
            best=None if scored.best == UNKNOWN else scored.best,
            supports_claim=scored.supports_claim and late is None,
            resolution=scored.resolution,
            rounds=1,
            requests=len(mine),
            findings=tuple(findings),
            measured=tuple(_row(reply, missed) for reply in mine if _answered(reply)),
        )

    def _untested(self, mine: Sequence[Reply], why: str) -> Evidence:
        return Evidence(self.name, self.block, tested=False, why_not=why, requests=len(mine))


def _answered(reply: Reply) -> bool:
    thinking = reply.finish == "length" and reply.usage is not None and bool(reply.usage.reasoning_tokens)
    return reply.ok and bool(reply.text.strip()) and not thinking


def _row(reply: Reply, missed: Sequence[str]) -> JSON:
    """The answer's beginning, and whether the claimed model is known to do better."""
    name = reply.ask.key.partition("/")[2]
    return {"key": reply.ask.key, "measured": " ".join(reply.text.split())[:_SHOWN], "known_to_claim": name in missed}
