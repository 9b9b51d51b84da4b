"""Pictures of the conclusion: who it may be, how the evidence grew, what share another backend may have, and when it changed.

Takes the report's data, gives figures; a part that the report does not hold gives none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from verifier.report.plots import Figure, Key, Mark, Scale, Table, circle, fitted, label, line, number, path, raised, rect, ticks, weight
from verifier.report.texts import Texts

Data = Mapping[str, Any]
_LEFT, _RIGHT = 122.0, 388.0
_STEP = 22.0
_LISTED = 6
"""Candidates drawn by name; the table holds all that the report lists, and the rest is one bar."""
_AHEAD = 1.05
"""How much likelier than the second the first has to be to be coloured as the likeliest; models that share a tokenizer tie."""
_LEAST = 0.01
"""Posterior below which a candidate is drawn only where nothing is larger."""
_LN10 = math.log(10.0)
_LOW_E, _HIGH_E = -6.0, 12.0
"""Powers of ten of the e-value that are drawn at most; what lies beyond is said in the table."""


def posteriors(data: Data, t: Texts) -> list[Figure]:
    """Vocabularies, and models or families, each with the unknown."""
    verdict, claim, figures = data["verdict"], data["claim"], []
    vocabularies = [(str(each["family"]), float(each["posterior"])) for each in verdict["tokenizer"]]
    if vocabularies:
        about = t("plot.posterior.tokenizer.about", name=vocabularies[0][0], p=_chance(vocabularies[0][1]))
        figures.append(_bars("tokenizer", about, vocabularies, None, claim["tokenizer"], t))
    candidates = [(str(each["candidate"]), float(each["posterior"])) for each in verdict["attribution"]]
    if candidates:
        claimed = claim["model"] if claim["model"] in dict(candidates) else claim["family"]
        figures.append(
            _bars("attribution", _leaders(candidates, float(verdict["unknown"]), t), candidates, float(verdict["unknown"]), claimed, t)
        )
    return figures


def _bars(name: str, about: str, ranked: Sequence[tuple[str, float]], unknown: float | None, claimed: str | None, t: Texts) -> Figure:
    """The likeliest candidates, the claim wherever it stands, all others in one bar, and the unknown where its share is known."""
    listed = dict(ranked)
    drawn = [who for who, p in ranked if p >= _LEAST][:_LISTED] or [ranked[0][0]]
    if claimed is not None and claimed not in drawn:
        drawn.append(claimed)
    rest = max(0.0, 1.0 - (unknown or 0.0) - math.fsum(listed.get(who, 0.0) for who in drawn))
    first = ranked[0][0] if len(ranked) == 1 or ranked[0][1] > _AHEAD * ranked[1][1] else None
    rows = [
        (
            who,
            listed.get(who, ranked[-1][1]),
            _share(who, listed, ranked[-1][1]),
            "claim" if who == claimed else "best" if who == first else "other",
        )
        for who in drawn
    ]
    if unknown is None:
        rows.append((t("plot.posterior.rest_or_unknown"), rest, _chance(rest), "unknown"))
    else:
        rows.append((t("plot.posterior.rest"), rest, _chance(rest), "other"))
        rows.append((t("plot.posterior.unknown"), unknown, _chance(unknown), "unknown"))
    scale = Scale(0.0, 1.0, _LEFT, _RIGHT - 68)
    marks: list[Mark] = []
    for i, (who, p, text, kind) in enumerate(rows):
        y = 6 + _STEP * i
        marks.append(label(_LEFT - 8, y + 13, fitted(who, _LEFT - 10), "end", "label strong" if kind in ("claim", "best") else "label"))
        marks.append(rect("rail", _LEFT, y + 3, scale(1.0) - _LEFT, _STEP - 8))
        marks.append(rect(f"bar {kind}", _LEFT, y + 3, scale(p) - _LEFT, _STEP - 8))
        marks.append(label(_RIGHT, y + 13, text, "end"))
    legend = [Key("bar claim", "bar", t("plot.claim", name=claimed))] if claimed is not None else []
    if any(kind == "best" for _, _, _, kind in rows):
        legend.append(Key("bar best", "bar", t("plot.posterior.first", name=drawn[0])))
    legend.append(Key("bar unknown", "bar", t("plot.posterior.unknown_about")))
    others = [(who, _chance(p)) for who, p in ranked if who not in drawn]
    return Figure(
        id=f"posterior-{name}",
        title=t(f"plot.posterior.{name}.title"),
        description=about,
        height=10 + _STEP * len(rows),
        marks=tuple(marks),
        table=Table((t("plot.posterior.candidate"), t("plot.posterior.p")), (*((who, text) for who, _, text, _ in rows), *others)),
        legend=tuple(legend),
        note=t("plot.posterior.note"),
    )


def _share(who: str, listed: Mapping[str, float], last: float) -> str:
    """A candidate's probability; one that the report does not list is at most as likely as the last that it lists."""
    if who in listed:
        return _chance(listed[who])
    return _chance(last) if _chance(last).startswith("<") else f"≤\u00a0{_chance(last)}"


