"""One message to a webhook that a user named, through the same guard as every other connection, within caps on time and bytes.

Takes a URL, a policy, headers and a body; gives the status of the answer, whose body nobody reads. It follows no redirect and sends
no cookie, and no error shows more of the URL than its host: webhook URLs carry secrets in their path.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import httpx

from verifier.endpoint.guard import GuardPolicy, guarded_transport
from verifier.errors import CannotRunError

TIMEOUT_S = 10.0
_REMEDY = "check that the receiver answers within the time with a status of 2xx"


async def post(
    url: str,
    policy: GuardPolicy,
    body: bytes,
    headers: Mapping[str, str],
    *,
    timeout_s: float = TIMEOUT_S,
    transport: httpx.AsyncBaseTransport | None = None,
) -> int:
    """Send `body` and give the status of the answer. `transport` replaces the guarded one in tests.

    Raises TargetRefusedError where the policy refuses the address, CannotRunError where no answer begins within `timeout_s` seconds.
    """
    policy.check_url(url, "webhook")
    host = httpx.URL(url).host
    carrier = transport or guarded_transport(policy, purpose="webhook", resolve_timeout_s=timeout_s / 2)
    request = httpx.Request("POST", url, headers=dict(headers), content=body, extensions={"timeout": httpx.Timeout(timeout_s).as_dict()})
    try:
        async with asyncio.timeout(timeout_s):
            response = await carrier.handle_async_request(request)
            await response.aclose()
            return response.status_code
    except (TimeoutError, httpx.TimeoutException):
        raise CannotRunError(f"{host}: no answer within {timeout_s:g} seconds", _REMEDY) from None
    except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, OSError) as error:
        raise CannotRunError(f"{host}: {type(error).__name__}", _REMEDY) from None
    finally:
        if transport is None:
            await carrier.aclose()
