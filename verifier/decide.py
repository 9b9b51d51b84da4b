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
from dataclasses import dataclass

from fingerprints import catalog
from fingerprints.catalog import Claim
from probes.counts import log_mean_exp
from probes.plan import RECOUNTERS
from probes.probe import Block, Evidence, Finding
from verifier import reasons

AGREEING = math.log(10.0)
"""Log e-value from which a channel counts as one of the two that an accusation needs (literature: blocks at e >= 10)."""
SURE = 0.95
"""Posterior of the claimed vocabulary from which, together with a matching channel, the claim is called consistent."""
UNKNOWN_PRIOR = 0.1
"""Prior probability of a vocabulary or family that the catalog does not know."""
COUNT_CHANNEL = "usage"


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
    attribution: tuple[tuple[str, float], ...]
    """(family, posterior), largest first."""
    unknown: float
    tokenizer: tuple[tuple[str, float], ...]
    """(vocabulary, posterior), largest first."""
    resolution: str | None
    excludes_share: float | None
    next: str
    findings: tuple[Finding, ...]

    @property
    def decided(self) -> bool:
        """Whether more questions could no longer be needed at this alpha."""
        return self.outcome != "inconclusive"


def decide(evidence: Sequence[Evidence], claim: Claim | None, alpha: float, further: Sequence[Finding] = ()) -> Verdict:
    """The verdict that the evidence supports so far, with `further` findings that no channel makes. Valid under any stopping rule."""
    tokenizer, unknown_tokenizer = _tokenizer_posterior(evidence)
    attribution, unknown = _attribution(tokenizer, unknown_tokenizer)
    log_e = _log_e(evidence)
    findings = tuple(_dedupe([f for e in evidence for f in e.findings] + _disagreements(evidence) + list(further)))
    if claim is None:
        outcome, why = _identify(evidence, tokenizer)
    elif _accused(evidence, log_e, alpha):
        outcome, why = "inconsistent", reasons.against(evidence)
    elif _cleared(evidence, claim, tokenizer, log_e):
        outcome, why = "consistent", reasons.matches(evidence)
    else:
        outcome, why = "inconclusive", reasons.missing(evidence, claim)
    return Verdict(
        outcome=outcome,
        log_e=log_e,
        alpha=alpha,
        reasons=tuple(Reason(code, text) for code, text in why),
        attribution=attribution,
        unknown=unknown,
        tokenizer=tokenizer,
        resolution="tokenizer" if outcome != "inconclusive" else None,
        excludes_share=_excludes_share(evidence, claim, alpha) if outcome == "consistent" and claim is not None else None,
        next=reasons.next_step(outcome, evidence, claim),
        findings=findings,
    )


def _log_e(evidence: Sequence[Evidence]) -> float:
    """Log e-value of all blocks: channels that read the same answers average, channels of fresh answers multiply."""
    surface = [e.log_e for e in evidence if e.tested and e.block is Block.SURFACE]  # each capped by its probe
    return math.fsum([log_mean_exp([e.log_e for e in group]) for group in _by_answers(evidence)] + surface)


def _by_answers(evidence: Sequence[Evidence]) -> list[list[Evidence]]:
    """Tested tokenizer channels, those that read the same answers together."""
    groups: dict[str, list[Evidence]] = {}
    for e in evidence:
        if e.tested and e.block is Block.TOKENIZER:
            groups.setdefault(e.answers or e.channel, []).append(e)
    return list(groups.values())


