"""What an API flavour ("wire") must do: turn an Ask into a request body, and a hostile body or event stream into an Answer.

Takes plain data and gives plain data: no sockets, no clock, no secrets beyond the key it is asked to place in a header. A wire
may raise WireError and nothing else, whatever the server sent. What the wires' requests have in common is here; what their
readers have in common is in reading.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlsplit

from pydantic import SecretStr

from probes.probe import JSON, Ask, Chunk, TokenBytes, Usage
from verifier.target import Target

NO_TEMPERATURE = "refuses temperature"
"""The quirk of models that take no temperature at all (OpenAI's o series, Claude since Opus 4.7); all wires learn it alike."""
NO_TOP_P = "refuses top_p"
"""The quirk of models that take no top_p: OpenAI's o series, and Claude since Opus 4.1 beside a temperature. A refusal that names
both fields is read as this one, so that the temperature, which says more, stays."""
NO_LOGPROBS = "refuses logprobs"
"""The quirk of models that give no log probabilities (OpenAI's reasoning models, many of Google's)."""
QUESTION_FIELDS = frozenset({"model", "messages", "input", "contents"})
"""What is asked of whom, on any wire: fields that an ask's `raw` ones never replace."""

_VERSION_AT_END = re.compile(r"/v\d+(alpha|beta)?\d*$")


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
    """What to send: the path, which may hold a query, is appended to the target's base URL."""

    path: str
    body: JSON
    headers: tuple[tuple[str, SecretStr], ...] = ()
    """The wire's own headers, such as the one that carries the key."""
    method: str = "POST"
    teaches: bool = True
    """Whether a refusal may teach a quirk: that of a question about the protocol is the question's answer."""


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
    tokens: list[TokenBytes] = field(default_factory=list)


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
    """One API flavour; stateless."""

    reasoning_apart: bool
    """Hidden reasoning is reported beside completion_tokens (Gemini) and not inside it (everybody else)."""

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


def with_raw(body: JSON, ask: Ask, nested: str | None = None) -> JSON:
    """`body` with the ask's `raw` fields over the wire's own, all but QUESTION_FIELDS; those of the object `nested` one by one.

    Raises ValueError where `raw` is not a JSON object: only a probe writes it.
    """
    if ask.raw is None:
        return body
    fields = json.loads(ask.raw)
    if not isinstance(fields, dict):
        raise ValueError("an ask's raw fields are not a JSON object")
    laid = {name: value for name, value in fields.items() if name not in QUESTION_FIELDS}
    if nested is not None and isinstance(laid.get(nested), dict):
        laid[nested] = {**body.get(nested, {}), **laid[nested]}
    return body | laid


def key_header(target: Target, name: str, scheme: str = "") -> tuple[tuple[str, SecretStr], ...]:
    """The header that carries the target's key, where it has one. A header of the same name that the caller gives replaces it."""
    return ((name, SecretStr(scheme + target.api_key.get_secret_value())),) if target.api_key else ()


def openai_key_header(target: Target) -> tuple[tuple[str, SecretStr], ...]:
    """`Authorization: Bearer`, or the `api-key` header that Azure wants instead."""
    parts = urlsplit(target.base_url)
    azure = (parts.hostname or "").endswith(".azure.com") or "/openai/deployments/" in parts.path + "/"
    return key_header(target, "api-key") if azure else key_header(target, "authorization", "Bearer ")


def versioned(target: Target, version: str) -> str:
    """`/version`, unless the base URL already ends in a version: SDKs of Anthropic and Google are given base URLs without it."""
    return "" if _VERSION_AT_END.search(target.base_url) else f"/{version}"


def split_system(ask: Ask) -> tuple[str, list[tuple[str, str]]]:
    """The system messages joined by blank lines, and the other messages: wires that keep the two apart."""
    system = "\n\n".join(content for role, content in ask.messages if role == "system")
    return system, [message for message in ask.messages if message[0] != "system"]


def learnt(signs: Iterable[tuple[str, str, str]], fields: Mapping[str, Any], message: str, quirks: Set[str]) -> str | None:
    """The first quirk of `signs` (quirk, field, word) that is new, whose field was sent and whose word the refusal says."""
    said = message.lower()
    for quirk, sent, word in signs:
        if sent in fields and word in said and quirk not in quirks:
            return quirk
    return None
