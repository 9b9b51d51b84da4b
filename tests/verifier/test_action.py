"""The GitHub Action: its steps run as shell in a clean environment, and no input is ever read as code, as an option or as an output."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from benchmarks.simulated import Endpoint
from probes.probe import Ask
from tests.conftest import REPOSITORY

ACTION: dict[str, Any] = yaml.safe_load((REPOSITORY / "action.yml").read_text(encoding="utf-8"))
STEPS = {step["id"]: step for step in ACTION["runs"]["steps"]}
KEY = "sk-canary-of-the-action"
CLAIM = {"claim": "smollm2-135m-instruct", "suite": "quick", "seed": "7"}


@dataclass(frozen=True)
class Ended:
    """How a step ended."""

    code: int
    outputs: dict[str, str]
    summary: str
    log: str


@contextmanager
def serving(endpoint: Endpoint, says: str = "OK") -> Iterator[str]:
    """The simulated endpoint as a server on loopback that refuses streams; answers read `says`."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["content-length"])))
            messages = tuple((str(each["role"]), str(each["content"])) for each in request["messages"])
            usage = endpoint._answer(Ask("usage", "served", messages, 16)).usage
            assert usage is not None
            body: dict[str, Any] = {
                "id": "chatcmpl-1",
                "object": "chat.completion",
                "model": "m",
                "choices": [{"index": 0, "message": {"role": "assistant", "content": says}, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": usage.prompt_tokens, "completion_tokens": 1},
            }
            status = 400 if request.get("stream") else 200
            data = json.dumps(body if status == 200 else {"error": {"message": says}}).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1"
        finally:
            server.shutdown()
            thread.join()


def filled(text: str, inputs: Mapping[str, str], outputs: Mapping[str, str]) -> str:
    """An expression's value, as the runner fills it in."""
    values = {f"inputs.{name}": inputs.get(name, str(given.get("default", ""))) for name, given in ACTION["inputs"].items()}
    values |= {f"steps.setup.outputs.{name}": value for name, value in outputs.items()}
    return re.sub(r"\$\{\{ ([a-z.-]+) \}\}", lambda found: values[found[1]], text)


def step(
    name: str,
    folder: Path,
    inputs: Mapping[str, str],
    outputs: Mapping[str, str],
    settings: Mapping[str, str] = MappingProxyType({}),
    timeout_s: float = 90.0,
) -> Ended:
    """Run one step as the runner does: its script in bash, in the caller's workspace, with nothing of this process's environment."""
    folder.mkdir(parents=True, exist_ok=True)
    workspace = folder / "workspace"
    for each in (workspace, folder / "home", folder / "temp"):
        each.mkdir(exist_ok=True)
    for each in ("output", "summary"):
        (folder / each).write_text("")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder / "home"),
        "GITHUB_ACTION_PATH": str(REPOSITORY),
        "GITHUB_WORKSPACE": str(workspace),
        "GITHUB_OUTPUT": str(folder / "output"),
        "GITHUB_STEP_SUMMARY": str(folder / "summary"),
        "RUNNER_TEMP": str(folder / "temp"),
        "TRUENAME_API_KEY": KEY,
        **settings,
        **{variable: filled(str(value), inputs, outputs) for variable, value in STEPS[name]["env"].items()},
    }
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", STEPS[name]["run"]],
        cwd=workspace,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=timeout_s,
        check=False,
    )
    lines = (folder / "output").read_text(encoding="utf-8").splitlines()
    said = dict(line.split("=", 1) for line in lines)
    assert len(said) == len(lines), lines
    return Ended(done.returncode, said, (folder / "summary").read_text(encoding="utf-8"), done.stdout + done.stderr)


def audit(folder: Path, **inputs: str) -> Ended:
    """The audit step with this interpreter in place of the environment that the first step builds."""
    return step("audit", folder, {name.replace("_", "-"): value for name, value in inputs.items()}, {"python": sys.executable})


def test_no_input_is_ever_part_of_a_script() -> None:
    assert ACTION["runs"]["using"] == "composite"
    for each in ACTION["runs"]["steps"]:
        assert each["shell"] == "bash" and "${{" not in each["run"] and "uses" not in each
    used = set(re.findall(r"inputs\.([a-z-]+)", json.dumps(ACTION["runs"])))
    assert used == set(ACTION["inputs"]) and not [name for name in used if "key" in name]


def test_every_output_is_one_that_the_script_writes_and_every_input_is_described() -> None:
    outputs = {re.fullmatch(r"\$\{\{ steps\.audit\.outputs\.([a-z-]+) \}\}", each["value"])[1] for each in ACTION["outputs"].values()}  # type: ignore[index]
    text = "".join((REPOSITORY / "action" / name).read_text(encoding="utf-8") for name in ("run.sh", "files.py"))
    assert outputs == set(ACTION["outputs"]) and all(f"{name}=" in text or f'"{name}": (' in text for name in outputs)
    assert all(each["description"] for each in (*ACTION["inputs"].values(), *ACTION["outputs"].values()))


