"""The Anthropic Messages wire: `POST …/v1/messages`, plain and streamed, as Anthropic and those who imitate it speak it.

A reply is a list of content blocks of which only `text` blocks are text: thinking, tools and their results are not. Anthropic
counts cached prompt tokens apart from `input_tokens`; here prompt_tokens is the sum, so that it means the same on every wire.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

from pydantic import SecretStr

from probes.probe import JSON, Ask, Usage
from verifier.endpoint.wires.base import (
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
    whole_characters,
)
from verifier.target import Target

VERSION = "2023-06-01"
"""The only value of the anthropic-version header since 2023."""

_SIGNS = ((NO_TOP_P, "top_p", "top_p"), (NO_TEMPERATURE, "temperature", "temperature"))


class AnthropicMessages:
    """The adapter; stateless."""

    reasoning_apart = False

    def build(self, ask: Ask, target: Target, quirks: Set[str] = frozenset()) -> Request:
        """The request for an ask, with the target's extra fields over the wire's own."""
        fields: JSON = {"max_tokens": ask.max_tokens}
        if ask.temperature is not None and NO_TEMPERATURE not in quirks:
            fields["temperature"] = ask.temperature
        if ask.top_p is not None and NO_TOP_P not in quirks:
            fields["top_p"] = ask.top_p
        extra = target.extra_fields
        system, turns = split_system(ask)
        messages = [{"role": role, "content": content} for role, content in turns]
        body = {"model": target.model, "messages": messages, "stream": ask.stream} | fields | extra
        if system:
            body["system"] = system
        headers = (*key_header(target, "x-api-key"), ("anthropic-version", SecretStr(VERSION)))
        return Request(versioned(target, "v1") + "/messages", with_raw(body, ask), headers, teaches=ask.raw is None)

    def learn(self, request: Request, message: str, quirks: Set[str]) -> str | None:
        """Read from a refusal which of our fields this model does not take."""
        return learnt(_SIGNS, request.body, message, quirks) if request.teaches else None

    def parse(self, body: bytes) -> Answer:
        """Read a plain message."""
        data = load_json(body)
        content = mapping(data).get("content")
        refused = refusal(data, answered=content is not None, certain=mapping(data).get("type") == "error")
        if refused and not content:
            raise refused
        if not isinstance(data, Mapping) or not isinstance(content, list | str):
            raise WireError("bad-reply", "the reply has no content")
        answer = Answer(id=short_string(data.get("id")), model=short_string(data.get("model")))
        answer.finish = finish_reason(data.get("stop_reason"))
        answer.usage = _usage(data.get("usage"), None)
        texts = [content] if isinstance(content, str) else [_text(block) for block in mappings(content)]
        answer.text = whole_characters("".join(texts))
        return answer

    def stream(self) -> AnthropicStream:
        """A parser for one streamed message."""
        return AnthropicStream()


class AnthropicStream(EventStream):
    """Collects the text deltas of one streamed message. Usage comes at its start and is brought up to date at its end."""

    cut = "the stream ended without a stop reason or message_stop"

    def _answers(self, chunk: Mapping[str, Any]) -> bool:
        return "type" in chunk

    def _take(self, event: str, chunk: Mapping[str, Any], at: float) -> None:
        kind = chunk.get("type") or event
        answer = self.answer
        if kind == "message_start":
            message = mapping(chunk.get("message"))
            answer.id, answer.model = short_string(message.get("id")), short_string(message.get("model"))
            answer.usage = _usage(message.get("usage"), answer.usage)
        elif kind == "content_block_start":
            self._add(_text(mapping(chunk.get("content_block"))), at)
        elif kind == "content_block_delta":
            delta = mapping(chunk.get("delta"))
            self._add(delta.get("text") if delta.get("type") in (None, "text_delta") else None, at)
        elif kind == "message_delta":
            answer.finish = finish_reason(mapping(chunk.get("delta")).get("stop_reason")) or answer.finish
            answer.usage = _usage(chunk.get("usage"), answer.usage)
        elif kind == "message_stop":
            self.done = True


def _text(block: Mapping[str, Any]) -> str:
    text = block.get("text") if block.get("type") in (None, "text") else None
    return text if isinstance(text, str) else ""


def _usage(value: object, before: Usage | None) -> Usage | None:
    """Usage with cached tokens added into prompt_tokens. What a later report leaves out, or sets to a prompt of 0, stands as before."""
    fields, before = mapping(value), before or Usage()
    fresh, written, cached = (
        token_count(fields.get(name)) for name in ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    )
    prompt = None if fresh is None else fresh + (written or 0) + (cached or 0)
    if not prompt and before.prompt_tokens is not None:
        prompt, cached = before.prompt_tokens, before.cached_tokens
    completion = token_count(fields.get("output_tokens"))
    reasoning = token_count(mapping(fields.get("output_tokens_details")).get("thinking_tokens"))
    usage = Usage(
        prompt,
        before.completion_tokens if completion is None else completion,
        cached,
        before.reasoning_tokens if reasoning is None else reasoning,
    )
    return None if usage == Usage() else usage
