"""`benchmarks compare`: a real arm that cannot be run is said, and what is stored is judged again instead of asked."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks import compare
from probes.probe import Reply
from tests.endpoints import header_for
from verifier.pairing import paired_probe
from verifier.target import Target
from verifier.transcript import Transcript


@contextmanager
def nowhere() -> Iterator[tuple[Target, Target]]:
    """An arm whose engine is not here."""
    raise compare.NotRunError("no wheel for this machine")
    yield


def stored(place: Path, seed: int) -> None:
    """A comparison of two endpoints that answer alike, as an earlier run would have left it."""
    target = {"origin": "http://x", "model": "m", "wire": "openai"}
    header = dataclasses.replace(header_for(None, seed=seed), reference=target, paired={"tolerance": 0.1, "pairs": 5.0})
    asks = paired_probe(header).next_round([])
    place.parent.mkdir(parents=True)
    place.write_bytes(Transcript(header, tuple(Reply(ask, status=200, text=ask.payload) for ask in asks)).to_bytes())


def test_a_real_arm_that_cannot_be_run_is_said_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "ARMS", dict.fromkeys(compare.ARMS, ("quick", nowhere)))
    result = compare.run(limit=1)
    assert result["real"]["engines"] == {"not_run": "no wheel for this machine"}
    assert compare.table(result).count("not run: no wheel for this machine") == 2


def test_stored_transcripts_are_judged_again_and_only_the_others_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "ARMS", dict.fromkeys(compare.ARMS, ("quick", nowhere)))
    stored(tmp_path / "engines" / "seed-0" / "transcript.jsonl.gz", 0)
    real = compare.run(data=tmp_path, limit=1)["real"]
    assert (real["engines"]["seeds"], real["engines"]["different"], real["engines"]["runs"][0]["pairs"]) == (1, 0, 5)
    assert "not_run" in real["models"]
