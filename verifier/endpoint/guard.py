"""Which addresses a connection may reach, decided on the address that the socket is then opened to.

Takes a policy and gives an httpx transport: each connection resolves the name once, checks every answer, and connects to an
address that was checked, so that a name which moves between check and use (DNS rebinding) gains nothing. It follows no redirect,
reads no proxy from the environment and opens no unix socket. Nothing else in Truename may open a socket to a target, and a
refusal must never quote a URL, whose query may hold a key. This is the only file that knows ssrfguard.
"""

from __future__ import annotations

import dataclasses
import functools
import queue
import socket
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, Literal

import httpx
import ssrfguard
import ssrfguard.httpx
from ssrfguard import AddressTable, Block, Reach, SSRFGuardError

from verifier.errors import TargetRefusedError, UsageError

Resolver = Callable[..., list[Any]]
"""Stands in for `socket.getaddrinfo`; may be given the name as str or bytes. Its answers are checked like any other's."""

RESOLVE_TIMEOUT_S = 8.0
"""Seconds for one name lookup: getaddrinfo has no deadline of its own, and a hostile name server may never answer."""

Purpose = Literal["target", "reference", "webhook", "download", "time stamp authority"]
"""What a connection is for, as a refusal names it."""

# What to do about a refused address. The first two are whose answers are judged.
_REMEDIES: dict[Purpose, str] = {
    "target": "audit an address that serves a model, not one of the machine's own services",
    "reference": "compare with an address that serves a model, not one of the machine's own services",
    "webhook": "name a receiver at a public address on port 80, 443 or above 1024, or in a network that TRUENAME_ALLOWED_NETWORKS lists",
    "download": "take the file from disk instead",
    "time stamp authority": "name an authority at a public address, or sign without a time stamp",
}

_Network = IPv4Network | IPv6Network

# What the user's own machine and network legitimately serve models on. 100.64.0.0/10 is shared address space, which overlay
# networks such as Tailscale use; the metadata service inside it stays refused.
_PRIVATE_NETWORKS = (
    *("127.0.0.0/8", "::1/128"),
    *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"),
)

# Refused whatever anybody allows: nothing that serves a model lives there, and a credential service may.
_NEVER = (
    ("169.254.0.0/16", "link-local"),
    ("fe80::/10", "link-local"),
    ("0.0.0.0/8", "unspecified"),
    ("::/128", "unspecified"),
    ("224.0.0.0/4", "multicast"),
    ("ff00::/8", "multicast"),
    ("240.0.0.0/4", "reserved"),
    ("192.0.0.192/32", "cloud metadata (Oracle)"),
    ("100.100.100.200/32", "cloud metadata (Alibaba)"),
    ("168.63.129.16/32", "cloud metadata (Azure)"),  # a public address; ssrfguard's own table lets it through
    ("169.254.169.254/32", "cloud metadata"),  # AWS, Google, Azure and others
    ("169.254.170.2/32", "cloud metadata (AWS tasks)"),
    ("169.254.170.23/32", "cloud metadata (AWS pods)"),
    ("fd00:ec2::254/128", "cloud metadata (AWS)"),
    ("fd00:ec2::23/128", "cloud metadata (AWS pods)"),
    ("fd20:ce::254/128", "cloud metadata (Google)"),
    ("fd00:42::42/128", "cloud metadata (Scaleway)"),
    ("fd00:c1::a9fe:a9fe/128", "cloud metadata (Oracle)"),
)

_EVERY_PORT = frozenset(range(1, 65536))
# Below 1024 only the web's own two; above, not the ports of databases, caches and chat that a forged request could talk to
# (from the WHATWG Fetch standard's list of bad ports, and the usual data stores).
_BAD_HIGH_PORTS = frozenset(
    {
        *{1719, 1720, 1723, 2049, 2375, 2376, 2379, 2380, 3306, 3659, 4045, 4190, 5060, 5061, 5432, 5671, 5672, 6000, 6379, 6380, 6566},
        *{6665, 6666, 6667, 6668, 6669, 6679, 6697, 9042, 9092, 9200, 9300, 10080, 10250, 11211, 27017, 27018, 27019},
    }
)
_SERVICE_PORTS = (frozenset(range(1024, 65536)) | {80, 443}) - _BAD_HIGH_PORTS


