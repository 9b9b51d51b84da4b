"""The plan of an audit as text and as JSON, for `--dry-run`."""

from __future__ import annotations

from typing import Any

from verifier.pricing import Plan


def plan_json(plan: Plan, seed: int) -> dict[str, Any]:
    """Requests, tokens, an estimated price in dollars (null where unknown) and every question."""
    return {
        "seed": seed,
        "requests": len(plan.asks),
        "prompt_tokens": plan.prompt_tokens,
        "completion_tokens": plan.completion_tokens,
        "dollars": None if plan.dollars is None else float(f"{plan.dollars:.3g}"),
        "price": plan.priced,
        "probes": plan.goals,
        "questions": [
            {"key": ask.key, "max_tokens": ask.max_tokens, "stream": ask.stream, "message": ask.messages[-1][1]} for ask in plan.asks
        ],
    }


def plan_text(plan: Plan, seed: int) -> str:
    """The same for a reader; early stopping usually ends an audit sooner."""
    price = "price unknown" if plan.dollars is None else f"about ${plan.dollars:.4f}"
    lines = [
        f"At most {len(plan.asks)} requests, about {plan.prompt_tokens} prompt and {plan.completion_tokens} completion tokens, "
        f"{price} ({plan.priced}). Nothing was sent. Seed {seed}.",
        "",
    ]
    told: set[str] = set()
    for ask in plan.asks:
        if ask.probe not in told:
            told.add(ask.probe)
            lines.append(f"{ask.probe}: {plan.goals[ask.probe]}")
        lines.append(f"[{ask.key}] max_tokens {ask.max_tokens}{', streamed' if ask.stream else ''}")
        lines.extend("    " + line for line in ask.messages[-1][1].splitlines())
    return "\n".join(lines)
