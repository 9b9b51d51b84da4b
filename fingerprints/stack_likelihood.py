"""How likely one endpoint's counts and streamed pieces are under a vocabulary, with the stack's offset and template as latents.

It takes plain rows and a :class:`fingerprints.stacks.Table` of priors and gives natural log likelihoods. It must never see who answered,
and no single row may be able to decide: every count may also be one that has nothing to do with its text.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

from fingerprints import tokenizers
from fingerprints.stacks import NEW_BASES, NEW_STEPS, UNKNOWN, Shape, Table, Template, new_templates, overhead, shape

FLAVOURS = {"openai": "chat", "anthropic": "messages", "gemini": "generateContent"}
"""Wire names (fingerprints.wire) by the flavour that the table uses; "responses" is called the same in both."""
LOG_BOUND = math.log(1000.0)
"""How far below the best candidate any other is put: all counts of one endpoint share one cause (how it counts), so this channel
is worth at most one observation of a thousand to one."""
DECOUPLED = 0.03
"""Prior that a stack's completion counts follow its texts only roughly or not at all (hidden reasoning that is not reported)."""
INJECTED = 0.1
"""Prior that every prompt holds text of varying length that the sender did not write (search results, a schema)."""
SCALES = tuple(math.exp(step / 20.0) for step in range(-8, 15))
"""Tokens of an unknown tokenizer per o200k token: between 0.67 (as good as the best on any text) and 2.0 (Claude 4.7 on code)."""
UNKNOWN_SPREAD = 0.07
"""Standard deviation of the log ratio of a vocabulary's count to o200k's on one reply of 20 to 500 tokens: 0.02 to 0.12 for twelve
vocabularies on 2,588 recorded replies."""
UNKNOWN_NOISE = (0.6, 0.2, 0.1, 0.04)
"""How far o200k\'s count of a short prompt is from an unknown tokenizer\'s, 0 to 3 tokens; seven known vocabularies on 2,153 recorded
prompts: 0.75, 0.18, 0.05, 0.02. Set wider, because what is not installed is more foreign than what is."""
EDGE_KEPT = (0.03, 0.1, 0.3, 0.6, 0.9, 0.98, 0.998)
"""Share of token boundaries that a stream shows as chunk edges: coalescing gateways keep few, OpenAI and Llama servers nearly all."""
EDGE_ERROR = 0.002
"""Chance that a chunk ends inside a token, per chunk: characters held back over several tokens, rewritten text."""


@dataclass(frozen=True, slots=True)
class Completion:
    """One recorded exchange, reduced to what accounting may look at."""

    text: str
    completion_tokens: int
    """As the endpoint reported it."""
    length: bool = False
    """Generation was cut at the token limit: no end marker was produced, so no offset is counted."""
    tools: bool = False
    """Tools were sent with the request."""
    prompt_tokens: int | None = None
    """As reported; None where the prompt holds anything but the texts of `messages` (tools, schemas, files)."""
    messages: tuple[tuple[str, str], ...] = ()
    """(role, text) of every message sent; roles in any vendor's spelling, "prompt" for a raw prompt without a template."""
    pieces: tuple[str, ...] = ()
    """Streamed deltas (or tokens of a log-probability listing) that make up the text; empty where the reply came whole."""
    flavour: str = ""
    """API flavour that the question was asked in, or any label: rows with the same label share one stack, and one that no recorded
    stack has says no more than that."""


def stack_evidence(name: str, rows: Sequence[Completion], table: Table, family: str | None) -> float:
    """Log likelihood of the counts of rows that share a stack."""
    flavour = FLAVOURS.get(rows[0].flavour, rows[0].flavour)
    known = flavour if any(row["flavour"] == flavour for row in table.offsets) else None
    if name == UNKNOWN:
        return _proportional("o200k", rows) + _prompts("o200k", rows, UNKNOWN_NOISE, table.template_prior(UNKNOWN, known))
    completions = _completions(name, rows, table.noise.get(name, table.noise[""]), table, known, family)
    return completions + _prompts(name, rows, table.noise[""], table.template_prior(name, known, family))


def _completions(
    name: str, rows: Sequence[Completion], noise: Sequence[float], table: Table, flavour: str | None, family: str | None
) -> float:
    beside = [_beside(row.completion_tokens) for row in rows]
    residuals = [row.completion_tokens - count(name, row.text) for row in rows]
    logs = []
    for offset, weight in table.offset_prior(name, flavour, all(row.tools for row in rows), family).items():
        counts = zip(rows, residuals, beside, strict=True)
        logs.append(math.log(weight) + sum(_noise(away - (0 if row.length else offset), noise, other) for row, away, other in counts))
    loose = log_sum((_proportional(name, rows), sum(map(math.log, beside)))) + math.log(DECOUPLED / 2.0)
    return log_sum((math.log1p(-DECOUPLED) + log_sum(logs), loose))


def _prompts(name: str, rows: Sequence[Completion], noise: Sequence[float], prior: Mapping[Template | None, float]) -> float:
    known = [row for row in rows if row.prompt_tokens is not None and row.messages]
    if not known:
        return 0.0
    seen = [(shape(role for role, _ in row.messages), int(row.prompt_tokens or 0) - content(name, row.messages)) for row in known]
    beside = [_beside(int(row.prompt_tokens or 0)) for row in known]
    logs = []
    for template, weight in prior.items():
        each = math.log(weight) - (math.log(NEW_BASES * len(NEW_STEPS)) if template is None else 0.0)
        logs += [each + _framed(one, seen, beside, noise) for one in (new_templates(seen) if template is None else [template])]
    return log_sum((math.log1p(-INJECTED) + log_sum(logs), math.log(INJECTED) + sum(map(math.log, beside))))


