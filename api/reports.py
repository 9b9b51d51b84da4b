"""/v1/audits/{id}/report, /v1/reports/verify and /v1/keys: finished reports as they were signed, and whether one holds."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, File, Header, Response, UploadFile

from api.audits import Visible
from api.auth import Reader
from api.negotiation import preferred
from api.problems import Problem, responses
from api.schemas import CheckView, KeyView, VerificationView
from api.state import Running, Service
from verifier.canonical import TamperedError
from verifier.errors import TruenameError
from verifier.ledger import Chain
from verifier.service.store import reports
from verifier.service.store.rows import AuditRow, ReportPart
from verifier.signing import ENVELOPE, PAGE, REPORT, TRANSCRIPT, Keys
from verifier.transcript import digest
from verifier.verifying import Trust, verify_files

router = APIRouter(prefix="/v1", tags=["reports"])

PARTS: dict[str, ReportPart] = {
    "application/json": "report",
    "text/html": "html",
    "application/vnd.dsse+json": "envelope",
    "application/gzip": "transcript",
}
NAMES: dict[ReportPart, str] = {"report": REPORT, "html": PAGE, "envelope": ENVELOPE, "transcript": TRANSCRIPT}
PAGE_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'"
"""The page brings a stricter policy of its own; this one holds even where a page's own is gone. Browsers apply both."""
MAX_UPLOAD_BYTES = 40_000_000
"""Largest file that is checked; a deep audit's envelope and transcript are about 1 MB each."""

_CONTENT = {media_type: {"schema": {"type": "string", "format": "binary"}} for media_type in PARTS if media_type != "application/json"}


@router.get(
    "/audits/{audit_id}/report",
    response_class=Response,
    responses={
        200: {"description": "The report, byte for byte", "content": {"application/json": {"schema": {"type": "object"}}, **_CONTENT}},
        **responses(401, 403, 404, 406, 409, 422, 429, 503),
    },
)
async def report(audit: Visible, service: Running, accept: Annotated[str | None, Header(max_length=500)] = None) -> Response:
    """The report in the form that Accept asks for: JSON, the page, the signed envelope, or the transcript (gzip)."""
    media_type = preferred(accept, list(PARTS))
    if media_type is None:
        raise Problem(406, "not-acceptable", f"a report comes in none of the forms asked for; accept one of {', '.join(PARTS)}")
    part = PARTS[media_type]
    answer = served(part, await stored(service, audit, part))
    answer.headers["Vary"] = "Accept"
    return answer


async def stored(service: Service, audit: AuditRow, part: ReportPart) -> bytes:
    """One file of an audit's report. Raises Problem 409 while there is none, 404 where it is gone."""
    if audit.status != "done":
        raise Problem(409, "not-done", f"the audit is {audit.status}, so there is no report; follow its events until it is done")
    async with service.store.read() as tx:
        data = await reports.part(tx, audit.id, part)
    if data is None:
        raise Problem(404, "not-found", "the report is no longer kept; audit the endpoint again")
    if not data:
        raise Problem(404, "not-found", "the report's page could not be drawn; ask for application/json")
    return data


def served(part: ReportPart, data: bytes) -> Response:
    """The answer that holds a file of a report."""
    headers = {"Content-Disposition": f'inline; filename="{NAMES[part]}"'}
    if part == "html":
        headers["Content-Security-Policy"] = PAGE_POLICY
    media_type = next(media_type for media_type, of in PARTS.items() if of == part)
    return Response(data, media_type=media_type, headers=headers)


@router.post("/reports/verify", responses=responses(400, 401, 403, 413, 422, 429, 503))
async def verify(
    service: Running,
    who: Reader,
    envelope: Annotated[UploadFile, File(description=ENVELOPE)],
    report: Annotated[UploadFile, File(description=REPORT)],
    transcript: Annotated[UploadFile, File(description=TRANSCRIPT)],
    html: Annotated[UploadFile | None, File(description=PAGE)] = None,
) -> VerificationView:
    """Check a report's signature, files and place in this service's ledger, and draw its conclusions again."""
    given = {ENVELOPE: envelope, REPORT: report, TRANSCRIPT: transcript} | ({PAGE: html} if html is not None else {})
    files = {}
    for name, upload in given.items():
        files[name] = await upload.read(MAX_UPLOAD_BYTES + 1)
        if len(files[name]) > MAX_UPLOAD_BYTES:
            raise Problem(413, "too-large", f"{name} is larger than {MAX_UPLOAD_BYTES} bytes; no report's file is")
    keys = service.keys.trusted()
    place = await _place(service, keys, digest(files[REPORT]))
    trust = Trust(keys, ledger=place, own=frozenset(keys))
    found = await asyncio.to_thread(verify_files, files, trust)
    return VerificationView(
        exit_code=found.exit_code,
        outcome=found.outcome,
        error=None if found.error is None else str(found.error),
        checks=[CheckView(name=check.name, state=check.state.value, text=check.text) for check in found.checks],
    )


@router.get("/keys", responses=responses(401, 403, 429))
async def keys(service: Running, who: Reader) -> list[KeyView]:
    """The public keys that sign or have signed reports here."""
    trusted, current = service.keys.trusted(), service.keys.current()
    return [KeyView(keyid=keyid, pem=trusted.pem_of(keyid).decode(), current=keyid == current) for keyid in trusted]


async def _place(service: Service, keys: Keys, report: str) -> Chain | TruenameError:
    """The part of the ledger that decides about a report, or why it does not hold. Raises StoreError."""
    try:
        return await service.ledger.around(service.store, keys, report)
    except TamperedError as error:
        return error
