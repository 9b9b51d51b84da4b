"""Every question and every answer of an audit, as the page shows them: cut to a budget, inert, with what each contributed.

Takes the transcript and the report's data, gives plain views for the template. Answers are never interpreted; what is cut is counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from probes.probe import Ask, Reply
from verifier.report.plots import number
from verifier.report.texts import Texts
from verifier.report.texts_verdict import CHANNELS, channels
from verifier.report.visible import Excerpt, excerpt

Data = Mapping[str, Any]
PAGE_BYTES = 900_000
"""Bytes that all questions and answers together may take in the page; with the frame around 300 of them it stays under 1.5 MB."""
MOST_BYTES = 24_000
"""Bytes that one question with its answer takes at most, however few there are."""
SHARES = {"prompt": 0.3, "answer": 0.5, "headers": 0.12, "word": 0.02}
"""How one question's bytes are divided; `word` is each short field of the endpoint's, such as its model name."""
SHOWN_MESSAGES = 6
OPEN_UP_TO = 20
"""Questions up to which all sections are open when the page is opened."""
SHOWN_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Fact:
    """One short field of a reply: its name and what the endpoint wrote, or a sentence of ours without a name."""

    name: str
    value: Excerpt


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a question."""

    role: str
    text: Excerpt


@dataclass(frozen=True, slots=True)
class Question:
    """One question, its answer and what became of it."""

    id: str
    key: Excerpt
    parameters: tuple[str, ...]
    messages: tuple[Message, ...]
    messages_left_out: int
    raw: Excerpt | None
    answer: Excerpt
    error: Excerpt | None
    error_kind: str
    facts: tuple[Fact, ...]
    headers: Excerpt | None
    contribution: tuple[str, ...]
    findings: tuple[tuple[str, str], ...]
    """(code, strength) of the findings that name this question."""


@dataclass(frozen=True, slots=True)
class Section:
    """All questions of one probe."""

    id: str
    name: str
    questions: tuple[Question, ...]
    open: bool


def anchors(replies: Sequence[Reply]) -> dict[str, str]:
    """Key of a question -> the id of its place in the page; ids are ours alone, so that no key can forge one."""
    return {reply.ask.key: f"q{i}" for i, reply in enumerate(replies, start=1)}


