"""The report as data: built from a transcript and a verdict, written as `truename.report/1` JSON.

Takes what the pure middle concluded and gives the report's exact JSON object; numbers are rounded to 6 significant digits
before they are written, so that a replay gives the same bytes. Holds no key and no query string.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fingerprints.catalog import Claim
from probes.probe import Evidence
from verifier.backends import ONE_BACKEND, Backends
from verifier.canonical import LARGEST_INTEGER, canonical, read_json
from verifier.decide import Verdict
from verifier.errors import CannotRunError
from verifier.lineage import lineage
from verifier.transcript import Transcript, digest, total

SCHEMA = "truename.report/1"
EXIT_CODES = {"consistent": 0, "inconsistent": 1, "inconclusive": 3}
MAX_LOG_E = 300.0
"""Natural log beyond which an e-value is written as exp(300): JSON readers overflow at exp(709)."""
LISTED_CANDIDATES = 12
"""Candidates written out in attribution and tokenizer; the rest add up to less than the last of them each."""


@dataclass(frozen=True, slots=True, eq=True)
class Report:
    """A finished report. `data` is the JSON object of the contract; `transcript` the exact bytes that it was drawn from."""

    data: Mapping[str, Any]
    transcript: bytes = b""

    @property
    def outcome(self) -> str:
        """consistent, inconsistent or inconclusive."""
        return str(self.data["verdict"]["outcome"])

    @property
    def exit_code(self) -> int:
        """What the command line exits with."""
        return EXIT_CODES[self.outcome]

    def to_bytes(self) -> bytes:
        """The exact bytes of report.json: the canonical form of `data` (RFC 8785), without a line end."""
        return canonical(dict(self.data))

    def to_json(self) -> str:
        """`to_bytes` as text."""
        return self.to_bytes().decode("utf-8")

    def save(self, folder: Path, lang: str = "en") -> Report:
        """Sign the report, enter it into the ledger and write its files into `folder`, which is made.

        Gives the report as it was written: with the digest of the one before it. Raises CannotRunError where the folder or the
        data directory cannot be written.
        """
        from verifier.publishing import publish

        return publish(self, folder, lang)


def build(
    transcript: Transcript,
    data: bytes,
    evidence: Sequence[Evidence],
    verdict: Verdict,
    claim: Claim | None,
    progress: Sequence[Mapping[str, float]],
    behind: Backends = ONE_BACKEND,
) -> Report:
    """The report on `transcript`, whose exact file bytes are `data`, judged against `claim`.

    `progress` is as accumulation.py gives it, `behind` as backends.py does."""
    header = transcript.header
    seconds = max((reply.at + reply.seconds for reply in transcript.replies), default=0.0)
    told = lineage(evidence, verdict.who, transcript.replies, header.target["wire"])
    body: dict[str, Any] = {
        "schema": SCHEMA,
        "id": "tn-" + digest(data)[:20],
        "created": header.started,
        "truename_version": header.version,
        "claim": {
            "model": claim.model if claim else None,
            "family": claim.family if claim else None,
            "tokenizer": claim.tokenizer if claim else None,
            "in_catalog": claim.in_catalog if claim else False,
        },
        "target": dict(header.target),
        "reference": dict(header.reference) if header.reference else None,
        "verdict": _verdict(verdict),
        "findings": [{"code": f.code, "strength": f.strength, "text": f.text, "ask_ids": list(f.ask_ids)} for f in verdict.findings],
        "lineage": told.to_json() if told else None,
        "blocks": _blocks(evidence),
        "mixture": behind.mixture,
        "switches": list(behind.switches),
        "progress": list(progress),
        "cost": {
            "requests": sum(reply.attempts for reply in transcript.replies),
            "prompt_tokens": total(transcript.replies, "prompt_tokens"),
            "completion_tokens": total(transcript.replies, "completion_tokens"),
            "seconds": seconds,
            "stopped_early": transcript.stopped_early,
        },
        "digests": {
            "suite": header.digests.suite,
            "signatures": header.digests.signatures,
            "packs": header.digests.packs,
            "transcript": digest(data),
            "previous": None,
        },
        "seed": header.seed,
    }
    if verdict.carried is not None:
        body["carried"] = asdict(verdict.carried)
    return Report(rounded(body), data)


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "outcome": verdict.outcome,
        "e_value": _e_value(verdict.log_e),
        "alpha": verdict.alpha,
        "reasons": [{"code": reason.code, "text": reason.text} for reason in verdict.reasons],
        "attribution": [
            {"candidate": c.name, "family": c.family, "posterior": c.posterior} for c in verdict.who.candidates[:LISTED_CANDIDATES]
        ],
        "attribution_set": list(verdict.who.credible),
        "unknown": verdict.who.unknown,
        "tokenizer": [{"family": name, "posterior": p} for name, p in verdict.tokenizer[:LISTED_CANDIDATES]],
        "resolution": verdict.resolution,
        "excludes_share": verdict.excludes_share,
        "next": verdict.next,
    }


def _blocks(evidence: Sequence[Evidence]) -> dict[str, Any]:
    """Per block, per channel: whether it was tested, what it says of every candidate, and its measurements."""
    blocks: dict[str, Any] = {}
    for e in evidence:
        blocks.setdefault(str(e.block), {})[e.channel] = {
            "tested": e.tested,
            "why_not": e.why_not,
            "e_value": _e_value(e.log_e),
            "log_likelihood": dict(sorted(e.log_likelihood.items())),
            "best": e.best,
            "requests": e.requests,
            "measured": list(e.measured),
        }
    return blocks


def _e_value(log_e: float) -> float:
    return math.exp(max(-MAX_LOG_E, min(MAX_LOG_E, log_e)))


def rounded(value: Any) -> Any:
    """`value` with every float at 6 significant digits, integers within what a double holds, and texts that UTF-8 can hold.

    Raises ValueError for NaN and infinities: neither is JSON.
    """
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("a report holds finite numbers only")
        return float(f"{value:.6g}")
    if isinstance(value, int) and abs(value) > LARGEST_INTEGER:
        return LARGEST_INTEGER if value > 0 else -LARGEST_INTEGER  # no endpoint's counts come near: only a made-up transcript's
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # a lone surrogate becomes U+FFFD
    if isinstance(value, Mapping):
        return {str(rounded(str(key))): rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return value


def load_report(path: str | Path) -> Report:
    """Read a report.json, or the folder that holds it. Raises CannotRunError where there is none."""
    file = Path(path)
    file = file / "report.json" if file.is_dir() else file
    try:
        data = read_json(file.read_bytes())
        if not isinstance(data, dict) or data.get("schema") != SCHEMA:
            raise ValueError("another schema")
        stored = file.with_name("transcript.jsonl.gz")
        return Report(data, stored.read_bytes() if stored.exists() else b"")
    except (OSError, ValueError, RecursionError) as error:
        raise CannotRunError(
            f"{file} is not a readable Truename report ({type(error).__name__})", "give a report.json or its folder"
        ) from error
