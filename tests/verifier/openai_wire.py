"""The OpenAI chat wire, an ask of it, and how it reads a whole reply and a streamed one, for its tests."""

from __future__ import annotations

import json
from typing import Any

from probes.probe import Ask
from verifier.endpoint.wires.base import Answer
from verifier.endpoint.wires.openai import OpenAIChat
from verifier.target import Target

WIRE = OpenAIChat()
TARGET = Target.parse("https://api.example.com/v1", "m", api_key="sk-0123456789")


def ask(**changes: Any) -> Ask:
    fields: dict[str, Any] = {"probe": "p", "key": "k", "messages": (("system", "s"), ("user", "u")), "max_tokens": 5}
    return Ask(**(fields | changes))


def plain(body: object) -> Answer:
    return WIRE.parse(json.dumps(body).encode())


def streamed(*data: str) -> Answer:
    """The answer of a stream of these events, the n-th of which comes after n seconds."""
    parser = WIRE.stream()
    for at, one in enumerate(data):
        parser.feed("message", one, float(at))
    parser.finish()
    return parser.answer
