"""Worker processes beside the API process: started with it, started again where one ends, stopped with it.

A worker that keeps ending is started after longer and longer waits; it never takes the API down with it, and `/metrics` counts it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import structlog

from api.metrics import WORKER_PROCESSES, WORKER_STARTS

LOOK_S = 0.2
"""Seconds between two looks at the processes."""
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 30.0
"""Seconds that a worker which ended stays down: doubled each time, up to the longest."""
STEADY_S = 60.0
"""A worker that ran for so many seconds had started well: the next wait is the first again."""
STOP_S = 25.0
"""Seconds that all workers have to hand back what they are doing before they are killed; containers are killed after 30."""

_log = structlog.get_logger()


@dataclass(slots=True)
class _Place:
    """One worker that is to run."""

    process: subprocess.Popen[bytes]
    started: float
    wait_s: float = FIRST_WAIT_S
    again_at: float | None = None
    """When it is started again; None while it runs."""


class Workers:
    """`with Workers(2):` keeps two `truename worker` processes running."""

    def __init__(self, count: int, command: tuple[str, ...] = (sys.executable, "-m", "api", "worker")) -> None:
        """Nothing runs before the block is entered."""
        # They end by themselves where this process is killed.
        self._command = (*command, "--parent", str(os.getpid()))
        self._count = count
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="workers")
        self._places: list[_Place] = []

    @property
    def pids(self) -> list[int]:
        """Of the workers that run."""
        return [place.process.pid for place in self._places if place.again_at is None]

    def ask_to_stop(self) -> None:
        """Pass the signal on: every worker hands back what it is doing, none is started again. A signal handler may call this."""
        self._ended.set()
        for place in self._places:
            if place.process.poll() is None:
                place.process.terminate()

    def __enter__(self) -> Self:
        self._places = [self._started() for _ in range(self._count)]
        WORKER_PROCESSES.set_function(lambda: len(self.pids))
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.ask_to_stop()
        self._thread.join()
        self.ask_to_stop()  # one may have been started meanwhile
        deadline = time.monotonic() + STOP_S
        for place in self._places:
            try:
                place.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                _log.error("a worker did not stop and is killed", pid=place.process.pid)
                place.process.kill()
                place.process.wait()

    def _started(self) -> _Place:
        process = subprocess.Popen(self._command)  # noqa: S603 - our own command
        WORKER_STARTS.inc()
        return _Place(process, time.monotonic())

    def _watch(self) -> None:
        while not self._ended.wait(LOOK_S):
            for number, place in enumerate(self._places):
                now = time.monotonic()
                if place.again_at is not None and now >= place.again_at:
                    wait_s = min(2 * place.wait_s, LONGEST_WAIT_S)
                    try:
                        self._places[number] = self._started()
                    except OSError as error:  # short of memory or processes, for now
                        place.again_at = now + wait_s
                        _log.error("a worker cannot be started", error=type(error).__name__, again_in_s=wait_s)
                    self._places[number].wait_s = wait_s
                elif place.again_at is None and (code := place.process.poll()) is not None:
                    if now - place.started >= STEADY_S:
                        place.wait_s = FIRST_WAIT_S
                    place.again_at = now + place.wait_s
                    _log.error("a worker ended", code=code, again_in_s=place.wait_s)
