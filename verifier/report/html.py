"""report.html: the whole report as one page that needs no script, no network and no trust in what a model wrote.

Takes a Report, gives the page's bytes: the same report gives the same bytes. Everything from an endpoint passes three doors: hidden
characters become signs, the template escapes, and the page's policy (CSP) runs nothing and loads nothing even if both failed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from probes.probe import Block, Reply
from verifier.canonical import canonical
from verifier.errors import CannotRunError
from verifier.report import plots_answers, plots_tokens, plots_verdict, texts_verdict
from verifier.report.html_questions import anchors, sections
from verifier.report.html_tables import tables
from verifier.report.model import Report
from verifier.report.plots import Figure, number, weight
from verifier.report.texts import Said, Texts, texts
from verifier.report.visible import visible
from verifier.transcript import Transcript, digest

if TYPE_CHECKING:
    from verifier.batch import Batch

Data = Mapping[str, Any]
SHOWN_KEYS = 8
"""Questions that a finding links to; the others are counted."""


@dataclass(frozen=True, slots=True)
class Link:
    """A question's key and its place in the page; no place where the transcript is not at hand."""

    key: str
    anchor: str | None


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding as the page shows it."""

    code: str
    strength: str
    title: str
    said: Said
    links: tuple[Link, ...]
    more: int


def render_html(report: Report, *, lang: str = "en") -> bytes:
    """The page of one audit, identification or comparison, UTF-8. Raises UsageError for a language that there is none for."""
    t = texts(lang)
    data: Data = json.loads(report.to_json())  # as it will be read back, so that a loaded report gives the same page
    report_digest = digest(report.to_json().encode())
    replies, missing = _replies(report, data)
    said = texts_verdict.words(data, t)
    return _page(
        "report.html",
        t,
        report_digest,
        data=data,
        kind=texts_verdict.kind(data),
        words=said,
        title=t("page.title", badge=said.badge, about=data["claim"]["model"] or data["target"]["origin"]),
        outcome=report.outcome,
        lineage=texts_verdict.lineage(data, t),
        reasons=texts_verdict.reasons(data, t),
        findings=_findings(data, replies, t),
        figures=_figures(data, replies, t),
        channels=_channel_rows(data, t),
        tables=tables(data, t),
        sections=sections(data, replies, t),
        missing=missing,
    )


def render_batch_html(batch: Batch, *, lang: str = "en") -> bytes:
    """The page over many endpoints, UTF-8: one table, then every row's verdict and what it did not test."""
    t = texts(lang)
    data = batch.to_json()
    rows = []
    for row, result in zip(data["rows"], batch.results, strict=True):
        words = texts_verdict.words(json.loads(result.report.to_json()), t) if result.report is not None else None
        rows.append((row, words))
    return _page(
        "batch.html",
        t,
        hashlib.sha256(canonical(data)).hexdigest(),
        data=data,
        rows=rows,
        title=t("batch.title", n=data["endpoints"]),
    )


def _page(template: str, t: Texts, report_digest: str, **values: object) -> bytes:
    """A filled template. The nonce follows from the digest: no endpoint can know it, because its own words are part of what is digested."""
    nonce = hashlib.sha256(b"truename style " + report_digest.encode()).hexdigest()[:32]
    page = _environment().get_template(template)
    return page.render(
        t=t, digest=report_digest, nonce=nonce, number=number, weight=weight, percent=plots_verdict.percent, **values
    ).encode("utf-8", "replace")


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("verifier.report"),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _shown(value: object) -> object:
    """What every expression of every template passes before it is escaped: no hidden character leaves a page unseen."""
    return visible(value) if type(value) is str else value  # markup that a macro has already escaped is a subclass of str


def _replies(report: Report, data: Data) -> tuple[tuple[Reply, ...], str]:
    """The transcript's replies, or none and the key of the sentence that says why."""
    if not report.transcript:
        return (), "page.questions_none"
    if digest(report.transcript) != data["digests"]["transcript"]:
        return (), "page.questions_other"
    try:
        return Transcript.from_bytes(report.transcript).replies, ""
    except CannotRunError:
        return (), "page.questions_other"


def _findings(data: Data, replies: tuple[Reply, ...], t: Texts) -> list[Finding]:
    places = anchors(replies)
    found = []
    for each in data["findings"]:
        keys = [str(key) for key in each["ask_ids"]]
        links = tuple(Link(key, places.get(key)) for key in keys[:SHOWN_KEYS])
        code, strength = str(each["code"]), str(each["strength"])
        said = t.finding(code, str(each["text"]))
        found.append(Finding(code, strength, t.get(f"finding.{code}", code), said, links, len(keys) - len(links)))
    order = ("strong", "moderate", "weak")
    return sorted(found, key=lambda f: order.index(f.strength) if f.strength in order else len(order))


def _figures(data: Data, replies: tuple[Reply, ...], t: Texts) -> list[Figure]:
    """The pictures that this report has the numbers for, in the order in which they are read."""
    of = {name: result for _, name, result in texts_verdict.channels(data)}
    claimed = data["claim"]["tokenizer"]
    found = plots_verdict.accumulation(data, t)
    if "usage" in of:
        found += plots_tokens.counts(of["usage"]["measured"], claimed, of["usage"]["best"], t)
    if "truncation" in of:
        payloads = {reply.ask.key: reply.ask.payload for reply in replies}
        found += plots_tokens.cuts(of["truncation"]["measured"], claimed, of["truncation"]["best"], payloads, t)
    if "choice" in of:
        found += plots_answers.choices(of["choice"]["measured"], data["claim"]["model"], t)
    return found + plots_verdict.posteriors(data, t) + plots_verdict.mixture(data, t) + plots_verdict.timeline(data, t)


def _channel_rows(data: Data, t: Texts) -> list[tuple[str, str, bool, str, str, str]]:
    """(channel, block, tested, e-value, best match, requests) per channel."""
    return [
        (
            t.get(f"channel.{name}", name),
            block,
            bool(result["tested"]),
            weight(float(result["e_value"])) if result["tested"] and block != Block.SURFACE else "–",
            str(result["best"] or "–") if result["tested"] else "–",
            str(result["requests"]),
        )
        for block, name, result in texts_verdict.channels(data)
    ]
