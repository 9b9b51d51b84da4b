"""/v1/audits: submit, list, read, cancel."""

from __future__ import annotations

import hashlib
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response

from api.auth import Reader, Submitter
from api.paging import Cursor, Limit
from api.problems import not_found, responses
from api.schemas import Accepted, AuditPage, AuditView, SubmitAudit, links_of, shown
from api.state import Running, Service
from verifier.service import submitting
from verifier.service.requested import check_addresses, read_request
from verifier.service.store import audits
from verifier.service.store.rows import AuditRow, AuditStatus, Outcome
from verifier.service.telemetry import about

router = APIRouter(prefix="/v1/audits", tags=["audits"])

AuditId = Annotated[str, Path(max_length=60, examples=["aud_Jk3f9sQ2mZ0pXvB7nLw1cA"])]
IdempotencyKey = Annotated[
    str | None,
    Header(min_length=1, max_length=200, pattern=r"^[\x21-\x7e]+$", description="The same key and body again give the same audit"),
]


@router.post("", status_code=202, responses=responses(400, 401, 403, 409, 413, 422, 429, 503))
async def submit(
    body: SubmitAudit,
    request: Request,
    response: Response,
    service: Running,
    who: Submitter,
    idempotency_key: IdempotencyKey = None,
) -> Accepted:
    """Queue an audit of an endpoint; without a claim it is identified, with a `reference` the two are compared."""
    made = await accept(service, body, who.owner, idempotency_key, hashlib.sha256(await request.body()).hexdigest())
    about(audit=made.audit.id)
    response.headers["Location"] = f"/v1/audits/{made.audit.id}"
    return Accepted(id=made.audit.id, status=made.audit.status, links=links_of(made.audit.id), webhook_secret=shown(made.webhook_secret))


async def accept(service: Service, body: SubmitAudit, owner: str, idempotency_key: str | None, request_digest: str) -> submitting.Accepted:
    """Queue an audit for its owner, however it was asked for. Raises Problem 429 and what `submitting.submit` and the checks raise."""
    requested, now = read_request(body.plain()), service.now()
    check_addresses(requested, service.policy)
    async with service.store.write() as tx:
        made = await submitting.submit(
            tx, service.keyring, service.settings, requested, owner, now, idempotency_key=idempotency_key, request_digest=request_digest
        )
        if made.created:  # refused here, nothing stays
            await service.rates.submit(owner)
    return made


@router.get("", responses=responses(401, 403, 422, 429, 503))
async def page(
    service: Running,
    who: Reader,
    claim: Annotated[str | None, Query(max_length=200)] = None,
    outcome: Outcome | None = None,
    status: AuditStatus | None = None,
    origin: Annotated[str | None, Query(max_length=300, description="Scheme, host and port", examples=["https://api.example.com"])] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> AuditPage:
    """Audits, newest first: one's own, or everybody's for an admin."""
    async with service.store.read() as tx:
        found = await audits.page(tx, who.sees, claim=claim, outcome=outcome, status=status, origin=origin, cursor=cursor, limit=limit)
    return AuditPage(items=[AuditView.of(row) for row in found.rows], next_cursor=found.next_cursor)


async def visible(audit_id: AuditId, service: Running, who: Reader) -> AuditRow:
    """The audit of the path, if the caller may see it. Raises Problem 404: another's looks as if it were not there."""
    async with service.store.read() as tx:
        row = await audits.get(tx, audit_id, who.sees)
    if row is None:
        raise not_found("audit")
    about(audit=row.id)
    return row


Visible = Annotated[AuditRow, Depends(visible)]


@router.get("/{audit_id}", responses=responses(401, 403, 404, 422, 429, 503))
async def read(audit: Visible) -> AuditView:
    """Where an audit stands, and its verdict once it is done."""
    return AuditView.of(audit)


@router.delete("/{audit_id}", responses=responses(401, 403, 404, 422, 429, 503))
async def cancel(audit_id: AuditId, service: Running, who: Submitter) -> AuditView:
    """Cancel an audit: at once while it waits, at its next question while it runs. A finished one stays as it is."""
    async with service.store.write() as tx:
        row = await audits.request_cancel(tx, audit_id, service.now(), who.sees)
    if row is None:
        raise not_found("audit")
    return AuditView.of(row)
