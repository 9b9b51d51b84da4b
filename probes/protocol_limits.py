"""Reading the replies to long prompts and long answers: was the prompt cut, was the reply cut, how fast did they come?

Takes replies of the protocol probe, gives findings and rows for the report. Honest hosts may count with any vocabulary, multiply their
counts, prepend a prompt or think unseen: a cut is only reported where none of these explains what came. Pure.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from fingerprints import tokenizers, wordings
from probes.probe import JSON, Finding, Reply

FULL = 0.8
"""Share of the token limit under which a reply counts as ended early. All recorded replies of real servers that were cut at their limit
hold as many tokens of their own vocabulary as were asked for, one of them one less (tests/probes/test_server_quirks.py)."""
SAME_TOKENS = 2
"""Tokens by which two replies that one cap ended may differ: a letter cut in half, an end token that counts or not."""
SHORTEST_STORY, ENDING = 16, 20
"""Tokens and last characters: a reply that says `stop` is taken for cut only where it is longer and ends unlike the other one, because
canned refusals are short and end alike."""
FULLEST = 0.97
"""Share of the limit from which a vocabulary explains a reply as full: the endpoint may write with it, whatever is claimed."""
SHORTFALL = 0.8
"""Share of the long prompt's filler that was counted, under which a part of it is missing. It compares growth with growth, so that
multiplied counts and hidden prompts cancel, and so does the vocabulary: with all words in place it is 0.89 to 1.13 over all pairs of
the 23 vocabularies, one counting and another predicting (tests/probes/test_protocol.py)."""
REFERENCE = "o200k"
"""Vocabulary for the growth of prompts where the claim's is not known."""
FAR_MORE = 2
"""A stated limit is worth a finding where the vendor's own is at least so many times as large."""
_ENDS = ".!?…。\"'”’)*"


@dataclass(frozen=True, slots=True)
class Reading:
    """What one kind of limit shows."""

    rows: tuple[JSON, ...] = ()
    findings: tuple[Finding, ...] = ()


def refused(reply: Reply) -> bool:
    """Whether the endpoint turned the request down as wrong."""
    return reply.error is not None and reply.error.kind == "bad-request"


def failure(reply: Reply) -> str:
    """One clause for a request that gave no answer."""
    if reply.error is None:
        return "answered"
    return f"{'refused' if refused(reply) else 'failed'}: {reply.error.kind}: {reply.error.text}"


def looks_cut(reply: Reply | None) -> bool:
    """Whether a long reply ended so early that a second is worth asking."""
    if reply is None or _not_read(reply) or _reached(reply) or (reply.finish != "length" and reply.text.rstrip()[-1:] in _ENDS):
        return False
    return reply.finish in ("length", "stop") and min(_tokens(reply.text, None)) < FULL * reply.ask.max_tokens


def output(replies: Sequence[Reply], claimed: str | None) -> Reading:
    """Long replies: cut at a limit below the one that was asked for? `claimed` is the claimed model's vocabulary, where known.

    One reply never suffices: two on different subjects must end at the same count of tokens, which neither an early end of the
    model's own nor hidden reasoning that eats a part of the limit does.
    """
    rows: list[JSON] = []
    for reply in replies:
        why = _not_read(reply)
        tokens = _tokens(reply.text, claimed)
        measured = f"not tested: {why}" if why else f"{min(tokens)} of {reply.ask.max_tokens} tokens, {reply.finish}"
        rows.append({"key": reply.ask.key, "measured": measured, "predicted": {}, "asked": reply.ask.max_tokens, "finish": reply.finish})
    if not replies:
        rows.append({"key": "protocol/output", "measured": "not tested: the endpoint is too slow for a long reply", "predicted": {}})
    cut = _common_cap(replies, claimed) if len(replies) == 2 else None
    if cut is None:
        return Reading(tuple(rows))
    counted = all(reply.usage is not None and reply.usage.completion_tokens is not None for reply in replies)
    told = all(reply.finish == "length" for reply in replies)
    text = f"Two long replies end after about {cut} tokens, although {replies[0].ask.max_tokens} were asked for"
    text += ": a limit of the host's own." if told else ", in the middle of a sentence and without saying so."
    keys = tuple(reply.ask.key for reply in replies)
    return Reading(tuple(rows), (Finding("output-truncated", "moderate" if told and counted and claimed else "weak", text, keys),))


def context(base: Reply | None, short: Reply | None, long: Reply | None, claimed: str | None, window: int | None) -> Reading:
    """The long prompt: did all of it reach the model? `window` is the context that the vendor states, where only it serves the model.

    How counts grow from the short to the long prompt is compared with how they grow from one without filler to the short one. A code
    word that does not come back is no sign by itself: weak models lose them.
    """
    if long is None:
        why = "the endpoint is too slow for a long prompt" if short is not None and short.ok else "the short prompt was not answered"
        return Reading(({"key": "protocol/context", "measured": f"not tested: {why}", "predicted": {}},))
    if long.error is not None:
        return _stated(long, window)
    share = _share(base, short, long, claimed or REFERENCE)
    found = _named(long)
    row: JSON = {"key": long.ask.key, "measured": share, "predicted": {}, "words": _words(long), "code_words": found}
    if share is None:
        return Reading((row | {"measured": "not tested: the prompts were not all answered with a token count"},))
    if share >= SHORTFALL or found is None or found == 3:
        return Reading((row,))
    able = short is not None and _named(short) == 3
    text = f"Of a prompt of {_words(long)} words, about {100 * (1 - share):.0f} % were not counted, and {3 - found} of 3 code words did not"
    text += " come back" + (", which a short prompt brought back in full: the prompt was cut." if able else ": the prompt was cut.")
    return Reading((row,), (Finding("context-truncated", "moderate" if able else "weak", text, (long.ask.key,)),))


