"""What kind of thing answers: another model's API passed on, a fine-tune of a published base, or neither, with the evidence for it.

Takes the evidence of every channel, the attribution and the replies; gives a posterior over three kinds from the tokenizer (which base),
the behaviour (whose style) and the accounting (whose stack). Priors and mixing weights are named and the result is bounded. It describes
and never accuses: nothing here enters an e-value or an outcome, and anybody may have every right to serve a fine-tune. Pure.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from fingerprints import catalog
from fingerprints.stack_likelihood import Completion, stack_evidence
from fingerprints.stack_likelihood import log_sum as _log_sum
from fingerprints.stacks import shipped
from probes.probe import Block, Evidence, Reply
from verifier.attribution import BLOCK_BOUNDS, UNKNOWN_PRIOR, Attribution, bounded

WRAPPER, FINE_TUNE, NEITHER, UNDECIDED = "wrapper", "fine-tune", "neither", "undecided"
PRIOR = {WRAPPER: 0.45, FINE_TUNE: 0.45, NEITHER: 0.10}
"""Before any evidence. Assumed even: nobody has counted what stands behind names that are no vendor's."""
LOOKS_LIKE = 0.80
"""Posterior from which a kind is named; below it the report says "undecided" and how the three stand."""
SUREST = 0.99
"""No kind is ever said to be surer than this: what the references lack, no likelihood knows."""
_Writer = tuple[str, str]
"""(base, part): who might have written the answers."""
OWN, OTHERS = "its vendor's models", "others' models of it"
TAUGHT, STRANGER = ("", "another vendor's models"), ("", "no referenced model")
ITSELF = {OWN: 0.45, STRANGER[1]: 0.55}
"""How a model passed on writes: like its vendor's referenced models, or (a version without references) like none."""
TUNED = {OWN: 0.05, OTHERS: 0.20, TAUGHT[1]: 0.05, STRANGER[1]: 0.70}
"""How a fine-tune writes: like its base's vendor's models, like a referenced fine-tune of the base, like its teacher, like none.
Both were set on alpaca_eval by expectation-maximisation (151 models; a fine-tune that the references lack writes like none of them), half
of the weight for endpoints whose very model is referenced, rounded to no less than 0.05; `benchmarks lineage` measures elsewhere."""
TOKENIZER_BOUND = math.log(1e4)
"""What the tokenizer may say for one vocabulary against another."""
STACK_BOUND = math.log(10.0)
"""What bookkeeping may say for a vendor's own stack: gateways keep it, rewrite it, and others' servers may share it."""
STACK_ROWS = 12
"""Replies whose counts are read: their bookkeeping is one and the same."""
CLOSED = frozenset(
    "gpt-3 gpt-3-base gpt-3.5 gpt-4 gpt-4o gpt-4.1 gpt-4.5 gpt-5 gpt-6 o1 o3 o4-mini "
    "claude-1 claude-2 claude-3 claude-4 claude-4.7 claude-5 gemini".split()
)
"""Lineages whose weights were never published: nobody outside the vendor can train one further and serve the result."""
BEHAVIOUR = (Block.CHOICE, Block.STYLE, Block.KNOWLEDGE)


@dataclass(frozen=True, slots=True)
class Lineage:
    """Which of the kinds it looks like, and how sure."""

    kind: str
    """wrapper, fine-tune, neither, or undecided."""
    of: str | None
    """The family that answers (wrapper) or the lineage that was trained further (fine-tune); a vendor where its families cannot be told
    apart; None where even that is open."""
    posterior: float
    """Of `kind`; of the likeliest kind where undecided."""
    kinds: tuple[tuple[str, float], ...]
    """Posterior of all three."""
    evidence: tuple[tuple[str, str], ...]
    """(tokenizer, behaviour or accounting; what it says in plain words)."""
    text: str
    """One sentence for the reader."""

    def to_json(self) -> dict[str, Any]:
        """The object of report.json."""
        return {
            "kind": self.kind,
            "of": self.of,
            "posterior": self.posterior,
            "kinds": dict(self.kinds),
            "evidence": [{"from": source, "text": text} for source, text in self.evidence],
            "text": self.text,
        }


