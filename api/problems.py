"""Errors as problem+json (RFC 9457): one status, one code, one line of what happened and what to do.

Every error that leaves the service passes here. No body ever quotes what was sent, because it may hold a key, and an error that
nobody expected says no more than that it happened.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from verifier.errors import TargetRefusedError, TruenameError, UsageError
from verifier.service.errors import CursorError, IdempotencyConflictError, OptedOutError, OriginBusyError, StoreError

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 5
"""Seconds after which a request that met a database out of reach may be tried again."""

_log = structlog.get_logger()
_HTTP = {
    404: ("not-found", "there is nothing at this path; see /openapi.json"),
    405: ("method-not-allowed", "this path does not take this method; see /openapi.json"),
}


class ProblemBody(BaseModel):
    """The body of every error."""

    type: str = Field(examples=["urn:truename:problem:not-found"])
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(description="What happened, and what to do", examples=["there is no such audit; check its id"])
    code: str = Field(examples=["not-found"])
    errors: list[dict[str, str]] | None = Field(default=None, description="Where the request is wrong: field and problem")


class Problem(Exception):
    """An error with its status and code."""

    def __init__(self, status: int, code: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        """`detail` is one line: what happened; what to do."""
        self.status, self.code, self.detail, self.headers = status, code, detail, dict(headers or {})
        super().__init__(detail)


def not_found(what: str) -> Problem:
    """For what is not there, and for what is somebody else's: the two must look the same."""
    return Problem(404, "not-found", f"there is no such {what}; check its id")


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of these error statuses."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemBody"}}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}


def install(app: FastAPI) -> None:
    """Make every error of the application a problem."""

    @app.exception_handler(Problem)
    async def problem(request: Request, error: Problem) -> Response:
        return render(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        # Never the input itself: it may hold a key.
        found = [{"field": ".".join(str(part) for part in each["loc"]), "problem": str(each["msg"])} for each in error.errors()]
        return render(Problem(422, "invalid-request", "this route does not take such a request; correct the fields named in errors"), found)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        code, text = _HTTP.get(error.status_code, ("bad-request", "the request cannot be read; send one well-formed JSON object"))
        return render(Problem(error.status_code, code, text, error.headers))

    @app.exception_handler(TruenameError)
    async def ours(request: Request, error: TruenameError) -> Response:
        problem = of_error(error)
        if problem.status >= 500:
            _log.error("request failed", problem=str(error), method=request.method)
        return render(problem)

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> Response:
        # The server writes the traceback to the log, where secrets are taken out; the caller is told nothing of it.
        return render(Problem(500, "internal", "something went wrong here; the service's log says what"))


def render(problem: Problem, errors: list[dict[str, str]] | None = None) -> Response:
    """The response of a problem."""
    body: dict[str, Any] = {
        "type": f"urn:truename:problem:{problem.code}",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
        "code": problem.code,
    }
    if errors:
        body["errors"] = errors
    return JSONResponse(body, problem.status, problem.headers, MEDIA_TYPE)


def of_error(error: TruenameError) -> Problem:
    """The problem of an error of ours: what the caller did wrong, or what is out of order here."""
    if isinstance(error, IdempotencyConflictError):
        return Problem(409, "idempotency-conflict", str(error))
    if isinstance(error, StoreError):
        return Problem(503, "unavailable", "the database cannot be reached; try again in a moment", {"Retry-After": str(RETRY_AFTER_S)})
    if isinstance(error, OptedOutError):
        return Problem(403, "opted-out", str(error))
    if isinstance(error, OriginBusyError):
        return Problem(429, "origin-rate", str(error), {"Retry-After": str(error.retry_after_s)})
    if isinstance(error, CursorError):
        return Problem(422, "bad-cursor", str(error))
    if isinstance(error, TargetRefusedError):
        return Problem(422, "target-refused", str(error))
    if isinstance(error, UsageError):
        return Problem(422, "invalid-request", str(error))
    return Problem(500, "cannot-run", "the service could not do this; its log says why")
