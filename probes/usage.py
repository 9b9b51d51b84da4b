"""Prompt-token arithmetic: how many tokens does the endpoint say that fresh random text has?

Asks the same short message twice without a payload (the baseline) and then with payloads whose counts differ for every known
vocabulary; differences cancel the chat template and any constant hidden prompt. Gives evidence about the tokenizer that
*counts*, which a gateway may honestly have chosen: what it may do is in the null hypothesis, so counts alone contradict a
claim only where they match, on fresh strings twice, a vocabulary that no honest gateway counts with.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from fingerprints import accounting, strings, tokenizers
from probes.counts import BACKGROUND, RECOUNT_PRIOR, ROUND_BOUND, SPAN, Fit, background, fit, hedged, log_mean_exp, needed_rounds
from probes.plan import RECOUNTERS, Plan
from probes.probe import JSON, Ask, Block, Evidence, Finding, Reply
from probes.separation import Margins, Question, choose

HEAD = "Read these lines, then answer with the word OK only.\n"
TAIL = "\nAnswer: OK"
QUESTIONS_PER_ROUND = 4
LINES_PER_QUESTION = 3
POOL_LINES_PER_KIND = 4
WANTED = Margins(native=8.0, scaled=4.0)
"""Tokens by which every pair of vocabularies is to differ in every round before it is sent. With 23 vocabularies the climb
ends at a median of 8 (never under 4) at scale 1 and never under 2.9 at the worst scale, at about 263 tokens a round; counts
are compared exactly, so any pair more than 2 apart is told apart. 2 lines a question reach less, 4 cost a third more."""
EXACT = 1.5
"""Tokens by which counts may miss their vocabulary: rounding after scaling, once for the question and once for the baseline."""
NOISY = 4.5
"""Tokens of half-range that noise of +-3 a request leaves; allowed from NOISY_QUESTIONS counts on, where an unlisted
vocabulary would already have missed by more (benchmark `probes`: leave-one-out)."""
NOISY_QUESTIONS = 16
HIDDEN_PROMPT = 30
"""Tokens beyond the best-supported template from which a hidden prompt is reported; recorded templates of one family differ by
up to 25 (Llama 3: 10 to 35). A system prompt is allowed, so this is news for the reader and never evidence."""
JITTER_LIMIT = 6
"""Tokens; where identical requests differ by more, the endpoint injects something random and the counts say nothing."""


def message(payload: str) -> str:
    """The user message that carries `payload`."""
    return f"{HEAD}{payload}{TAIL}"


@lru_cache(maxsize=4)
def _base_counts(names: tuple[str, ...]) -> tuple[int, ...]:
    return tuple(tokenizers.vocabulary(name).count(message("")) for name in names)


@lru_cache(maxsize=1024)
def predicted(payload: str, names: tuple[str, ...]) -> tuple[int, ...]:
    """Tokens that `payload` adds to the baseline message, per vocabulary in `names`."""
    text = message(payload)
    base = _base_counts(names)
    return tuple(tokenizers.vocabulary(name).count(text) - base[i] for i, name in enumerate(names))


@lru_cache(maxsize=512)
def plan_round(plan_seed: int, number: int, names: tuple[str, ...]) -> tuple[Question, ...]:
    """The questions of round `number` (from 0): a function of the seed and the installed vocabularies alone, never of the claim."""
    rng = Plan(seed=plan_seed, claim=None).rng(f"usage/{number}")
    pool = [strings.line(kind, rng) for kind in strings.kinds() for _ in range(POOL_LINES_PER_KIND)]
    tokenizers.learn(names, [message(line) for line in pool])
    return choose(
        pool,
        lambda text: predicted(text, names),
        questions=QUESTIONS_PER_ROUND,
        lines_each=LINES_PER_QUESTION,
        wanted=WANTED,
        rng=rng,
    )


@lru_cache(maxsize=64)
def _fits(payloads: tuple[str, ...], measured: tuple[float, ...], jitter: float, names: tuple[str, ...]) -> dict[str, Fit]:
    """Every vocabulary's fit to one round. Kept, because the decision is drawn anew after each round."""
    table = np.array([predicted(payload, names) for payload in payloads], dtype=np.float64).T
    return dict(zip(names, fit(np.array(measured), table, jitter), strict=True))


