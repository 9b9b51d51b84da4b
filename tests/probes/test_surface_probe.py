"""Marks of another vendor are a finding, and never more than a capped whisper of evidence."""

from __future__ import annotations

import math

from fingerprints.catalog import claim
from probes.plan import Plan
from probes.probe import Ask, Evidence, Reply
from probes.surface import CAP, SurfaceProbe
from tests.endpoints import claim_of

ANTHROPIC = {"id": "msg_01" + "A" * 22, "headers": (("anthropic-ratelimit-requests-limit", "50"), ("request-id", "req_1"))}
OPENAI = {"id": "chatcmpl-" + "a" * 29, "headers": (("openai-version", "2020-10-01"), ("openai-processing-ms", "5"))}


def read(model: str, **fields: object) -> Evidence:
    ask = Ask("usage", "usage/base/1", (("user", "x"),), 1)
    return SurfaceProbe(Plan(seed=1, claim=claim(model))).read([Reply(ask, status=200, text="x", **fields)] * 3)  # type: ignore[arg-type]


def test_anthropics_marks_under_a_gpt_4o_claim_are_a_finding_with_a_capped_weight() -> None:
    found = read("gpt-4o", **ANTHROPIC)
    assert {f.code for f in found.findings} == {"foreign-marker"}
    assert 0 < found.log_e <= CAP < math.log(10)


def test_a_vendors_own_marks_say_nothing() -> None:
    for model, marks in (("gpt-4o", OPENAI), ("claude-3-5-sonnet", ANTHROPIC)):
        found = read(model, **marks)
        assert found.tested and found.log_e == 0.0 and not found.findings


def test_no_marks_and_unknown_vendors_are_not_tested() -> None:
    assert not read("gpt-4o").tested
    plan = Plan(seed=1, claim=claim_of("o200k"))
    assert not SurfaceProbe(plan).read([Reply(Ask("usage", "k", (("user", "x"),), 1), status=200, **ANTHROPIC)]).tested  # type: ignore[arg-type]
