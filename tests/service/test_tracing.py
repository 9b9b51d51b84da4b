"""Traces are off unless they are asked for, tell ids and states, and hold no key, query or text of anybody's; logs carry the same ids."""

from __future__ import annotations

import builtins
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic import SecretStr

from tests.service.api_client import CANARY as SUBMITTED
from tests.service.api_client import settings, started
from tests.service.running import CANARY, Running
from verifier.service import tracing
from verifier.service.errors import ConfigError
from verifier.service.telemetry import configure, configure_logging

COLLECTOR = SecretStr("http://127.0.0.1:4318/v1/traces")
TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """What would be sent to a collector."""
    exporter = InMemorySpanExporter()
    tracing.configure_tracing(COLLECTOR, exporter)
    yield exporter
    tracing.configure_tracing(None)


def told(exporter: InMemorySpanExporter) -> str:
    """Everything that the finished spans hold."""
    return "\n".join(span.to_json() for span in exporter.get_finished_spans())


async def test_a_request_and_its_log_line_carry_one_id_and_the_audits(tmp_path: Path, sqlite_url: str, spans: InMemorySpanExporter) -> None:
    log = io.StringIO()
    configure_logging("INFO", log)
    async with started(settings(tmp_path, sqlite_url)) as api:
        audit = await api.submit()
        joined = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
        answer = await api.call("alice:read", "GET", f"/v1/audits/{audit}?secret={CANARY}", headers=joined)
    made, read = spans.get_finished_spans()
    assert made.attributes is not None and read.attributes is not None
    assert dict(read.attributes) == {
        "truename.request": answer.headers["x-request-id"],
        "truename.audit": audit,
        "truename.method": "GET",
        "truename.route": "/v1/audits/{audit_id}",
        "truename.status": 200,
    }
    assert made.attributes["truename.audit"] == audit and made.attributes["truename.request"] != read.attributes["truename.request"]
    assert read.context is not None and f"{read.context.trace_id:032x}" == TRACE
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    requests = [line for line in lines if line["event"] == "request"]
    assert [(line["request"], line["audit"]) for line in requests] == [
        (span.attributes["truename.request"], audit) for span in (made, read) if span.attributes
    ]
    assert not [secret for secret in (CANARY, SUBMITTED) if secret in told(spans) or secret in log.getvalue()]


async def test_a_foreign_request_id_and_a_broken_traceparent_are_not_taken_over(
    tmp_path: Path, sqlite_url: str, spans: InMemorySpanExporter
) -> None:
    async with started(settings(tmp_path, sqlite_url)) as api:
        given = {"x-request-id": "forged\\nline", "traceparent": f"00-{CANARY}-x"}
        answer = await api.call(None, "GET", "/healthz", headers=given)
    assert answer.headers["x-request-id"].startswith("req_")
    assert "forged" not in told(spans) and CANARY not in told(spans)


@pytest.mark.redis
@pytest.mark.parametrize("fault", ["none", "echo", "broken"])
async def test_an_audits_span_tells_its_end_and_no_secret(
    running: Running, spans: InMemorySpanExporter, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(target: Any, *_: Any) -> None:
        raise RuntimeError(f"unforeseen {target.api_key.get_secret_value()}")

    running.vendor.echo_key = fault == "echo"
    if fault == "broken":
        monkeypatch.setattr("verifier.service.execute.audit_target", broken)
    log = io.StringIO()
    configure_logging("INFO", log)
    target = running.body()["target"] | {"headers": {"X-Secret": CANARY}, "query": {"sig": CANARY}}
    made = await running.submit("consistent", target=target)
    async with running.worker():
        await running.ended(made.audit.id)
    (span,) = [each for each in spans.get_finished_spans() if each.name == "audit"]
    found = dict(span.attributes or {})
    assert found["truename.audit"] == made.audit.id and found["truename.attempt"] == 1
    ending = {"none": ("outcome", "consistent"), "echo": ("failure", "refused-key"), "broken": ("failure", "broken")}[fault]
    assert found[f"truename.{ending[0]}"] == ending[1]
    assert CANARY not in told(spans) and span.events == ()
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert {(line["audit"], line["run"]) for line in lines if "run" in line} == {(made.audit.id, found["truename.run"])}


def test_without_the_setting_nothing_is_traced_and_nothing_of_opentelemetrys_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    tracing.configure_tracing(None)

    def refuse(name: str, *more: Any, **named: Any) -> Any:
        assert not name.startswith("opentelemetry"), name
        return original(name, *more, **named)

    original = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", refuse)
    with tracing.span("request", {"status": 200}, "00-1-2-01"):
        tracing.note({"more": 1})


def test_asked_for_without_the_extra_it_says_what_to_install(tmp_path: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str, *more: Any, **named: Any) -> Any:
        if name.startswith("opentelemetry.exporter"):
            raise ImportError(name)
        return original(name, *more, **named)

    original = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ConfigError, match=r"pip install 'truename\[otel\]'"):
        configure(settings(tmp_path, sqlite_url, otlp_endpoint=COLLECTOR))
    assert tracing._provider is None


def test_the_libraries_own_spans_stay_off(spans: SpanExporter) -> None:
    """pydocket would write a span for every delivery, and for every second's tick."""
    with trace.get_tracer("docket.worker").start_as_current_span("tick") as span:
        assert not span.is_recording()
