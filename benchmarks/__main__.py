"""Runs one benchmark by name, prints its table or JSON, and refreshes its section of RESULTS.md with --write."""

from __future__ import annotations

import argparse
import importlib
import json
import platform
import re
import resource
import sys
import time
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "RESULTS.md"
NAMES = (
    "simulate",
    "cost",
    "tokens",
    "claude",
    "probes",
    "vocabularies",
    "fuzz",
    "alpha",
    "adversaries",
    "compare",
    "drift",
    "forged",
    "edges",
    "choices",
    "style",
    "enrolled",
    "shifts",
    "filters",
    "lineage",
    "knowledge",
    "service",
    "rolling",
    "capacity",
    "peers",
)


def main() -> None:
    """Run the benchmark that the arguments name."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--data", type=Path, help="folder with the data to score; never fitted")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, help="smaller run; the benchmark says what it limits")
    parser.add_argument("--write", action="store_true", help="refresh this benchmark's section of RESULTS.md")
    arguments = parser.parse_args()
    module = importlib.import_module(f"benchmarks.{arguments.name}")
    began = time.perf_counter()
    try:
        result: dict[str, Any] = module.run(arguments.data, arguments.seed, arguments.limit)
    except FileNotFoundError as error:
        print(f"benchmarks {arguments.name}: {error.filename or error} is missing; give its folder with --data", file=sys.stderr)
        sys.exit(4)
    result["seconds"] = round(time.perf_counter() - began, 1)
    result["peak_memory_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000)
    print(json.dumps(result, ensure_ascii=False) if arguments.json else module.table(result))
    if arguments.write:
        _write(arguments, module.__doc__ or "", module.table(result), result)


def _write(arguments: argparse.Namespace, about: str, table: str, result: dict[str, Any]) -> None:
    """Replace the section between this benchmark's markers, or append one."""
    begin, end = f"<!-- {arguments.name} -->", f"<!-- /{arguments.name} -->"
    command = f"python -m benchmarks {arguments.name}" + (" --data …" if arguments.data else "") + f" --seed {arguments.seed}"
    command += f" --limit {arguments.limit}" if arguments.limit else ""
    cost = f"{result['seconds']} s · peak {result['peak_memory_mb']} MB"
    meta = f"`{command}` · {cost} · {platform.machine()}, Python {platform.python_version()}"
    section = f"{begin}\n## {arguments.name}\n\n{' '.join(about.split())}\n\n{meta}\n\n{table}\n{end}"
    text = (
        RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else "# Benchmark results\n\nEach section is written by its own command.\n"
    )
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    text = pattern.sub(lambda _: section, text) if pattern.search(text) else text.rstrip() + "\n\n" + section + "\n"
    RESULTS.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
