"""What an audit would cost before it is sent: requests, tokens and, where the list price is known, dollars.

Takes the header and the probes of an audit that has not begun; sends nothing. Prices are those of verifier.prices, with their date; what a
reseller really charges may be known to the user's own table only, so this is an order of magnitude.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fingerprints import catalog, tokenizers
from fingerprints.catalog import Claim
from probes.probe import Ask, Probe, Reply, TokenBytes, Usage
from verifier.prices import price_of
from verifier.transcript import Header

TEMPLATE_TOKENS = 12
"""Tokens per request that chat templates add, typically (research: 7 for GPT-4o, 10 to 35 for Llama 3)."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one endpoint's questions cost."""

    requests: int
    prompt_tokens: int
    completion_tokens: int
    dollars: float | None
    """None where the model's list price is not known."""
    priced: str
    """Which price list, in a few words."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The questions of an audit or comparison that nothing stops early, and what they cost."""

    asks: tuple[Ask, ...]
    goals: dict[str, str]
    """What each probe that asks finds out, in a sentence."""
    sides: dict[str, Cost]
    """The `target`'s cost, and the `reference`'s where there is one."""

    @property
    def total(self) -> Cost:
        """Both sides together; no price where one side's is not known."""
        costs = list(self.sides.values())
        priced = "; ".join(dict.fromkeys(cost.priced for cost in costs))
        known = [cost.dollars for cost in costs if cost.dollars is not None]
        dollars = math.fsum(known) if len(known) == len(costs) else None
        prompt, completion = (sum(counts) for counts in zip(*((c.prompt_tokens, c.completion_tokens) for c in costs), strict=True))
        return Cost(sum(cost.requests for cost in costs), prompt, completion, dollars, priced)


def plan(header: Header, claim: Claim | None, probes: Sequence[Probe], data_dir: Path | None = None) -> Plan:
    """Plan what an audit or comparison with this header and these probes asks, within its request limit, if every question is answered.

    `data_dir` is where the user's price table may lie, by default the user's data directory. Raises UsageError for one that is none."""
    asks: list[Ask] = []
    goals: dict[str, str] = {}
    for probe in probes:
        room = header.max_requests - len(asks)
        if planned := _all_asks(probe)[:room]:
            asks.extend(planned)
            goals[probe.name] = probe.goal
    names = {"target": claim.model if claim else header.target["model"]}
    if header.reference is not None:
        names["reference"] = header.reference["model"]
    vocabulary = claim.tokenizer if claim else None
    sides = {side: _cost([ask for ask in asks if ask.to == side], name, vocabulary, data_dir) for side, name in names.items()}
    return Plan(tuple(asks), goals, sides)


def _cost(asks: Sequence[Ask], model: str, vocabulary: str | None, data_dir: Path | None) -> Cost:
    """Tokens counted with `vocabulary` (o200k where it is not one that we have), priced as the catalog's model of that name."""
    known = catalog.find(model)
    named = vocabulary or (known.tokenizer if known else None)
    counter = tokenizers.vocabulary(named if named is not None and named in tokenizers.names() else "o200k")
    prompt = sum(TEMPLATE_TOKENS + sum(counter.count(content) for _, content in ask.messages) for ask in asks)
    completion = sum(ask.max_tokens for ask in asks)
    price = price_of(model, data_dir)
    if price is None:
        return Cost(len(asks), prompt, completion, None, "list price not known")
    priced = f"{'your' if price.own else 'list'} price of {price.as_of}"
    return Cost(len(asks), prompt, completion, price.dollars(prompt, completion), priced)


def _all_asks(probe: Probe) -> list[Ask]:
    """Every question that `probe` would ask of an endpoint that answers like a plain one."""
    asks: list[Ask] = []
    replies: list[Reply] = []
    while more := probe.next_round(replies):
        asks.extend(more)
        replies.extend(_plain_reply(ask) for ask in more)
    return asks


def _plain_reply(ask: Ask) -> Reply:
    """What an endpoint that offers everything might answer, so that no probe gives up early."""
    usage = Usage(prompt_tokens=len(ask.payload), completion_tokens=1)
    return Reply(ask, status=200, text="OK", finish="stop", usage=usage, tokens=(TokenBytes(b"OK"),))
