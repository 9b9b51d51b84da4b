"""The summary of a batch under a signature: what `truename audit --targets` writes beside the signed reports of its rows.

Takes the summary as data, its rendered page and a signer, gives an envelope's bytes that name the digest of every row's report.json; takes
an envelope and trusted keys, gives what was signed. It reads no file: verifier.verifying_batch does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from verifier.canonical import TamperedError, canonical, read_canonical
from verifier.signing import PAYLOAD_TYPE, REPORT, STATEMENT_TYPE, Keys, Signer, read_envelope, subject, written
from verifier.transcript import digest

SCHEMA = "truename.batch/1"
SUMMARY, PAGE, ENVELOPE = "batch.json", "batch.html", "batch.dsse.json"
PREDICATE_TYPE = "urn:truename:batch:1"
_AGAIN = "ask whoever gave you the files for them again, or audit the endpoints yourself"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FOLDER = re.compile(r"[0-9]{3,6}-[0-9A-Za-z.-]{0,60}")
"""A row's folder: what verifier.batch makes, and never a path that leaves the batch's own folder."""


@dataclass(frozen=True, slots=True)
class SignedBatch:
    """What a batch's envelope holds whose signature was checked."""

    data: Mapping[str, Any]
    digests: Mapping[str, str]
    """SHA-256 (hex) of each covered file, by its path in the batch's folder."""
    keyids: tuple[str, ...]

    @property
    def reports(self) -> dict[str, str]:
        """Folder -> SHA-256 (hex) of the row's report.json, of the rows that have one."""
        return {row["folder"]: row["report"] for row in self.data["rows"] if row["outcome"] is not None}


def sign_batch(data: Mapping[str, Any], page: bytes | None, signer: Signer) -> bytes:
    """The envelope over a batch's summary, its page where there is one, and the report of every row that has one."""
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [subject(name, sha256) for name, sha256 in _covered(data, None if page is None else digest(page)).items()],
        "predicateType": PREDICATE_TYPE,
        "predicate": dict(data),
    }
    return written(signer.envelope(canonical(statement), PAYLOAD_TYPE))


def verify_batch_envelope(envelope: bytes, keys: Keys) -> SignedBatch:
    """What was signed, read from an envelope whose form and signatures hold.

    Raises UnknownKeyError for a signature by a key that is not in `keys`, TamperedError for whatever else does not hold.
    """
    found = read_envelope(envelope, ENVELOPE)
    keys.check(found, ENVELOPE)
    statement = read_canonical(found.payload, f"the statement in {ENVELOPE}", _AGAIN)
    try:
        digests = {each["name"]: each["digest"]["sha256"] for each in statement["subject"]}
        data = statement["predicate"]
        own = {
            "_type": STATEMENT_TYPE,
            "subject": [subject(name, sha256) for name, sha256 in _covered(data, digests.get(PAGE)).items()],
            "predicateType": PREDICATE_TYPE,
            "predicate": data,
        }
        folders = [row["folder"] for row in data["rows"] if row["outcome"] is not None]
        ours = found.payload_type == PAYLOAD_TYPE and statement == own and data["schema"] == SCHEMA
        if not ours or len(set(folders)) < len(folders) or not all(_FOLDER.fullmatch(each) for each in folders):
            raise ValueError("another statement")
        if not all(_SHA256.fullmatch(each) for each in digests.values()):
            raise ValueError("a digest that is none")
    except (KeyError, TypeError, ValueError) as error:
        raise TamperedError(f"the statement in {ENVELOPE} is not about a batch of Truename's", _AGAIN) from error
    return SignedBatch(data, digests, tuple(found.signatures))


def _covered(data: Mapping[str, Any], page: str | None) -> dict[str, str]:
    """Digests by path of all that an envelope of this batch covers, in the statement's order."""
    rows = {f"{row['folder']}/{REPORT}": row["report"] for row in data["rows"] if row["outcome"] is not None}
    return {SUMMARY: digest(canonical(dict(data))), **rows, **({} if page is None else {PAGE: page})}
