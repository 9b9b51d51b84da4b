"""The stored record of an audit: a header line, then one line per reply, as gzipped JSON lines.

A transcript is what conclusions are drawn from, so it holds all that they depend on (claim, settings, seed, digests) and no
secret. Bytes are the truth: digests cover the file as it lies, and reading then writing gives the same bytes.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

from fingerprints.catalog import Claim
from fingerprints.wire import Wire
from probes.paired import PAIRS
from probes.probe import Reply
from probes.suite import SUITES
from verifier.errors import CannotRunError

SCHEMA = "truename.transcript/1"
MAX_BYTES = 64_000_000
"""Largest uncompressed transcript that is read; a deep audit's is about 2 MB."""


OPTIONAL = frozenset({"packs", "batch", "carried", "reference", "paired", "prompts"})
"""Header fields that are written only where they are set."""


@dataclass(frozen=True, slots=True)
class Digests:
    """SHA-256 (hex) of what the conclusions depend on."""

    suite: str
    signatures: str
    packs: str = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True)
class Header:
    """The first line: everything that the conclusions depend on besides the replies."""

    version: str
    """Truename's version that asked."""
    started: str
    """UTC, ISO 8601, seconds."""
    target: Mapping[str, str]
    """origin, model, wire."""
    claim: Claim | None
    suite: str
    seed: int
    alpha: float
    early_stop: bool
    max_requests: int
    max_tokens: int | None
    digests: Digests
    packs: tuple[str, ...] = ()
    """Digests of the reference packs that the claim was judged by, in order."""
    batch: Mapping[str, float] | None = None
    """Where the audit was one of many: {"endpoints": rows, "alpha": error rate over all of them}."""
    carried: Mapping[str, float] | None = None
    """Where earlier audits count: {"looks": audits so far, "log_sum": their log weighted sum} (verifier/multiple.py)."""
    reference: Mapping[str, str] | None = None
    """Where a live reference was asked beside the target: its origin, model, wire."""
    paired: Mapping[str, float] | None = None
    """With a reference: {"tolerance": total variation allowed, "pairs": most pairs asked} (probes/paired.py)."""
    prompts: tuple[tuple[str, str], ...] = ()
    """The user's own open questions, (id, prompt) pairs."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """An audit's header and its replies, in the order of their questions."""

    header: Header
    replies: tuple[Reply, ...]
    stopped_early: bool = False

    def to_bytes(self) -> bytes:
        """The file's bytes: gzip without a time stamp, so that equal transcripts are equal files."""
        used = {name: value for name, value in asdict(self.header).items() if name not in OPTIONAL or value}
        first = {"schema": SCHEMA, **used, "stopped_early": self.stopped_early}
        lines = [first, *(reply.to_json() for reply in self.replies)]
        text = "".join(_dump(line) + "\n" for line in lines)
        buffer = io.BytesIO()
        with gzip.GzipFile(fileobj=buffer, mode="wb", filename="", mtime=0) as file:
            file.write(text.encode("utf-8", "surrogatepass"))
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes, name: str = "the transcript") -> Transcript:
        """Read a file's bytes. Raises CannotRunError, naming `name`, where they are not a transcript."""
        try:
            lines = _lines(data)
            first: dict[str, Any] = json.loads(lines[0])
            if first.pop("schema") != SCHEMA:
                raise ValueError("another schema")
            stopped_early = bool(first.pop("stopped_early"))
            claim = None if first["claim"] is None else Claim(**first["claim"])
            packs = tuple(str(each) for each in first.get("packs", ()))
            prompts = tuple((str(name), str(prompt)) for name, prompt in first.get("prompts", ()))
            header = Header(**{**first, "claim": claim, "digests": Digests(**first["digests"]), "packs": packs, "prompts": prompts})
            if header.suite not in SUITES or header.target["wire"] not in list(Wire) or not 0 < header.alpha < 1 or not _comparable(header):
                raise ValueError("settings that no audit has")
            date.fromisoformat(header.started[:10])
            replies = tuple(Reply.from_json(json.loads(line)) for line in lines[1:])
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, OSError, EOFError, zlib.error, RecursionError) as error:
            problem = f"{name} is not a readable Truename transcript ({type(error).__name__})"
            raise CannotRunError(problem, "give a transcript.jsonl.gz that `truename audit --out` wrote") from error
        return cls(header, replies, stopped_early)

    @classmethod
    def load(cls, path: Path) -> tuple[Transcript, bytes]:
        """Read a transcript file, or the one inside an audit's folder; gives it with its exact bytes."""
        file = path / "transcript.jsonl.gz" if path.is_dir() else path
        try:
            data = file.read_bytes()
        except OSError as error:
            raise CannotRunError(f"{file} cannot be read ({error.strerror})", "check the path") from error
        return cls.from_bytes(data, str(file)), data


def _comparable(header: Header) -> bool:
    """Whether the header names no reference, or one that an audit could have asked."""
    if header.reference is None or header.paired is None:
        return header.reference is None and header.paired is None
    tolerance, pairs = float(header.paired["tolerance"]), float(header.paired["pairs"])
    named = all(isinstance(header.reference[name], str) for name in ("origin", "model", "wire"))
    return named and header.reference["wire"] in list(Wire) and 0.0 <= tolerance <= 1.0 and 0.0 <= pairs <= max(PAIRS.values())


def _lines(data: bytes) -> list[str]:
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
        raw = file.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise ValueError("too large")
    return raw.decode("utf-8", "surrogatepass").splitlines()


def _dump(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=True, sort_keys=True, separators=(",", ":"))


def digest(data: bytes) -> str:
    """SHA-256 (hex) of a file's bytes."""
    return hashlib.sha256(data).hexdigest()


def total(replies: Sequence[Reply], field: str) -> int:
    """Sum of one usage field (`prompt_tokens`, `completion_tokens`) over the replies that report it."""
    return sum(getattr(reply.usage, field) or 0 for reply in replies if reply.usage is not None)
