"""The OpenAI chat-completions wire, as OpenAI and the many servers that imitate it really speak it.

Builds `POST …/chat/completions` and reads plain bodies and streams, forgiving where real servers err: absent or misplaced usage,
no [DONE], null or list content, empty choices, errors inside a 200. It must never guess: a count that is not a number is absent,
text keeps exactly the streamed pieces, and a stream that never said it was complete is `cut-stream`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from typing import Any

from pydantic import SecretStr

from probes.probe import JSON, Ask, Chunk, Usage
from verifier.endpoint.wires.base import (
    MAX_FIELD_CHARS,
    Answer,
    Request,
    WireError,
    error_message,
    load_json,
    short_string,
    token_count,
    whole_characters,
)
from verifier.target import RESERVED_BODY_FIELDS, Target

COMPLETION_TOKENS_FIELD = "wants max_completion_tokens"
NO_TEMPERATURE = "refuses temperature"
NO_STREAM_OPTIONS = "refuses stream_options"

_FINISHES = {
    "stop": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "complete": "stop",
    "completed": "stop",
    "length": "length",
    "max_tokens": "length",
    "max_length": "length",
    "model_length": "length",
}


class OpenAIChat:
    """The adapter; stateless."""

    def build(self, ask: Ask, target: Target, quirks: Set[str] = frozenset()) -> Request:
        """The request for an ask, with the target's extra fields over the wire's own."""
        fields: JSON = {}
        fields["max_completion_tokens" if COMPLETION_TOKENS_FIELD in quirks else "max_tokens"] = ask.max_tokens
        if ask.temperature is not None and NO_TEMPERATURE not in quirks:
            fields["temperature"] = ask.temperature
        if ask.stream and NO_STREAM_OPTIONS not in quirks:
            fields["stream_options"] = {"include_usage": True}
        extra = {name: value for name, value in target.body.items() if name not in RESERVED_BODY_FIELDS}
        messages = [{"role": role, "content": content} for role, content in ask.messages]
        body = {"model": target.model, "messages": messages, "stream": ask.stream} | fields | extra
        key = target.api_key.get_secret_value() if target.api_key else ""
        return Request("/chat/completions", body, (("authorization", SecretStr(f"Bearer {key}")),) if key else ())

    def learn(self, request: Request, message: str, quirks: Set[str]) -> str | None:
        """Read from a refusal which of our fields this model does not take."""
        said = message.lower()
        for quirk, field, sign in (
            (COMPLETION_TOKENS_FIELD, "max_tokens", "max_completion_tokens"),
            (NO_TEMPERATURE, "temperature", "temperature"),
            (NO_STREAM_OPTIONS, "stream_options", "stream_options"),
        ):
            if field in request.body and sign in said and quirk not in quirks:
                return quirk
        return None

    def parse(self, body: bytes) -> Answer:
        """Read a plain chat completion."""
        data = load_json(body)
        if not isinstance(data, Mapping) or not isinstance(data.get("choices"), list):
            raise _refusal(data) or WireError("bad-reply", "the reply has no choices")
        refusal = _refusal(data)
        if refusal and not data["choices"]:
            raise refusal
        answer = Answer()
        _read_common(data, answer)
        for choice in _choices(data):
            message = choice.get("message")
            content = message.get("content") if isinstance(message, Mapping) else choice.get("text")
            answer.text = whole_characters(_text(content))
            answer.finish = _finish(choice.get("finish_reason"))
        return answer

    def stream(self) -> OpenAIStream:
        """A parser for one streamed completion."""
        return OpenAIStream()


class OpenAIStream:
    """Collects the deltas of one streamed completion."""

    def __init__(self) -> None:
        self.answer = Answer()
        self._pieces: list[str] = []
        self.done = False

    def feed(self, event: str, data: str, at: float) -> None:
        """Take one event; `at` is in seconds after the request was sent. Raises WireError for errors and for garbage."""
        data = data.strip()
        if not data:
            return
        if data == "[DONE]":
            self.done = True
            return
        chunk = load_json(data)
        refusal = _refusal(chunk, certain=event == "error")
        if refusal:
            raise refusal
        if not isinstance(chunk, Mapping):
            raise WireError("bad-reply", "a streamed event is not a JSON object")
        _read_common(chunk, self.answer)
        for choice in _choices(chunk):
            # "message" instead of "delta": servers that stream a single, whole chunk.
            delta = choice.get("delta") or choice.get("message")
            piece = _text(delta.get("content") if isinstance(delta, Mapping) else choice.get("text"))
            if piece:
                self._pieces.append(piece)
                self.answer.chunks.append(Chunk(whole_characters(piece), at))
            self.answer.finish = _finish(choice.get("finish_reason")) or self.answer.finish

    def finish(self) -> None:
        """The body has ended; raises WireError of kind `cut-stream` unless a finish reason, usage or [DONE] came."""
        self.answer.text = whole_characters("".join(self._pieces))
        if not (self.done or self.answer.finish or self.answer.usage):
            raise WireError("cut-stream", "the stream ended without a finish reason, usage or [DONE]")


def _read_common(data: Mapping[str, Any], answer: Answer) -> None:
    answer.id = short_string(data.get("id")) or answer.id
    answer.model = short_string(data.get("model")) or answer.model
    answer.system_fingerprint = short_string(data.get("system_fingerprint")) or answer.system_fingerprint
    groq = data.get("x_groq")  # Groq streams its usage here
    answer.usage = _usage(data.get("usage")) or (_usage(groq.get("usage")) if isinstance(groq, Mapping) else None) or answer.usage


def _choices(data: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The first choice only: the audit never asks for more, and a second one's text must not mix with it."""
    choices = data.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, Mapping) and choice.get("index") in (None, 0):
            yield choice
            return


