"""What all wires need to read hostile JSON: counts, short texts, finish reasons, error bodies, and the frame of a stream parser.

Takes decoded JSON of any shape and gives plain values or None. It raises WireError and nothing else, keeps no more than it was
fed, and never guesses: what is not of the expected type is absent.
"""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

from probes.probe import Chunk, Usage
from verifier.endpoint.wires.base import Answer, NotJSONError, WireError

MAX_TOKEN_COUNT = 10_000_000
"""Tokens. A reported count above this is absurd: the largest context window sold in 2026 is a tenth of it."""
MAX_FIELD_CHARS = 500
"""Characters kept of a model name, an id or another short field of a reply."""

_FINISHES = {
    **dict.fromkeys(("stop", "eos", "eos_token", "end_turn", "stop_sequence", "complete", "completed"), "stop"),
    **dict.fromkeys(("length", "max_tokens", "max_length", "model_length", "max_output_tokens"), "length"),
}

_STATUS_KINDS = {401: "refused-key", 403: "refused-key", 404: "not-found", 429: "rate-limited"}
# The words for machines in error bodies, lower case: OpenAI's code or type, Anthropic's type, Google's status or reason.
_CODE_KINDS = {
    **dict.fromkeys(
        ("invalid_api_key", "authentication_error", "permission_error", "api_key_invalid", "unauthenticated", "permission_denied"),
        "refused-key",
    ),
    **dict.fromkeys(("model_not_found", "not_found_error", "not_found"), "not-found"),
    **dict.fromkeys(("rate_limit_exceeded", "rate_limit_error", "insufficient_quota", "resource_exhausted"), "rate-limited"),
    **dict.fromkeys(("server_error", "api_error", "overloaded_error", "timeout_error", "internal", "unavailable"), "server-error"),
    **dict.fromkeys(("invalid_request_error", "request_too_large", "invalid_argument"), "bad-request"),
}


class EventStream(ABC):
    """What the parsers of streamed replies share. A wire says what an event means in `_take` and what completes a stream in `_complete`."""

    cut = "the stream ended without a finish reason or [DONE]"
    """What `finish` says where nothing completed the stream."""

    def __init__(self) -> None:
        self.answer = Answer()
        self.done = False
        self._pieces: list[str] = []

    def feed(self, event: str, data: str, at: float) -> None:
        """Take one event; `at` is in seconds after the request was sent. Raises WireError for errors and for garbage."""
        data = data.strip()
        if not data:
            return
        if data == "[DONE]":
            self.done = True
            return
        chunk = load_json(data)
        fields = chunk if isinstance(chunk, Mapping) else {}
        refused = refusal(chunk, answered=self._answers(fields), certain="error" in (event, fields.get("type")))
        if refused:
            raise refused
        if not isinstance(chunk, Mapping):
            raise WireError("bad-reply", "a streamed event is not a JSON object")
        self._take(event, chunk, at)

    def finish(self) -> None:
        """The body has ended; raises WireError of kind `cut-stream` unless the stream said that it was complete."""
        self.answer.text = self.text()
        if not self._complete():
            raise WireError("cut-stream", self.cut)

    def text(self) -> str:
        """The pieces so far as one text."""
        return whole_characters("".join(self._pieces))

    def _add(self, piece: object, at: float) -> None:
        if isinstance(piece, str) and piece:
            self._pieces.append(piece)
            self.answer.chunks.append(Chunk(whole_characters(piece), at))

    def _complete(self) -> bool:
        return self.done or self.answer.finish is not None

    @abstractmethod
    def _answers(self, chunk: Mapping[str, Any]) -> bool:
        """Whether an event without an `error` field is one of the wire's own, so that a `message` in it is no error."""

    @abstractmethod
    def _take(self, event: str, chunk: Mapping[str, Any], at: float) -> None:
        """Read one event that is no error."""


def load_json(body: bytes | str) -> Any:
    """Parse JSON from a hostile body. Raises NotJSONError."""
    if not body.strip():
        raise NotJSONError("the reply is empty")
    try:
        return json.loads(body)
    except (ValueError, RecursionError):  # ValueError covers malformed JSON, malformed UTF-8 and integers of absurd length
        raise NotJSONError from None


