"""What an audit would cost before it is sent: requests, tokens and, where the list price is known, dollars.

Takes the planned questions; sends nothing. Prices are list prices in data/prices.toml, dated there; a reseller's own price is
unknown to us, so this is an order of magnitude.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

from fingerprints import catalog, tokenizers
from fingerprints.catalog import Claim
from fingerprints.packs import Pack
from probes import suite as suites
from probes.probe import Ask, Probe, Reply, TokenBytes, Usage

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
    goals: dict[str, str]
    """What each probe that asks finds out, in a sentence."""


def plan(suite: str, claim: Claim | None, seed: int, alpha: float, max_requests: int, wire: str, packs: Sequence[Pack] = ()) -> Plan:
    """Plan the whole suite as if every question were answered, within `max_requests`."""
    asks: list[Ask] = []
    goals: dict[str, str] = {}
    for probe in suites.build(suites.SUITES[suite], claim, seed, alpha, wire, packs):
        asks.extend(planned := _all_asks(probe))
        if planned:
            goals[probe.name] = probe.goal
    asks = asks[:max_requests]
    name = claim.tokenizer if claim and claim.tokenizer in tokenizers.names() else "o200k"
    counter = tokenizers.vocabulary(str(name))
    prompt = sum(TEMPLATE_TOKENS + sum(counter.count(content) for _, content in ask.messages) for ask in asks)
    completion = sum(ask.max_tokens for ask in asks)
    model = catalog.find(claim.model) if claim else None
    price = _prices().get(model.name) if model else None
    if price is None:
        return Plan(tuple(asks), prompt, completion, None, "list price not known", goals)
    dollars = (prompt * float(price["input"]) + completion * float(price["output"])) / 1e6
    return Plan(tuple(asks), prompt, completion, dollars, f"list price of {price['as_of']}", goals)


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


def _prices() -> dict[str, dict[str, float | str]]:
    text = (resources.files("verifier") / "data" / "prices.toml").read_text(encoding="utf-8")
    table: dict[str, dict[str, float | str]] = tomllib.loads(text)
    return table
