"""Conversations that the tests of the child process have; under a name of their own, by which the child finds them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from probes.probe import Ask
from verifier.conversation import AskAll, Progress
from verifier.errors import CannotRunError


@dataclass(frozen=True)
class Counting:
    """Asks `rounds` times and gives what it heard, with the process that it ran in."""

    rounds: int
    table: Any = None

    async def __call__(self, ask_all: AskAll, progress: Progress | None, /) -> tuple[int, list[str], Any]:
        heard = []
        for n in range(self.rounds):
            for reply in await ask_all([Ask("test", f"{n}", (("user", "x"),), 1)], retry_timeouts=n > 0):
                heard.append(reply.text)
                if progress is not None:
                    progress(reply, None)
        return os.getpid(), heard, None if self.table is None else int(self.table.sum())


@dataclass(frozen=True)
class Failing:
    """Comes to nothing."""

    async def __call__(self, ask_all: AskAll, progress: Progress | None, /) -> None:
        raise CannotRunError("nothing answers", "try again")


@dataclass(frozen=True)
class Surrounded:
    """Gives the environment of the process that it runs in."""

    async def __call__(self, ask_all: AskAll, progress: Progress | None, /) -> dict[str, str]:
        return dict(os.environ)


class TwoPartError(Exception):
    """Is made of two parts and keeps one, so that it cannot be made again from what it keeps."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__(one + other)


class Unreadable:
    """Can be written down, and not be read again."""

    def __reduce__(self) -> tuple[Any, ...]:
        return int, ("no number",)


@dataclass(frozen=True)
class Unsaid:
    """Comes to what cannot be sent: an error, or a result."""

    raises: bool

    async def __call__(self, ask_all: AskAll, progress: Progress | None, /) -> Unreadable:
        if self.raises:
            raise TwoPartError("one", "other")
        return Unreadable()
