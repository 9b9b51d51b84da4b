"""What an audit would cost before it is sent: requests, tokens and, where the list price is known, dollars.

Takes the planned questions; sends nothing. Prices are list prices in data/prices.toml, dated there; a reseller's own price is
unknown to us, so this is an order of magnitude.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib import resources

from fingerprints import catalog, tokenizers
from fingerprints.catalog import Claim
from probes import suite as suites
from probes.probe import Ask, Probe, Reply, Usage

TEMPLATE_TOKENS = 12
"""Tokens per request that chat templates add, typically (research: 7 for GPT-4o, 10 to 35 for Llama 3)."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The questions of an audit that nothing stops early, and what they cost."""

    asks: tuple[Ask, ...]
    prompt_tokens: int
    completion_tokens: int
    dollars: float | None
    priced: str


def plan(suite: str, claim: Claim | None, seed: int, alpha: float, max_requests: int) -> Plan:
    """Plan the whole suite as if every question were answered, within `max_requests`."""
    asks: list[Ask] = []
    for probe in suites.build(suites.SUITES[suite], claim, seed, alpha):
        asks.extend(_all_asks(probe))
    asks = asks[:max_requests]
    name = claim.tokenizer if claim and claim.tokenizer in tokenizers.names() else "o200k"
    counter = tokenizers.vocabulary(str(name))
    prompt = sum(TEMPLATE_TOKENS + sum(counter.count(content) for _, content in ask.messages) for ask in asks)
    completion = sum(ask.max_tokens for ask in asks)
    model = catalog.find(claim.model) if claim else None
    price = _prices().get(model.name) if model else None
    if price is None:
        return Plan(tuple(asks), prompt, completion, None, "list price not known")
    dollars = (prompt * float(price["input"]) + completion * float(price["output"])) / 1e6
    return Plan(tuple(asks), prompt, completion, dollars, f"list price of {price['as_of']}")


def _all_asks(probe: Probe) -> list[Ask]:
    """Every question that `probe` would ask of an endpoint that answers like a plain one."""
    asks: list[Ask] = []
    replies: list[Reply] = []
    while more := probe.next_round(replies):
        asks.extend(more)
        replies.extend(Reply(ask, status=200, text="OK", finish="stop", usage=Usage(len(ask.payload), 1)) for ask in more)
    return asks


def _prices() -> dict[str, dict[str, float | str]]:
    text = (resources.files("verifier") / "data" / "prices.toml").read_text(encoding="utf-8")
    table: dict[str, dict[str, float | str]] = tomllib.loads(text)
    return table
