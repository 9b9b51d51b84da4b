"""How the evidence against the claim grew while the audit went on, for the report's picture of it.

Takes the probes, the replies and the claim, gives the e-value after a few looks at a growing part of the replies. Pure, so that a
stored transcript gives the same looks again; decides nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fingerprints.catalog import Claim
from probes.probe import Block, Evidence, Probe, Reply
from verifier.decide import evidence_against
from verifier.mixture import mixture
from verifier.telling import tell

MOST_LOOKS = 20
"""Looks at one audit at most: enough to draw a curve, few enough to cost little beside the questions themselves."""


class Heard:
    """Reads growing replies: a channel that has heard nothing new says nothing new, and is not read again."""

    def __init__(self, probes: Sequence[Probe]) -> None:
        self._probes = probes
        self._read: dict[str, tuple[int, Evidence]] = {}

    def evidence(self, replies: Sequence[Reply]) -> list[Evidence]:
        """The evidence of every probe; `replies` must begin with those of the call before."""
        for probe in self._probes:
            own = [reply for reply in replies if reply.ask.probe in probe.reads]
            if probe.name not in self._read or self._read[probe.name][0] != len(own):
                self._read[probe.name] = (len(own), probe.read(own))
        return [self._read[probe.name][1] for probe in self._probes]


def accumulated(probes: Sequence[Probe], replies: Sequence[Reply], claim: Claim | None = None) -> list[dict[str, Any]]:
    """Looks {requests, log_e}: after that many questions, the natural log of this audit's own e-value against the claim."""
    if not replies:
        return []
    each = -(-len(replies) // MOST_LOOKS)
    looks = sorted({*range(each, len(replies), each), len(replies)})
    heard = Heard([probe for probe in probes if probe.block is not Block.SURFACE])
    found = []
    for n in looks:
        mixed = mixture(tell(probes, replies[:n], claim), [reply.ask.key for reply in replies[:n]])
        found.append({"requests": n, "log_e": evidence_against(heard.evidence(replies[:n]), mixed)})
    return found
