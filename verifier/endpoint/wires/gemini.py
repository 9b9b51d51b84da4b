"""Google's generateContent wire: `POST …/models/MODEL:generateContent`, or `:streamGenerateContent?alt=sse`, at Gemini and Vertex.

A reply, and each event of a stream, holds candidates with parts; parts marked as thought and parts without text are not text.
`candidatesTokenCount` leaves hidden thought out: it is reported beside it and becomes reasoning_tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any
from urllib.parse import quote

from probes.probe import JSON, Ask, Usage
from verifier.endpoint.wires.base import (
    NO_LOGPROBS,
    NO_TEMPERATURE,
    NO_TOP_P,
    Answer,
    Request,
    WireError,
    key_header,
    learnt,
    split_system,
    versioned,
    with_raw,
)
from verifier.endpoint.wires.reading import (
    EventStream,
    finish_reason,
    load_json,
    mapping,
    mappings,
    refusal,
    short_string,
    token_count,
)
from verifier.endpoint.wires.spelling import extend, gemini_tokens
from verifier.target import Target

_CONFIG = "generationConfig"
_SIGNS = (
    (NO_TOP_P, "topP", "topp"),
    (NO_TOP_P, "topP", "top_p"),
    (NO_TEMPERATURE, "temperature", "temperature"),
    (NO_LOGPROBS, "responseLogprobs", "logprob"),
)
# Google's JSON with enum-encoding=int sends the protobuf numbers of FinishReason.
_FINISH_NUMBERS = {1: "stop", 2: "length"}
_ANSWER_FIELDS = ("candidates", "promptFeedback", "usageMetadata")


class GeminiGenerate:
    """The adapter; stateless."""

    reasoning_apart = True

    def build(self, ask: Ask, target: Target, quirks: Set[str] = frozenset()) -> Request:
        """The request for an ask. The target's extra fields win; those of its generationConfig are laid over the wire's own."""
        config: JSON = {"maxOutputTokens": ask.max_tokens}
        if ask.temperature is not None and NO_TEMPERATURE not in quirks:
            config["temperature"] = ask.temperature
        if ask.top_p is not None and NO_TOP_P not in quirks:
            config["topP"] = ask.top_p
        if ask.logprobs is not None and NO_LOGPROBS not in quirks:
            config |= {"responseLogprobs": True, "logprobs": ask.logprobs}
        extra = target.extra_fields
        config |= mapping(extra.pop(_CONFIG, None))
        system, turns = split_system(ask)
        contents = [{"role": "model" if role == "assistant" else role, "parts": [{"text": content}]} for role, content in turns]
        body = {"contents": contents, _CONFIG: config} | extra
        if system:
            body["systemInstruction"] = {"parts": [{"text": system}]}
        version = "" if "/publishers/" in target.base_url else versioned(target, "v1beta")
        method = "streamGenerateContent?alt=sse" if ask.stream else "generateContent"
        model = quote(target.model.removeprefix("models/"), safe="")
        path = f"{version}/models/{model}:{method}"
        return Request(path, with_raw(body, ask, nested=_CONFIG), key_header(target, "x-goog-api-key"), teaches=ask.raw is None)

    def learn(self, request: Request, message: str, quirks: Set[str]) -> str | None:
        """Read from a refusal which of our fields this model does not take."""
        return learnt(_SIGNS, request.body[_CONFIG], message, quirks) if request.teaches else None

    def parse(self, body: bytes) -> Answer:
        """Read a plain reply, or the JSON array of events that servers send where `alt=sse` is ignored."""
        data = load_json(body)
        events = data if isinstance(data, list) else [data]
        parser = GeminiStream()
        for event in events:
            refused = refusal(event, answered=_answers(mapping(event)))
            if refused:
                raise refused
            parser.take(mapping(event), 0.0)
        if not any(_answers(mapping(event)) for event in events):
            raise WireError("bad-reply", "the reply has no candidates")
        parser.answer.text = parser.text()
        parser.answer.chunks.clear()
        return parser.answer

    def stream(self) -> GeminiStream:
        """A parser for one streamed reply."""
        return GeminiStream()


class GeminiStream(EventStream):
    """Collects the text parts of one streamed reply; nothing but a finish reason says that it is complete."""

    cut = "the stream ended without a finish reason"

    def _answers(self, chunk: Mapping[str, Any]) -> bool:
        return _answers(chunk)

    def _take(self, event: str, chunk: Mapping[str, Any], at: float) -> None:
        self.take(chunk, at)

    def take(self, data: Mapping[str, Any], at: float) -> None:
        """Take one event's object, which has the shape of a plain reply."""
        answer = self.answer
        answer.id = short_string(data.get("responseId")) or answer.id
        answer.model = short_string(data.get("modelVersion")) or answer.model
        answer.usage = _usage(data.get("usageMetadata"), answer.usage)
        # A prompt that was blocked has no candidate, and the reason stands here.
        answer.finish = _finish(mapping(data.get("promptFeedback")).get("blockReason")) or answer.finish
        # The first candidate only: the audit never asks for more.
        candidate = next((one for one in mappings(data.get("candidates")) if one.get("index") in (None, 0)), {})
        for part in mappings(mapping(candidate.get("content")).get("parts")):
            self._add(None if part.get("thought") else part.get("text"), at)
        extend(answer.tokens, gemini_tokens(candidate.get("logprobsResult")))
        answer.finish = _finish(candidate.get("finishReason")) or answer.finish


def _answers(data: Mapping[str, Any]) -> bool:
    return any(name in data for name in _ANSWER_FIELDS)


def _finish(reason: object) -> str | None:
    if isinstance(reason, int) and not isinstance(reason, bool):
        return _FINISH_NUMBERS.get(reason, f"finish reason {reason}"[:40])
    return finish_reason(reason)


def _usage(value: object, before: Usage | None) -> Usage | None:
    """Counts are running totals; what a later event leaves out stands as before."""
    fields, before = mapping(value), before or Usage()
    names = ("promptTokenCount", "candidatesTokenCount", "cachedContentTokenCount", "thoughtsTokenCount")
    earlier = (before.prompt_tokens, before.completion_tokens, before.cached_tokens, before.reasoning_tokens)
    counts = (token_count(fields.get(name)) for name in names)
    usage = Usage(*(old if count is None else count for count, old in zip(counts, earlier, strict=True)))
    return None if usage == Usage() else usage
