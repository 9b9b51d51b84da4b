"""One HTTP request and all that can go wrong with it, within caps on time, bytes, events and headers.

Takes a transport and a request, gives an Outcome: what the wire understood, or which of ERROR_KINDS happened. It raises only
TargetRefusedError (the guard's). It must never decompress, follow a redirect, or hold more of a body than its cap; texts in an
Outcome are the server's own and not yet redacted.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import html
import math
import re
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from verifier.endpoint.limits import Limits
from verifier.endpoint.sse import Event, EventReader
from verifier.endpoint.wires.base import Answer, NotJSONError, StreamParser, WireAdapter, WireError
from verifier.endpoint.wires.reading import error_kind, error_message, load_json, status_kind, whole_characters

_ERROR_BODY_BYTES = 65_536
"""What is read of an error's body: enough for its message."""
_ERROR_BODY_S = 3.0
"""How long it is waited for: the status has already said what happened."""

# Google and xAI refuse a key with a 400, and only their words say why.
_KEY_REFUSED = re.compile(r"api key (not valid|is invalid|not found|expired)|(incorrect|invalid) api key", re.IGNORECASE)
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)


@dataclass(slots=True)
class Outcome:
    """What came of one request."""

    status: int | None = None
    headers: list[tuple[str, str]] = field(default_factory=list)
    answer: Answer = field(default_factory=Answer)
    error: WireError | None = None
    dropped: bool = False
    """The server took the connection and closed it without any answer."""
    broke_off: bool = False
    """The connection ended inside the body."""
    retry_after_s: float | None = None
    body_bytes: int = 0
    sha256: str = ""
    seconds: float = 0.0


async def exchange(
    transport: httpx.AsyncBaseTransport, request: httpx.Request, adapter: WireAdapter, limits: Limits, clock: Callable[[], float]
) -> Outcome:
    """Send a request and read its reply. Raises TargetRefusedError where the guard refuses the connection."""
    outcome = Outcome()
    body = _Body(adapter, limits, clock)
    try:
        async with asyncio.timeout(limits.timeout_s):
            response = await transport.handle_async_request(request)
            try:
                await _read(response, outcome, body, limits)
            finally:
                await response.aclose()
    except WireError as error:
        outcome.error = error
    except (TimeoutError, httpx.TimeoutException):
        outcome.error = WireError("timeout", f"no complete answer within {limits.timeout_s:g} seconds")
    except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, OSError) as error:
        outcome.error = _transport_error(error, outcome, limits)
    if outcome.status is not None and 200 <= outcome.status < 300:
        outcome.error = body.conclude(outcome.error, broke_off=outcome.broke_off)
        outcome.answer = body.answer
    outcome.sha256 = body.digest.hexdigest() if body.size else ""
    outcome.body_bytes = body.size
    outcome.seconds = max(0.0, clock() - body.started)
    return outcome


async def _read(response: httpx.Response, outcome: Outcome, body: _Body, limits: Limits) -> None:
    outcome.status = response.status_code
    size = sum(len(name) + len(value) + 4 for name, value in response.headers.raw)
    if size > limits.max_header_bytes:
        raise WireError("too-large", f"the response headers exceed {limits.max_header_bytes} bytes")
    outcome.headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in response.headers.raw]
    codings = {coding.strip().lower() for coding in response.headers.get("content-encoding", "").split(",")} - {"", "identity"}
    if not 200 <= response.status_code < 300:
        outcome.retry_after_s = _retry_after(response.headers)
        raise await _refusal(response, body, readable=not codings)
    if codings:
        raise WireError("bad-encoding", "the reply is compressed although identity encoding was asked for")
    body.event_stream = "event-stream" in response.headers.get("content-type", "")
    async for piece in _pieces(response):
        body.feed(piece)
        if body.done:
            break


def _pieces(response: httpx.Response) -> AsyncIterator[bytes]:
    """The body's bytes as they come, with nothing decoded. (`aiter_raw` refuses the ready-made responses of test transports.)"""
    if not isinstance(response.stream, httpx.AsyncByteStream):
        raise WireError("bad-reply", "the transport gave a body that cannot be read")
    return response.stream.__aiter__()


async def _refusal(response: httpx.Response, body: _Body, *, readable: bool) -> WireError:
    """A status other than 2xx, with the server's own message."""
    status = response.status_code
    if status < 400:
        whither = _origin(response.headers.get("location", ""))
        return WireError("redirected", f"HTTP {status}: redirected{' to ' + whither if whither else ''}; redirects are not followed")
    raw = b""
    if readable:
        with contextlib.suppress(httpx.HTTPError, httpx.StreamError, TimeoutError):  # the status says enough where the body breaks off
            async with asyncio.timeout(_ERROR_BODY_S):
                async for piece in _pieces(response):
                    raw += piece[: _ERROR_BODY_BYTES - len(raw)]
                    if len(raw) >= _ERROR_BODY_BYTES:
                        break
    body.digest.update(raw)
    body.size = len(raw)
    message, kind = _message(raw)
    if status not in (400, 422):  # the statuses with which servers say anything at all
        kind = None
    elif _KEY_REFUSED.search(message):
        kind = "refused-key"
    return WireError(kind or status_kind(status), f"HTTP {status}: {message}" if message else f"HTTP {status}")


