"""Where an audit sends its questions: base URL, model name, API flavour and what the caller wants added to each request.

Takes what the user typed, refuses what cannot be a target with one clear line, and gives a frozen Target. It opens no socket
and decides nothing about addresses (that is endpoint/guard.py). A key, a header value or a query value must never show in a
repr, an error or the origin.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, urlsplit

import idna
from pydantic import SecretStr

from fingerprints.wire import Wire
from verifier.errors import UsageError

RESERVED_BODY_FIELDS = frozenset({"messages", "input", "contents", "model", "stream"})
"""Request fields that belong to the audit, on any wire: extra JSON fields may set anything else."""

_EXAMPLE = "a base URL looks like https://api.example.com/v1"
# What a URL copied from an example request ends in, and the wire that it gives away.
_REQUEST_PATHS = (
    (re.compile(r"/chat/completions$"), Wire.OPENAI),
    (re.compile(r"/responses$"), Wire.RESPONSES),
    (re.compile(r"/messages$"), Wire.ANTHROPIC),
    (re.compile(r"/models/[^/]+:(generateContent|streamGenerateContent)$"), Wire.GEMINI),
)
_DEFAULT_PORTS = {"http": 80, "https": 443}
# RFC 9110 section 5.1: a field name is a token.
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PRINTABLE_ASCII = re.compile(r"[\x20-\x7e]*")
# Framing, routing and content coding are the client's own: a caller's value would break the caps or the guard.
_CLIENT_HEADERS = frozenset(
    "host connection keep-alive transfer-encoding content-length content-type te trailer upgrade expect accept-encoding".split()
)


@dataclass(frozen=True, slots=True)
class Target:
    """One endpoint to audit. Build it with `parse`, which validates; the constructor trusts its caller."""

    base_url: str
    """Without a trailing slash; requests go to `base_url` + the wire's own path."""
    model: str
    """The model name that requests carry."""
    wire: Wire = Wire.OPENAI
    api_key: SecretStr | None = None
    headers: tuple[tuple[str, SecretStr], ...] = ()
    """Extra request headers; one that the wire also sets replaces the wire's."""
    query: tuple[tuple[str, SecretStr], ...] = ()
    """Query parameters of every request, such as Azure's api-version."""
    body: Mapping[str, Any] = field(default_factory=dict, repr=False, hash=False)
    """Extra JSON fields of every request; they override the wire's own except RESERVED_BODY_FIELDS."""
    default_path: bool = False
    """The URL had no path, so that `base_url` ends in where the wire is usually served."""
    request_path: Wire | None = None
    """The wire whose request path the URL ended in (and `base_url` no longer does), such as ANTHROPIC for …/v1/messages."""

    @property
    def origin(self) -> str:
        """`https://host[:port]`: never userinfo, a path or a query. This is what reports may show."""
        parts = urlsplit(self.base_url)
        host = parts.hostname or ""
        shown = f"[{host}]" if ":" in host else host
        port = "" if parts.port in (None, _DEFAULT_PORTS.get(parts.scheme)) else f":{parts.port}"
        return f"{parts.scheme}://{shown}{port}"

    @property
    def extra_fields(self) -> dict[str, Any]:
        """A copy of the extra JSON fields that a request may carry: all of `body` but what belongs to the audit."""
        return {name: value for name, value in self.body.items() if name not in RESERVED_BODY_FIELDS}

    def speaking(self, wire: Wire) -> Target:
        """The same target on another wire."""
        base_url = self.origin + _default_path(self.origin, wire) if self.default_path else self.base_url
        return dataclasses.replace(self, wire=wire, base_url=base_url)

    @classmethod
    def parse(
        cls,
        base_url: str,
        model: str,
        *,
        wire: Wire = Wire.OPENAI,
        api_key: str | SecretStr | None = None,
        headers: Iterable[tuple[str, str | SecretStr]] = (),
        query: Iterable[tuple[str, str | SecretStr]] = (),
        body: Mapping[str, Any] | None = None,
    ) -> Target:
        """Validate what the user gave.

        The URL's path is kept as it was given, less trailing slashes and an accidental request path (`/chat/completions`,
        `/responses`, `/messages`, `/models/M:generateContent`); only a URL without any path gets `/v1`, where OpenAI-compatible
        servers listen, or what Google's and Azure's hosts have instead. A host outside ASCII becomes its IDNA form. White space
        around the key is dropped, and an empty key means no key.

        Raises UsageError, naming the problem but never a secret.
        """
        if not model.strip() or not model.isprintable():
            raise UsageError("the model name is empty or holds control characters", "give the name that requests should carry")
        origin, path = _parse_base_url(base_url)
        default_path, request_path = not path, None
        for pattern, named in _REQUEST_PATHS:
            if found := pattern.search(path):
                path, request_path = path[: found.start()].rstrip("/"), named
                break
        return cls(
            base_url=origin + (_default_path(origin, wire) if default_path else path),
            model=model,
            wire=wire,
            api_key=_parse_key(api_key),
            headers=tuple(_parse_header(name, value) for name, value in headers),
            query=tuple((_parse_query_name(name), _secret(value)) for name, value in query),
            body=_parse_body(body),
            default_path=default_path,
            request_path=request_path,
        )