def mapping(value: object) -> Mapping[str, Any]:
    """The value where it is a JSON object, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def mappings(value: object) -> list[Mapping[str, Any]]:
    """The JSON objects of a list; none where the value is no list."""
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def token_count(value: object) -> int | None:
    """A reported token count, or None where it is not a plausible one: a string, a boolean, negative, absurdly large."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float) and not (math.isfinite(value) and value.is_integer()):
        return None
    return int(value) if 0 <= value <= MAX_TOKEN_COUNT else None


def first_count(fields: Mapping[str, Any], names: Iterable[str]) -> int | None:
    """The first plausible count among the fields of these names."""
    return next((count for name in names if (count := token_count(fields.get(name))) is not None), None)


def openai_usage(value: object) -> Usage | None:
    """Usage in the names of chat completions or of Responses; gateways mix them. None where it holds no plausible count."""
    fields = mapping(value)
    prompt = first_count(fields, ("prompt_tokens", "input_tokens"))
    completion = first_count(fields, ("completion_tokens", "output_tokens"))
    prompt_details = mapping(fields.get("prompt_tokens_details") or fields.get("input_tokens_details"))
    completion_details = mapping(fields.get("completion_tokens_details") or fields.get("output_tokens_details"))
    cached = token_count(prompt_details.get("cached_tokens"))
    if cached is None:  # DeepSeek, Mistral, Together, Doubleword
        cached = first_count(fields, ("prompt_cache_hit_tokens", "num_cached_tokens", "cached_tokens", "cache_read_input_tokens"))
    reasoning = token_count(completion_details.get("reasoning_tokens"))
    if reasoning is None:  # GitHub
        reasoning = token_count(fields.get("reasoning_tokens"))
    usage = Usage(prompt, completion, cached, reasoning)
    return None if usage == Usage() else usage


def finish_reason(reason: object) -> str | None:
    """`stop`, `length`, or the endpoint's own word; None where there is none."""
    if not isinstance(reason, str) or not reason:
        return None
    return _FINISHES.get(reason.lower(), whole_characters(reason[:MAX_FIELD_CHARS]))


def short_string(value: object) -> str | None:
    """A short text field of a reply, cut to MAX_FIELD_CHARS; None where it is not a string."""
    return whole_characters(value[:MAX_FIELD_CHARS]) if isinstance(value, str) else None


def whole_characters(text: str) -> str:
    """Join surrogate pairs that JSON escapes left apart and replace lone ones, so that the text can be encoded as UTF-8."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def refusal(data: object, *, answered: bool, certain: bool = False) -> WireError | None:
    """The error that a body holds although its status is 200.

    `answered`: the body is of the wire's own shape, so that only its `error` field can make it an error. `certain`: the event's
    name already says that it is one.
    """
    if not (certain or mapping(data).get("error") or (not answered and error_message(data))):
        return None
    return reported_error(data)


def reported_error(data: object) -> WireError:
    """The error that a body with status 200 reports, by its words for machines where they are known."""
    message = error_message(data) or "an error without a message"
    kind = error_kind(data)
    return WireError(kind, message) if kind else WireError("bad-reply", f"an error instead of an answer: {message}")


def status_kind(status: int) -> str:
    """The kind of error that an HTTP status of 400 to 599 says."""
    return _STATUS_KINDS.get(status, "server-error" if status >= 500 else "bad-request")


def error_kind(body: object) -> str | None:
    """The kind of error that a body's words for machines say, or None where it has none that are known."""
    body = body[0] if isinstance(body, list) and body else body
    fields = mapping(body)
    detail = mapping(fields.get("error")) or fields
    details = [mapping(one).get("reason") for one in mappings(detail.get("details"))]
    codes = (detail.get("code"), detail.get("type"), detail.get("status"), fields.get("code"), *details)
    for code in codes:  # gateways put the upstream's status here (OpenRouter: {"error": {"code": 429, …}})
        if isinstance(code, int) and not isinstance(code, bool) and 400 <= code <= 599 and code != 400:
            return status_kind(code)
    kinds = [_CODE_KINDS[code.lower()] for code in codes if isinstance(code, str) and code.lower() in _CODE_KINDS]
    # "invalid_request_error" is OpenAI's type for nearly everything: any other word beside it says more.
    return next((kind for kind in kinds if kind != "bad-request"), "bad-request" if kinds or 400 in codes else None)


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
