"""The tables of the first release.

Revision 0001, the first.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make every table."""
    op.create_table(
        "ledger",
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("report_sha256", sa.String(length=64), nullable=False),
        sa.Column("previous", sa.String(length=64), nullable=True),
        sa.Column("entry", sa.LargeBinary(), nullable=False),
        sa.Column("entry_sha256", sa.String(length=64), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_ledger"),
        sa.UniqueConstraint("entry_sha256", name="uq_ledger_entry_sha256"),
        sa.UniqueConstraint("previous", name="uq_ledger_previous"),
        sa.UniqueConstraint("report_sha256", name="uq_ledger_report_sha256"),
    )
    op.create_table(
        "opt_outs",
        sa.Column("host", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("host", name="pk_opt_outs"),
    )
    op.create_table(
        "origin_days",
        sa.Column("origin", sa.String(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("requests", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("origin", "day", name="pk_origin_days"),
    )
    op.create_table(
        "outbox",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("audit_id", sa.String(length=64), nullable=True),
        sa.Column("key_holder", sa.String(length=64), nullable=True),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_try", sa.DateTime(timezone=True), nullable=False),
        sa.Column("done", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failed", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.String(), nullable=True),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_outbox"),
    )
    op.create_index("ix_outbox_next_try", "outbox", ["next_try"], unique=False)
    op.create_table(
        "schedules",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("origin", sa.String(), nullable=False),
        sa.Column("request", sa.JSON(), nullable=False),
        sa.Column("suite", sa.String(length=32), nullable=False),
        sa.Column("claim", sa.String(), nullable=True),
        sa.Column("key_holder", sa.String(length=64), nullable=True),
        sa.Column("webhook", sa.String(), nullable=True),
        sa.Column("cron", sa.String(), nullable=False),
        sa.Column("timezone", sa.String(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("notify_on", sa.String(length=16), nullable=False),
        sa.Column("jitter_s", sa.Integer(), nullable=False),
        sa.Column("catch_up", sa.String(length=16), nullable=False),
        sa.Column("next_due", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_run", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_outcome", sa.String(length=16), nullable=True),
        sa.Column("carried_looks", sa.Integer(), nullable=False),
        sa.Column("carried_log_sum", sa.Double(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("catch_up IN ('once', 'skip')", name=op.f("ck_schedules_catch_up")),
        sa.CheckConstraint("notify_on IN ('change', 'inconsistent', 'always')", name=op.f("ck_schedules_notify_on")),
        sa.PrimaryKeyConstraint("id", name="pk_schedules"),
    )
    op.create_index("ix_schedules_enabled_next_due", "schedules", ["enabled", "next_due"], unique=False)
    op.create_index("ix_schedules_owner_created_id", "schedules", ["owner", "created", "id"], unique=False)
    op.create_table(
        "sealed",
        sa.Column("holder", sa.String(length=64), nullable=False),
        sa.Column("purpose", sa.String(length=16), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("origin", sa.String(), nullable=False),
        sa.Column("key_id", sa.String(length=16), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("purpose IN ('target', 'reference', 'webhook')", name=op.f("ck_sealed_purpose")),
        sa.PrimaryKeyConstraint("holder", "purpose", name="pk_sealed"),
    )
    op.create_index("ix_sealed_key_id", "sealed", ["key_id"], unique=False)
    op.create_table(
        "tokens",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("prefix", sa.String(length=16), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("scopes", sa.String(200), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_tokens"),
        sa.UniqueConstraint("sha256", name="uq_tokens_sha256"),
    )
    op.create_table(
        "audits",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("origin", sa.String(), nullable=False),
        sa.Column("request", sa.JSON(), nullable=False),
        sa.Column("suite", sa.String(length=32), nullable=False),
        sa.Column("claim", sa.String(), nullable=True),
        sa.Column("key_holder", sa.String(length=64), nullable=True),
        sa.Column("schedule_id", sa.String(length=64), nullable=True),
        sa.Column("webhook", sa.String(), nullable=True),
        sa.Column("idempotency_key", sa.String(), nullable=True),
        sa.Column("request_digest", sa.String(length=64), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=True),
        sa.Column("verdict", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("requests", sa.Integer(), nullable=False),
        sa.Column("planned", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_event", sa.Integer(), nullable=False),
        sa.CheckConstraint("(status = 'done') = (outcome IS NOT NULL)", name=op.f("ck_audits_outcome")),
        sa.CheckConstraint("status IN ('queued', 'running', 'done', 'failed', 'cancelled')", name=op.f("ck_audits_status")),
        sa.CheckConstraint("(idempotency_key IS NULL) = (request_digest IS NULL)", name=op.f("ck_audits_idempotency")),
        sa.ForeignKeyConstraint(["schedule_id"], ["schedules.id"], name="fk_audits_schedule_id_schedules", ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name="pk_audits"),
        sa.UniqueConstraint("owner", "idempotency_key", name="uq_audits_owner_idempotency_key"),
    )
    op.create_index("ix_audits_created_id", "audits", ["created", "id"], unique=False)
    op.create_index("ix_audits_origin_created", "audits", ["origin", "created"], unique=False)
    op.create_index("ix_audits_owner_created_id", "audits", ["owner", "created", "id"], unique=False)
    op.create_index("ix_audits_schedule_id_created", "audits", ["schedule_id", "created"], unique=False)
    op.create_index("ix_audits_status_created", "audits", ["status", "created"], unique=False)
    op.create_index("ix_audits_status_finished", "audits", ["status", "finished"], unique=False)
    op.create_table(
        "events",
        sa.Column("audit_id", sa.String(length=64), nullable=False),
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["audit_id"], ["audits.id"], name="fk_events_audit_id_audits", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("audit_id", "seq", name="pk_events"),
    )
    op.create_table(
        "reports",
        sa.Column("audit_id", sa.String(length=64), nullable=False),
        sa.Column("report", sa.LargeBinary(), nullable=False),
        sa.Column("transcript", sa.LargeBinary(), nullable=False),
        sa.Column("html", sa.LargeBinary(), nullable=False),
        sa.Column("envelope", sa.LargeBinary(), nullable=False),
        sa.Column("report_sha256", sa.String(length=64), nullable=False),
        sa.Column("transcript_sha256", sa.String(length=64), nullable=False),
        sa.Column("html_sha256", sa.String(length=64), nullable=False),
        sa.Column("envelope_sha256", sa.String(length=64), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["audit_id"], ["audits.id"], name="fk_reports_audit_id_audits", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("audit_id", name="pk_reports"),
    )
    op.create_index("ix_reports_report_sha256", "reports", ["report_sha256"], unique=False)
    op.create_table(
        "runs",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("audit_id", sa.String(length=64), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("worker", sa.String(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("status IN ('running', 'done', 'failed', 'cancelled', 'abandoned', 'returned')", name=op.f("ck_runs_status")),
        sa.ForeignKeyConstraint(["audit_id"], ["audits.id"], name="fk_runs_audit_id_audits", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_runs"),
        sa.UniqueConstraint("audit_id", "attempt", name="uq_runs_audit_id_attempt"),
    )
    op.create_index("ix_runs_status_lease_until", "runs", ["status", "lease_until"], unique=False)


def downgrade() -> None:
    """Remove every table."""
    op.drop_table("runs")
    op.drop_table("reports")
    op.drop_table("events")
    op.drop_table("audits")
    op.drop_table("tokens")
    op.drop_table("sealed")
    op.drop_table("schedules")
    op.drop_table("outbox")
    op.drop_table("origin_days")
    op.drop_table("opt_outs")
    op.drop_table("ledger")
