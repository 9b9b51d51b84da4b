"""Which reference packs speak about a claim, and where those that a transcript names are found again.

Packs are the installed ones, those that the user gives with --pack, and copies of the latter in the data directory, by digest, so
that `judge` finds them years later. Reads files; opens no socket.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache

from fingerprints.catalog import Claim, find
from fingerprints.pack_file import pack_bytes, read_packs
from fingerprints.packs import Pack, PackError, installed
from fingerprints.questions import Question, text_digest
from probes.probe import Reply
from verifier.places import data_directory, private_directory, write_private
from verifier.question_store import QuestionStore


def for_claim(claim: Claim | None, extra: Iterable[Pack] = ()) -> tuple[Pack, ...]:
    """The packs that hold the claimed model or its family, or all where nothing is claimed, with the texts that were fetched."""
    store = QuestionStore()
    packs = {pack.digest: pack for pack in (*installed(), *extra) if claim is None or speaks_of(pack, claim)}
    return tuple(store.with_texts(pack) for pack in packs.values())


def speaks_of(pack: Pack, claim: Claim) -> bool:
    """Whether a pack holds the claimed model or another of its family."""
    model = find(claim.model)
    names = {claim.model, model.name if model else claim.model}
    return any(held.name in names or (claim.family is not None and _family(held.name) == claim.family) for held in pack.models)


@lru_cache(maxsize=4096)
def _family(name: str) -> str | None:
    """The catalog's family: packs may sort models more coarsely."""
    found = find(name)
    return found.family if found is not None else None


def remember(packs: Sequence[Pack]) -> None:
    """Keep copies of packs that do not ship, so that a transcript which names them can be judged again."""
    shipped = {pack.digest for pack in installed()}
    for pack in packs:
        if pack.digest not in shipped:
            private_directory(data_directory())
            write_private(private_directory(data_directory() / "packs") / f"{pack.digest}.pack", pack_bytes(pack))


def named_by(digests: Sequence[str], extra: Iterable[Pack] = ()) -> tuple[Pack, ...]:
    """The packs of these digests, in their order, as far as they are installed, given or remembered."""
    known = {pack.digest: pack for pack in (*installed(), *extra)}
    return tuple(pack for digest in digests if (pack := known.get(digest) or _remembered(digest)) is not None)


def as_asked(packs: Iterable[Pack], replies: Iterable[Reply]) -> tuple[Pack, ...]:
    """The packs with exactly those texts that a transcript holds, so that reading it needs no store of texts and is the same anywhere."""
    texts = {text_digest(text): text for reply in replies for _, text in reply.ask.messages}
    return tuple(
        replace(pack, questions=tuple(replace(question, text=texts.get(question.sha256, _own(question))) for question in pack.questions))
        for pack in packs
    )


def _own(question: Question) -> str | None:
    return question.text if question.source is None else None


def _remembered(digest: str) -> Pack | None:
    try:
        packs = read_packs((data_directory() / "packs" / f"{digest}.pack").read_bytes())
    except (OSError, PackError):
        return None
    return next((pack for pack in packs if pack.digest == digest), None)