class UsageProbe:
    """Compares reported prompt tokens of fresh strings with every known vocabulary."""

    name = "usage"
    block = Block.TOKENIZER
    reads: tuple[str, ...] = ("usage",)
    goal = "Which vocabulary do the reported prompt tokens of fresh random text come from?"

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.names = tokenizers.names()

    @property
    def rounds(self) -> int:
        """Rounds needed for the product of bounded likelihood ratios to be able to reach 1/alpha; at least two."""
        return max(self.plan.usage_rounds, needed_rounds(self.plan.alpha))

    def next_round(self, replies: Sequence[Reply]) -> Sequence[Ask]:
        """First one baseline alone, then the second baseline with the first round, then one round at a time."""
        asked = {reply.ask.key for reply in replies}
        if "usage/base/1" not in asked:
            return [self._ask("usage/base/1", "")]
        if not any(reply.ok for reply in replies) or self._hopeless(replies):
            return []
        for number in range(1, self.rounds + 1):  # planned one by one: most audits end before the last
            questions = plan_round(self.plan.seed, number - 1, self.names)
            asks = [self._ask(f"usage/{number}/{i}", question.text) for i, question in enumerate(questions, start=1)]
            if number == 1:
                asks.insert(0, self._ask("usage/base/2", ""))
            left = [ask for ask in asks if ask.key not in asked]
            if left:
                return left
        return []

    def read(self, replies: Sequence[Reply]) -> Evidence:
        """Evidence from all complete rounds so far."""
        mine = [reply for reply in replies if reply.ask.probe == self.name]
        answered = [reply for reply in mine if reply.ok]
        if not answered:
            error = next((reply.error for reply in mine if reply.error is not None), None)
            return self._untested(mine, "no question was answered" + (f" ({error.kind}: {error.text})" if error else ""))
        apart = cached_apart(answered)
        base = [_prompt_tokens(reply, apart) for reply in answered if reply.ask.key.startswith("usage/base/")]
        bases = [count for count in base if count is not None]
        if not bases:
            text = "The endpoint reports no prompt token counts, so what it bills cannot be compared with any tokenizer."
            finding = Finding("usage-missing", "moderate", text, tuple(reply.ask.key for reply in answered))
            return self._untested(mine, "the endpoint reports no prompt token counts", finding)
        jitter = max(bases) - min(bases)
        if jitter > JITTER_LIMIT:
            what = "a prompt cache or something random changes the counts" if bases[-1] < bases[0] else "something random is added to each"
            return self._untested(mine, f"two identical requests were counted {jitter} tokens apart, so {what}")
        rounds = self._complete_rounds(answered, apart)
        if not rounds:
            return self._untested(mine, "too few questions were answered with a token count")
        measured = [np.array([count - bases[0] for _, count in counts], dtype=np.float64) for counts in rounds]
        if all(float(np.ptp(row)) == 0.0 for row in measured):
            return self._untested(mine, "the endpoint reports the same count whatever is sent")
        return self._conclude(mine, rounds, measured, float(jitter))

    def _conclude(
        self, mine: Sequence[Reply], rounds: Sequence[Sequence[tuple[Ask, int]]], measured: Sequence[np.ndarray], jitter: float
    ) -> Evidence:
        allowed = self.plan.allowed_counters
        log_e = 0.0
        totals = dict.fromkeys((*self.names, "unknown"), 0.0)
        fits: list[dict[str, Fit]] = []
        rows: list[JSON] = []
        for asks, row in zip(rounds, measured, strict=True):
            asked = tuple(ask.payload for ask, _ in asks)
            table = [predicted(payload, self.names) for payload in asked]
            fitted = _fits(asked, tuple(row.tolist()), jitter, self.names)
            fits.append(fitted)
            for name, value in self._attribution(fitted, background(len(row))).items():
                totals[name] += value
            if allowed:
                others = [fitted[name].log_mixed for name in self.names if name not in allowed]
                null = max(max(fitted[name].log_scaled, _log_shifted(fitted[name], len(row), jitter)) for name in allowed)
                # Counts that have nothing to do with the text (a cache, a fixed table) are the gateway's doing too.
                ratio = log_mean_exp(others) - max(background(len(row)), null)
                log_e += hedged(ratio)
            for j, (ask, _) in enumerate(asks):
                rows.append({"key": ask.key, "measured": int(row[j]), "predicted": dict(zip(self.names, table[j], strict=True))})
        payloads = tuple(ask.payload for asks in rounds for ask, _ in asks)
        counts = tuple(float(count) for row in measured for count in row)
        joint = _fits(payloads, counts, jitter, self.names)
        best, scale = self._best(joint, jitter, len(counts))
        claimed = self.plan.claimed_tokenizer
        supports = claimed is not None and best == claimed
        recounted = claimed is not None and best in RECOUNTERS and best != claimed
        keys = tuple(ask.key for counts in rounds for ask, _ in counts)
        return Evidence(
            channel=self.name,
            block=self.block,
            tested=True,
            log_e=log_e if allowed else 0.0,
            log_likelihood=totals,
            best=best,
            supports_claim=supports,
            recounted=recounted,
            discriminating=len(keys) if supports else 0,
            rounds=sum(self._matches(f[best], jitter, len(counts)) for f in fits) if best is not None else 0,
            requests=len(mine),
            findings=tuple(self._findings(best, scale, fits, keys, jitter) + self._hidden_prompt(mine, best, scale)),
            measured=tuple(rows),
        )

    def _attribution(self, fitted: dict[str, Fit], none: float) -> dict[str, float]:
        """Bounded log likelihood per vocabulary of the *model*: its own counts, or a gateway's recount with a common one."""
        recount = max((fitted[name].log_mixed for name in RECOUNTERS if name in fitted), default=none)
        logs = {
            name: float(np.logaddexp(math.log(1.0 - RECOUNT_PRIOR) + f.log_mixed, math.log(RECOUNT_PRIOR / 2.0) + recount))
            for name, f in fitted.items()
        }
        logs["unknown"] = float(np.logaddexp(math.log(1.0 - RECOUNT_PRIOR) + none, math.log(RECOUNT_PRIOR / 2.0) + recount))
        peak = max(logs.values())
        return {name: max(value - peak, -math.log(ROUND_BOUND)) for name, value in logs.items()}

    def _matches(self, f: Fit, jitter: float, questions: int) -> bool:
        tolerance = EXACT + 2.0 * jitter
        return min(f.residual, f.residual_scaled) <= tolerance or (questions >= NOISY_QUESTIONS and f.spread <= NOISY + 2.0 * jitter)

    def _best(self, joint: dict[str, Fit], jitter: float, questions: int) -> tuple[str | None, float]:
        """The vocabulary that fits all counts within the limit, and its scale (exactly 1 where unscaled counts fit)."""
        fitting = [name for name in self.names if self._matches(joint[name], jitter, questions)]
        if not fitting:
            return None, 1.0
        best = max(fitting, key=lambda name: (joint[name].log_mixed, -joint[name].spread))
        native = joint[best].residual <= EXACT + 2.0 * jitter or joint[best].residual <= joint[best].residual_scaled + EXACT
        return best, 1.0 if native else joint[best].scale

    def _findings(
        self, best: str | None, scale: float, fits: Sequence[dict[str, Fit]], keys: tuple[str, ...], jitter: float
    ) -> list[Finding]:
        claimed = self.plan.claimed_tokenizer
        found = []
        if best is None and claimed is not None:
            text = (
                "The counts match no known vocabulary, at any common scale. "
                "The claimed model's own counts, or a recount with o200k or cl100k, would fit."
            )
            found.append(Finding("tokenizer-mismatch", "weak", text, keys))
        elif best is not None and claimed is not None and best not in self.plan.allowed_counters:
            text = f"Counts of fresh strings match the vocabulary {best}, not {claimed} of the claimed model."
            found.append(Finding("tokenizer-mismatch", "strong" if len(fits) > 1 else "moderate", text, keys))
        elif best is not None and claimed is not None and best != claimed:
            text = (
                f"Counts match {best}, not {claimed} of the claimed model. Gateways that recount with {best} show this for any "
                "model, so it is no contradiction by itself."
            )
            found.append(Finding("usage-recounted", "moderate", text, keys))
        if best is not None and abs(scale - 1.0) > 0.01 + 0.02 * jitter:
            percent = 100.0 * (scale - 1.0)
            word = "above" if percent > 0 else "below"
            text = f"Prompt tokens are reported {abs(percent):.1f} % {word} what the vocabulary {best} counts."
            found.append(Finding("usage-inflated", "moderate", text, keys))
        return found

    def _hidden_prompt(self, mine: Sequence[Reply], best: str | None, scale: float) -> list[Finding]:
        """Text in the prompt that neither the message nor the recorded templates of the claimed model explain."""
        claim = self.plan.claim
        base = next((reply for reply in mine if reply.ask.key == "usage/base/1"), None)
        count = _prompt_tokens(base) if base is not None else None
        if claim is None or base is None or count is None or best != self.plan.claimed_tokenizer or scale != 1.0:
            return []
        hidden = accounting.hidden_prompt_tokens(claim.model, base.ask.messages, count)
        if hidden is None or hidden < HIDDEN_PROMPT:
            return []
        text = f"About {hidden} prompt tokens are neither the question's nor the claimed model's usual template: a hidden system prompt."
        return [Finding("hidden-prompt", "moderate" if hidden >= 3 * HIDDEN_PROMPT else "weak", text, (base.ask.key,))]

    def _complete_rounds(self, answered: Sequence[Reply], apart: bool) -> list[list[tuple[Ask, int]]]:
        """Per round, the (ask, prompt tokens) pairs; rounds with fewer than three counted questions are left out."""
        by_round: dict[str, list[tuple[Ask, int]]] = {}
        for reply in answered:
            count = _prompt_tokens(reply, apart)
            number = reply.ask.key.split("/")[1]
            if count is not None and number != "base":
                by_round.setdefault(number, []).append((reply.ask, count))
        return [by_round[number] for number in sorted(by_round) if len(by_round[number]) >= 3]

    def _hopeless(self, replies: Sequence[Reply]) -> bool:
        """Whether further rounds cannot help: no counts, or counts that do not move."""
        answered = [reply for reply in replies if reply.ok]
        if len(answered) < 1 + QUESTIONS_PER_ROUND:
            return all(_prompt_tokens(reply) is None for reply in answered)
        return not self.read(replies).tested

    def _ask(self, key: str, payload: str) -> Ask:
        return Ask(probe=self.name, key=key, messages=(("user", message(payload)),), max_tokens=1, payload=payload)

    def _untested(self, mine: Sequence[Reply], why: str, *findings: Finding) -> Evidence:
        return Evidence(self.name, self.block, tested=False, why_not=why, requests=len(mine), findings=findings)


def _log_shifted(f: Fit, questions: int, jitter: float) -> float:
    """Log likelihood of a round whose counts are all off by one constant: a prompt cache that only its questions hit, uncounted."""
    return questions * math.log1p(-BACKGROUND) - math.log(SPAN) if f.spread <= 0.5 + jitter else -math.inf


def _prompt_tokens(reply: Reply, cached_apart: bool = False) -> int | None:
    if not reply.ok or reply.usage is None or reply.usage.prompt_tokens is None:
        return None
    return reply.usage.prompt_tokens + ((reply.usage.cached_tokens or 0) if cached_apart else 0)


def cached_apart(answered: Sequence[Reply]) -> bool:
    """Whether cached tokens are reported beside the prompt's and not inside: more of them than of the prompt's, or two identical
    requests that differ by no more than what the cache took over."""
    usages = [reply.usage for reply in answered if reply.usage is not None]
    if any((usage.cached_tokens or 0) > (usage.prompt_tokens or 0) for usage in usages):
        return True
    bases = [reply for reply in answered if reply.ask.key.startswith("usage/base/")]
    counts, sums = ({_prompt_tokens(reply, apart) for reply in bases} for apart in (False, True))
    return len(counts) > 1 and len(sums) == 1
