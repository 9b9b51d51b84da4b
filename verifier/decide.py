"""From evidence to verdict: accuse, clear, or say what is missing.

Takes the evidence of every channel and the claim, gives a `Verdict`. Accusing and attributing are two outputs: the accusation
is a test of "serves the claimed model under an allowed configuration" with an anytime-valid e-value, the attribution a
posterior over known families with an explicit unknown, and a posterior alone never accuses. Pure; no clock, no network.

The null hypothesis and what may stand against it follow the contract ("What an accusation may rest on"); the statistics are
Ville's inequality for products of e-values over fresh questions, and averages over statistics of the same answers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fingerprints import catalog
from fingerprints.catalog import Claim
from probes.counts import WHOLE_STAKE, log_mean_exp
from probes.plan import RECOUNTERS
from probes.probe import Block, Evidence, Finding
from verifier import reasons
from verifier.accusing import AGREEING, COUNT_CHANNEL, accused, looks_mixed, mixture_accused, same_model
from verifier.attribution import Attribution, attribute
from verifier.mixture import Mixture
from verifier.multiple import Carried
from verifier.reasons import LEANING

SURE = 0.95
"""Posterior of the claimed vocabulary, family or model from which, together with a matching channel, a claim is consistent."""


@dataclass(frozen=True, slots=True)
class Reason:
    """One checkable sentence for the verdict. Codes are listed in docs/verdicts.md."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The conclusion. Probabilities lie in 0..1; `log_e` is the natural log of the e-value against the claim."""

    outcome: str
    log_e: float
    alpha: float
    reasons: tuple[Reason, ...]
    who: Attribution
    resolution: str | None
    excludes_share: float | None
    next: str
    findings: tuple[Finding, ...]
    carried: Carried | None = None
    """What the next audit of the same endpoint and claim carries on from; None where audits stand alone."""

    @property
    def tokenizer(self) -> tuple[tuple[str, float], ...]:
        """(vocabulary, posterior), largest first."""
        return self.who.tokenizer

    @property
    def decided(self) -> bool:
        """Whether more questions could no longer be needed at this alpha."""
        return self.outcome != "inconclusive"


def decide(
    evidence: Sequence[Evidence],
    claim: Claim | None,
    alpha: float,
    further: Sequence[Finding] = (),
    carried: Carried | None = None,
    mixed: Mixture | None = None,
) -> Verdict:
    """The verdict that the evidence supports so far, with `further` findings that no channel makes. Valid under any stopping rule.

    `mixed` is what the replies one by one say of a second backend (verifier/mixture.py). With `carried`, the e-value is that of this
    audit and of all earlier ones of the same endpoint and claim together, and alpha the error rate over all of them and all that follow.
    """
    who = attribute(evidence)
    log_e = own = evidence_against(evidence, mixed)
    if carried is not None:
        log_e = carried.after(own).log_e
    findings = tuple(_dedupe([f for e in evidence for f in e.findings] + _disagreements(evidence) + list(further)))
    resolution = None
    if claim is None:
        outcome, resolution, why = _identify(evidence, who)
    elif pair := accused(evidence, log_e, alpha, findings):
        outcome, resolution, why = "inconsistent", _finest(pair), reasons.against(evidence)
    elif mixed is not None and mixture_accused(mixed, log_e, alpha):
        outcome, resolution, why = "inconsistent", "tokenizer", [reasons.mixed(mixed), *reasons.against(evidence)]
    elif (by := _cleared(evidence, claim, who)) and not looks_mixed(mixed):
        outcome, resolution, why = "consistent", _finest(by), reasons.matches(evidence)
    else:
        outcome, why = "inconclusive", reasons.missing(evidence, claim)
        if mixed is not None and looks_mixed(mixed):
            why = [reasons.mixed(mixed), *why]
    return Verdict(
        outcome=outcome,
        log_e=log_e,
        alpha=alpha,
        reasons=tuple(Reason(code, text) for code, text in why),
        who=who,
        resolution=resolution,
        excludes_share=_excludes_share(evidence, claim, alpha) if outcome == "consistent" and claim is not None else None,
        next=reasons.next_step(outcome, evidence, claim, resolution),
        findings=findings,
        carried=carried.after(own) if carried is not None else None,
    )


def in_batch(verdict: Verdict, alone: Verdict, endpoints: int) -> Verdict:
    """`verdict` of one row of a batch, with the reason where it would have been an accusation `alone`."""
    if alone.outcome != "inconsistent":
        return verdict
    text = (
        f"Alone, this endpoint would be accused (e = {math.exp(min(alone.log_e, 300.0)):.3g}, error rate {alone.alpha:g}); among "
        f"{endpoints} endpoints that error rate needs more evidence."
    )
    reason = Reason("batch-error", text)
    return replace(verdict, reasons=(reason, *verdict.reasons), next="Audit this endpoint alone, or repeat the batch with --suite deep.")


def evidence_against(evidence: Sequence[Evidence], mixed: Mixture | None = None) -> float:
    """Log e-value against the claim: channels that read the same answers average, channels of fresh answers multiply.

    The bet on a mixture reads the same answers once more, so it averages with all of them. Surface channels (marks, self-reports) are
    left out: what they show has no stated law under an honest endpoint.
    """
    groups: dict[str, list[float]] = {}
    for e in evidence:
        if e.tested and e.block is not Block.SURFACE:
            groups.setdefault(e.answers or e.channel, []).append(e.log_e)
    whole = math.fsum(log_mean_exp(logs) for logs in groups.values())
    if mixed is None:
        return whole
    return float(np.logaddexp(math.log(WHOLE_STAKE) + whole, math.log1p(-WHOLE_STAKE) + mixed.log_e))


