"""Whether a reader can check a report's reasons: against its blocks, and where the transcript is there, against the replies themselves.

Takes a report's JSON and, optionally, its transcript; raises AssertionError naming the first reason that points at nothing. Used on every
verdict of the tests against real endpoints, and by the walk through all reason codes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from verifier.reasons import _SAYS
from verifier.transcript import Transcript

JSON = Mapping[str, Any]

NAMES_BEST = frozenset(
    {"counts-contradict", "cuts-contradict", "edges-contradict", "usage-recounted", "counts-recountable", "foreign-marker"}
)
"""Reasons that name the vocabulary or vendor which their channel points to."""


def check_reasons(report: JSON, transcript: Transcript | None = None) -> None:
    """Every reason names a channel that was (or was not) tested, and what it says stands in that channel's rows and replies."""
    channels = {name: channel for block in report["blocks"].values() for name, channel in block.items()}
    verdict = report["verdict"]
    assert verdict["reasons"], "a verdict without a reason"
    for reason in verdict["reasons"]:
        code, text = reason["code"], reason["text"]
        where = f"{code}: {text}"
        if code == "not-tested":
            assert any(not c["tested"] and c["why_not"] and c["why_not"] in text for c in channels.values()), where
        elif code == "channels-disagree":
            named = re.split(r", |: ", text.rstrip("."))[1:]
            assert len(named) > 1 and set(named) <= {c["best"] for c in channels.values() if c["tested"]}, where
        elif code == "replies-mixed":
            assert report["mixture"] is None or f"Of {report['mixture']['told']} replies" in text, where
        elif code == "one-explanation":
            assert all(channels[name]["tested"] and channels[name]["e_value"] > 1 for name in ("choice", "style")), where
        elif code == "no-vocabulary-known":
            assert report["claim"]["tokenizer"] is None and report["claim"]["model"] in text, where
        elif code == "counts-only":
            assert channels["usage"]["tested"], where
        elif code == "batch-error":
            assert re.search(r"e = [\d.e+]+, error rate [\d.e-]+", text), where
        elif code == "named":
            name, by = _named(text)
            assert by and all(channels[channel]["best"] == name for channel in by), where
        else:
            _check_channel(code, text, channels, transcript, where)
    if transcript is not None:
        asked = {reply.ask.key for reply in transcript.replies}
        for finding in report["findings"]:
            assert set(finding["ask_ids"]) <= asked, f"{finding['code']} names questions that were not asked"


def _check_channel(code: str, text: str, channels: Mapping[str, JSON], transcript: Transcript | None, where: str) -> None:
    """A reason of one channel: its subject was tested, its numbers and names are the channel's, its rows are of questions asked."""
    name = "paired" if code.startswith("paired-") else next((name for name, said in _SAYS.items() if text.startswith(said)), None)
    assert name is not None and channels[name]["tested"], where
    channel = channels[name]
    if code in NAMES_BEST and channel["best"] is not None:
        assert channel["best"] in text, where
    if code.endswith("-contradict") or code == "paired-differ":
        assert channel["e_value"] > 1, where
    if name == "paired":
        shown = {row["key"]: row["measured"] for row in channel["measured"]}
        if pairs := re.search(r"(\d+) pairs", text):
            assert int(pairs[1]) == shown["pairs complete"], where
    if transcript is None or code == "foreign-marker":
        return
    asked = {reply.ask.key for reply in transcript.replies}
    if name == "paired":
        complete = {key.rpartition("/")[0] for key in asked if key.startswith("paired/")}
        assert 0 < shown["pairs complete"] <= len(complete), where
    else:
        keys = [row.get("key", name) for row in channel["measured"]]  # rows of a whole channel name no question of their own
        assert keys and all(any(key == one or one.startswith(key + "/") for one in asked) for key in keys), (where, keys)
        if stated := re.search(r"in (\d+) (independent rounds|copies)", text):
            seen = {key.split("/")[1] for key in keys} if stated[2] == "independent rounds" else set(keys)
            assert int(stated[1]) <= len(seen), where


def _named(text: str) -> tuple[str, list[str]]:
    """The vocabulary or model that `identify` named, and the channels that it rests on."""
    found = re.fullmatch(r"(?:The answers are those of|The replies match the vocabulary) (.+) \(([^()]+)\)\.", text)
    return (found[1], found[2].split(", ")) if found else ("", [])
