"""Conversations beside the event loop: an audit's thinking in a child process, its questions asked from here.

A conversation is an async function that plans, has questions asked and concludes. `Aside` runs many of them in one child process, so
that seconds of processor time neither hold up the API nor share its interpreter lock; asks and replies go through two pipes. No key ever
goes there, not even in its environment: the child knows questions, replies and reference packs. It opens no socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import pickle
import signal
import sys
import traceback
import types
from collections.abc import Coroutine, Generator, Mapping, Sequence
from typing import IO, Any, TypeVar

import numpy as np
import structlog
from numpy.typing import NDArray

from probes.probe import Ask, Reply
from verifier.conversation import AskAll, Progress
from verifier.decide import Verdict
from verifier.places import DATA_VARIABLE
from verifier.surroundings import Conversation

T = TypeVar("T")

NICE = 5
"""By how much the child stands back where processors are short: an answer of the API is due sooner than an audit's next question."""
LARGE = 4096
"""Bytes from which an array is sent once."""
OURS = "TRUENAME_"
"""How the variables begin that the child does without: keys and passwords are among them. It is told where data lie."""
_LENGTH = 8
"""Bytes of the length before each message."""

_log = structlog.get_logger()


class AsideError(Exception):
    """The child process is gone, and what it was thinking of with it."""


