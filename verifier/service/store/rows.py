"""The rows of the store as frozen dataclasses: what its functions take and give.

Times are aware and in UTC. Ids are unguessable: knowing one is not a permission, but guessing one must not be an attack. No row
holds a key: those lie sealed in a table of their own.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

from verifier.multiple import Carried

AuditStatus = Literal["queued", "running", "done", "failed", "cancelled"]
RunStatus = Literal["running", "done", "failed", "cancelled", "abandoned", "returned"]
"""abandoned: its worker went silent; returned: its worker was asked to stop and gave it back."""
Outcome = Literal["consistent", "inconsistent", "inconclusive"]
NotifyOn = Literal["change", "inconsistent", "always"]
CatchUp = Literal["once", "skip"]
Purpose = Literal["target", "reference", "webhook"]
Scope = Literal["read", "submit", "admin"]

FINISHED: frozenset[AuditStatus] = frozenset({"done", "failed", "cancelled"})
"""The states that an audit never leaves."""

Row = TypeVar("Row")


def new_id(kind: str) -> str:
    """An id such as `aud_…` with 128 random bits."""
    return f"{kind}_{secrets.token_urlsafe(16)}"


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """One page of a listing, newest first."""

    rows: tuple[Row, ...]
    next_cursor: str | None
    """Give it back for the next page; None on the last."""


@dataclass(frozen=True, slots=True)
class TokenRow:
    """An API token as it is stored: never the token itself."""

    id: str
    owner: str
    prefix: str
    """The token's first characters, to tell tokens apart in a list."""
    sha256: str = field(repr=False)
    scopes: tuple[Scope, ...]
    created: datetime
    expires: datetime | None
    revoked: datetime | None


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session of the web page as it is stored: never the cookie itself."""

    sha256: str = field(repr=False)
    token_id: str
    created: datetime
    expires: datetime


@dataclass(frozen=True, slots=True)
class NewAudit:
    """An audit to be queued."""

    owner: str
    origin: str
    """`Target.origin`: scheme, host and port."""
    request: Mapping[str, Any]
    """What to audit, as JSON, without any secret."""
    suite: str
    claim: str | None = None
    id: str = field(default_factory=lambda: new_id("aud"))
    """Made beforehand, so that the secrets of the request can be sealed for it in the same transaction."""
    key_holder: str | None = None
    """Whose sealed secrets to use: this audit's id, its schedule's id, or None where no key is needed."""
    schedule_id: str | None = None
    webhook: str | None = None
    idempotency_key: str | None = None
    request_digest: str | None = None
    """SHA-256 (hex) of the request's body; needed with an idempotency key."""


@dataclass(frozen=True, slots=True)
class AuditRow:
    """An audit and where it stands."""

    id: str
    owner: str
    origin: str
    request: Mapping[str, Any]
    suite: str
    claim: str | None
    key_holder: str | None
    schedule_id: str | None
    webhook: str | None
    idempotency_key: str | None
    request_digest: str | None
    status: AuditStatus
    outcome: Outcome | None
    verdict: Mapping[str, Any] | None
    """The `verdict` of report.json once it is done, so that listings need not read reports."""
    error: str | None
    requests: int
    """Questions sent so far in the current attempt."""
    planned: int
    """Questions that the attempt may send at most."""
    attempts: int
    """Times that a worker took it."""
    cancel_requested: bool
    created: datetime
    started: datetime | None
    finished: datetime | None
    last_event: int


@dataclass(frozen=True, slots=True)
class Submitted:
    """What submitting gave: a new audit, or the one that the same Idempotency-Key had made."""

    audit: AuditRow
    created: bool


@dataclass(frozen=True, slots=True)
class RunRow:
    """One attempt at an audit."""

    id: str
    audit_id: str
    attempt: int
    worker: str
    status: RunStatus
    lease_until: datetime
    started: datetime
    finished: datetime | None


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a worker holds after claiming: the attempt and the audit."""

    run: RunRow
    audit: AuditRow


@dataclass(frozen=True, slots=True)
class Beat:
    """The answer to a heartbeat of a run that is still the worker's."""

    lease_until: datetime
    cancel_requested: bool


