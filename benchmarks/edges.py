"""`python -m benchmarks edges`: how many wrong vocabularies the one long streamed echo of an audit excludes, at one token a chunk and when
a random 10 % of the chunk edges survive a gateway's merging. Stand-in endpoint: it copies perfectly and streams the tokens of a second
implementation. `--limit` is the number of echoes per true vocabulary (100 is the published figure)."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist, fmean, stdev
from typing import Any

from benchmarks.second import second
from benchmarks.simulated import token_pieces
from probes import echo
from probes.echo import Echo
from probes.plan import Plan
from probes.probe import Ask, Chunk, Reply
from probes.stream import StreamProbe, _boundaries

ECHOES = 100
FIRST = 1000
"""Added to the seed: the generator was made on seeds below 1000 and is measured on later ones."""
ARMS = {"one token a chunk": 1.0, "10 % of edges survive": 0.1}
"""Arm -> probability with which each inner chunk edge survives, independently."""
APART = 60
"""Echoes of other seeds over which two vocabularies must differ somewhere to count as distinguishable."""
FAR = 1_000_000
"""Added to the seed for those other echoes."""


@dataclass(frozen=True, slots=True)
class Shares:
    """Share of the wrong, distinguishable vocabularies that each echo of one true vocabulary excludes, and which remain how often."""

    excluded: tuple[float, ...]
    kept: dict[str, int]
    edges: float
    """Mean inner chunk edges per echo."""
    own_excluded: int
    """Echoes with an edge that is none of the true vocabulary's own; any would be a wrong exclusion."""


def run(data: Path | None = None, seed: int = 0, limit: int | None = None) -> dict[str, Any]:
    """Stream `limit` echoes (default 40) per true vocabulary and arm, and test every other vocabulary on each."""
    n = limit or ECHOES
    names = echo.bounded_vocabularies()
    true = [name for name in names if (other := second(name)) is not None and other.encode is not None]
    together = _indistinguishable(names, _asks(seed + FAR, min(APART, 3 * n)))
    asks = _asks(seed + FIRST, n)
    arms: dict[str, Any] = {}
    for arm, keep in ARMS.items():
        rows = {name: _shares(name, [other for other in names if other not in together[name]], asks, keep, seed) for name in true}
        every = [share for row in rows.values() for share in row.excluded]
        # Echoes of one text under several true vocabularies are no independent draws: the interval is over texts.
        by_text = [fmean(shares) for shares in zip(*(row.excluded for row in rows.values()), strict=True)]
        half = NormalDist().inv_cdf(0.975) * stdev(by_text) / len(by_text) ** 0.5 if len(by_text) > 1 else 0.0
        arms[arm] = {
            "echoes": len(every),
            "mean_excluded": round(fmean(every), 4),
            "interval_95": [round(max(0.0, fmean(by_text) - half), 4), round(min(1.0, fmean(by_text) + half), 4)],
            "edges_per_echo": round(fmean(row.edges for row in rows.values()), 1),
            "per_vocabulary": {
                name: {"excluded": round(fmean(row.excluded), 4), "hardest": max(row.kept, key=lambda other: row.kept[other], default="")}
                for name, row in sorted(rows.items(), key=lambda item: fmean(item[1].excluded))
            },
            "own_vocabulary_excluded": sum(row.own_excluded for row in rows.values()),
        }
    return {
        "texts": len(asks),
        "characters": round(fmean(len(ask.payload) for ask in asks), 1),
        "vocabularies": len(names),
        "true_vocabularies": len(true),
        "indistinguishable": {name: sorted(others - {name}) for name, others in together.items() if len(others) > 1},
        "arms": arms,
    }


def _asks(seed: int, n: int) -> list[Ask]:
    """The long echoes that audits of `n` successive seeds send, as they send them."""
    return [ask for i in range(n) for ask in StreamProbe(Plan(seed=seed + i, claim=None, long_echo=True)).next_round([])]


def _indistinguishable(names: tuple[str, ...], asks: list[Ask]) -> dict[str, set[str]]:
    """Per vocabulary, those (itself included) whose token edges agree with its own on the strings of all `asks`."""
    edges = {name: [_boundaries(name, Echo(ask.payload, 0, "", len(ask.payload), ())) for ask in asks] for name in names}
    return {name: {other for other in names if edges[other] == edges[name]} for name in names}


def _shares(name: str, wrong: list[str], asks: list[Ask], keep: float, seed: int) -> Shares:
    excluded, kept, edges, own_excluded = [], dict[str, int](), [], 0
    for i, ask in enumerate(asks):
        copy = echo.align(_reply(name, ask, keep, random.Random(f"{seed}/{i}/{name}/{keep}")), ask.max_tokens, cut=False)
        assert isinstance(copy, Echo), copy
        seen = frozenset(copy.edges)
        edges.append(len(seen))
        own_excluded += not seen <= _boundaries(name, copy)
        left = [other for other in wrong if seen <= _boundaries(other, copy)]
        for other in left:
            kept[other] = kept.get(other, 0) + 1
        excluded.append(1.0 - len(left) / len(wrong))
    return Shares(tuple(excluded), kept, fmean(edges), own_excluded)


def _reply(name: str, ask: Ask, keep: float, rng: random.Random) -> Reply:
    """The streamed reply of a model of vocabulary `name`: the whole copy, or what the token limit leaves of it."""
    pieces = token_pieces(name, ask.payload, ask.max_tokens)
    merged = list(pieces[:1])
    for piece in pieces[1:]:
        if rng.random() < keep:
            merged.append(piece)
        else:
            merged[-1] += piece
    text = "".join(merged)
    finish = "stop" if text == ask.payload else "length"
    return Reply(ask, status=200, text=text, finish=finish, chunks=tuple(Chunk(piece, 0.0) for piece in merged))


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    lines = [
        f"{result['texts']} strings of {result['characters']} characters under each of {result['true_vocabularies']} true vocabularies, "
        f"against the {result['vocabularies']} whose token boundaries are known, less those that split all strings alike.",
        "",
        "| chunks | edges per echo | wrong vocabularies excluded by one echo | 95 % interval | worst true vocabulary | own excluded |",
        "|---|---|---|---|---|---|",
    ]
    for arm, row in result["arms"].items():
        name, worst = next(iter(row["per_vocabulary"].items()))
        lines.append(
            f"| {arm} | {row['edges_per_echo']} | {100 * row['mean_excluded']:.1f} % | "
            f"{100 * row['interval_95'][0]:.1f}–{100 * row['interval_95'][1]:.1f} % | "
            f"{name} {100 * worst['excluded']:.1f} % (hardest against {worst['hardest'] or 'none'}) | {row['own_vocabulary_excluded']} |"
        )
    return "\n".join(lines)