def _framed(template: Template, seen: Sequence[tuple[Shape, int]], beside: Sequence[float], noise: Sequence[float]) -> float:
    total = 0.0
    for (form, tokens), other in zip(seen, beside, strict=True):
        expected = overhead(template, form)
        total += math.log(other) if expected is None else _noise(tokens - expected, noise, other)
    return total


def _proportional(name: str, rows: Sequence[Completion]) -> float:
    """Counts that are some constant scale of a vocabulary's, with the spread that vocabularies have among each other: under o200k, a
    tokenizer that is not installed."""
    logs = []
    for scale in SCALES:
        total = 0.0
        for row in rows:
            ratio = math.log(row.completion_tokens / (scale * max(1, count(name, row.text)))) / UNKNOWN_SPREAD
            density = math.exp(-0.5 * ratio * ratio) / (UNKNOWN_SPREAD * math.sqrt(2.0 * math.pi) * row.completion_tokens)
            total += math.log(0.9 * density + 0.1 * _beside(row.completion_tokens))
        logs.append(total)
    return log_sum(logs) - math.log(len(SCALES))


def stream_evidence(rows: Sequence[Completion]) -> dict[str, float]:
    """Log likelihood of where streamed pieces end, per vocabulary, the best at 0 and none below -LOG_BOUND. Each token boundary shows
    with one probability that all rows share. Where a vocabulary's boundaries are not known (Claude, UNKNOWN), a boundary is as likely at
    each place as it is common among the others."""
    streams = [row for row in rows if len(row.pieces) > 1]
    logs = dict.fromkeys((*tokenizers.names(), UNKNOWN), 0.0)
    if not streams:
        return logs
    tallies = [_edge_tally(row.text, row.pieces) for row in streams]
    for name in logs:
        shown: Counter[float] = Counter()
        hidden: Counter[float] = Counter()
        for tally in tallies:
            at, inside = tally.get(name, tally[UNKNOWN])
            shown.update(dict(at))
            hidden.update(dict(inside))
        logs[name] = log_sum(
            sum(n * math.log(kept * chance + EDGE_ERROR) for chance, n in shown.items())
            + sum(n * math.log1p(-kept * chance) for chance, n in hidden.items())
            for kept in EDGE_KEPT
        )
    top = max(logs.values())
    return {name: max(value - top, -LOG_BOUND) for name, value in logs.items()}


Tally = tuple[tuple[tuple[float, int], ...], tuple[tuple[float, int], ...]]
"""(chance of a boundary, places) where a piece ended, and where none did."""


@lru_cache(maxsize=1 << 14)
def _edge_tally(text: str, pieces: tuple[str, ...]) -> dict[str, Tally]:
    """Per vocabulary with known boundaries, and for UNKNOWN: how many places with which chance of a boundary did and did not show one."""
    ends = set(accumulate(len(piece) for piece in pieces)) - {0, len(text)}
    # Where a token ends inside a character, servers hold the character back: pieces end at cuts, not at boundaries of whole characters.
    cuts = {name: tokenizers.vocabulary(name).cuts(text) for name in tokenizers.names()}
    known = {name: set(ends_of) - {0, len(text)} for name, ends_of in cuts.items() if ends_of is not None}
    common = Counter(place for edges in known.values() for place in edges)
    tallies: dict[str, Tally] = {}
    for name, edges in known.items():
        hit = len(ends & edges)
        tallies[name] = ((1.0, hit), (0.0, len(ends) - hit)), ((1.0, len(edges) - hit),)
    at = Counter(common[place] / len(known) for place in ends)
    inside = Counter(n / len(known) for place, n in common.items() if place not in ends)
    tallies[UNKNOWN] = tuple(at.items()), tuple(inside.items())
    return tallies


@lru_cache(maxsize=1 << 17)
def count(vocabulary: str, text: str) -> int:
    """Tokens of a text, remembered: the same rows are scored under many hypotheses."""
    return tokenizers.vocabulary(vocabulary).count(text)


def content(vocabulary: str, messages: Sequence[tuple[str, str]]) -> int:
    return sum(count(vocabulary, text) for _, text in messages)


def _beside(tokens: int) -> float:
    """Probability of one particular count where nothing is known about it: log-uniform over about a factor of e squared."""
    return 0.5 / (max(tokens, 0) + 20.0)


def _noise(difference: int, noise: Sequence[float], beside: float) -> float:
    """Log probability that a count is off by this much. Replies are not always tokenised the way their text would be."""
    away = abs(difference)
    near = 0.0 if away >= len(noise) else noise[away] * (0.5 if away else 1.0)
    return math.log(near + max(1.0 - sum(noise), 1e-4) * beside)


def log_sum(values: Iterable[float]) -> float:
    terms = list(values)
    peak = max(terms, default=-math.inf)
    return peak if peak == -math.inf else peak + math.log(sum(math.exp(term - peak) for term in terms))
