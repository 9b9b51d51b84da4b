"""Servers of the tests' own, on free loopback ports, that a test may also kill: PostgreSQL and Redis."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

START_S = 30.0


@dataclass
class Server:
    """A running server: its URL, and the process that can be killed; `start()` brings it back on the same data and port."""

    url: str
    command: list[str]
    answers: Callable[[], bool]
    options: dict[str, Any]
    process: subprocess.Popen[bytes]

    def start(self) -> None:
        """Start it again after its process has ended, and wait until it answers."""
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **self.options)
        self.wait()

    def kill(self) -> None:
        """kill -9, and wait until the process is gone."""
        self.process.kill()
        self.process.wait()

    def wait(self) -> None:
        """Until it answers. Raises TimeoutError; AssertionError where the process ended instead."""
        deadline = time.monotonic() + START_S
        while not self.answers():
            assert self.process.poll() is None, f"{self.command[0]} ended with {self.process.returncode}"
            if time.monotonic() > deadline:
                raise TimeoutError(self.command[0])
            time.sleep(0.05)


@contextlib.contextmanager
def own_postgres() -> Iterator[Server]:
    """A new PostgreSQL cluster in a temporary folder; its URL names the superuser's database."""
    programs = _postgres_programs()
    # PostgreSQL refuses to run as root, so root becomes the user that Debian's package makes.
    options: dict[str, Any] = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
    with tempfile.TemporaryDirectory(prefix="truename-postgres-", ignore_cleanup_errors=True) as folder:
        if options:
            shutil.chown(folder, "postgres")
        options["cwd"] = folder
        data = Path(folder) / "data"
        initdb = [str(programs / "initdb"), "-D", str(data), "-U", "postgres", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C"]
        subprocess.run(initdb, check=True, capture_output=True, **options)
        port = free_port()
        url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
        command = [str(programs / "postgres"), "-D", str(data), "-p", str(port)]
        command += ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={folder}"]
        with _running(url, command, lambda: psql(url, "SELECT 1"), options) as server:
            yield server


@contextlib.contextmanager
def own_redis(*options: str) -> Iterator[Server]:
    """A new Redis that keeps nothing on disk, unless `options` say otherwise."""
    with tempfile.TemporaryDirectory(prefix="truename-redis-", ignore_cleanup_errors=True) as folder:
        port = free_port()
        command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder, *options]
        with _running(f"redis://127.0.0.1:{port}/0", command, lambda: _pongs(port), {}) as server:
            yield server


def psql(url: str, statement: str) -> bool:
    """Run one statement as the URL's user; False where that fails."""
    done = subprocess.run(["psql", "-X", "-q", "-w", url, "-c", statement], capture_output=True, check=False, timeout=30)
    return done.returncode == 0


def free_port() -> int:
    """A port on loopback that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextlib.contextmanager
def _running(url: str, command: list[str], answers: Callable[[], bool], options: dict[str, Any]) -> Iterator[Server]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)
    server = Server(url, command, answers, options, process)
    try:
        server.wait()
        yield server
    finally:
        server.kill()


def _postgres_programs() -> Path:
    """The folder of initdb and postgres: on the path, or where Debian puts them, newest first."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]), reverse=True)
    initdb = shutil.which("initdb") or (str(found[0]) if found else None)
    assert initdb is not None, "PostgreSQL's initdb is not installed"
    return Path(initdb).resolve().parent


def _pongs(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith((b"+PONG", b"-NOAUTH"))
    except OSError:
        return False
