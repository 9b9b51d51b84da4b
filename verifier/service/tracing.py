"""Traces of the service by OpenTelemetry: spans of requests and audits, sent to the collector that TRUENAME_OTLP_ENDPOINT names.

Off unless it is set; then the extra `truename[otel]` must be installed. A span holds ids, routes, states and counts, each named by us: no
URL, header, body or error text, and no library's own spans, so that no key or query can come into one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from pydantic import SecretStr

from verifier.service.errors import ConfigError
from verifier.version import VERSION

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

Value = str | int | float | bool

_provider: TracerProvider | None = None
"""Ours alone: with OpenTelemetry's global one every library that knows it would add spans of its own making."""


def configure_tracing(endpoint: SecretStr | None, exporter: SpanExporter | None = None) -> None:
    """Send spans to `endpoint` from now on, or none where it is None. Calling it again replaces the earlier.

    Raises ConfigError where the extra is not installed. `exporter` takes the place of the connection.
    """
    global _provider
    if _provider is not None:
        _provider.shutdown()
    _provider = None
    if endpoint is None:
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
    except ImportError:
        raise ConfigError("TRUENAME_OTLP_ENDPOINT: OpenTelemetry is not installed", "pip install 'truename[otel]', or unset it") from None
    _provider = TracerProvider(resource=Resource.create({"service.name": "truename", "service.version": VERSION}))
    _provider.add_span_processor(
        SimpleSpanProcessor(exporter)
        if exporter is not None
        else BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint.get_secret_value()))
    )


@contextlib.contextmanager
def span(name: str, attributes: Mapping[str, Value], parent: str | None = None) -> Iterator[None]:
    """The block as a span, where traces are on. `parent` is a caller's `traceparent` header, which joins its trace."""
    if _provider is None:
        yield
        return
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    context = TraceContextTextMapPropagator().extract({"traceparent": parent}) if parent else None
    tracer = _provider.get_tracer("truename", VERSION)
    # An exception's text may quote what a vendor said: the span ends without it.
    with tracer.start_as_current_span(name, context, record_exception=False, set_status_on_exception=False):
        note(attributes)
        yield


def note(attributes: Mapping[str, Value]) -> None:
    """Add to the current span, where there is one; the names get `truename.` before them."""
    if _provider is None:
        return
    from opentelemetry import trace

    current = trace.get_current_span()
    for key, value in attributes.items():
        current.set_attribute(f"truename.{key}", value)
