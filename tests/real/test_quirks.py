"""What llama.cpp really sends where one would not expect it, kept as it came from SmolLM2."""

from __future__ import annotations

import pytest

from probes.logprobs import LogprobsProbe
from probes.plan import Plan
from probes.probe import Ask, Reply, TokenBytes
from verifier.auditing import resolve_claim

pytestmark = pytest.mark.real

JOINED = [
    ["f09f8c9f", "9f", "b1", "aa", "b3", "88"],
    ["0a", "f09f", "0a", "20e5", "20", "e2"],
    ["e29d8c", "8c", "84", "80", "a4", "94"],
    ["0a", "0a", "f09f", "e2", "e29c", "0a0a"],
    ["f09f92b1", "a1", "ac", "bc", "aa", "bb"],
    ["0a", "0a", "f09f", "e2", "e29c", "20e2"],
]
"""Log probabilities of a reply of three emoji: each takes three tokens, and the server spells them as one."""


def test_characters_that_the_server_joins_from_several_tokens_are_no_foreign_tokens() -> None:
    probe = LogprobsProbe(Plan(seed=1, claim=resolve_claim("smollm2-135m-instruct", None)))
    ask = Ask(probe="logprobs", key="logprobs/1", messages=(("user", "Continue this list"),), max_tokens=12)
    reply = Reply(ask, status=200, text="🌟\n❌\n💱\n", finish="length", tokens=tuple(map(TokenBytes.from_json, JOINED)))
    evidence = probe.read([reply])
    assert evidence.tested
    assert evidence.best == "smollm" or evidence.best is None
    assert evidence.log_e <= 0.0
    assert evidence.findings == ()
