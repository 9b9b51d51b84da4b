"""Surface markers: a foreign mark is found, a matching or an everyday one is not, and recorded traffic raises no false alarm."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from fingerprints import surface
from fingerprints.surface import Marker, foreign, markers

RECORDED = Path(__file__).parents[3] / "shared" / "recorded"
LARGEST_FALSE_SHARE = 0.005
PASS_THROUGH = {"local", "gateway", "portkey", "openrouter", "vercel", "github", "doubleword"}
"""Gateways that pass on other vendors' replies: their replies may show the upstream's marks."""


def what(found: tuple[Marker, ...]) -> set[str]:
    return {marker.what for marker in found}


def test_a_claude_id_under_a_gpt_claim_is_a_strong_finding() -> None:
    found = foreign(markers(ids=["msg_01XFDUDYJgAACzvnptvVoYEL"]), "openai")
    assert [(marker.owner, marker.strength) for marker in found] == [("anthropic", "strong")]


@pytest.mark.parametrize("prefix", ["toolu_01", "toolu_bdrk_01", "toolu_vrtx_01", "msg_bdrk_01"])
def test_a_claude_id_shows_through_every_cloud(prefix: str) -> None:
    assert "anthropic" in {marker.owner for marker in foreign(markers(ids=[prefix + "A09q90qw90lq917835lq9X"]), "openai")}


def test_rate_limit_headers_of_another_vendor_are_foreign() -> None:
    found = foreign(markers(headers=["Anthropic-RateLimit-Requests-Limit", "content-type"]), "openai")
    assert what(found) == {"anthropic-ratelimit-requests-limit"}


def test_the_vendor_s_own_marks_are_not_foreign() -> None:
    own = markers(headers=["openai-processing-ms", "x-request-id"], ids=["chatcmpl-AbCdEfGhIjKlMnOpQrStUvWxYz012"])
    assert {marker.owner for marker in own} == {"openai"}
    assert foreign(own, "openai") == ()


@pytest.mark.parametrize(
    "name", ["content-type", "server", "date", "x-request-id", "x-frame-options", "cf-ray", "via", "set-cookie", "expires"]
)
def test_everyday_headers_belong_to_nobody(name: str) -> None:
    assert markers(headers=[name]) == ()


@pytest.mark.parametrize(
    "text", ["", "msg_01", "chatcmpl-12345678901234567890123456789012345", "x" * 100_000, "msg_01XFDUDYJgAACzvnptvVo\n"]
)
def test_an_id_of_no_known_shape_is_no_mark_of_a_vendor(text: str) -> None:
    assert [marker for marker in markers(ids=[text]) if not marker.host] == []


def test_a_host_is_foreign_only_to_vendors_that_it_was_never_seen_to_serve() -> None:
    local = markers(system_fingerprint="fp_ollama")
    assert [(marker.owner, marker.host, marker.strength) for marker in local] == [("ollama", True, "weak")]
    assert foreign(local, "meta") == ()
    assert what(foreign(local, "anthropic")) == {"fp_ollama"}


def test_an_error_body_is_told_by_its_fields_not_its_words() -> None:
    body = {"type": "error", "error": {"type": "not_found_error", "message": "…"}, "request_id": "…"}
    assert surface.error_shape(body) == "{error:{message,type},request_id,type}"
    found = markers(error=body)
    assert {marker.owner for marker in found} == {"anthropic"}


def test_fields_of_an_api_flavour_are_listed_but_accuse_nobody() -> None:
    found = markers(body_keys=["stop_sequence", "stop_details"], usage_keys=["candidatesTokenCount"])
    assert {marker.owner for marker in found} == {"anthropic", "google"}
    assert {marker.strength for marker in found} == {"weak"}
    assert foreign(found, "zai") == ()


def test_a_hostile_reply_is_read_in_bounds() -> None:
    deep: dict[str, object] = {}
    for _ in range(5000):
        deep = {"error": deep}
    assert markers(headers=(f"h{i}" for i in range(10**5)), ids=["\ud800"] * 3, error=deep) == ()


def test_a_strong_mark_is_never_a_host_s() -> None:
    table = surface._table().values()
    assert {marker.strength for marker in table if marker.host} == {"weak"}
    assert {marker.owner for marker in table if marker.strength == "strong"} >= {"openai", "anthropic", "mistral"}


@pytest.mark.replay
@pytest.mark.skipif(not (RECORDED / "interactions.jsonl.gz").exists(), reason="recorded traffic is not here")
def test_recorded_replies_carry_no_foreign_vendor_s_marks() -> None:
    from fingerprints.build.surface import read

    replies: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    for reply in read(RECORDED):
        if reply.vendor is not None:
            fingerprint = reply.fingerprints[0] if reply.fingerprints else None
            found = markers(reply.headers, reply.ids, fingerprint, reply.body_keys, reply.usage_keys, reply.error)
            replies[reply.provider] += 1
            wrong[reply.provider] += any(not marker.host for marker in foreign(found, reply.vendor))
    assert sum(replies.values()) > 1000
    shares = {provider: wrong[provider] / n for provider, n in replies.items() if provider not in PASS_THROUGH}
    assert max(shares.values()) < LARGEST_FALSE_SHARE