@dataclass(frozen=True, slots=True)
class GuardPolicy:
    """Who may be connected to. Made by `cli_policy` or `service_policy`."""

    name: str
    rules: ssrfguard.Policy = field(repr=False)

    def check_url(self, url: str, purpose: Purpose = "target") -> None:
        """Refuse what the URL alone gives away: scheme, port, userinfo, a literal address. A name is checked on connecting.

        Raises TargetRefusedError, which says what the address was to be: `purpose`.
        """
        try:
            self.rules.check_url(url)
        except SSRFGuardError as error:
            refusal = _refusal(error, purpose)
        else:
            return
        raise refusal  # outside the handler: the guard's own error quotes the URL, so it must not travel as context


@functools.cache
def cli_policy() -> GuardPolicy:
    """For the command line, which runs as its user: loopback, private and public addresses on any port."""
    return GuardPolicy("command line", _rules(_PRIVATE_NETWORKS, _EVERY_PORT))


def service_policy(allowed_networks: Sequence[str] = ()) -> GuardPolicy:
    """For the service, which connects for strangers: public addresses only, and `allowed_networks` (CIDR) besides.

    Ports: 80, 443 and above 1024 without those of well-known data stores. Raises UsageError for an entry that is not a network,
    or that lies within what is never allowed (link-local, cloud metadata, multicast, unspecified, IPv4 inside IPv6).
    """
    return GuardPolicy("service", _rules(allowed_networks, _SERVICE_PORTS))


def guarded_transport(
    policy: GuardPolicy,
    *,
    purpose: Purpose = "target",
    resolver: Resolver | None = None,
    resolve_timeout_s: float = RESOLVE_TIMEOUT_S,
) -> httpx.AsyncBaseTransport:
    """An httpx transport whose every connection `policy` has allowed.

    Raises TargetRefusedError from a request to an address that it refuses. `resolver` replaces `socket.getaddrinfo`;
    `resolve_timeout_s` is in seconds.
    """
    return _GuardedTransport(policy, purpose, _with_deadline(resolver or socket.getaddrinfo, resolve_timeout_s))


class _GuardedTransport(httpx.AsyncBaseTransport):
    def __init__(self, policy: GuardPolicy, purpose: Purpose, resolver: Resolver) -> None:
        self._policy, self._purpose = policy, purpose
        self._inner = ssrfguard.httpx.AsyncSafeTransport(policy=policy.rules, resolver=resolver, verify=_certificates(), trust_env=False)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self._policy.check_url(str(request.url), self._purpose)
        request.extensions["trace"] = _ClosedOnFailedHandshake()
        try:
            return await self._inner.handle_async_request(request)
        except SSRFGuardError as error:
            refusal = _refusal(error, self._purpose)
        raise refusal

    async def aclose(self) -> None:
        await self._inner.aclose()


class _ClosedOnFailedHandshake:
    """Closes a connection whose TLS handshake ended in any way but success.

    httpcore closes it after an error but not after a cancellation, which is how every deadline here ends a server that takes the
    connection and never answers: each such socket would stay open until the garbage collector found it. This is httpcore's own hook
    (its documentation, "Extensions", `trace`), called in the task that connects.
    """

    def __init__(self) -> None:
        self._stream: Any = None
        """httpcore's AsyncNetworkStream, once there is one."""

    async def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        if event == "connection.connect_tcp.complete":
            self._stream = info["return_value"]
        elif event == "connection.start_tls.failed" and self._stream is not None:
            await self._stream.aclose()


@functools.cache
def _certificates() -> ssl.SSLContext:
    """One TLS context for all transports: reading the certificate store takes longer than a request on loopback."""
    return httpx.create_ssl_context(trust_env=False)


