"""One published file over HTTP, through the same guard as every other connection, within caps on bytes and time.

Takes a URL and a policy, gives the body's bytes or raises with one line. It follows no redirect, decompresses nothing, sends no
key and no cookie, and must never show more of a URL than its host and path.
"""

from __future__ import annotations

import asyncio

import httpx

from verifier.endpoint.guard import GuardPolicy, Purpose, guarded_transport
from verifier.errors import CannotRunError

MAX_BYTES = 32_000_000
TIMEOUT_S = 120.0
_AGAIN = "try again later: what has come is kept"


async def fetch(
    url: str,
    policy: GuardPolicy,
    *,
    purpose: Purpose = "download",
    max_bytes: int = MAX_BYTES,
    timeout_s: float = TIMEOUT_S,
    transport: httpx.AsyncBaseTransport | None = None,
    body: tuple[str, bytes] | None = None,
) -> bytes:
    """The body of a GET, or of a POST of `body` (content type, bytes). `transport` replaces the guarded one in tests.

    Raises TargetRefusedError where the policy refuses the address, CannotRunError for anything but a plain 200 within the caps."""
    policy.check_url(url, purpose)
    shown = httpx.URL(url).copy_with(query=None, fragment=None, userinfo=b"")
    carrier = transport or guarded_transport(policy, purpose=purpose)
    headers = {"accept": "*/*", "accept-encoding": "identity", "user-agent": f"python-httpx/{httpx.__version__}"}
    kind, content = body if body is not None else (None, None)
    posted = {"content-type": kind} if kind is not None else {}
    timeout = {"timeout": httpx.Timeout(timeout_s).as_dict()}
    request = httpx.Request("GET" if body is None else "POST", url, headers=headers | posted, content=content, extensions=timeout)
    try:
        async with asyncio.timeout(timeout_s):
            response = await carrier.handle_async_request(request)
            try:
                return await _body(response, str(shown), max_bytes)
            finally:
                await response.aclose()
    except (TimeoutError, httpx.TimeoutException):
        raise CannotRunError(f"{shown}: not complete within {timeout_s:g} seconds", _AGAIN) from None
    except (httpx.HTTPError, httpx.StreamError, OSError) as error:
        raise CannotRunError(f"{shown}: {type(error).__name__}: {str(error)[:200]}", _AGAIN) from None
    finally:
        if transport is None:
            await carrier.aclose()


async def _body(response: httpx.Response, shown: str, max_bytes: int) -> bytes:
    if response.status_code != 200:
        why = "redirects are not followed" if 300 <= response.status_code < 400 else "the file may have moved"
        raise CannotRunError(f"{shown}: HTTP {response.status_code}: {why}", "take it from disk with --from FILE, or try again later")
    if response.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
        raise CannotRunError(f"{shown}: compressed although identity was asked for", _AGAIN)
    if not isinstance(response.stream, httpx.AsyncByteStream):
        raise CannotRunError(f"{shown}: the body cannot be read", _AGAIN)
    body = bytearray()
    async for piece in response.stream:
        body += piece
        if len(body) > max_bytes:
            raise CannotRunError(f"{shown}: larger than {max_bytes} bytes", "take it from disk with --from FILE")
    return bytes(body)