@dataclass(frozen=True, slots=True)
class _Base:
    """One lineage with a known vocabulary."""

    name: str
    vocabulary: str
    vendor: str
    family: str
    """Of the models that its vendor made."""
    share: float
    """Of the catalog's models with a known vocabulary, those of this lineage: what is much used is likelier before any evidence."""


def lineage(evidence: Sequence[Evidence], who: Attribution, replies: Sequence[Reply] = (), wire: str = "openai") -> Lineage | None:
    """The kind that the evidence points to; None where neither tokenizer nor behaviour was tested."""
    tested = [e for e in evidence if e.tested]
    behaviour = [e for e in tested if e.block in BEHAVIOUR and e.log_likelihood]
    if not who.tokenizer and not behaviour:
        return None
    bases = _bases()
    tokens, no_vocabulary = _tokens(who)
    style = _behaviour(behaviour)
    counting = next((e for e in tested if e.channel == "usage" and e.best is not None and not e.recounted), None)
    stack = _stack(bases, counting.best, replies, wire) if counting is not None else {}
    fits = {base: tokens.get(base.vocabulary, no_vocabulary) for base in bases}
    open_share = math.log(math.fsum(base.share for base in bases if base.name not in CLOSED))
    wrappers = {base: math.log(base.share) + fits[base] + _mixed(style, base, ITSELF) + stack.get(base, 0.0) for base in bases}
    tunes = {base: math.log(base.share) - open_share + fits[base] + _mixed(style, base, TUNED) for base in bases if base.name not in CLOSED}
    free = _either([*tokens.values()], no_vocabulary) + _log_sum((math.log(0.5) + style[STRANGER], math.log(0.5) + style[TAUGHT]))
    logs = {
        WRAPPER: math.log(PRIOR[WRAPPER]) + _log_sum(wrappers.values()),
        FINE_TUNE: math.log(PRIOR[FINE_TUNE]) + _log_sum(tunes.values()),
        NEITHER: math.log(PRIOR[NEITHER]) + free,
    }
    total = _log_sum(logs.values())
    kinds = _held({kind: math.exp(value - total) for kind, value in logs.items()})
    first = max(kinds, key=lambda kind: kinds[kind])
    kind = first if kinds[first] >= LOOKS_LIKE else UNDECIDED
    of = {WRAPPER: _named(wrappers, by_family=True), FINE_TUNE: _named(tunes, by_family=False)}.get(first)
    told = _told(who, behaviour, counting, stack)
    return Lineage(kind, of, kinds[first], tuple(kinds.items()), told, _sentence(kind, of, kinds, first, bool(behaviour)))


def maker(name: str) -> str | None:
    """The vendor whose own models the lineage `name` belongs to; None for one whose vocabulary is not known."""
    return next((base.vendor for base in _bases() if base.name == name), None)


@cache
def _bases() -> tuple[_Base, ...]:
    """Lineages in the catalog's order; the vendor's own models come before those that others made of them."""
    known = [model for model in catalog.models() if model.tokenizer is not None]
    sizes = Counter(model.lineage for model in known)
    found: dict[str, _Base] = {}
    for model in known:
        share = sizes[model.lineage] / len(known)
        found.setdefault(model.lineage, _Base(model.lineage, str(model.tokenizer), model.vendor, model.family, share))
    return tuple(found.values())


