"""Worker processes beside the API process: started with it, started again where one ends, stopped with it."""

from __future__ import annotations

import subprocess
import sys
import threading
from types import TracebackType
from typing import Self

import structlog

LOOK_S = 1.0
"""Seconds between two looks at the processes; also how long one stays down before it is started again."""
STOP_S = 30.0
"""Seconds that a worker has to hand back what it is doing before it is killed."""

_log = structlog.get_logger()


class Workers:
    """`with Workers(2):` keeps two `truename worker` processes running."""

    def __init__(self, count: int, command: tuple[str, ...] = (sys.executable, "-m", "api", "worker")) -> None:
        """Nothing runs before the block is entered."""
        self._command = command
        self._count = count
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="workers")
        self.processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        self.processes = [self._start() for _ in range(self._count)]
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self._command)  # noqa: S603 - our own command

    def _watch(self) -> None:
        while not self._ended.wait(LOOK_S):
            for index, process in enumerate(self.processes):
                if process.poll() is not None:
                    _log.warning("a worker ended and is started again", code=process.returncode)
                    self.processes[index] = self._start()
