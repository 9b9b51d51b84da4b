"""What a vendor's bookkeeping adds to the tokens of the text itself: template overheads on the prompt, offsets on the completion.

It takes plain rows (texts and the counts reported for them) and the constants that `python -m fingerprints.build accounting` fits from
recorded traffic, and gives expected constants and bounded log likelihoods per vocabulary: evidence about the stack. It must never look at
names, ids or headers, and never accuse: a gateway may honestly recount, scale or prepend (CONTRACT, "What an accusation may rest on").
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fingerprints import catalog, tokenizers
from fingerprints.stack_likelihood import FLAVOURS, LOG_BOUND, Completion, content, log_sum, stack_evidence, stream_evidence
from fingerprints.stacks import UNKNOWN, Table, digest, overhead, shape, shipped, template_of

__all__ = [
    "Completion",
    "Constant",
    "StackEvidence",
    "completion_evidence",
    "digest",
    "expected_offset",
    "expected_overhead",
    "hidden_prompt_tokens",
]


@dataclass(frozen=True, slots=True)
class Constant:
    """A fitted number of tokens and how well it is supported."""

    tokens: int
    n: int
    """Recorded exchanges it was fitted on."""
    share: float
    """Share of them that show exactly this number."""
    repositories: int
    """Independent sources of those exchanges."""
    first_seen: str
    """Date of the oldest dated exchange, "2024-05-13"; empty where none is dated."""
    last_seen: str


@dataclass(frozen=True, slots=True)
class StackEvidence:
    """How well each vocabulary explains the counts of one endpoint."""

    log_likelihood: Mapping[str, float]
    """Candidate (vocabulary, or UNKNOWN) -> natural log likelihood, the best at 0 and none below -LOG_BOUND."""
    best: str
    """The most probable candidate, with the vocabularies' shares of recorded repositories as prior."""
    claim_log_odds: float | None
    """Log odds of the claimed model's vocabulary and bookkeeping against the other candidates (averaged over the same prior), within
    +-LOG_BOUND; None without a claim, or where the claim's vocabulary is not known."""
    rows: int
    """How many rows counted."""


def expected_overhead(model: str, roles: Sequence[str], provider: str | None = None, flavour: str | None = None) -> Constant | None:
    """Tokens that the template adds to a prompt of messages with these roles: prompt_tokens minus the tokens of their contents.

    `model` is any spelling that the catalog resolves; without `provider` or `flavour` the best-supported stack answers. None where no
    recorded stack says.
    """
    found = catalog.find(model)
    if found is None:
        return None
    rows = [row for row in shipped().overheads if row["family"] == found.family and _matches(row, provider, flavour)]
    for row in sorted(rows, key=lambda row: (found.name in row["models"], row["repositories"], row["n"] * row["share"]), reverse=True):
        tokens = overhead(template_of(row), shape(roles))
        if tokens is not None:
            return _constant(row, tokens)
    return None


def expected_offset(
    model: str, provider: str | None = None, flavour: str | None = None, *, tools: bool = False, length: bool = False
) -> Constant | None:
    """completion_tokens minus the tokens of the text, for a reply that is text alone; 0 by construction where it was cut.

    None where no recorded stack says; see :func:`expected_overhead` for the arguments.
    """
    found = catalog.find(model)
    if found is None:
        return None
    rows = [row for row in shipped().offsets if row["family"] == found.family and _matches(row, provider, flavour)]
    rows = [row for row in rows if row["tools"] == tools and row["length"] == length]
    best = max(rows, key=lambda row: (row["repositories"], row["n"] * row["share"]), default=None)
    return None if best is None else _constant(best, best["tokens"])


def hidden_prompt_tokens(
    model: str, messages: Sequence[tuple[str, str]], prompt_tokens: int, provider: str | None = None, flavour: str | None = None
) -> int | None:
    """Tokens of the prompt that neither the messages nor the model's template explain: text that somebody put in, or (negative) text
    that never arrived. None where the template or the vocabulary is not known."""
    found = catalog.find(model)
    expected = expected_overhead(model, [role for role, _ in messages], provider, flavour)
    if found is None or found.tokenizer not in tokenizers.names() or expected is None:
        return None
    return prompt_tokens - content(found.tokenizer, messages) - expected.tokens


def completion_evidence(rows: Sequence[Completion], claim: str | None = None, table: Table | None = None) -> StackEvidence:
    """Likelihood of one endpoint's counts under every installed vocabulary. Offset and template are latent, one of each for all rows of
    a flavour, with priors from recorded stacks; streamed pieces are read as token boundaries.

    `claim` is a model name. `table` replaces the shipped constants (benchmarks that fit on a part). Rows without text or tokens count
    for nothing. Never raises on any numbers or texts.
    """
    table = table or shipped()
    rows = [row for row in rows if row.completion_tokens > 0 and row.text]
    stacks: defaultdict[str, list[Completion]] = defaultdict(list)
    for row in rows:
        stacks[row.flavour].append(row)
    edges = stream_evidence(rows)
    logs = {
        name: edges[name] + sum(stack_evidence(name, stack, table, None) for stack in stacks.values())
        for name in (*tokenizers.names(), UNKNOWN)
    }
    best = max(logs, key=lambda name: logs[name] + table.popularity(name))
    found = catalog.find(claim) if claim else None
    odds = None
    if found is not None and found.tokenizer in logs:
        own = edges[found.tokenizer] + sum(stack_evidence(found.tokenizer, stack, table, found.family) for stack in stacks.values())
        others = {name: table.popularity(name) for name in logs if name != found.tokenizer}
        against = log_sum(logs[name] + weight for name, weight in others.items()) - log_sum(others.values())
        odds = max(-LOG_BOUND, min(LOG_BOUND, own - against))
    top = max(logs.values())
    return StackEvidence({name: max(value - top, -LOG_BOUND) for name, value in logs.items()}, best, odds, len(rows))


def _matches(row: Mapping[str, Any], provider: str | None, flavour: str | None) -> bool:
    return provider in (None, row["provider"]) and FLAVOURS.get(flavour or "", flavour) in (None, row["flavour"])


def _constant(row: Mapping[str, Any], tokens: int) -> Constant:
    return Constant(tokens, row["n"], row["share"], row["repositories"], row["first_seen"], row["last_seen"])
