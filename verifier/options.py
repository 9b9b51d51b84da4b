"""What a caller may set about an audit, checked: suite, seed, error rate, limits, claim, wire.

Takes what the command line, the service or Python code gives; raises UsageError with one line where it makes no sense.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace

from fingerprints import catalog, tokenizers
from fingerprints.catalog import Claim
from fingerprints.packs import Pack
from fingerprints.wire import Wire
from probes import suite as suites
from verifier.canonical import LARGEST_INTEGER
from verifier.errors import UsageError
from verifier.multiple import Carried

DEFAULT_SUITE = "standard"
DEFAULT_ALPHA = 0.01


@dataclass(frozen=True, slots=True)
class Settings:
    """What the caller may set about an audit; defaults are the command line's."""

    suite: str = DEFAULT_SUITE
    seed: int | None = None
    """None draws a fresh one: the questions must not be predictable."""
    alpha: float = DEFAULT_ALPHA
    early_stop: bool = True
    max_requests: int | None = None
    """None means the suite's own ceiling, which cannot be exceeded."""
    max_tokens: int | None = None
    timeout_s: float = 25.0
    concurrency: int = 4
    packs: tuple[Pack, ...] = ()
    """Reference packs that speak about the claim (verifier.references.for_claim), with the texts that were fetched."""
    prompts: tuple[tuple[str, str], ...] = ()
    """Open questions of the user's own, (id, prompt) pairs (verifier.own_prompts)."""
    carried: Carried | None = None
    """Where earlier audits of the same endpoint and claim count: the last report's state."""

    def checked(self) -> Settings:
        """The same settings, or UsageError with one line on what is wrong."""
        if self.suite not in suites.SUITES:
            raise UsageError(f"there is no suite {self.suite!r}", f"choose one of {', '.join(suites.SUITES)}")
        if not 1e-6 <= self.alpha <= 0.2:
            raise UsageError(f"alpha {self.alpha:g} is out of range", "choose an error rate from 0.000001 to 0.2")
        for name in ("max_requests", "max_tokens", "concurrency", "timeout_s"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UsageError(f"{name} must be positive", "give a number above 0, or leave it out")
        if self.seed is not None and not 0 <= self.seed <= LARGEST_INTEGER:
            raise UsageError("the seed is out of range", "give a whole number from 0 to 2^53 - 1")
        return self


def drawn_seed(settings: Settings) -> int:
    """The caller's seed, or a fresh one that nobody can predict."""
    return settings.seed if settings.seed is not None else secrets.randbits(48)


def request_limit(settings: Settings) -> int:
    """The smaller of the caller's limit and the suite's ceiling, in requests."""
    ceiling = suites.SUITES[settings.suite].max_requests
    return min(settings.max_requests or ceiling, ceiling)


def resolve_claim(claim: str | None, family: str | None) -> Claim | None:
    """The catalog's view of a claim. Raises UsageError for an empty claim or an unknown family."""
    if claim is None:
        return None
    if not claim.strip():
        raise UsageError("the claim is empty", "name the model that the endpoint is said to serve: --claim gpt-4o")
    try:
        found = catalog.claim(claim, family)
        return found if found.tokenizer in tokenizers.names() else replace(found, tokenizer=None)
    except catalog.UnknownFamilyError as error:
        raise UsageError(str(error), "run `truename catalog list` for what is known") from error


def unknown_claim(claim: Claim) -> str:
    """One line for a claim whose vocabulary is not known, with what to do."""
    near = catalog.suggest(claim.model)
    hint = f"did you mean {', '.join(near)}? or " if near and not claim.in_catalog else ""
    return f"note: no vocabulary is known for {claim.model!r}; {hint}name its lineage with --family, such as --family llama-3"


def named_wire(name: str) -> Wire | None:
    """The wire of that name, None for `auto`. Raises UsageError for any other."""
    if name == "auto":
        return None
    if name not in list(Wire):
        raise UsageError(f"the wire {name!r} is not spoken", f"choose auto, {', '.join(Wire)}")
    return Wire(name)


def sent_model(model: str | None, claim: str | None) -> str:
    """The model name that requests carry. Raises UsageError where neither is given."""
    if name := model or claim:
        return name
    raise UsageError("no model name to send", "give --model NAME")
