"""Notifications: what a webhook is told, how that is signed, and its delivery from the outbox, retried until it is given up.

A body is written once, in the transaction of what it tells, and signed anew at each try with the secret that its audit's or schedule's
owner was shown once. It goes only to public addresses (the service's guard), follows no redirect, and holds no key, no answer of
a model and no URL but the origin's.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import structlog
from pydantic import SecretStr

from verifier.endpoint.guard import GuardPolicy
from verifier.endpoint.post import post
from verifier.errors import CannotRunError, TargetRefusedError
from verifier.service.errors import SecretError
from verifier.service.secrets import Binding, Keyring, reveal
from verifier.service.store import outbox
from verifier.service.store.engine import Store
from verifier.service.store.rows import AuditRow, NotifyOn, OutboxRow, Outcome

HEADER = "Truename-Signature"
SCHEMA = "truename.notification/1"
TOLERANCE_S = 300
"""Age in seconds beyond which a receiver should refuse a notification: what bounds a replay."""
WAITS = tuple(timedelta(seconds=seconds) for seconds in (5, 30, 120, 600, 1_800, 3_600, 7_200, 14_400))
"""How long after each failed try the next one comes; after the last it is given up: 8 hours in all, longer than a night's outage."""
AT_ONCE = 20

_log = structlog.get_logger()


def new_secret() -> SecretStr:
    """A signing secret of 256 bits."""
    return SecretStr("whsec_" + secrets.token_urlsafe(32))


def origin_of(url: str) -> str:
    """Scheme, host and port of a webhook's URL: what its secret is bound to."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def signature(secret: SecretStr, body: bytes, at: int) -> str:
    """The value of the header HEADER: `at` (Unix seconds), and the HMAC-SHA256 (hex) of `at`, a full stop and the body."""
    mac = hmac.new(secret.get_secret_value().encode(), b"%d." % at + body, hashlib.sha256)
    return f"t={at},v1={mac.hexdigest()}"


def verify(secret: SecretStr, body: bytes, header: str, now: float, tolerance_s: float = TOLERANCE_S) -> bool:
    """Whether a header belongs to the body, was made with the secret, and no longer ago than `tolerance_s`. `now` in Unix seconds."""
    stamp = header.partition(",")[0].removeprefix("t=")
    if not stamp.isascii() or not stamp.isdigit() or len(stamp) > 12 or abs(now - int(stamp)) > tolerance_s:
        return False
    return hmac.compare_digest(signature(secret, body, int(stamp)).encode(), header.encode())


def wanted(notify_on: NotifyOn, before: Outcome | None, outcome: Outcome) -> bool:
    """Whether a schedule's owner wants to hear of this outcome, which follows `before` (None: the first one).

    A first outcome is a change only where it accuses: nothing was known before.
    """
    if notify_on == "change":
        return outcome != before if before is not None else outcome == "inconsistent"
    return notify_on == "always" or outcome == "inconsistent"


def finished(
    audit: AuditRow, outcome: Outcome, verdict: Mapping[str, Any], report_sha256: str, previous: Outcome | None, now: datetime
) -> bytes:
    """The body that tells of a finished audit. `previous` is the schedule's outcome before, where there is one."""
    changed = previous is not None and previous != outcome
    claim = f"claimed as {audit.claim}" if audit.claim else "without a claim"
    text = f"Truename: {audit.origin}, {claim}: {outcome}" + (f" (before: {previous})" if changed else "")
    shown = {name: verdict.get(name) for name in ("e_value", "alpha", "reasons", "resolution", "excludes_share", "next")}
    told = {"outcome": outcome, "previous": previous, "changed": changed, "verdict": shown, "report_sha256": report_sha256}
    return _body("audit.finished", audit, text, now, told)


def failed(audit: AuditRow, error: str, now: datetime) -> bytes:
    """The body that tells of an audit that could not be run."""
    text = f"Truename: {audit.origin}: the audit could not be run: {error}"
    return _body("audit.failed", audit, text, now, {"error": error})


async def deliver(
    store: Store, keyring: Keyring, policy: GuardPolicy, now: Callable[[], datetime], *, send: Callable[..., Any] = post
) -> int:
    """Try every notification that is due; gives how many were tried. `send` replaces the connection in tests.

    Delivered at least once: a receiver may see one twice, under the same id. Raises StoreError.
    """
    async with store.write() as tx:
        due = await outbox.take(tx, now(), AT_ONCE)
    await asyncio.gather(*(_try(store, keyring, policy, row, now, send) for row in due))
    return len(due)


async def _try(
    store: Store, keyring: Keyring, policy: GuardPolicy, row: OutboxRow, now: Callable[[], datetime], send: Callable[..., Any]
) -> None:
    try:
        status = await send(row.url, policy, row.body, await _headers(store, keyring, row, int(now().timestamp())))
        error = None if 200 <= status < 300 else f"HTTP {status}"
        final = status == 410  # gone: the receiver asks to be left alone (RFC 9110, section 15.5.11)
    except (TargetRefusedError, SecretError) as refused:
        error, final = refused.problem, True
    except CannotRunError as unreached:
        error, final = unreached.problem, False
    moment = now()
    async with store.write() as tx:
        if error is None:
            await outbox.delivered(tx, row.id, moment)
        elif final or row.attempts > len(WAITS):
            await outbox.give_up(tx, row.id, moment, error)
        else:
            await outbox.retry(tx, row.id, moment + WAITS[row.attempts - 1], error)
    _log.info("notification", notification=row.id, audit=row.audit_id, attempt=row.attempts, error=error)


async def _headers(store: Store, keyring: Keyring, row: OutboxRow, at: int) -> dict[str, str]:
    headers = {"content-type": "application/json", "user-agent": "truename-webhook/1", "truename-notification": row.id}
    if row.key_holder is not None:
        async with store.read() as tx:
            secret = await reveal(tx, keyring, Binding(row.owner, row.key_holder, "webhook", origin_of(row.url)))
        headers[HEADER.lower()] = signature(secret, row.body, at)
    return headers


def _body(kind: str, audit: AuditRow, text: str, now: datetime, more: Mapping[str, Any]) -> bytes:
    about = {"id": audit.id, "schedule_id": audit.schedule_id, "origin": audit.origin, "claim": audit.claim, "suite": audit.suite}
    told = {"schema": SCHEMA, "event": kind, "created": now.isoformat(timespec="seconds"), "text": _plain(text), "audit": about}
    return json.dumps(told | dict(more), ensure_ascii=False, allow_nan=False).encode()


def _plain(text: str) -> str:
    """As Slack wants text without markup: a claim such as <!channel> must call nobody (its documentation, "Escaping text")."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
