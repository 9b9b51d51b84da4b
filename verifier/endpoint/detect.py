"""Finds out which wire an endpoint speaks, for `--wire auto`.

Takes a Target and gives a Wire: from the URL where its host or path says it, else from at most three questions of one token each,
on the wires in the order of how common they are. It must never guess where nothing answers: that is CannotRunError with the one
problem that says most.
"""

from __future__ import annotations

from urllib.parse import urlsplit

import httpx

from fingerprints.wire import Wire
from probes.probe import Ask, Reply
from verifier.endpoint.client import EndpointClient
from verifier.endpoint.guard import GuardPolicy
from verifier.endpoint.limits import Limits
from verifier.errors import CannotRunError
from verifier.target import Target

REQUESTS_PER_WIRE = 2
"""The question, and once more where a refusal teaches which field to leave out."""

# What says most about why nothing answered, first.
_REMEDIES = {
    "refused-key": "check the key and the variable that holds it (--api-key-env)",
    "rate-limited": "wait, or name the API flavour with --wire",
    "timeout": "check that the server is healthy, or allow more time with --timeout",
    "unreachable": "check the URL and that the server is running",
    "redirected": "give the URL that it redirects to",
    "server-error": "check that the server is healthy, or name the API flavour with --wire",
    "not-found": "check the URL's path and the model's name, or name the API flavour with --wire",
}


async def detect_wire(target: Target, limits: Limits, policy: GuardPolicy, *, transport: httpx.AsyncBaseTransport | None = None) -> Wire:
    """The wire to audit `target` on; use it as `target.speaking(wire)`.

    `limits` gives the caps on time and size; of its budget nothing is taken, at most REQUESTS_PER_WIRE requests are sent on each of
    three wires. `transport` replaces the guarded one in tests and is then the caller's to close.

    Raises CannotRunError where no wire answers, TargetRefusedError where the guard refuses the address.
    """
    known = wire_by_url(target)
    if known is not None:
        return known
    failed: dict[Wire, Reply] = {}
    for wire in _order(target.model):
        reply = await _ask(target.speaking(wire), limits, policy, transport)
        if reply.ok:
            return wire
        failed[wire] = reply
        if _kind(reply) in ("unreachable", "timeout", "rate-limited"):
            break  # another path of the same server would fare no better
    # A server that turned this very question down understood it: the audit will say what it refuses.
    heard = [wire for wire, reply in failed.items() if _understood(reply, target.model)]
    if heard:
        return heard[0]
    rank = {kind: at for at, kind in enumerate(_REMEDIES)}
    told = min(failed.values(), key=lambda reply: rank.get(_kind(reply), len(rank)))
    tried = ", ".join(failed)
    said = told.error.text if told.error else "no answer"
    raise CannotRunError(
        f"{target.origin} answers on none of the API flavours tried ({tried}): {_kind(told)}: {said}",
        _REMEDIES.get(_kind(told), "check the URL's path, or name the API flavour with --wire"),
    )


def wire_by_url(target: Target) -> Wire | None:
    """The wire that the URL names: by the request path it ended in, by a vendor's own host, or by a path that relays use."""
    if target.request_path is not None:
        return target.request_path
    parts = urlsplit(target.base_url)
    host = parts.hostname or ""
    segments = [] if target.default_path else parts.path.lower().split("/")
    if "anthropic" in segments or host == "api.anthropic.com":
        return Wire.ANTHROPIC
    if "openai" in segments or host == "api.openai.com" or host.endswith(".openai.azure.com") or "openapi" in segments:
        return Wire.OPENAI
    if host == "generativelanguage.googleapis.com" or "publishers" in segments:
        return Wire.GEMINI
    return None


def _order(model: str) -> tuple[Wire, ...]:
    third = Wire.GEMINI if "gemini" in model.lower() else Wire.RESPONSES
    return (Wire.OPENAI, Wire.ANTHROPIC, third)


async def _ask(target: Target, limits: Limits, policy: GuardPolicy, transport: httpx.AsyncBaseTransport | None) -> Reply:
    own = Limits(
        timeout_s=limits.timeout_s,
        max_body_bytes=limits.max_body_bytes,
        max_chunks=limits.max_chunks,
        max_header_bytes=limits.max_header_bytes,
        max_requests=REQUESTS_PER_WIRE,
        retries=0,
    )
    question = Ask(probe="detect", key=f"detect/{target.wire}", messages=(("user", "Hi"),), max_tokens=1, temperature=None)
    async with EndpointClient(target, own, policy, transport=_Kept(transport) if transport else None) as client:
        (reply,) = await client.ask_all([question], retry_timeouts=False)
    return reply


def _kind(reply: Reply) -> str:
    return reply.error.kind if reply.error else ""


def _understood(reply: Reply, model: str) -> bool:
    """Whether a refusal comes from behind the path: a missing path is a 404 that does not know the model, or a 405."""
    text = reply.error.text if reply.error else ""
    return (reply.status in (400, 422, 429) and _kind(reply) != "refused-key") or (reply.status == 404 and model in text)


class _Kept(httpx.AsyncBaseTransport):
    """A caller's transport that several clients use in turn: it stays open."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self._transport.handle_async_request(request)
