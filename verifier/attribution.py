"""Who answers, as a posterior: over vocabularies, and over the models and families that the catalog and the references know.

Takes the evidence of every channel, gives probabilities with an explicit unknown and the smallest set of candidates that holds
95 % of them. Evidence is pooled inside a block (statistics of the same answers count once), bounded per block, and blocks are
added: a posterior names, it never accuses (ARCHITECTURE, decision rules 1 and 2). Pure.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fingerprints import catalog
from probes.probe import Block, Evidence

UNKNOWN_PRIOR = 0.1
"""Prior probability of a vocabulary, model or family that nothing installed knows."""
BLOCK_BOUNDS = {Block.TOKENIZER: math.log(1e6), Block.CHOICE: math.log(1e4), Block.STYLE: math.log(1e3), Block.KNOWLEDGE: math.log(1e3)}
"""Largest likelihood ratio between two candidates that one block may contribute. 1/bound is the chance that the whole block is
decoupled from the model (a gateway's own tokenizer, a cache, a rewriter), for which no rate has been measured in the wild; the
order follows how costly the forgery is."""
SURFACE_BOUNDS = {"identity": math.log(2.0)}
"""What self-reports are worth (ARCHITECTURE, decision rule 2); every other surface channel gets SURFACE_BOUND."""
SURFACE_BOUND = math.log(1.5)
SET_COVERAGE = 0.95
"""Posterior that the attribution's set of candidates has to hold."""
ANOTHER = " (another version)"
"""Ends the name of the candidate "a model of this family that the references do not hold"."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One possible answerer and its posterior probability (0 to 1)."""

    name: str
    family: str
    posterior: float


@dataclass(frozen=True, slots=True)
class Attribution:
    """Probabilities over vocabularies, and over candidates; each adds up to 1 with its own unknown."""

    tokenizer: tuple[tuple[str, float], ...]
    """(vocabulary, posterior), largest first; empty where no tokenizer channel was tested."""
    unknown_tokenizer: float
    candidates: tuple[Candidate, ...]
    """Largest first."""
    unknown: float

    @property
    def credible(self) -> tuple[str, ...]:
        """The fewest candidates that hold SET_COVERAGE of the probability; empty (an abstention) where the unknown is needed."""
        names, held = [], 0.0
        for candidate in self.candidates:
            if held >= SET_COVERAGE:
                break
            names.append(candidate.name)
            held += candidate.posterior
        return tuple(names) if held >= SET_COVERAGE else ()

    def of_family(self, family: str | None) -> float:
        """Posterior of all candidates of one family."""
        return math.fsum(c.posterior for c in self.candidates if c.family == family)

    def of_model(self, name: str) -> float:
        """Posterior of one model by its catalog name."""
        return math.fsum(c.posterior for c in self.candidates if c.name == name)


def attribute(evidence: Sequence[Evidence]) -> Attribution:
    """The posteriors that the evidence supports so far."""
    tested = [e for e in evidence if e.tested and e.log_likelihood]
    tokenizer, unknown_tokenizer = _vocabularies(tested)
    behaviour = [e for e in tested if e.block is not Block.TOKENIZER]
    if not tokenizer and not behaviour:
        return Attribution((), 1.0, (), 1.0)
    leaves = _leaves({name for name, _ in tokenizer}, behaviour)
    scores = {leaf: math.log(prior) for leaf, (prior, _) in leaves.items()}
    unknown = math.log(UNKNOWN_PRIOR)
    if groups := by_answers(tested):
        pooled = bounded(_pooled(groups), BLOCK_BOUNDS[Block.TOKENIZER])
        for leaf, (_, vocabulary) in leaves.items():
            scores[leaf] += pooled.get(vocabulary or "unknown", pooled["unknown"])
        unknown += pooled["unknown"]
    for block in dict.fromkeys(e.block for e in behaviour):
        of_block = [e for e in behaviour if e.block is block]
        added = {leaf: math.fsum(_of_leaf(leaf, e, _capped(e)) for e in of_block) for leaf in scores}
        added["", ""] = math.fsum(_capped(e)["unknown"] for e in of_block)
        limited = bounded(added, BLOCK_BOUNDS.get(block, math.inf))
        for leaf in scores:
            scores[leaf] += limited[leaf]
        unknown += limited["", ""]
    peak = max([unknown, *scores.values()])
    weights = {leaf: math.exp(score - peak) for leaf, score in scores.items()}
    total = math.fsum([*weights.values(), math.exp(unknown - peak)])
    ranked = sorted((Candidate(name, family, w / total) for (name, family), w in weights.items()), key=lambda c: (-c.posterior, c.name))
    return Attribution(tokenizer, unknown_tokenizer, tuple(ranked), math.exp(unknown - peak) / total)


def by_answers(evidence: Sequence[Evidence]) -> list[list[Evidence]]:
    """Tested tokenizer channels, those that read the same answers together."""
    groups: dict[str, list[Evidence]] = {}
    for e in evidence:
        if e.tested and e.block is Block.TOKENIZER:
            groups.setdefault(e.answers or e.channel, []).append(e)
    return list(groups.values())


def bounded(logs: Mapping[Any, float], bound: float) -> dict[Any, float]:
    """`logs` relative to the largest, none further below it than `bound`."""
    peak = max(logs.values(), default=0.0)
    return {key: max(value - peak, -bound) for key, value in logs.items()}


def _pooled(groups: Sequence[Sequence[Evidence]]) -> dict[str, float]:
    """Log likelihood per vocabulary over all tokenizer channels: the same answers count once."""
    logs = dict.fromkeys(groups[0][0].log_likelihood, 0.0)
    for group in groups:
        for name in logs:
            logs[name] += math.fsum(e.log_likelihood[name] for e in group) / len(group)
    return logs


def _vocabularies(tested: Sequence[Evidence]) -> tuple[tuple[tuple[str, float], ...], float]:
    """Posterior per vocabulary (largest first) and of an unknown one."""
    groups = by_answers(tested)
    if not groups:
        return (), 1.0
    logs = _pooled(groups)
    names = [name for name in logs if name != "unknown"]
    for name in names:
        logs[name] += math.log((1.0 - UNKNOWN_PRIOR) / len(names))
    logs["unknown"] += math.log(UNKNOWN_PRIOR)
    peak = max(logs.values())
    weights = {name: math.exp(value - peak) for name, value in logs.items()}
    total = math.fsum(weights.values())
    ranked = sorted(((name, weights[name] / total) for name in names), key=lambda pair: (-pair[1], pair[0]))
    return tuple(ranked), weights["unknown"] / total


def _leaves(vocabularies: set[str], behaviour: Sequence[Evidence]) -> dict[tuple[str, str], tuple[float, str | None]]:
    """Prior and vocabulary of every (candidate, family).

    A family weighs as many models as the catalog knows of it, so that a vocabulary which thirty models of one family and a single
    fine-tune share is put down to the thirty. Inside a family, half is for the models that references hold, half for the others.
    Families without a known vocabulary and without references cannot be told from the unknown, and belong to it.
    """
    held: dict[str, list[str]] = {}
    for name in sorted({name for e in behaviour if e.block is not Block.SURFACE for name in e.log_likelihood} - {"unknown"}):
        if name.endswith(ANOTHER):
            continue  # all models of a family together: its own leaves ask for it
        found = catalog.find(name)
        held.setdefault(found.family if found else name, []).append(name)
    known: dict[str, Counter[str | None]] = {}
    for model in catalog.models():
        if model.tokenizer in vocabularies:
            known.setdefault(model.family, Counter())[model.tokenizer] += 1
    families = {family: known.get(family) or Counter[str | None]({None: len(held[family])}) for family in sorted({*known, *held})}
    models = sum(counted.total() for counted in families.values())
    leaves: dict[tuple[str, str], tuple[float, str | None]] = {}
    for family, counted in families.items():
        named = held.get(family, [])
        weight = (1.0 - UNKNOWN_PRIOR) * counted.total() / models / (2 if named else 1)
        for name in named:
            leaves[name, family] = weight / len(named), _vocabulary(name)
        for vocabulary, size in counted.items():
            of = f" ({vocabulary} vocabulary)" if len(counted) > 1 else ""
            leaves[family + of + (ANOTHER if named else ""), family] = weight * size / counted.total(), vocabulary
    return leaves


def _vocabulary(name: str) -> str | None:
    """The vocabulary of a model that references hold: the catalog's, else what its lineage shares; None where none is known."""
    found = catalog.find(name)
    return (found.tokenizer or catalog.families().get(found.lineage)) if found else None


def _of_leaf(leaf: tuple[str, str], e: Evidence, logs: Mapping[str, float]) -> float:
    """A channel's word on one candidate: its own, else its family's, else what it says of the unknown.

    Self-reports name families; behaviour names models, and a model may bear its family's name (gpt-4o).
    """
    name, family = leaf
    whole_family = family if e.block is Block.SURFACE else family + ANOTHER
    return logs.get(name, logs.get(whole_family, logs["unknown"]))


def _capped(e: Evidence) -> Mapping[str, float]:
    """Surface channels are worth at most their bound, whatever their probe says."""
    logs = dict(e.log_likelihood)
    logs.setdefault("unknown", min(logs.values()))
    return bounded(logs, SURFACE_BOUNDS.get(e.channel, SURFACE_BOUND)) if e.block is Block.SURFACE else logs
