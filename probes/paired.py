"""The paired test: the same fresh question to the target and to a live reference, and a bet on who answered what.

Asks free-choice questions in pairs, one ask to each endpoint, and reads complete pairs into an e-value against "both answer by the
same law, up to a tolerance" (probes/paired_process.py has the proof). A missing answer drops its pair and never counts, and so does a
temperature that only one of the two took; a reference answer is used once. It sees behaviour: another model, but also another system
prompt.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache

from probes.paired_features import Described, describe
from probes.paired_process import BURN_IN, TOLERANCE, PairedProcess
from probes.paired_questions import Question, questions
from probes.plan import Plan
from probes.probe import JSON, Ask, Block, Evidence, Finding, Reply

PAIRS: Mapping[str, int] = {"quick": 7, "standard": 30, "deep": 150}
"""Pairs per suite: both asks of a pair fit the suite's ceiling of requests."""
PAIRS_PER_ROUND = 5
"""Pairs asked at once; the evidence is read between rounds, so that a difference stops the test."""
MAX_TOKENS = 12
"""Output tokens of an answer: enough for a word, a number or the beginning of a sentence."""
TEMPERATURE = 0.0
"""The likeliest answer is compared: it is the same whatever a server's sampler is set to. At temperature 1 llama.cpp cuts the tail
with top-k, top-p and min-p, which moves first tokens by a total variation of 0.38, and `transformers serve` does not sample at all."""
SAME_LOG_E = 0.0
"""An e-value above 1 stands in the way of "same": with the tolerance, honest pairs lose wealth at every bet."""
SAME_SEPARATION = 0.5
"""Upper bound of the learnt separation below which two endpoints are called the same. Separations that the same score reaches
between different models, and between honest variants of one, are in benchmarks/RESULTS.md, section compare."""
LEAST_ANSWERS = 10
"""Different reference answers without which "same" says nothing: canned replies are fewer, and an open question
alone gives any model more."""
ROW_PAIRS, ROW_TOLERANCE, ROW_DIFFERENT = "pairs complete", "tolerance (total variation)", "different reference answers"
ROW_SEPARATION, ROW_BOUND = "separation by the learnt score", "separation, upper bound"
"""Keys of the rows in `Evidence.measured` that a verdict is put into words from."""


class PairedProbe:
    """Asks a target and a reference the same questions."""

    name = "paired"
    block = Block.CHOICE
    reads: tuple[str, ...] = ("paired",)
    goal = "Does the target answer the same fresh questions by the same law as the reference endpoint?"

    def __init__(self, plan: Plan, pairs: int, tolerance: float = TOLERANCE) -> None:
        """`pairs` is the most that are asked. Raises ValueError where `tolerance` is not in 0..1."""
        self.plan, self.pairs, self.tolerance = plan, pairs, tolerance
        drawn = questions(plan.rng("paired"))
        self.questions: tuple[Question, ...] = tuple(next(drawn) for _ in range(pairs))
        order = plan.rng("paired/order")
        self._first = tuple(order.random() < 0.5 for _ in range(pairs))
        PairedProcess(tolerance)

    def next_round(self, replies: Sequence[Reply]) -> Sequence[Ask]:
        """The next few pairs; none when all were asked or one side has refused everything so far."""
        mine = [reply for reply in replies if reply.ask.probe == self.name]
        asked = 1 + max((index for reply in mine if (index := _index(reply.ask.key)) is not None), default=-1)
        if asked and not (_any_ok(mine, "target") and _any_ok(mine, "reference")):
            return []
        return [ask for index in range(asked, min(asked + PAIRS_PER_ROUND, self.pairs)) for ask in self.pair(index)]

    def read(self, replies: Sequence[Reply]) -> Evidence:
        """Complete pairs, in the order of the plan, as evidence. Pure; never raises on hostile replies."""
        mine = [reply for reply in replies if reply.ask.probe == self.name]
        answers = {reply.ask.key: reply.text for reply in mine if reply.ok}
        asked_at = {reply.ask.key: reply.ask.temperature for reply in mine}
        both = [i for i in range(self.pairs) if _key(i, "target") in answers and _key(i, "reference") in answers]
        complete = [i for i in both if asked_at[_key(i, "target")] == asked_at[_key(i, "reference")]]
        if not complete:
            return Evidence(self.name, self.block, tested=False, why_not=_why_not(mine), requests=len(mine))
        process = PairedProcess(self.tolerance)
        for i in complete:
            process.add(self._described(i, answers[_key(i, "reference")]), self._described(i, answers[_key(i, "target")]))
        asked = len({_index(reply.ask.key) for reply in mine})
        bound = process.separation_bound(self.plan.alpha, self.pairs)
        different = len({answers[_key(i, "reference")].strip() for i in complete})
        same = process.log_e <= SAME_LOG_E and bound <= SAME_SEPARATION and different >= LEAST_ANSWERS
        return Evidence(
            channel=self.name,
            block=self.block,
            tested=True,
            log_e=process.log_e,
            supports_claim=same,
            resolution="family",
            rounds=len(complete),
            requests=len(mine),
            findings=self._findings(process, complete),
            measured=_rows(process, asked - len(both), len(both) - len(complete), different, bound),
        )

    def pair(self, index: int) -> tuple[Ask, Ask]:
        """Both asks of a pair, in an order drawn from the seed, so that neither endpoint is always first."""
        question = self.questions[index]
        sides = ("target", "reference") if self._first[index] else ("reference", "target")
        first, second = (
            Ask(
                probe=self.name,
                key=_key(index, side),
                messages=(("user", question.text),),
                max_tokens=max(MAX_TOKENS, self.plan.least_limit),
                payload=question.name,
                temperature=TEMPERATURE,
                to=side,
            )
            for side in sides
        )
        return first, second

    def _described(self, index: int, answer: str) -> Described:
        question = self.questions[index]
        return _describe(question.kind, question.text, answer)

    def _findings(self, process: PairedProcess, complete: Sequence[int]) -> tuple[Finding, ...]:
        if process.log_e < math.log(1.0 / self.plan.alpha):
            return ()
        text = (
            f"Over {process.pairs} pairs of answers to the same fresh questions, the target's differ from the reference's by more than "
            f"the tolerance of {self.tolerance:g} (e = {math.exp(min(process.log_e, 300.0)):.3g}): another model, system prompt or sampler."
        )
        return (Finding("choice-mismatch", "strong", text, tuple(_key(i, "target") for i in complete)),)