def _text(content: object) -> str:
    """Message content: a string, null, or a list of parts of which those with text count (reasoning parts hold theirs elsewhere)."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts = (part.get("text") if isinstance(part, Mapping) else part for part in content)
    return "".join(part for part in parts if isinstance(part, str))


def _finish(reason: object) -> str | None:
    if not isinstance(reason, str) or not reason:
        return None
    return _FINISHES.get(reason.lower(), whole_characters(reason[:MAX_FIELD_CHARS]))


def _usage(value: object) -> Usage | None:
    if not isinstance(value, Mapping):
        return None
    prompt_details, completion_details = value.get("prompt_tokens_details"), value.get("completion_tokens_details")
    cached = prompt_details.get("cached_tokens") if isinstance(prompt_details, Mapping) else value.get("prompt_cache_hit_tokens")
    reasoning = completion_details.get("reasoning_tokens") if isinstance(completion_details, Mapping) else None
    counts = Usage(*map(token_count, (value.get("prompt_tokens"), value.get("completion_tokens"), cached, reasoning)))
    return None if counts == Usage() else counts


def _refusal(data: object, *, certain: bool = False) -> WireError | None:
    """The error that a body holds although its status is 200; `certain` where the event's name already says so."""
    fields = data if isinstance(data, Mapping) else {}
    if not (certain or fields.get("error") or ("choices" not in fields and error_message(data))):
        return None
    detail = fields.get("error")
    code = detail.get("code") if isinstance(detail, Mapping) else fields.get("code")
    message = error_message(data) or "an error without a message"
    # Gateways put the upstream's status here (OpenRouter: {"error": {"code": 429, …}}).
    kinds = {401: "refused-key", 403: "refused-key", 404: "not-found", 429: "rate-limited"}
    if isinstance(code, int) and not isinstance(code, bool) and 400 <= code <= 599:
        return WireError(kinds.get(code, "server-error" if code >= 500 else "bad-request"), message)
    return WireError("bad-reply", f"an error instead of an answer: {message}")
