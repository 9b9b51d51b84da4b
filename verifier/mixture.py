"""Does a second backend answer some of the questions? An e-value against "every reply is the claimed model's", and the share.

Takes the tables of verifier/telling.py, gives a `Mixture`: the e-value, the other backend's vocabulary, its share with an interval and the
questions that it answered. Every reply is compared with the most that an allowed configuration gives *that* reply, so what a gateway may
honestly do reply by reply stays in the null hypothesis. Pure; it decides no verdict.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from probes.counts import ROUND_BOUND, log_mean_exp
from probes.echo import PRIORITY
from probes.readings import EXACT_PROBE
from verifier.intervals import lower_bound, upper_bound
from verifier.telling import BOUND, COUNTS, EXPLAINED, Array, Telling, levels, log_fit, log_null

SHARES = np.array([0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9])
"""Shares of the other backend over which the bet is spread evenly."""
PLACED = 3
"""Constants of another vocabulary that are tried, the commonest among counts that no allowed counter explains; each at the price of one
among all that counts could show."""
TOLD = 2.5
"""Log likelihood ratio from which a reply is said to be the one or the other backend's: 12 to 1. A count off by one at the window's end,
where the other backend's is exact, is 8 to 1 and tells nothing."""
LEAST_TOLD = 3
"""Replies of each backend below which there is no mixture to speak of."""
TAIL = 0.01
"""Error of each end of the share's interval. Smaller than its 95 % needs: audits stop when they have seen enough, which widens the error
of a fixed interval (benchmark `adversaries`)."""
AGREE = 0.8
"""Share of the replies told by both counts and text in which they must name the same backend; below, the usage is rewritten."""


@dataclass(frozen=True, slots=True)
class Mixture:
    """What the replies say of a second backend, and how much of the evidence each channel holds."""

    log_e: float
    """Within ROUND_BOUND for each round of fresh strings that speaks for a second backend: what one cause says counts once."""
    candidate: str
    """The other backend's vocabulary, where there is one."""
    channels: Mapping[str, float]
    """Log e-value of every channel for `candidate` alone."""
    joint: float
    """Log e-value of all channels together for `candidate` alone: what counts say of replies whose text says otherwise is lost here."""
    rounds: int
    """Independent rounds of fresh strings whose counts are the candidate's and no allowed one's."""
    others: tuple[int, ...]
    """Positions (from 0) of the replies that are the candidate's."""
    claimed: tuple[int, ...]
    """Positions of those that are the claimed model's."""

    @property
    def told(self) -> int:
        """Replies that are told."""
        return len(self.others) + len(self.claimed)

    @property
    def mixed(self) -> bool:
        """Whether both backends have answered."""
        return min(len(self.others), len(self.claimed)) >= LEAST_TOLD

    @property
    def share(self) -> tuple[float, float, float]:
        """(share, low, high) of the candidate among the told replies: exact binomial bounds."""
        k, n = len(self.others), max(self.told, 1)
        return k / n, lower_bound(k, n, TAIL), upper_bound(k, n, TAIL)


def mixture(told: Telling | None, keys: Sequence[str]) -> Mixture | None:
    """The mixture that fits the replies best, whose asks have `keys`; None where nothing was read."""
    if told is None or (not told.text and told.counts is None):
        return None
    counts, placed = _count_ratios(told)
    text = _text_ratios(told)
    others = [v for v, name in enumerate(told.names) if name != told.claimed]
    price = math.log(told.counts.span) if told.counts is not None else 0.0
    by_counts = {v: _log_mixed(counts[v]) - price for v in others if v in counts}
    by_text = {v: _log_mixed(text[:, v]) for v in others} if told.text else {}
    joint = {v: _log_mixed(text[:, v] + counts[v]) - price for v in by_counts} if told.text else {}
    sources = [source for source in (by_counts, by_text, joint) if source]
    if not sources:
        return None
    together = by_text | by_counts | {v: max(value, by_text[v]) for v, value in joint.items()}
    best = max(together, key=lambda v: (together[v], -v))
    channels = {channel: _log_mixed(_at(told, places, ratios[:, best])) for channel, (places, ratios, _) in told.text.items()}
    if best in by_counts:
        channels[COUNTS] = by_counts[best]
    labels = _labels(told, best, placed.get(best))
    bound = len(_rounds(np.flatnonzero(labels > TOLD), keys)) * math.log(ROUND_BOUND)
    return Mixture(
        log_e=min(bound, log_mean_exp([_over_candidates(told, source) for source in sources])),
        candidate=told.names[best],
        channels=channels,
        joint=max(joint.get(best, -math.inf), by_text.get(best, -math.inf)) if told.text else by_counts[best],
        rounds=len(_rounds(np.flatnonzero(counts[best] > TOLD), keys)) if best in counts else 0,
        others=tuple(np.flatnonzero(labels > TOLD).tolist()),
        claimed=tuple(np.flatnonzero(labels < -TOLD).tolist()),
    )


