"""`python -m benchmarks peers`: installable tools of the same trade and Truename on the same endpoints, in one run.

Endpoints are those of `adversaries`, over HTTP on loopback; questions that only peers ask are answered by stand-ins that are right and
alike for every model. Peers run pinned, in environments of their own, as an unprivileged user without network. `--limit` is the number
of runs of every arm and tool; `--data` is the folder of response corpora.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.adversaries.recorded import DATA
from benchmarks.peers import sandbox, tables
from benchmarks.peers.adapters import NOT_INSTALLABLE, PEERS, TRUENAME
from benchmarks.peers.cases import RUNS
from benchmarks.peers.summary import summary

TIMEOUT_S = 1_800.0

table = tables.table


def run(data: Path | None = None, seed: int = 0, limit: int | None = None, names: tuple[str, ...] | None = None) -> dict[str, Any]:
    """Every tool, or those of `names`, on every endpoint. Raises FileNotFoundError without the corpora."""
    folder = data or DATA
    if not folder.is_dir():
        raise FileNotFoundError(2, "missing", str(folder))
    wanted = [peer for peer in PEERS if names is None or peer.name in names]
    with tempfile.TemporaryDirectory(prefix="truename-peers-") as made:
        scratch = Path(made)
        scratch.chmod(0o755)  # peers run as somebody else
        programs, missing = {}, dict(NOT_INSTALLABLE)
        for peer in wanted:
            try:
                installed = sandbox.installed(peer.lock, scratch)
                programs[peer.name] = (installed.python, installed.path)
            except (OSError, subprocess.SubprocessError) as error:
                missing[peer.name] = f"its environment could not be made ({type(error).__name__})"
        plan = {"programs": programs, "scratch": made, "seed": seed, "limit": limit, "data": str(folder.resolve())}
        plan["truename"] = names is None or TRUENAME in names
        (scratch / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
        command = sandbox.confined("benchmarks.peers.inside", str(scratch / "plan.json"), str(scratch / "rows.json"))
        subprocess.run(command, check=True, timeout=TIMEOUT_S, stdout=sys.stderr)
        told = json.loads((scratch / "rows.json").read_text(encoding="utf-8"))
    tools = {TRUENAME: "this checkout"} if plan["truename"] else {}
    tools |= {peer.name: peer.version for peer in wanted if peer.name in programs}
    return {
        "tools": tools,
        "confined": told["confined"],
        "arms": [name for name in RUNS if any(row["arm"] == name for row in told["rows"])],
        "figures": summary(told["rows"]),
        "rows": told["rows"],
        "meanings": {peer.name: peer.meaning for peer in wanted if peer.name in programs},
        "not_installable": missing,
    }
