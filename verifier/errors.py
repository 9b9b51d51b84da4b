"""What Truename raises when it cannot do what was asked, and how that becomes an exit code.

Every error carries what happened and what to do about it, and reads as one line: the command line prints it as it is. What a
server does is never an exception (it is a `ReplyError` inside a Reply); these are for the user's own input and surroundings.
No message may ever hold a key, a query string or another secret.

    TruenameError            exit code 4
    ├── UsageError           exit code 2: the request itself is wrong
    ├── TargetRefusedError   exit code 4: the guard refuses to connect there
    └── CannotRunError       exit code 4: unreachable, refused key, unreadable file
"""

from __future__ import annotations

from typing import ClassVar


class TruenameError(Exception):
    """Base of all errors that Truename raises on purpose. `str()` is one line: "what happened; what to do"."""

    exit_code: ClassVar[int] = 4
    """What the command line exits with."""

    def __init__(self, problem: str, remedy: str) -> None:
        """`problem` says what happened, `remedy` what to do; line breaks in either become spaces."""
        self.problem = " ".join(problem.split())
        self.remedy = " ".join(remedy.split())
        super().__init__(self.problem, self.remedy)

    def __str__(self) -> str:
        return f"{self.problem}; {self.remedy}"


class UsageError(TruenameError):
    """The caller asked for something that makes no sense: a malformed URL, an empty model name."""

    exit_code = 2


class TargetRefusedError(TruenameError):
    """The guard refuses the target's address."""


class CannotRunError(TruenameError):
    """The audit could not be run: the target is unreachable, the key is refused, a file cannot be read."""
