"""Reports for tests of their pages: of simulated endpoints, of 300 requests, and with hostile text wherever an endpoint writes."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

from benchmarks.simulated import Endpoint
from fingerprints.strings import words
from probes.probe import Ask, Chunk, Reply, ReplyError, Usage
from tests.endpoints import claim_of, report_on, transcript_of
from verifier.auditing import conclude
from verifier.canonical import read_json
from verifier.report.model import Report, rounded
from verifier.transcript import Transcript, digest

VOID = {"meta", "br", "link", "img", "input", "hr"}


class Page(HTMLParser):
    """What a page holds: tags, attributes, ids, links, and whether every element is closed."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(data.decode("utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        self.text += " "
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"
        self.text += " "

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, name: str) -> list[str]:
        return [value or "" for key, value in self.attributes if key == name]


def honest() -> Report:
    """A consistent report with token counts, cuts and edges."""
    return report_on(Endpoint("llama3"), claim_of("llama3"), suite="standard")


def posing() -> Report:
    """An inconsistent report: SmolLM's vocabulary claimed as Llama 3's."""
    return report_on(Endpoint("smollm"), claim_of("llama3"), suite="standard", early_stop=False)


def open_question() -> Report:
    """An inconclusive report: counts that any gateway shows, from a model that copies nothing."""
    return report_on(Endpoint("llama3", recount="o200k", copies=False), claim_of("llama3"), suite="standard")


def of_300_requests() -> Report:
    """A report as large as a deep audit's: 300 requests with long questions, answers and headers, and as many measured rows."""
    transcript = transcript_of(Endpoint("smollm"), claim_of("llama3"), suite="standard", early_stop=False)
    rng = random.Random(3)
    stock = [*words("english"), *words("korean"), *words("chinese")]
    kinds = ("choice", "style", "identity", "protocol")
    more = []
    for i in range(300 - len(transcript.replies)):
        probe = kinds[i % len(kinds)]
        said = " ".join(rng.choices(stock, k=600)) + "\x1b[31m\u202e&<>\"'" * 50
        ask = Ask(probe, f"{probe}/{i}", (("user", " ".join(rng.choices(stock, k=300))),), max_tokens=800)
        headers = tuple((f"x-header-{n}", " ".join(rng.choices(stock, k=8))) for n in range(20))
        chunks = tuple(Chunk(part, 0.0) for part in said.split(" "))
        more.append(Reply(ask, 200, "m", f"id-{i}", "fp", said, "stop", Usage(300, 600), chunks, headers=headers, sha256="0" * 64))
    whole = replace(transcript, replies=(*transcript.replies, *more))
    report = conclude(whole, whole.to_bytes())
    body: dict[str, Any] = read_json(report.to_bytes())
    for channel in body["blocks"]["tokenizer"].values():
        channel["measured"] = [row | {"key": f"{row['key']}/{i}"} for i in range(4) for row in channel["measured"]]
    return Report(body, report.transcript)


def hostile(payloads: Sequence[str]) -> Report:
    """A report whose claim, URLs, model names, answers, headers, finish reasons, errors and findings are these payloads."""
    base = transcript_of(Endpoint("smollm"), claim_of("llama3"), suite="quick")
    replies = [_bearing(base.replies[i % len(base.replies)], payload, i) for i, payload in enumerate(payloads)]
    transcript = Transcript(base.header, (*base.replies, *replies), base.stopped_early)
    data = transcript.to_bytes()
    body: dict[str, Any] = json.loads(json.dumps(dict(conclude(base, base.to_bytes()).data)))
    everything = " ".join(payloads)
    body["digests"]["transcript"] = digest(data)
    body["claim"] |= {"model": everything, "family": payloads[0], "tokenizer": payloads[1]}
    body["target"] = {"origin": everything, "model": everything, "wire": payloads[2]}
    body["verdict"] |= {"next": everything, "reasons": [{"code": p, "text": p} for p in payloads]}
    body["verdict"]["attribution"] = [{"candidate": p, "family": p, "posterior": 0.01} for p in payloads[:12]]
    body["verdict"]["tokenizer"] = [{"family": p, "posterior": 0.01} for p in payloads[:12]]
    body["findings"] = [{"code": p, "strength": p, "text": p, "ask_ids": [p, f"evil/{i}"]} for i, p in enumerate(payloads)]
    body["switches"] = [{"at": 3, "from": p, "to": p, "confidence": p} for p in payloads[:5]]
    body["mixture"] = {"share": 0.2, "low": 0.1, "high": 0.4}
    for channels in body["blocks"].values():
        for channel in channels.values():
            channel |= {"best": payloads[3]}
            channel |= {} if channel["tested"] else {"why_not": everything}
    usage = body["blocks"]["tokenizer"]["usage"]["measured"]
    body["blocks"]["tokenizer"]["usage"]["measured"] = [row | {"key": p} for row, p in zip(usage * 9, payloads, strict=False)]
    choice = [{"key": p, "answers": 3, "invalid": 0, "measured": {p: 2, "7": 1}, "predicted": {p: 1.5}} for p in payloads[:6]]
    body["blocks"]["choice"]["choice"]["measured"] = choice
    body["blocks"]["surface"]["protocol"]["measured"] = [{"key": p, "measured": p, "predicted": {}, p: p} for p in payloads]
    kinds = {"wrapper": 0.7, "fine-tune": 0.2, "neither": 0.1}
    body["lineage"] = {"kind": "wrapper", "of": everything, "posterior": 0.7, "kinds": kinds, "evidence": [everything], "text": everything}
    return Report(rounded(body), data)


def _bearing(reply: Reply, payload: str, number: int) -> Reply:
    """A reply that carries `payload` wherever the endpoint writes something."""
    ask = replace(reply.ask, key=f"evil/{number}", probe="usage" if number % 2 else payload, messages=((payload, payload),), raw=payload)
    error = ReplyError(payload, payload) if number % 3 == 0 else None
    return replace(
        reply,
        ask=ask,
        text=payload,
        model=payload,
        id=payload,
        system_fingerprint=payload,
        finish=payload,
        headers=((payload, payload), ("location", payload)),
        error=error,
        sha256=payload,
    )
