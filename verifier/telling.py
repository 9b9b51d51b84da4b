"""What an audit's replies say one by one: the tables that mixtures and switches are read from.

Takes the probes and the replies of an audit, gives per reply and vocabulary the log likelihood ratio against the most that an allowed
configuration of the claimed model gives that reply. Pure arithmetic; decides nothing, and says nothing where a claim has no vocabulary.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fingerprints import tokenizers
from fingerprints.catalog import Claim
from probes.plan import Plan
from probes.probe import Probe, Reply
from probes.readings import EXACT_PROBE, UNKNOWN, Counted, Reading, TellsEach, counted
from probes.usage import cached_apart

Array = NDArray[np.float64]

BOUND = math.log(1000.0)
"""Largest log likelihood ratio of one reply and channel. No single odd reply reaches 1/alpha after the price of choosing a share."""
OUTLIER = 0.02
"""Probability that a count of the right vocabulary is off its constant, as probes/counts.py has it for whole rounds."""
IN_WIDTH = {0: (1.0,), 1: (0.1, 0.8, 0.1)}
"""Where in the window around its constant a count lies, for another backend: at the ends of a message a sign may join the template."""
MOST_LEVELS = 4
"""Pairs of an allowed counter and a constant that an endpoint may have: with and without a recount, with and without a hidden prompt."""
LEVEL_REPLIES, LEVEL_SHARE = 3, 0.04
"""Least number and share of counted replies that a further pair must explain. Fewer are strays, of which any share is allowed too."""
LEAST_RANGE, MOST_RANGE = 20.0, 400.0
"""Tokens over which counts that no known vocabulary explains are taken to spread, where their observed range is smaller or larger."""
EXPLAINED = 0.7
"""Share of the exact questions that allowed counters and one other vocabulary must explain together before counts say anything: scaled
counts, and those of a vocabulary that is not known, agree with another one on single questions by chance."""
TEXT_CHANNELS = ("truncation", "stream", "logprobs")
COUNTS = EXACT_PROBE


@dataclass(frozen=True, slots=True)
class Counts:
    """The counted replies."""

    places: NDArray[np.int64]
    """Positions in the transcript, from 0."""
    residuals: NDArray[np.int64]
    """(replies, vocabularies)."""
    widths: NDArray[np.int64]
    allowed: NDArray[np.bool_]
    """Whether a pair of an allowed counter and a constant explains the count to the token."""
    near: NDArray[np.bool_]
    """Whether one explains it but for its window."""
    alike: Array
    """Share of the counts that leave the same constant, added over the allowed counters: what system prompts of many lengths make of it."""
    span: float
    exact: NDArray[np.bool_]
    """Questions whose messages begin and end alike, the baselines apart."""


@dataclass(frozen=True, slots=True)
class Telling:
    """All readings of an audit. Ratios are natural logs, within BOUND of 0; 0 where nothing was read."""

    names: tuple[str, ...]
    """Vocabularies, in the order of every table's last axis."""
    claimed: str
    allowed: frozenset[str]
    replies: int
    text: Mapping[str, tuple[NDArray[np.int64], Array, Array]]
    """Per text channel: places, ratios (places, vocabularies) against the null, and log likelihoods relative to the best one, the last
    column an unknown vocabulary's."""
    counts: Counts | None


def tell(probes: Sequence[Probe], replies: Sequence[Reply], claim: Claim | None) -> Telling | None:
    """The readings of an audit; None without a claim whose vocabulary is known."""
    plan = Plan(seed=0, claim=claim)
    claimed = plan.claimed_tokenizer
    if claimed is None:
        return None
    names = tokenizers.names()
    places = {(reply.ask.probe, reply.ask.key): i for i, reply in enumerate(replies)}
    by_key = {key: place for (_, key), place in places.items()}
    text = {}
    for probe in probes:
        if isinstance(probe, TellsEach):
            own = [reply for reply in replies if reply.ask.probe in probe.reads]
            if found := list(probe.readings(own)):
                text[found[0].channel] = _table(found, by_key, names)
    allowed = plan.allowed_counters
    return Telling(names, claimed, frozenset(allowed), len(replies), text, _counts(replies, by_key, names, allowed))


def levels(residuals: NDArray[np.int64], most: int) -> list[int]:
    """The commonest constants of one vocabulary that LEVEL_REPLIES show, the commonest first."""
    common = sorted(Counter(residuals.tolist()).items(), key=lambda item: (-item[1], item[0]))
    return [value for value, times in common if times >= LEVEL_REPLIES][:most]


