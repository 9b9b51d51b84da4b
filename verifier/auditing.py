"""The straight line: ask, read, decide, report.

`audit` takes a base URL and a claim and gives a `Report`; `judge` draws the same conclusions again from a stored transcript,
offline. Only the endpoint client does network I/O; everything from the transcript on is a pure function of the transcript
and the installed signatures.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from fingerprints import signatures
from fingerprints.catalog import Claim
from fingerprints.packs import Pack, digest_of
from fingerprints.wire import Wire
from probes import suite as suites
from probes.paired import PAIRS
from probes.paired_process import TOLERANCE
from probes.probe import Evidence, Probe, Reply
from verifier import outages
from verifier.accumulation import accumulated
from verifier.backends import backends
from verifier.conversation import AskAll, NothingAnsweredError, Progress, carried_by, interrogate, read_by
from verifier.decide import decide, in_batch
from verifier.errors import CannotRunError, UsageError
from verifier.options import Settings, drawn_seed, named_wire, request_limit, resolve_claim, sent_model
from verifier.references import as_asked, for_claim, named_by
from verifier.report.model import Report, build
from verifier.surroundings import Surroundings, of_command_line
from verifier.transcript import Digests, Header, Transcript
from verifier.version import VERSION

if TYPE_CHECKING:
    from verifier.target import Target


async def audit_async(
    base_url: str,
    claim: str | None,
    *,
    family: str | None = None,
    model: str | None = None,
    api_key: str | None = None,
    wire: str = "auto",
    reference: str | None = None,
    reference_model: str | None = None,
    reference_api_key: str | None = None,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> Report:
    """Audit an endpoint against a claimed model; without a claim, identify it. Raises TruenameError where it cannot run.

    `reference` is the base URL of a live genuine endpoint that is asked the same paired questions, as `reference_model` (by default the
    target's); without a claim that is a comparison of the two, of which only the suite deep can say that they are the same. Its key is
    `reference_api_key`; the target's goes to it only where both are one origin.
    """
    from verifier.target import Target

    if reference is None and (reference_model or reference_api_key):
        raise UsageError("the reference is missing", "name the genuine endpoint's URL as reference, or leave out its model and key")
    spoken = named_wire(wire)
    target = Target.parse(base_url, sent_model(model, claim), wire=spoken or Wire.OPENAI, api_key=api_key)
    resolved, settings = resolve_claim(claim, family), settings or Settings()
    settings = replace(settings, packs=for_claim(resolved, settings.packs))
    if reference is None:
        return await audit_target(target, resolved, settings, progress, auto=spoken is None)
    from verifier.comparing import compare_targets
    from verifier.pairing import reference_target

    beside = reference_target(reference, reference_model or target.model, None, reference_api_key, target)
    if resolved is None:
        return await compare_targets(target, beside, settings, progress=progress, auto={"reference", *(() if spoken else ("target",))})
    return await audit_target(target, resolved, settings, progress, spoken is None, beside)


def audit(
    base_url: str,
    claim: str | None,
    *,
    family: str | None = None,
    model: str | None = None,
    api_key: str | None = None,
    wire: str = "auto",
    reference: str | None = None,
    reference_model: str | None = None,
    reference_api_key: str | None = None,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> Report:
    """`audit_async` for callers without an event loop."""
    return asyncio.run(
        audit_async(
            base_url,
            claim,
            family=family,
            model=model,
            api_key=api_key,
            wire=wire,
            reference=reference,
            reference_model=reference_model,
            reference_api_key=reference_api_key,
            settings=settings,
            progress=progress,
        )
    )


ANOTHER_WIRE = frozenset({"not-found", "bad-request", "bad-reply"})
"""Failures of every question that may mean that the endpoint speaks another wire than the one tried."""


async def audit_target(
    target: Target,
    claim: Claim | None,
    settings: Settings,
    progress: Progress | None = None,
    auto: bool = False,
    reference: Target | None = None,
    surroundings: Surroundings | None = None,
) -> Report:
    """Audit a parsed target; with `auto`, on the wire that it turns out to speak. Without `surroundings`, as the command line does.

    The URL decides where it names a vendor's API; else OpenAI chat, the commonest, is tried at no extra cost, and only an
    endpoint that answers none of it is asked what it speaks. A live `reference`, on the wire that it names, joins the paired test.
    """
    around = surroundings or of_command_line()
    if not auto:
        return await _audit(target, claim, settings, progress, reference, around)
    from verifier.endpoint.detect import detect_wire, wire_by_url
    from verifier.endpoint.limits import Limits

    if wire := wire_by_url(target):
        return await _audit(target.speaking(wire), claim, settings, progress, reference, around)
    try:
        return await _audit(target.speaking(Wire.OPENAI), claim, settings, progress, reference, around)
    except NothingAnsweredError as error:
        if error.kind not in ANOTHER_WIRE:
            raise
        try:
            spoken = await detect_wire(target, Limits(timeout_s=settings.timeout_s), around.policy)
        except CannotRunError:
            raise error from None
        if spoken is Wire.OPENAI:
            raise
    return await _audit(target.speaking(spoken), claim, settings, progress, reference, around)


async def _audit(
    target: Target, claim: Claim | None, settings: Settings, progress: Progress | None, reference: Target | None, around: Surroundings
) -> Report:
    """Audit a parsed target: its questions asked from here, what to ask and what to conclude thought of in the surroundings."""
    from verifier.endpoint.client import EndpointClient, Limits
    from verifier.pairing import AskBoth

    settings, policy = settings.checked(), around.policy
    header = await around.think(lambda: make_header(target, claim, settings, reference))
    limits = Limits(
        timeout_s=settings.timeout_s, max_requests=header.max_requests, max_tokens=settings.max_tokens, concurrency=settings.concurrency
    )
    tell: Callable[[Reply], None] | None = (lambda reply: progress(reply, None)) if progress else None
    alone = EndpointClient(target, limits, policy, on_reply=tell)
    async with alone if reference is None else AskBoth(target, reference, limits, policy, tell) as client:
        return await around.converse(_Conversation(header, claim, settings.packs), client.ask_all, progress)


@dataclass(frozen=True, slots=True)
class _Conversation:
    """An audit from its first question to its report, as `surroundings.Conversation`."""

    header: Header
    claim: Claim | None
    packs: tuple[Pack, ...]

    async def __call__(self, ask_all: AskAll, progress: Progress | None, /) -> Report:
        probes = probes_for(self.header, self.claim, self.packs)
        replies, stopped_early = await interrogate(ask_all, probes, self.header, progress)
        transcript = Transcript(self.header, tuple(replies), stopped_early)
        return conclude(transcript, transcript.to_bytes(), packs=self.packs)


def judge(transcript: Transcript, data: bytes, claim: Claim | None = None, packs: Sequence[Pack] = ()) -> Report:
    """The conclusions again from a stored transcript, with `claim` in place of the recorded one where it is given.

    The reference packs that the transcript names are the installed ones, those remembered from earlier audits, and `packs`.
    """
    return conclude(transcript, data, claim, named_by(transcript.header.packs, packs))


def conclude(transcript: Transcript, data: bytes, claim: Claim | None = None, packs: Sequence[Pack] = ()) -> Report:
    """Evidence, verdict and report: a pure function of the transcript, the installed signatures and the packs."""
    header = transcript.header
    judged = claim or header.claim
    if header.reference is not None and judged is None:
        from verifier.comparing import conclude_comparison

        return conclude_comparison(transcript, data)
    probes = probes_for(header, judged, as_asked(packs, transcript.replies))
    evidence: list[Evidence] = [probe.read(read_by(probe, transcript.replies)) for probe in probes]
    carried = carried_by(header)
    behind = backends(probes, transcript.replies, judged, datetime.fromisoformat(header.started))
    further = (*outages.findings(transcript.replies), *behind.findings)
    verdict = decide(evidence, judged, header.alpha, further, carried, behind.mixed)
    if header.batch and verdict.outcome == "inconclusive":
        alone = decide(evidence, judged, header.batch["alpha"], carried=carried, mixed=behind.mixed)
        verdict = in_batch(verdict, alone, int(header.batch["endpoints"]))
    return build(transcript, data, evidence, verdict, judged, accumulated(probes, transcript.replies, judged), behind)


def probes_for(header: Header, claim: Claim | None, packs: Sequence[Pack] = ()) -> tuple[Probe, ...]:
    """The probes of an audit with this header, judged against `claim`: the suite's, then the paired test where there is a reference."""
    today = date.fromisoformat(header.started[:10])
    chosen = suites.SUITES[header.suite]
    probes = suites.build(chosen, claim, header.seed, header.alpha, header.target["wire"], packs, today, header.prompts)
    if header.reference is None:
        return probes
    from verifier.pairing import paired_probe

    return (*probes, paired_probe(header, claim))


def make_header(
    target: Target, claim: Claim | None, settings: Settings, reference: Target | None = None, tolerance: float = TOLERANCE
) -> Header:
    """The transcript's header for an audit, or a comparison with `reference`, that begins now."""
    chosen = suites.SUITES[settings.suite]
    return Header(
        version=VERSION,
        started=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        target={"origin": target.origin, "model": target.model, "wire": str(target.wire)},
        claim=claim,
        suite=chosen.name,
        seed=drawn_seed(settings),
        alpha=settings.alpha,
        early_stop=settings.early_stop,
        max_requests=request_limit(settings),
        max_tokens=settings.max_tokens,
        digests=current_digests(chosen, settings.packs),
        packs=tuple(pack.digest for pack in settings.packs),
        carried=asdict(settings.carried) if settings.carried else None,
        prompts=settings.prompts,
        reference={"origin": reference.origin, "model": reference.model, "wire": str(reference.wire)} if reference else None,
        paired={"tolerance": tolerance, "pairs": float(PAIRS[chosen.name])} if reference else None,
    )


def other_digests(header: Header, packs: Sequence[Pack] = ()) -> str | None:
    """None where the transcript names the suite, signatures and packs that are installed, else one line saying which differ."""
    installed = current_digests(suites.SUITES[header.suite], packs)
    names = [name for name in ("suite", "signatures", "packs") if getattr(installed, name) != getattr(header.digests, name)]
    if not names:
        return None
    return f"note: judged anew with another {' and '.join(names)} than the transcript names; conclusions may differ from its report"


def current_digests(chosen: suites.Suite, packs: Sequence[Pack] = ()) -> Digests:
    """Digests of the suite and signatures that are installed now, and of these packs."""
    return Digests(suite=suites.digest(chosen), signatures=signatures.digest(), packs=digest_of(packs))
