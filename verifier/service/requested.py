"""What somebody asks the service to do: audit, identify or compare an endpoint, as JSON at the edge and typed inside.

`read_request` checks a request and parts it into what may be stored openly and what must be sealed; `joined` puts the two together
again for the worker, which reads the whole alike. Nothing here opens a socket, and no error quotes a secret.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import SecretStr

from fingerprints.catalog import Claim
from fingerprints.wire import Wire
from verifier.endpoint.guard import GuardPolicy
from verifier.errors import UsageError
from verifier.options import DEFAULT_ALPHA, DEFAULT_SUITE, Settings, named_wire, resolve_claim, sent_model
from verifier.target import Target

MAX_BODY_CHARS = 8_000
"""Length of the extra request fields as JSON."""

Role = Literal["target", "reference"]
_ROLES: tuple[Role, ...] = ("target", "reference")
_SECRET_FIELDS = ("api_key", "headers", "query")
_UNREADABLE = ("the request cannot be read", "send it as the documentation of POST /v1/audits shows")


@dataclass(frozen=True, slots=True)
class Resolved:
    """A request that has been checked, ready to be run."""

    target: Target
    auto_wire: bool
    """Find out which wire the endpoint speaks."""
    claim: Claim | None
    reference: Target | None
    settings: Settings


@dataclass(frozen=True, slots=True)
class Requested:
    """A request in its parts."""

    request: Mapping[str, Any]
    """Without any secret, as JSON: what is stored, and shown to its owner."""
    resolved: Resolved
    secrets: Mapping[Role, SecretStr] = field(repr=False)
    """Key, header and query values of each endpoint that was given any, as JSON text: what is sealed."""
    webhook: str | None = None

    @property
    def origin(self) -> str:
        """The target's scheme, host and port."""
        return self.resolved.target.origin

    @property
    def reference_origin(self) -> str | None:
        """The reference's, where there is one."""
        return self.resolved.reference.origin if self.resolved.reference is not None else None

    @property
    def origins(self) -> tuple[str, ...]:
        """Every origin that is asked, once."""
        return tuple(dict.fromkeys(origin for origin in (self.origin, self.reference_origin) if origin is not None))

    @property
    def suite(self) -> str:
        """The suite's name."""
        return self.resolved.settings.suite

    @property
    def claim(self) -> str | None:
        """The claimed model as it was named."""
        return self.resolved.claim.model if self.resolved.claim is not None else None


def read_request(body: Mapping[str, Any]) -> Requested:
    """Check and part a request: the fields of POST /v1/audits as plain JSON, secrets as str or SecretStr.

    Raises UsageError for what cannot be audited. Addresses are `check_addresses`' business.
    """
    try:
        given = _plain({name: value for name, value in body.items() if value is not None and name != "webhook"})
        public = {name: _without_secrets(value) if name in _ROLES else value for name, value in given.items()}
        json.dumps(public, allow_nan=False)
        held = {role: secret for role in _ROLES if (secret := _secrets_of(given.get(role))) is not None}
        resolved = _resolved(given)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise UsageError(*_UNREADABLE) from None
    return Requested(public, resolved, held, body.get("webhook"))


def joined(public: Mapping[str, Any], secrets: Mapping[Role, SecretStr]) -> dict[str, Any]:
    """What `read_request` parted, whole again: only for `read_request`, because it holds the secrets in the open."""
    return {name: {**value, **json.loads(secrets[name].get_secret_value())} if name in secrets else value for name, value in public.items()}  # type: ignore[index]


def check_addresses(requested: Requested, policy: GuardPolicy) -> None:
    """Refuse what the URLs alone give away. Raises TargetRefusedError, and UsageError for a webhook that is no URL.

    Names are checked when they are connected to, on the address that is connected to.
    """
    policy.check_url(requested.resolved.target.base_url)
    if requested.resolved.reference is not None:
        policy.check_url(requested.resolved.reference.base_url, "reference")
    if requested.webhook is not None:
        if not requested.webhook.startswith(("https://", "http://")):
            raise UsageError("the webhook is no URL", "give one that begins with https://")
        policy.check_url(requested.webhook, "webhook")


def _resolved(given: Mapping[str, Any]) -> Resolved:
    claimed, reference = given.get("claim"), None
    claim = resolve_claim(claimed["model"], claimed.get("family")) if claimed else None
    wire = named_wire(given["target"].get("wire", "auto"))
    target = _target(given["target"], sent_model(given["target"].get("model"), claim.model if claim else None), wire)
    if beside := given.get("reference"):
        own = named_wire(beside.get("wire", "auto"))
        reference = _target(beside, sent_model(beside.get("model"), target.model), own)
        if own is None:
            from verifier.endpoint.detect import wire_by_url

            reference = reference.speaking(wire_by_url(reference) or Wire.OPENAI)
    settings = Settings(
        suite=given.get("suite", DEFAULT_SUITE),
        seed=given.get("seed"),
        alpha=given.get("alpha", DEFAULT_ALPHA),
        early_stop=given.get("early_stop", True),
        max_requests=given.get("max_requests"),
        max_tokens=given.get("max_tokens"),
        **{name: given[name] for name in ("timeout_s", "concurrency") if name in given},
    ).checked()
    return Resolved(target, wire is None, claim, reference, settings)


def _target(given: Mapping[str, Any], model: str, wire: Wire | None) -> Target:
    body = given.get("body", {})
    if len(json.dumps(body)) > MAX_BODY_CHARS:
        raise UsageError("the extra body fields are too long", f"send at most {MAX_BODY_CHARS} characters of JSON")
    return Target.parse(
        given["base_url"],
        model,
        wire=wire or Wire.OPENAI,
        api_key=given.get("api_key"),
        headers=given.get("headers", {}).items(),
        query=given.get("query", {}).items(),
        body=body,
    )


def _secrets_of(endpoint: Mapping[str, Any] | None) -> SecretStr | None:
    held = {name: endpoint[name] for name in _SECRET_FIELDS if endpoint.get(name)} if endpoint else {}
    return SecretStr(json.dumps(held)) if held else None


def _without_secrets(endpoint: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in endpoint.items() if name not in _SECRET_FIELDS}


def _plain(value: Any) -> Any:
    """The value with every SecretStr opened and every None of an object left out."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items() if each is not None}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value
