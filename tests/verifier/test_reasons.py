"""Every reason code can be reached, is documented, and carries a sentence that a reader can check against report and transcript."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from benchmarks.simulated import Endpoint
from fingerprints import catalog
from fingerprints.catalog import Claim
from probes import paired
from probes.probe import Block, Evidence
from tests.checking import check_reasons
from tests.endpoints import claim_of, transcript_of
from verifier.auditing import conclude
from verifier.comparing import decide_same
from verifier.decide import decide
from verifier.reasons import _CODE

ROOT = Path(__file__).parents[2]
VERDICTS = ROOT / "docs" / "verdicts.md"
NAMES = ("o200k", "cl100k", "llama3", "claude3", "smollm")
MODELS = ("gpt-4o", "claude-3-opus", "llama-3.1-70b-instruct")
GPT, LLAMA, CLAUDE = (catalog.claim(name) for name in ("gpt-4o", "llama-3.1-70b-instruct", "claude-3-opus"))
STRANGER = Claim("nobody-knows-it", None, None, None, False)


def tokens(channel: str, best: str | None, e: float = 1.0, **fields: object) -> Evidence:
    logs = {name: (0.0 if name == best else -12.0) for name in (*NAMES, "unknown")}
    return Evidence(channel, Block.TOKENIZER, True, log_e=math.log(e), log_likelihood=logs, best=best, rounds=2, **fields)  # type: ignore[arg-type]


def answers(block: Block, best: str | None, e: float = 1.0, channel: str = "", **fields: object) -> Evidence:
    logs = {name: (0.0 if name == best else -9.0) for name in (*MODELS, "unknown")}
    return Evidence(channel or str(block), block, True, log_e=math.log(e), log_likelihood=logs, best=best, rounds=20, **fields)  # type: ignore[arg-type]


SUPPORT = {"supports_claim": True, "discriminating": 3}
CASES: dict[str, tuple[Claim | None, list[Evidence]]] = {
    "counts-match": (CLAUDE, [tokens("usage", "claude3", **SUPPORT)]),
    "cuts-match": (GPT, [tokens("truncation", "o200k", **SUPPORT)]),
    "edges-match": (GPT, [tokens("stream", "o200k", **SUPPORT)]),
    "tokens-match": (GPT, [tokens("logprobs", "o200k", **SUPPORT)]),
    "ids-match": (GPT, [tokens("bias", "o200k", **SUPPORT)]),
    "counts-contradict": (GPT, [tokens("usage", "claude3", 200)]),
    "cuts-contradict": (GPT, [tokens("truncation", "llama3", 2e3), tokens("stream", "llama3", 2e3)]),
    "edges-contradict": (GPT, [tokens("truncation", "llama3", 2e3), tokens("stream", "llama3", 2e3)]),
    "tokens-contradict": (GPT, [tokens("logprobs", None, 2e3), tokens("stream", "llama3", 2e3)]),
    "ids-contradict": (GPT, [tokens("bias", "llama3", 2e3), tokens("stream", "llama3", 2e3)]),
    "choices-match": (GPT, [answers(Block.CHOICE, "gpt-4o", supports_claim=True, resolution="model")]),
    "choices-contradict": (GPT, [answers(Block.CHOICE, "claude-3-opus", 2e3), tokens("stream", "llama3", 20)]),
    "style-match": (GPT, [answers(Block.STYLE, "gpt-4o", supports_claim=True, resolution="family")]),
    "style-contradict": (GPT, [answers(Block.STYLE, "claude-3-opus", 2e3), tokens("stream", "llama3", 20)]),
    "knowledge-match": (GPT, [answers(Block.KNOWLEDGE, "gpt-4o", supports_claim=True, resolution="model")]),
    "knowledge-contradict": (GPT, [answers(Block.KNOWLEDGE, "claude-3-opus", 2e3), tokens("stream", "llama3", 20)]),
    "pairs-contradict": (GPT, [answers(Block.CHOICE, None, 2e3, "paired"), tokens("stream", "llama3", 20)]),
    "pairs-match": (GPT, [tokens("truncation", "o200k", **SUPPORT), answers(Block.CHOICE, None, 0.1, "paired", supports_claim=True)]),
    "counts-only": (CLAUDE, [tokens("usage", "claude3", **SUPPORT)]),
    "counts-recountable": (GPT, [tokens("usage", "o200k", **SUPPORT)]),
    "usage-recounted": (LLAMA, [tokens("usage", "o200k", 0.25, recounted=True)]),
    "unknown-tokenizer": (GPT, [tokens("usage", None, 50)]),
    "one-channel": (GPT, [tokens("truncation", "llama3", 2e3)]),
    "one-explanation": (GPT, [answers(Block.CHOICE, None, 2e3), answers(Block.STYLE, None, 2e3)]),
    "channels-disagree": (GPT, [tokens("usage", "claude3", 20), tokens("truncation", "llama3", 2)]),
    "undecided": (GPT, [tokens("truncation", None, 0.9)]),
    "no-vocabulary-known": (STRANGER, [tokens("usage", "smollm")]),
    "not-tested": (GPT, [Evidence("usage", Block.TOKENIZER, False, why_not="the endpoint reports no usage")]),
    "foreign-marker": (GPT, [Evidence("surface", Block.SURFACE, True, log_e=0.4, best="anthropic")]),
    "named": (None, [tokens("usage", "smollm")]),
}


@pytest.mark.parametrize("code", CASES)
def test_each_reason_is_given_where_its_evidence_stands(code: str) -> None:
    claim, evidence = CASES[code]
    reasons = {reason.code: reason.text for reason in decide(evidence, claim, 0.01).reasons}
    assert code in reasons
    assert reasons[code].endswith(".") and "None" not in reasons[code]


@pytest.mark.parametrize(
    ("code", "named"),
    [("counts-contradict", "claude3"), ("cuts-contradict", "llama3"), ("style-match", "gpt-4o"), ("choices-contradict", "claude-3-opus")],
)
def test_a_reason_names_the_vocabulary_or_model_that_fits(code: str, named: str) -> None:
    claim, evidence = CASES[code]
    assert named in next(reason.text for reason in decide(evidence, claim, 0.01).reasons if reason.code == code)


WITHOUT_WEIGHT = {"style-alone"}
"""Channels whose e-value stays below LEANING and which support no claim: they get neither of their two codes."""


def pairs(log_e: float, same: bool = False, **shown: float) -> Evidence:
    rows = {paired.ROW_PAIRS: 40.0, paired.ROW_TOLERANCE: 0.1, paired.ROW_DIFFERENT: 30.0, paired.ROW_BOUND: 0.4} | shown
    measured = tuple({"key": key, "measured": value, "predicted": {}} for key, value in rows.items())
    return Evidence("paired", Block.CHOICE, True, log_e=log_e, supports_claim=same, measured=measured, rounds=40)


COMPARED = {
    "paired-differ": pairs(5.0),
    "paired-same": pairs(-1.0, same=True),
    "paired-undecided": pairs(-1.0),
    "not-tested": Evidence("paired", Block.CHOICE, False, why_not="no pair was asked"),
}


@pytest.mark.parametrize("code", COMPARED)
def test_each_reason_of_a_comparison_is_given_where_its_evidence_stands(code: str) -> None:
    (reason,) = decide_same(COMPARED[code], 0.01).reasons
    assert reason.code == code and reason.text.endswith(".") and "None" not in reason.text
    assert "40 pairs" in reason.text or code == "not-tested"


def test_no_reason_code_stands_in_the_code_that_this_walk_leaves_out() -> None:
    """Found in the source as a code followed by its sentence, so that a new one cannot come without its case."""
    modules = [ROOT / "verifier" / f"{name}.py" for name in ("reasons", "decide", "comparing")]
    source = "\n".join(path.read_text(encoding="utf-8") for path in modules)
    plain = set(re.findall(r'"([a-z]+(?:-[a-z]+)*)",\s*(?:f?"[A-Z{]|_[a-zA-Z_]+\b|text\))', source))
    halves = {end for end in ("match", "contradict") if f"-{end}" in source}
    assert {"undecided", "named", "paired-differ", "one-explanation", "foreign-marker"} <= plain  # the search finds what is known
    assert plain - {"consistent", "inconsistent"} <= set(CASES) | set(COMPARED) | ELSEWHERE  # outcomes stand before a resolution
    assert {f"{word}-{end}" for channel, word in _CODE.items() for end in halves if channel not in WITHOUT_WEIGHT} <= set(CASES)


AUDITS = {
    "honest": (Endpoint("claude3", copies=False), claim_of("claude3")),
    "cleared by its text": (Endpoint("llama3"), claim_of("llama3")),
    "posing": (Endpoint("smollm"), claim_of("llama3")),
    "posing without copies": (Endpoint("claude3", copies=False), claim_of("o200k")),
    "recounted": (Endpoint("llama3", recount="o200k", copies=False), claim_of("llama3")),
    "recounted but copying": (Endpoint("llama3", recount="o200k"), claim_of("llama3")),
    "counts that any gateway shows": (Endpoint("o200k", copies=False), claim_of("o200k")),
    "counts of one, text of another": (Endpoint("smollm", recount="llama3"), claim_of("llama3")),
    "no vocabulary known": (Endpoint("smollm"), claim_of(None)),
    "identified": (Endpoint("smollm"), None),
}


@pytest.mark.parametrize("name", AUDITS)
def test_every_reason_of_a_whole_audit_can_be_checked_against_its_transcript(name: str) -> None:
    endpoint, claim = AUDITS[name]
    transcript = transcript_of(endpoint, claim, suite="standard")
    report = conclude(transcript, transcript.to_bytes())
    check_reasons(report.data, transcript)


def test_a_reason_that_points_at_nothing_is_noticed() -> None:
    transcript = transcript_of(Endpoint("smollm"), claim_of("llama3"))
    sound = conclude(transcript, transcript.to_bytes()).data
    for wrong in (
        {
            "code": "counts-contradict",
            "text": "Prompt-token counts of fresh strings match the vocabulary qwen2.5, in 2 independent rounds.",
        },
        {"code": "counts-contradict", "text": "Prompt-token counts of fresh strings match the vocabulary smollm, in 9 independent rounds."},
        {"code": "cuts-contradict", "text": "Somebody told us."},
        {"code": "style-match", "text": "The answers to open questions with references fit the claimed model (gpt-4o)."},
        {"code": "not-tested", "text": "The free choices were not tested: we forgot."},
    ):
        with pytest.raises(AssertionError):
            check_reasons({**sound, "verdict": {**sound["verdict"], "reasons": [wrong]}}, transcript)
    with pytest.raises(AssertionError):
        check_reasons({**sound, "verdict": {**sound["verdict"], "reasons": []}}, transcript)


def test_the_codes_that_can_be_given_are_the_codes_that_are_documented() -> None:
    section = VERDICTS.read_text(encoding="utf-8").split("## Reason codes")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| ") and not line.startswith("| code")]
    documented = {code for row in rows for code in re.findall(r"[a-z]+(?:-[a-z]+)*", row)}
    assert set(CASES) <= documented
    assert documented <= set(CASES) | ELSEWHERE


ELSEWHERE = {"batch-error", "replies-mixed"}
"""Documented codes that other modules give, and whose own tests reach them."""
