"""The service as its users meet it: `truename serve` on an empty directory, a real model audited by curl, a report that holds, a schedule
that runs. Once on SQLite and memory, once on PostgreSQL and Redis with workers, side by side because both wait for the clock.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.real.conftest import smollm2  # noqa: F401 - fixture
from tests.service.serving import Serving, serving
from verifier import local
from verifier.signing import ENVELOPE, PAGE, REPORT, TRANSCRIPT

PATIENCE_S = 420.0
FORMS = {
    REPORT: "application/json",
    PAGE: "text/html",
    ENVELOPE: "application/vnd.dsse+json",
    TRANSCRIPT: "application/gzip",
}


@pytest.mark.real
@pytest.mark.redis
@pytest.mark.postgres
@pytest.mark.timeout(600)
def test_the_walk_from_an_empty_directory_to_a_schedule_works_on_both_stacks(
    smollm2: str,  # noqa: F811
    postgres_url: str,
    redis_url: str,
    tmp_path: Path,
) -> None:
    with (
        serving(tmp_path / "embedded") as embedded,
        serving(tmp_path / "scaled", "--workers", "2", database_url=postgres_url, redis_url=redis_url) as scaled,
        ThreadPoolExecutor(2) as pool,
    ):
        walks = [pool.submit(_walk, each, smollm2, tmp_path / name) for name, each in (("a", embedded), ("b", scaled))]
        for walk in walks:
            walk.result()
        assert [each.stop() for each in (embedded, scaled)] == [0, 0]
        assert not [line for each in (embedded, scaled) for line in each.lines if "Traceback" in line]
        # The token was printed once, and is in no line of the log.
        assert [sum(each.token in line for line in each.lines) for each in (embedded, scaled)] == [1, 1]


def _walk(service: Serving, base_url: str, folder: Path) -> None:
    assert service.token, service.lines
    audit = {"target": {"base_url": base_url, "model": local.SMOLLM2}, "claim": {"model": local.SMOLLM2}, "suite": "quick"}
    schedule = service.post("/v1/schedules", {"audit": audit, "cron": "* * * * *", "timezone": "Asia/Seoul"})
    submitted = service.post("/v1/audits", audit)

    events = service.curl(submitted["links"]["events"], "-N", "-H", "Accept: text/event-stream", "--max-time", "400").decode()
    kinds = [line[7:] for line in events.splitlines() if line.startswith("event: ")]
    assert kinds[0] == kinds[-1] == "status" and "progress" in kinds
    done = service.get(submitted["links"]["self"])
    assert (done["status"], done["outcome"]) == ("done", "consistent"), done

    folder.mkdir()
    for name, media_type in FORMS.items():
        (folder / name).write_bytes(service.curl(submitted["links"]["report"], "-H", f"Accept: {media_type}"))
    keys = folder / "keys.pem"
    keys.write_text("".join(each["pem"] for each in service.get("/v1/keys")), encoding="ascii")
    verify = [sys.executable, "-m", "api", "verify", str(folder), "--key", str(keys), "--json"]
    held = subprocess.run(verify, capture_output=True, text=True, env=os.environ | {"TRUENAME_DATA_DIR": str(folder / "else")})
    assert held.returncode == 0, held.stdout + held.stderr

    files = [f"-Fenvelope=@{folder / ENVELOPE}", f"-Freport=@{folder / REPORT}", f"-Ftranscript=@{folder / TRANSCRIPT}"]
    again = json.loads(service.curl("/v1/reports/verify", *files, f"-Fhtml=@{folder / PAGE}"))
    assert again["exit_code"] == 0 and {each["name"] for each in again["checks"] if each["state"] == "held"} >= {"signature", "ledger"}
    with (folder / TRANSCRIPT).open("ab") as file:
        file.write(b"\x00")
    changed = json.loads(service.curl("/v1/reports/verify", *files, f"-Fhtml=@{folder / PAGE}"))
    assert changed["exit_code"] == 1

    deadline = time.monotonic() + PATIENCE_S
    while len(history := service.get(f"/v1/schedules/{schedule['id']}/history")["audits"]) < 2:
        assert time.monotonic() < deadline, (history, service.lines[-5:])
        time.sleep(1)  # the schedule's own clock: there is nothing to wait on
    # On a machine too busy to answer in time an audit is inconclusive; an honest endpoint is never accused.
    assert all(each["status"] == "done" and each["outcome"] in ("consistent", "inconclusive") for each in history), history
