"""Conversations that the tests of the child process have; under a name of their own, by which the child finds them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from probes.probe import Ask
from verifier.auditing import AskAll, Progress
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
