"""What the API process measures of itself: requests by route and status, and how long they took.

Labels are route templates, never paths: an id or a URL that somebody sent must not become a label.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

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
