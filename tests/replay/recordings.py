"""Recorded traffic of ../shared/recorded as HTTP replies: what a server sent, and what stands in it by the recording's own account.

The oracles here (`text`, `usage`, `finish`, `message`) read the recorded JSON in the plainest way and share no code with the
wires. What the recorders changed is undone where that is possible without guessing; what they destroyed is excluded with a reason.
"""

from __future__ import annotations

import gzip
import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fingerprints.wire import Wire


@dataclass(frozen=True)
class Recording:
    """One recorded reply on one of our wires."""

    id: str
    provider: str
    wire: Wire
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    events: tuple[Any, ...]
    """The JSON objects in the body: one of a plain reply, one per event of a stream."""
    streamed: bool


@dataclass(frozen=True)
class Excluded:
    """A recording that cannot be replayed, or that is no reply of this wire at all."""

    id: str
    provider: str
    wire: Wire
    reason: str


def wire_of(path: str) -> Wire | None:
    """The wire whose requests go to this path."""
    path = path.split("?")[0]
    if path.endswith("/chat/completions"):
        return Wire.OPENAI
    if path.endswith("/responses"):
        return Wire.RESPONSES
    if path.endswith("/messages") and "/threads/" not in path:  # those are OpenAI's Assistants
        return Wire.ANTHROPIC
    return Wire.GEMINI if path.endswith((":generateContent", ":streamGenerateContent")) else None


def interactions(shared: Path) -> Iterator[Recording | Excluded]:
    """The replies of interactions.jsonl.gz on our wires."""
    with gzip.open(shared / "recorded" / "interactions.jsonl.gz", "rt", encoding="utf-8") as file:
        for line in file:
            record = json.loads(line)
            wire = wire_of(record["endpoint"]) if record["method"] == "POST" else None
            if wire is not None:
                yield _recording(record, wire)


def _recording(record: dict[str, Any], wire: Wire) -> Recording | Excluded:
    body, status, provider = record["response_body"], record["status"], record["provider"]
    reason = _damage(body, status) or _stray(record)
    if reason:
        return Excluded(record["sha"], provider, wire, reason)
    if isinstance(body, dict) and "__chunks__" in body:  # the SDK's chunk objects in place of the events
        body = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in body["__chunks__"]) + "data: [DONE]\n\n"
    elif isinstance(body, list) and body and isinstance(body[0], str):  # the lines of the events
        body = "\n".join(body) + "\n\n"
    if isinstance(body, str) and re.search(r"^ ?data:", body := _parted(body), re.MULTILINE):
        return _made(record["sha"], provider, wire, status or 200, record["response_headers"], body.encode(), _events(body), True)
    raw = b"" if body is None else json.dumps(body).encode()
    parts = tuple(body) if isinstance(body, list) else (body,)
    return _made(record["sha"], provider, wire, status, record["response_headers"], raw, parts, False)


def _made(id: str, provider: str, wire: Wire, status: int, headers: Any, body: bytes, events: tuple[Any, ...], streamed: bool) -> Recording:
    # The recorders stored bodies decoded and whole.
    changed = {"content-encoding", "content-length", "transfer-encoding"}
    kept = tuple((name, str(value)) for name, value in (headers or {}).items() if name.lower() not in changed and str(value).isascii())
    return Recording(id, provider, wire, status, kept, body, events, streamed)


def _damage(body: Any, status: int | None) -> str | None:
    """What a recorder destroyed."""
    if isinstance(body, str) and re.search(r"<truncated \d+ chars>$", body):
        return "cut by the recorder's size limit"
    if isinstance(body, dict) and body.keys() == {"contentType", "kind", "path", "sha256"}:
        return "body kept in a file that the recording does not hold"
    if isinstance(body, dict) and body.keys() == {"__exception__"}:
        return "an SDK's exception object in place of the body"
    if body in (None, "") and status == 200:
        return "body of a 200 not recorded"
    return None


