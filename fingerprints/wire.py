"""Names of the API flavours ("wires") that endpoints speak.

They live on the lowest floor because accounting constants and signature packs are keyed by them. Pure data; nothing here
knows how a wire is spoken (that is verifier/endpoint/wires/).
"""

from __future__ import annotations

from enum import StrEnum


class Wire(StrEnum):
    """An API flavour, by the name that the command line and the report use."""

    OPENAI = "openai"
    """OpenAI chat completions: POST …/chat/completions."""
    RESPONSES = "responses"
    """OpenAI Responses: POST …/responses."""
    ANTHROPIC = "anthropic"
    """Anthropic Messages: POST …/v1/messages."""
    GEMINI = "gemini"
    """Google's generateContent: POST …/v1beta/models/MODEL:generateContent."""
