"""What named models were recorded to answer, split into the half that references are made of and the half that endpoints answer with.

Takes the response corpora and the recorded number picks; gives a `Split`: models that can be replayed and reference packs that hold none of
their replayed answers. Nothing is fitted, and no text leaves the folder that it was read from.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.simulated import halved_choices
from fingerprints import catalog
from fingerprints import packs as installed_packs
from fingerprints.build.same_prompt_style import read_corpus, read_prompts
from fingerprints.packs import Pack, PackModel
from fingerprints.same_prompt_features import LEAST_CHARACTERS
from fingerprints.same_prompt_pack import build_pack

CORPUS, PACK = "misguided_attention", "misguided-attention"
"""The one corpus that holds several answers of each model to the same question, and the installed pack that was made of it."""
DATA = Path(__file__).parents[3] / "shared" / "corpora"
SPLITS = 3
"""Ways to hold answers out. Most models answered each question three times: each answer is held out in one split."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a model besides its answers. Overheads are those of recorded traffic (research/recorded-traffic.md)."""

    open_answers: str | None
    """Its name in the corpus of open answers; None where that has none."""
    picks: str | None
    """Its name in the pack of number picks; None where that has none."""
    host: str
    """Whose id shapes and headers its replies bear: openai, anthropic, deepseek, mistral, or an engine of open weights."""
    overhead: int
    """Prompt tokens beyond those of the contents, for one user message."""
    brand: tuple[str, str]
    """What it calls itself, and whose it is."""


MODELS = {
    "gpt-4o": Facts("gpt-4o-2024-11-20", "gpt-4o", "openai", 7, ("GPT-4o", "OpenAI")),
    "gpt-4o-mini": Facts("gpt-4o-mini", "gpt-4o-mini", "openai", 7, ("GPT-4o mini", "OpenAI")),
    "gpt-4.1": Facts("gpt-4.1", "gpt-4.1", "openai", 7, ("GPT-4.1", "OpenAI")),
    "claude-sonnet-4": Facts("claude-sonnet-4", None, "anthropic", 7, ("Claude", "Anthropic")),
    "claude-3-5-sonnet": Facts("claude-3.5-sonnet-new", None, "anthropic", 7, ("Claude", "Anthropic")),
    "claude-3-5-haiku": Facts("claude-3-5-haiku", None, "anthropic", 7, ("Claude", "Anthropic")),
    "claude-3-7-sonnet": Facts("claude-3.7-thinking-4k", None, "anthropic", 7, ("Claude", "Anthropic")),
    "claude-3-7-sonnet, no thinking": Facts("claude-3.7-sonnet", None, "anthropic", 7, ("Claude", "Anthropic")),
    "claude-sonnet-4-5": Facts(None, "claude-sonnet-4-5", "anthropic", 7, ("Claude", "Anthropic")),
    "claude-haiku-4-5": Facts(None, "claude-haiku-4-5", "anthropic", 7, ("Claude", "Anthropic")),
    "llama-3.3-70b-instruct": Facts("llama-3.3-70b-instruct", None, "engine", 35, ("Llama 3.3", "Meta")),
    "llama-3.1-70b-instruct": Facts("llama-3.1-70b-instruct", None, "engine", 35, ("Llama 3.1", "Meta")),
    "llama-3.1-8b-instruct": Facts("llama-3.1-8b-instruct", None, "engine", 35, ("Llama 3.1", "Meta")),
    "deepseek-v3": Facts("DeepSeek-V3", None, "deepseek", 4, ("DeepSeek-V3", "DeepSeek")),
    "gemma-3-27b-it": Facts("gemma-3-27b", None, "engine", 9, ("Gemma 3", "Google DeepMind")),
    "gemini-2.5-pro": Facts("gemini-2.5-pro-high", None, "engine", 1, ("Gemini 2.5 Pro", "Google")),
    "gemini-2.5-pro, low effort": Facts("gemini-2.5-pro-low", None, "engine", 1, ("Gemini 2.5 Pro", "Google")),
    "qwen3-30b-a3b": Facts("qwen3-30b-a3b-nothink", None, "engine", 8, ("Qwen3", "Alibaba")),
    "mistral-small-2501": Facts("mistral-small-3", None, "mistral", 3, ("Mistral Small", "Mistral AI")),
}
"""Name in the catalog (a setting after a comma) -> facts. Gemma's overhead is that of its public template."""


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A recorded model that an endpoint can replay."""

    name: str
    """The catalog's."""
    family: str
    """The catalog's."""
    lineage: str
    """The catalog's."""
    vendor: str
    """The catalog's."""
    vocabulary: str
    facts: Facts
    answers: Mapping[str, tuple[str, ...]]
    """SHA-256 of a question -> held-out answers."""
    law: tuple[float, ...]
    """Probabilities of the numbers 1, 2, … in the held-out half of its picks; empty where none were recorded."""


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """One way to hold answers out."""

    models: Mapping[str, Model]
    choices: Pack
    style: Pack
    """Without texts, and without the replayed answers."""
    prompts: Mapping[str, str]
    """Question id -> text."""

    def packs(self, names: Collection[str], lacking: Collection[str] = ()) -> tuple[Pack, ...]:
        """The references of an arm in which `names` (of MODELS) answer: only questions that all of them answered have their texts, and
        answers of the models `lacking` are left out."""
        recorded = [self.models[name].answers for name in names if self.models[name].answers]
        shared = set.intersection(*(set(answers) for answers in recorded)) if recorded else set()
        texts = {q.id: self.prompts[q.id] for q in self.style.questions if q.sha256 in shared}
        questions = tuple(replace(question, text=texts.get(question.id)) for question in self.style.questions)
        names_here = [model.name for model in self.style.models]
        unwanted = [names_here.index(str(MODELS[name].open_answers)) for name in lacking]
        kept = ~np.isin(self.style.arrays["model"], unwanted)
        return self.choices, replace(self.style, questions=questions, arrays=_rows(self.style, kept))


