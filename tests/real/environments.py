"""Programs that cannot share our environment: each in one of its own, installed from a hashed lock and started on loopback.

Takes a lock file, gives the folder of its programs; what is installed once is found again by the digest of the lock. The folder
is TRUENAME_TEST_ENVIRONMENTS, else in the user's cache. Where it cannot be made (no network, no wheel for this machine), a test
skips with the reason, or fails where TRUENAME_REQUIRE names its marker.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import http.client
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import pytest

INSTALL_TIMEOUT_S = 1200.0
START_TIMEOUT_S = 300.0
"""LiteLLM took 64 s on a busy machine, converting SmolLM2 for transformers and starting it more than 120 s on a very busy one."""


def programs(lock: Path, marker: str) -> Path:
    """The folder of the programs (python among them) of the environment that `lock` describes, which is made where it is missing.

    Skips the test where it cannot be made, or fails it where TRUENAME_REQUIRE names `marker`.
    """
    try:
        return made(lock)
    except (OSError, subprocess.SubprocessError) as error:
        why = f"the environment of {lock.name} cannot be made here: {_last_line(error)}"
    if marker in os.environ.get("TRUENAME_REQUIRE", "").split(","):
        pytest.fail(f"{why}, and TRUENAME_REQUIRE names {marker}", pytrace=False)
    pytest.skip(why)


def made(lock: Path) -> Path:
    """The same for those who are no test. Raises OSError or subprocess.SubprocessError where it cannot be made."""
    version = f"{sys.implementation.cache_tag}-{sys.platform}"
    digest = hashlib.sha256(lock.read_bytes() + version.encode()).hexdigest()[:16]
    folder = _cache() / f"{lock.stem.removeprefix('requirements-')}-{digest}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    ready = folder / "installed"
    with (folder.parent / f"{folder.name}.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # several workers, one installation
        if not ready.is_file():
            shutil.rmtree(folder, ignore_errors=True)
            _run([sys.executable, "-m", "venv", str(folder)])
            # The lock is whole. Asked for what each file needs, pip 23 refuses extras that the lock spells without their brackets.
            pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
            _run([*pip, "--require-hashes", "--requirement", str(lock)])
            ready.touch()
    return folder / "bin"


def _cache() -> Path:
    if chosen := os.environ.get("TRUENAME_TEST_ENVIRONMENTS"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "truename" / "test-environments"


def _run(command: Sequence[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S)


def _last_line(error: Exception) -> str:
    """The line of a failure that says most: pip's own error, not our traceback."""
    if isinstance(error, subprocess.CalledProcessError):
        lines = [line for line in (error.stderr or "").splitlines() if line.strip()]
        return next((line for line in reversed(lines) if line.startswith("ERROR")), lines[-1] if lines else str(error))
    return str(error)


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


@contextlib.contextmanager
def running(command: Sequence[str], ready: str, log: Path, environment: Mapping[str, str] | None = None) -> Iterator[None]:
    """Run a server until the block ends; waits until the URL `ready` answers anything. Fails the test with the log's end otherwise."""
    with log.open("wb") as output:
        # One thread: on a busy machine more of them spin against each other.
        variables = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"} | dict(environment or {})
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=variables, cwd=log.parent
        )
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not _answers(ready):
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"{Path(command[0]).name} did not start:\n{log.read_text(encoding='utf-8', errors='replace')[-3000:]}")
            time.sleep(0.2)
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(url: str) -> bool:
    parts = urlsplit(url)
    with contextlib.closing(http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=5)) as connection:
        try:
            connection.request("GET", parts.path)
            connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            return False
    return True
