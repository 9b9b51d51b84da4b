"""Where does a repeated string stop when the endpoint may only write k tokens?

The cut is made by the engine that generates, so it speaks of the vocabulary of the *model*, whatever the gateway reports as
usage; forging it means generating more and cutting again with another tokenizer. Strings that the model does not copy are
"not tested". Claude's boundaries are unknown, its counts are not: a copy of k tokens counts k (counted_cuts).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from functools import cached_property, lru_cache

from fingerprints import tokenizers
from probes import counted_cuts, echo
from probes.counts import log_mean_exp
from probes.plan import Plan
from probes.probe import JSON, Ask, Block, Evidence, Finding, Reply
from probes.readings import UNKNOWN, Reading

INSTRUCTION = "Repeat this string exactly: "
OFF_CANONICAL = 0.08
"""Probability that a copy ends elsewhere: models sometimes write a word in other pieces than their tokenizer would."""
SHIFTS = {0: 0.85, -1: 0.1, 1: 0.05}
"""Tokens by which an engine's limit may be off, and how likely: a hidden first token, an end token that counts or not. One
engine does the same every time, so a shift is shared by all copies of an audit."""
LEAST_LIMITS = (0, 16)
"""Tokens that a gateway may raise every limit to, because its upstream takes no less (OpenAI's Responses API: 16)."""
STRIPPED = ("", " ", "\n")
"""What a server may have stripped from the front of every copy."""
TRIAL_BOUND = 30.0
"""Largest likelihood ratio that one string may contribute."""
ENOUGH = 2
"""Copies needed before the channel counts as tested."""
ROUND = 6
"""Strings asked at once: all of quick and standard. Further ones are spread over the audit, where they date a change of backend."""
PLANNED = (6, 24)
"""Strings planned ahead at first: planning a string takes up to a tenth of a second, and most audits end before the later ones."""


class TruncationProbe:
    """Compares the ends of truncated copies with every vocabulary whose boundaries are known."""

    name = "truncation"
    block = Block.TOKENIZER
    reads: tuple[str, ...] = ("truncation",)
    goal = "Where do copies of fresh strings stop at a token limit? The engine that writes makes this cut, not the gateway."

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Loaded on first use: an endpoint that never answers must not wait for every vocabulary (3 s) before it is asked."""
        return echo.bounded_vocabularies()

    def next_round(self, replies: Sequence[Reply]) -> Sequence[Ask]:
        """The next ROUND strings. Those that no model copies still tell by their prompt counts which backend answers."""
        mine = [reply for reply in replies if reply.ask.probe == self.name]
        if len(mine) >= self.plan.echo_trials:
            return []
        ahead = next((n for n in PLANNED if n >= len(mine) + ROUND), self.plan.echo_trials)
        planned = echo.plan_cuts(self.plan.seed, min(ahead, self.plan.echo_trials), self.names, self.plan.least_limit)
        asks = [
            Ask(
                probe=self.name,
                key=f"truncation/{i}",
                messages=(("user", INSTRUCTION + cut.text),),
                max_tokens=cut.tokens,
                payload=cut.text,
                stream=True,
            )
            for i, cut in enumerate(planned, start=1)
        ]
        return asks[len(mine) : len(mine) + ROUND]

    def read(self, replies: Sequence[Reply]) -> Evidence:
        """Evidence from the copies that are copies."""
        mine = [reply for reply in replies if reply.ask.probe == self.name]
        aligned = [(reply.ask.key, echo.align(reply, reply.ask.max_tokens)) for reply in mine]
        echoes = [(key, copy) for key, copy in aligned if isinstance(copy, echo.Echo)]
        if len(echoes) < ENOUGH:
            why = echo.commonest([copy for _, copy in aligned if isinstance(copy, str)]) or (
                "too few copies" if mine else "no string was sent"
            )
            return Evidence(self.name, self.block, tested=False, why_not=why, requests=len(mine))
        copies = [copy for _, copy in echoes]
        names = (*self.names, *counted_cuts.counted())
        logs = {name: _log_likelihood(name, copies) for name in names}
        none = sum(-math.log(len(copy.text)) for copy in copies)
        claimed = self.plan.claimed_tokenizer
        best = self._best(copies)
        keys = tuple(key for key, _ in echoes)
        log_e = 0.0
        if claimed in names:  # the ends may also have nothing to do with any vocabulary
            null = max(none, _log_null(claimed, copies), _log_shortened(claimed, copies))
            ratio = log_mean_exp([logs[name] for name in names if name != claimed]) - null
            bound = len(echoes) * math.log(TRIAL_BOUND)
            log_e = min(bound, max(-bound, ratio))
        supports = claimed is not None and best == claimed
        findings = []
        if claimed in names and best is not None and best != claimed and log_e > 0:
            text = f"Truncated copies end where the vocabulary {best} ends, not where {claimed} of the claimed model would."
            findings.append(Finding("tokenizer-mismatch", "strong", text, keys))
        return Evidence(
            channel=self.name,
            block=self.block,
            tested=True,
            log_e=log_e,
            log_likelihood=bounded(logs, none, len(echoes) * math.log(TRIAL_BOUND)),
            best=best,
            supports_claim=supports,
            discriminating=self._discriminating(copies) if supports else 0,
            rounds=len(echoes),
            requests=len(mine),
            findings=tuple(findings),
            measured=tuple(self._row(key, copy) for key, copy in echoes),
        )

    def readings(self, replies: Sequence[Reply]) -> Sequence[Reading]:
        """Every copy by itself: where it ends against each vocabulary, and against the claimed one on any allowed engine."""
        found = []
        for reply in replies:
            if reply.ask.probe == self.name and isinstance(copy := echo.align(reply, reply.ask.max_tokens), echo.Echo):
                logs, null = _alone(copy, (*self.names, *counted_cuts.counted()), self.plan.claimed_tokenizer)
                found.append(Reading(reply.ask.key, self.name, dict(logs), null))
        return found

    def _best(self, copies: Sequence[echo.Echo]) -> str | None:
        """The vocabulary whose cuts all copies match at one common shift; None for none or for a tie without the claim.

        One that can only be counted matches more easily, so it is asked for where no other matches exactly.
        """
        claimed = self.plan.claimed_tokenizer
        exact = [name for name in self.names if any(all(_hits(name, c, shift) for c in copies) for shift in SHIFTS)]
        unshifted = [name for name in exact if all(_hits(name, c, 0) for c in copies)]
        counted = [name for name in counted_cuts.counted() if counted_cuts.fits(name, copies)]
        names = unshifted or (exact if claimed in exact else counted or exact)
        return claimed if claimed in names else names[0] if len(names) == 1 else None

    def _discriminating(self, copies: Sequence[echo.Echo]) -> int:
        """Copies that separate the claimed vocabulary from the one that is hardest to tell from it.

        Among those that are told apart at least ENOUGH times: a vocabulary closer than that is not distinguishable by these
        copies, and the share that the report rules out does not speak of it.
        """
        claimed = self.plan.claimed_tokenizer
        apart = [
            sum(not _hits(name, copy, 0) for copy in copies)  # the copies end where the claim says
            for name in (*self.names, *counted_cuts.counted())
            if name != claimed
        ]
        return min((n for n in apart if n >= ENOUGH), default=0)

    def _row(self, key: str, copy: echo.Echo) -> JSON:
        return {
            "key": key,
            "limit": copy.tokens,
            "measured": copy.length,
            "predicted": {name: _end(name, copy, 0) for name in self.names}
            | {name: counted_cuts.end(name, copy) for name in counted_cuts.counted()},
        }


def bounded(logs: dict[str, float], none: float, bound: float) -> dict[str, float]:
    """Log likelihoods per vocabulary (unknown boundaries and unknown vocabularies at `none`), cut off at `bound` below the best."""
    full = {name: logs.get(name, none) for name in (*tokenizers.names(), "unknown")}
    peak = max(full.values())
    return {name: max(value - peak, -bound) for name, value in full.items()}


@lru_cache(maxsize=2048)
def _alone(copy: echo.Echo, names: tuple[str, ...], claimed: str | None) -> tuple[tuple[tuple[str, float], ...], float | None]:
    """One copy's log likelihood per vocabulary and of an unknown one, and the most that any allowed engine of `claimed` gives it."""
    none = -math.log(len(copy.text))
    logs = (*((name, _log_likelihood(name, [copy])) for name in names), (UNKNOWN, none))
    if claimed not in names:
        return logs, None
    return logs, _log_null(claimed, [copy])


def _end(name: str, copy: echo.Echo, shift: int, lead: str | None = None) -> int | None:
    """Where vocabulary `name` ends after the limit plus `shift` tokens, in visible characters; None past the text's end."""
    ends = echo.cuts(name, copy.lead if lead is None else lead, copy.text)
    index = copy.tokens - 1 + shift
    return ends[index] if 0 <= index < len(ends) else None


def _hits(name: str, copy: echo.Echo, shift: int) -> bool:
    """Whether the copy ends where `name` ends after the limit plus `shift` tokens."""
    return counted_cuts.hit(name, copy, shift) if name in counted_cuts.counted() else _end(name, copy, shift) == copy.length


def _log_density(name: str, copies: Sequence[echo.Echo], shift: int, stripped: str = "") -> float:
    """Log probability of all ends for a model of vocabulary `name` on an engine with this shift and stripping."""
    if name in counted_cuts.counted():
        return counted_cuts.log_density(name, copies, shift)
    hits = (_end(name, copy, shift, copy.lead + stripped) == copy.length for copy in copies)
    return sum(math.log((1.0 - OFF_CANONICAL) * hit + OFF_CANONICAL / len(copy.text)) for hit, copy in zip(hits, copies, strict=True))


def _log_likelihood(name: str, copies: Sequence[echo.Echo]) -> float:
    """Log probability of the ends averaged over engine shifts."""
    logs = [math.log(prior) + _log_density(name, copies, shift) for shift, prior in SHIFTS.items()]
    peak = max(logs)
    return peak + math.log(sum(math.exp(value - peak) for value in logs))


def _log_null(name: str, copies: Sequence[echo.Echo]) -> float:
    """The largest log probability of the ends under any allowed engine: any shift, any stripping, any least limit, the same for all
    copies, or reasoning that eats into every limit."""
    if name in counted_cuts.counted():
        return counted_cuts.log_null(name, copies, tuple(SHIFTS), LEAST_LIMITS)
    raised = [[dataclasses.replace(copy, tokens=max(least, copy.tokens)) for copy in copies] for least in LEAST_LIMITS]
    engines = max(_log_density(name, cut, shift, stripped) for cut in raised for shift in SHIFTS for stripped in STRIPPED)
    return max(engines, _log_eaten(name, copies))


def _log_shortened(name: str, copies: Sequence[echo.Echo]) -> float:
    """Log probability of the ends where the same number of unreported tokens (an empty thought) eats into every limit."""
    shifts = range(min(SHIFTS) - 1, -max(copy.tokens for copy in copies), -1)
    if name in counted_cuts.counted():
        return counted_cuts.log_null(name, copies, shifts, (0,))
    return max((_log_density(name, copies, shift) for shift in shifts), default=-math.inf)


def _log_eaten(name: str, copies: Sequence[echo.Echo]) -> float:
    """Log probability of the ends where unreported reasoning eats any part of every limit: any token of `name` may be the last."""
    total = 0.0
    for copy in copies:
        ends = echo.cuts(name, copy.lead, copy.text)[: copy.tokens]
        total += math.log((1.0 - OFF_CANONICAL) * ends.count(copy.length) / len(ends) + OFF_CANONICAL / len(copy.text))
    return total
