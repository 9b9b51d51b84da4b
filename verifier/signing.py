"""Reports under a signature: an in-toto Statement in a DSSE envelope, signed with Ed25519.

Takes a finished report, its rendered page and a signer, gives the envelope's bytes; takes an envelope and trusted keys, gives what
was signed. It reads no file, no setting and no clock, so that the service can use it with keys from elsewhere. The private key must
never show in a repr, an error or a report.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import CryptoSigner, Signature, SSlibKey

from verifier.canonical import TamperedError, canonical, read_canonical, read_json
from verifier.errors import CannotRunError, UsageError
from verifier.report.model import EXIT_CODES, SCHEMA, Report
from verifier.transcript import digest

REPORT, TRANSCRIPT, PAGE, ENVELOPE = "report.json", "transcript.jsonl.gz", "report.html", "report.dsse.json"
SUBJECTS = (REPORT, TRANSCRIPT, PAGE)
"""The files that an envelope may cover, in their order in the statement; the page alone may be missing."""
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:truename:report:1"
MAX_ENVELOPE_BYTES = 32_000_000
"""Largest envelope that is read; a deep audit's is about 1 MB."""
SEED_BYTES = 32

_AGAIN = "ask whoever gave you the files for them again, or audit the endpoint yourself"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PEM_BLOCK = re.compile(rb"-----BEGIN [A-Z ]+-----.+?-----END [A-Z ]+-----", re.DOTALL)


class UnknownKeyError(TamperedError):
    """The signature is by a key that is not among the trusted ones."""


@dataclass(frozen=True, slots=True)
class Signer:
    """A private key that signs. `keyid` is securesystemslib's: SHA-256 (hex) of the public key's canonical JSON."""

    private: Ed25519PrivateKey = field(repr=False)

    @classmethod
    def generate(cls) -> Signer:
        """A new key from the system's randomness."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_text(cls, text: str, name: str = "the signing key") -> Signer:
        """Read a PEM private key (PKCS #8), or the key's 32 bytes in base64 or hexadecimal.

        Raises UsageError, which shows nothing of `text`.
        """
        try:
            if "-----BEGIN" in text:
                key = load_pem_private_key(text.strip().encode(), password=None)
                if not isinstance(key, Ed25519PrivateKey):
                    raise ValueError("another kind of key")
                return cls(key)
            given = text.strip()
            raw = bytes.fromhex(given) if len(given) == 2 * SEED_BYTES else base64.b64decode(given, validate=True)
            return cls(Ed25519PrivateKey.from_private_bytes(raw))
        except Exception:  # cryptography raises many kinds, and a chained one could quote the key
            remedy = f"give an Ed25519 private key as PEM, or its {SEED_BYTES} bytes in base64 or hexadecimal"
            raise UsageError(f"{name} is not an Ed25519 private key", remedy) from None

    @property
    def keyid(self) -> str:
        """The key's id, as envelopes and ledger entries name it."""
        return key_id(self.private.public_key())

    @property
    def private_pem(self) -> bytes:
        """The private key itself: for a file that only its owner can read."""
        return self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    @property
    def public_pem(self) -> bytes:
        """The public key, for whoever checks reports."""
        return self.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    @property
    def public(self) -> Keys:
        """The public key as a set of one."""
        return Keys.from_pem(self.public_pem)

    def envelope(self, payload: bytes, payload_type: str) -> Envelope:
        """A DSSE envelope around `payload`, signed."""
        made = Envelope(payload, payload_type, {})
        made.sign(CryptoSigner(self.private))
        return made


@dataclass(frozen=True, slots=True)
class Keys:
    """Trusted public keys by key id."""

    by_id: Mapping[str, SSlibKey] = field(default_factory=dict)

    @classmethod
    def from_pem(cls, data: bytes, name: str = "the key file") -> Keys:
        """Read one public key or several, one PEM block after the other. Raises CannotRunError for anything else."""
        try:
            keys = [load_pem_public_key(block) for block in _PEM_BLOCK.findall(data)]
            if not keys or not all(isinstance(key, Ed25519PublicKey) for key in keys):
                raise ValueError("no Ed25519 public key")
            known = [SSlibKey.from_crypto(key) for key in keys]
        except Exception as error:  # cryptography raises many kinds
            remedy = "give a PEM file that `truename keys export` wrote"
            raise CannotRunError(f"{name} holds no Ed25519 public key", remedy) from error
        return cls({key.keyid: key for key in known})

    def __or__(self, other: Keys) -> Keys:
        """All keys of both."""
        return Keys({**self.by_id, **other.by_id})

    def __iter__(self) -> Iterator[str]:
        return iter(self.by_id)

    def pem(self) -> bytes:
        """All keys, one PEM block after the other."""
        return b"".join(self.pem_of(keyid) for keyid in self.by_id)

    def pem_of(self, keyid: str) -> bytes:
        """One public key as PEM. Raises KeyError."""
        raw = bytes.fromhex(self.by_id[keyid].keyval["public"])
        return Ed25519PublicKey.from_public_bytes(raw).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def check(self, envelope: Envelope, name: str) -> None:
        """Every signature of the envelope is by one of these keys and holds. Raises UnknownKeyError or TamperedError."""
        for keyid in envelope.signatures:
            if keyid not in self.by_id:
                remedy = "get the signer's public key from the signer and name it with --key, or audit the endpoint yourself"
                raise UnknownKeyError(f"{name} is signed by the key {shown(keyid)}, which is not known here", remedy)
        try:
            envelope.verify(list(self.by_id.values()), threshold=max(1, len(envelope.signatures)))
        except (VerificationError, ValueError) as error:
            raise TamperedError(f"the signature of {name} does not hold", _AGAIN) from error


@dataclass(frozen=True, slots=True)
class Signed:
    """What an envelope holds whose signature was checked. The exact bytes of report.json are kept, and parsed beside."""

    report: bytes
    data: Mapping[str, Any]
    digests: Mapping[str, str]
    """SHA-256 (hex) of each covered file, by name."""
    keyids: tuple[str, ...]


def sign(report: Report, page: bytes | None, signer: Signer) -> bytes:
    """The envelope over a report, its transcript and, where there is one, its rendered page.

    Raises ValueError where the report was not drawn from the transcript that it carries.
    """
    if report.data["digests"]["transcript"] != digest(report.transcript):
        raise ValueError("the report names another transcript than it carries")
    files = {REPORT: report.to_bytes(), TRANSCRIPT: report.transcript, PAGE: page}
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [subject(name, digest(data)) for name, data in files.items() if data is not None],
        "predicateType": PREDICATE_TYPE,
        "predicate": dict(report.data),
    }
    return written(signer.envelope(canonical(statement), PAYLOAD_TYPE))