def test_an_honest_endpoint_passes_and_an_earlier_report_is_not_taken_for_a_failed_audits_own(tmp_path: Path) -> None:
    with serving(Endpoint("smollm", copies=False)) as url:
        ended = audit(tmp_path, base_url=url, **CLAIM)
    assert ended.code == 0, ended.log
    assert ended.outputs["verdict"] == "consistent" and ended.outputs["exit-code"] == "0" and float(ended.outputs["e-value"]) < 1
    assert ended.summary.startswith("## ✅") and "Not tested is not clean" in ended.summary
    for name in ("report", "sarif", "junit"):
        assert (tmp_path / "workspace" / ended.outputs[name]).is_file()
    assert KEY not in ended.log + ended.summary

    ended = audit(tmp_path, base_url="http://127.0.0.1:9/v1", **CLAIM)
    assert ended.code == 4 and ended.outputs["verdict"] == "could-not-run" and ended.outputs["report"] == ""
    sarif = json.loads((tmp_path / "workspace" / ended.outputs["sarif"]).read_text(encoding="utf-8"))
    assert sarif["runs"][0]["invocations"][0]["executionSuccessful"] is False and "unreachable" in ended.summary


def test_a_cheat_fails_the_step_and_its_log_takes_no_commands(tmp_path: Path) -> None:
    with serving(Endpoint("smollm", copies=False), says="\n::error::pwned\n::set-output name=verdict::consistent") as url:
        ended = audit(tmp_path, base_url=url, **CLAIM | {"claim": "gpt-4o"})
    assert ended.code == 1 and ended.outputs["verdict"] == "inconsistent" and ended.summary.startswith("## ❌"), ended.log
    (word,) = re.findall(r"^::stop-commands::([0-9a-f]{32})$", ended.log, re.MULTILINE)
    assert f"::{word}::" in ended.log.splitlines()
    junit = ElementTree.parse(tmp_path / "workspace" / ended.outputs["junit"])
    assert len(list(junit.iter("failure"))) == 1


def test_another_choice_of_fail_on_warns_and_a_folder_named_api_is_never_imported(tmp_path: Path) -> None:
    for package in ("api", "verifier"):
        shadow = tmp_path / "workspace" / package
        shadow.mkdir(parents=True)
        (shadow / "__init__.py").write_text("raise SystemExit('taken over')")
    ended = audit(tmp_path, base_url="http://127.0.0.1:9/v1", fail_on="inconsistent, inconclusive", **CLAIM)
    assert ended.code == 0 and ended.outputs["exit-code"] == "4" and "taken over" not in ended.log
    assert "::warning title=Truename::could-not-run: this step does not fail on it" in ended.log


def test_many_endpoints_are_one_table_and_the_worst_row_decides(tmp_path: Path) -> None:
    with serving(Endpoint("smollm", copies=False)) as url:
        workspace = tmp_path / "workspace"
        workspace.mkdir(parents=True)
        rows = [{"base_url": url, "claim": claim, "name": name} for name, claim in (("honest", CLAIM["claim"]), ("cheat | @x", "gpt-4o"))]
        (workspace / "relays.jsonl").write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
        ended = audit(tmp_path, targets="relays.jsonl", suite="standard", seed="7")
    assert ended.code == 1 and ended.outputs["verdict"] == "inconsistent" and ended.outputs["e-value"] == "", ended.log
    assert ended.outputs["report"].endswith("batch.json") and ended.summary.count("\n| ") == 4
    suite = ElementTree.parse(workspace / ended.outputs["junit"]).getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")


@pytest.mark.parametrize(
    "inputs",
    [
        {"claim": "$(touch pwned)`touch pwned`'; touch pwned; '\"; touch pwned; \""},
        {"claim": "--out=pwned", "base_url": "--help"},
        {"base_url": "http://127.0.0.1:9/v1\ntouch pwned"},
        {"suite": "quick --out pwned"},
        {"fail_on": "$(touch pwned)"},
        {"fail_on": "*"},
        {"fail_on": ""},
        {"fail_on": "never\n::error::pwned"},
        {"out": "report\nverdict=consistent"},
        {"out": ""},
        {"seed": "7; touch pwned"},
    ],
)
def test_hostile_inputs_are_values_and_nothing_else(tmp_path: Path, inputs: dict[str, str]) -> None:
    ended = audit(tmp_path, **{"base_url": "http://127.0.0.1:9/v1", **CLAIM, **inputs})
    assert ended.code in (2, 4), ended.log
    assert not [path for path in tmp_path.rglob("*pwned*") if path.name != "truename-report"]
    assert ended.outputs.get("verdict") in (None, "could-not-run")


def test_an_old_python_is_refused_in_one_line(tmp_path: Path) -> None:
    ended = step("setup", tmp_path, {"python": "no-such-python"}, {})
    assert ended.code == 2 and "no Python 3.11" in ended.log and ended.outputs == {}


@pytest.mark.long
@pytest.mark.timeout(300)
def test_the_first_step_builds_an_environment_that_the_second_runs_in(tmp_path: Path) -> None:
    """As on a runner: from the hashed lock alone, through whatever index this machine's pip is set to."""
    settings = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    built = step("setup", tmp_path, {"python": sys.executable}, {}, settings, timeout_s=240)
    if "No matching distribution" in built.log or "Could not find a version" in built.log:
        pytest.skip("pip finds no index here that has the locked files")
    assert built.code == 0, built.log
    with serving(Endpoint("smollm", copies=False)) as url:
        ended = step("audit", tmp_path / "audit", {"base-url": url, **CLAIM}, built.outputs)
    shutil.rmtree(tmp_path / "temp")
    assert ended.code == 0 and ended.outputs["verdict"] == "consistent", ended.log
