"""The OpenAI chat-completions wire, as OpenAI and the many servers that imitate it really speak it; Azure's deployments too.

Builds `POST …/chat/completions` and reads plain bodies and streams, forgiving where real servers err: absent or misplaced usage,
no [DONE], null or list content, empty choices, errors inside a 200. It must never guess: a count that is not a number is absent,
text keeps exactly the streamed pieces, and a stream that never said it was complete is `cut-stream`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from typing import Any

from probes.probe import JSON, Ask, TokenBytes
from verifier.endpoint.wires.base import (
    NO_LOGPROBS,
    NO_TEMPERATURE,
    NO_TOP_P,
    Answer,
    Request,
    WireError,
    learnt,
    openai_key_header,
    with_raw,
)
from verifier.endpoint.wires.reading import (
    EventStream,
    finish_reason,
    load_json,
    mapping,
    openai_usage,
    refusal,
    short_string,
    whole_characters,
)
from verifier.endpoint.wires.spelling import extend, openai_tokens
from verifier.target import Target

COMPLETION_TOKENS_FIELD = "wants max_completion_tokens"
NO_STREAM_OPTIONS = "refuses stream_options"
NO_LOGIT_BIAS = "refuses logit_bias"

_SIGNS = (
    (COMPLETION_TOKENS_FIELD, "max_tokens", "max_completion_tokens"),
    (NO_TOP_P, "top_p", "top_p"),
    (NO_TEMPERATURE, "temperature", "temperature"),
    (NO_STREAM_OPTIONS, "stream_options", "stream_options"),
    (NO_LOGPROBS, "logprobs", "logprob"),
    (NO_LOGIT_BIAS, "logit_bias", "logit"),
)


class OpenAIChat:
    """The adapter; stateless."""

    reasoning_apart = False

    def build(self, ask: Ask, target: Target, quirks: Set[str] = frozenset()) -> Request:
        """The request for an ask, with the target's extra fields over the wire's own."""
        fields: JSON = {}
        fields["max_completion_tokens" if COMPLETION_TOKENS_FIELD in quirks else "max_tokens"] = ask.max_tokens
        if ask.temperature is not None and NO_TEMPERATURE not in quirks:
            fields["temperature"] = ask.temperature
        if ask.top_p is not None and NO_TOP_P not in quirks:
            fields["top_p"] = ask.top_p
        if ask.stream and NO_STREAM_OPTIONS not in quirks:
            fields["stream_options"] = {"include_usage": True}
        if ask.logprobs is not None and NO_LOGPROBS not in quirks:
            fields |= {"logprobs": True, "top_logprobs": ask.logprobs}
        if ask.logit_bias and NO_LOGIT_BIAS not in quirks:
            fields["logit_bias"] = {str(token): bias for token, bias in ask.logit_bias}
        extra = target.extra_fields
        messages = [{"role": role, "content": content} for role, content in ask.messages]
        body = {"model": target.model, "messages": messages, "stream": ask.stream} | fields | extra
        return Request("/chat/completions", with_raw(body, ask), openai_key_header(target), teaches=ask.raw is None)

    def learn(self, request: Request, message: str, quirks: Set[str]) -> str | None:
        """Read from a refusal which of our fields this model does not take."""
        return learnt(_SIGNS, request.body, message, quirks) if request.teaches else None

    def parse(self, body: bytes) -> Answer:
        """Read a plain chat completion."""
        data = load_json(body)
        refused = refusal(data, answered="choices" in mapping(data))
        if not isinstance(data, Mapping) or not isinstance(data.get("choices"), list):
            raise refused or WireError("bad-reply", "the reply has no choices")
        if refused and not data["choices"]:
            raise refused
        answer = Answer()
        _read_common(data, answer)
        for choice in _choices(data):
            message = choice.get("message")
            content = message.get("content") if isinstance(message, Mapping) else choice.get("text")
            answer.text = whole_characters(_text(content))
            answer.finish = finish_reason(choice.get("finish_reason"))
            answer.tokens.extend(_tokens(choice))
        return answer

    def stream(self) -> OpenAIStream:
        """A parser for one streamed completion."""
        return OpenAIStream()


class OpenAIStream(EventStream):
    """Collects the deltas of one streamed completion."""

    cut = "the stream ended without a finish reason, usage or [DONE]"

    def _answers(self, chunk: Mapping[str, Any]) -> bool:
        return "choices" in chunk

    def _take(self, event: str, chunk: Mapping[str, Any], at: float) -> None:
        _read_common(chunk, self.answer)
        for choice in _choices(chunk):
            # "message" instead of "delta": servers that stream a single, whole chunk.
            delta = choice.get("delta") or choice.get("message")
            self._add(_text(delta.get("content") if isinstance(delta, Mapping) else choice.get("text")), at)
            extend(self.answer.tokens, _tokens(choice))
            self.answer.finish = finish_reason(choice.get("finish_reason")) or self.answer.finish

    def _complete(self) -> bool:
        return super()._complete() or self.answer.usage is not None


def _read_common(data: Mapping[str, Any], answer: Answer) -> None:
    answer.id = short_string(data.get("id")) or answer.id
    answer.model = short_string(data.get("model")) or answer.model
    answer.system_fingerprint = short_string(data.get("system_fingerprint")) or answer.system_fingerprint
    groq = mapping(data.get("x_groq"))  # Groq streams its usage here
    answer.usage = openai_usage(data.get("usage")) or openai_usage(groq.get("usage")) or answer.usage


def _choices(data: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The first choice only: the audit never asks for more, and a second one's text must not mix with it."""
    choices = data.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, Mapping) and choice.get("index") in (None, 0):
            yield choice
            return


def _tokens(choice: Mapping[str, Any]) -> Iterator[TokenBytes]:
    return openai_tokens(mapping(choice.get("logprobs")).get("content"))


def _text(content: object) -> str:
    """Message content: a string, null, or a list of parts of which those with text count (reasoning parts hold theirs elsewhere)."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts = (part.get("text") if isinstance(part, Mapping) else part for part in content)
    return "".join(part for part in parts if isinstance(part, str))
