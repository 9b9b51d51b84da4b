"""What is measured: requests of this API process by route and status, its worker processes, and what the database and the queue tell.

Labels are route templates, never paths: an id or a URL that somebody sent must not become a label. docs/operations.md lists all names,
with alerts; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from verifier.service.store.numbers import Numbers

REGISTRY = CollectorRegistry()
"""Of this process alone; the library's default registry would add what it finds on the machine."""

REQUESTS = Counter("truename_http_requests", "Requests answered", ["method", "route", "status"], registry=REGISTRY)
SECONDS = Histogram(
    "truename_http_request_seconds",
    "Time until the answer began",
    ["method", "route"],
    registry=REGISTRY,
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
WORKER_PROCESSES = Gauge("truename_worker_processes", "Worker processes of `serve --workers` that run", registry=REGISTRY)
WORKER_STARTS = Counter("truename_worker_starts", "Worker processes that `serve --workers` started", registry=REGISTRY)
ProcessCollector(registry=REGISTRY)


def of_service(numbers: Numbers, workers: Mapping[str, float] | None, moment: float) -> CollectorRegistry:
    """What holds for all processes at one moment. `workers`: when each was last seen, None where the shared queue cannot be reached."""
    registry = CollectorRegistry()

    def gauge(name: str, about: str, labels: tuple[str, ...] = ()) -> Gauge:
        return Gauge(f"truename_{name}", about, labels, registry=registry)

    waiting = gauge("audits", "Audits that wait or run", ("status",))
    waiting.labels("queued").set(numbers.queued)
    waiting.labels("running").set(numbers.running)
    ended = gauge(
        "audits_last_hour", "Audits that ended in the last hour, by status, and by outcome or kind of failure", ("status", "kind")
    )
    for (status, kind), count in numbers.recent.items():
        ended.labels(status, kind).set(count)
    gauge("oldest_queued_seconds", "How long the oldest queued audit has waited").set(numbers.oldest_queued_s)
    gauge("schedule_overdue_seconds", "How long the most overdue schedule has waited").set(numbers.overdue_s)
    gauge("notifications_waiting", "Notifications that failed and are tried again").set(numbers.undelivered)
    gauge("queue_up", "Whether the queue answers").set(workers is not None)
    seen = gauge("worker_last_seen_seconds", "Since each worker of a shared queue was last seen", ("worker",))
    for worker, at in (workers or {}).items():
        seen.labels(worker).set(round(max(0.0, moment - at), 3))
    return registry