@cache
def split(number: int, data: Path = DATA) -> Split:
    """The split of that number (any; SPLITS differ in open answers). Raises FileNotFoundError where the corpora are not in `data`."""
    prompts = read_prompts(data, CORPUS)
    pack = next(pack for pack in installed_packs.installed() if pack.name == PACK)
    held_out = _held_out(data, number % SPLITS, {question.id for question in pack.questions})
    choices, rest = halved_choices(number)
    position = {model.name: m for m, model in enumerate(choices.models)}
    digests = {question.id: question.sha256 for question in pack.questions}
    models = {}
    for key, facts in MODELS.items():
        found = catalog.find(key.partition(",")[0])
        assert found is not None and found.tokenizer is not None
        answers = {digests[name]: tuple(texts) for name, texts in held_out.get(str(facts.open_answers), {}).items()}
        counts = rest[position[facts.picks]] if facts.picks is not None else np.zeros(0)
        law = tuple(float(each) for each in counts / counts.sum()) if len(counts) else ()
        models[key] = Model(found.name, found.family, found.lineage, found.vendor, found.tokenizer, facts, answers, law)
    return Split(models, choices, _without(pack, held_out), {name: prompts[name] for name in digests})


def _held_out(data: Path, number: int, asked: Collection[str]) -> dict[str, dict[str, list[str]]]:
    """Corpus name -> question id -> the answers that the endpoint gives: one in three, of two one, never a model's only one."""
    wanted = {facts.open_answers for facts in MODELS.values()}
    told: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for record in read_corpus(data, CORPUS):
        text = str(record["response"])
        usable = record["model"] in wanted and record["prompt_id"] in asked and record["turn"] == 0
        if usable and len(text.strip()) >= LEAST_CHARACTERS and text not in told[record["model"], record["prompt_id"]]:
            told[record["model"], record["prompt_id"]].append(text)
    held: defaultdict[str, dict[str, list[str]]] = defaultdict(dict)
    for (model, question), texts in told.items():
        if len(texts) > 1:
            turn = min(len(texts), SPLITS)
            held[model][question] = texts[number % turn :: turn]
    return held


def _without(pack: Pack, held_out: Mapping[str, Mapping[str, list[str]]]) -> Pack:
    """The pack without the rows of held-out answers, which are found by their sketches; answers of other data may not be in it at all."""
    models = [PackModel(name, name, name, name, 1) for name in sorted(held_out)]
    given = {(question, name): texts for name, answers in held_out.items() for question, texts in answers.items()}
    sketched = build_pack(
        "held out", "1", pack.created, pack.questions, given, models, pack.origin, pack.licence, dimensions=int(pack.extra["dimensions"])
    )
    rows = {name: pack.arrays[name] for name in ("question", "content")}
    kept = np.ones(len(rows["question"]), bool)
    for question, content in zip(sketched.arrays["question"], sketched.arrays["content"], strict=True):
        kept &= ~((rows["question"] == question) & (rows["content"] == content).all(axis=1))
    return replace(pack, arrays=_rows(pack, kept))


def _rows(pack: Pack, kept: npt.NDArray[np.bool_]) -> dict[str, npt.NDArray[Any]]:
    return {name: array[kept] for name, array in pack.arrays.items()}
