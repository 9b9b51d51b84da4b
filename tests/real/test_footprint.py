"""What the command costs the machine that runs it: memory of an audit, and what a mere `--help` loads."""

from __future__ import annotations

import re

import pytest

from tests.real.command import python

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("footprint"), pytest.mark.timeout(200)]

LIMIT_MB = 300
# VmHWM is this program's own peak; getrusage would also count the peak of the process that it was forked from.
MEASURED = """
import sys
from api.cli import main
try:
    main(sys.argv[1:])
finally:
    print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")), file=sys.stderr)
"""
LOADED = """
import sys
from api.cli import main
try:
    main(["--help"])
finally:
    print(*sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
"""
HEAVY = {"numpy", "httpx", "pydantic", "pydantic_core", "splintr", "fastapi", "sqlalchemy", "jinja2"}


def test_an_audit_stays_under_300_mb_of_memory(smollm2: str) -> None:
    ended = python("-c", MEASURED, "audit", smollm2, "--claim", "smollm2-135m-instruct", "--suite", "quick", "--json")
    assert ended.code in (0, 3), ended.stderr
    found = re.search(r"VmHWM:\s+(\d+) kB", ended.stderr)
    assert found is not None
    assert int(found[1]) / 1000 < LIMIT_MB


def test_help_loads_nothing_heavy() -> None:
    ended = python("-c", LOADED)
    assert ended.code == 0 and "audit" in ended.stdout
    assert HEAVY & set(ended.stderr.split()) == set()