def _rules(allowed: Sequence[str], ports: frozenset[int]) -> ssrfguard.Policy:
    return ssrfguard.Policy(
        denied_networks=_table([_network(entry) for entry in allowed]),
        allowed_ports=ports,
        max_redirects=0,
        max_connection_attempts=3,
    )


def _table(allowed: Sequence[_Network]) -> AddressTable:
    """ssrfguard's table with `allowed` opened and _NEVER closed.

    Rows are opened in the table, not by the library's `allowed_networks`: that beats every denial, metadata included, and is not
    consulted for an IPv4 address inside an IPv6 one. Here the longest prefix decides and embedded addresses are always decoded.
    """
    never = {ip_network(network): name for network, name in _NEVER}
    rows = {block.network: block for block in ssrfguard.DEFAULT_DENIED.blocks}
    for network in allowed:
        holder = next((name for inside, name in never.items() if _within(network, inside)), None)
        if holder is not None:
            raise UsageError(f"the allowed network {network} is {holder}, which is never allowed", "remove it")
        wrapper = ssrfguard.DEFAULT_DENIED.match(network.network_address)
        if wrapper is not None and wrapper.reach is Reach.TRANSLATED and _within(network, wrapper.network):
            raise UsageError(f"the allowed network {network} holds IPv4 addresses inside IPv6", "list the IPv4 network instead")
        for row in list(rows.values()):
            if row.reach is Reach.DENIED and _within(row.network, network):
                rows[row.network] = dataclasses.replace(row, reach=Reach.PERMITTED)
        rows[network] = Block(network, "allowed", "settings", Reach.PERMITTED)
    for network, name in never.items():
        rows[network] = Block(network, name, "always refused", Reach.DENIED)
    # Rows inside a closed network that the allowing loop opened (limited broadcast inside "reserved", say) close again.
    for row in list(rows.values()):
        if row.reach is Reach.PERMITTED and any(_within(row.network, inside) for inside in never):
            rows[row.network] = dataclasses.replace(row, reach=Reach.DENIED)
    return AddressTable(tuple(rows.values()))


def _network(entry: str) -> _Network:
    try:
        return ip_network(entry.strip())
    except ValueError:
        raise UsageError(f"the allowed network {entry!r} is not a network", "write it as 10.1.0.0/16 or fd00:1::/64") from None


def _within(inner: _Network, outer: _Network) -> bool:
    return inner.version == outer.version and inner.prefixlen >= outer.prefixlen and inner.network_address in outer


def _refusal(error: SSRFGuardError, purpose: Purpose) -> TargetRefusedError:
    """The guard's refusal with its reason but without the URL, which may hold a key in its query."""
    reason = str(getattr(error, "reason", "not permitted"))
    if "allowed_ports" in reason:  # the library lists every allowed port
        reason = reason.split(" is not in ")[0] + " is not allowed"
    return TargetRefusedError(f"the {purpose}'s address is refused: {reason[:300]}", _REMEDIES[purpose])


def _with_deadline(lookup: Resolver, timeout_s: float) -> Resolver:
    """`lookup` in a thread of its own that is left behind when it does not answer in time."""

    def resolve(*args: Any) -> list[Any]:
        answer: queue.SimpleQueue[list[Any] | Exception] = queue.SimpleQueue()

        def ask() -> None:
            try:
                answer.put(lookup(*args))
            except Exception as error:  # handed to the waiting thread, which raises it
                answer.put(error)

        threading.Thread(target=ask, daemon=True, name="truename-resolve").start()
        try:
            result = answer.get(timeout=timeout_s)
        except queue.Empty:
            raise socket.gaierror(socket.EAI_AGAIN, f"the name was not resolved within {timeout_s:g} seconds") from None
        if isinstance(result, UnicodeError):  # getaddrinfo on a label that is empty or too long
            raise socket.gaierror(socket.EAI_NONAME, "the name is not a valid host name")
        if isinstance(result, Exception):
            raise result
        return result

    return resolve
