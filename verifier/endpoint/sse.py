"""Reads server-sent events from raw bytes as they come off the socket.

Takes byte pieces cut anywhere and gives complete events (WHATWG HTML, section 9.2.6: lines end in CRLF, LF or CR; lines that begin
with a colon are comments). httpx-sse is not used because it reads decoded lines without a bound. It holds no more than the bytes
of the event at hand, whose total the caller caps, and never raises on hostile bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_LINE_END = re.compile(rb"\r\n|\n|\r")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its name (`message` by default) and its data lines joined by line feeds."""

    name: str
    data: str


class EventReader:
    """Turns byte pieces into events. Invalid UTF-8 becomes U+FFFD, as the standard asks."""

    def __init__(self) -> None:
        self._rest: list[bytes] = []
        self._after_cr = False
        self._at_start = True
        self._name = ""
        self._data: list[str] = []

    def feed(self, piece: bytes) -> Iterator[Event]:
        """The events that `piece` completes. Consume the iterator before feeding the next piece."""
        if self._after_cr and piece:  # the CR before already ended its line; this LF belongs to it
            piece = piece.removeprefix(b"\n")
            self._after_cr = False
        start = 0
        for end in _LINE_END.finditer(piece):
            line = b"".join((*self._rest, piece[start : end.start()]))
            self._rest.clear()
            start = end.end()
            yield from self._take(line)
        if start < len(piece):
            self._rest.append(piece[start:])
        elif piece.endswith(b"\r"):
            self._after_cr = True

    def finish(self) -> Iterator[Event]:
        """The last event, where the body ended without the blank line: many servers omit it."""
        line = b"".join(self._rest)
        self._rest.clear()
        if line:
            yield from self._take(line)
        yield from self._dispatch()

    def _take(self, line: bytes) -> Iterator[Event]:
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(_BYTE_ORDER_MARK)
        if not line:
            yield from self._dispatch()
            return
        field, _, value = line.partition(b":")
        text = value.removeprefix(b" ").decode("utf-8", "replace")
        if field == b"data":
            self._data.append(text)
        elif field == b"event":
            self._name = text

    def _dispatch(self) -> Iterator[Event]:
        if self._data:
            yield Event(self._name or "message", "\n".join(self._data))
        self._name, self._data = "", []