def speed(replies: Sequence[Reply]) -> tuple[JSON, ...]:
    """Median seconds per answer and tokens per second of long replies: diagnostic, because load and distance decide it."""
    seconds = [reply.seconds for reply in replies if reply.ok and reply.ask.raw is None]
    if not seconds:
        return ()
    rates = [
        reply.usage.completion_tokens / reply.seconds
        for reply in replies
        if reply.ok and reply.ask.key.startswith("protocol/output/") and reply.seconds > 0
        if reply.usage is not None and reply.usage.completion_tokens
    ]
    median = float(f"{statistics.median(seconds):.3g}")
    rate = float(f"{statistics.median(rates):.3g}") if rates else None
    return ({"key": "protocol/speed", "measured": median, "predicted": {}, "unit": "seconds per answer", "tokens_per_second": rate},)


def repeated(replies: Sequence[Reply]) -> list[Finding]:
    """Different questions answered with one text that names another question's fresh words."""
    asked = [reply for reply in replies if reply.ok and reply.ask.payload and reply.text.strip()]
    for i, first in enumerate(asked):
        for second in asked[i + 1 :]:
            if first.text == second.text and any(
                all(name in first.text for name in reply.ask.payload.split()) for reply in (first, second)
            ):
                text = "Two different questions got the same reply to the letter, with fresh words that only one of them named."
                return [Finding("cached-replies", "moderate", text, (first.ask.key, second.ask.key))]
    return []


def _not_read(reply: Reply) -> str | None:
    """Why a long reply says nothing about a limit; None where it does."""
    if not reply.ok:
        return failure(reply)
    if reply.usage is not None and reply.usage.reasoning_tokens:
        return "hidden reasoning spent part of the token limit"
    if not reply.text.strip():
        return "the reply is empty: hidden reasoning or a filter took it"
    return None


def _reached(reply: Reply) -> bool:
    """Whether the limit was used up by what was reported, whatever came through of it."""
    count = reply.usage.completion_tokens if reply.usage is not None else None
    return count is not None and reply.finish == "length" and abs(count - reply.ask.max_tokens) <= SAME_TOKENS


def _common_cap(replies: Sequence[Reply], claimed: str | None) -> int | None:
    """Tokens at which both replies were cut below their limit; None where they were not, or where something honest explains it."""
    if any(not looks_cut(reply) for reply in replies):
        return None
    limit = replies[0].ask.max_tokens
    first, second = (_tokens(reply.text, None) for reply in replies)
    if any(FULLEST * limit <= min(pair) and max(pair) <= limit + SAME_TOKENS for pair in zip(first, second, strict=True)):
        return None
    ends = [(a, b) for a, b in zip(*(_tokens(reply.text, claimed) for reply in replies), strict=True)]
    if any(reply.finish == "stop" for reply in replies):
        if max(max(pair) for pair in ends) < SHORTEST_STORY or replies[0].text[-ENDING:] == replies[1].text[-ENDING:]:
            return None
    same = [a for a, b in ends if abs(a - b) <= SAME_TOKENS]
    return same[0] if same and max(max(pair) for pair in ends) < FULL * limit else None


def _tokens(text: str, claimed: str | None) -> tuple[int, ...]:
    """Tokens of a text by the claimed vocabulary, else by every known one."""
    names = (claimed,) if claimed is not None else tokenizers.names()
    return tuple(tokenizers.vocabulary(name).count(text) for name in names)


def _stated(long: Reply, window: int | None) -> Reading:
    """A refused long prompt: the limit that the refusal states, if it states one."""
    text = long.error.text if long.error is not None else ""
    limit = next((one.context for one in wordings.wordings(text) if one.context is not None), None)
    row: JSON = {"key": long.ask.key, "measured": failure(long), "predicted": {}, "stated_limit": limit, "words": _words(long)}
    if limit is None or window is None or limit * FAR_MORE > window:
        return Reading((row,))
    said = f"The endpoint says that it takes at most {limit} tokens of context; the claimed model's vendor states {window} or more."
    return Reading((row,), (Finding("context-truncated", "moderate", said, (long.ask.key,)),))


def _share(base: Reply | None, short: Reply | None, long: Reply, vocabulary: str) -> float | None:
    """Share of the long prompt's further text that was counted, 1 where all was; None where counts are missing."""
    replies = [reply for reply in (base, short, long) if reply is not None]
    counts = [count for reply in replies if (count := _prompt(reply)) is not None]
    if len(counts) < 3:
        return None
    counter = tokenizers.vocabulary(vocabulary)
    no, few, many = (counter.count(reply.ask.messages[-1][1]) for reply in replies)
    begin = (counts[1] - counts[0]) / (few - no)
    return float(f"{(counts[2] - counts[1]) / (many - few) / begin:.3g}") if begin > 0.0 else None


def _prompt(reply: Reply) -> int | None:
    """Prompt tokens, cached ones added where they are counted apart."""
    usage = reply.usage if reply.ok else None
    if usage is None or usage.prompt_tokens is None:
        return None
    cached = usage.cached_tokens or 0
    return usage.prompt_tokens + (cached if cached > usage.prompt_tokens else 0)


def _words(reply: Reply) -> int:
    return len(reply.ask.messages[-1][1].split())


def _named(reply: Reply) -> int | None:
    """How many of the code words came back; None where no text did."""
    text = reply.text.lower()
    return sum(name in text for name in reply.ask.payload.split()) if text.strip() and not _not_read(reply) else None
