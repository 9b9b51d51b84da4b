"""Real local models behind a gateway that strips, replaces or censors names of models, in fourteen ways, and the same models honestly: is
the finding `word-filter` there when it should be, and only then? Each way meets the standard suite, and the deep one where that finds
nothing; what a model (at temperature 0) has answered to a request, it is not asked again for the next way. Every fifth honest run is deep.
--data is a folder with llama3-echo.gguf; --limit is the number of honest runs per model (default 25)."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import gateways
from benchmarks.gateways import Gateway, rewrite
from fingerprints.catalog import claim
from probes.identity import IdentityProbe
from probes.plan import Plan
from probes.probe import Evidence, Reply
from probes.suite import SUITES
from verifier import local
from verifier.endpoint.client import EndpointClient
from verifier.endpoint.guard import cli_policy
from verifier.endpoint.limits import Limits
from verifier.target import Target

JSON = dict[str, Any]
MODELS = Path(__file__).parents[2] / "shared" / "models"
HONEST = 25
ASKS = {name: SUITES[name].identity_asks for name in ("standard", "deep")}
UPSTREAM_TIMEOUT_S = 120.0
CLAUDE, LLAMA, GPT = ("Claude", "Anthropic"), ("Llama", "Meta"), ("GPT", "OpenAI")
EVERY = ("Claude", "Anthropic", "OpenAI", "GPT", "Llama", "Meta", "Gemini")
REFUSAL = "I'm sorry, but I can't help with that request."

Edit = Callable[[str], str]


def _each(words: tuple[str, ...], into: Callable[[str], str]) -> Edit:
    pattern = re.compile("|".join(map(re.escape, words)))
    return lambda text: pattern.sub(lambda match: into(match.group()), text)


def _whole(words: tuple[str, ...], reply: str) -> Edit:
    return lambda text: reply if any(word in text for word in words) else text


def _cut(words: tuple[str, ...]) -> Edit:
    pattern = re.compile("|".join(map(re.escape, words)))
    return lambda text: pattern.split(text, maxsplit=1)[0]


WAYS: dict[str, Gateway] = {
    "deleted": rewrite(_each(CLAUDE, lambda word: "")),
    "replaced by another brand": rewrite(_each(CLAUDE, {"Claude": "Llama", "Anthropic": "Meta"}.__getitem__)),
    "one brand for all": rewrite(_each(("Claude", "Llama", "Gemini"), lambda word: "ChatGPT")),
    "censored": rewrite(_each(EVERY, lambda word: "***")),
    "lower case": rewrite(_each(LLAMA, str.lower)),
    "reply refused": rewrite(_whole(CLAUDE, REFUSAL)),
    "reply emptied": rewrite(_whole(GPT, "")),
    "letters apart": rewrite(_each(CLAUDE, " ".join)),
    "look-alike letters": rewrite(_each(GPT, lambda word: word.translate(str.maketrans("OAPe", "ОАРе")))),
    "invisible characters": rewrite(_each(EVERY, lambda word: word[:2] + "\u200b" + word[2:])),
    "cut at the word": rewrite(_cut(CLAUDE)),
    "deleted in streams only": rewrite(_each(LLAMA, lambda word: ""), plain=False),
    "deleted in plain replies only": rewrite(_each(CLAUDE, lambda word: ""), stream=False),
    "replaced by a Korean word": rewrite(_each(("Gemini",), lambda word: "제미나이")),
}


def run(data: Path | None, seed: int, limit: int | None) -> JSON:
    """Rows {model, way, found (the suite, or null), requests, said} and {model, honest, flagged, tested, requests}.

    Raises FileNotFoundError."""
    folder = data or MODELS
    echo = folder / "llama3-echo.gguf"
    if not echo.is_file():
        raise FileNotFoundError(2, "missing", str(echo))
    rows, honest = [], []
    with tempfile.TemporaryDirectory(prefix="truename-filters-") as scratch:
        for name, weights in (("llama3-echo", echo), (local.SMOLLM2, local.weights(local.SMOLLM2, Path(scratch)))):
            with local.serve(weights, name) as upstream:
                memory: dict[tuple[str, bytes], tuple[int, bytes]] = {}
                for way, kind in WAYS.items():
                    with gateways.serve(upstream, replace(kind, memory=memory)) as base_url:
                        rows.append({"model": name, "way": way} | _sought(base_url, name, 1000 + seed))
                    _tell(rows[-1])
                seen = [ask(upstream, name, seed + i, ASKS["deep" if i % 5 == 4 else "standard"]) for i in range(limit or HONEST)]
                honest.append(
                    {
                        "model": name,
                        "runs": len(seen),
                        "flagged": sum(filtered(evidence) is not None for evidence in seen),
                        "tested": sum(evidence.tested for evidence in seen),
                        "requests": sum(evidence.requests for evidence in seen) / len(seen),
                    }
                )
                _tell(honest[-1])
    return {"ways": rows, "honest": honest}


def _sought(base_url: str, model: str, seed: int) -> JSON:
    """Which suite finds the filter: the standard one, or else the deep one."""
    requests = 0
    for suite, asks in ASKS.items():
        evidence = ask(base_url, model, seed, asks)
        requests += evidence.requests
        if said := filtered(evidence):
            return {"found": suite, "requests": requests, "said": said}
    return {"found": None, "requests": requests, "said": None}


def _tell(row: JSON) -> None:
    print(json.dumps(row, ensure_ascii=False), file=sys.stderr, flush=True)


def table(result: JSON) -> str:
    """Markdown: honest runs first, then the ways."""
    lines = ["| model | honest runs | flagged | tested | mean requests |", "|---|---|---|---|---|"]
    lines += [f"| {r['model']} | {r['runs']} | {r['flagged']} | {r['tested']} | {r['requests']:.1f} |" for r in result["honest"]]
    models = [row["model"] for row in result["honest"]]
    lines += ["", "| way, found by | " + " | ".join(models) + " |", "|---" * (len(models) + 1) + "|"]
    found = {(row["way"], row["model"]): row for row in result["ways"]}
    for way in WAYS:
        cells = [f"{row['found'] or 'not found'} ({row['requests']} requests)" for model in models if (row := found[way, model])]
        lines.append(f"| {way} | " + " | ".join(cells) + " |")
    for label, suites in (("standard", ("standard",)), ("standard or deep", tuple(ASKS))):
        counts = [sum(row["found"] in suites for row in result["ways"] if row["model"] == model) for model in models]
        lines.append(f"| ways found, {label} | " + " | ".join(f"{n} of {len(WAYS)}" for n in counts) + " |")
    return "\n".join(lines)


def filtered(evidence: Evidence) -> str | None:
    """The finding's text, None without one."""
    return next((finding.text for finding in evidence.findings if finding.code == "word-filter"), None)


def ask(base_url: str, model: str, seed: int, asks: int) -> Evidence:
    """The probe's evidence on one endpoint: its rounds until it wants no more."""
    probe = IdentityProbe(Plan(seed=seed, claim=claim("gpt-4o")), asks)
    return asyncio.run(_ask(probe, Target.parse(base_url, model), asks))


async def _ask(probe: IdentityProbe, target: Target, asks: int) -> Evidence:
    replies: list[Reply] = []
    async with EndpointClient(target, Limits(timeout_s=UPSTREAM_TIMEOUT_S, max_requests=4 * asks, concurrency=1), cli_policy()) as client:
        while wanted := probe.next_round(replies):
            replies += await client.ask_all(wanted)
    return probe.read(replies)
