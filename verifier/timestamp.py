"""A time stamp (RFC 3161) on a signed report: an authority's word that the envelope existed at a moment.

Takes an envelope's bytes and a time-stamp authority, gives the authority's reply; takes both and the authority's root certificates, gives
the moment. It needs the extra `truename[timestamp]`, sends the authority a digest and a number, and opens no socket of its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from verifier.canonical import TamperedError
from verifier.errors import CannotRunError

STAMP = "report.dsse.tsr"
"""The file beside report.dsse.json: the authority's whole reply, as `openssl ts -verify -in` reads it."""
MAX_STAMP_BYTES = 100_000
"""Largest reply that is read; one with its certificates is a few kilobytes."""
QUERY_TYPE = "application/timestamp-query"
_AGAIN = "stamp the report again with `truename timestamp`"


async def stamp(envelope: bytes, send: Callable[[bytes], Awaitable[bytes]]) -> bytes:
    """The authority's reply for this envelope: it is about it and answers this request. Who the authority is, `stamped_at` checks.

    `send` posts a request of QUERY_TYPE to the authority and gives the body of its reply. Raises CannotRunError where there is no time
    stamp in it, and what `send` raises.
    """
    library = _library()
    request = library.TimestampRequestBuilder(data=envelope, hash_algorithm=library.HashAlgorithm.SHA256).build()
    reply = await send(request.as_bytes())
    try:
        read = library.decode_timestamp_response(reply)
        granted = read.status == library.PKIStatus.GRANTED
        ours = granted and (read.tst_info.message_imprint.message, read.tst_info.nonce) == (request.message_imprint.message, request.nonce)
    except ValueError:
        ours = False
    if not ours:
        raise CannotRunError("the authority did not give a time stamp for this report", "check --authority, or use another authority")
    return reply


def stamped_at(reply: bytes, envelope: bytes, roots: bytes) -> datetime:
    """When the envelope was stamped, by an authority under one of the PEM certificates in `roots`; with the time zone.

    Raises TamperedError where the time stamp does not hold, CannotRunError where `roots` holds no certificate or the extra is missing.
    """
    from cryptography.x509 import load_pem_x509_certificates

    library = _library()
    try:
        builder = library.VerifierBuilder(roots=load_pem_x509_certificates(roots))
    except ValueError as error:
        raise CannotRunError("the authority's certificates cannot be read", "give a PEM file of its root certificates") from error
    try:
        read = library.decode_timestamp_response(reply)
        builder.build().verify_message(read, envelope)
        moment: datetime = read.tst_info.gen_time
    except (ValueError, library.VerificationError) as error:
        raise TamperedError(f"the time stamp does not hold ({str(error)[:100]})", _AGAIN) from error
    return moment


def _library() -> Any:
    try:
        import rfc3161_client
    except ImportError as error:
        remedy = "install it with Truename's extra: pip install 'truename[timestamp]'"
        raise CannotRunError("time stamps need the package rfc3161-client", remedy) from error
    return rfc3161_client
