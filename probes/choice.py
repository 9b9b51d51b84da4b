"""Does the endpoint choose as the claimed model chooses, when the same free choice is asked again and again?

Asks the questions of the choices packs that have references for the claim, each ask a request of its own at the question's own
temperature, and hands the answers to fingerprints.choices. It must never accuse from what a cache, a switched-off or switched-on thinking
mode or an outdated reference would show just as well.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fingerprints import choices, packs
from fingerprints.choice_bets import CAP
from fingerprints.choice_categories import Rule
from fingerprints.choice_model import LEAST_SAMPLES, Array, Counts, Predictive, log_likelihoods
from fingerprints.pack_claims import claimed_models
from fingerprints.packs import Pack, PackError
from fingerprints.questions import Question
from fingerprints.scored import UNKNOWN, Scored
from probes.plan import Plan
from probes.probe import JSON, Ask, Block, Evidence, Finding, Reply

ROUND = 10
"""Asks per round: between rounds the audit may stop."""
ANSWERS_PER_QUESTION = 5
"""Answers for which a further question with a large reference is asked; the most telling questions come first. Many questions with small
references are asked once each, before any is asked again: so the error of each reference counts once."""
LEAST_ANSWERS = 5
"""Choices below which the channel says nothing."""
AGAINST, STRONG = math.log(10.0), math.log(100.0)
"""Log e-values from which choices are reported as a mismatch, and as a strong one."""
_SHOWN = 5  # categories per question in the report
_DRAWS, _SHARPEST = 999, 0.5  # simulated sets of answers, and the lowest temperature at which references are thought to be served
_THOUGHT = ("<think", "<|channel|>", "<reasoning")


@dataclass(frozen=True, slots=True)
class _Referenced:
    """One question that can be asked and judged."""

    pack: Pack
    position: int
    question: Question
    text: str
    rule: Rule
    counts: Counts
    expected: Predictive
    claimed: tuple[int, ...]
    """Positions of the claimed models in the pack; empty without a claim."""
    again: bool
    """Whether asking it again and again tells more than asking many questions once: its references are large, or it has few beside it."""
    name: str
    """Unique among all packs."""


class ChoiceProbe:
    """Repeats free choices and compares their distribution with every referenced model's."""

    name = "choice"
    block = Block.CHOICE
    reads: tuple[str, ...] = ("choice",)
    goal = "Does the endpoint pick numbers and words as often as the claimed model does?"

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    @cached_property
    def _usable(self) -> tuple[_Referenced, ...]:
        """Questions with a text here and references for the claim, the most telling first; each text once."""
        return _referenced(self.plan)

    def next_round(self, replies: Sequence[Reply]) -> Sequence[Ask]:
        """The next asks; none once nothing useful came back from a whole round."""
        mine = [reply for reply in replies if reply.ask.probe == self.name]
        if len(mine) >= ROUND and len(_texts(mine)) * 2 < len(mine):
            return []
        return self._asks[len(mine) : len(mine) + ROUND]

    def read(self, replies: Sequence[Reply]) -> Evidence:
        """Evidence from all valid choices so far."""
        mine = [reply for reply in replies if reply.ask.probe == self.name]
        if not self._usable:
            return self._untested(mine, why_no_reference(self.plan))
        if not mine and not self._asks:
            return self._untested(mine, "this suite asks no free choices: use --suite standard or deep")
        texts = _texts(mine)
        if not texts:
            error = next((reply.error for reply in mine if reply.error is not None), None)
            return self._untested(mine, f"no choice was answered ({error.kind}: {error.text})" if error else "no choice was answered")
        given = {each.name: [text for key, text in texts if key.rpartition("/")[0] == f"choice/{each.name}"] for each in self._usable}
        asked = [each for each in self._usable if given[each.name]]
        if (thinking := self._thinks(mine, asked)) is not None:
            return self._untested(mine, thinking)
        keys = tuple(key for key, _ in texts)
        if any(_cached(each, given[each.name]) for each in asked):
            text = (
                "Repeated questions got fewer different answers than the references give: replies may come from a cache, or the "
                "temperature is not the one that was asked for."
            )
            finding = Finding("cached-replies", "weak", text, keys)
            return self._untested(mine, "the answers repeat as a cache's would; ask past the cache to test this", finding)
        scores = [(pack, _score(pack, asked, given, self.plan)) for pack in _once(each.pack for each in asked)]
        told = [(pack, scored) for pack, scored in scores if scored.why_not is None]
        if sum(scored.answers for _, scored in told) < LEAST_ANSWERS:
            why = next((scored.why_not for _, scored in scores if scored.why_not), None)
            return self._untested(mine, why or f"fewer than {LEAST_ANSWERS} answers were choices")
        return self._evidence(mine, keys, told, [_row(each, given[each.name]) for each in asked])

    @cached_property
    def _asks(self) -> list[Ask]:
        """All asks of the plan: round by round over the questions, so that any stop leaves them evenly answered."""
        again = [each for each in self._usable if each.again]
        most = max(1, self.plan.choice_answers // ANSWERS_PER_QUESTION) if again else self.plan.choice_answers
        chosen = (again or self._usable)[:most]
        if not chosen:
            return []
        numbered = (
            (each, number // len(chosen) + 1) for number in range(self.plan.choice_answers) for each in [chosen[number % len(chosen)]]
        )
        return [self._ask(each, number) for each, number in numbered]

    def _ask(self, each: _Referenced, number: int) -> Ask:
        return Ask(
            probe=self.name,
            key=f"choice/{each.name}/{number}",
            messages=(("user", each.text),),
            max_tokens=max(each.question.max_tokens, self.plan.least_limit),
            temperature=each.question.temperature,
        )

    def _thinks(self, mine: Sequence[Reply], asked: Sequence[_Referenced]) -> str | None:
        """Why a thinking endpoint cannot be compared with references that were recorded without thinking."""
        answered = [reply for reply in mine if reply.ok]
        thinking = sum(_thinking(reply) for reply in answered)
        off = [each for each in asked if {each.pack.models[m].name for m in each.claimed} & _thinking_off(each.pack)]
        if off and thinking * 2 > len(answered):
            return "the endpoint thinks before it answers, and the claimed model's references were recorded with thinking off"
        return None

    def _evidence(
        self, mine: Sequence[Reply], keys: tuple[str, ...], told: Sequence[tuple[Pack, Scored]], rows: Sequence[JSON]
    ) -> Evidence:
        """All packs together: their answers are fresh, so that likelihoods and e-values multiply."""
        bound = math.log(CAP)
        findings = [Finding("pack-expired", "weak", f"{_sentence(line)}.") for pack, _ in told if (line := _stale(pack, self.plan))]
        names = list(dict.fromkeys(name for _, scored in told for name in scored.log_likelihood))
        logs = {name: math.fsum(scored.log_likelihood.get(name, scored.log_likelihood[UNKNOWN]) for _, scored in told) for name in names}
        peak = max(logs.values())
        best = max(names, key=lambda name: logs[name])
        current = math.fsum(scored.log_e if _stale(pack, self.plan) is None else min(scored.log_e, 0.0) for pack, scored in told)
        log_e = min(bound, max(-bound, current))
        answers = sum(scored.answers for _, scored in told)
        if log_e >= AGAINST:
            claim = self.plan.claim.model if self.plan.claim is not None else ""
            like = f"those of {best} fit them best" if best != UNKNOWN else "no referenced model explains them"
            text = f"{answers} free choices are not distributed as those of {claim}: {like} (e-value {math.exp(log_e):.3g})."
            findings.append(Finding("choice-mismatch", "strong" if log_e >= STRONG else "moderate", text, keys))
        supporting = [scored for _, scored in told if scored.supports_claim]
        return Evidence(
            channel=self.name,
            block=self.block,
            tested=True,
            log_e=log_e,
            log_likelihood={name: max(value - peak, -bound) for name, value in logs.items()},
            best=best if best != UNKNOWN else None,
            supports_claim=bool(supporting) and log_e <= math.log(2),
            resolution="model" if any(scored.resolution == "model" for scored in supporting) else "family",
            rounds=1,
            requests=len(mine),
            findings=tuple(findings),
            measured=tuple(rows),
        )

    def _untested(self, mine: Sequence[Reply], why: str, *findings: Finding) -> Evidence:
        return Evidence(self.name, self.block, tested=False, why_not=why, requests=len(mine), findings=findings)


def why_no_reference(plan: Plan) -> str:
    """What is missing, and what to do about it."""
    available = [pack for pack in plan.packs if pack.kind == "choices"]
    if not available:
        return "no choices pack is installed: record one with `truename enroll` or name one with --pack"
    model = plan.claim.model if plan.claim is not None else None
    if model is not None and not any(claimed_models(pack, model) for pack in available):
        return f"no references for {model}: record some with `truename enroll` or name a pack with --pack"
    if not any(question.text is not None for pack in available for question in pack.questions):
        return "no question texts: run `truename packs fetch`"
    return "no question whose text is here has references that can be compared: run `truename packs fetch` or `truename packs verify`"


def _referenced(plan: Plan) -> tuple[_Referenced, ...]:
    found: dict[str, _Referenced] = {}
    names: set[str] = set()
    for pack in plan.packs:
        if pack.kind != "choices":
            continue
        try:
            rules, counts, expected = choices.reference(pack)
        except PackError:
            continue  # said by `truename packs verify`; here it is a question without references
        claimed = tuple(claimed_models(pack, plan.claim.model)) if plan.claim is not None else ()
        for i, question in enumerate(pack.questions):
            known = expected[i].samples >= LEAST_SAMPLES
            if question.text is None or question.sha256 in found or not known.any():
                continue
            if plan.claim is not None and not any(known[m] for m in claimed):
                continue
            name = question.id if question.id not in names else f"{question.id}-{question.sha256[:8]}"
            names.add(name)
            again = any(choices.asks_again(pack, m) for m in claimed or range(len(pack.models)))
            found[question.sha256] = _Referenced(pack, i, question, question.text, rules[i], counts[i], expected[i], claimed, again, name)
    return tuple(sorted(found.values(), key=lambda each: (-_telling(each), each.name)))


def _telling(each: _Referenced) -> float:
    """Average total variation distance between the claimed model (any, without a claim) and the others: 0 to 1."""
    known = np.flatnonzero(each.expected.samples >= LEAST_SAMPLES)
    ours = [m for m in each.claimed if m in known] or list(known)
    distances = [np.abs(each.expected.expected[m] - each.expected.expected[other]).sum() / 2 for m in ours for other in known if other != m]
    return round(float(np.mean(distances)), 6) if distances else 0.0


def _score(pack: Pack, asked: Sequence[_Referenced], given: Mapping[str, Sequence[str]], plan: Plan) -> Scored:
    answers = {each.question.id: given[each.name] for each in asked if each.pack is pack}
    return choices.score(pack, answers, plan.claim.model if plan.claim is not None else None)


def _once(items: Iterator[Pack]) -> list[Pack]:
    return list({id(pack): pack for pack in items}.values())


def _texts(mine: Sequence[Reply]) -> list[tuple[str, str]]:
    return [(reply.ask.key, reply.text) for reply in mine if reply.ok and reply.text.strip()]


def _thinking(reply: Reply) -> bool:
    reasoned = reply.usage is not None and bool(reply.usage.reasoning_tokens)
    return reasoned or reply.text.lstrip().startswith(_THOUGHT)


def _thinking_off(pack: Pack) -> set[str]:
    listed = pack.extra.get("thinking_off")
    return {name for name in listed if isinstance(name, str)} if isinstance(listed, list) else set()


def _cached(each: _Referenced, texts: Sequence[str]) -> bool:
    """Whether a cache (or a temperature near 0) explains better than any reference how often the answers repeat.

    One answer throughout says nothing unless a compared model would give just that; few different ones say nothing where the claimed
    model (without a claim: any) gave more in 999 of 999 simulations and no referenced model fits them better than an unknown one."""
    drawn = _choices(each, texts)
    if len(drawn) < LEAST_ANSWERS:
        return False
    known = np.flatnonzero(each.expected.samples >= LEAST_SAMPLES)
    compared = [m for m in each.claimed if m in known] or known.tolist()
    different = set(drawn.tolist())
    if len(different) == 1:
        return bool((each.expected.expected[compared, drawn[0]] ** len(drawn) < 1 / (_DRAWS + 1)).all())
    table = np.bincount(drawn, minlength=each.rule.size - 1)[None]
    fits = log_likelihoods(each.expected, table)[0]
    if fits[known].max() >= fits[-1]:
        return False
    return not any(_may_repeat(each.expected.expected[m], len(drawn), len(different)) for m in compared)


def _may_repeat(expected: Array, n: int, different: int) -> bool:
    sharp = expected ** (1 / _SHARPEST)
    drawn = np.sort(np.random.default_rng(0).choice(len(sharp), size=(_DRAWS, n), p=sharp / sharp.sum()), axis=1)
    return bool(((drawn[:, 1:] != drawn[:, :-1]).sum(1) + 1 <= different).any())


def _choices(each: _Referenced, texts: Sequence[str]) -> Counts:
    drawn = np.array([each.rule.category(text) for text in texts], dtype=np.int64)
    return drawn[drawn < each.rule.size - 1]


def _row(each: _Referenced, texts: Sequence[str]) -> JSON:
    """The commonest choices to one question against what the claimed model (if any) would give."""
    drawn = _choices(each, texts)
    counts = np.bincount(drawn, minlength=each.rule.size - 1)
    expected = each.expected.expected[list(each.claimed)].mean(0) * len(drawn) if each.claimed else None
    commonest = np.argsort(-counts, kind="stable")[:_SHOWN]
    usual = np.argsort(-expected, kind="stable")[:_SHOWN].tolist() if expected is not None else []
    shown = [int(c) for c in dict.fromkeys([*commonest[counts[commonest] > 0], *usual])]
    row: JSON = {
        "key": f"choice/{each.name}",
        "answers": len(texts),
        "invalid": len(texts) - len(drawn),
        "measured": {each.rule.label(c): int(counts[c]) for c in shown},
    }
    return row if expected is None else row | {"predicted": {each.rule.label(c): round(float(expected[c]), 1) for c in shown}}


def _stale(pack: Pack, plan: Plan) -> str | None:
    """Why an outdated pack may not accuse; None where the plan knows no day (a replay without one) or the pack is current."""
    return packs.stale(pack, plan.today) if plan.today is not None else None


def _sentence(line: str) -> str:
    return line[:1].upper() + line[1:]