@dataclass(frozen=True, slots=True)
class Recovered:
    """What became of the audits whose workers went silent: ids of audits."""

    requeued: tuple[str, ...]
    cancelled: tuple[str, ...]
    failed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EventRow:
    """One event of an audit; `seq` counts from 1 without gaps and is the id of the server-sent event."""

    audit_id: str
    seq: int
    kind: str
    """status, progress or evidence."""
    data: Mapping[str, Any]
    created: datetime


@dataclass(frozen=True, slots=True)
class ReportFiles:
    """The files of one report, byte for byte."""

    report: bytes
    transcript: bytes
    html: bytes
    """Empty where the page could not be drawn."""
    envelope: bytes


ReportPart = Literal["report", "transcript", "html", "envelope"]


@dataclass(frozen=True, slots=True)
class ReportRow:
    """What is known of a stored report without its bytes: SHA-256 (hex) of each file."""

    audit_id: str
    report_sha256: str
    transcript_sha256: str
    html_sha256: str
    envelope_sha256: str
    created: datetime


@dataclass(frozen=True, slots=True)
class NewSchedule:
    """A schedule to be made."""

    owner: str
    origin: str
    request: Mapping[str, Any]
    """The audit to run, as JSON, without any secret."""
    suite: str
    cron: str
    timezone: str
    next_due: datetime
    claim: str | None = None
    id: str = field(default_factory=lambda: new_id("sch"))
    key_holder: str | None = None
    webhook: str | None = None
    enabled: bool = True
    notify_on: NotifyOn = "change"
    jitter_s: int = 0
    catch_up: CatchUp = "once"
    """After a pause: one run for all that were missed, or none."""


@dataclass(frozen=True, slots=True)
class ScheduleRow:
    """A schedule and what its audits have shown so far."""

    id: str
    owner: str
    origin: str
    request: Mapping[str, Any]
    suite: str
    claim: str | None
    key_holder: str | None
    webhook: str | None
    cron: str
    timezone: str
    enabled: bool
    notify_on: NotifyOn
    jitter_s: int
    catch_up: CatchUp
    next_due: datetime
    last_run: datetime | None
    """When it last fired."""
    last_outcome: Outcome | None
    carried_looks: int
    carried_log_sum: float
    created: datetime

    @property
    def carried(self) -> Carried:
        """The e-process that earlier audits left (verifier/multiple.py)."""
        return Carried(self.carried_looks, self.carried_log_sum)


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """One entry of the ledger; `sequence` counts from 1 without gaps."""

    sequence: int
    report_sha256: str
    previous: str | None
    """SHA-256 (hex) of the entry before; None for the first."""
    entry: bytes
    """The signed entry as it was published."""
    entry_sha256: str
    created: datetime


@dataclass(frozen=True, slots=True)
class OptOutRow:
    """A host that nobody may audit through this service, with all names below it."""

    host: str
    reason: str
    created: datetime


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """A notification to be delivered. `body` is signed and sent byte for byte."""

    id: str
    owner: str
    audit_id: str | None
    key_holder: str | None
    """Whose sealed `webhook` secret signs it."""
    url: str
    body: bytes
    attempts: int
    next_try: datetime
    done: datetime | None
    failed: datetime | None
    """When it was given up."""
    last_error: str | None
    created: datetime


@dataclass(frozen=True, slots=True)
class SealedRow:
    """A secret as it is stored: ciphertext that opens only for this owner, holder, purpose and origin."""

    holder: str
    purpose: Purpose
    owner: str
    origin: str
    key_id: str
    sealed: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Expired:
    """How many rows retention removed."""

    audits: int
    notifications: int
    days: int
