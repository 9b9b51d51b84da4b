"""The tables. Every change here needs a migration; a test compares the two on SQLite and PostgreSQL.

Column names are the field names of `rows`. Times are stored in UTC and come back aware; -infinity is a valid float; JSON is stored
as text that is valid in both databases.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
)
from sqlalchemy.types import TypeDecorator

from verifier.errors import UsageError


class UtcDateTime(TypeDecorator[datetime]):
    """An aware time, kept in UTC: `timestamptz` in PostgreSQL, UTC text in SQLite. A naive time is refused."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Into UTC; SQLite's text sorts as times do because every value is in one zone."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("times in the store are aware")
        in_utc = value.astimezone(UTC)
        return in_utc.replace(tzinfo=None) if dialect.name == "sqlite" else in_utc

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        """Aware again."""
        if not isinstance(value, datetime):
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class PlainText(TypeDecorator[str]):
    """Text that both databases can hold: what holds a null character or half a surrogate pair is refused with UsageError.

    Such text comes from users (a claim, an id in a path), and PostgreSQL would answer it with an error of its own.
    """

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """As it is."""
        if value is not None and ("\0" in value or not _encodable(value)):
            raise UsageError("a text holds a character that cannot be stored", "remove null characters and unpaired surrogates")
        return value


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class Words(TypeDecorator[tuple[str, ...]]):
    """A tuple of words without spaces, as text."""

    impl = String(200)
    cache_ok = True

    def process_bind_param(self, value: tuple[str, ...] | None, dialect: Dialect) -> str | None:
        """Joined by spaces."""
        return None if value is None else " ".join(value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> tuple[str, ...] | None:
        """Split again."""
        return None if value is None else tuple(str(value).split())


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_SHA256 = PlainText(64)
_ID = PlainText(64)
_TEXT = PlainText()

tokens = Table(
    "tokens",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("owner", _TEXT, nullable=False),
    Column("prefix", PlainText(16), nullable=False),
    Column("sha256", _SHA256, nullable=False, unique=True),
    Column("scopes", Words, nullable=False),
    Column("created", UtcDateTime, nullable=False),
    Column("expires", UtcDateTime),
    Column("revoked", UtcDateTime),
)

sessions = Table(
    "sessions",
    metadata,
    Column("sha256", _SHA256, primary_key=True),
    Column("token_id", _ID, ForeignKey("tokens.id", ondelete="CASCADE"), nullable=False),
    Column("created", UtcDateTime, nullable=False),
    Column("expires", UtcDateTime, nullable=False),
    Index(None, "expires"),
)

schedules = Table(
    "schedules",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("owner", _TEXT, nullable=False),
    Column("origin", _TEXT, nullable=False),
    Column("request", JSON, nullable=False),
    Column("suite", PlainText(32), nullable=False),
    Column("claim", _TEXT),
    Column("key_holder", _ID),
    Column("webhook", _TEXT),
    Column("cron", _TEXT, nullable=False),
    Column("timezone", _TEXT, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("notify_on", PlainText(16), nullable=False),
    Column("jitter_s", Integer, nullable=False),
    Column("catch_up", PlainText(16), nullable=False),
    Column("next_due", UtcDateTime, nullable=False),
    Column("last_run", UtcDateTime),
    Column("last_outcome", PlainText(16)),
    Column("carried_looks", Integer, nullable=False),
    Column("carried_log_sum", Double, nullable=False),
    Column("created", UtcDateTime, nullable=False),
    CheckConstraint("notify_on IN ('change', 'inconsistent', 'always')", name="notify_on"),
    CheckConstraint("catch_up IN ('once', 'skip')", name="catch_up"),
    Index(None, "owner", "created", "id"),
    Index(None, "enabled", "next_due"),
)

audits = Table(
    "audits",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("owner", _TEXT, nullable=False),
    Column("origin", _TEXT, nullable=False),
    Column("request", JSON, nullable=False),
    Column("suite", PlainText(32), nullable=False),
    Column("claim", _TEXT),
    Column("key_holder", _ID),
    Column("schedule_id", _ID, ForeignKey("schedules.id", ondelete="SET NULL")),
    Column("webhook", _TEXT),
    Column("idempotency_key", _TEXT),
    Column("request_digest", _SHA256),
    Column("status", PlainText(16), nullable=False),
    Column("outcome", PlainText(16)),
    Column("verdict", JSON(none_as_null=True)),
    Column("error", _TEXT),
    Column("failure", PlainText(32)),
    Column("requests", Integer, nullable=False),
    Column("planned", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("cancel_requested", Boolean, nullable=False),
    Column("created", UtcDateTime, nullable=False),
    Column("started", UtcDateTime),
    Column("finished", UtcDateTime),
    Column("last_event", Integer, nullable=False),
    UniqueConstraint("owner", "idempotency_key"),
    CheckConstraint("status IN ('queued', 'running', 'done', 'failed', 'cancelled')", name="status"),
    CheckConstraint("(idempotency_key IS NULL) = (request_digest IS NULL)", name="idempotency"),
    CheckConstraint("(status = 'done') = (outcome IS NOT NULL)", name="outcome"),
    Index(None, "owner", "created", "id"),
    Index(None, "created", "id"),
    Index(None, "origin", "created"),
    Index(None, "status", "created"),
    Index(None, "status", "finished"),
    Index(None, "schedule_id", "created"),
)

runs = Table(
    "runs",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("audit_id", _ID, ForeignKey("audits.id", ondelete="CASCADE"), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("worker", _TEXT, nullable=False),
    Column("status", PlainText(16), nullable=False),
    Column("lease_until", UtcDateTime, nullable=False),
    Column("started", UtcDateTime, nullable=False),
    Column("finished", UtcDateTime),
    UniqueConstraint("audit_id", "attempt"),
    CheckConstraint("status IN ('running', 'done', 'failed', 'cancelled', 'abandoned', 'returned')", name="status"),
    Index(None, "status", "lease_until"),
)

events = Table(
    "events",
    metadata,
    Column("audit_id", _ID, ForeignKey("audits.id", ondelete="CASCADE"), primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("kind", PlainText(32), nullable=False),
    Column("data", JSON, nullable=False),
    Column("created", UtcDateTime, nullable=False),
)

reports = Table(
    "reports",
    metadata,
    Column("audit_id", _ID, ForeignKey("audits.id", ondelete="CASCADE"), primary_key=True),
    Column("report", LargeBinary, nullable=False),
    Column("transcript", LargeBinary, nullable=False),
    Column("html", LargeBinary, nullable=False),
    Column("envelope", LargeBinary, nullable=False),
    Column("report_sha256", _SHA256, nullable=False),
    Column("transcript_sha256", _SHA256, nullable=False),
    Column("html_sha256", _SHA256, nullable=False),
    Column("envelope_sha256", _SHA256, nullable=False),
    Column("created", UtcDateTime, nullable=False),
    Index(None, "report_sha256"),
)

ledger = Table(
    "ledger",
    metadata,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("report_sha256", _SHA256, nullable=False, unique=True),
    Column("previous", _SHA256, unique=True),
    Column("entry", LargeBinary, nullable=False),
    Column("entry_sha256", _SHA256, nullable=False, unique=True),
    Column("created", UtcDateTime, nullable=False),
)

opt_outs = Table(
    "opt_outs",
    metadata,
    Column("host", _TEXT, primary_key=True),
    Column("reason", _TEXT, nullable=False),
    Column("created", UtcDateTime, nullable=False),
)

origin_days = Table(
    "origin_days",
    metadata,
    Column("origin", _TEXT, primary_key=True),
    Column("day", Date, primary_key=True),
    Column("requests", Integer, nullable=False),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("owner", _TEXT, nullable=False),
    # No foreign key: a notification outlives the audit that retention removes.
    Column("audit_id", _ID),
    Column("key_holder", _ID),
    Column("url", _TEXT, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_try", UtcDateTime, nullable=False),
    Column("done", UtcDateTime),
    Column("failed", UtcDateTime),
    Column("last_error", _TEXT),
    Column("created", UtcDateTime, nullable=False),
    Index(None, "next_try"),
)

sealed = Table(
    "sealed",
    metadata,
    # No foreign key: the holder is an audit or a schedule.
    Column("holder", _ID, primary_key=True),
    Column("purpose", PlainText(16), primary_key=True),
    Column("owner", _TEXT, nullable=False),
    Column("origin", _TEXT, nullable=False),
    Column("key_id", PlainText(16), nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    CheckConstraint("purpose IN ('target', 'reference', 'webhook')", name="purpose"),
    Index(None, "key_id"),
)