def _accused(evidence: Sequence[Evidence], log_e: float, alpha: float) -> bool:
    """Whether the contract's rule allows an accusation at this alpha."""
    threshold = math.log(1.0 / alpha)
    if log_e < threshold:
        return False
    tested = [e for e in evidence if e.tested]
    against = [e for e in tested if e.log_e >= AGREEING and e.block is not Block.SURFACE]
    texts = [e for e in against if e.channel != COUNT_CHANNEL]
    counts = next((e for e in tested if e.channel == COUNT_CHANNEL), None)
    if any(e.supports_claim for e in tested if e.channel != COUNT_CHANNEL):
        return False  # the text that the model writes is the claimed model's: the counts were rewritten, nobody swapped it
    twice = counts is not None and counts.log_e >= threshold and counts.rounds >= 2 and counts.best is not None
    recount_and_text = counts is not None and counts.recounted and any(e.log_e >= threshold for e in texts)
    return twice or recount_and_text or len(against) >= 2


def _cleared(evidence: Sequence[Evidence], claim: Claim, tokenizer: Sequence[tuple[str, float]], log_e: float) -> bool:
    """Whether the evidence matches the claim in a way that no recounting gateway would show for another model."""
    if claim.tokenizer is None or log_e > 0.0 or any(e.tested and e.log_e > 0.0 for e in evidence):
        return False
    posterior = dict(tokenizer).get(claim.tokenizer, 0.0)
    supporting = [e for e in evidence if e.tested and e.supports_claim]
    by_text = any(e.channel != COUNT_CHANNEL and e.discriminating >= 2 for e in supporting)
    by_counts = any(e.channel == COUNT_CHANNEL and e.rounds >= 2 for e in supporting) and claim.tokenizer not in RECOUNTERS
    return posterior >= SURE and (by_text or by_counts)


def _identify(evidence: Sequence[Evidence], tokenizer: Sequence[tuple[str, float]]) -> tuple[str, list[tuple[str, str]]]:
    """Without a claim: named, when one vocabulary is sure and not merely what gateways count with."""
    name, posterior = tokenizer[0] if tokenizer else ("", 0.0)
    channels = [e.channel for e in evidence if e.tested and e.best == name]
    rewritable = name in RECOUNTERS and channels == [COUNT_CHANNEL]
    if posterior >= SURE and channels and not rewritable:
        return "consistent", [("named", f"The replies match the vocabulary {name} ({', '.join(channels)}).")]
    return "inconclusive", reasons.missing(evidence, None)


def _tokenizer_posterior(evidence: Sequence[Evidence]) -> tuple[tuple[tuple[str, float], ...], float]:
    """Posterior per vocabulary (largest first) and of an unknown one; empty where no tokenizer channel was tested."""
    groups = _by_answers(evidence)
    if not groups:
        return (), 1.0
    names = [name for name in groups[0][0].log_likelihood if name != "unknown"]
    logs = dict.fromkeys((*names, "unknown"), 0.0)
    for group in groups:
        for name in logs:
            logs[name] += math.fsum(e.log_likelihood[name] for e in group) / len(group)  # the same answers count once
    for name in names:
        logs[name] += math.log((1.0 - UNKNOWN_PRIOR) / len(names))
    logs["unknown"] += math.log(UNKNOWN_PRIOR)
    peak = max(logs.values())
    weights = {name: math.exp(value - peak) for name, value in logs.items()}
    total = math.fsum(weights.values())
    ranked = sorted(((name, weights[name] / total) for name in names), key=lambda pair: (-pair[1], pair[0]))
    return tuple(ranked), weights["unknown"] / total


def _attribution(tokenizer: Sequence[tuple[str, float]], unknown: float) -> tuple[tuple[tuple[str, float], ...], float]:
    """Posterior per family of the catalog: families that share a vocabulary share its probability evenly."""
    posterior = dict(tokenizer)
    by_tokenizer: dict[str, list[str]] = {}
    for family, name in catalog.families().items():
        if name in posterior:
            by_tokenizer.setdefault(str(name), []).append(family)
    shares = {family: posterior[name] / len(families) for name, families in by_tokenizer.items() for family in families}
    ranked = sorted(shares.items(), key=lambda pair: (-pair[1], pair[0]))
    return tuple(ranked), max(0.0, 1.0 - math.fsum(shares.values())) if shares else unknown


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
