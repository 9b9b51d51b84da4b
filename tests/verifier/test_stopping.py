"""When an audit stops asking: at an accusation, at a clearance that keeps the suite's promise, and never before every channel spoke."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest

from probes import suite as suites
from probes.probe import Ask, Block, Evidence, Reply
from tests.endpoints import claim_of, header_for
from verifier.auditing import conclude, judge
from verifier.conversation import interrogate
from verifier.multiple import Carried
from verifier.transcript import Transcript

CLAIM = claim_of("claude3")


@dataclass
class Rounds:
    """A probe that asks `rounds` single questions and reads each answer as `log_e` against the claim, or as a match."""

    name: str
    rounds: int
    log_e: float = math.log(0.5)
    matches: int = 0
    """Discriminating answers per question."""
    block: Block = Block.TOKENIZER
    goal: str = "a test"

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.name,)

    def next_round(self, replies: Sequence[Reply]) -> Sequence[Ask]:
        n = len(replies)
        return [Ask(self.name, f"{self.name}/{n}", (("user", "?"),), 1)] if n < self.rounds else []

    def read(self, replies: Sequence[Reply]) -> Evidence:
        n = len(replies)
        if not n:
            return Evidence(self.name, self.block, False, why_not="nothing was asked")
        best = "claude3" if self.log_e <= 0 else "llama3"
        logs = {name: (0.0 if name == best else -9.0 * n) for name in ("claude3", "llama3", "unknown")}
        return Evidence(
            self.name, self.block, True, log_e=n * self.log_e, log_likelihood=logs, best=best,
            supports_claim=best == "claude3", discriminating=n * self.matches, rounds=n,
        )  # fmt: skip


def asked(*probes: Rounds, suite: str = "standard", early_stop: bool = True) -> dict[str, int]:
    async def ask_all(asks: Sequence[Ask], *, retry_timeouts: bool = True) -> list[Reply]:
        return [Reply(ask, status=200, text="x") for ask in asks]

    header = header_for(CLAIM, suite=suite, early_stop=early_stop)
    replies, _ = asyncio.run(interrogate(ask_all, probes, header))
    return {probe.name: sum(reply.ask.probe == probe.name for reply in replies) for probe in probes}


def test_a_clearance_spares_further_rounds_but_every_channel_speaks_once() -> None:
    assert asked(Rounds("usage", 6, matches=4), Rounds("truncation", 9, matches=4)) == {"usage": 2, "truncation": 1}


def test_without_early_stopping_every_round_is_asked() -> None:
    assert asked(Rounds("usage", 6, matches=4), Rounds("truncation", 9, matches=4), early_stop=False) == {"usage": 6, "truncation": 9}


def test_the_deep_suite_goes_on_until_a_small_share_is_ruled_out() -> None:
    spent = asked(Rounds("usage", 40, matches=4), suite="deep")
    excluded = 1.0 - 0.01 ** (1.0 / (4 * spent["usage"]))
    assert excluded <= suites.SUITES["deep"].enough_share < 1.0 - 0.01 ** (1.0 / (4 * (spent["usage"] - 1)))


def test_an_accusation_ends_the_audit_at_once() -> None:
    assert asked(Rounds("usage", 6, log_e=math.log(11)), Rounds("truncation", 6, log_e=math.log(11))) == {"usage": 2, "truncation": 0}


def test_doubt_is_asked_to_the_end() -> None:
    assert asked(Rounds("usage", 3, matches=4), Rounds("truncation", 5, log_e=0.01)) == {"usage": 3, "truncation": 5}


def test_a_channel_that_turns_against_a_cleared_claim_is_heard() -> None:
    spent = asked(Rounds("usage", 3, matches=4), Rounds("truncation", 5, log_e=math.log(30)))
    assert spent["truncation"] >= 2


def test_earlier_audits_count_and_the_report_hands_the_state_on() -> None:
    """Evidence that accuses alone does not after thirty quiet audits, the report says what to carry on from, and it replays exactly."""
    from benchmarks.simulated import Endpoint
    from tests.endpoints import transcript_of

    transcript = transcript_of(Endpoint("smollm", copies=False), claim_of("o200k"))
    alone = conclude(transcript, b"")
    assert alone.outcome == "inconsistent" and "carried" not in alone.data
    later = replace(transcript, header=replace(transcript.header, carried={"looks": 30, "log_sum": -20.0}))
    data = later.to_bytes()
    report = conclude(later, data)
    assert report.outcome == "inconclusive", "the thirtieth look needs more than the first"
    state = Carried(30, -20.0).after(math.log(alone.data["verdict"]["e_value"]))
    assert report.data["carried"]["looks"] == 31
    assert report.data["carried"]["log_sum"] == pytest.approx(state.log_sum, rel=1e-4)
    assert judge(Transcript.from_bytes(data), data).data == report.data
