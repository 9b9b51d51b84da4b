"""Reads the user's own open questions, `--prompts FILE`: JSON lines of {"id", "prompt"}.

Takes a path, gives (id, prompt) pairs as the transcript's header holds them. Questions go to the endpoint and into the transcript as they
stand, so their number and length are capped, and an id may hold nothing that a page or a terminal would have to escape.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from verifier.errors import UsageError

MOST_PROMPTS = 40
"""Questions that are taken: a style is known from 10 to 20 answers, and each costs tokens."""
MOST_CHARACTERS = 4000
"""Of one question."""
_MOST_BYTES = 1_000_000
_ID = re.compile(r"[\w.:-]{1,64}")


def read_prompts(path: Path) -> tuple[tuple[str, str], ...]:
    """(id, prompt) pairs in the file's order. Raises UsageError, naming the line, for anything else."""
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
        lines = data.decode("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read ({type(error).__name__})", "give a text file of JSON lines") from error
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        name, prompt = _row(line, f"line {number} of {path}")
        if name in found:
            raise UsageError(f"line {number} of {path} repeats the id {name!r}", "give every question an id of its own")
        found[name] = prompt
    if len(data) > _MOST_BYTES or not 1 <= len(found) <= MOST_PROMPTS:
        raise UsageError(f"{path} does not hold 1 to {MOST_PROMPTS} questions", 'write one {"id": …, "prompt": …} a line')
    return tuple(found.items())


def _row(line: str, where: str) -> tuple[str, str]:
    try:
        row = json.loads(line)
        name, prompt = row["id"], row["prompt"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(f"{where} is not a question", 'write {"id": "name", "prompt": "text"}') from error
    if not isinstance(name, str) or not _ID.fullmatch(name):
        raise UsageError(f"{where} has no usable id", "use up to 64 letters, digits, dots, colons, hyphens and underscores")
    if not isinstance(prompt, str) or not 0 < len(prompt.strip()) <= MOST_CHARACTERS or not _plain(prompt):
        raise UsageError(f"{where} has no usable prompt", f"write 1 to {MOST_CHARACTERS} characters of text")
    return name, prompt


def _plain(prompt: str) -> bool:
    """Whether nothing but line breaks and tabs is unprintable."""
    return prompt.translate({10: " ", 13: " ", 9: " "}).isprintable()