def _default_path(origin: str, wire: Wire) -> str:
    """Where a wire is served on a host whose URL was given without a path."""
    host = urlsplit(origin).hostname or ""
    if host.endswith(".openai.azure.com"):
        return "/openai/v1"
    if host == "generativelanguage.googleapis.com" and wire is Wire.OPENAI:
        return "/v1beta/openai"
    return "/v1beta" if wire is Wire.GEMINI else "/v1"


def _parse_base_url(base_url: str) -> tuple[str, str]:
    """The URL's origin and its path without trailing slashes."""
    text = base_url.strip()
    if not text:
        raise UsageError("the base URL is empty", _EXAMPLE)
    # urlsplit drops tabs and line breaks without a word, so they have to be refused before it sees them.
    if any(ord(char) <= 0x20 or ord(char) == 0x7F or char == "\\" for char in text):
        raise UsageError("the base URL holds spaces, control characters or backslashes", _EXAMPLE)
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise UsageError("the base URL is malformed or its port is not a number from 1 to 65535", _EXAMPLE) from None
    if "://" not in text or not parts.scheme:
        raise UsageError("the base URL has no scheme", f"put https:// (or http://) in front; {_EXAMPLE}")
    if parts.scheme not in _DEFAULT_PORTS:
        raise UsageError(f"the scheme {parts.scheme!r} is not http or https", _EXAMPLE)
    if "@" in parts.netloc:
        raise UsageError("the base URL holds a user name or password", "remove it and pass the key by environment variable or header")
    if "#" in text:
        raise UsageError("the base URL holds a fragment (#)", f"remove it; {_EXAMPLE}")
    if "?" in text:
        raise UsageError("the base URL holds a query string (?)", "pass its parameters with --query name=value")
    if port == 0 or parts.netloc.endswith(":"):
        raise UsageError("the base URL's port is missing or 0", _EXAMPLE)
    if not parts.path.isascii():
        raise UsageError("the base URL's path holds characters outside ASCII", "percent-encode them")
    host = _parse_host(parts)
    authority = host if port in (None, _DEFAULT_PORTS[parts.scheme]) else f"{host}:{port}"
    return f"{parts.scheme}://{authority}", parts.path.rstrip("/")


def _parse_host(parts: SplitResult) -> str:
    """The host in the one form that the guard, the request and the report all see."""
    host = parts.hostname or ""
    if not host or "%" in host:
        raise UsageError("the base URL has no usable host", _EXAMPLE)
    if "[" in parts.netloc:
        try:
            return f"[{ipaddress.IPv6Address(host)}]"
        except ValueError:
            raise UsageError("the base URL's host is not an IPv6 address", "write it as [::1]") from None
    if host.isascii():
        return host
    try:
        return idna.encode(host, uts46=True).decode("ascii").lower()
    except idna.IDNAError:
        raise UsageError("the base URL's host is not a valid internationalised name", _EXAMPLE) from None


def _parse_key(api_key: str | SecretStr | None) -> SecretStr | None:
    # A key read from a file or a variable often ends with a line break, which no header may hold.
    key = "" if api_key is None else _secret(api_key).get_secret_value().strip()
    if not _PRINTABLE_ASCII.fullmatch(key) or " " in key:
        raise UsageError("the API key holds spaces, control characters or characters outside ASCII", "check the variable that holds it")
    return SecretStr(key) if key else None


def _parse_header(name: str, value: str | SecretStr) -> tuple[str, SecretStr]:
    if not _HEADER_NAME.fullmatch(name):
        raise UsageError("an extra header has a malformed name", "write it as 'Name: value'")
    if name.lower() in _CLIENT_HEADERS:
        raise UsageError(f"the header {name} is set by Truename itself", "remove it")
    text = _secret(value).get_secret_value().strip()
    if not _PRINTABLE_ASCII.fullmatch(text):
        raise UsageError(f"the value of the header {name} holds control characters or characters outside ASCII", "remove them")
    return name, SecretStr(text)


def _parse_query_name(name: str) -> str:
    if not name or not name.isprintable():
        raise UsageError("a query parameter has an empty name or one with control characters", "write it as name=value")
    return name


def _parse_body(body: Mapping[str, Any] | None) -> Mapping[str, Any]:
    fields = dict(body or {})
    taken = sorted(RESERVED_BODY_FIELDS & fields.keys())
    if taken:
        raise UsageError(f"the extra body fields set {', '.join(taken)}", "remove them: the audit sets them itself")
    try:
        json.dumps(fields, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise UsageError("the extra body fields are not plain JSON", "use strings, finite numbers, booleans, lists and objects") from None
    return fields


def _secret(value: str | SecretStr) -> SecretStr:
    return value if isinstance(value, SecretStr) else SecretStr(value)