def _chance(p: float) -> str:
    """A posterior as a percentage that never reads as certainty: 0 and 1 are rounded ones."""
    return percent(min(1.0 - 1e-6, max(1e-6, p)))


def _leaders(ranked: Sequence[tuple[str, float]], unknown: float, t: Texts) -> str:
    """Who is likeliest: one candidate, those that tie because they share their evidence, or none that is known."""
    if unknown > ranked[0][1]:
        return t("plot.posterior.attribution.open", p=_chance(unknown))
    tied = [(who, p) for who, p in ranked if p * _AHEAD >= ranked[0][1]]
    more = len(tied) - _LISTED
    names = ", ".join(who for who, _ in tied[:_LISTED]) + (f", {t('page.more_questions', n=more)}" if more > 0 else "")
    return t("plot.posterior.attribution.about", names=names, p=_chance(math.fsum(p for _, p in tied)))


def accumulation(data: Data, t: Texts) -> list[Figure]:
    """The e-value after each look, with the line at 1/alpha where an accusation begins to be possible."""
    looks = [(float(look["requests"]), float(look["log_e"]) / _LN10) for look in data.get("progress") or []]
    compared = bool(data.get("reference")) and data["claim"]["model"] is None
    if not looks or (data["claim"]["model"] is None and not compared):
        return []  # without a claim nothing is tested
    of = "plot.difference" if compared else "plot.progress"
    needed, stop = number(1.0 / data["verdict"]["alpha"]), math.log10(1.0 / data["verdict"]["alpha"])
    values = [min(_HIGH_E, max(_LOW_E, e)) for _, e in looks]
    low, high = min(-1.0, *values), max(stop + 1.0, *values)
    top, bottom, left = 12.0, 190.0, 54.0
    across, down = Scale(0.0, looks[-1][0], left, _RIGHT), Scale(low, high, bottom, top)
    marks = [rect("beyond", left, top, _RIGHT - left, down(stop) - top)]
    for value in ticks(low, high, 6):
        marks.append(line("grid", left, down(value), _RIGHT, down(value)))
        marks.append(label(left - 7, down(value) + 4, _power(value), "end"))
    marks += [label(across(value), bottom + 16, number(value), "middle") for value in ticks(0.0, looks[-1][0]) if value == int(value)]
    marks.append(line("even", left, down(0.0), _RIGHT, down(0.0)))
    marks.append(line("stop", left, down(stop), _RIGHT, down(stop)))
    steps = [(across(0.0), down(0.0))]
    for (requests, _), value in zip(looks, values, strict=True):
        steps += [(across(requests), steps[-1][1]), (across(requests), down(value))]
    marks.append(path("steps", steps))
    marks += [circle("measured", across(requests), down(value), 2.6) for (requests, _), value in zip(looks, values, strict=True)]
    marks.append(label(left + 6, down(stop) - 6, t(f"{of}.stop", e=needed), "start", "label strong halo"))
    marks.append(label((left + _RIGHT) / 2, bottom + 33, t("plot.progress.axis"), "middle", "axis"))
    return [
        Figure(
            id="progress",
            title=t("plot.progress.title"),
            description=t(f"{of}.about", requests=number(looks[-1][0]), e=_e_value(looks[-1][1]), stop=needed),
            height=bottom + 40,
            marks=tuple(marks),
            table=Table(
                (t("plot.progress.axis"), t(f"{of}.e")),
                tuple((number(requests), _e_value(e)) for requests, e in looks),
            ),
            legend=(Key("steps", "line", t(f"{of}.e")), Key("stop", "line", t("plot.progress.line"))),
            note=t(f"{of}.note"),
        )
    ]


