"""What an API flavour ("wire") must do: turn an Ask into a request body, and a hostile body or event stream into an Answer.

Takes plain data and gives plain data: no sockets, no clock, no secrets beyond the key it is asked to place in a header. A wire
may raise WireError and nothing else, whatever the server sent.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import Any, Protocol

from pydantic import SecretStr

from probes.probe import JSON, Ask, Chunk, Usage
from verifier.target import Target

MAX_TOKEN_COUNT = 10_000_000
"""Tokens. A reported count above this is absurd: the largest context window sold in 2026 is a tenth of it."""
MAX_FIELD_CHARS = 500
"""Characters kept of a model name, an id or another short field of a reply."""


class WireError(Exception):
    """The endpoint's body is not an answer. `kind` is one of ERROR_KINDS; `text` may quote the server and is not yet redacted."""

    def __init__(self, kind: str, text: str) -> None:
        self.kind = kind
        self.text = text
        super().__init__(kind, text)


class NotJSONError(WireError):
    """The body, or an event's data, is not JSON at all."""

    def __init__(self, text: str = "the reply is not JSON") -> None:
        super().__init__("bad-reply", text)


@dataclass(frozen=True, slots=True)
class Request:
    """What to send: the path is appended to the target's base URL."""

    path: str
    body: JSON
    headers: tuple[tuple[str, SecretStr], ...] = ()
    """The wire's own headers, such as the one that carries the key."""
    method: str = "POST"


@dataclass(slots=True)
class Answer:
    """What a body said, before the client redacts it and adds status, headers and times."""

    text: str = ""
    model: str | None = None
    id: str | None = None
    system_fingerprint: str | None = None
    finish: str | None = None
    usage: Usage | None = None
    chunks: list[Chunk] = field(default_factory=list)


class StreamParser(Protocol):
    """Reads one reply's server-sent events in order. `answer` is complete after `finish`, which may follow an error too."""

    answer: Answer
    done: bool
    """The stream has said that nothing more will come; what follows need not be waited for."""

    def feed(self, event: str, data: str, at: float) -> None:
        """Take one event (its name, `message` by default, and its data), come `at` seconds after the request. Raises WireError."""
        ...

    def finish(self) -> None:
        """The body has ended. Raises WireError of kind `cut-stream` if the stream never said that it was complete."""
        ...


class WireAdapter(Protocol):
    """One API flavour."""

    def build(self, ask: Ask, target: Target, quirks: Set[str]) -> Request:
        """The request for an ask. `quirks` is what `learn` has learnt about this endpoint."""
        ...

    def learn(self, request: Request, message: str, quirks: Set[str]) -> str | None:
        """The quirk that a 4xx's message reveals about this request, if it is new: then the ask is worth repeating."""
        ...

    def parse(self, body: bytes) -> Answer:
        """Read a complete plain body. Raises WireError."""
        ...

    def stream(self) -> StreamParser:
        """A parser for one streamed reply."""
        ...


def load_json(body: bytes | str) -> Any:
    """Parse JSON from a hostile body. Raises NotJSONError."""
    if not body.strip():
        raise NotJSONError("the reply is empty")
    try:
        return json.loads(body)
    except (ValueError, RecursionError):  # ValueError covers malformed JSON, malformed UTF-8 and integers of absurd length
        raise NotJSONError from None


def token_count(value: object) -> int | None:
    """A reported token count, or None where it is not a plausible one: a string, a boolean, negative, absurdly large."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float) and not (math.isfinite(value) and value.is_integer()):
        return None
    return int(value) if 0 <= value <= MAX_TOKEN_COUNT else None


def short_string(value: object) -> str | None:
    """A short text field of a reply, cut to MAX_FIELD_CHARS; None where it is not a string."""
    return whole_characters(value[:MAX_FIELD_CHARS]) if isinstance(value, str) else None


def whole_characters(text: str) -> str:
    """Join surrogate pairs that JSON escapes left apart and replace lone ones, so that the text can be encoded as UTF-8."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def error_message(body: object) -> str | None:
    """The server's own error message in any of the shapes that endpoints use, or None where the body is not an error.

    OpenAI and most others: {"error": {"message": …}}; some: {"error": "…"}, {"detail": …} (FastAPI), {"message": …},
    {"errors": […]}; a few wrap the object in a list (Google).
    """
    if isinstance(body, list):
        body = body[0] if body else None
    if not isinstance(body, Mapping):
        return None
    for key in ("error", "detail", "errors"):
        found = _message_in(body.get(key))
        if found:
            return found
    message = body.get("message")  # as an object it is an answer (Ollama's own API, Cohere's), not an error
    return message if isinstance(message, str) and message else None


def _message_in(value: object) -> str | None:
    if isinstance(value, str):
        return value or None
    if isinstance(value, list):
        value = value[0] if value else None
        if isinstance(value, str):
            return value or None
    if not isinstance(value, Mapping):
        return None
    for key in ("message", "msg", "detail", "error", "type", "code"):
        text = value.get(key)
        if isinstance(text, str) and text:
            return text
    return "an error without a message" if value else None
