"""The command line as a user runs it: `python -m api …` in a process of its own, with a canary for a key."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.checking import check_reasons

REPOSITORY = Path(__file__).parents[2]
CANARY = "sk-canary-5d1f0c7e9ab24c33"
"""The key in TRUENAME_API_KEY of every run; no output may ever hold it."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    code: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


def truename(*arguments: str, before: Sequence[str] = (), timeout_s: float = 200.0) -> Outcome:
    """Run `truename ARGUMENTS`, after the words of `before` (such as unshare's) where there are any."""
    done = python("-m", "api", *arguments, before=before, timeout_s=timeout_s)
    if "--json" in arguments and '"schema":"truename.report/1"' in done.stdout:
        check_reasons(done.json)  # whatever else a test looks at
    return done


def python(*arguments: str, before: Sequence[str] = (), timeout_s: float = 200.0) -> Outcome:
    """Run this interpreter from the repository, with the canary for a key."""
    began = time.monotonic()
    done = subprocess.run(
        [*before, sys.executable, *arguments],
        cwd=REPOSITORY,
        env=os.environ | {"TRUENAME_API_KEY": CANARY, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=timeout_s,
        check=False,
    )
    return Outcome(done.returncode, done.stdout, done.stderr, time.monotonic() - began)
