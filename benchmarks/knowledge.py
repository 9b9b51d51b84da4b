"""Two real local models (SmolLM2 and Gemma 3) are enrolled with our own questions of knowledge and asked them again, under their own and
the other's name: plain, with a system prompt in front, and with a date in front (a model that was told the day). Whom do the answers look
like, and is an honest endpoint ever said to have lost knowledge? `--limit` is the number of questions (default all)."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import gateways
from fingerprints import knowledge
from fingerprints.catalog import claim
from fingerprints.pack_sources import pack_model
from fingerprints.packs import Pack
from fingerprints.questions import Question
from probes.knowledge import KnowledgeProbe
from probes.plan import Plan
from probes.probe import Ask, Evidence, Reply
from verifier import local
from verifier.endpoint.client import EndpointClient
from verifier.endpoint.guard import cli_policy
from verifier.endpoint.limits import Limits
from verifier.target import Target

SMOLLM2, GEMMA3 = local.SMOLLM2, "gemma-3-270m-it"
SAMPLES = 2
PATIENCE_S = 120.0
PROMPTS = {
    "plain": None,
    "system prompt": "You are Aria, the friendly assistant of a travel agency. Answer briefly and politely.",
    "told the day": "The current date is 22 November 2026. Today is Sunday.",
}


def run(data: Path | None, seed: int, limit: int | None) -> dict[str, Any]:
    """Rows {model, claim, arm, best, supports, log_e, lost, known}, and how many questions each model answers right."""
    questions = knowledge.own_questions()[:limit]
    rows = []
    with tempfile.TemporaryDirectory(prefix="truename-knowledge-") as folder, contextlib.ExitStack() as stack:
        files = {SMOLLM2: local.weights(SMOLLM2, Path(folder)), GEMMA3: local.weights(local.GEMMA3, Path(folder))}
        served = {name: stack.enter_context(local.serve(file, name)) for name, file in files.items()}
        pack = _enrolled(served, questions)
        right = {model: _right(pack, model) for model in served}
        for model, upstream in served.items():
            for arm, prompt in PROMPTS.items():
                gateway = gateways.Gateway() if prompt is None else gateways.hidden_prompt(prompt)
                with gateways.serve(upstream, gateway) as base_url:
                    replies = _asked(base_url, model, _asks(pack, seed))
                rows += [_row(pack, model, said, arm, replies, seed) for said in served]
    return {"rows": rows, "questions": len(pack.questions), "right": right}


def table(result: dict[str, Any]) -> str:
    """Markdown."""
    told = ", ".join(f"{model} {n}" for model, n in result["right"].items())
    lines = [f"{result['questions']} questions; answered right when enrolled: {told}.", ""]
    lines += [
        "| model | claim | arm | looks like | supports the claim | log e against it | lost of known |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in result["rows"]:
        cells = (r["model"], r["claim"], r["arm"], r["best"] or "unknown", "yes" if r["supports"] else "no", f"{r['log_e']:.2f}")
        lines.append(f"| {' | '.join(cells)} | {r['lost']} of {r['known']} |")
    return "\n".join(lines)


def _enrolled(served: dict[str, str], questions: Sequence[Question]) -> Pack:
    answers: dict[tuple[str, str], list[str]] = {}
    asks = [_ask(question, n) for n in range(SAMPLES) for question in questions]
    for model, base_url in served.items():
        for reply in _asked(base_url, model, asks):
            if reply.ok and reply.text.strip():
                answers.setdefault((reply.ask.key.split("/")[1], model), []).append(reply.text)
    models = [pack_model(model, 1) for model in served]
    day = datetime.now(UTC).date().isoformat()
    return knowledge.build_pack("local", "1", day, questions, answers, models, "recorded from local servers", "CC0-1.0", None)


def _right(pack: Pack, model: str) -> int:
    """Questions that the model answered right every time when it was enrolled."""
    return len(knowledge.known(pack, model))


def _asks(pack: Pack, seed: int) -> list[Ask]:
    probe = KnowledgeProbe(Plan(seed=seed, claim=None, packs=(pack,), knowledge_answers=len(pack.questions)))
    asks: list[Ask] = []
    while wanted := probe.next_round([Reply(ask, status=200, text="-") for ask in asks]):
        asks += wanted
    return asks


def _ask(question: Question, n: int) -> Ask:
    return Ask("enrol", f"{n}/{question.id}", (("user", str(question.text)),), question.max_tokens, temperature=question.temperature)


def _asked(base_url: str, model: str, asks: Sequence[Ask]) -> list[Reply]:
    async def all_of_them() -> list[Reply]:
        limits = Limits(timeout_s=PATIENCE_S, max_requests=3 * len(asks), concurrency=1)
        async with EndpointClient(Target.parse(base_url, model), limits, cli_policy()) as client:
            return await client.ask_all(asks)

    return asyncio.run(all_of_them())


def _row(pack: Pack, model: str, said: str, arm: str, replies: Sequence[Reply], seed: int) -> dict[str, Any]:
    probe = KnowledgeProbe(Plan(seed=seed, claim=claim(said), packs=(pack,), knowledge_answers=len(pack.questions)))
    found: Evidence = probe.read(replies)
    given = {reply.ask.key.partition("/")[2]: [reply.text] for reply in replies if reply.ok}
    missed, known = knowledge.lost(pack, given, said)
    return {
        "model": model,
        "claim": said,
        "arm": arm,
        "best": found.best,
        "supports": found.supports_claim,
        "log_e": found.log_e,
        "lost": len(missed),
        "known": known,
    }
