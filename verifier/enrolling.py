"""Records a reference pack from an endpoint that is trusted to serve what it says: ask fixed questions, keep every answer, build.

Takes a Target, a model's name and questions; gives the packs built from all that the journal beside the pack file holds. A run that
breaks off, by an error or by Ctrl-C, loses nothing: the next one asks only what is still open.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import partial

import httpx

from fingerprints import catalog, choices, knowledge, pack_sources, same_prompt, tokenizers
from fingerprints.packs import Pack, PackError, PackModel
from fingerprints.questions import Question, QuestionKind
from fingerprints.wire import Wire
from probes.probe import Ask, Reply
from verifier.auditing import ANOTHER_WIRE
from verifier.conversation import could_not_run
from verifier.enrolment_journal import Enrolment, Journal
from verifier.errors import CannotRunError, UsageError
from verifier.pricing import TEMPLATE_TOKENS
from verifier.question_store import QuestionStore
from verifier.target import Target
from verifier.version import VERSION

DEFAULT_QUESTIONS = 30
"""Of each kind."""
DEFAULT_SAMPLES = 50
"""Answers to each choice question: on made-up laws of 20 questions, each asked once, references of 12 / 24 / 50 told .90 / 1 / 1 of other
models at 1 % where models have favourites (Dirichlet .1 over 64 choices), and .02 / .45 / .90 where they spread (.3)."""
OPEN_SAMPLES = 3
"""Answers to each open question: further ones show how much a model differs from itself; benchmarks shifts was measured with three."""
KNOWLEDGE_SAMPLES = 2
"""Answers to each question of knowledge, at temperature 0: a second one shows whether the model repeats itself."""
ENOUGH = 0.8
"""A model joins the pack with this share of its wanted answers; what is missing are questions that the endpoint refuses."""
LIFETIME_DAYS = 365
"""Until a recorded pack expires: chosen, not measured (docs/packs.md)."""
_TELLING = 10
"""Answers that must agree before sameness is worth a word; some questions have one favourite answer."""
_BATCH = 64
"""Asks per call of the client: as many as may be lost to an endpoint that stops answering."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What is still to be asked."""

    requests: int
    prompt_tokens: int
    completion_tokens: int
    """At most: every answer as long as it may be."""


def questions_for(packs: Sequence[Pack], store: QuestionStore, most: int = DEFAULT_QUESTIONS) -> tuple[Question, ...]:
    """At most `most` questions of each kind, with their texts: those of `packs` whose texts are here; ours first where `packs` is empty.

    Raises UsageError where no question has a text."""
    offered = [question for pack in packs for question in store.with_texts(pack).questions]
    if not packs:
        offered = [*choices.own_questions(), *same_prompt.own_questions(), *knowledge.own_questions()]
    chosen: dict[str, Question] = {}
    ids: set[str] = set()
    for question in offered:
        of_kind = sum(each.kind == question.kind for each in chosen.values())
        if question.text is None or question.sha256 in chosen or of_kind >= most:
            continue
        if question.id in ids:  # two packs may give one id to different questions
            question = replace(question, id=f"{question.id}-{question.sha256[:8]}")
        ids.add(question.id)
        chosen[question.sha256] = question
    if not chosen:
        raise UsageError("no question of these packs has its text here", "fetch them first: truename packs fetch")
    return tuple(chosen.values())


def cost(journal: Journal, enrolment: Enrolment, store: QuestionStore) -> Cost:
    """What the enrolment would still ask, counted with the model's vocabulary where it is known."""
    model = catalog.find(enrolment.model)
    known = model.tokenizer if model and model.tokenizer in tokenizers.names() else "o200k"
    counter = tokenizers.vocabulary(str(known))
    left = journal.remaining(enrolment)
    asked = [(question, left[question.id]) for question in journal.questions if left[question.id]]
    prompt = sum((TEMPLATE_TOKENS + counter.count(store.text_of(question) or "")) * count for question, count in asked)
    return Cost(left.total(), prompt, sum(question.max_tokens * count for question, count in asked))


async def ask(
    target: Target,
    journal: Journal,
    enrolment: Enrolment,
    store: QuestionStore,
    *,
    auto: bool = False,
    timeout_s: float = 60.0,
    concurrency: int = 4,
    tell: Callable[[Reply, int], None] | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
) -> list[Reply]:
    """Ask what is still open and put each answer into the journal as it comes; gives the replies that were no answer.

    `tell` is called with each reply and the number of answers still open. Raises CannotRunError where nothing is answered at all."""
    from verifier.endpoint.client import EndpointClient, Limits
    from verifier.endpoint.detect import detect_wire, wire_by_url
    from verifier.endpoint.guard import cli_policy

    asks = _asks(journal, enrolment, store)
    failed: list[Reply] = []
    open_answers = len(asks)

    def keep(reply: Reply) -> None:
        nonlocal open_answers
        if reply.ok and reply.text.strip():
            journal.add(reply.ask.key.rpartition("/")[0], enrolment.model, reply.text)
            open_answers -= 1
        else:
            failed.append(reply)
        if tell:
            tell(reply, open_answers)

    limits = Limits(timeout_s=timeout_s, max_requests=3 * len(asks) + 8, concurrency=concurrency)
    if auto:
        target = target.speaking(wire_by_url(target) or Wire.OPENAI)
    answered = False
    first, rest = asks[:1], asks[1:]
    while first:
        async with EndpointClient(target, limits, cli_policy(), transport=transport, on_reply=keep) as client:
            replies = await client.ask_all(first, retry_timeouts=answered)
            kind = replies[0].error.kind if replies and replies[0].error else ""
            if auto and not answered and kind in ANOTHER_WIRE:
                spoken = await detect_wire(target, limits, cli_policy(), transport=transport)
                if spoken is not target.wire:
                    auto, target = False, target.speaking(spoken)
                    failed.clear()
                    continue
            if not any(reply.ok for reply in replies):
                raise could_not_run(replies, target.origin)
            answered = True
            for start in range(0, len(rest), _BATCH):
                replies = await client.ask_all(rest[start : start + _BATCH])
                if replies and not any(reply.ok for reply in replies):
                    raise could_not_run(replies, target.origin)
        break
    return failed


