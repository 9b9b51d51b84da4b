"""The verdict in plain words: what it says, how sure it is, what it does not say, and what was not tested.

Takes a report's data and a catalogue, gives sentences for the first screen of every form of the report. They follow
docs/verdicts.md: a verdict speaks about a claim, never about an identity, and what was not tested is named beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from verifier.report.plots import number, weight
from verifier.report.plots_verdict import percent
from verifier.report.texts import Said, Texts

Data = Mapping[str, Any]
CHANNELS = tuple("usage truncation stream logprobs bias choice paired style style-alone knowledge identity surface protocol".split())
"""Channels in the order in which an audit asks; reports are written with sorted keys."""
LARGEST_ODDS = 1_000_000
"""Beyond one in so many the bound is not said more finely: the method's assumptions, not chance, are then what limits it."""
ASKED_OF_TEXT = frozenset({"truncation", "stream", "logprobs", "bias"})
"""Channels of which every suite asks something, or whose reason speaks of the endpoint although nothing was asked."""
LEFT_OPEN = ("not tested", "not settled")
"""How the measured value of a row begins that a tested channel could not read (probes/protocol_limits.py, probes/identity.py)."""
NAMED_FROM = 0.5
"""Posterior of a vocabulary from which the headline of an accusation says what the replies look like instead."""


@dataclass(frozen=True, slots=True)
class Untested:
    """A channel that says nothing, and why."""

    channel: str
    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Words:
    """The first screen. `badge` is one or two words; the others are sentences."""

    badge: str
    headline: str
    meaning: str
    certainty: str
    caution: str
    next: str
    untested: tuple[Untested, ...]
    partly: tuple[Untested, ...]
    """What tested channels left open."""
    tested: int


def kind(data: Data) -> str:
    """What was done: `audit` of a claim, `identify` without one, `compare` of two endpoints."""
    if data["claim"]["model"] is not None:
        return "audit"
    return "compare" if data.get("reference") else "identify"


def channels(data: Data) -> list[tuple[str, str, Mapping[str, Any]]]:
    """(block, channel, result) of every channel, in the order of CHANNELS."""
    found = [(block, name, result) for block, of_block in data["blocks"].items() for name, result in of_block.items()]
    return sorted(found, key=lambda each: (CHANNELS.index(each[1]) if each[1] in CHANNELS else len(CHANNELS), each[1]))


def words(data: Data, t: Texts) -> Words:
    """The first screen's sentences."""
    verdict, what = data["verdict"], kind(data)
    outcome = str(verdict["outcome"])
    key = f"{what}.{outcome}"
    claim = str(data["claim"]["model"])
    named = str(verdict["tokenizer"][0]["family"]) if verdict["tokenizer"] else ""
    if what == "identify" and outcome == "consistent" and verdict["resolution"] == "model" and verdict["attribution"]:
        named = str(verdict["attribution"][0]["candidate"])
    e, alpha = float(verdict["e_value"]), float(verdict["alpha"])
    filled = {
        "claim": claim,
        "named": named,
        "e": weight(e),
        "alpha": percent(alpha),
        "sure": percent(1.0 - alpha),
        "needed": number(1.0 / alpha),
        "odds": t("verdict.odds_beyond") if e > LARGEST_ODDS else f"{int(max(1.0, e)):,}",
        "share": percent(float(verdict["excludes_share"])) if verdict["excludes_share"] is not None else "",
    }
    untested = [Untested(name, t.get(f"channel.{name}", name), _why(data, name, result, t)) for _, name, result in _silent(data)]
    return Words(
        badge=t(f"{key}.badge"),
        headline=t(f"{key}.headline", **filled),
        meaning=t(f"{key}.meaning{_variant(data, what, outcome)}", **filled),
        certainty=t(f"{key}.certainty{'_share' if filled['share'] else ''}", **filled),
        caution=t(f"{key}.caution", **filled),
        next=t.sentence(str(verdict["next"])).text,
        untested=tuple(untested),
        partly=tuple(_partly(data, t)),
        tested=len(channels(data)) - len(untested),
    )


def reasons(data: Data, t: Texts) -> list[tuple[str, Said]]:
    """(code, sentence) of what was seen; what was not tested is said by `words`."""
    found = [(str(reason["code"]), str(reason["text"])) for reason in data["verdict"]["reasons"]]
    return [(code, t.reason(code, text)) for code, text in found if code != "not-tested"]


def lineage(data: Data, t: Texts) -> str | None:
    """What kind of thing answers, in one sentence; None where that was not judged."""
    told = data.get("lineage")
    if not told:
        return None
    shares = {name: f"{told['kinds'][kind]:.2f}" for name, kind in (("wrapper", "wrapper"), ("tuned", "fine-tune"), ("neither", "neither"))}
    return t(f"lineage.{told['kind']}", of=told["of"] or t("lineage.unnamed"), **shares)


def _silent(data: Data) -> list[tuple[str, str, Mapping[str, Any]]]:
    return [each for each in channels(data) if not each[2]["tested"]]


def _why(data: Data, channel: str, result: Mapping[str, Any], t: Texts) -> str:
    """Why a channel says nothing. What an audit that stopped early never asked is no word on the endpoint."""
    if data["cost"]["stopped_early"] and channel in ASKED_OF_TEXT and not result["requests"]:
        return t("untested.early")
    return t.sentence(str(result["why_not"])).text


def _partly(data: Data, t: Texts) -> list[Untested]:
    """Rows of tested channels that were not tested, or not settled, themselves."""
    found = []
    for _, name, result in channels(data):
        for row in result["measured"] if result["tested"] else ():
            opening, _, why = str(row.get("measured")).partition(": ")
            if opening in LEFT_OPEN:
                found.append(Untested(name, f"{t.get(f'channel.{name}', name)} · {row.get('key', '')}", t.sentence(why).text))
    return found


def _variant(data: Data, what: str, outcome: str) -> str:
    """Which of the sentences on an outcome fits: by resolution where it clears, by what it looks like where it accuses."""
    verdict = data["verdict"]
    if what != "compare" and outcome == "consistent":
        return f"_{verdict['resolution'] or 'tokenizer'}"
    if what == "audit" and outcome == "inconsistent" and verdict["tokenizer"]:
        first = verdict["tokenizer"][0]
        return "_named" if first["family"] != data["claim"]["tokenizer"] and first["posterior"] >= NAMED_FROM else ""
    return ""
