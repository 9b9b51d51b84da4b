"""The OpenAI Responses wire: `POST …/responses`, plain and streamed, as OpenAI, Azure, xAI, OpenRouter, vLLM and llama.cpp speak it.

A reply is a list of output items of which only messages hold text; a stream tells the same story in named events. Reasoning,
tool calls and refusals are not text. Usage is `input_tokens` and `output_tokens`, hidden reasoning inside the latter.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
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
    mappings,
    openai_usage,
    refusal,
    reported_error,
    short_string,
    whole_characters,
)
from verifier.endpoint.wires.spelling import extend, openai_tokens
from verifier.target import Target

LEAST_OUTPUT_TOKENS = 16
"""Tokens. OpenAI refuses a smaller max_output_tokens ("Expected a value >= 16"); an ask for fewer is sent as 16."""

LOGPROBS = "message.output_text.logprobs"
"""What `include` calls the log probabilities of the text."""

_SIGNS = (
    (NO_TOP_P, "top_p", "top_p"),
    (NO_TEMPERATURE, "temperature", "temperature"),
    (NO_LOGPROBS, "top_logprobs", "logprob"),
    (NO_LOGPROBS, "top_logprobs", "include"),
)
_LAST_EVENTS = frozenset({"response.completed", "response.incomplete", "response.cancelled"})


class OpenAIResponses:
    """The adapter; stateless."""

    reasoning_apart = False

    def build(self, ask: Ask, target: Target, quirks: Set[str] = frozenset()) -> Request:
        """The request for an ask, with the target's extra fields over the wire's own."""
        fields: JSON = {"max_output_tokens": max(ask.max_tokens, LEAST_OUTPUT_TOKENS)}
        if ask.temperature is not None and NO_TEMPERATURE not in quirks:
            fields["temperature"] = ask.temperature
        if ask.top_p is not None and NO_TOP_P not in quirks:
            fields["top_p"] = ask.top_p
        if ask.logprobs is not None and NO_LOGPROBS not in quirks:
            fields |= {"include": [LOGPROBS], "top_logprobs": ask.logprobs}
        extra = target.extra_fields
        messages = [{"role": role, "content": content} for role, content in ask.messages]
        body = {"model": target.model, "input": messages, "stream": ask.stream} | fields | extra
        return Request("/responses", with_raw(body, ask), openai_key_header(target), teaches=ask.raw is None)

    def learn(self, request: Request, message: str, quirks: Set[str]) -> str | None:
        """Read from a refusal which of our fields this model does not take."""
        return learnt(_SIGNS, request.body, message, quirks) if request.teaches else None

    def parse(self, body: bytes) -> Answer:
        """Read a plain response object."""
        data = load_json(body)
        output = mapping(data).get("output")
        refused = refusal(data, answered=isinstance(output, list))
        if refused and (not output or mapping(data).get("status") == "failed"):
            raise refused
        if not isinstance(output, list):
            raise WireError("bad-reply", "the reply has no output")
        answer = Answer()
        _read_response(data, answer)
        answer.text = whole_characters(_text(data))
        answer.tokens = _tokens(data)
        return answer

    def stream(self) -> ResponsesStream:
        """A parser for one streamed response."""
        return ResponsesStream()


class ResponsesStream(EventStream):
    """Collects the text deltas of one streamed response; its last event carries the finish and the usage."""

    cut = "the stream ended without response.completed or response.incomplete"

    def _answers(self, chunk: Mapping[str, Any]) -> bool:
        return "type" in chunk

    def _take(self, event: str, chunk: Mapping[str, Any], at: float) -> None:
        kind = chunk.get("type") or event
        if kind == "response.output_text.delta":
            self._add(chunk.get("delta"), at)
            extend(self.answer.tokens, openai_tokens(chunk.get("logprobs")))
            return
        response = chunk.get("response")
        if not isinstance(response, Mapping):
            return
        if kind == "response.failed":
            raise reported_error(response)
        last = isinstance(kind, str) and kind in _LAST_EVENTS
        _read_response(response, self.answer, last=last)
        if last:
            if not self._pieces:  # a gateway that streams nothing but the end
                self._add(_text(response), at)
            self.answer.tokens = _tokens(response) or self.answer.tokens  # the whole list again, or for the first time
            self.done = True


def _read_response(data: Mapping[str, Any], answer: Answer, *, last: bool = True) -> None:
    answer.id = short_string(data.get("id")) or answer.id
    answer.model = short_string(data.get("model")) or answer.model
    answer.usage = openai_usage(data.get("usage")) or answer.usage
    if not last:
        return
    # Some gateways (OpenRouter, at first) leave out the response's status; the message's own says the same.
    statuses = [data.get("status"), *(item.get("status") for item in _messages(data))]
    status = next((one for one in statuses if isinstance(one, str)), None)
    reason = mapping(data.get("incomplete_details")).get("reason")
    answer.finish = finish_reason(reason) or finish_reason(status)


def _messages(data: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [item for item in mappings(data.get("output")) if item.get("type") == "message"]


def _parts(data: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [part for item in _messages(data) for part in mappings(item.get("content")) if part.get("type") in ("output_text", "text")]


def _text(data: Mapping[str, Any]) -> str:
    return "".join(text for part in _parts(data) if isinstance(text := part.get("text"), str))


def _tokens(data: Mapping[str, Any]) -> list[TokenBytes]:
    tokens: list[TokenBytes] = []
    for part in _parts(data):
        extend(tokens, openai_tokens(part.get("logprobs")))
    return tokens
