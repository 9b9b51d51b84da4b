"""The straight line: rounds, early stopping, budgets, and conclusions that a stored transcript reproduces exactly."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.simulated import Endpoint
from probes import suite as suites
from probes.probe import Ask, Reply, ReplyError
from tests.conftest import REPOSITORY
from tests.endpoints import answer, claim_of, codes, header_for, report_on, transcript_of
from verifier import load_report
from verifier.auditing import conclude, judge, other_digests
from verifier.conversation import interrogate
from verifier.errors import CannotRunError, UsageError
from verifier.options import Settings, resolve_claim
from verifier.report.model import Report, rounded
from verifier.transcript import Transcript

SCHEMA = json.loads((REPOSITORY / "docs" / "report.schema.json").read_text(encoding="utf-8"))


def concluded(report: Report) -> dict[str, object]:
    """The part of a report that a replay must reproduce exactly."""
    return {key: report.data[key] for key in ("verdict", "findings", "blocks", "mixture", "switches")}


@pytest.mark.parametrize(
    ("endpoint", "claimed", "outcome"),
    [
        (Endpoint("smollm", copies=False), "smollm", "consistent"),
        (Endpoint("smollm", copies=False), "o200k", "inconsistent"),
        (Endpoint("llama3"), "llama3", "consistent"),
        (Endpoint("o200k"), "o200k", "consistent"),
        (Endpoint("o200k", copies=False), "o200k", "inconclusive"),
        (Endpoint("llama3", recount="o200k"), "llama3", "consistent"),
        (Endpoint("llama3", recount="o200k"), "o200k", "inconsistent"),
        (Endpoint("claude3", copies=False, recount="cl100k"), "claude3", "inconclusive"),
        (Endpoint("claude3", copies=False, scale=1.3), "claude3", "consistent"),
    ],
)
def test_outcomes_of_whole_audits(endpoint: Endpoint, claimed: str, outcome: str) -> None:
    report = report_on(endpoint, claim_of(claimed), suite="standard")
    assert report.outcome == outcome
    jsonschema.validate(report.data, SCHEMA)


def test_a_rewritten_usage_is_a_finding_of_its_own() -> None:
    assert "usage-rewritten" in codes(report_on(Endpoint("llama3", recount="o200k"), claim_of("o200k"), suite="standard"))


def test_an_accusation_stops_the_audit_early_and_no_early_stop_goes_on() -> None:
    early = report_on(Endpoint("smollm", copies=False), claim_of("o200k"))
    late = report_on(Endpoint("smollm", copies=False), claim_of("o200k"), early_stop=False)
    assert early.data["cost"]["stopped_early"] and not late.data["cost"]["stopped_early"]
    assert early.data["cost"]["requests"] < late.data["cost"]["requests"] <= suites.SUITES["quick"].max_requests


@pytest.mark.parametrize("name", ["quick", "standard"])
def test_no_suite_asks_more_than_its_ceiling(name: str) -> None:
    transcript = transcript_of(Endpoint("llama3"), claim_of("llama3"), suite=name, early_stop=False)
    assert len(transcript.replies) <= suites.SUITES[name].max_requests


def test_the_deep_suite_fits_its_ceiling() -> None:
    deep = suites.SUITES["deep"]
    assert 2 + deep.usage_rounds * 4 + deep.echo_trials <= deep.max_requests


@pytest.mark.parametrize("endpoint", [Endpoint("smollm", copies=False), Endpoint("llama3", keep=0.5), Endpoint("gemma3", scale=1.7)])
def test_a_stored_transcript_gives_the_same_conclusions_again(endpoint: Endpoint, tmp_path: Path) -> None:
    claim = claim_of("llama3")
    transcript = transcript_of(endpoint, claim)
    report = conclude(transcript, transcript.to_bytes())
    report.save(tmp_path)
    stored, data = Transcript.load(tmp_path)
    assert stored == transcript and data == transcript.to_bytes()
    assert concluded(judge(stored, data)) == concluded(load_report(tmp_path))
    assert other_digests(stored.header) is None


def test_a_transcript_can_be_judged_against_another_claim() -> None:
    transcript = transcript_of(Endpoint("smollm", copies=False), claim_of("smollm"))
    assert judge(transcript, transcript.to_bytes()).outcome == "consistent"
    assert judge(transcript, transcript.to_bytes(), claim_of("llama3")).outcome == "inconsistent"


def test_other_signatures_than_the_transcript_names_are_said() -> None:
    header = header_for(claim_of("o200k"))
    header = dataclasses.replace(header, digests=dataclasses.replace(header.digests, signatures="0" * 64))
    assert "signatures" in str(other_digests(header))


def run(ask_all: object, claimed: str = "o200k") -> tuple[list[Reply], bool]:
    header = header_for(claim_of(claimed))
    probes = suites.build(suites.SUITES["quick"], header.claim, header.seed, header.alpha)
    return asyncio.run(interrogate(ask_all, probes, header))  # type: ignore[arg-type]


def failing(kind: str, first: int = 0) -> object:
    """An endpoint that answers its first replies and then fails every question with `kind`."""
    served = 0

    async def ask_all(asks: Sequence[Ask], *, retry_timeouts: bool = True) -> list[Reply]:
        nonlocal served
        replies = []
        for ask in asks:
            served += 1
            good = (await Endpoint("smollm", copies=False).ask_all([ask]))[0]
            replies.append(good if served <= first else Reply(ask, status=500, error=ReplyError(kind, "it broke")))
        return replies

    return ask_all


@pytest.mark.parametrize("kind", ["refused-key", "unreachable", "server-error", "bad-reply", "timeout"])
def test_an_endpoint_that_answers_nothing_cannot_be_audited_and_the_error_says_what_to_do(kind: str) -> None:
    with pytest.raises(CannotRunError) as caught:
        run(failing(kind))
    assert kind in str(caught.value) and caught.value.remedy and "\n" not in str(caught.value)


def test_an_outage_halfway_is_missing_evidence_and_a_finding() -> None:
    replies, _ = run(failing("server-error", first=4))
    report = conclude(Transcript(header_for(claim_of("o200k")), tuple(replies)), b"")
    assert report.outcome == "inconclusive"
    assert "outage" in codes(report)


def test_refused_questions_are_told_apart_from_outages() -> None:
    replies, _ = run(failing("bad-request", first=6))
    assert "probe-refused" in codes(conclude(Transcript(header_for(claim_of("o200k")), tuple(replies)), b""))


def test_a_spent_budget_ends_the_audit_without_a_verdict() -> None:
    budget = 5

    async def ask_all(asks: Sequence[Ask], *, retry_timeouts: bool = True) -> list[Reply]:
        nonlocal budget
        allowed, budget = asks[:budget], max(0, budget - len(asks))
        return answer_now(allowed)

    def answer_now(asks: Sequence[Ask]) -> list[Reply]:
        endpoint = Endpoint("smollm", copies=False)
        return [endpoint._answer(ask) for ask in asks]

    replies, early = run(ask_all)
    assert len(replies) == 5 and not early


@pytest.mark.parametrize(
    "wrong",
    [Settings(suite="huge"), Settings(alpha=0.0), Settings(alpha=0.9), Settings(max_requests=0), Settings(seed=-1), Settings(timeout_s=0)],
)
def test_impossible_settings_are_refused_with_one_line(wrong: Settings) -> None:
    with pytest.raises(UsageError) as caught:
        wrong.checked()
    assert "\n" not in str(caught.value)


def test_claims_resolve_with_family_and_unknown_families_are_refused() -> None:
    claim = resolve_claim("reflection-70b", "llama-3")
    assert claim is not None and claim.tokenizer == "llama3" and not claim.in_catalog
    assert resolve_claim(None, None) is None
    with pytest.raises(UsageError):
        resolve_claim("x", "no-such-family")
    with pytest.raises(UsageError):
        resolve_claim("  ", None)


def test_a_claim_in_korean_and_chinese_is_carried_through() -> None:
    claim = resolve_claim("하이퍼클로바 超级模型", None)
    assert claim is not None and claim.tokenizer is None
    report = report_on(Endpoint("smollm", copies=False), claim)
    assert "하이퍼클로바 超级模型" in report.to_json()


@given(st.binary(max_size=300))
@settings(max_examples=60, deadline=None)
def test_bytes_that_are_no_transcript_are_refused_with_one_clear_error(data: bytes) -> None:
    with pytest.raises(CannotRunError):
        Transcript.from_bytes(data)


def test_a_transcript_with_any_line_cut_is_refused() -> None:
    whole = transcript_of(Endpoint("smollm", copies=False), claim_of("smollm")).to_bytes()
    for cut in (10, len(whole) // 2, len(whole) - 9):
        with pytest.raises(CannotRunError):
            Transcript.from_bytes(whole[:cut])


@pytest.mark.parametrize(
    "change", [{"suite": "huge"}, {"alpha": 0}, {"target": {"origin": "x", "model": "m", "wire": "smoke"}}, {"target": {}}]
)
def test_a_header_that_no_audit_wrote_is_refused_with_one_clear_error(change: dict[str, object]) -> None:
    header = dataclasses.replace(header_for(claim_of("o200k")), **change)  # type: ignore[arg-type]
    with pytest.raises(CannotRunError):
        Transcript.from_bytes(Transcript(header, ()).to_bytes())


def test_hostile_text_survives_the_round_trip() -> None:
    ask = Ask("usage", "usage/base/1", (("user", "안녕 \u202e"),), 1)
    reply = Reply(ask, status=200, text="\x00\ud800\u2028</script>漢字", headers=(("x", "y"),), error=ReplyError("timeout", "t"))
    transcript = Transcript(header_for(None), (reply,))
    assert Transcript.from_bytes(transcript.to_bytes()) == transcript


def test_numbers_are_rounded_to_six_significant_digits_and_never_nan() -> None:
    assert rounded({"a": [1 / 3, 12345678.9], "b": (True, None, 7)}) == {"a": [0.333333, 12345700.0], "b": [True, None, 7]}
    with pytest.raises(ValueError, match="finite"):
        rounded(float("nan"))


def test_a_report_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text("[]", encoding="utf-8")
    with pytest.raises(CannotRunError):
        load_report(tmp_path)
    with pytest.raises(CannotRunError):
        load_report(tmp_path / "none")


def test_answers_of_the_simulation_do_not_depend_on_the_order_of_asking() -> None:
    asks = [Ask("usage", f"usage/{i}", (("user", "x" * i),), 1) for i in range(3)]
    assert answer(Endpoint("o200k"), asks)[::-1] == answer(Endpoint("o200k"), asks[::-1])