def sections(data: Data, replies: Sequence[Reply], t: Texts) -> list[Section]:
    """The questions by probe, in the order in which they were asked."""
    budget = min(MOST_BYTES, PAGE_BYTES // max(1, len(replies)))
    read = _Readings(data, t)
    by_probe: dict[str, list[Question]] = {}
    for i, reply in enumerate(replies, start=1):
        by_probe.setdefault(reply.ask.probe, []).append(_question(f"q{i}", reply, budget, read, t))
    ordered = sorted(by_probe, key=lambda probe: CHANNELS.index(probe) if probe in CHANNELS else len(CHANNELS))
    return [
        Section(f"s{i}", t.get(f"channel.{probe}", probe), tuple(by_probe[probe]), len(replies) <= OPEN_UP_TO)
        for i, probe in enumerate(ordered, start=1)
    ]


def _question(anchor: str, reply: Reply, budget: int, read: _Readings, t: Texts) -> Question:
    ask = reply.ask
    shown = ask.messages[:SHOWN_MESSAGES]
    return Question(
        id=anchor,
        key=_cut(ask.key, budget, "word"),
        parameters=tuple(_parameters(ask, t)),
        messages=tuple(Message(role, excerpt(content, int(budget * SHARES["prompt"] / len(shown)))) for role, content in shown),
        messages_left_out=len(ask.messages) - len(shown),
        raw=_cut(ask.raw, budget, "headers") if ask.raw is not None else None,
        answer=_cut(reply.text, budget, "answer"),
        error=_cut(reply.error.text, budget, "headers") if reply.error is not None else None,
        error_kind=reply.error.kind if reply.error is not None else "",
        facts=tuple(_facts(reply, budget, t)),
        headers=_cut("\n".join(f"{name}: {value}" for name, value in reply.headers), budget, "headers") if reply.headers else None,
        contribution=tuple(read.of(ask, reply)),
        findings=read.findings.get(ask.key, ()),
    )


def _parameters(ask: Ask, t: Texts) -> list[str]:
    """How the question was asked, in a few words each."""
    found = [t("question.max_tokens", n=ask.max_tokens)]
    if ask.temperature is not None:
        found.append(t("question.temperature", value=number(ask.temperature)))
    for on, key in ((ask.stream, "streamed"), (ask.logprobs is not None, "logprobs"), (bool(ask.logit_bias), "biased")):
        if on:
            found.append(t(f"question.{key}"))
    if ask.to == "reference":
        found.append(t("question.to_reference"))
    return found


def _facts(reply: Reply, budget: int, t: Texts) -> list[Fact]:
    """What came with the answer, in the order in which a reader asks for it."""
    said: list[tuple[str, str]] = []
    if reply.status is not None:
        said.append((t("question.status"), str(reply.status)))
    said.append(("", t("question.seconds", s=f"{reply.seconds:.2f}")))
    if reply.usage is not None:
        counted = [None if n is None else number(n) for n in (reply.usage.prompt_tokens, reply.usage.completion_tokens)]
        said.append(("", t("question.usage", prompt=counted[0] or "–", completion=counted[1] or "–")))
        if reply.usage.cached_tokens:
            said.append(("", t("question.cached", n=number(reply.usage.cached_tokens))))
        if reply.usage.reasoning_tokens:
            said.append(("", t("question.reasoning", n=number(reply.usage.reasoning_tokens))))
    if reply.attempts != 1:
        said.append(("", t("question.attempts", n=reply.attempts)))
    named = (("finish", reply.finish), ("model", reply.model), ("id", reply.id), ("fingerprint", reply.system_fingerprint))
    said += [(t(f"question.{name}"), value) for name, value in named if value]
    if reply.sha256:
        said.append((t("question.sha256"), reply.sha256[:SHOWN_DIGITS] + "…"))
    return [Fact(name, _cut(value, budget, "word")) for name, value in said]


class _Readings:
    """What the report says about each question: measured rows, findings, and which channels were tested."""

    def __init__(self, data: Data, t: Texts) -> None:
        self._t = t
        self._claimed = data["claim"]["tokenizer"]
        self._channels = {name: result for _, name, result in channels(data)}
        self._rows: dict[str, list[tuple[str, Data]]] = {}
        for name, result in self._channels.items():
            for row in result["measured"]:
                self._rows.setdefault(str(row.get("key", "")), []).append((name, row))
        found: dict[str, list[tuple[str, str]]] = {}
        for finding in data["findings"]:
            for key in finding["ask_ids"]:
                found.setdefault(str(key), []).append((str(finding["code"]), str(finding["strength"])))
        self.findings = {key: tuple(each) for key, each in found.items()}

    def of(self, ask: Ask, reply: Reply) -> list[str]:
        """Sentences on what this question contributed."""
        t = self._t
        if rows := self._rows.get(ask.key):
            return [sentence for name, row in rows for sentence in self._row(name, row)]
        if ask.key.startswith("usage/base/"):
            return [t("question.baseline")]
        channel = self._channels.get(ask.probe)
        if channel is None or not reply.ok:
            return []
        if not channel["tested"]:
            return [t("question.untested", why=t.sentence(str(channel["why_not"])).text)]
        pooled = ask.probe in ("choice", "style", "paired", "surface")
        return [t("question.pooled" if pooled else "question.unread")]

    def _row(self, name: str, row: Data) -> list[str]:
        t, predicted = self._t, row.get("predicted")
        best = self._channels[name]["best"]
        if not isinstance(predicted, Mapping) or not predicted:
            return [t("question.row", measured=t.sentence(_short(row.get("measured"))).text)]
        shown = [each for each in dict.fromkeys([self._claimed, best]) if each in predicted]
        said = [
            t("question.predicts_claim" if each == self._claimed else "question.predicts", name=each, value=_short(predicted[each]))
            for each in shown
        ]
        return [t("question.predicted", measured=_short(row.get("measured")), predictions="; ".join(said))] if said else []


def _short(value: object) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return number(value)
    return "–" if value is None else f"{value!s:.60}"


def _cut(text: str, budget: int, share: str) -> Excerpt:
    return excerpt(text, int(budget * SHARES[share]))