def _stray(record: dict[str, Any]) -> str | None:
    """Replies of other services that a recorder filed under this path."""
    body = record["response_body"]
    if record["provider"] == "other-llm" and "/bin/" in record["endpoint"]:
        return "an HTTP echo service, no model"
    if isinstance(body, dict) and body.get("object") == "list" and "data" in body:
        return "an embedding filed under this path"
    if record["status"] == 202 and body == {"message": "Runs batch ingested"}:
        return "a tracing service's receipt filed under this path"
    return None


def _parted(body: str) -> str:
    """The stream with the blank lines that one recorder left out put back."""
    body = re.sub(r"^(: ?(OPENROUTER PROCESSING)?)(?=data: )", r"\1\n\n", body)
    return re.sub(r"(?<=[}\]])(: OPENROUTER PROCESSING)?(?=(event: [\w.]+\n|data: [{\[]))", "\n\n", body)


def _events(body: str) -> tuple[Any, ...]:
    datas = re.findall(r"^ ?data: ?(.*?)\r?$", body, re.MULTILINE)
    return tuple(json.loads(data) for data in datas if data.strip() not in ("", "[DONE]"))


def servers(shared: Path) -> Iterator[Recording | Excluded]:
    """The replies of the local servers' transcripts on our wires; a server that never answered is excluded."""
    with tarfile.open(shared / "recorded" / "servers.tar.gz") as archive:
        for member in archive:
            file = archive.extractfile(member) if member.name.endswith(".txt") else None
            transcript = file.read().decode("utf-8", "replace") if file else ""
            asked = re.match(r"> POST (\S+)", transcript)
            wire = wire_of(asked.group(1)) if asked else None
            if wire is None:
                continue
            _, folder, name = member.name.split("/")
            answer = re.search(r"^< HTTP/\S+ (\d+).*?\n(.*?)^<\s*$\n(.*)", transcript, re.MULTILINE | re.DOTALL)
            if answer is None:
                yield Excluded(f"{folder}/{name}", folder, wire, "the server did not answer (it had died, or timed out)")
                continue
            headers = dict(line[2:].split(": ", 1) for line in answer.group(2).splitlines() if ": " in line)
            body = answer.group(3).rstrip("\n")
            streamed = bool(re.search(r"^data:", body, re.MULTILINE))
            events = _events(body) if streamed else (_json_or_text(body),)
            end = "\n\n" if streamed else ""
            yield _made(f"{folder}/{name}", folder, wire, int(answer.group(1)), headers, (body + end).encode(), events, streamed)


def _json_or_text(body: str) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body


# What stands in a recording


def message(recording: Recording) -> str | None:
    """The server's own error message, where the recording is an error."""
    for event in recording.events:
        if isinstance(event, dict) and event.get("type") == "response.failed":
            return str(event["response"]["error"]["message"])
        if recording.status < 400 and not (isinstance(event, dict) and event.get("error") and not event.get("output")):
            continue
        if not isinstance(event, dict):
            return event if isinstance(event, str) else ""
        found = event.get("error") or event.get("detail") or event.get("message") or ""
        if isinstance(found, list):
            found = found[0]
        if isinstance(found, dict):
            found = found.get("message") or found.get("msg") or ""
        return str(found)
    return None


def text(recording: Recording) -> str:
    """The text that the model wrote."""
    return "".join(
        piece for event in recording.events for piece in _TEXTS[recording.wire](event, recording.streamed) if isinstance(piece, str)
    )


def _chat_text(event: Any, streamed: bool) -> Iterator[Any]:
    for choice in event.get("choices") or ():
        if choice.get("index", 0) == 0:
            # Perplexity sends both: a stream's message repeats all that came before, a plain reply's delta is empty.
            content = (choice.get("delta" if streamed and "delta" in choice else "message") or {}).get("content")
            yield from (part.get("text") for part in content) if isinstance(content, list) else (content,)


