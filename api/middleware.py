"""What happens to every request before and after its route: a cap on its size, headers on its answer, one log line, its metrics.

The log and the span name the route's template, the status, the time, and the request's id, which the answer carries as X-Request-Id.
They never hold a path, a query, a header or a body.
"""

from __future__ import annotations

import time

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.metrics import REQUESTS, SECONDS
from api.problems import Problem, render
from verifier.service import tracing
from verifier.service.store.rows import new_id
from verifier.service.telemetry import during

MAX_BODY_BYTES = 256_000
"""Of a request; only reports that are sent in to be checked may be larger."""
MAX_REPORT_BYTES = 130_000_000
UPLOAD_PATH = "/v1/reports/verify"

_HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cache-control": b"no-store",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
}
_log = structlog.get_logger()


class Envelope:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp) -> None:
        """`app` is what answers."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        # Ours, never the caller's: what somebody else wrote has no place in every line of a log.
        request_id = new_id("req")
        with during("request", headers.get(b"traceparent", b"").decode("latin-1"), request=request_id):
            await self._enveloped(scope, receive, send, request_id)

    async def _enveloped(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        started, status = time.perf_counter(), 500

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                present = {name.lower() for name, _ in message["headers"]}
                added = (_HEADERS | {b"x-request-id": request_id.encode()}).items()
                message["headers"] = [*message["headers"], *((name, value) for name, value in added if name not in present)]
            await send(message)

        try:
            await self._answer(scope, receive, sending)
        finally:
            route = scope.get("route")
            name, method = (route.path if route is not None else "none"), _method(scope)
            seconds = time.perf_counter() - started
            REQUESTS.labels(method, name, str(status)).inc()
            SECONDS.labels(method, name).observe(seconds)
            tracing.note({"method": method, "route": name, "status": status})
            _log.info("request", method=method, route=name, status=status, ms=round(seconds * 1000, 1))

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        limit = MAX_REPORT_BYTES if scope["path"] == UPLOAD_PATH else MAX_BODY_BYTES
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        too_large = render(Problem(413, "too-large", f"the request is larger than {limit} bytes; send less"))
        if not declared.isdigit() or int(declared) > limit:
            await too_large(scope, receive, send)
            return
        read = 0

        async def receiving() -> Message:
            nonlocal read
            message = await receive()
            if message["type"] == "http.request":
                read += len(message.get("body", b""))
                if read > limit:  # sent in pieces, without a length
                    raise Problem(413, "too-large", f"the request is larger than {limit} bytes; send less")
            return message

        await self._app(scope, receiving, send)


def _method(scope: Scope) -> str:
    method = str(scope["method"])
    return method if method in ("GET", "HEAD", "POST", "PATCH", "DELETE", "PUT", "OPTIONS") else "other"
