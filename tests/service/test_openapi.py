"""The REST API keeps what its OpenAPI document says, whatever is sent to it: schemathesis against a real server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.service.serving import serving

EXAMPLES = "15"
"""Requests that are made up per operation."""
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,negative_data_rejection"
AUDIT = {"target": {"base_url": "https://93.184.215.14/v1", "model": "gpt-4o"}, "claim": {"model": "gpt-4o"}}


@pytest.mark.redis
@pytest.mark.timeout(300)
def test_nothing_that_is_sent_ends_in_a_500_or_a_status_that_is_not_documented(tmp_path: Path, redis_url: str) -> None:
    # Nobody runs the audits that are made up: the queue is there, and no worker.
    rates = {"token_rate": "1000000/second", "submit_rate": "1000000/second", "origin_rate": "1000000/second"}
    with serving(tmp_path / "data", redis_url=redis_url, allowed_networks="", **rates) as service:
        audit_id = service.post("/v1/audits", AUDIT)["id"]
        service.curl(f"/v1/audits/{audit_id}", "-X", "DELETE")  # its events then end
        schedule_id = service.post("/v1/schedules", {"audit": AUDIT, "cron": "0 3 * * *"})["id"]
        parameters = f'[parameters]\n"path.audit_id" = "{audit_id}"\n"path.schedule_id" = "{schedule_id}"\n'
        (tmp_path / "schemathesis.toml").write_text(parameters, encoding="utf-8")
        command = [str(Path(sys.executable).with_name("schemathesis")), "run", service.url + "/openapi.json"]
        command += ["-H", f"Authorization: Bearer {service.token}", "--checks", CHECKS, "--max-examples", EXAMPLES, "--seed", "1"]
        command += ["--phases", "examples,coverage,fuzzing", "--generation-database", "none", "--request-timeout", "10", "--no-color"]
        run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
        assert not [line for line in service.lines if "Traceback" in line]
