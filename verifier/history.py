"""When did the backend change? Change points inside an audit, and over the audits of one endpoint.

`switches` takes the tables of verifier/telling.py and gives the questions at which another vocabulary took over; `changes` takes what the
audits of one endpoint found, oldest first, and gives those at which another vocabulary or model answered. Pure; neither accuses.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

import numpy as np

from probes.readings import UNKNOWN
from verifier.telling import BOUND, Array, Counts, Telling, levels, log_fit

MOST_BACKENDS = 4
"""Backends that are told apart in one audit."""
PLACES = 3
"""Constants of a vocabulary that are tried as a backend's chat template."""
BACKEND_PRICE = 10.0
"""Log likelihood that a further backend must add: it is chosen among some two hundred pairs of a vocabulary and a constant."""
RECOUNTED_PRICE = 3.0
"""Log likelihood that a backend must add whose usage another vocabulary counts: most count their own."""
SWEEPS = 5
"""Times that the choice of backends is gone through again."""
LEAST_SEGMENT = 4
"""Replies that tell, below which a stretch between two switches is taken for chance."""
TELLING = 1.0
"""Log likelihood ratio from which a reply tells two backends apart."""
SURE = 0.999
"""Most that the confidence in a switch may be: the models of single replies are not exact to more."""


@dataclass(frozen=True, slots=True)
class Switch:
    """One change of backend."""

    at: int
    """Number of the question, from 1, at which the other backend had taken over: the middle between the last reply that tells the one
    and the first that tells the other."""
    before: str
    after: str
    confidence: float
    """That it is a change, and not chance or a router that mixes throughout: a posterior at even odds, at most SURE."""
    uncertain: int
    """Questions between the two replies that bracket the change."""


@dataclass(frozen=True, slots=True)
class _Backend:
    name: str
    logs: Array
    """Log likelihood of every reply."""
    price: float = 0.0


def switches(told: Telling | None) -> tuple[Switch, ...]:
    """The changes of backend inside an audit, in order; empty where one backend, or a mixture throughout, explains the replies as well."""
    if told is None:
        return ()
    backends = _backends(told)
    if len(backends) < 2:
        return ()
    logs = np.stack([backend.logs for backend in backends])
    path = _path(logs)
    cost = 2.0 * math.log(logs.shape[1])
    score = float(logs[path, np.arange(len(path))].sum()) - cost * int((np.diff(path) != 0).sum())
    if score <= _mixed(logs):
        return ()
    return tuple(_switches([backend.name for backend in backends], logs, path, cost))


def _backends(told: Telling) -> list[_Backend]:
    """The few backends that the replies need: each the one that explains most beside the others, until a further one adds too little."""
    candidates = _candidates(told)
    logs = np.stack([each.logs for each in candidates])
    price = np.array([each.price for each in candidates])
    chosen: list[int] = []
    total = -math.inf
    while len(chosen) < MOST_BACKENDS:
        trial, score = _refined([*chosen, -1], logs, price)
        if chosen and score - total < BACKEND_PRICE:
            break
        chosen, total = trial, score
    return [candidates[i] for i in chosen]


def _refined(chosen: Sequence[int], logs: Array, price: Array) -> tuple[list[int], float]:
    """The choice with its last place filled, then each place filled anew while that explains more; and what it explains."""
    kept, total = list(chosen), -math.inf
    for _ in range(SWEEPS):
        before = total
        for place in reversed(range(len(kept))):
            rest = [i for other, i in enumerate(kept) if other != place]
            ceiling = logs[rest].max(axis=0) if rest else np.full(logs.shape[1], -math.inf)
            scores = np.round(np.maximum(ceiling, logs).sum(axis=1) - price, 6)
            kept[place] = int(scores.argmax())
            total = float(scores.max()) - float(price[rest].sum())
        if total - before < 1.0:
            break
    return kept, total


def _candidates(told: Telling) -> list[_Backend]:
    """Every vocabulary that may write, with every vocabulary and constant that may count; of equals the claimed one comes first."""
    writers = sorted(range(len(told.names) + 1), key=lambda v: (v == len(told.names) or told.names[v] != told.claimed, v))
    text = _text(told)
    if told.counts is None:
        return [_Backend(_name(told, v), text[:, v]) for v in writers]
    counters = {name: _counting(told, told.counts, name) for name in told.names}
    recounts = [logs for name in told.names if name in told.allowed for logs in counters[name]]
    anything = _whole(told, told.counts, np.full(len(told.counts.places), -BOUND))
    found = []
    for v in writers:
        own = counters[told.names[v]] if v < len(told.names) else []
        found += [_Backend(_name(told, v), text[:, v] + counted) for counted in own]
        found += [_Backend(_name(told, v), text[:, v] + counted, RECOUNTED_PRICE) for counted in (*recounts, anything)]
    return found


def _counting(told: Telling, counts: Counts, name: str) -> list[Array]:
    column = told.names.index(name)
    placed = levels(counts.residuals[:, column], PLACES)
    return [_whole(told, counts, np.maximum(log_fit(counts, column, level), -BOUND)) for level in placed]


def _whole(told: Telling, counts: Counts, logs: Array) -> Array:
    whole = np.zeros(told.replies)
    whole[counts.places] = logs
    return whole


