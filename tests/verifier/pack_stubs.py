"""A tiny maker of packs in place of the real ones, so that tests of files, fetching and enrolling do not depend on statistics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fingerprints.packs import Pack, PackModel
from fingerprints.questions import Question, QuestionKind, Source, text_digest


def question(text: str, kind: QuestionKind = "open", published: Source | None = None, **changes: Any) -> Question:
    """A question of our own, or one that others published."""
    values = {"id": text.split()[0].lower(), "sha256": text_digest(text), "kind": kind, "language": "en", "source": published}
    values |= {"text": None if published else text}
    return Question(**(values | {"max_tokens": 16, "temperature": None} | changes))


CHOICE = question("Fruit? Name one.", "choice", temperature=1.0)
OPEN = question("Describe the sea.")


def build_pack(
    *,
    name: str,
    version: str,
    created: str,
    questions: Sequence[Question],
    answers: Mapping[tuple[str, str], Sequence[str]],
    models: Sequence[PackModel],
    origin: str,
    licence: str,
    expires: str | None,
) -> Pack:
    """A pack whose statistics are how many answers there were."""
    counts = np.array([[len(answers.get((q.id, m.name), ())) for m in models] for q in questions], dtype=np.uint32)
    kind: Any = "choices" if questions[0].kind == "choice" else "answers"
    return Pack(name, version, kind, created, expires, origin, licence, tuple(questions), tuple(models), {"counts": counts}, {})


@pytest.fixture
def stubs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts the stub where packs are made of recorded answers."""
    from verifier import enrolling, pack_import

    for module in (enrolling, pack_import):
        monkeypatch.setattr(module, "choices", SimpleNamespace(build_pack=build_pack, own_questions=lambda: (CHOICE,)))
        monkeypatch.setattr(module, "same_prompt", SimpleNamespace(build_pack=build_pack, own_questions=lambda: (OPEN,)))
    monkeypatch.setattr(enrolling, "knowledge", SimpleNamespace(build_pack=build_pack, own_questions=lambda: ()))
