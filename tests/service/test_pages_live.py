"""What a running audit tells of its evidence: after each round, of the attempt that is under way, in numbers that JSON can hold."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace
from typing import Any

from api.pages_live import looks
from tests.service.rows import NOW
from verifier.service.execute import Progress
from verifier.service.store.rows import EventRow


def event(seq: int, kind: str, **data: Any) -> EventRow:
    return EventRow("aud_x", seq, kind, data, NOW)


def heard(progress: Progress, attempts: int, **verdict: Any) -> None:
    """One reply, and the verdict after it where one is given."""
    reply: Any = SimpleNamespace(attempts=attempts)
    progress.heard(reply, None)
    if verdict:
        progress.heard(reply, SimpleNamespace(**verdict))  # type: ignore[arg-type]


def test_a_round_tells_how_many_requests_it_rests_on_and_no_infinity() -> None:
    progress = Progress()
    heard(progress, 2)
    assert progress.weighed is None
    heard(progress, 1, log_e=1.5, outcome="inconclusive")
    assert progress.weighed == {"requests": 3, "log_e": 1.5, "outcome": "inconclusive"}
    for log_e in (math.inf, -math.inf):
        heard(progress, 1, log_e=log_e, outcome="inconsistent")
        assert progress.weighed is not None and abs(progress.weighed["log_e"]) == 300.0
        json.dumps(progress.weighed, allow_nan=False)


def test_a_new_attempt_begins_a_new_curve() -> None:
    first, second = {"requests": 3, "log_e": 0.5, "outcome": "inconclusive"}, {"requests": 2, "log_e": -0.1, "outcome": "inconclusive"}
    found = [
        event(1, "status", status="queued"),
        event(2, "status", status="running", attempt=1),
        event(3, "evidence", **first),
        event(4, "status", status="queued"),
    ]
    assert looks(found) == [first]
    assert looks(
        [*found, event(5, "status", status="running", attempt=2), event(6, "progress", requests=2), event(7, "evidence", **second)]
    ) == [second]
    assert looks([]) == []
