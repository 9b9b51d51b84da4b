"""In which order an audit's questions go out: the cheapest decisions first, then all that is left, shuffled like cards.

Every probe opens with what usually decides alone, in the suite's order. What probes ask beyond is dealt from one deck, so that consecutive
questions look like ordinary mixed traffic and those that tell a tokenizer are spread over the whole audit, where they date a change of
backend. The order is a function of suite, seed and the replies so far; what is asked stays each probe's own.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence

from probes.probe import Ask, Probe, Reply
from probes.suite import Suite

OPENINGS = {"usage": 10, "truncation": 6, "logprobs": 3, "bias": 2}
"""Questions with which a probe opens: two rounds of counts and what the standard suite asks of text, which accuse or clear together. Every
other probe opens with its first round."""
LAST = frozenset({"protocol", "paired"})
"""Probes that are not dealt: one ends with what may crash a server, the other asks two endpoints side by side."""
HAND = 12
"""Questions dealt at once: between hands the audit may stop."""

Replies = Callable[[Probe], Sequence[Reply]]
"""The replies that a probe reads, so far."""


def opening(probe: Probe, asked: int) -> bool:
    """Whether a probe that has `asked` questions out is still opening."""
    return asked < OPENINGS.get(probe.name, 1)


class Deck:
    """The later questions of all probes that are dealt."""

    def __init__(self, probes: Sequence[Probe], suite: Suite, seed: int) -> None:
        self._probes = [probe for probe in probes if probe.name not in LAST]
        self._waiting: dict[str, deque[Ask]] = {probe.name: deque() for probe in self._probes}
        self._suite = suite
        self._rng = random.Random(f"truename/{seed}/deck")

    def deal(self, read_by: Replies, spared: Callable[[Probe], bool]) -> list[Ask]:
        """The next hand, each question drawn among all that are left; empty when nothing is. `spared` probes are asked no more."""
        hand: list[Ask] = []
        while len(hand) < HAND:
            self._probes = [probe for probe in self._probes if not spared(probe)]
            if not self._probes:
                break
            probe = self._rng.choices(self._probes, [self._left(probe, hand, read_by) for probe in self._probes])[0]
            waiting = self._waiting[probe.name]
            if not waiting:
                if any(ask.probe in probe.reads for ask in hand):
                    break  # its next round depends on what is in this hand
                waiting.extend(probe.next_round(read_by(probe)))
            if not waiting:
                self._probes.remove(probe)
                continue
            hand.append(waiting.popleft())
        return hand

    def _left(self, probe: Probe, hand: Sequence[Ask], read_by: Replies) -> int:
        """Cards that a probe still has in the deck: what the suite plans for it, less what was asked."""
        asked = sum(reply.ask.probe == probe.name for reply in read_by(probe)) + sum(ask.probe == probe.name for ask in hand)
        return max(1, self._suite.planned(probe.name) - asked)