def verify_envelope(data: bytes, keys: Keys, name: str = ENVELOPE) -> Signed:
    """What was signed, read from an envelope whose form and signatures hold.

    Raises UnknownKeyError for a signature by a key that is not in `keys`, TamperedError for whatever else does not hold.
    """
    envelope = read_envelope(data, name)
    keys.check(envelope, name)
    if envelope.payload_type != PAYLOAD_TYPE:
        raise TamperedError(f"{name} does not hold an in-toto statement", _AGAIN)
    statement = read_canonical(envelope.payload, f"the statement in {name}", _AGAIN)
    digests = _digests(statement, name)
    report = canonical(statement["predicate"])
    if digests[REPORT] != digest(report):
        raise TamperedError(f"{name} covers another {REPORT} than the one that it holds", _AGAIN)
    return Signed(report, statement["predicate"], digests, tuple(envelope.signatures))


def read_envelope(data: bytes, name: str = ENVELOPE) -> Envelope:
    """An envelope in the one form that it can have: canonical JSON, no other key, strict base64. Checks no signature.

    Raises TamperedError.
    """
    if len(data) > MAX_ENVELOPE_BYTES:
        raise TamperedError(f"{name} is larger than {MAX_ENVELOPE_BYTES} bytes", _AGAIN)
    try:
        found = read_json(data)
        if any(set(each) != {"keyid", "sig"} for each in found["signatures"]) or not found["signatures"]:
            raise ValueError("a signature needs a keyid and a sig, and nothing else")
        ids = [each["keyid"] for each in found["signatures"]]
        if ids != sorted(set(ids)) or not all(_SHA256.fullmatch(keyid) for keyid in ids):
            raise ValueError("the key ids are malformed, double or out of order")
        envelope = Envelope(
            _decoded(found["payload"]),
            str(found["payloadType"]),
            {each["keyid"]: Signature(each["keyid"], _decoded(each["sig"]).hex()) for each in found["signatures"]},
        )
        own = written(envelope)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise TamperedError(f"{name} is not a DSSE envelope ({_line(error)})", _AGAIN) from error
    if own != data:
        raise TamperedError(f"{name} is not in its canonical form (RFC 8785, strict base64, no other keys)", _AGAIN)
    return envelope


def written(envelope: Envelope) -> bytes:
    """An envelope's bytes, in the one form that it can have."""
    return canonical(envelope.to_dict())


def subject(name: str, sha256: str) -> dict[str, Any]:
    """A file of an in-toto statement."""
    return {"name": name, "digest": {"sha256": sha256}}


def key_id(public: Ed25519PublicKey) -> str:
    """A public key's id: SHA-256 (hex) of its canonical JSON, as securesystemslib makes it."""
    return str(SSlibKey.from_crypto(public).keyid)


def shown(keyid: str) -> str:
    """A key id short enough for a line."""
    return f"{keyid[:16]}…"


def _digests(statement: Any, name: str) -> dict[str, str]:
    """Digests by file name of a statement that is one of ours. Raises TamperedError."""
    try:
        digests = {each["name"]: each["digest"]["sha256"] for each in statement["subject"]}
        own = {
            "_type": STATEMENT_TYPE,
            "subject": [subject(each, digests[each]) for each in _covered(digests)],
            "predicateType": PREDICATE_TYPE,
            "predicate": statement["predicate"],
        }
        report = statement["predicate"]
        ours = statement == own and report["schema"] == SCHEMA and report["verdict"]["outcome"] in EXIT_CODES
        transcript, _ = report["digests"]["transcript"], report["digests"]["previous"]
        if not ours or not all(_SHA256.fullmatch(each) for each in digests.values()):
            raise ValueError("another statement")
    except (KeyError, TypeError, ValueError) as error:
        raise TamperedError(f"the statement in {name} is not about a Truename report", _AGAIN) from error
    if transcript != digests[TRANSCRIPT]:
        raise TamperedError(f"the report in {name} was drawn from another transcript than the one that is covered", _AGAIN)
    return digests


def _covered(names: Iterable[str]) -> list[str]:
    """The files of a complete statement: those that must be there, and the page where it is named."""
    return [name for name in SUBJECTS if name != PAGE or PAGE in names]


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeError):
        raise ValueError("not base64") from None


def _line(error: Exception) -> str:
    return str(error)[:80] if type(error) is ValueError else type(error).__name__
