"""Do two endpoints serve the same thing? The paired test alone, from two targets to a report.

Takes two parsed targets and settings, gives a `Report` whose outcome is inconsistent (they answer differently), consistent (no
difference, at a printed resolution) or inconclusive. `conclude_comparison` draws the same conclusions again from a transcript,
offline. It compares behaviour: it cannot say which of the two is the genuine one, nor why they differ.
"""

from __future__ import annotations

import math
from collections.abc import Sequence, Set
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from fingerprints.wire import Wire
from probes import paired
from probes.paired_process import TOLERANCE
from probes.probe import Evidence, Reply
from verifier import auditing, outages
from verifier.accumulation import accumulated
from verifier.attribution import Attribution
from verifier.conversation import NothingAnsweredError, Progress, could_not_run
from verifier.decide import Reason, Verdict
from verifier.errors import CannotRunError
from verifier.options import Settings
from verifier.pairing import AskBoth, paired_probe, side_of
from verifier.report.model import Report, build
from verifier.surroundings import Surroundings, of_command_line
from verifier.transcript import Transcript

if TYPE_CHECKING:
    from verifier.target import Target

NOBODY = Attribution((), 1.0, (), 1.0)
"""The attribution of a comparison: it names no model."""


async def compare_targets(
    target: Target,
    reference: Target,
    settings: Settings,
    tolerance: float = TOLERANCE,
    progress: Progress | None = None,
    auto: Set[str] = frozenset(),
    surroundings: Surroundings | None = None,
) -> Report:
    """Compare two endpoints by pairs of answers; those named in `auto` (target, reference) on the wire that they turn out to speak.

    Stops as soon as they differ at the settings' alpha (unless early_stop is off), else asks every pair of the suite. Raises
    CannotRunError where one of them answers nothing.
    """
    from verifier.endpoint.detect import detect_wire, wire_by_url
    from verifier.endpoint.limits import Limits

    around = surroundings or of_command_line()
    sides = {"target": target, "reference": reference}
    sides |= {side: sides[side].speaking(wire_by_url(sides[side]) or Wire.OPENAI) for side in auto}
    tried: set[str] = set()
    while True:
        try:
            return await _compare(sides["target"], sides["reference"], settings, tolerance, progress, around)
        except _SilentError as silent:
            if silent.side not in auto - tried or silent.cause.kind not in auditing.ANOTHER_WIRE:
                raise silent.cause from None
            tried.add(silent.side)
            spoken = await detect_wire(sides[silent.side], Limits(timeout_s=settings.timeout_s), around.policy)
            if spoken is sides[silent.side].wire:
                raise silent.cause from None
            sides[silent.side] = sides[silent.side].speaking(spoken)


async def _compare(
    target: Target, reference: Target, settings: Settings, tolerance: float, progress: Progress | None, around: Surroundings
) -> Report:
    from verifier.endpoint.limits import Limits

    settings, policy, think = settings.checked(), around.policy, around.think
    header = auditing.make_header(target, None, settings, reference, tolerance)
    limits = Limits(
        timeout_s=settings.timeout_s, max_requests=header.max_requests, max_tokens=settings.max_tokens, concurrency=settings.concurrency
    )
    probe = paired_probe(header)
    replies: list[Reply] = []
    stopped_early = False
    async with AskBoth(target, reference, limits, policy, (lambda reply: progress(reply, None)) if progress else None) as both:
        while asks := await think(partial(probe.next_round, tuple(replies))):
            answered = await both.ask_all(asks, retry_timeouts=bool(replies))
            replies.extend(answered)
            for side, each in (("target", target), ("reference", reference)):
                own = [reply for reply in replies if side_of(reply.ask) == side]
                if own and not any(reply.ok for reply in own):
                    raise _SilentError(side, could_not_run(own, each.origin))
            verdict = await think(partial(_so_far, probe, tuple(replies), settings.alpha))
            if progress and replies:
                progress(replies[-1], verdict)
            if stopped_early := verdict.outcome == "inconsistent" and settings.early_stop:
                break
            if len(answered) < len(asks):
                break  # the budget is spent
    transcript = Transcript(header, tuple(replies), stopped_early)
    return await think(lambda: conclude_comparison(transcript, transcript.to_bytes()))


