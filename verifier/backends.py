"""How many backends answered, as the report says it: the mixture, the switches and their findings.

Takes probes, replies and the claim, gives what verifier/mixture.py and verifier/history.py find in them as plain report data. Pure; the
verdict is drawn elsewhere, from the same `Mixture`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from fingerprints.catalog import Claim
from probes.probe import Finding, Probe, Reply
from verifier.history import Switch, switches
from verifier.mixture import LEAST_TOLD, Mixture, mixture
from verifier.routing import goes_with
from verifier.telling import tell

SHOWN, SURE = math.log(10.0), math.log(100.0)
"""Log e-values from which a second backend is reported, and from which the finding is a strong one."""
MOST_LOG_E = 300.0
"""As in report/model.py: JSON readers overflow at exp(709)."""


@dataclass(frozen=True, slots=True)
class Backends:
    """What the report says of the backends behind an endpoint."""

    mixed: Mixture | None = None
    """What the decision rests on; None where single replies say nothing."""
    mixture: dict[str, Any] | None = None
    switches: tuple[dict[str, Any], ...] = ()
    findings: tuple[Finding, ...] = ()


ONE_BACKEND = Backends()


def backends(probes: Sequence[Probe], replies: Sequence[Reply], claim: Claim | None, started: datetime) -> Backends:
    """The backends that the replies show. `started` is when the first question was sent."""
    told = tell(probes, replies, claim)
    mixed = mixture(told, [reply.ask.key for reply in replies])
    if mixed is None or len(mixed.others) < LEAST_TOLD or mixed.log_e < SHOWN:
        return Backends(mixed)
    changes = switches(told)
    with_what = goes_with(replies, mixed.others, mixed.claimed) if mixed.mixed and not changes else None
    found = [_switched(mixed, changes, replies, started)] if changes else [_mixes(mixed, replies, with_what)] if mixed.mixed else []
    return Backends(
        mixed,
        _mixture(mixed, with_what) if mixed.mixed else None,
        tuple({"at": each.at, "from": each.before, "to": each.after, "confidence": each.confidence} for each in changes),
        tuple(found),
    )


def _mixture(mixed: Mixture, with_what: str | None) -> dict[str, Any]:
    share, low, high = mixed.share
    return {
        "share": share,
        "low": low,
        "high": high,
        "candidate": mixed.candidate,
        "told": mixed.told,
        "others": [place + 1 for place in mixed.others],
        "channels": {name: math.exp(max(-MOST_LOG_E, min(MOST_LOG_E, value))) for name, value in sorted(mixed.channels.items())},
        "goes_with": with_what,
    }


def _mixes(mixed: Mixture, replies: Sequence[Reply], with_what: str | None) -> Finding:
    share, low, high = (100.0 * value for value in mixed.share)
    text = (
        f"{len(mixed.others)} of {mixed.told} replies that tell them apart come from a backend of the vocabulary {mixed.candidate} and not "
        f"from the claimed model: {share:.0f} % ({low:.0f} to {high:.0f} %)."
    )
    if with_what is not None:
        text += f" It answers {with_what}."
    return Finding("mixed-backends", _strength(mixed), text, _keys(mixed, replies))


def _switched(mixed: Mixture, changes: Sequence[Switch], replies: Sequence[Reply], started: datetime) -> Finding:
    told = (
        f"at question {each.at} ({_time(replies, each.at, started)}, give or take {-(-each.uncertain // 2)} questions) "
        f"from {each.before} to {each.after}"
        for each in changes
    )
    text = f"The backend changed while it was asked: {'; '.join(told)}."
    return Finding("backend-switched", _strength(mixed), text, _keys(mixed, replies))


def _time(replies: Sequence[Reply], at: int, started: datetime) -> str:
    moment = started.astimezone(UTC) + timedelta(seconds=replies[min(at, len(replies)) - 1].at)
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")


def _strength(mixed: Mixture) -> str:
    return "strong" if mixed.log_e >= SURE else "moderate"


def _keys(mixed: Mixture, replies: Sequence[Reply]) -> tuple[str, ...]:
    return tuple(replies[place].ask.key for place in mixed.others)