def _text(told: Telling) -> Array:
    """(replies, vocabularies and the unknown one): channels that read the same reply average."""
    total = np.zeros((told.replies, len(told.names) + 1))
    weight = np.zeros((told.replies, 1))
    for places, _, logs in told.text.values():
        total[places] += logs
        weight[places] += 1.0
    mean: Array = total / np.maximum(weight, 1.0)
    return mean


def _name(told: Telling, v: int) -> str:
    return told.names[v] if v < len(told.names) else UNKNOWN


def _path(logs: Array) -> np.ndarray:
    """The likeliest backend of every reply where a change costs twice the log of the number of replies (Viterbi)."""
    kinds, n = logs.shape
    cost = 2.0 * math.log(n)
    score = logs[:, 0].copy()
    came = np.zeros((kinds, n), dtype=np.int64)
    for i in range(1, n):
        best = int(score.argmax())
        stay = score >= score[best] - cost
        came[:, i] = np.where(stay, np.arange(kinds), best)
        score = np.where(stay, score, score[best] - cost) + logs[:, i]
    path = np.zeros(n, dtype=np.int64)
    path[-1] = int(score.argmax())
    for i in range(n - 1, 0, -1):
        path[i - 1] = came[path[i], i]
    return path


def _mixed(logs: Array) -> float:
    """Log likelihood of a router that mixes the backends throughout, its shares the likeliest (found by EM), at their price."""
    kinds, n = logs.shape
    shares = np.full(kinds, 1.0 / kinds)
    total = 0.0
    for _ in range(50):
        weighted = np.log(np.maximum(shares, 1e-12))[:, None] + logs
        each = np.logaddexp.reduce(weighted, axis=0)
        shares, total = np.exp(weighted - each).mean(axis=1), float(each.sum())
    return total - float(0.5 * (kinds - 1) * math.log(n))


def _switches(names: Sequence[str], logs: Array, path: np.ndarray, cost: float) -> list[Switch]:
    """The changes along a path between backends of different names, each bracketed by replies that tell the two apart."""
    stretches = _stretches(names, logs, path)
    found = []
    for (a, start, end), (b, _, last) in pairwise(stretches):
        apart = logs[b, start:last] - logs[a, start:last]
        known_a = np.flatnonzero(apart[: end - start] < -TELLING)
        known_b = np.flatnonzero(apart[end - start :] > TELLING)
        low = start + (int(known_a[-1]) + 1 if len(known_a) else 0)
        high = end + (int(known_b[0]) if len(known_b) else 0)
        gain = min(float(np.abs(apart[known_a].sum())), float(apart[end - start :][known_b].sum())) - cost
        confidence = min(SURE, 1.0 / (1.0 + math.exp(-max(-50.0, min(50.0, gain)))))
        found.append(Switch((low + high) // 2 + 1, names[a], names[b], confidence, high - low))
    return found


def _stretches(names: Sequence[str], logs: Array, path: np.ndarray) -> list[tuple[int, int, int]]:
    """(backend, first place, place after the last) of every stretch, neighbours of one name joined, those that tell too little left out."""
    bounds = [0, *(np.flatnonzero(np.diff(path)) + 1).tolist(), len(path)]
    raw = [(int(path[a]), a, b) for a, b in pairwise(bounds)]
    kept: list[tuple[int, int, int]] = []
    for kind, a, b in raw:
        rivals = [k for k in range(len(names)) if names[k] != names[kind]]
        telling = int((logs[kind, a:b] - logs[rivals, a:b].max(axis=0) > TELLING).sum()) if rivals else b - a
        if telling < LEAST_SEGMENT and kept:
            kept[-1] = (kept[-1][0], kept[-1][1], b)
        elif kept and names[kept[-1][0]] == names[kind]:
            kept[-1] = (kept[-1][0], kept[-1][1], b)
        else:
            kept.append((kind, a, b))
    return kept


NAMED = 0.95
"""Posterior from which an audit has named what answers (verifier/decide.SURE)."""


@dataclass(frozen=True, slots=True)
class Change:
    """Another thing answers than in the audits before."""

    audit: str
    """Id of the audit that shows it first."""
    at: datetime
    """When that audit ended: the change lies between it and the one before that named what answers."""
    before: str
    after: str


def changes(audits: Sequence[tuple[str, datetime, Mapping[str, Any]]]) -> tuple[Change, ...]:
    """The changes over (id, when it ended, `verdict` of report.json) of one endpoint's audits, oldest first.

    Vocabularies are compared with vocabularies and models with models, each with the last audit that named one: an audit that named
    nothing is no change, and neither is one that merely saw less closely.
    """
    found = []
    last: dict[str, str] = {}
    for audit, at, verdict in audits:
        named = {
            level: str(rows[0][name])
            for level, name in (("attribution", "candidate"), ("tokenizer", "family"))
            if (rows := verdict.get(level)) and rows[0]["posterior"] >= NAMED
        }
        if turned := [level for level in named if level in last and last[level] != named[level]]:
            found.append(Change(audit, at, last[turned[0]], named[turned[0]]))
        last |= named
    return tuple(found)