class Aside:
    """Conversations in one child process, which starts with the first of them and ends with this process."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._child: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._heard: dict[int, tuple[asyncio.subprocess.Process, asyncio.Queue[tuple[Any, ...]]]] = {}
        self._kept: dict[int, NDArray[Any]] = {}
        """Arrays that the child has, by the number that names them: kept here too, so that no other array gets that number."""
        self._last = 0

    async def __call__(self, conversation: Conversation[T], ask_all: AskAll, progress: Progress | None) -> T:
        """As `surroundings.Converse`. Raises what the conversation raises, and AsideError where the child dies."""
        child = await self._started()
        self._last += 1
        number, heard = self._last, asyncio.Queue[tuple[Any, ...]]()
        self._heard[number] = child, heard
        try:
            self._send(child, "begin", number, conversation)
            while True:
                kind, *said = await heard.get()
                if kind == "ask":
                    self._send(child, "answer", number, await ask_all(said[0], retry_timeouts=said[1]))
                elif kind == "told" and progress is not None:
                    progress(*said)
                elif kind == "done":
                    result: T = said[0]
                    return result
                elif kind == "failed":
                    raise said[0]
        finally:
            del self._heard[number]
            if child.returncode is None:
                self._send(child, "forget", number)

    async def close(self) -> None:
        """End the child; conversations under way raise AsideError."""
        async with self._turn:
            if self._child is not None and self._reading is not None:
                if self._child.returncode is None:
                    self._child.kill()
                await self._reading

    async def _started(self) -> asyncio.subprocess.Process:
        async with self._turn:
            if self._child is None or self._child.returncode is not None:
                command = (sys.executable, "-m", "verifier.service.aside")
                around = {name: value for name, value in os.environ.items() if name == DATA_VARIABLE or not name.startswith(OURS)}
                pipe = asyncio.subprocess.PIPE
                self._child = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, env=around)
                self._kept = {}
                self._reading = asyncio.create_task(self._read(self._child))
            return self._child

    async def _read(self, child: asyncio.subprocess.Process) -> None:
        assert child.stdout is not None  # noqa: S101 - it was asked for
        try:
            while True:
                size = int.from_bytes(await child.stdout.readexactly(_LENGTH))
                kind, number, *said = pickle.loads(await child.stdout.readexactly(size))  # noqa: S301 - our own child
                if number in self._heard:
                    self._heard[number][1].put_nowait((kind, *said))
        except asyncio.IncompleteReadError:
            pass  # it is gone
        except Exception as error:  # who waits for a message that nobody can read would wait for ever
            _log.error("the thinking process cannot be understood", error=type(error).__name__)
            with contextlib.suppress(ProcessLookupError):
                child.kill()
        await child.wait()
        for of, heard in self._heard.values():
            if of is child:
                heard.put_nowait(("failed", AsideError("the thinking process ended")))

    def _send(self, child: asyncio.subprocess.Process, *message: Any) -> None:
        assert child.stdin is not None  # noqa: S101 - it was asked for
        out = io.BytesIO()
        writer = _Writer(out, self._kept)
        writer.dump(message)
        for number in writer.new:
            child.stdin.write(_framed(pickle.dumps(("keep", number, self._kept[number]))))
        child.stdin.write(_framed(out.getvalue()))


class _Writer(pickle.Pickler):
    """Leaves out large arrays, which belong to reference packs: megabytes, and the same in every audit. Numbers stand for them."""

    def __init__(self, out: io.BytesIO, kept: dict[int, NDArray[Any]]) -> None:
        super().__init__(out)
        self._kept, self.new = kept, list[int]()

    def persistent_id(self, each: Any) -> int | None:
        """The number of a large array, None for anything else."""
        if not isinstance(each, np.ndarray) or each.nbytes < LARGE:
            return None
        if id(each) not in self._kept:
            self._kept[id(each)] = each
            self.new.append(id(each))
        return id(each)


class _Reader(pickle.Unpickler):
    """Puts them in again."""

    def __init__(self, data: bytes, kept: Mapping[int, NDArray[Any]]) -> None:
        super().__init__(io.BytesIO(data))
        self._kept = kept

    def persistent_load(self, number: int) -> NDArray[Any]:
        """The array of that number."""
        return self._kept[number]


def _framed(data: bytes) -> bytes:
    return len(data).to_bytes(_LENGTH) + data


class _Mind:
    """The child's side: every conversation goes on until it wants something asked."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out = out
        self._under_way: dict[int, Coroutine[Any, Any, Any]] = {}
        self._kept: dict[int, NDArray[Any]] = {}

    def listen(self, incoming: IO[bytes]) -> None:
        """Go on with what each message is about, until there are no more."""
        while len(head := incoming.read(_LENGTH)) == _LENGTH:
            kind, about, *said = _Reader(incoming.read(int.from_bytes(head)), self._kept).load()
            if kind == "keep":
                self._kept[about] = said[0]
                said[0].setflags(write=False)  # as packs hold them: one that may change is copied for every audit
            elif kind == "begin":
                self._under_way[about] = self._begun(about, said[0])
                self._go_on(about, None)
            elif kind == "answer" and about in self._under_way:
                self._go_on(about, said[0])
            elif kind == "forget" and about in self._under_way:
                self._under_way.pop(about).close()

    def _begun(self, number: int, conversation: Conversation[Any]) -> Coroutine[Any, Any, Any]:
        def told(reply: Reply, verdict: Verdict | None) -> None:
            self._say("told", number, reply, verdict)

        return conversation(_ask_all, told)

    def _go_on(self, number: int, replies: list[Reply] | None) -> None:
        try:
            self._say("ask", number, *self._under_way[number].send(replies))
            return
        except StopIteration as done:
            self._say("done", number, done.value)
        except Exception as error:
            self._say("failed", number, _sendable(error))
        del self._under_way[number]

    def _say(self, *message: Any) -> None:
        self._out.write(_framed(pickle.dumps(message)))
        self._out.flush()


def _sendable(error: Exception) -> Exception:
    """The error with its traceback as a note, for the traceback itself stays here; another in the place of one that cannot be sent."""
    trace = "".join(traceback.format_exception(error))
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    except Exception:
        error = RuntimeError(f"{type(error).__name__}, which cannot be sent")
    error.add_note(trace)
    return error


async def _ask_all(asks: Sequence[Ask], *, retry_timeouts: bool = True) -> list[Reply]:
    return await _asked(list(asks), retry_timeouts)


@types.coroutine
def _asked(asks: list[Ask], retry_timeouts: bool) -> Generator[tuple[list[Ask], bool], list[Reply], list[Reply]]:
    return (yield asks, retry_timeouts)


if __name__ == "__main__":
    # It ends with its parent, which hands its audits back first: a terminal interrupts both, and systemd tells both to stop.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    os.nice(NICE)
    from verifier.service import aside  # under its own name, which the messages know

    aside._Mind(sys.stdout.buffer).listen(sys.stdin.buffer)