def _tokens(who: Attribution) -> tuple[dict[str, float], float]:
    """Log likelihood per vocabulary and of an unknown one, undone from the posterior and its prior; all 0 where none was tested."""
    if not who.tokenizer:
        return {}, 0.0
    each = (1.0 - UNKNOWN_PRIOR) / len(who.tokenizer)
    logs = {name: _log(posterior / each) for name, posterior in who.tokenizer}
    logs[""] = _log(who.unknown_tokenizer / UNKNOWN_PRIOR)
    limited = bounded(logs, TOKENIZER_BOUND)
    unknown = limited.pop("")
    return limited, unknown


def _behaviour(behaviour: Sequence[Evidence]) -> dict[_Writer, float]:
    """Log likelihood of the behaviour per writer; all 0 where none was tested."""
    every = [*((base.name, part) for base in _bases() for part in (OWN, OTHERS)), TAUGHT, STRANGER]
    total = dict.fromkeys(every, 0.0)
    for block in dict.fromkeys(e.block for e in behaviour):
        logs = dict.fromkeys(every, 0.0)
        for e in (e for e in behaviour if e.block is block):
            known = _writers(e.log_likelihood)
            stranger = e.log_likelihood.get("unknown", min(e.log_likelihood.values()))
            for writer in every:
                logs[writer] += known.get(writer, stranger)
        for writer, value in bounded(logs, BLOCK_BOUNDS[block]).items():
            total[writer] += value
    return total


def _writers(logs: Mapping[str, float]) -> dict[_Writer, float]:
    """Per base, the models of its own vendor together, and those that others made of it; and a teacher, which may be any of the first.
    Siblings share what either would be worth alone, so they are added; what no reference is of, is left out."""
    makers = {base.name: base.vendor for base in _bases()}
    found: dict[_Writer, list[float]] = {}
    for name, value in logs.items():
        if (model := catalog.find(name)) is not None and model.lineage in makers:
            found.setdefault((model.lineage, OWN if model.vendor == makers[model.lineage] else OTHERS), []).append(value)
    top = max(logs.values())
    writers = {writer: min(top, _log_sum(values)) for writer, values in found.items()}
    if teachers := [value for (_, part), value in writers.items() if part == OWN]:
        writers[TAUGHT] = _log_sum(teachers) - math.log(len(teachers))
    return writers


def _mixed(behaviour: Mapping[_Writer, float], base: _Base, weights: Mapping[str, float]) -> float:
    """Log likelihood of the behaviour of a model of `base` that writes like one of several, with these weights."""
    writers = {OWN: (base.name, OWN), OTHERS: (base.name, OTHERS), TAUGHT[1]: TAUGHT, STRANGER[1]: STRANGER}
    return _log_sum(math.log(weight) + behaviour[writers[part]] for part, weight in weights.items())


def _stack(bases: Sequence[_Base], counted_with: str | None, replies: Sequence[Reply], wire: str) -> dict[_Base, float]:
    """How much better the bookkeeping of a family's own recorded stacks explains the counts than any stack of its vocabulary does.

    Only the difference counts: which vocabulary it is, the tokenizer has said already."""
    rows = _completions(replies, wire)
    if not rows:
        return {}
    usual = stack_evidence(str(counted_with), rows, shipped(), None)
    recorded = {row["family"] for row in shipped().overheads}
    return {
        base: max(-STACK_BOUND, min(STACK_BOUND, stack_evidence(base.vocabulary, rows, shipped(), base.family) - usual))
        for base in bases
        if base.vocabulary == counted_with and base.family in recorded
    }


def _completions(replies: Sequence[Reply], wire: str) -> list[Completion]:
    rows = []
    for reply in replies:
        usage, ask = reply.usage, reply.ask
        plain = reply.ok and ask.raw is None and ask.to == "target" and reply.text and not ask.stream
        if not plain or usage is None or not usage.completion_tokens or usage.reasoning_tokens or usage.cached_tokens:
            continue
        cut = reply.finish == "length"
        rows.append(Completion(reply.text, usage.completion_tokens, cut, False, usage.prompt_tokens, ask.messages, (), wire))
        if len(rows) == STACK_ROWS:
            break
    return rows


