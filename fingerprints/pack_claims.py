"""Which of a pack's models a claim may mean: those of its name, however it is spelt, and all that share weights with them.

Takes a pack and a claimed name, gives positions in the pack. The catalog knows the spellings; a name that it does not know means only
itself. It never guesses by likeness: a sibling or a later version is another model, unless the pack says that it has the same weights.
"""

from __future__ import annotations

from fingerprints import catalog
from fingerprints.packs import Pack


def claimed_models(pack: Pack, claim_model: str | None) -> list[int]:
    """Positions of the pack's models that a claim of `claim_model` may mean; none for None and for a model that the pack lacks."""
    if claim_model is None:
        return []
    wanted = _names(claim_model)
    named = [model for model in pack.models if wanted & _names(model.name)]
    classes = {model.weights for model in named}
    return [position for position, model in enumerate(pack.models) if model.weights in classes]


def _names(name: str) -> set[str]:
    """The name as it is, and the catalog's for it."""
    found = catalog.find(name)
    return {name.casefold()} | ({found.name.casefold()} if found is not None else set())