def decisive() -> list[JSON]:
    """What decides the questions and their reading besides seed and tolerance, for the suite's digest."""
    from probes import paired_features, paired_process, paired_questions

    return [
        {"pairs": dict(PAIRS), "round": PAIRS_PER_ROUND, "max_tokens": MAX_TOKENS, "temperature": TEMPERATURE},
        {"same": [SAME_LOG_E, SAME_SEPARATION, LEAST_ANSWERS], "stakes": list(paired_process.STAKES), "burn_in": BURN_IN},
        {
            "bet": "one-sided",
            "learner": [paired_process.RIDGE, paired_process.MAX_GAIN, paired_process.GAIN_PRIOR, paired_process.SMOOTHING],
        },
        {"features": [paired_features.DIMENSIONS, paired_features.MAX_CHARACTERS, list(paired_features.VIEWS)]},
        {"questions": {kind: list(texts) for kind, texts in paired_questions.TEMPLATES.items()}},
    ]


def _rows(process: PairedProcess, incomplete: int, unlike: int, different: int, bound: float) -> tuple[JSON, ...]:
    """The report's table. `predicted.same` is what two endpoints with one law would show on average."""
    rows: list[tuple[str, float, dict[str, float]]] = [
        (ROW_PAIRS, process.pairs, {}),
        ("pairs with a missing answer", incomplete, {}),
        ("pairs asked at two temperatures, left out", unlike, {}),
        (ROW_TOLERANCE, process.tolerance, {}),
        (ROW_DIFFERENT, different, {}),
        (ROW_SEPARATION, process.separation, {"same": 0.0}),
        (ROW_BOUND, bound, {}),
        *((f"e-value, {name} score", math.exp(max(-300.0, min(300.0, e))), {}) for name, e in process.log_e_by_score.items()),
    ]
    return tuple({"key": key, "measured": measured, "predicted": predicted} for key, measured, predicted in rows)


def _why_not(mine: Sequence[Reply]) -> str:
    if not mine:
        return "no pair was asked"
    silent = [side for side in ("target", "reference") if not _any_ok(mine, side)]
    return (
        f"the {' and the '.join(silent)} answered none of the paired questions" if silent else "no pair has both its answers, asked alike"
    )


def _any_ok(replies: Sequence[Reply], side: str) -> bool:
    return any(reply.ok and reply.ask.to == side for reply in replies)


def _key(index: int, side: str) -> str:
    return f"paired/{index}/{side}"


def _index(key: str) -> int | None:
    """The pair that a key names; None for a key that no pair has."""
    parts = key.split("/")
    return int(parts[1]) if len(parts) == 3 and parts[1].isdecimal() and len(parts[1]) <= 6 else None


@lru_cache(maxsize=1024)
def _describe(kind: str, question: str, answer: str) -> Described:
    """`describe`, remembered: the evidence is read anew after every round."""
    return describe(kind, question, answer)
