"""Which probes an audit asks, in what order and how much: quick, standard, deep.

Takes a suite's name and the claim, gives the probes ready to plan their questions. Order is cost per information: prompt
counts first (one output token each), text channels after. The sizes are data; their digest goes into every report.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date

from fingerprints import brands, strings
from fingerprints.catalog import Claim
from fingerprints.packs import Pack
from fingerprints.wire import Wire
from probes import (
    bias,
    counts,
    echo,
    identity,
    identity_copies,
    identity_strings,
    logprobs,
    paired,
    protocol,
    protocol_limits,
    stream,
    style_alone,
    truncation,
    usage,
)
from probes.bias import BiasProbe
from probes.choice import ChoiceProbe
from probes.identity import IdentityProbe
from probes.knowledge import KnowledgeProbe
from probes.logprobs import LogprobsProbe
from probes.plan import Plan
from probes.probe import Probe
from probes.protocol import ProtocolProbe
from probes.stream import StreamProbe
from probes.style import StyleProbe
from probes.style_alone import StyleAloneProbe
from probes.surface import SurfaceProbe
from probes.truncation import TruncationProbe
from probes.usage import UsageProbe


@dataclass(frozen=True, slots=True)
class Suite:
    """Sizes of one suite. `max_requests` is the contract's ceiling; early stopping usually ends far below it."""

    name: str
    max_requests: int
    usage_rounds: int
    echo_trials: int
    long_echo: bool
    logprob_trials: int
    bias_trials: int
    choice_answers: int
    style_answers: int
    style_alone_answers: int
    knowledge_answers: int
    identity_asks: int
    protocol_asks: int
    enough_share: float
    """Share of another distinguishable backend that a consistent verdict has to rule out before further rounds are spared."""

    def planned(self, probe: str) -> int:
        """Questions that a probe of this name may ask at most; 1 for one that the suite does not size."""
        sizes = {
            "usage": 2 + usage.QUESTIONS_PER_ROUND * self.usage_rounds,
            "truncation": self.echo_trials,
            "logprobs": self.logprob_trials,
            "bias": self.bias_trials,
            "choice": self.choice_answers,
            "style": self.style_answers,
            "style-alone": self.style_alone_answers,
            "knowledge": self.knowledge_answers,
            "identity": self.identity_asks,
        }
        return max(1, sizes.get(probe, 1))

    def settled_by(self, excluded: float | None) -> bool:
        """Whether a consistent verdict that rules out this share keeps the suite's promise."""
        return excluded is not None and excluded <= self.enough_share


SUITES = {
    suite.name: suite
    for suite in (
        Suite(
            "quick",
            max_requests=15,
            usage_rounds=2,
            echo_trials=4,
            long_echo=False,
            logprob_trials=1,
            bias_trials=0,
            choice_answers=0,
            style_answers=0,
            style_alone_answers=0,
            knowledge_answers=0,
            identity_asks=0,
            protocol_asks=0,
            enough_share=0.5,
        ),
        Suite(
            "standard",
            max_requests=60,
            usage_rounds=2,
            echo_trials=6,
            long_echo=True,
            logprob_trials=3,
            bias_trials=2,
            choice_answers=20,
            style_answers=10,
            style_alone_answers=0,
            knowledge_answers=0,
            identity_asks=8,
            protocol_asks=6,
            enough_share=0.5,
        ),
        Suite(
            "deep",
            max_requests=300,
            usage_rounds=8,
            echo_trials=80,
            long_echo=True,
            logprob_trials=6,
            bias_trials=4,
            choice_answers=60,
            style_answers=20,
            style_alone_answers=16,
            knowledge_answers=30,
            identity_asks=36,
            protocol_asks=12,
            enough_share=0.05,
        ),
    )
}


LEAST_LIMITS = {Wire.RESPONSES: 16}
"""Smallest max_output_tokens that the vendor of a wire accepts."""


def build(
    suite: Suite,
    claim: Claim | None,
    seed: int,
    alpha: float,
    wire: str = Wire.OPENAI,
    packs: Sequence[Pack] = (),
    today: date | None = None,
    prompts: Sequence[tuple[str, str]] = (),
) -> tuple[Probe, ...]:
    """The suite's probes in the order in which they ask, for an endpoint that speaks `wire`.

    `packs` are references for behaviour; those that have expired by `today`, the day of the audit, do not accuse.
    `prompts` are (id, text) pairs of open questions of the user's own.
    """
    plan = Plan(
        seed=seed,
        claim=claim,
        usage_rounds=max(suite.usage_rounds, counts.needed_rounds(alpha)),  # a strict alpha needs more
        packs=tuple(packs),
        today=today,
        echo_trials=suite.echo_trials,
        long_echo=suite.long_echo,
        logprob_trials=suite.logprob_trials,
        bias_trials=suite.bias_trials if Wire(wire) is Wire.OPENAI else 0,  # no other wire has logit_bias
        choice_answers=suite.choice_answers,
        style_answers=suite.style_answers,
        style_alone_answers=suite.style_alone_answers,
        prompts=tuple(prompts),
        knowledge_answers=suite.knowledge_answers,
        identity_asks=suite.identity_asks,
        protocol_asks=suite.protocol_asks,
        wire=wire,
        alpha=alpha,
        least_limit=LEAST_LIMITS.get(Wire(wire), 1),
    )
    return (
        UsageProbe(plan),
        TruncationProbe(plan),
        StreamProbe(plan),
        LogprobsProbe(plan),
        BiasProbe(plan),
        ChoiceProbe(plan),
        StyleProbe(plan),
        StyleAloneProbe(plan),
        KnowledgeProbe(plan),
        IdentityProbe(plan),
        SurfaceProbe(plan),
        ProtocolProbe(plan),  # the last: it ends with what may crash a server
    )


