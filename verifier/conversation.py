"""The loop of an audit: ask a round, decide anew, stop where the decision or the budget says so.

Takes the probes, a transcript's header and a way to have questions asked; gives the replies and whether the decision ended the audit early.
It knows no target and opens no socket: the endpoint client asks, or whatever stands in for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from probes import suite as suites
from probes.probe import Ask, Block, Probe, Reply
from verifier.accumulation import Heard
from verifier.decide import Verdict, decide
from verifier.errors import CannotRunError
from verifier.interleaving import LAST, Deck, opening
from verifier.mixture import mixture
from verifier.multiple import Carried
from verifier.telling import tell
from verifier.transcript import Header


class AskAll(Protocol):
    """How questions reach an endpoint: replies in the order of the asks, missing at the end where the budget is spent."""

    async def __call__(self, asks: Sequence[Ask], *, retry_timeouts: bool = True) -> list[Reply]: ...


Progress = Callable[[Reply, Verdict | None], None]
"""Called with every reply, and with the verdict so far after each round."""

REMEDIES = {
    "refused-key": "check the key in the variable that --api-key-env names (default TRUENAME_API_KEY)",
    "not-found": "check the base URL (it usually ends in /v1) and --model",
    "bad-request": "check --model, --wire and --body against the server's documentation",
    "rate-limited": "try again later or with --concurrency 1",
    "server-error": "the server fails on every request; try again later",
    "unreachable": "check the URL and that the server is running",
    "timeout": "raise --timeout or try again later",
    "cut-stream": "the connection ends before the reply does; try again later or with --concurrency 1",
    "redirected": "give the final URL: redirects are never followed",
    "bad-reply": "check that the base URL is the API and not a web page, and that nothing cuts the connection",
}


class NothingAnsweredError(CannotRunError):
    """Not one question was answered; `kind` is the first failure's (ERROR_KINDS)."""

    kind: str = "unreachable"


async def interrogate(
    ask_all: AskAll, probes: Sequence[Probe], header: Header, progress: Progress | None = None
) -> tuple[list[Reply], bool]:
    """Run the probes: their openings in order, the rest as it is dealt (verifier/interleaving.py).

    Gives the replies and whether the decision ended the audit early. `ask_all` is `EndpointClient.ask_all`, or a simulated endpoint's.
    Raises CannotRunError when nothing at all is answered.
    """
    rounds = _Rounds(ask_all, probes, header, progress)
    for probe in probes:
        asked = 0
        while opening(probe, asked) and not (asked and rounds.spares(probe)) and (asks := rounds.next_of(probe)):
            asked += len(asks)
            if await rounds.ended_by(asks):
                return rounds.replies, rounds.stopped
    deck = Deck(probes, suites.SUITES[header.suite], header.seed)
    while asks := deck.deal(rounds.read_by, rounds.spares):
        if await rounds.ended_by(asks):
            return rounds.replies, rounds.stopped
    for probe in probes:
        while probe.name in LAST and not rounds.spares(probe) and (asks := rounds.next_of(probe)):
            if await rounds.ended_by(asks):
                return rounds.replies, rounds.stopped
    return rounds.replies, False


class _Rounds:
    """An audit under way: what was answered, and what it has come to."""

    def __init__(self, ask_all: AskAll, probes: Sequence[Probe], header: Header, progress: Progress | None) -> None:
        self.replies: list[Reply] = []
        self.stopped = False
        self._ask_all, self._probes, self._header, self._progress = ask_all, probes, header, progress
        self._carried = carried_by(header)
        self._heard = Heard(probes)
        self._verdict: Verdict | None = None

    def read_by(self, probe: Probe) -> list[Reply]:
        """The replies so far that `probe` reads."""
        return read_by(probe, self.replies)

    def next_of(self, probe: Probe) -> Sequence[Ask]:
        """The probe's next round."""
        return probe.next_round(self.read_by(probe))

    def spares(self, probe: Probe) -> bool:
        """Whether the verdict so far spares further rounds: consistent, and the suite's promise is kept.

        Who names a reference wants it compared, and limits are worth knowing of an honest endpoint too.
        """
        settled = self._verdict is not None and suites.SUITES[self._header.suite].settled_by(self._verdict.excludes_share)
        return settled and self._header.early_stop and probe.name != "paired" and probe.block is not Block.SURFACE

    async def ended_by(self, asks: Sequence[Ask]) -> bool:
        """Ask, and decide anew. Whether the audit ends here: accused, where that may stop it, or its budget spent."""
        answered = await self._ask_all(asks, retry_timeouts=bool(self.replies))
        self.replies.extend(answered)
        if not any(reply.ok for reply in self.replies):
            raise could_not_run(self.replies, self._header.target["origin"])
        self._verdict = self._so_far()
        if self._progress and self.replies:
            self._progress(self.replies[-1], self._verdict)
        self.stopped = self._verdict.outcome == "inconsistent" and self._header.early_stop
        return self.stopped or len(answered) < len(asks)

    def _so_far(self) -> Verdict:
        mixed = mixture(tell(self._probes, self.replies, self._header.claim), [reply.ask.key for reply in self.replies])
        evidence = self._heard.evidence(self.replies)
        return decide(evidence, self._header.claim, self._header.alpha, carried=self._carried, mixed=mixed)


def could_not_run(replies: Sequence[Reply], origin: str) -> NothingAnsweredError:
    """The error for an audit in which nothing was answered, from the first reply's own problem."""
    error = next((reply.error for reply in replies if reply.error is not None), None)
    kind, text = (error.kind, error.text) if error else ("unreachable", "no question was answered")
    failure = NothingAnsweredError(f"{origin}: {kind}: {text}", REMEDIES.get(kind, "check the URL and that the server is healthy"))
    failure.kind = kind
    return failure


def read_by(probe: Probe, replies: Sequence[Reply]) -> list[Reply]:
    """The replies that `probe` reads."""
    return [reply for reply in replies if reply.ask.probe in probe.reads]


def carried_by(header: Header) -> Carried | None:
    """What earlier audits left to this one; None where it stands alone."""
    return Carried(int(header.carried["looks"]), float(header.carried["log_sum"])) if header.carried else None
