"""Whose marks do the replies carry: header names, id shapes, fingerprint shapes?

Reads every reply of the audit and asks nothing. All of it is trivially forged or dropped, so a matching mark says nothing, and
a mark of another vendor of models is a finding that counts for very little: its e-value is capped and never accuses.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from fingerprints import catalog, surface
from probes.plan import Plan
from probes.probe import Ask, Block, Evidence, Finding, Reply

CAP = math.log(1.5)
"""Largest log e-value of the whole block (ARCHITECTURE, decision rule 2). Foreign marks of a vendor of models stood on fewer than
0.5 % of recorded honest replies, so 1.5 is far below what they would be worth if they could not be forged."""


class SurfaceProbe:
    """Looks for marks of a vendor other than the claimed model's."""

    name = "surface"
    block = Block.SURFACE
    reads: tuple[str, ...] = ("usage", "truncation", "logprobs")
    goal = "Do headers, ids and fingerprints carry the marks of another vendor?"

    def __init__(self, plan: Plan) -> None:
        model = catalog.find(plan.claim.model) if plan.claim is not None else None
        self.vendor = model.vendor if model is not None else None

    def next_round(self, replies: Sequence[Reply]) -> Sequence[Ask]:
        """Nothing."""
        return []

    def read(self, replies: Sequence[Reply]) -> Evidence:
        """Foreign marks over all replies, each kind once."""
        marked = [(reply, found) for reply in replies if reply.ok and (found := _markers(reply))]
        if not marked or self.vendor is None:
            why = "the replies carry no known marks" if self.vendor is not None else "the claimed model's vendor is not known"
            return Evidence(self.name, self.block, tested=False, why_not=why)
        times: Counter[surface.Marker] = Counter()
        keys: dict[surface.Marker, list[str]] = {}
        for reply, found in marked:
            for marker in surface.foreign(found, self.vendor):
                times[marker] += 1
                keys.setdefault(marker, []).append(reply.ask.key)
        findings = []
        for marker, n in times.items():
            kind = "host" if marker.host else "vendor"
            text = f"{n} of {len(replies)} replies carry a mark of the {kind} {marker.owner} ({marker.where} {marker.what})."
            strength = "weak" if marker.host else "moderate"
            findings.append(Finding("foreign-marker", strength, text + " Marks are easily forged or passed on.", tuple(keys[marker])))
        vendors = sorted({marker.owner for marker in times if not marker.host and marker.strength == "strong"})
        return Evidence(
            channel=self.name,
            block=self.block,
            tested=True,
            log_e=CAP if vendors else 0.0,
            best=vendors[0] if vendors else None,
            findings=tuple(findings),
        )


def _markers(reply: Reply) -> tuple[surface.Marker, ...]:
    names = [name for name, _ in reply.headers]
    return surface.markers(headers=names, ids=[reply.id] if reply.id else [], system_fingerprint=reply.system_fingerprint)