def digest(suite: Suite) -> str:
    """SHA-256 (hex) over everything that decides the questions besides seed and signatures."""
    decisive = {
        "suite": asdict(suite),
        "usage": [
            usage.HEAD,
            usage.TAIL,
            usage.QUESTIONS_PER_ROUND,
            usage.LINES_PER_QUESTION,
            usage.POOL_LINES_PER_KIND,
            usage.WANTED.native,
            usage.WANTED.scaled,
        ],
        "counts": [counts.BACKGROUND, counts.SPAN, counts.ROUND_BOUND, counts.NATIVE_PRIOR, counts.RECOUNT_PRIOR, counts.WHOLE_STAKE],
        "priority": echo.PRIORITY,
        "echo": [
            echo.THOUGHT,
            truncation.INSTRUCTION,
            echo.CANDIDATES,
            echo.MANY_TRIALS,
            echo.LATE_CANDIDATES,
            echo.SHORTEST_CUT,
            echo.LONGEST_CUT,
        ],
        "long echo": [echo.LONG_CHARACTERS, echo.LONG_POOL, echo.SURVIVING, strings.edge_kinds(), stream.LONG_LIMIT],
        "logprobs": [logprobs.INSTRUCTION, logprobs.MAX_TOKENS, logprobs.ALTERNATIVES, logprobs.FOREIGN, logprobs.ENOUGH],
        "bias": [
            bias.INSTRUCTION,
            bias.MAX_TOKENS,
            bias.BIAS,
            bias.LEAST_REPEATS,
            [bias.IDS.start, bias.IDS.stop],
            bias.DRAWN,
            bias.LEAST_LETTERS,
            bias.OTHER_TABLE,
            bias.STRAY,
        ],
        "paired": paired.decisive(),
        "style-alone": [style_alone.ROUND, style_alone.LEAST_ANSWERS, style_alone.OWN_TOKENS, style_alone.OWN_TEMPERATURE],
        "identity": [
            identity.DEEP_ASKS,
            identity.REPORT_TOKENS,
            identity.CONFIRMING,
            identity.PART,
            identity.DISGUISED_TOKENS,
            identity_copies.LEVEL,
            identity_copies.SUSPECTS,
            identity_copies.CUT_SUSPECTS,
            identity_copies.WORTH_CONFIRMING,
            identity_copies.COPIED,
            identity_copies.LEAST_FRESH,
            identity_copies.DROPPED_ODDS,
            identity_copies.MISCOPIED,
            identity_strings.SLOTS,
            identity_strings.SCREENED,
            identity_strings.LATIN_TOKENS,
            identity_strings.OTHER_TOKENS,
            identity_strings.WHOLE_STRINGS,
            identity_strings.WHOLE_TARGETS,
            identity_strings.CONFIRMING_FRAMES,
            brands.table(),
        ],
        "protocol": [
            protocol.PLAIN,
            protocol.SHORT_WORDS,
            protocol.LONG_WORDS,
            protocol.LONG_WORDS_SOLD,
            protocol.WORDS_A_LINE,
            protocol.NAMES_TOKENS,
            protocol.REPLY_TOKENS,
            protocol.STORY_WORDS_A_TOKEN,
            protocol.PATIENCE_S,
            protocol.LATENCY_S,
            protocol.SLOW_S,
            protocol.TOO_SLOW_S,
            protocol.WRONG,
            protocol_limits.FULL,
            protocol_limits.FULLEST,
            protocol_limits.SAME_TOKENS,
            protocol_limits.SHORTFALL,
            protocol_limits.SHORTEST_STORY,
            protocol_limits.ENDING,
            protocol_limits.FAR_MORE,
        ],
        "truncation": [
            sorted(truncation.LEAST_LIMITS),
            truncation.OFF_CANONICAL,
            truncation.ROUND,
            {str(k): v for k, v in truncation.SHIFTS.items()},
            truncation.TRIAL_BOUND,
        ],
    }
    return hashlib.sha256(json.dumps(decisive, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
