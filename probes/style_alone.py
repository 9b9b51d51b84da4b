"""Which family do free answers read like, where no reference answers to the same questions are at hand?

Asks open questions of our own (or the user's) only where the style probe has none to ask, and hands the answers to fingerprints.style. What
it says helps to name a family; it must never accuse: a prompt, a rewriter or a new version changes a style, and the reading abstains often.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

from fingerprints import style
from fingerprints.questions import Question, text_digest
from fingerprints.scored import UNKNOWN
from probes.open_answers import answer
from probes.plan import Plan
from probes.probe import Ask, Block, Evidence, Finding, Reply
from probes.style import StyleProbe

ROUND = 4
"""Asks per round: between rounds the audit may stop."""
LEAST_ANSWERS = 5
"""Readable answers below which nothing is said: single answers are calibrated, but name almost nobody."""
OWN_TOKENS, OWN_TEMPERATURE = 360, 0.7
"""How the user's questions are asked: as ours."""
UNLIKE, LIKE = math.log(2.0), math.log(0.95)
"""Log e-value of a reading that names another family than the claimed one, and of any other. An honest endpoint is given another family
in less than .05 of readings, so the mean stays below 1; 2 can never accuse."""
ANOTHER = " (another version)"
"""Ends the name of a candidate that stands for all models of a catalog family (verifier.attribution reads it)."""


class StyleAloneProbe:
    """Open questions without reference answers."""

    name = "style-alone"
    block = Block.STYLE
    reads: tuple[str, ...] = ("style-alone",)
    goal = "Which family do free answers read like, where no references are at hand?"

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def next_round(self, replies: Sequence[Reply]) -> Sequence[Ask]:
        """The next asks; none once a whole round brought nothing to read."""
        mine = [reply for reply in replies if reply.ask.probe == self.name]
        if len(mine) >= ROUND and not any(answer(reply) for reply in mine):
            return []
        return self._asks[len(mine) : len(mine) + ROUND]

    def read(self, replies: Sequence[Reply]) -> Evidence:
        """Evidence from all answers so far."""
        mine = [reply for reply in replies if reply.ask.probe == self.name]
        if not self._asks:
            return self._untested(mine, self._why_nothing_is_asked())
        reading = style.read([answer(reply) for reply in mine])
        if reading.answers < LEAST_ANSWERS:
            error = next((reply.error for reply in mine if reply.error is not None), None)
            cause = f" ({error.kind}: {error.text})" if error else ""
            return self._untested(mine, f"{reading.answers} of {len(mine)} answers could be read; {LEAST_ANSWERS} are needed{cause}")
        if reading.family is None:
            return self._untested(mine, str(reading.why_not))
        return self._evidence(mine, reading, reading.family)

    @cached_property
    def _asks(self) -> list[Ask]:
        questions = self._questions()
        return [
            Ask(
                probe=self.name,
                key=f"style-alone/{question.id}",
                messages=(("user", question.text or ""),),
                max_tokens=max(question.max_tokens, self.plan.least_limit),
                temperature=question.temperature,
            )
            for question in questions
        ]

    def _questions(self) -> list[Question]:
        """The user's questions in their order, else as many of ours as the suite asks, English first; none beside same-prompt questions."""
        if self.plan.prompts:
            return [
                Question(name, text_digest(text), "open", "", text, None, OWN_TOKENS, OWN_TEMPERATURE) for name, text in self.plan.prompts
            ]
        if self._referenced:
            return []
        drawn = self.plan.rng("style-alone")
        english = [question for question in style.own_questions() if question.language == "en"]
        korean = [question for question in style.own_questions() if question.language == "ko"]
        return [*drawn.sample(english, len(english)), *drawn.sample(korean, len(korean))][: self.plan.style_alone_answers]

    @property
    def _referenced(self) -> bool:
        """Whether the style probe has questions with references for the claim."""
        return bool(StyleProbe(self.plan).next_round([]))

    def _why_nothing_is_asked(self) -> str:
        if self.plan.style_alone_answers > 0 and self._referenced:
            return "the open questions with references are asked instead"
        return "this suite asks no open questions without references: use --suite deep, or --prompts with questions of your own"

    def _evidence(self, mine: Sequence[Reply], reading: style.Reading, named: str) -> Evidence:
        claimed = self._claimed
        unlike = claimed is not None and named != claimed
        findings = []
        if unlike:
            text = f"{reading.answers} free answers read like {named} rather than {claimed} ({reading.posterior[named]:.2f})."
            keys = tuple(reply.ask.key for reply in mine if answer(reply))
            findings.append(Finding("style-mismatch", "weak", f"{text} Without references style never accuses.", keys))
        likely = {
            family + ANOTHER: value for name, value in reading.log_likelihood.items() if name != UNKNOWN for family in style.CATALOG[name]
        }
        row = {"named": named, "answers": reading.answers, **{name: round(value, 3) for name, value in reading.posterior.items()}}
        return Evidence(
            channel=self.name,
            block=self.block,
            tested=True,
            log_e=UNLIKE if unlike else LIKE if claimed is not None else 0.0,
            log_likelihood=likely | {UNKNOWN: reading.log_likelihood[UNKNOWN]},
            resolution="family",
            requests=len(mine),
            findings=tuple(findings),
            measured=(row,),
        )

    @property
    def _claimed(self) -> str | None:
        """The claim's family among those that are read; None where it is none of them."""
        family = self.plan.claim.family if self.plan.claim is not None else None
        return next((name for name, families in style.CATALOG.items() if family in families), None)

    def _untested(self, mine: Sequence[Reply], why: str) -> Evidence:
        return Evidence(self.name, self.block, tested=False, why_not=why, requests=len(mine))
