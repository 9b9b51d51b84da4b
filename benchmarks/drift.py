"""`python -m benchmarks drift`: how far honest variants of one local model drift apart, on the paired test's own questions.

SmolLM2 135M beside itself on llama.cpp with another key-value cache, batch and attention, with system prompts, on another engine
(transformers, bfloat16), and beside Gemma 3 270M. Per arm: the total variation of the first token's exact law at temperature 1, before
any sampler, from log probabilities (transformers gives none); and at temperature 0, where the paired test asks, the share of questions
answered otherwise, and how far a score learnt from the other questions separates the two (0 is not at all, whatever the share). Also
what a sampler's default (top-k 40, top-p .95, min-p .05) does to the law at temperature 1; at temperature 0 it changes nothing.
`--limit` is the number of questions (60 is the published figure).
"""

from __future__ import annotations

import json
import math
import random
import statistics
import subprocess
import tempfile
import urllib.request
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.engines import BATCHED, TRANSFORMERS, Engine, serve, transformers
from probes.paired import MAX_TOKENS, TEMPERATURE
from probes.paired_features import describe
from probes.paired_process import PairedProcess
from probes.paired_questions import Question, questions
from tests.real import environments
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

OTHER_ENGINE = "another engine (transformers, bfloat16)"
TOGETHER = 5
"""Questions that transformers is asked at once, as the paired test asks it."""

Law = Mapping[str, float]


def run(data: Path | None = None, seed: int = 0, limit: int | None = None) -> dict[str, Any]:
    """Per arm: mean, 90th percentile and maximum of the total variation, and how greedy answers differ; `data` is not used."""
    drawn = questions(random.Random(f"drift/{seed}"))
    asked = [next(drawn) for _ in range(limit or 60)]
    arms: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="truename-drift-") as folder:
        scratch = Path(folder)
        plain, greedy = _answers(local.SMOLLM2, PLAIN, None, asked, scratch)
        for name, model, engine, system in ARMS:
            laws, answers = _answers(model, engine, system, asked, scratch)
            arms[name] = _variations(plain, laws) | _greedy(asked, greedy, answers)
        arms[OTHER_ENGINE] = _other_engine(asked, greedy, scratch)
    arms["the sampler's defaults against none"] = _variations(plain, [None if law is None else _sampled(law) for law in plain])
    return {"questions": len(asked), "arms": arms}


def _answers(
    model: str, engine: Engine, system: str | None, asked: Sequence[Question], scratch: Path
) -> tuple[list[Law | None], list[str]]:
    """Per question, the law of the first token at temperature 1 and the answer at temperature 0."""
    with serve(local.weights(model, scratch), model, engine) as base_url:
        laws = [_first_token(base_url, question.text, system) for question in asked]
        return laws, [_answer(base_url, model, question.text, system) for question in asked]


def _other_engine(asked: Sequence[Question], greedy: Sequence[str], scratch: Path) -> dict[str, Any]:
    """SmolLM2 on transformers, where its environment can be made; else why it was not run."""
    try:
        programs = environments.made(TRANSFORMERS)
    except (OSError, subprocess.SubprocessError) as error:
        return {"not_run": f"the environment of {TRANSFORMERS.name} cannot be made here: {error}"}
    folder = scratch / "transformers"
    folder.mkdir()
    with transformers(programs, local.weights(local.SMOLLM2, scratch), folder, BATCHED) as (base_url, model):
        with ThreadPoolExecutor(TOGETHER) as pool:
            answers = list(pool.map(lambda question: _answer(base_url, model, question.text, None), asked))
    return _greedy(asked, greedy, answers)


def _answer(base_url: str, model: str, text: str, system: str | None) -> str:
    """The answer that the paired test would get: at its temperature and length."""
    body = {"model": model, "messages": _messages(text, system), "max_tokens": MAX_TOKENS, "temperature": TEMPERATURE}
    return str(_completion(base_url, body)["choices"][0]["message"]["content"] or "")


def _messages(text: str, system: str | None) -> list[dict[str, str]]:
    return [*([{"role": "system", "content": system}] if system else []), {"role": "user", "content": text}]


def _completion(base_url: str, body: Mapping[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(  # noqa: S310 - our own loopback server
        base_url + "/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=300) as reply:  # noqa: S310
        said: dict[str, Any] = json.load(reply)
    return said


def _first_token(base_url: str, text: str, system: str | None) -> Law | None:
    """Probability of every likely first token; what is missing to 1 belongs to the others together.

    None where the server spells no token, which happens when the one that it drew shows no text.
    """
    body = {"messages": _messages(text, system), "max_tokens": 1, "temperature": 1.0, "logprobs": True, "top_logprobs": TOP}
    spelled = _completion(base_url, body)["choices"][0].get("logprobs")
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


def _variations(plain: Sequence[Law | None], others: Sequence[Law | None]) -> dict[str, float]:
    both = [(one, other) for one, other in zip(plain, others, strict=True) if one is not None and other is not None]
    distances = sorted(_variation(one, other) for one, other in both)
    return {
        "questions": len(both),
        "mean": statistics.fmean(distances),
        "p90": distances[int(0.9 * (len(distances) - 1))],
        "max": distances[-1],
    }


def _greedy(asked: Sequence[Question], one: Sequence[str], other: Sequence[str]) -> dict[str, float]:
    """Share of questions answered otherwise, and the separation that the paired test's learnt score reaches, pair after pair."""
    process = PairedProcess(tolerance=0.0)
    for question, reference, target in zip(asked, one, other, strict=True):
        process.add(*(describe(question.kind, question.text, answer) for answer in (reference, target)))
    differ = sum(
        describe(question.kind, question.text, a).symbols[0] != describe(question.kind, question.text, b).symbols[0]
        for question, a, b in zip(asked, one, other, strict=True)
    )
    return {"answers_differ": differ / len(asked), "separation": process.separation}


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    lines = [
        f"Over {result['questions']} questions.",
        "",
        "| beside plain SmolLM2 | first token: mean | 90th percentile | largest | at temperature 0: answers that differ | separation |",
        "|---|---|---|---|---|---|",
    ]
    return "\n".join(lines + [_line(name, arm) for name, arm in result["arms"].items()])


def _line(name: str, arm: dict[str, Any]) -> str:
    if "not_run" in arm:
        return f"| {name} | not run: {arm['not_run']} | | | | |"
    first = f"{arm['mean']:.3f} | {arm['p90']:.3f} | {arm['max']:.3f}" if "mean" in arm else "– | – | –"
    greedy = f"{100 * arm['answers_differ']:.0f} % | {arm['separation']:.2f}" if "separation" in arm else "– | –"
    return f"| {name} | {first} | {greedy} |"
