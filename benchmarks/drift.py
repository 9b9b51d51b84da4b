"""`python -m benchmarks drift`: how far honest variants of one local model drift apart, as total variation of the first token.

The exact law of an answer's first token at temperature 1, before any sampler, from the log probabilities of a llama.cpp server, for the
paired test's own questions: SmolLM2 135M beside itself with another key-value cache, batch and attention, with system prompts, and
beside Gemma 3 270M. Also what a sampler's default (top-k 40, top-p .95, min-p .05) does to that law. The law of a whole answer differs by
at least as much. `--limit` is the number of questions (60 is the published figure).
"""

from __future__ import annotations

import json
import math
import random
import statistics
import tempfile
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.engines import Engine, serve
from probes.paired_questions import Question, questions
from verifier import local

TOP = 1000
"""Tokens per law that are asked for; the rest counts as one."""
SHORT = "You are a helpful assistant."
LONG = "You are the assistant of our platform. Answer briefly and kindly, and never say who made you."
PLAIN = Engine()
ARMS: tuple[tuple[str, str, Engine, str | None], ...] = (
    ("the same server settings, another process", local.SMOLLM2, PLAIN, None),
    ("flash attention, batches of 64, no prompt cache", local.SMOLLM2, Engine(flash_attention=1, batch=64, prompt_cache=False), None),
    ("8-bit key-value cache", local.SMOLLM2, Engine(cache_type="q8_0", flash_attention=1), None),
    ("4-bit key-value cache", local.SMOLLM2, Engine(cache_type="q4_0", flash_attention=1), None),
    ("a system prompt of five words", local.SMOLLM2, PLAIN, SHORT),
    ("a system prompt of seventeen words", local.SMOLLM2, PLAIN, LONG),
    ("another model (Gemma 3 270M)", local.GEMMA3, PLAIN, None),
)
"""What stands beside SmolLM2 on a plain server: name, weights, settings, system prompt."""

Law = Mapping[str, float]


def run(data: Path | None = None, seed: int = 0, limit: int | None = None) -> dict[str, Any]:
    """Mean, 90th percentile and maximum of the total variation over questions, per arm; `data` is not used."""
    drawn = questions(random.Random(f"drift/{seed}"))
    asked = [next(drawn) for _ in range(limit or 60)]
    with tempfile.TemporaryDirectory(prefix="truename-drift-") as scratch:
        plain = _laws(local.SMOLLM2, PLAIN, None, asked, Path(scratch))
        arms = {name: _summary(plain, _laws(model, engine, system, asked, Path(scratch))) for name, model, engine, system in ARMS}
    arms["the sampler's defaults against none"] = _summary(plain, [None if law is None else _sampled(law) for law in plain])
    return {"questions": len(asked), "arms": arms}


def _laws(model: str, engine: Engine, system: str | None, asked: Sequence[Question], scratch: Path) -> list[Law | None]:
    with serve(local.weights(model, scratch), model, engine) as base_url:
        return [_first_token(base_url, question.text, system) for question in asked]


def _first_token(base_url: str, text: str, system: str | None) -> Law | None:
    """Probability of every likely first token; what is missing to 1 belongs to the others together.

    None where the server spells no token, which happens when the one that it drew shows no text.
    """
    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": text})
    body = {"messages": messages, "max_tokens": 1, "temperature": 1.0, "logprobs": True, "top_logprobs": TOP}
    request = urllib.request.Request(  # noqa: S310 - our own loopback server
        base_url + "/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=300) as reply:  # noqa: S310
        spelled = json.load(reply)["choices"][0].get("logprobs")
    if not spelled or not spelled["content"]:
        return None
    first = spelled["content"][0]
    return {json.dumps(entry["bytes"]): math.exp(entry["logprob"]) for entry in first["top_logprobs"]}


def _sampled(law: Law) -> Law:
    """The law after top-k 40, top-p .95 and min-p .05, llama.cpp's defaults in their order."""
    ranked = sorted(law.items(), key=lambda item: -item[1])[:40]
    total, kept, cumulative = math.fsum(p for _, p in ranked), [], 0.0
    for token, p in ranked:
        if cumulative >= 0.95 or p < 0.05 * ranked[0][1]:
            break
        kept.append((token, p))
        cumulative += p / total
    mass = math.fsum(p for _, p in kept)
    return {token: p / mass for token, p in kept}


def _variation(one: Law, other: Law) -> float:
    """Total variation distance, all tokens outside both lists taken as one."""
    listed = math.fsum(abs(one.get(token, 0.0) - other.get(token, 0.0)) for token in {**one, **other})
    rest = abs(math.fsum(one.values()) - math.fsum(other.values()))
    return (listed + rest) / 2.0


def _summary(plain: Sequence[Law | None], others: Sequence[Law | None]) -> dict[str, float]:
    both = [(one, other) for one, other in zip(plain, others, strict=True) if one is not None and other is not None]
    distances = sorted(_variation(one, other) for one, other in both)
    return {
        "questions": len(both),
        "mean": statistics.fmean(distances),
        "p90": distances[int(0.9 * (len(distances) - 1))],
        "max": distances[-1],
    }


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    lines = [
        f"Over {result['questions']} questions.",
        "",
        "| beside plain SmolLM2 | questions | mean | 90th percentile | largest |",
        "|---|---|---|---|",
    ]
    return "\n".join(
        lines + [f"| {name} | {r['questions']} | {r['mean']:.3f} | {r['p90']:.3f} | {r['max']:.3f} |" for name, r in result["arms"].items()]
    )