def log_fit(counts: Counts, column: int, level: int) -> Array:
    """Log probability of every count under one vocabulary with this constant."""
    off = counts.residuals[:, column] - level
    logs = np.full(len(off), math.log(OUTLIER / counts.span))
    for width, shape in IN_WIDTH.items():
        for shift, probability in enumerate(shape, start=-width):
            logs[(counts.widths == width) & (off == shift)] = math.log((1.0 - OUTLIER) * probability)
    return logs


def log_null(counts: Counts) -> Array:
    """The most that an honest endpoint gives every count: an allowed counter and constant, or off them at the rates seen.

    A system prompt may have another length in every request, so constants beyond the usual ones are no strays: any is given what the
    likeliest law of prompt lengths gives it, the share of the counts that show it. A share that holds the count itself is on average no
    smaller than its probability.
    """
    n = len(counts.allowed) + 1.5
    near, stray = (float(counts.near.sum()) + 0.5) / n, (float((~counts.allowed & ~counts.near).sum()) + 0.5) / n
    logs = np.select([counts.allowed, counts.near], [math.log1p(-near - stray), math.log(near / 2.0)], math.log(stray / counts.span))
    most: Array = np.maximum(logs, np.log(np.minimum(counts.alike, 1.0)))
    return most


def _table(found: Sequence[Reading], places: Mapping[str, int], names: tuple[str, ...]) -> tuple[NDArray[np.int64], Array, Array]:
    logs = np.array([[reading.logs.get(name, reading.logs[UNKNOWN]) for name in (*names, UNKNOWN)] for reading in found])
    spoken = np.array([[name in reading.logs for name in names] for reading in found])
    judged = np.array([[reading.null is not None] for reading in found])
    null = np.array([[reading.null or 0.0] for reading in found])
    ratios = np.where(spoken & judged, np.clip(logs[:, :-1] - null, -BOUND, BOUND), 0.0)
    relative = np.maximum(logs - logs.max(axis=1, keepdims=True), -BOUND)
    return np.array([places[reading.key] for reading in found], dtype=np.int64), ratios, relative


def _counts(replies: Sequence[Reply], places: Mapping[str, int], names: tuple[str, ...], allowed: Sequence[str]) -> Counts | None:
    asked = [reply for reply in replies if reply.ask.probe == EXACT_PROBE and reply.ok]
    found: list[Counted] = counted(replies, cached_apart(asked))
    exact = np.array([each.key.startswith(f"{EXACT_PROBE}/") and "/base/" not in each.key for each in found], dtype=np.bool_)
    if not exact.any():
        return None
    residuals = np.array([each.residuals for each in found], dtype=np.int64)
    widths = np.array([each.width for each in found], dtype=np.int64)
    honest = residuals[:, [names.index(name) for name in allowed]]
    allowed_counts, near = _explained(honest, widths)
    alike = (honest[:, None, :] == honest[None, :, :]).mean(axis=1).sum(axis=1)
    span = float(np.clip(np.ptp(residuals[:, names.index(allowed[0])]) + 1.0, LEAST_RANGE, MOST_RANGE))
    at = np.array([places[each.key] for each in found], dtype=np.int64)
    return Counts(at, residuals, widths, allowed_counts, near, alike, span, exact)


def _explained(residuals: NDArray[np.int64], widths: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which counts the allowed counters (columns) explain, to the token and but for their window.

    Greedily: the counter and constant that explains most counts to the token, then the one that explains most of the rest, and so on.
    """
    exact = np.zeros(len(residuals), dtype=np.bool_)
    near = np.zeros(len(residuals), dtype=np.bool_)
    least = 1
    for _ in range(MOST_LEVELS):
        options = [(column, level) for column in range(residuals.shape[1]) for level in np.unique(residuals[~exact, column]).tolist()]
        gains = [int(((residuals[:, column] == level) & ~exact).sum()) for column, level in options]
        best = max(range(len(options)), key=lambda i: (gains[i], -i), default=None)
        if best is None or gains[best] < least:
            break
        off = np.abs(residuals[:, options[best][0]] - options[best][1])
        exact |= off == 0
        near |= off <= widths
        least = max(LEVEL_REPLIES, math.ceil(LEVEL_SHARE * len(residuals)))
    return exact, near & ~exact