def _so_far(probe: paired.PairedProbe, replies: Sequence[Reply], alpha: float) -> Verdict:
    return decide_same(probe.read(replies), alpha)


class _SilentError(Exception):
    """One side answered none of its questions."""

    def __init__(self, side: str, cause: NothingAnsweredError) -> None:
        self.side, self.cause = side, cause
        super().__init__(side)


def conclude_comparison(transcript: Transcript, data: bytes) -> Report:
    """Evidence, verdict and report of a comparison: a pure function of its transcript."""
    if transcript.header.reference is None:
        raise CannotRunError("the transcript holds no comparison", "give one that `truename compare --out` wrote")
    probe = paired_probe(transcript.header)
    evidence = probe.read(transcript.replies)
    verdict = decide_same(evidence, transcript.header.alpha)
    findings = (*verdict.findings, *outages.findings(transcript.replies))
    return build(transcript, data, [evidence], replace(verdict, findings=findings), None, accumulated([probe], transcript.replies))


def decide_same(evidence: Evidence, alpha: float) -> Verdict:
    """Different, the same at a stated resolution, or neither, from the paired evidence. Valid under any stopping rule.

    `different` needs an e-value of 1/alpha. `same` needs three things (probes/paired.py names the numbers): no wealth won, an upper
    bound on the learnt separation, and answers varied enough to tell models apart by.
    """
    shown = {str(row["key"]): float(row["measured"]) for row in evidence.measured}
    if not evidence.tested:
        outcome, reason = "inconclusive", Reason("not-tested", f"The endpoints were not compared: {evidence.why_not}.")
    elif evidence.log_e >= math.log(1.0 / alpha):
        outcome, reason = "inconsistent", Reason("paired-differ", _differ(shown))
    elif evidence.supports_claim:
        outcome, reason = "consistent", Reason("paired-same", _same(shown, alpha))
    else:
        outcome, reason = "inconclusive", Reason("paired-undecided", _undecided(evidence, shown))
    return Verdict(
        outcome=outcome,
        log_e=evidence.log_e,
        alpha=alpha,
        reasons=(reason,),
        who=NOBODY,
        resolution=None,
        excludes_share=None,
        next=_NEXT[outcome],
        findings=evidence.findings,
    )


_NEXT = {
    "inconsistent": "Ask both operators for model, system prompt and sampling settings, and repeat on another day with another seed.",
    "consistent": "A faint difference, or a small share of swapped answers, would pass: repeat with another seed, or audit each by itself.",
    "inconclusive": "Ask more pairs: --suite deep with another seed.",
}


def _differ(shown: dict[str, float]) -> str:
    return (
        f"The two endpoints answer the same fresh questions differently, beyond a total variation of {shown[paired.ROW_TOLERANCE]:g}, "
        f"over {shown[paired.ROW_PAIRS]:.0f} pairs. That is another model, system prompt or sampler; this test cannot say which, nor "
        "which endpoint is right."
    )


def _same(shown: dict[str, float], alpha: float) -> str:
    return (
        f"No difference in {shown[paired.ROW_PAIRS]:.0f} pairs. Resolution: the score learnt on the way separates their answers by at most "
        f"{shown[paired.ROW_BOUND]:.2f} on average (0 is not at all, 1 is every time; error rate {alpha:g})."
    )


def _undecided(evidence: Evidence, shown: dict[str, float]) -> str:
    pairs = f"{shown[paired.ROW_PAIRS]:.0f} pairs"
    if evidence.log_e > paired.SAME_LOG_E:
        return f"{pairs} lean towards a difference, but not by enough to call it one (e = {math.exp(min(evidence.log_e, 300.0)):.3g})."
    if shown[paired.ROW_DIFFERENT] < paired.LEAST_ANSWERS:
        n = int(shown[paired.ROW_DIFFERENT])
        few = f"{n} different answer{'' if n == 1 else 's'}"
        return f"{pairs} show no difference, but the reference gave only {few}: too few to tell models apart by."
    wide = f"the separation may be up to {shown[paired.ROW_BOUND]:.2f}, and the same needs {paired.SAME_SEPARATION:g}"
    return f"{pairs} show no difference, but they are too few to rule one out: {wide}."
