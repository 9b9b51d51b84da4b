"""What the service's foundation raises; each reads as one line, what happened and what to do, and none holds a secret.

UsageError
├── ConfigError                a TRUENAME_* variable cannot be used
├── CursorError                a page cursor that was not given out by us
└── IdempotencyConflictError   one Idempotency-Key, two different requests
CannotRunError
├── StoreError                 the database cannot be opened
├── SecretError                a stored secret is missing, or must not be opened here
├── OptedOutError              an origin whose owner does not want it audited
├── OriginBusyError            an origin that is audited too often
└── BudgetSpentError           an origin whose requests of the day are used up
"""

from __future__ import annotations

from verifier.errors import CannotRunError, TargetRefusedError, TruenameError, UsageError


class ConfigError(UsageError):
    """A TRUENAME_* variable holds a value that cannot be used."""


class CursorError(UsageError):
    """The cursor of a page is not one that was given out."""


class IdempotencyConflictError(UsageError):
    """The Idempotency-Key was used before, with another request."""


class StoreError(CannotRunError):
    """The database cannot be reached, opened or migrated."""


class SecretError(CannotRunError):
    """A stored secret is not there, was sealed with a key that is not here, or belongs to another owner, holder or origin."""


class OptedOutError(CannotRunError):
    """The origin is on the opt-out list."""

    def __init__(self, origin: str) -> None:
        super().__init__(f"the owner of {origin} does not want it audited from here", "audit it from your own machine: truename audit")


class OriginBusyError(CannotRunError):
    """More audits of the origin, by all users together, than TRUENAME_ORIGIN_RATE allows."""

    def __init__(self, origin: str, retry_after_s: int) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(f"{origin} is being audited too often, by all users together", f"try again in {retry_after_s} seconds")


class BudgetSpentError(CannotRunError):
    """The requests that one origin may be sent in a UTC day, TRUENAME_ORIGIN_DAILY_REQUESTS, are used up."""

    def __init__(self, origin: str, budget: int) -> None:
        super().__init__(f"the daily request budget of {origin} is spent ({budget} a day, by all users together)", "try tomorrow")


_KINDS: dict[type[TruenameError], str] = {
    TargetRefusedError: "refused",
    BudgetSpentError: "budget",
    OptedOutError: "opted-out",
    SecretError: "secret",
    UsageError: "request",
}


def kind_of(error: TruenameError) -> str:
    """What a failure is counted as: the endpoint's own kind (`unreachable`, `status`, …) where it has one, else the error's."""
    own = getattr(error, "kind", None)
    return own if isinstance(own, str) else next((kind for each, kind in _KINDS.items() if isinstance(error, each)), "other")
