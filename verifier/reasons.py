"""The sentences behind a verdict: what matched, what contradicts, what is missing and what would settle it.

Takes evidence, gives (code, text) pairs that a reader can check against the transcript. The codes are listed in
docs/verdicts.md. Pure wording; decides nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from fingerprints.catalog import Claim
from probes.plan import RECOUNTERS
from probes.probe import Block, Evidence

Reasons = list[tuple[str, str]]

_SAYS = {
    "usage": "Prompt-token counts of fresh strings",
    "truncation": "The ends of truncated copies",
    "stream": "The edges of streamed chunks",
    "logprobs": "The tokens that log probabilities spell",
    "surface": "Vendors' marks",
}
_CODE = {"usage": "counts", "truncation": "cuts", "stream": "edges", "logprobs": "tokens"}


def against(evidence: Sequence[Evidence]) -> Reasons:
    """One reason per channel that stands against the claim."""
    found: Reasons = []
    for e in evidence:
        if e.block is Block.SURFACE:
            found += _marks(e)
        elif e.tested and e.log_e > 0.0 and e.channel == "logprobs":
            found.append(("tokens-contradict", f"{_SAYS[e.channel]} are not all entries of the claimed model's vocabulary."))
        elif e.tested and e.log_e > 0.0 and e.best is not None:
            times = f", in {e.rounds} independent rounds" if e.channel == "usage" else f", in {e.rounds} copies"
            found.append((f"{_CODE[e.channel]}-contradict", f"{_SAYS[e.channel]} match the vocabulary {e.best}{times}."))
        elif e.tested and e.recounted:
            found.append(("usage-recounted", f"{_SAYS[e.channel]} match {e.best}, which is not the claimed model's vocabulary."))
    return found


def matches(evidence: Sequence[Evidence]) -> Reasons:
    """One reason per channel that matches the claim, then what was not tested: not tested is not clean."""
    found: Reasons = []
    for e in evidence:
        if e.tested and e.supports_claim:
            found.append((f"{_CODE[e.channel]}-match", f"{_SAYS[e.channel]} match the claimed model's vocabulary {e.best}."))
        elif e.tested and e.recounted:
            found.append(("usage-recounted", f"{_SAYS[e.channel]} match {e.best}: the gateway recounts; the text speaks for the claim."))
    counted = [e for e in evidence if e.tested and e.supports_claim]
    if all(e.channel == "usage" for e in counted):
        found.append(
            ("counts-only", "This rests on reported counts alone: a relay that forges them with the claimed tokenizer would pass.")
        )
    return found + not_tested(evidence)


def missing(evidence: Sequence[Evidence], claim: Claim | None) -> Reasons:
    """Why there is no verdict: what was seen that does not suffice, and every channel that said nothing."""
    found: Reasons = []
    if claim is not None and claim.tokenizer is None:
        found.append(("no-vocabulary-known", f"No vocabulary is known for {claim.model!r}, so tokenizer evidence cannot speak about it."))
    for e in evidence:
        if not e.tested:
            continue
        if e.block is Block.SURFACE:
            found += _marks(e)
        elif e.recounted:
            found.append(("usage-recounted", f"{_SAYS[e.channel]} match {e.best}, with which honest gateways recount any model's usage."))
        elif e.channel == "usage" and e.best is None:
            found.append(("unknown-tokenizer", f"{_SAYS[e.channel]} match no known vocabulary."))
        elif e.supports_claim and e.channel == "usage" and claim is not None and claim.tokenizer in RECOUNTERS:
            found.append(
                ("counts-recountable", f"{_SAYS[e.channel]} match the claim, as they would behind any gateway that recounts with {e.best}.")
            )
        elif e.supports_claim:
            found.append((f"{_CODE[e.channel]}-match", f"{_SAYS[e.channel]} match the claimed model's vocabulary {e.best}."))
        elif e.log_e > 0.0:
            found.append(
                ("one-channel", f"{_SAYS[e.channel]} point to {e.best or 'another vocabulary'}; this alone does not carry an accusation.")
            )
        else:
            found.append(("undecided", f"{_SAYS[e.channel]} neither match the claim clearly nor contradict it."))
    bests = {e.best for e in evidence if e.tested and e.best is not None and e.block is not Block.SURFACE}
    if len(bests) > 1:
        found.append(("channels-disagree", f"Channels point to different vocabularies: {', '.join(sorted(bests))}."))
    return found + not_tested(evidence)


def _marks(e: Evidence) -> Reasons:
    """A foreign mark is worth a sentence; its absence is not."""
    return [("foreign-marker", f"{_SAYS[e.channel]} in the replies include {e.best}'s; marks never accuse alone.")] if e.log_e > 0.0 else []


def not_tested(evidence: Sequence[Evidence]) -> Reasons:
    """One reason per channel that could not be tested."""
    return [("not-tested", f"{_SAYS[e.channel]} were not tested: {e.why_not}.") for e in evidence if not e.tested]


def next_step(outcome: str, evidence: Sequence[Evidence], claim: Claim | None) -> str:
    """One sentence: what would settle or firm up this verdict."""
    untested = [e.channel for e in evidence if not e.tested]
    if outcome == "inconsistent":
        return "Repeat the audit on another day with another seed before acting on it, and ask the operator for an explanation."
    if outcome == "consistent" and claim is not None:
        return "The tokenizer matches; models that share it are not told apart by it. Behaviour references would speak about the model."
    if outcome == "consistent":
        return "Audit with --claim to test a particular model."
    if claim is not None and claim.tokenizer is None:
        return "Give --family if the claim is a fine-tune of a known base model."
    if "truncation" in untested or "stream" in untested:
        return "A text channel would settle it: copies cut at max_tokens, or streamed chunks. Try --suite deep with another seed."
    return "Repeat with --suite deep and another seed; ask the operator whether usage is recounted."