def mixture(data: Data, t: Texts) -> list[Figure]:
    """The share of a second backend, with its interval."""
    found = data.get("mixture")
    if not found:
        return []
    share, low, high = (float(found[name]) for name in ("share", "low", "high"))
    scale = Scale(0.0, 1.0, 24.0, 376.0)
    marks = [line("track", scale(0.0), 30, scale(1.0), 30)]
    for value in (0.0, 0.25, 0.5, 0.75, 1.0):
        marks += [line("grid", scale(value), 20, scale(value), 40), label(scale(value), 58, percent(value), "middle")]
    marks += [rect("bar best", scale(low), 24, scale(high) - scale(low), 12), circle("measured", scale(share), 30, 4.5)]
    return [
        Figure(
            id="mixture",
            title=t("plot.mixture.title"),
            description=t("plot.mixture.about", share=percent(share), low=percent(low), high=percent(high)),
            height=66,
            marks=tuple(marks),
            table=Table(
                (t("plot.mixture.share"), t("plot.mixture.low"), t("plot.mixture.high")), ((percent(share), percent(low), percent(high)),)
            ),
            legend=(Key("measured", "dot", t("plot.mixture.share")), Key("bar best", "bar", t("plot.mixture.interval"))),
        )
    ]


def timeline(data: Data, t: Texts) -> list[Figure]:
    """The audit as a line of requests, with the places where the backend changed."""
    switches = data.get("switches") or []
    if not switches:
        return []
    places = [_place(switch["at"]) for switch in switches]
    end = max([float(data["cost"]["requests"]), *places, 1.0])
    scale = Scale(0.0, end, 24.0, 376.0)
    marks: list[Mark] = [line("track", scale(0.0), 56, scale(end), 56), label(24, 78, "0"), label(376, 78, number(end), "end")]
    for i, (switch, place) in enumerate(zip(switches, places, strict=True)):
        marks += [line("stop", scale(place), 34, scale(place), 64), circle("measured", scale(place), 56, 4.5)]
        change, anchor = fitted(f"{switch['from']} → {switch['to']}", 200), "start" if scale(place) < 200 else "end"
        marks.append(label(scale(place), 28 if i % 2 == 0 else 14, change, anchor, "label strong"))
    marks.append(label(200, 78, t("plot.progress.axis"), "middle", "axis"))
    return [
        Figure(
            id="timeline",
            title=t("plot.timeline.title"),
            description=t("plot.timeline.about", n=len(switches)),
            height=84,
            marks=tuple(marks),
            table=Table(
                (t("plot.timeline.at"), t("plot.timeline.from"), t("plot.timeline.to"), t("plot.timeline.confidence")),
                tuple((str(s["at"]), str(s["from"]), str(s["to"]), str(s["confidence"])) for s in switches),
            ),
        )
    ]


def percent(p: float) -> str:
    """A probability or share as a percentage; small ones are not rounded to nothing, and nearly sure is not sure."""
    if 0.0 < p < 0.001:
        return "<\u00a00.1\u00a0%"
    if 0.999 < p < 1.0:
        return ">\u00a099.9\u00a0%"
    return f"{100.0 * p:.1f}".removesuffix(".0") + "\u00a0%"


def _power(value: float) -> str:
    """A power of ten on the scale of e-values."""
    return f"10{raised(round(value))}" if abs(value) > 3 else f"{10.0**value:,.10g}"


def _e_value(log10_e: float) -> str:
    return weight(10.0 ** min(log10_e, 300.0))


def _place(at: object) -> float:
    return float(at) if isinstance(at, int | float) else 0.0
