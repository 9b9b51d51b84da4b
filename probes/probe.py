"""The plain data that a probe and the rest of Truename exchange, and the protocol that every probe keeps.

A probe yields `Ask`s and is handed `Reply`s; it turns them into `Evidence`. Everything here is frozen, holds no secret and
writes itself to plain JSON, so that a stored transcript can be read again years later. Nothing here opens a socket, reads a
clock or draws unseeded randomness.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

JSON = dict[str, Any]


class Block(StrEnum):
    """A group of channels that depend on one another; evidence is pooled inside a block before blocks are combined."""

    TOKENIZER = "tokenizer"
    CHOICE = "choice"
    KNOWLEDGE = "knowledge"
    STYLE = "style"
    SURFACE = "surface"


@dataclass(frozen=True, slots=True)
class Ask:
    """One question to the endpoint, as the wire adapters need it. Hashable."""

    probe: str
    """Name of the probe that asks."""
    key: str
    """Which of the probe's questions this is, unique within the probe, such as `usage/2/1`."""
    messages: tuple[tuple[str, str], ...]
    """(role, content) pairs, oldest first."""
    max_tokens: int
    payload: str = ""
    """The part of the messages that the probe measures: the fresh random text."""
    temperature: float | None = 0.0
    top_p: float | None = None
    """Probability mass that tokens are drawn from: 1 is all of it. None leaves it to the endpoint, whose default may be less."""
    stream: bool = False
    logprobs: int | None = None
    """How many alternatives per token to ask for; None asks for no log probabilities."""
    logit_bias: tuple[tuple[int, int], ...] = ()
    """(token id, bias from -100 to 100) pairs; empty asks for none."""
    raw: str | None = None
    """A JSON object (as text) of request fields that replace the wire's own, for questions about the protocol itself."""
    to: str = "target"
    """Which endpoint is asked: the `target` under audit, or the `reference` that a paired test compares it with."""

    def to_json(self) -> JSON:
        """A JSON object that `from_json` reads back to an equal Ask. `top_p` is written where it is set: older transcripts have none."""
        data = dataclasses.asdict(self) | {"messages": [list(message) for message in self.messages]}
        return data if self.top_p is not None else {name: value for name, value in data.items() if name != "top_p"}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Ask:
        """Read what `to_json` wrote. Raises KeyError or TypeError on anything else."""
        values = dict(data)
        values["messages"] = tuple((str(role), str(content)) for role, content in values["messages"])
        values["logit_bias"] = tuple((int(token), int(bias)) for token, bias in values.get("logit_bias", ()))
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts as the endpoint reported them; None where it reported none."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Chunk:
    """One streamed piece of text and when it came, in seconds after the request was sent."""

    text: str
    at: float


@dataclass(frozen=True, slots=True)
class TokenBytes:
    """One token of a reply as its log probabilities spell it, with the alternatives that the model weighed."""

    token: bytes
    alternatives: tuple[bytes, ...] = ()

    def to_json(self) -> list[str]:
        """Hexadecimal: the token, then its alternatives."""
        return [piece.hex() for piece in (self.token, *self.alternatives)]

    @classmethod
    def from_json(cls, data: Sequence[str]) -> TokenBytes:
        """Read what `to_json` wrote. Raises ValueError or IndexError on anything else."""
        first, *others = (bytes.fromhex(piece) for piece in data)
        return cls(first, tuple(others))


@dataclass(frozen=True, slots=True)
class ReplyError:
    """Why a request gave no usable answer. `kind` is one of ERROR_KINDS; `text` is one redacted line."""

    kind: str
    text: str


