"""What an endpoint wrote to an open question, for the probes that read how it writes. Pure."""

from __future__ import annotations

from probes.probe import Reply

_THOUGHT_ENDS = ("</think>", "</reasoning>")


def answer(reply: Reply) -> str:
    """The answer without the thinking that some endpoints leave in front of it; empty where there is none."""
    if not reply.ok:
        return ""
    text = reply.text
    for end in _THOUGHT_ENDS:
        text = text.rpartition(end)[2]
    return "" if text.lstrip().startswith(("<think", "<reasoning")) else text.strip()
