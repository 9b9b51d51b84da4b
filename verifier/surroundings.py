"""Where an audit runs: which addresses it may connect to, and where its heavy thinking is done.

The command line connects as its user and thinks in place. The service connects for strangers and thinks beside its event loop, in a
thread or in a process of its own, so that the API answers meanwhile. It changes nothing about what is asked or concluded.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from verifier.conversation import AskAll, Progress
    from verifier.endpoint.guard import GuardPolicy

T = TypeVar("T")
R = TypeVar("R", covariant=True)


class Conversation(Protocol[R]):
    """Plans questions, has them asked, and concludes. It awaits nothing but the replies, and can be sent to another process."""

    def __call__(self, ask_all: AskAll, progress: Progress | None, /) -> Coroutine[Any, Any, R]: ...


class Converse(Protocol):
    """Runs a conversation wherever its thinking is done; its questions are asked, and its progress is told, here."""

    async def __call__(self, conversation: Conversation[T], ask_all: AskAll, progress: Progress | None, /) -> T: ...


async def here(conversation: Conversation[T], ask_all: AskAll, progress: Progress | None, /) -> T:
    """In place: for a caller who waits for nothing else."""
    return await conversation(ask_all, progress)


class Think(Protocol):
    """Runs pure work that may take seconds of processor time (planning questions, reading evidence) and gives what it returns."""

    async def __call__(self, work: Callable[[], T], /) -> T: ...


async def at_once(work: Callable[[], T], /) -> T:
    """In place: for a caller who waits for nothing else."""
    return work()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an audit is given besides its target, claim and settings."""

    policy: GuardPolicy
    think: Think = at_once
    converse: Converse = here


def of_command_line() -> Surroundings:
    """Those of the command line and of Python callers."""
    from verifier.endpoint.guard import cli_policy

    return Surroundings(cli_policy())
