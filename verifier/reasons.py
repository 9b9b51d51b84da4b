"""The sentences behind a verdict: what matched, what contradicts, what is missing and what would settle it.

Takes evidence, gives (code, text) pairs that a reader can check against the transcript. The codes are listed in
docs/verdicts.md. Pure wording; decides nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from fingerprints.catalog import Claim
from probes.plan import RECOUNTERS
from probes.probe import Block, Evidence
from verifier.mixture import Mixture

Reasons = list[tuple[str, str]]

_SAYS = {
    "usage": "Prompt-token counts of fresh strings",
    "truncation": "The ends of truncated copies",
    "stream": "The edges of streamed chunks",
    "logprobs": "The tokens that log probabilities spell",
    "bias": "The tokens that token ids force",
    "choice": "The free choices",
    "paired": "The answers beside those of the reference endpoint",
    "style": "The answers to open questions with references",
    "style-alone": "The answers to open questions without references",
    "knowledge": "The answers to knowledge questions",
    "surface": "Vendors' marks",
    "identity": "Self-reports",
    "protocol": "Error shapes and limits",
}
"""What a reason calls a channel: its text begins with this, so that a reader finds the channel among the report's blocks."""
_CODE = {
    "usage": "counts",
    "truncation": "cuts",
    "stream": "edges",
    "logprobs": "tokens",
    "bias": "ids",
    "choice": "choices",
    "paired": "pairs",
    "style": "style",
    "knowledge": "knowledge",
}
"""First half of the codes `…-match` and `…-contradict`, per channel."""
LEANING = math.log(3.0)
"""Log e-value from which a behaviour channel is said to stand against a claim, and stands in the way of clearing it: an honest
endpoint's e-value exceeds it in at most one audit of three. Tokenizer channels of an honest endpoint stay below 1, so for them any
doubt counts."""
_ONE_EXPLANATION = "A system prompt alone can move both choices and style: together they accuse only where both look like one other model."


def against(evidence: Sequence[Evidence]) -> Reasons:
    """One reason per channel that stands against the claim, then what was not tested."""
    found: Reasons = []
    for e in evidence:
        if e.block is Block.SURFACE:
            found += _marks(e)
        elif e.tested and e.log_e > (0.0 if e.block is Block.TOKENIZER else LEANING):
            found.append((f"{_CODE[e.channel]}-contradict", _contradiction(e)))
        elif e.tested and e.recounted:
            found.append(("usage-recounted", f"{_SAYS[e.channel]} match {e.best}, which is not the claimed model's vocabulary."))
    return found + not_tested(evidence)


def matches(evidence: Sequence[Evidence]) -> Reasons:
    """One reason per channel that matches the claim, then what was not tested: not tested is not clean."""
    found: Reasons = []
    for e in evidence:
        if e.tested and e.supports_claim:
            found.append((f"{_CODE[e.channel]}-match", _match(e)))
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
        if e.block is Block.SURFACE:
            found += _marks(e)
        elif e.tested:
            found.append(_undecided(e, claim))
    bests = {e.best for e in evidence if e.tested and e.best is not None and e.block is Block.TOKENIZER}
    if len(bests) > 1:
        found.append(("channels-disagree", f"Channels point to different vocabularies: {', '.join(sorted(bests))}."))
    behaviour = [e for e in evidence if e.tested and e.block in (Block.CHOICE, Block.STYLE) and e.log_e > 0.0]
    if len({e.block for e in behaviour}) > 1:
        found.append(("one-explanation", _ONE_EXPLANATION))
    return found + not_tested(evidence)


def mixed(found: Mixture) -> tuple[str, str]:
    """What single replies say of a second backend."""
    text = (
        f"Of {found.told} replies that tell the two apart, {len(found.others)} are those of the vocabulary {found.candidate} and "
        f"{len(found.claimed)} those of the claimed model."
    )
    return "replies-mixed", text


def not_tested(evidence: Sequence[Evidence]) -> Reasons:
    """One reason per channel that could not be tested."""
    return [("not-tested", f"{_SAYS[e.channel]} were not tested: {e.why_not}.") for e in evidence if not e.tested]