def build(journal: Journal, name: str, licence: str, day: date | None = None) -> tuple[tuple[Pack, ...], list[str]]:
    """The packs of all models in the journal that have enough answers, one pack per kind of question, and why there is none of a kind.

    Raises CannotRunError where no model has enough answers, or no kind makes a pack."""
    whole = [each for each in journal.enrolments.values() if journal.share(each) >= ENOUGH]
    if not whole:
        shares = ", ".join(f"{each.model} {journal.share(each):.0%}" for each in journal.enrolments.values())
        raise CannotRunError(
            f"too few of the wanted answers came (have: {shares}; needed: {ENOUGH:.0%})",
            "run the same command again: it asks what is missing",
        )
    day = day or today()
    told = "; ".join(f"{each.model} from {each.origin} on {each.began}" for each in whole)
    origin = f"enrolled with truename {VERSION}: {told}"
    built, problems = [], []
    builders: dict[QuestionKind, Callable[..., Pack]] = {
        "choice": choices.build_pack,
        "open": same_prompt.build_pack,
        "knowledge": partial(knowledge.build_pack, forms=journal.answer_forms),
    }
    for kind, builder in builders.items():
        questions = [question for question in journal.questions if question.kind == kind]
        answers = {
            (question.id, each.model): given
            for question in questions
            for each in whole
            if (given := journal.answers.get((question.id, each.model)))
        }
        if not answers:
            continue
        models = [_model(each.model, sum(len(given) for (_, who), given in answers.items() if who == each.model)) for each in whole]
        try:
            pack = builder(
                name=name,
                version=f"{day.isoformat()}-{_short(answers)}",
                created=day.isoformat(),
                questions=questions,
                answers=answers,
                models=[model for model in models if model.samples],
                origin=origin if len(origin) <= 400 else origin[:399] + "…",
                licence=licence,
                expires=(day + timedelta(days=LIFETIME_DAYS)).isoformat(),
            )
        except PackError as error:
            problems.append(f"the answers to {kind} questions make no pack: {error}")
        else:
            built.append(pack)
    if not built:
        raise CannotRunError("; ".join(problems), "look at the answers beside the pack; enrol with more --samples or other questions")
    return tuple(built), problems


def looks_cached(journal: Journal, model: str) -> bool:
    """Whether every choice question has one and the same answer each time: a cache in between, or sampling that is switched off."""
    choice = [journal.answers.get((question.id, model), []) for question in journal.questions if question.kind == "choice"]
    return bool(choice) and all(len(given) >= _TELLING and len(set(given)) == 1 for given in choice)


def model_name(name: str) -> str:
    """The name under which a model joins a pack: the catalog's spelling where the catalog knows it. Raises UsageError for an empty name."""
    if not name.strip() or not name.isprintable():
        raise UsageError("the model's name is empty or holds control characters", "name what the endpoint serves: --as gpt-4o")
    return pack_sources.pack_model(name.strip(), 1).name


def today() -> date:
    """The day, UTC."""
    return datetime.now(UTC).date()


def _model(name: str, samples: int) -> PackModel:
    return replace(pack_sources.pack_model(name, max(samples, 1)), name=name, samples=samples)


def _asks(journal: Journal, enrolment: Enrolment, store: QuestionStore) -> list[Ask]:
    """What is open, one answer to each question before the second to any: a run that breaks off has something of each."""
    left = journal.remaining(enrolment)
    asks: list[tuple[int, Ask]] = []
    for question in journal.questions:
        text = store.text_of(question)
        if left[question.id] and text is None:
            raise CannotRunError(f"the text of the question {question.id} is no longer here", "fetch it again: truename packs fetch")
        for n in range(left[question.id]):
            message = (("user", str(text)),)
            asks.append((n, Ask("enrol", f"{question.id}/{n}", message, question.max_tokens, temperature=question.temperature)))
    return [ask for _, ask in sorted(asks, key=lambda pair: pair[0])]


def _short(answers: Mapping[tuple[str, str], Sequence[str]]) -> str:
    """Eight digits that name these answers, so that two packs of one day are told apart."""
    parts = [f"{question}\0{model}\0{len(given)}" for (question, model), given in sorted(answers.items())]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]