def _log_mixed(ratios: Array) -> float:
    """Log e-value of "each reply is the other's with probability s", averaged over SHARES, for log ratios per reply."""
    kept = ratios[ratios != 0.0]
    each = np.log1p(SHARES[:, None] * np.expm1(kept)[None, :]).sum(axis=1)
    return log_mean_exp(each.tolist())


def _over_candidates(told: Telling, logs: Mapping[int, float]) -> float:
    """Log e-value of a bet spread over all other vocabularies, more on those that are served most often; silent ones bring nothing."""
    weights = {v: PRIORITY.get(name, 1.0) for v, name in enumerate(told.names) if name != told.claimed}
    total = math.log(math.fsum(weights.values()))
    return float(np.logaddexp.reduce([value + math.log(weights[v]) - total for v, value in logs.items()]))


def _at(told: Telling, places: NDArray[np.int64], values: Array) -> Array:
    whole = np.zeros(told.replies)
    whole[places] = values
    return whole


def _text_ratios(told: Telling) -> Array:
    """(replies, vocabularies): cuts and chunk edges of one copy average, tokens of other replies stand alone."""
    total = np.zeros((told.replies, len(told.names)))
    weight = np.zeros(told.replies)
    for places, ratios, _ in told.text.values():
        total[places] += np.exp(ratios)
        weight[places] += 1.0
    mean: Array = np.log(np.where(weight[:, None] > 0, total, 1.0) / np.maximum(weight, 1.0)[:, None])
    return mean


def _count_ratios(told: Telling) -> tuple[dict[int, Array], dict[int, int]]:
    """Per vocabulary outside the allowed counters: its log ratio at every reply with its best constant, and that constant.

    Empty where counts say nothing: where too many of the exact questions are explained neither by allowed counters nor by it.
    """
    if told.counts is None:
        return {}, {}
    null = log_null(told.counts)
    found: dict[int, Array] = {}
    placed: dict[int, int] = {}
    for v, name in enumerate(told.names):
        if name in told.allowed:
            continue
        best = -math.inf
        for level in levels(told.counts.residuals[~told.counts.allowed, v], PLACED):
            fits = told.counts.residuals[:, v] == level
            if (told.counts.allowed | fits)[told.counts.exact].mean() < EXPLAINED:
                continue
            ratios = _at(told, told.counts.places, np.clip(log_fit(told.counts, v, level) - null, -BOUND, BOUND))
            if (value := _log_mixed(ratios)) > best:
                best, found[v], placed[v] = value, ratios, level
    return found, placed


def _labels(told: Telling, other: int, level: int | None) -> Array:
    """Per reply, log of how much likelier it is the other backend's than the claimed model's; 0 where nothing tells.

    Which questions tell must not depend on who answers them, or the share would be off: so counts compare the other vocabulary with the
    one pair of an allowed counter and a constant that the rest shows most, and not with all that an honest endpoint might do.
    """
    text = np.zeros(told.replies)
    weight = np.zeros(told.replies)
    mine = told.names.index(told.claimed)
    for places, _, logs in told.text.values():
        text[places] += logs[:, other] - logs[:, mine]
        weight[places] += 1.0
    text /= np.maximum(weight, 1.0)
    if told.counts is None or level is None:
        return text
    rest = told.counts.residuals[told.counts.residuals[:, other] != level]
    pairs = [
        (int((rest[:, column] == usual).sum()), name == told.claimed, column, usual)
        for column, name in enumerate(told.names)
        if name in told.allowed
        for usual in levels(rest[:, column], 1)
    ]
    if not pairs:
        return text
    _, _, column, usual = max(pairs)
    difference = log_fit(told.counts, other, level) - log_fit(told.counts, column, usual)
    counted = _at(told, told.counts.places, np.clip(difference, -BOUND, BOUND))
    both = (np.abs(text) > TOLD) & (np.abs(counted) > TOLD)
    if both.any() and (np.sign(text) == np.sign(counted))[both].mean() < AGREE:
        return text
    return text + counted


def _rounds(places: NDArray[np.int64], keys: Sequence[str]) -> set[str]:
    """The rounds of fresh strings that these replies belong to: a round of the counting probe, or any one other question."""
    asked = [keys[place] for place in places.tolist()]
    return {key.rpartition("/")[0] if key.startswith(f"{EXACT_PROBE}/") else key for key in asked}
