"""No hostile URL makes the command line's client open a connection to a refused address, however the address is written.

Every TCP connection that the process attempts lands on one canary socket on loopback, whatever address was meant, so that a
single accept is a leak. Names are answered by a stub resolver. The control at the end shows that an unguarded client leaks.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx
import pytest

from probes.probe import Ask, Reply
from verifier.endpoint.client import EndpointClient, Limits
from verifier.endpoint.guard import cli_policy, guarded_transport
from verifier.errors import TargetRefusedError, TruenameError, UsageError
from verifier.target import Target

METADATA_NAMES = {
    "metadata.google.internal": ["169.254.169.254"],
    "metadata.goog": ["169.254.169.254"],
    "instance-data.ec2.internal": ["169.254.169.254"],
    "alibaba.example": ["100.100.100.200"],
    "azure.example": ["168.63.129.16"],
    "oracle.example": ["192.0.0.192"],
    "six.example": ["fd00:ec2::254"],
    "google-six.example": ["fd20:ce::254"],
    "mapped.example": ["::ffff:169.254.169.254"],
    "compatible.example": ["::169.254.169.254"],
    "nat64.example": ["64:ff9b::a9fe:a9fe"],
    "local-nat64.example": ["64:ff9b:1::a9fe:a9fe"],
    "sixtofour.example": ["2002:a9fe:a9fe::1"],
    "teredo.example": ["2001:0:a9fe:a9fe::1"],
    "link-local.example": ["fe80::1"],
    "any.example": ["0.0.0.0"],
    "any-six.example": ["::"],
    "multicast.example": ["224.0.0.1"],
    "broadcast.example": ["255.255.255.255"],
    "mixed.example": ["93.184.215.14", "169.254.169.254"],
    "mixed-six.example": ["2606:4700:4700::1111", "fd00:ec2::254"],
}

LITERALS = [
    "169.254.169.254",
    "169.254.169.254.",
    "2852039166",
    "0xa9fea9fe",
    "0xA9.0xFE.0xA9.0xFE",
    "0251.0376.0251.0376",
    "169.254.43518",
    "169.16689662",
    "169.254.169.254.nip.example",
    "①⑥⑨.②⑤④.①⑥⑨.②⑤④",
    "１６９.254.169.254",
    "169。254。169。254",
    "[::ffff:169.254.169.254]",
    "[::ffff:a9fe:a9fe]",
    "[0:0:0:0:0:ffff:a9fe:a9fe]",
    "[::a9fe:a9fe]",
    "[64:ff9b::169.254.169.254]",
    "[2002:a9fe:a9fe::]",
    "[fe80::a9fe:a9fe]",
    "[fe80::1%25eth0]",
    "[fd00:ec2::254]",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "0",
    "0.0.0.0",
    "0x0",
    "[::]",
    "[::0.0.0.0]",
    "224.0.0.1",
    "[ff02::1]",
    "240.0.0.1",
    "255.255.255.255",
    "user:pass@169.254.169.254",
    "api.example.com@169.254.169.254",
    "api.example.com%2f@169.254.169.254",
    "api.example.com\\@169.254.169.254",
    "169.254.169.254:80\\@api.example.com",
    "169.254.169.254#@api.example.com",
    "169.254.169.254\t",
    "169.254.169.254:80",
    "169.254.169.254:443",
    "%31%36%39.254.169.254",
]

WHOLE_URLS = [
    "file:///etc/passwd",
    "unix:///var/run/docker.sock",
    "http+unix://%2Fvar%2Frun%2Fdocker.sock/v1",
    "gopher://169.254.169.254/_GET",
    "ftp://169.254.169.254/",
    "dict://169.254.169.254:11211/stats",
    "ws://169.254.169.254/",
    "//169.254.169.254/latest",
    "http:169.254.169.254",
    "http:/169.254.169.254",
    "http:///169.254.169.254",
    "jar:http://169.254.169.254!/",
]

ASK = Ask(probe="egress", key="a/1", messages=(("user", "hi"),), max_tokens=1)


@dataclass
class Canary:
    """Where all connections land."""

    accepts: int = 0
    meant: list[tuple[str, int]] = field(default_factory=list)


@pytest.fixture
async def canary(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Canary]:
    state = Canary()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        state.accepts += 1
        await reader.read(1)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    real = anyio.connect_tcp

    async def anywhere(remote_host: Any, remote_port: int, **options: Any) -> Any:
        state.meant.append((str(remote_host), remote_port))
        return await real("127.0.0.1", port)

    monkeypatch.setattr(anyio, "connect_tcp", anywhere)
    yield state
    server.close()
    await server.wait_closed()


class Names:
    """The stub resolver: METADATA_NAMES, numbers in any notation as the C library reads them, and nothing else."""

    def __init__(self, answers: dict[str, list[str]] | None = None) -> None:
        self.answers = METADATA_NAMES if answers is None else answers

    def __call__(self, host: str | bytes, port: int, *rest: Any) -> list[Any]:
        name = (host.decode() if isinstance(host, bytes) else host).rstrip(".")
        try:
            found = self.answers.get(name) or [socket.inet_ntoa(socket.inet_aton(name))]
        except OSError:
            if ":" not in name:
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known") from None
            found = [name]
        return [(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in found]


async def audit(url: str, names: Names | None = None) -> list[Reply]:
    """What the command line does with a URL, down to the socket."""
    target = Target.parse(url, "m", api_key="sk-0123456789")
    transport = guarded_transport(cli_policy(), resolver=names or Names())
    async with EndpointClient(target, Limits(timeout_s=3, retries=0), cli_policy(), transport=transport) as client:
        return await client.ask_all([ASK])


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("host", LITERALS)
async def test_no_notation_of_a_refused_address_is_connected_to(host: str, scheme: str, canary: Canary) -> None:
    try:
        replies = await audit(f"{scheme}://{host}/v1")
    except (UsageError, TargetRefusedError) as refused:
        assert "\n" not in str(refused) and "sk-0123456789" not in str(refused)
    else:
        assert [one.error.kind for one in replies if one.error] == ["unreachable"]
    assert canary.accepts == 0 and canary.meant == []


@pytest.mark.parametrize("name", METADATA_NAMES)
@pytest.mark.parametrize("port", [80, 8080])
async def test_no_name_that_resolves_to_a_refused_address_is_connected_to(name: str, port: int, canary: Canary) -> None:
    with pytest.raises(TargetRefusedError):
        await audit(f"http://{name}:{port}/v1")
    assert canary.accepts == 0 and canary.meant == []


@pytest.mark.parametrize("url", WHOLE_URLS)
async def test_no_other_scheme_or_malformed_url_is_connected_to(url: str, canary: Canary) -> None:
    with pytest.raises(TruenameError):
        await audit(url)
    assert canary.accepts == 0 and canary.meant == []


async def test_a_name_that_moves_to_metadata_between_two_requests_is_refused_the_second_time(canary: Canary) -> None:
    moving = {"moving.example": ["127.0.0.1"]}
    target = Target.parse("http://moving.example/v1", "m")
    transport = guarded_transport(cli_policy(), resolver=Names(moving))
    async with EndpointClient(target, Limits(timeout_s=3, retries=0), cli_policy(), transport=transport) as client:
        assert (await client.ask_all([ASK]))[0].status == 200
        moving["moving.example"] = ["169.254.169.254"]
        with pytest.raises(TargetRefusedError):
            await client.ask_all([ASK])
    assert canary.meant == [("127.0.0.1", 80)]


async def test_the_users_own_machine_and_network_are_reached(canary: Canary) -> None:
    assert (await audit("http://127.0.0.1:11434/v1"))[0].status == 200
    assert (await audit("http://home.example:8000/v1", Names({"home.example": ["127.0.0.1"]})))[0].status == 200
    assert canary.accepts == 2


async def test_a_connection_that_lands_elsewhere_than_it_was_meant_to_is_dropped(canary: Canary) -> None:
    with pytest.raises(TargetRefusedError):  # meant for a public address, landed on the canary
        await audit("http://93.184.215.14/v1")
    assert canary.meant == [("93.184.215.14", 80)]


@pytest.mark.parametrize("host", ["169.254.169.254", "[::ffff:169.254.169.254]", "0.0.0.0", "168.63.129.16"])
async def test_control_an_unguarded_client_is_caught_by_the_canary(host: str, canary: Canary) -> None:
    async with httpx.AsyncClient(trust_env=False, timeout=3) as client:
        await client.get(f"http://{host}/v1")
    assert canary.accepts == 1
