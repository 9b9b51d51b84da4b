"""Reports as bytes, with the SHA-256 of each file. Nothing here reads what is in them."""

from __future__ import annotations

import hashlib
from datetime import datetime

from sqlalchemy import insert, select

from verifier.service.store.common import as_row, columns
from verifier.service.store.engine import Transaction
from verifier.service.store.models import audits, reports
from verifier.service.store.rows import ReportFiles, ReportPart, ReportRow


async def put(tx: Transaction, audit_id: str, files: ReportFiles, now: datetime) -> ReportRow:
    """Store the files of an audit's report. An audit has one: a second is an IntegrityError."""
    row = ReportRow(audit_id, _sha256(files.report), _sha256(files.transcript), _sha256(files.html), _sha256(files.envelope), now)
    await tx.execute(
        insert(reports).values(
            audit_id=audit_id,
            report=files.report,
            transcript=files.transcript,
            html=files.html,
            envelope=files.envelope,
            report_sha256=row.report_sha256,
            transcript_sha256=row.transcript_sha256,
            html_sha256=row.html_sha256,
            envelope_sha256=row.envelope_sha256,
            created=now,
        )
    )
    return row


async def get(tx: Transaction, audit_id: str) -> ReportRow | None:
    """The digests of an audit's report; None where it has none."""
    found = (await tx.execute(select(*columns(reports, ReportRow)).where(reports.c.audit_id == audit_id))).mappings().one_or_none()
    return as_row(ReportRow, found) if found is not None else None


async def part(tx: Transaction, audit_id: str, name: ReportPart, owner: str | None = None) -> bytes | None:
    """One file of a report, as it was stored; None where there is none, or where the audit is not `owner`'s."""
    query = select(reports.c[name]).join(audits, audits.c.id == reports.c.audit_id).where(reports.c.audit_id == audit_id)
    if owner is not None:
        query = query.where(audits.c.owner == owner)
    data: bytes | None = await tx.scalar(query)
    return data


async def previous_digest(tx: Transaction, owner: str, origin: str, claim: str | None) -> str | None:
    """SHA-256 (hex) of the owner's newest report on the same endpoint and claim: what the next one names as `previous`."""
    same_claim = audits.c.claim.is_(None) if claim is None else audits.c.claim == claim
    query = (
        select(reports.c.report_sha256)
        .join(audits, audits.c.id == reports.c.audit_id)
        .where(audits.c.owner == owner, audits.c.origin == origin, same_claim)
        .order_by(reports.c.created.desc(), reports.c.audit_id.desc())
        .limit(1)
    )
    digest: str | None = await tx.scalar(query)
    return digest


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
