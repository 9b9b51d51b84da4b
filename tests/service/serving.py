"""`truename serve` as a process of its own: started on a free port, spoken to by curl, stopped by a signal."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.real.environments import free_port

START_S = 60.0
_FIRST_TOKEN = re.compile(r"first token \(admin\), shown once: (tn_\S+)")


@dataclass
class Serving:
    """A running service."""

    url: str
    process: subprocess.Popen[str]
    environment: dict[str, str]
    token: str = ""
    """The admin token that it printed on its empty data directory."""
    lines: list[str] = field(default_factory=list)
    """What it has written on stdout and stderr."""

    def curl(self, path: str, *options: str, token: str | None = None) -> bytes:
        """The body of an answer; fails where the status is an error's."""
        command = ["curl", "-sS", "--fail-with-body", "--max-time", "120", "-H", f"Authorization: Bearer {token or self.token}", *options]
        answer = subprocess.run([*command, self.url + path], capture_output=True)
        assert answer.returncode == 0, (path, answer.stdout[-500:], answer.stderr[-500:], self.lines[-5:])
        return answer.stdout

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """The JSON answer to a JSON body."""
        return json.loads(self.curl(path, "-H", "Content-Type: application/json", "--data-binary", json.dumps(body)))

    def get(self, path: str) -> Any:
        """The JSON answer."""
        return json.loads(self.curl(path))

    def stop(self) -> int:
        """Ask it to stop; gives its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@contextlib.contextmanager
def serving(folder: Path, *options: str, **settings: str) -> Iterator[Serving]:
    """`truename serve` with its data in `folder` and TRUENAME_* settings by their lower-case names."""
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TRUENAME_")}
    environment |= {"TRUENAME_DATA_DIR": str(folder), "TRUENAME_ALLOWED_NETWORKS": "127.0.0.0/8", "PYTHONUNBUFFERED": "1"}
    environment |= {f"TRUENAME_{name.upper()}": value for name, value in settings.items()}
    command = [sys.executable, "-W", "error", "-m", "api", "serve", "--port", str(port), *options]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    running = Serving(f"http://127.0.0.1:{port}", process, environment)
    assert process.stdout is not None
    # A pipe that nobody empties would stop the service one day.
    reading = threading.Thread(target=lambda: running.lines.extend(process.stdout), daemon=True)
    reading.start()
    try:
        _wait(running)
        running.token = next((found[1] for line in running.lines if (found := _FIRST_TOKEN.search(line))), "")
        yield running
    finally:
        running.stop()
        reading.join(10)
        process.stdout.close()


def _wait(running: Serving) -> None:
    deadline = time.monotonic() + START_S
    while subprocess.run(["curl", "-sf", running.url + "/healthz"], capture_output=True).returncode:
        assert running.process.poll() is None, running.lines
        assert time.monotonic() < deadline, running.lines
        time.sleep(0.2)
