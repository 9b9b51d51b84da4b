"""Which addresses the guard lets a connection reach, under either policy and in every notation."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
import time
from typing import Any, get_args

import httpx
import pytest

from tests.verifier.stand_ins import completion, reply, stand_in
from verifier.endpoint.guard import GuardPolicy, Purpose, cli_policy, guarded_transport, service_policy
from verifier.errors import TargetRefusedError, UsageError

ALWAYS_REFUSED = [
    "169.254.169.254",
    "169.254.170.2",
    "169.254.0.1",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "0.0.0.0",
    "0.1.2.3",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "[::]",
    "[fe80::1]",
    "[ff02::1]",
    "[fd00:ec2::254]",
    "[fd20:ce::254]",
]
EMBEDDED = ["[::ffff:{0}]", "[::{0}]", "[64:ff9b::{0}]"]
PRIVATE = ["127.0.0.1", "127.8.8.8", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "[::1]", "[fd12:3456::1]"]
PUBLIC = ["8.8.8.8", "1.1.1.1", "[2606:4700:4700::1111]"]


def allows(policy: GuardPolicy, host: str, port: int | None = None) -> bool:
    try:
        policy.check_url(f"http://{host}{'' if port is None else f':{port}'}/v1")
    except TargetRefusedError:
        return False
    return True


@pytest.mark.parametrize("host", ALWAYS_REFUSED)
@pytest.mark.parametrize("policy", [cli_policy(), service_policy(), service_policy(["10.0.0.0/8", "0.0.0.0/0", "::/0"])])
def test_metadata_link_local_multicast_and_unspecified_are_refused_by_every_policy(policy: GuardPolicy, host: str) -> None:
    assert not allows(policy, host)


@pytest.mark.parametrize("form", EMBEDDED)
@pytest.mark.parametrize("host", [host for host in ALWAYS_REFUSED if not host.startswith("[")])
def test_an_ipv6_form_of_a_refused_ipv4_address_is_refused(host: str, form: str) -> None:
    assert not allows(cli_policy(), form.format(host))
    assert not allows(service_policy(["0.0.0.0/0"]), form.format(host))


@pytest.mark.parametrize(
    "host", ["[2002:a9fe:a9fe::1]", "[2002:7f00:1::1]", "[64:ff9b:1::1]", "[2001:0:a9fe:a9fe::1]", "[3fff::1]", "[fec0::1]"]
)
def test_tunnelled_documentation_and_site_local_addresses_are_refused_by_the_service(host: str) -> None:
    assert not allows(service_policy(), host)


@pytest.mark.parametrize("host", PRIVATE)
def test_the_command_line_reaches_the_users_own_network_and_the_service_does_not(host: str) -> None:
    assert allows(cli_policy(), host, 11434)
    assert not allows(service_policy(), host, 11434)


@pytest.mark.parametrize("host", PUBLIC)
def test_public_addresses_are_reached_by_both(host: str) -> None:
    assert allows(cli_policy(), host)
    assert allows(service_policy(), host)


@pytest.mark.parametrize("port", [80, 443, 8000, 8080, 11434, 65535])
def test_both_policies_take_the_ports_that_models_are_served_on(port: int) -> None:
    assert allows(cli_policy(), "8.8.8.8", port)
    assert allows(service_policy(), "8.8.8.8", port)


@pytest.mark.parametrize("port", [22, 25, 53, 445, 3306, 5432, 6379, 11211, 27017])
def test_the_service_talks_to_no_database_cache_or_mail_port(port: int) -> None:
    assert allows(cli_policy(), "8.8.8.8", port)
    assert not allows(service_policy(), "8.8.8.8", port)


def test_the_service_reaches_private_networks_that_its_operator_lists_and_only_those() -> None:
    policy = service_policy(["10.1.0.0/16", "fd00:1::/64", " 127.0.0.1/32 "])
    assert allows(policy, "10.1.2.3")
    assert allows(policy, "[fd00:1::5]")
    assert allows(policy, "127.0.0.1", 8000)
    assert not allows(policy, "10.2.0.1")
    assert not allows(policy, "127.0.0.2")
    assert not allows(policy, "[fd00:2::5]")


def test_a_network_that_is_listed_opens_what_lies_within_it() -> None:
    assert allows(service_policy(["172.0.0.0/8"]), "172.16.0.1")


@pytest.mark.parametrize(
    "entry", ["169.254.169.254/32", "169.254.0.0/16", "fe80::/64", "168.63.129.16", "0.0.0.0/8", "224.0.0.0/4", "fd00:ec2::254"]
)
def test_what_is_never_allowed_cannot_be_listed(entry: str) -> None:
    with pytest.raises(UsageError, match="never allowed"):
        service_policy([entry])


def test_a_list_entry_must_be_a_network_and_not_ipv4_inside_ipv6() -> None:
    with pytest.raises(UsageError, match="not a network"):
        service_policy(["internal.example"])
    with pytest.raises(UsageError, match="not a network"):
        service_policy(["10.1.2.3/8"])
    with pytest.raises(UsageError, match="IPv4 addresses inside IPv6"):
        service_policy(["::ffff:0:0/96"])


def test_a_refusal_is_one_line_without_the_url() -> None:
    for url in ("http://169.254.169.254/v1?sig=canary-0123456789", "http://8.8.8.8:22/v1?sig=canary-0123456789"):
        with pytest.raises(TargetRefusedError) as caught:
            service_policy().check_url(url)
        assert "canary" not in str(caught.value) + repr(caught.value)
        assert caught.value.__context__ is None and caught.value.__cause__ is None
        assert len(str(caught.value)) < 500 and "\n" not in str(caught.value)
    assert "65535" not in repr(cli_policy())


@pytest.mark.parametrize("purpose", get_args(Purpose))
async def test_a_refusal_says_what_the_address_was_to_be(purpose: Purpose) -> None:
    with pytest.raises(TargetRefusedError, match=f"^the {purpose}'s address is refused"):
        service_policy().check_url("http://127.0.0.1/v1", purpose)
    with pytest.raises(TargetRefusedError, match=f"^the {purpose}'s address is refused"):
        await get(service_policy(), "http://name.example/v1", Names(["127.0.0.1"]), purpose=purpose)


class Names:
    """A resolver that gives scripted answers, one list per lookup; the last one stays."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.lookups = 0

    def __call__(self, host: str | bytes, port: int, *rest: Any) -> list[Any]:
        answer = self.answers[min(self.lookups, len(self.answers) - 1)]
        self.lookups += 1
        return [(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in answer]


async def get(policy: GuardPolicy, url: str, resolver: Any = None, **options: Any) -> int:
    transport = guarded_transport(policy, resolver=resolver, **options)
    try:
        response = await transport.handle_async_request(httpx.Request("GET", url, extensions={"timeout": {"connect": 5.0}}))
        await response.aread()
        await response.aclose()
        return response.status_code
    finally:
        await transport.aclose()


async def test_a_name_is_judged_by_the_address_it_resolves_to() -> None:
    async with stand_in(reply(completion())) as server:
        url = f"http://model.example:{server.port}/v1"
        assert await get(cli_policy(), url, Names(["127.0.0.1"])) == 200
        assert server.accepts == 1
        with pytest.raises(TargetRefusedError):
            await get(service_policy(), url, Names(["127.0.0.1"]))
        assert server.accepts == 1


async def test_a_name_is_looked_up_once_so_a_record_that_moves_gains_nothing() -> None:
    async with stand_in(reply(completion())) as server:
        names = Names(["127.0.0.1"], ["169.254.169.254"])
        assert await get(cli_policy(), f"http://model.example:{server.port}/v1", names) == 200
        assert names.lookups == 1


async def test_a_name_with_one_refused_address_among_good_ones_is_refused() -> None:
    async with stand_in(reply(completion())) as server:
        with pytest.raises(TargetRefusedError) as caught:
            await get(cli_policy(), f"http://model.example:{server.port}/v1", Names(["127.0.0.1", "169.254.169.254"]))
        assert server.accepts == 0
        assert caught.value.__context__ is None


@pytest.mark.parametrize("ended_by", ["a deadline around it", "its own time limit"])
async def test_a_server_that_never_answers_the_tls_handshake_leaves_no_socket_open(ended_by: str) -> None:
    hung_up = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(4096):  # the client's first flight, then nothing until it hangs up
            pass
        hung_up.set()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    transport = guarded_transport(cli_policy())
    limits = {"connect": 0.1} if ended_by == "its own time limit" else {}
    request = httpx.Request("GET", f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", extensions={"timeout": limits})
    gc.disable()  # the collector closes what nobody else did, and only some time
    try:
        with pytest.raises((TimeoutError, httpx.ConnectTimeout)):
            async with asyncio.timeout(0.2):
                await transport.handle_async_request(request)
        await transport.aclose()
        async with asyncio.timeout(5):
            await hung_up.wait()
    finally:
        gc.enable()
        server.close()


async def test_environment_proxies_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stand_in(reply(completion())) as proxy, stand_in(reply(completion())) as server:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert await get(cli_policy(), server.base_url) == 200
        assert (proxy.accepts, server.accepts) == (0, 1)


async def test_a_redirect_is_handed_back_not_followed() -> None:
    async with stand_in(reply(completion())) as canary:
        async with stand_in(reply("", 302, [("location", canary.base_url)])) as server:
            assert await get(cli_policy(), server.base_url) == 302
        assert canary.accepts == 0


async def test_a_name_server_that_never_answers_costs_a_bounded_wait() -> None:
    released = threading.Event()

    def silent(*args: Any) -> list[Any]:
        released.wait(10)
        return []

    began = time.monotonic()
    with pytest.raises(httpx.ConnectError, match="not resolved within"):
        await get(cli_policy(), "http://model.example/v1", silent, resolve_timeout_s=0.2)
    assert time.monotonic() - began < 3
    released.set()
    await asyncio.sleep(0)


async def test_a_name_that_does_not_exist_is_a_connection_error() -> None:
    def missing(*args: Any) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    def malformed(*args: Any) -> list[Any]:
        raise UnicodeError("label too long")

    for resolver in (missing, malformed):
        with pytest.raises(httpx.ConnectError):
            await get(cli_policy(), "http://nowhere.example/v1", resolver)
