"""The plan of an audit as text and as JSON, for `--dry-run`."""

from __future__ import annotations

from typing import Any

from verifier.pricing import Cost, Plan


def plan_json(plan: Plan, seed: int) -> dict[str, Any]:
    """Requests, tokens, an estimated price in dollars (null where unknown), the same per endpoint asked, and every question."""
    return {
        "seed": seed,
        **cost_json(plan.total),
        "sides": {side: cost_json(cost) for side, cost in plan.sides.items()},
        "probes": plan.goals,
        "questions": [
            {"key": ask.key, "to": ask.to, "max_tokens": ask.max_tokens, "stream": ask.stream, "message": ask.messages[-1][1]}
            for ask in plan.asks
        ],
    }


def plan_text(plan: Plan, seed: int) -> str:
    """The same for a reader; early stopping usually ends an audit sooner."""
    lines = [f"At most {_cost_text(plan.total)}. Nothing was sent. Seed {seed}."]
    if len(plan.sides) > 1:
        lines += [f"    {side}: {_cost_text(cost)}" for side, cost in plan.sides.items()]
        if not plan.sides["reference"].requests:
            lines.append("    No paired question fits the limit unless the audit is settled before its end: take a larger --suite.")
    lines.append("")
    told: set[str] = set()
    for ask in plan.asks:
        if ask.probe not in told:
            told.add(ask.probe)
            lines.append(f"{ask.probe}: {plan.goals[ask.probe]}")
        lines.append(f"[{ask.key}] max_tokens {ask.max_tokens}{', streamed' if ask.stream else ''}")
        lines.extend("    " + line for line in ask.messages[-1][1].splitlines())
    return "\n".join(lines)


def cost_json(cost: Cost) -> dict[str, Any]:
    """A cost as plain data: requests, tokens, dollars to three digits, and which price they are at."""
    return {
        "requests": cost.requests,
        "prompt_tokens": cost.prompt_tokens,
        "completion_tokens": cost.completion_tokens,
        "dollars": None if cost.dollars is None else float(f"{cost.dollars:.3g}"),
        "price": cost.priced,
    }


def _cost_text(cost: Cost) -> str:
    price = "price unknown" if cost.dollars is None else f"about ${cost.dollars:.4f}"
    tokens = f"about {cost.prompt_tokens} prompt and {cost.completion_tokens} completion tokens"
    return f"{cost.requests} requests, {tokens}, {price} ({cost.priced})"