def _named(logs: Mapping[_Base, float], by_family: bool) -> str | None:
    """The family or lineage that holds nearly all of a kind's weight, else the vendor that does."""
    total = _log_sum(logs.values())
    for names in ({base: base.family if by_family else base.name for base in logs}, {base: base.vendor for base in logs}):
        shares: dict[str, float] = {}
        for base, value in logs.items():
            shares[names[base]] = shares.get(names[base], 0.0) + math.exp(value - total)
        first = max(shares, key=lambda name: shares[name])
        if shares[first] >= LOOKS_LIKE:
            return first
    return None


def _told(
    who: Attribution, behaviour: Sequence[Evidence], counting: Evidence | None, stack: Mapping[_Base, float]
) -> tuple[tuple[str, str], ...]:
    told = []
    if who.tokenizer:
        name, share = who.tokenizer[0]
        sharing = [base.name for base in _bases() if base.vocabulary == name]
        text = f"the tokens are those of the vocabulary {name} ({share:.2f}), shared by {_listed(sharing)}"
        told.append(("tokenizer", text if share >= LOOKS_LIKE else f"no vocabulary is sure; the nearest is {name} ({share:.2f})"))
    else:
        told.append(("tokenizer", "not tested"))
    for e in behaviour:
        told.append(("behaviour", f"{e.channel}: most like {e.best}" if e.best else f"{e.channel}: like no model that the references hold"))
    if not behaviour:
        told.append(("behaviour", "not tested: without it a model and its fine-tunes look alike"))
    if stack:
        nearest = max(stack, key=lambda base: stack[base])
        factor = math.exp(stack[nearest])
        text = f"prompt and completion counts fit recorded stacks of {nearest.family} {factor:.2g} times as well as any stack's"
        told.append(("accounting", text))
    else:
        why = "counts are missing or recounted" if counting is None else "no plain counts, or none of a recorded stack"
        told.append(("accounting", f"not tested: {why}"))
    return tuple(told)


def _sentence(kind: str, of: str | None, kinds: Mapping[str, float], first: str, behaves: bool) -> str:
    named = of or "a model that cannot be narrowed down"
    if kind == WRAPPER:
        return f"Looks like {named} itself, passed on under this name ({kinds[kind]:.2f})."
    if kind == FINE_TUNE:
        return f"Looks like a model that was trained further from {named} ({kinds[kind]:.2f})."
    if kind == NEITHER:
        return f"Looks like neither a known model passed on nor a fine-tune of a known base ({kinds[kind]:.2f})."
    nearest = {WRAPPER: f"{named} itself", FINE_TUNE: f"a fine-tune of {named}"}.get(first, "neither")
    why = "" if behaves else "; without behaviour references a model and its fine-tunes look alike"
    return (
        f"Undecided: a known model passed on {kinds[WRAPPER]:.2f}, a fine-tune {kinds[FINE_TUNE]:.2f}, neither {kinds[NEITHER]:.2f} "
        f"(nearest: {nearest}){why}."
    )


def _held(kinds: Mapping[str, float]) -> dict[str, float]:
    """The posterior, the first at most SUREST and what that takes off shared evenly by the others."""
    first = max(kinds, key=lambda kind: kinds[kind])
    spare = max(0.0, kinds[first] - SUREST)
    return {kind: value - spare if kind == first else value + spare / (len(kinds) - 1) for kind, value in kinds.items()}


def _listed(names: Sequence[str], most: int = 4) -> str:
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown or "no catalogued model"


def _either(logs: Sequence[float], unknown: float) -> float:
    """Half the unknown, half an even mixture of the known: whatever it is, nothing ties it to the other channels."""
    known = _log_sum(logs) - math.log(len(logs)) if logs else unknown
    return _log_sum((math.log(0.5) + unknown, math.log(0.5) + known))


def _log(value: float) -> float:
    return math.log(value) if value > 0.0 else -math.inf
