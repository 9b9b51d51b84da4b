"""Logs of the service: one JSON object a line on stderr, ours and the libraries' alike, with secrets taken out last of all.

Three layers take them out: values whose name says that they are secret, shapes that keys have, and every secret that is known while
the work which uses it runs (`concealing`). Tracebacks pass through the same processor, and never show local variables.
"""

from __future__ import annotations

import contextlib
import logging
import re
import sys
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from verifier.endpoint.redaction import REDACTED, SECRET_NAME, Redactor
from verifier.service import tracing
from verifier.service.settings import ServiceSettings

_redactors: ContextVar[tuple[Redactor, ...]] = ContextVar("truename_redactors", default=())

# Our tokens, the vendors' keys, what follows an authorization scheme, and the password of a URL.
_KEY_SHAPES = re.compile(
    r"\btn_[A-Za-z0-9_-]{20,}|\b(?:sk|pk|rk|xai|gsk|hf|AIza)[-_]?[A-Za-z0-9_-]{16,}|(?<=://)[^/@\s\"']+(?=@)|"
    r"(?<=bearer )[^\s\"',]+|(?<=basic )[A-Za-z0-9+/=_-]{8,}",
    re.IGNORECASE,
)
# Names of ours that look like a secret's and are none.
_PLAIN_NAMES = frozenset({"key_id", "key_holder"})
_MAX_DEPTH = 6


def configure(settings: ServiceSettings) -> None:
    """Logs and traces of this process as the settings want them. Raises ConfigError."""
    configure_logging(settings.log_level)
    tracing.configure_tracing(settings.otlp_endpoint)


def configure_logging(level: str, stream: TextIO | None = None) -> None:
    """Send the logs of this process to `stream` (stderr) as JSON lines, from `level` up. Calling it again replaces the earlier."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redact,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    last: list[Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        redact,
        structlog.processors.JSONRenderer(ensure_ascii=False),
    ]
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=last))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    # At INFO httpx writes every request's URL, whose query may hold a key.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    # At DEBUG it writes every statement with its parameters: what users sent, webhook URLs with the secrets in their paths.
    logging.getLogger("aiosqlite").setLevel(logging.INFO)


@contextlib.contextmanager
def concealing(redactor: Redactor) -> Iterator[None]:
    """Within the block, and the tasks that it starts, the redactor's secrets are taken out of every line that is logged."""
    token = _redactors.set((*_redactors.get(), redactor))
    try:
        yield
    finally:
        _redactors.reset(token)


@contextlib.contextmanager
def during(name: str, parent: str | None = None, **ids: tracing.Value) -> Iterator[None]:
    """Within the block, and the tasks that it starts, log lines carry the ids; where traces are on, the block is a span with them."""
    with structlog.contextvars.bound_contextvars(**ids), tracing.span(name, ids, parent):
        yield


def about(**ids: tracing.Value) -> None:
    """Add ids to the log lines and the span of the block that is under way."""
    structlog.contextvars.bind_contextvars(**ids)
    tracing.note(ids)


def redact(logger: WrappedLogger | None, method: str, event: EventDict) -> EventDict:
    """The structlog processor: every value of an event without secrets."""
    return {name: _clean(name, value, 0) for name, value in event.items()}


def _clean(name: str, value: Any, depth: int) -> Any:
    if name.startswith("_") or value is None or isinstance(value, bool | int | float):
        return value
    if SECRET_NAME.search(name) and name not in _PLAIN_NAMES:
        return REDACTED
    if depth < _MAX_DEPTH and isinstance(value, Mapping):
        return {_without_secrets(str(key)): _clean(str(key), each, depth + 1) for key, each in value.items()}
    if depth < _MAX_DEPTH and isinstance(value, list | tuple | set | frozenset):
        return [_clean("", each, depth + 1) for each in value]
    return _without_secrets(value if isinstance(value, str) else repr(value))


def _without_secrets(text: str) -> str:
    for redactor in _redactors.get():
        text = redactor.text(text)
    return _KEY_SHAPES.sub(REDACTED, text)