def _responses_text(event: Any, streamed: bool) -> Iterator[Any]:
    if event.get("type") == "response.output_text.delta":
        yield event["delta"]
    for item in event.get("output", ()) if event.get("object") == "response" else ():
        yield from (part["text"] for part in item.get("content") or () if part.get("type") == "output_text")


def _message_text(event: Any, streamed: bool) -> Iterator[Any]:
    yield from (block["text"] for block in event.get("content") or () if block.get("type") == "text")
    if event.get("type") == "content_block_delta" and event["delta"]["type"] == "text_delta":
        yield event["delta"]["text"]


def _gemini_text(event: Any, streamed: bool) -> Iterator[Any]:
    for candidate in event.get("candidates") or ():
        if candidate.get("index", 0) == 0:
            yield from (part.get("text") for part in (candidate.get("content") or {}).get("parts") or () if not part.get("thought"))


_TEXTS = {Wire.OPENAI: _chat_text, Wire.RESPONSES: _responses_text, Wire.ANTHROPIC: _message_text, Wire.GEMINI: _gemini_text}


_PROMPT = ("prompt_tokens", "input_tokens", "promptTokenCount")
_COMPLETION = ("completion_tokens", "output_tokens", "candidatesTokenCount")
_CACHED = ("cached_tokens", "cache_read_input_tokens", "cachedContentTokenCount", "prompt_cache_hit_tokens", "num_cached_tokens")
_REASONING = ("reasoning_tokens", "thoughtsTokenCount", "thinking_tokens")


def usage(recording: Recording) -> tuple[int | None, ...]:
    """Prompt, completion, cached and reasoning tokens as the last usage that has them; Anthropic's cached ones added to the prompt."""
    counted: list[int | None] = [None, None, None, None]
    for event in recording.events:
        for holder in (event, event.get("response"), event.get("message"), event.get("x_groq")):
            counts = (holder.get("usage") or holder.get("usageMetadata")) if isinstance(holder, dict) else None
            if not isinstance(counts, dict):
                continue
            flat = counts | {name: n for inner in counts.values() if isinstance(inner, dict) for name, n in inner.items()}
            found = [
                next((flat[n] for n in names if flat.get(n) is not None), None) for names in (_PROMPT, _COMPLETION, _CACHED, _REASONING)
            ]
            if recording.wire is Wire.ANTHROPIC and found[0] is not None:
                found[0] += (counts.get("cache_creation_input_tokens") or 0) + (counts.get("cache_read_input_tokens") or 0)
            counted = [old if new is None else new for new, old in zip(found, counted, strict=True)]
    return tuple(counted)


_LENGTH = ("length", "max_tokens", "MAX_TOKENS", "max_output_tokens", 2)
_STOP = ("stop", "eos", "end_turn", "stop_sequence", "STOP", "completed", "complete", 1)


def finish(recording: Recording) -> str | None:
    """`stop`, `length` or another word, as the recording's last word on why generation ended; None where it says nothing."""
    word: Any = None
    for event in recording.events:
        for choice in (event.get("choices") or ())[:1]:
            word = choice.get("finish_reason") or word
        for candidate in (event.get("candidates") or ())[:1]:
            word = candidate.get("finishReason") or word
        if recording.wire is Wire.ANTHROPIC:
            word = event.get("stop_reason") or (event.get("delta") or {}).get("stop_reason") or word
        last = event.get("type") in ("response.completed", "response.incomplete")
        response = event.get("response") if last else event if event.get("object") == "response" else None
        if response:
            word = (response.get("incomplete_details") or {}).get("reason") or response.get("status") or word
            if not word:  # OpenRouter, at first, said it of the messages alone
                word = next((item["status"] for item in response["output"] if item["type"] == "message"), None)
    return "length" if word in _LENGTH else "stop" if word in _STOP else word