ERROR_KINDS = (
    "refused-key",  # 401 or 403
    "not-found",  # 404: wrong path or unknown model
    "bad-request",  # any other 4xx
    "rate-limited",  # 429 after all retries
    "server-error",  # 5xx after all retries
    "unreachable",  # no connection, name not resolved, TLS failure
    "timeout",  # no complete answer within the time cap
    "too-large",  # a cap on bytes, chunks or headers was exceeded
    "bad-encoding",  # compressed although identity was asked for
    "bad-reply",  # not JSON, or JSON without the fields that the wire needs
    "cut-stream",  # the stream ended before it said that it was complete
    "redirected",  # 3xx: never followed
)


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back for one Ask. Text is hostile input: it is stored as it came and escaped where it is shown."""

    ask: Ask
    status: int | None = None
    model: str | None = None
    id: str | None = None
    system_fingerprint: str | None = None
    text: str = ""
    finish: str | None = None
    """Why generation stopped, normalised: `stop`, `length`, or the endpoint's own word."""
    usage: Usage | None = None
    chunks: tuple[Chunk, ...] = ()
    tokens: tuple[TokenBytes, ...] = ()
    """The reply's tokens where log probabilities were asked for and came."""
    headers: tuple[tuple[str, str], ...] = ()
    """Response headers, names in lower case, values of secret-bearing ones replaced by `<redacted>`."""
    error: ReplyError | None = None
    attempts: int = 1
    at: float = 0.0
    """Seconds from the start of the audit to the sending of the (last attempt of the) request."""
    seconds: float = 0.0
    sha256: str = ""
    """Hex digest of the raw body bytes as they came."""

    @property
    def ok(self) -> bool:
        """Whether the endpoint answered the question at all."""
        return self.error is None

    def to_json(self) -> JSON:
        """A JSON object that `from_json` reads back to an equal Reply."""
        return {
            "ask": self.ask.to_json(),
            "status": self.status,
            "model": self.model,
            "id": self.id,
            "system_fingerprint": self.system_fingerprint,
            "text": self.text,
            "finish": self.finish,
            "usage": None if self.usage is None else dataclasses.asdict(self.usage),
            "chunks": [[chunk.text, chunk.at] for chunk in self.chunks],
            "tokens": [token.to_json() for token in self.tokens],
            "headers": [list(header) for header in self.headers],
            "error": None if self.error is None else dataclasses.asdict(self.error),
            "attempts": self.attempts,
            "at": self.at,
            "seconds": self.seconds,
            "sha256": self.sha256,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Reply:
        """Read what `to_json` wrote. Raises KeyError or TypeError on anything else."""
        values = dict(data)
        values["ask"] = Ask.from_json(values["ask"])
        values["usage"] = None if values["usage"] is None else Usage(**values["usage"])
        values["chunks"] = tuple(Chunk(str(text), float(at)) for text, at in values["chunks"])
        values["tokens"] = tuple(TokenBytes.from_json(token) for token in values["tokens"])
        values["headers"] = tuple((str(name), str(value)) for name, value in values["headers"])
        values["error"] = None if values["error"] is None else ReplyError(**values["error"])
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that the reader should know, whether or not it decides the verdict. Codes are listed in the contract."""

    code: str
    strength: str
    """weak, moderate or strong."""
    text: str
    ask_ids: tuple[str, ...] = ()
    """Keys of the asks whose replies show it."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one probe (channel) concludes from its own replies."""

    channel: str
    block: Block
    tested: bool
    why_not: str | None = None
    """Why the channel says nothing, where `tested` is false."""
    log_e: float = 0.0
    """Natural log of an e-value against "serves the claimed model under an allowed configuration"; 0 where untested."""
    log_likelihood: Mapping[str, float] = field(default_factory=dict)
    """Log-likelihood per candidate and of `unknown`, up to one common constant, bounded. Candidates are vocabularies in the
    block TOKENIZER, in other blocks names of models or families as the catalog spells them."""
    best: str | None = None
    """The candidate that the replies match at the channel's own resolution; None where nothing known fits."""
    supports_claim: bool = False
    """The replies match the claim in the strict sense: what the channel saw is what the claimed model alone would show."""
    recounted: bool = False
    """The replies fit the claim only under an allowed reconfiguration (recounted or scaled usage)."""
    resolution: str = "tokenizer"
    """The finest level that `best` and `supports_claim` speak for: tokenizer, family or model."""
    discriminating: int = 0
    """Number of fresh replies that match the claim and would have differed for every other distinguishable candidate."""
    answers: str = ""
    """Name of the probe whose answers were read, where that is another one's: such channels share their answers and average."""
    rounds: int = 0
    """Independent rounds of fresh questions in which `best` matched."""
    requests: int = 0
    findings: tuple[Finding, ...] = ()
    measured: tuple[JSON, ...] = ()
    """Rows of what was measured against what was predicted, for the report's tables."""


class Probe(Protocol):
    """One instrument. Its state is its plan; replies are handed in each time, so that a replay gives the same result."""

    name: str
    block: Block
    reads: tuple[str, ...]
    """Names of the probes whose replies `read` wants; usually its own alone. A probe may read what another asked for."""
    goal: str
    """One sentence for the reader of a plan: what the questions find out."""

    def next_round(self, replies: Sequence[Reply]) -> Sequence[Ask]:
        """The next questions given the replies to the asks of `reads`; empty when the probe has asked all it wants."""
        ...

    def read(self, replies: Sequence[Reply]) -> Evidence:
        """The replies to the asks of `reads` so far as evidence. Pure; never raises on hostile replies."""
        ...