def next_step(outcome: str, evidence: Sequence[Evidence], claim: Claim | None, resolution: str | None) -> str:
    """One sentence: what would settle or firm up this verdict."""
    untested = {e.channel for e in evidence if not e.tested}
    behaviour = [e for e in evidence if e.block in (Block.CHOICE, Block.STYLE)]
    if outcome == "inconsistent":
        return "Repeat the audit on another day with another seed before acting on it, and ask the operator for an explanation."
    if outcome == "consistent" and claim is None:
        return "Audit with --claim to test a particular model."
    if outcome == "consistent" and resolution == "tokenizer":
        return (
            "The tokenizer matches; models that share it are not told apart by it. "
            "Behaviour references would speak about the model: `truename packs fetch`, or `truename enroll` a trusted endpoint."
        )
    if outcome == "consistent":
        return "Audit again from time to time: an endpoint may change after it was tested."
    if claim is not None and claim.tokenizer is None and not any(e.tested for e in behaviour):
        return "Give --family if the claim is a fine-tune of a known base model, or --pack with references of the claimed model."
    if untested & {"truncation", "stream", "logprobs"}:
        return (
            "A channel made of text would settle it: copies cut at max_tokens, streamed chunks or log probabilities (try --suite deep "
            "with another seed), or behaviour against references (--pack, --reference)."
        )
    return "Repeat with --suite deep and another seed; ask the operator whether usage is recounted."


def _contradiction(e: Evidence) -> str:
    says = _SAYS[e.channel]
    if e.channel == "logprobs":
        return f"{says} are not all entries of the claimed model's vocabulary."
    if e.channel == "bias":
        return f"{says} are not those that the claimed model's vocabulary has under these ids."
    if e.channel == "paired":
        return f"{says} differ by more than honest endpoints do, over {e.rounds} pairs."
    if e.best is None:
        return f"{says} do not fit the claimed model, and no other that is known."
    if e.block is not Block.TOKENIZER:
        return f"{says} do not fit the claimed model's references; {e.best} fits best."
    times = f", in {e.rounds} independent rounds" if e.channel == "usage" else f", in {e.rounds} copies" if e.rounds else ""
    return f"{says} match the vocabulary {e.best}{times}."


def _match(e: Evidence) -> str:
    says = _SAYS[e.channel]
    if e.channel == "paired":
        return f"{says} do not differ by more than honest endpoints do, over {e.rounds} pairs."
    if e.block is not Block.TOKENIZER:
        return f"{says} fit the claimed {'model' if e.resolution == 'model' else 'family'} ({e.best})."
    return f"{says} match the claimed model's vocabulary {e.best}."


def _undecided(e: Evidence, claim: Claim | None) -> tuple[str, str]:
    """What one tested channel says where there is no verdict."""
    says = _SAYS[e.channel]
    if e.recounted:
        return "usage-recounted", f"{says} match {e.best}, with which honest gateways recount any model's usage."
    if e.channel == "usage" and e.best is None:
        return "unknown-tokenizer", f"{says} match no known vocabulary."
    if e.supports_claim and e.channel == "usage" and claim is not None and claim.tokenizer in RECOUNTERS:
        return "counts-recountable", f"{says} match the claim, as they would behind any gateway that recounts with {e.best}."
    if e.supports_claim:
        return f"{_CODE[e.channel]}-match", _match(e)
    if e.log_e > 0.0:
        return "one-channel", f"{says} point to {e.best or 'something else than the claim'}; this alone does not carry an accusation."
    return "undecided", f"{says} neither match the claim clearly nor contradict it."


def _marks(e: Evidence) -> Reasons:
    """A foreign mark is worth a sentence; its absence is not."""
    if not e.tested or e.best is None or e.log_e <= 0.0:
        return []
    return [("foreign-marker", f"{_SAYS[e.channel]} in the replies include {e.best}'s; marks never accuse alone.")]
