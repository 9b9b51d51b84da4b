"""What there is to say of a pack: a line, everything, and whether it holds, as plain data and as text.

Takes packs as they were read and the store of questions' texts; gives dicts and strings. It reads no file of its own and prints nothing.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fingerprints.packs import Pack, stale
from verifier.enrolling import today
from verifier.pack_files import PackFile
from verifier.question_store import QuestionStore
from verifier.signing import Keys, shown


def summary(pack: Pack, file: PackFile, store: QuestionStore) -> dict[str, Any]:
    """A pack in a few fields."""
    texts = sum(store.text_of(question) is not None for question in pack.questions)
    return {
        "name": pack.name,
        "version": pack.version,
        "kind": pack.kind,
        "place": file.place,
        "created": pack.created,
        "expires": pack.expires,
        "stale": stale(pack, today()),
        "models": len(pack.models),
        "questions": len(pack.questions),
        "texts": texts,
        "digest": pack.digest,
    }


def everything(pack: Pack, file: PackFile, store: QuestionStore) -> dict[str, Any]:
    """A pack with its models and questions; no text of a question."""
    questions = []
    for question in pack.questions:
        source = None if question.source is None else asdict(question.source) | {"position": dict(question.source.position)}
        row = {"id": question.id, "sha256": question.sha256, "kind": question.kind, "language": question.language}
        questions.append(row | {"text_here": store.text_of(question) is not None, "source": source})
    return summary(pack, file, store) | {
        "origin": pack.origin,
        "licence": pack.licence,
        "signed_by": file.signed_by,
        "keyid": file.keyid,
        "models": [asdict(model) for model in pack.models],
        "questions": questions,
    }


def page(whole: dict[str, Any]) -> str:
    """What `everything` gave, to be read."""
    lines = [
        f"{whole['name']} {whole['version']} ({whole['kind']})",
        f"  digest   {whole['digest']}",
        f"  origin   {whole['origin']}",
        f"  licence  {whole['licence']}",
        f"  created  {whole['created']}, expires {whole['expires'] or 'never'}" + (f": {whole['stale']}" if whole["stale"] else ""),
        f"  signed   {'by ' + whole['signed_by'] + ', key ' + whole['keyid'] if whole['signed_by'] else 'no'}",
        f"  models   {len(whole['models'])}",
        *(f"    {m['name']}\t{m['samples']} answers\tfamily {m['family']}\tbase {m['base']}" for m in whole["models"]),
        f"  questions {len(whole['questions'])}, texts here {whole['texts']}",
    ]
    for q in whole["questions"]:
        origin = "our own" if q["source"] is None else f"{q['source']['repository']}/{q['source']['path']}"
        lines.append(f"    {q['id']}\t{q['language']}\t{q['sha256'][:16]}\t{'text here' if q['text_here'] else 'not fetched'}\t{origin}")
    return "\n".join(lines)


def checked(pack: Pack, file: PackFile, keys: Keys) -> dict[str, Any]:
    """What is said of a pack of a file that holds; `keys` are those whose signatures are called known."""
    known = None if file.keyid is None else file.keyid in keys.by_id
    return {
        "place": file.place,
        "holds": True,
        "name": pack.name,
        "kind": pack.kind,
        "digest": pack.digest,
        "signed_by": file.signed_by,
        "keyid": file.keyid,
        "key_known": known,
        "why": stale(pack, today()),
    }


def verified(row: dict[str, Any]) -> str:
    """A line (two where the pack is out of date) that says whether a file holds."""
    if not row["holds"]:
        return f"{'DOES NOT HOLD' if row['holds'] is False else 'UNREADABLE'}\t{row['why']}"
    signed = ", not signed"
    if row["signed_by"]:
        known = "known here" if row["key_known"] else "a key that is not known here"
        signed = f", signed by {row['signed_by'][:16]}… (key {shown(row['keyid'])}, {known})"
    note = f"\n\tnote: {row['why']}" if row["why"] else ""
    return f"holds\t{row['place']}\t{row['name']}\t{row['kind']}\t{row['digest']}{signed}{note}"
