"""The Dockerfile's steps, run without Docker in scratch roots, end in a healthy `truename serve`: a user of its own, read-only code."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.service.scratch import steps
from tests.service.servers import free_port

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="only root can make mounts"),
    pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the image has Python 3.11"),
]


class Container:
    """The image's process."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process, self.port = process, port

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """A command in it, as its user."""
        pid = str(self.process.pid)
        enter = [
            "nsenter",
            "--target",
            pid,
            "--mount",
            "--root",
            "--wd",
            "setpriv",
            "--reuid",
            "10001",
            "--regid",
            "10001",
            "--clear-groups",
        ]
        return subprocess.run([*enter, *command], capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture(scope="module")
def container(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    """The image, built and started."""
    folder, port = tmp_path_factory.mktemp("image"), free_port()
    folder.chmod(0o755)
    for parent in folder.parents:  # the image's user passes through
        if parent.stat().st_uid == os.geteuid() and not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)
    wheels = folder / "wheels"
    download = ["-m", "pip", "download", "--quiet", "--only-binary=:all:", "--require-hashes", "--dest", str(wheels)]
    subprocess.run([sys.executable, *download, "-r", str(REPOSITORY / "requirements.lock")], check=True)
    command = [str(REPOSITORY), str(wheels), str(folder / "work"), "serve", "--host", "127.0.0.1", "--port", str(port)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["unshare", "--mount", sys.executable, "-m", "tests.service.scratch", *command], cwd=REPOSITORY, stdout=log, stderr=log
        )
        try:
            deadline = time.monotonic() + 600
            while not _healthy(port):
                assert process.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()[-3000:]
                time.sleep(0.5)
            yield Container(process, port)
        finally:
            process.kill()
            process.wait()


def _healthy(port: int) -> bool:
    with contextlib.suppress(OSError, urllib.error.URLError):
        return b'"ok"' in urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5).read()
    return False


def test_the_image_serves_as_nobody_special_and_its_own_check_says_healthy(container: Container) -> None:
    fields = dict(line.split(":\t", 1) for line in Path(f"/proc/{container.process.pid}/status").read_text().splitlines() if ":\t" in line)
    assert fields["Uid"].split() == ["10001"] * 4 and fields["Gid"].split() == ["10001"] * 4
    assert int(fields["CapEff"], 16) == int(fields["CapBnd"], 16) == 0 and fields["NoNewPrivs"] == "1"
    (value,) = [value for name, value in steps(REPOSITORY) if name == "HEALTHCHECK"]
    check = [word.replace(":8080/", f":{container.port}/") for word in json.loads(value.partition("CMD ")[2])]
    assert container.run(*check).returncode == 0
    assert container.run(*[word.replace(f":{container.port}/", ":1/") for word in check]).returncode != 0


def test_only_the_data_directory_can_be_written(container: Container) -> None:
    assert container.run("touch", "/data/x", "/tmp/x").returncode == 0
    for path in ("/app/x", "/app/code/api/x", "/app/code/api/cli.py", "/app/venv/lib/x", "/usr/local/x", "/etc/x", "/x"):
        found = container.run("touch", path)
        assert found.returncode != 0 and ("Read-only" in found.stderr or "denied" in found.stderr), (path, found)
    code = container.run("find", "/app", "-perm", "/222", "-not", "-type", "l")
    assert code.stdout == "", "and nothing of the code could be, were the root not read-only"


def test_it_holds_its_own_packages_and_no_installer(container: Container) -> None:
    python = "/app/venv/bin/python"
    assert container.run(python, "-c", "import api.cli, verifier, numpy").returncode == 0
    for module in ("pip", "setuptools", "pytest", "hatchling"):
        assert container.run(python, "-c", f"import {module}").returncode != 0
    assert container.run("/usr/local/bin/python", "-m", "pip", "--version").returncode != 0
    assert container.run("/app/truename", "--help").returncode == 0


def test_it_stops_in_order_when_it_is_told_to(container: Container) -> None:
    container.process.send_signal(signal.SIGTERM)
    assert container.process.wait(30) == 0