def _origin(location: str) -> str:
    """Where a redirect points, without path and query: either may hold what the request carried."""
    try:
        url = httpx.URL(location)
    except (httpx.InvalidURL, ValueError):
        return ""
    port = f":{url.port}" if url.port else ""
    return f"{url.scheme}://{url.host}{port}" if url.scheme and url.host else ""


def _message(raw: bytes) -> tuple[str, str | None]:
    """The server's message, and the kind that the body's words for machines say."""
    with contextlib.suppress(WireError):
        data = load_json(raw)
        return whole_characters(error_message(data) or ""), error_kind(data)
    text = raw.decode("utf-8", "replace")
    if "<html" in text[:1000].lower():
        title = _TITLE.search(text)
        return html.unescape(title.group(1)) if title else "", None
    return text, None


def _retry_after(headers: httpx.Headers) -> float | None:
    """Seconds that the server asks to wait (RFC 9110 section 10.2.3, or OpenAI's retry-after-ms); None where it says nothing usable."""
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name, "")
        with contextlib.suppress(ValueError, OverflowError):
            seconds = float(value) * scale
            return max(0.0, seconds) if math.isfinite(seconds) else None
    with contextlib.suppress(ValueError, OverflowError, TypeError):
        when = parsedate_to_datetime(headers.get("retry-after", ""))
        return max(0.0, (when - datetime.now(UTC)).total_seconds())
    return None


def _transport_error(error: Exception, outcome: Outcome, limits: Limits) -> WireError:
    cause: BaseException | None = error
    while cause is not None:  # h11 refuses a header block above its own buffer and marks it so
        if getattr(cause, "error_status_hint", None) == 431:
            return WireError("too-large", f"the response headers exceed {limits.max_header_bytes} bytes")
        cause = cause.__cause__ or cause.__context__
    if outcome.status is not None:
        outcome.broke_off = True
        return WireError("bad-reply", f"the reply broke off: {error}")
    if isinstance(error, httpx.RemoteProtocolError | httpx.ReadError | httpx.WriteError):
        outcome.dropped = True
        return WireError("unreachable", f"the server closed the connection without a valid HTTP answer: {error}")
    return WireError("unreachable", f"no connection: {error or type(error).__name__}")


class _Body:
    """Reads a 2xx body as it comes: as events where it looks like events, else as one JSON document.

    The first byte decides, the content type only where that says nothing: real servers answer a stream request with plain JSON,
    label streams as JSON and JSON as streams.
    """

    def __init__(self, adapter: WireAdapter, limits: Limits, clock: Callable[[], float]) -> None:
        self.answer = Answer()
        self.digest = hashlib.sha256()
        self.size = 0
        self.done = False
        self.event_stream = False
        self.started = clock()
        self._adapter, self._limits, self._clock = adapter, limits, clock
        self._raw = bytearray()
        self._reader = EventReader()
        self._parser: StreamParser | None = None
        self._decided = False
        self._events = 0

    def feed(self, piece: bytes) -> None:
        """Take the next bytes. Raises WireError where a cap is exceeded or an event is no answer."""
        self.size += len(piece)
        self.digest.update(piece)
        if self.size > self._limits.max_body_bytes:
            raise WireError("too-large", f"the reply exceeds {self._limits.max_body_bytes} bytes")
        self._raw += piece
        if not self._decided:
            first = piece.lstrip()[:1]
            if not first:
                return
            self._decided = True
            if first in b"deir:" or (self.event_stream and first not in b"{["):  # data, event, id, retry, comment
                self._parser = self._adapter.stream()
        if self._parser is not None:
            self._take(self._reader.feed(piece), self._parser)

    def conclude(self, error: WireError | None, *, broke_off: bool) -> WireError | None:
        """The body has ended, by itself, by `error`, or because the connection did. Returns the error that remains, if one does."""
        if broke_off:
            error = None  # whether something is missing shows in the body: a wrong Content-Length ends so too
        try:
            if self._parser is not None and error is None:
                self._take(self._reader.finish(), self._parser)
        except NotJSONError:
            pass  # half an event: the parser knows whether the stream was complete before it
        except WireError as found:
            error = found
        if self._parser is None or not (self._events or error):
            return error or self._conclude_plain(broke_off)
        try:
            self._parser.finish()
        except WireError as found:
            error = error or found
        self.answer = self._parser.answer
        return error

    def _conclude_plain(self, broke_off: bool) -> WireError | None:
        try:
            self.answer = self._adapter.parse(bytes(self._raw))
        except WireError as found:
            return WireError("bad-reply", "the connection ended in the middle of the reply") if broke_off else found
        return None

    def _take(self, events: Iterator[Event], parser: StreamParser) -> None:
        at = max(0.0, self._clock() - self.started)
        for event in events:
            self._events += 1
            if self._events > self._limits.max_chunks:
                raise WireError("too-large", f"the reply exceeds {self._limits.max_chunks} events")
            parser.feed(event.name, event.data, at)
            if parser.done:
                self.done = True
                return
