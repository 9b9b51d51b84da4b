"""Which of several media types a caller wants most (RFC 9110, section 12.5.1)."""

from __future__ import annotations

from collections.abc import Sequence


def preferred(accept: str | None, offered: Sequence[str]) -> str | None:
    """The offered type that `accept` wants most, the earlier one where two are wanted alike; None where it wants none of them."""
    if not accept or not accept.strip():
        return offered[0]
    wanted = [_read(part) for part in accept.split(",") if part.strip()]
    best = max(offered, key=lambda each: (_quality(each, wanted), -offered.index(each)))
    return best if _quality(best, wanted) > 0 else None


def _read(part: str) -> tuple[str, float]:
    name, *parameters = (piece.strip().lower() for piece in part.split(";"))
    quality = next((value for key, _, value in (each.partition("=") for each in parameters) if key.strip() == "q"), "1")
    try:
        return name, min(1.0, max(0.0, float(quality)))
    except ValueError:
        return name, 0.0


def _quality(offered: str, wanted: Sequence[tuple[str, float]]) -> float:
    """The quality of the most specific range that holds the type."""
    ranges = (offered, offered.partition("/")[0] + "/*", "*/*")
    return next((quality for each in ranges for name, quality in wanted if name == each), 0.0)