def _cleared(evidence: Sequence[Evidence], claim: Claim, who: Attribution) -> list[Evidence]:
    """The channels that match the claim in a way that no gateway would show for another model; empty where they do not suffice."""
    tested = [e for e in evidence if e.tested]
    if any(e.log_e > (0.0 if e.block in (Block.TOKENIZER, Block.SURFACE) else LEANING) for e in tested):
        return []
    if any(_unlike(e, claim) for e in tested if e.block in (Block.CHOICE, Block.STYLE, Block.KNOWLEDGE)):
        return []  # forged counts match whatever is claimed
    if _looks_like_sibling(who, claim):
        return []
    supporting = [e for e in tested if e.supports_claim]
    tokens = [e for e in supporting if e.block is Block.TOKENIZER]
    behaviour = [e for e in supporting if e.block not in (Block.TOKENIZER, Block.SURFACE)]
    by_text = any(e.channel != COUNT_CHANNEL and e.discriminating >= 2 for e in tokens)
    by_counts = any(e.channel == COUNT_CHANNEL and e.rounds >= 2 for e in tokens) and claim.tokenizer not in RECOUNTERS
    vocabulary = dict(who.tokenizer).get(claim.tokenizer or "", 0.0)
    if vocabulary >= SURE and (by_text or by_counts):
        return supporting
    conflicting = claim.tokenizer is not None and any(
        e.best not in (None, claim.tokenizer) for e in tested if e.block is Block.TOKENIZER and not e.recounted
    )
    if behaviour and not conflicting and who.of_family(claim.family) >= SURE:
        return supporting
    return []


def _unlike(e: Evidence, claim: Claim) -> bool:
    """Whether answers look at least ten times less like the claimed model and its family than like another candidate."""
    found = catalog.find(claim.model)
    names = {claim.model, found.name if found else claim.model}
    own = [
        value
        for name, value in e.log_likelihood.items()
        if name in names or (claim.family is not None and (held := catalog.find(name)) is not None and held.family == claim.family)
    ]
    return bool(own) and max(e.log_likelihood.values()) - max(own) > AGREEING


def _looks_like_sibling(who: Attribution, claim: Claim) -> bool:
    """Whether the posterior is sure of another model of the claimed family, with references of the claimed model beside it.

    A sibling shares the vocabulary and much of the behaviour: this accuses nobody, but nobody is cleared over it.
    """
    first = who.candidates[0] if who.candidates else None
    if first is None or first.posterior < SURE or first.family != claim.family or catalog.find(first.name) is None:
        return False
    referenced = any(same_model(candidate.name, claim.model) for candidate in who.candidates)
    return referenced and not same_model(first.name, claim.model)


def _finest(evidence: Sequence[Evidence]) -> str:
    """The finest level that these channels speak for."""
    levels = ("model", "family", "tokenizer")
    return next((level for level in levels if any(e.resolution == level for e in evidence)), "tokenizer")


def _identify(evidence: Sequence[Evidence], who: Attribution) -> tuple[str, str | None, list[tuple[str, str]]]:
    """Without a claim: named, when one model, family or vocabulary is sure and not merely what gateways count with."""
    first = who.candidates[0] if who.candidates else None
    behaviour = [e for e in evidence if e.tested and e.block in (Block.CHOICE, Block.STYLE, Block.KNOWLEDGE)]
    speaking = [e.channel for e in behaviour if first is not None and e.best == first.name]
    if first is not None and speaking and first.posterior >= SURE:
        return "consistent", "model", [("named", f"The answers are those of {first.name} ({', '.join(speaking)}).")]
    name, posterior = who.tokenizer[0] if who.tokenizer else ("", 0.0)
    channels = [e.channel for e in evidence if e.tested and e.best == name]
    rewritable = name in RECOUNTERS and channels == [COUNT_CHANNEL]
    if posterior >= SURE and channels and not rewritable:
        return "consistent", "tokenizer", [("named", f"The replies match the vocabulary {name} ({', '.join(channels)}).")]
    return "inconclusive", None, reasons.missing(evidence, None)


def _excludes_share(evidence: Sequence[Evidence], claim: Claim, alpha: float) -> float | None:
    """Smallest share of another distinguishable backend that would have shown itself with probability 1 - alpha.

    n matching replies, each of which would have differed under another backend, rule out a share s with (1 - s)^n <= alpha.
    """
    usable = [e for e in evidence if e.tested and not (e.channel == COUNT_CHANNEL and claim.tokenizer in RECOUNTERS)]
    n = max((e.discriminating for e in usable), default=0)
    return 1.0 - alpha ** (1.0 / n) if n else None


def _disagreements(evidence: Sequence[Evidence]) -> list[Finding]:
    """Counts of one vocabulary beside text of another: the usage was rewritten."""
    counts = next((e for e in evidence if e.tested and e.channel == COUNT_CHANNEL and e.best is not None), None)
    if counts is None:
        return []
    texts = [e for e in evidence if e.tested and e.channel != COUNT_CHANNEL and e.block is Block.TOKENIZER]
    other = next((e for e in texts if e.best not in (None, counts.best)), None)
    if other is None or (counts.log_e < AGREEING and other.log_e < AGREEING):
        return []  # an honest recount is usage-recounted, which the counts' own finding says
    text = f"Prompt tokens are counted with {counts.best}, but the text is cut and streamed in tokens of {other.best}: usage is rewritten."
    keys = tuple(str(row["key"]) for row in (*counts.measured, *other.measured))
    return [Finding("usage-rewritten", "strong" if other.log_e >= AGREEING else "moderate", text, keys)]


def _dedupe(findings: Sequence[Finding]) -> list[Finding]:
    """One finding per code and text, in order."""
    return list({(f.code, f.text): f for f in findings}.values())
