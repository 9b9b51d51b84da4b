"""Finds a question's text in a file that somebody published: JSON, JSON lines, Python source or prose with quotations.

Takes bytes and the digests that are wanted, gives the texts that have them; the digest alone decides, so a file that was changed can
leave a text unfound but never alter one. Python is parsed and never run, and nothing here raises on any bytes.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
import zlib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from fingerprints.questions import text_digest

MAX_FILE_BYTES = 64_000_000
"""Of a file, after decompression: the largest answer file of the sources at hand has 5 MB."""
MAX_DEPTH = 50
_GZIP = b"\x1f\x8b"
# What prose quotes a text with. A text that holds its own quotation mark is not found this way; JSON and Python have escapes.
_QUOTED = re.compile(r"```[^\n]*\n(.*?)\n?```|``(.+?)``|`([^`]+)`|“([^”]+)”|「([^」]+)」|\"([^\"\n]+)\"", re.DOTALL)
_MAX_PYTHON_BYTES = 2_000_000
"""Python's parser needs about a hundred times a source's size."""


def find(data: bytes, wanted: Collection[str], position: Mapping[str, str] | None = None) -> dict[str, str]:
    """Digest -> text for each digest of `wanted` whose text stands in the file, where `position` says, or anywhere without one.

    `position` is {"python_constant": NAME}; or {"key": K}, a string under K anywhere in the JSON; or {"id_key": I, "id": ID, "key": K}, a
    string under K inside the record whose I is ID; or empty. It narrows the search; what it does not find there is not found."""
    plain = unzipped(data)
    if plain is None or not wanted:
        return {}
    left, found = set(wanted), dict[str, str]()
    for text in _at(plain, position) if position else strings(plain):
        digest = text_digest(text)
        if digest in left:
            found[digest] = text
            left.remove(digest)
            if not left:
                break
    return found


def strings(data: bytes) -> Iterator[str]:
    """Every text that the file may mean: strings of its JSON or JSON lines, else of its Python, else what its prose quotes."""
    text = data.decode("utf-8", "replace")
    documents = list(_documents(text))
    for document in documents:
        yield from _strings(document)
    if not documents:
        yield from (value for _, value in _python_strings(text))
        yield from (next(filter(None, groups), "") for groups in _QUOTED.findall(text))
        yield text
        yield text.strip()


def unzipped(data: bytes) -> bytes | None:
    """The bytes, unpacked where they are gzip; None where that fails or unpacks to more than MAX_FILE_BYTES."""
    if not data.startswith(_GZIP):
        return data if len(data) <= MAX_FILE_BYTES else None
    unpacker = zlib.decompressobj(wbits=31)
    try:
        plain = unpacker.decompress(data, MAX_FILE_BYTES)
    except zlib.error:
        return None
    return plain if unpacker.eof else None


def documents(data: bytes) -> list[Any]:
    """The JSON documents in a file, plain or gzip: one, or one a line. Empty where the file is neither."""
    plain = unzipped(data)
    return [] if plain is None else list(_documents(plain.decode("utf-8", "replace")))


def _documents(text: str) -> Iterator[Any]:
    try:
        yield json.loads(text)
        return
    except (ValueError, RecursionError):
        pass
    lines = []
    for line in text.splitlines() if text.lstrip()[:1] in ("{", "[") else ():
        if not line.strip():
            continue
        try:
            lines.append(json.loads(line))
        except (ValueError, RecursionError):
            if not lines:
                return  # not JSON lines; one broken line among good ones is left out
    yield from lines


def _at(data: bytes, position: Mapping[str, str]) -> Iterator[str]:
    text = data.decode("utf-8", "replace")
    if name := position.get("python_constant"):
        yield from (value for constant, value in _python_strings(text) if constant == name)
        return
    key, id_key = position.get("key"), position.get("id_key")
    for document in _documents(text):
        for record in _records(document, id_key, position.get("id")) if id_key else (document,):
            yield from _strings(record, key)


def _records(value: Any, id_key: str, wanted: str | None, depth: int = 0) -> Iterator[Any]:
    if depth > MAX_DEPTH:
        return
    if isinstance(value, dict):
        if id_key in value and str(value[id_key]) == wanted:
            yield value
            return
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from _records(inner, id_key, wanted, depth + 1)


def _strings(value: Any, key: str | None = None, depth: int = 0) -> Iterator[str]:
    """The strings in a JSON document; with `key`, only those that stand under it."""
    if depth > MAX_DEPTH:
        return
    if isinstance(value, str):
        if key is None:
            yield value
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner, key, depth + 1)
    elif isinstance(value, dict):
        for name, inner in value.items():
            if isinstance(inner, str):
                if key is None or name == key:
                    yield inner
            else:
                yield from _strings(inner, None if name == key else key, depth + 1)


def _python_strings(text: str) -> Iterator[tuple[str, str]]:
    """(name, value) of every string constant of a Python source; the name is empty where it is not simply assigned."""
    if len(text) > _MAX_PYTHON_BYTES:
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a stranger's invalid escapes are not our warnings
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    yield target.id, node.value.value
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield "", node.value
