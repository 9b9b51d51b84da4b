"""Claims about the peers' benchmark: outputs are read by their own words, strangers' code sees nothing of ours, relays count."""

from __future__ import annotations

import http.client
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from benchmarks.adversaries.endpoint import Endpoint, Gateway
from benchmarks.adversaries.recorded import DATA, MODELS, Model
from benchmarks.peers import run, sandbox, standins, tables
from benchmarks.peers.adapters import NOT_INSTALLABLE, PEERS, TRUENAME, Peer
from benchmarks.peers.relay import Relay, serve
from benchmarks.peers.sandbox import Programs, Ran
from benchmarks.peers.summary import summary
from benchmarks.simulated import count

BY_NAME = {peer.name: peer for peer in PEERS}
FINDING = {"confidence": "confirmed", "title": ""}


def ran(folder: Path, code: int | None, out: object = "", files: Mapping[str, object] | None = None) -> Ran:
    """A finished run that printed `out` and wrote `files`, both as JSON."""
    for name, content in (files or {}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return Ran(code, out if isinstance(out, str) else json.dumps(out), folder)


def relaycheck(*findings: tuple[str, str]) -> Mapping[str, object]:
    return {"report/report.json": {"findings": [FINDING | {"id": name, "severity": severity} for name, severity in findings]}}


def relay_audit(*findings: tuple[str, str]) -> dict[str, Any]:
    return {"findings": [{"category": category, "severity": severity} for category, severity in findings]}


def provenance(level: str) -> Mapping[str, object]:
    return {"report/relay_20261122T071531.json": {"user_warning": {"level": level}}}


@pytest.mark.parametrize(
    ("peer", "code", "out", "files", "outcome"),
    [
        ("modelproof", 0, {"audit": {"verdict": "GENUINE", "score": 100}}, {}, "cleared"),
        ("modelproof", 1, {"audit": {"verdict": "SUSPICIOUS", "score": 64}}, {}, "undecided"),
        ("modelproof", 1, {"audit": {"verdict": "FAKE", "score": 7}}, {}, "accused"),
        ("relaycheck", 0, "", relaycheck(("tok-clean", "clean"), ("id-100", "info")), "cleared"),
        ("relaycheck", 1, "", relaycheck(("twins-100", "critical"), ("tok-100", "medium")), "accused"),
        ("relaycheck", 1, "", relaycheck(("rel-100", "high"), ("tok-000", "info")), "undecided"),
        ("relaycheck", 0, "", relaycheck(("tok-000", "info"), ("twins-000", "info")), "undecided"),
        ("sothstan", 0, "", {}, "cleared"),
        ("sothstan", 1, "", {}, "undecided"),
        ("sothstan", 2, "", {}, "accused"),
        ("sothstan", 3, "", {}, "undecided"),
        ("tokenwatt-verify", 0, "", {"verdict.json": {"overall": "consistent"}}, "cleared"),
        ("tokenwatt-verify", 0, "", {"verdict.json": {"overall": "inconclusive"}}, "undecided"),
        ("tokenwatt-verify", 2, "", {"verdict.json": {"overall": "inconsistent"}}, "accused"),
        ("llm-provenance-probe", 0, "", provenance("green"), "cleared"),
        ("llm-provenance-probe", 0, "", provenance("yellow"), "undecided"),
        ("llm-provenance-probe", 0, "", provenance("red"), "accused"),
        ("relay-audit", 0, relay_audit(("identity", "medium")), {}, "cleared"),
        ("relay-audit", 1, relay_audit(("quality", "high")), {}, "undecided"),
        ("relay-audit", 1, relay_audit(("identity", "high")), {}, "accused"),
    ],
)  # fmt: skip
def test_a_peer_is_read_by_its_own_words(
    tmp_path: Path, peer: str, code: int, out: object, files: Mapping[str, object], outcome: str
) -> None:
    assert BY_NAME[peer].outcome(ran(tmp_path, code, out, files)) == outcome


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
@pytest.mark.parametrize("code", [None, 4, 139])
def test_a_peer_that_breaks_or_is_stopped_is_an_error_and_no_verdict(tmp_path: Path, peer: Peer, code: int | None) -> None:
    assert peer.outcome(ran(tmp_path, code, "Traceback (most recent call last):")) == "error"


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_every_peer_is_pinned_by_hashes_and_names_no_host(peer: Peer) -> None:
    lock = peer.lock.read_text(encoding="utf-8")
    assert f"{peer.name}=={peer.version}" in lock
    assert "://" not in lock and "index-url" not in lock
    pinned = re.findall(r"^[\w.-]+==\S+ \\$", lock, re.MULTILINE)
    assert len(pinned) == len(re.findall(r"^[^\s#]", lock, re.MULTILINE)), "a line without hashes"
    assert lock.count("--hash=sha256:") >= len(pinned)


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A folder that everybody may read: pytest closes its own, and the peer is somebody else."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_a_peer_sees_neither_our_variables_nor_our_home_nor_our_rights(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUENAME_SECRET_KEY", "a secret")
    python = sandbox.python_for_others(scratch / "python") if os.geteuid() == 0 else sys.executable
    folder = sandbox.open_to_others(scratch / "run")
    (folder / "peer.py").write_text("import os, json; print(json.dumps([dict(os.environ), os.getuid()]))", encoding="utf-8")
    done = sandbox.run(Programs(python, str(scratch)), ["peer"], folder, {"OWN": "1"})
    assert done.code == 0
    variables, user = json.loads(done.out)
    assert "TRUENAME_SECRET_KEY" not in variables
    assert (variables["HOME"], variables["OWN"]) == (str(folder), "1")
    assert user != 0


def test_a_peer_that_was_stopped_is_not_cleared_by_what_it_had_printed(tmp_path: Path) -> None:
    assert BY_NAME["relay-audit"].outcome(ran(tmp_path, None, relay_audit(("identity", "medium")))) == "error"


def test_a_peer_that_hangs_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "TIMEOUT_S", 0.5)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    (tmp_path / "peer.py").write_text("import time; time.sleep(60)", encoding="utf-8")
    assert sandbox.run(Programs(sys.executable), ["peer"], tmp_path, {}).code is None


def model(name: str, vocabulary: str) -> Model:
    return Model(name, "family", "lineage", "vendor", vocabulary, MODELS[name], {}, ())


def post(base_url: str, body: object) -> tuple[int, Any]:
    parts = urlsplit(base_url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    connection.request("POST", f"{parts.path}/chat/completions", json.dumps(body))
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    streamed = text.startswith("data:")
    return response.status, text if streamed else json.loads(text)


def asking(name: str, question: str, **more: object) -> dict[str, object]:
    return {"model": name, "messages": [{"role": "user", "content": question}], "max_tokens": 10**9} | more


def test_a_relay_sells_two_models_and_counts_what_was_asked_of_it() -> None:
    question = "Which company created you? Answer with the company name only."
    swapped = Endpoint("gpt-4o", [model("llama-3.3-70b-instruct", "llama3")], Gateway(), "seed", 100)
    other = Endpoint("deepseek-v3", [model("deepseek-v3", "deepseek-v3")], Gateway(), "seed", 100)
    relay = Relay({"gpt-4o": swapped, "deepseek-v3": other})
    with serve(relay) as base_url:
        status, reply = post(base_url, asking("gpt-4o", question))
        streamed = post(base_url, asking("deepseek-v3", question, stream=True))[1]
        assert post(base_url, asking("gpt-5", question))[0] == 404
        assert post(base_url, asking("gpt-4o", question, temperature=42))[0] == 400
        assert post(base_url, asking("gpt-4o", "mumble"))[1]["choices"][0]["message"]["content"] == ""
    assert (status, reply["model"], reply["choices"][0]["message"]["content"]) == (200, "gpt-4o", "Meta")
    assert '"content": "Deep' in streamed and streamed.endswith("data: [DONE]\n\n")
    assert (relay.requests, relay.unanswered) == (5, 1)
    assert relay.tokens == sum(count("o200k", text) for text in (question, "Meta", question, "DeepSeek", "mumble"))


def test_a_dead_relay_refuses_and_a_forged_identity_is_the_claimed_one() -> None:
    dead = Endpoint("gpt-4o", [model("gpt-4o", "o200k")], Gateway(failing=1.0), "seed", 100)
    posing = Endpoint("gpt-4o", [model("llama-3.3-70b-instruct", "llama3")], Gateway(marks="gpt-4o"), "seed", 100)
    with serve(Relay({"dead": dead, "posing": posing})) as base_url:
        assert post(base_url, asking("dead", "hi"))[0] == 503
        status, reply = post(base_url, asking("posing", "Which company created you?"))
    assert (status, reply["choices"][0]["message"]["content"]) == (200, "OpenAI")


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Compute 123 × 45 − 6." , "ANSWER: 5529"),
        ("Reverse this string exactly: abc1", "ANSWER: 1cba"),
        ("Here is a table:\nk1111: 7\nk2222: 19\n\nWhat is the value for k2222?", "ANSWER: 19"),
        ("1. Count letter 's' in: m-i-s-s-i-s-s-i-p-p-i\n2. Compute 12 * 9", "LETTER_COUNT: 4 | CALC: 108"),
    ],
)  # fmt: skip
def test_stand_ins_are_right_and_alike_for_every_model(question: str, answer: str) -> None:
    assert {standins.answer(question, name, facts.brand) for name, facts in MODELS.items()} == {answer}


def test_stand_ins_differ_where_models_would_and_say_nothing_to_what_they_do_not_know() -> None:
    opened = "Invent a name for a fictional fruit."
    told = [standins.answer(opened, name, facts.brand) for name, facts in MODELS.items()]
    assert len(set(told)) == len(MODELS)
    assert standins.answer(opened, "gpt-4o", ("GPT-4o", "OpenAI")) == told[0]
    assert standins.answer("Repeat exactly: abc", "gpt-4o", ("GPT-4o", "OpenAI")) is None


def row(tool: str, arm: str, kind: str, outcome: str) -> dict[str, object]:
    spent: dict[str, object] = {"code": 0, "requests": 10, "tokens": 100, "unanswered": 1, "seconds": 2.0}
    return spent | {"tool": tool, "arm": arm, "kind": kind, "outcome": outcome}


def test_the_table_has_the_same_columns_for_every_tool_and_an_error_is_no_miss() -> None:
    rows = [row(tool, "plain", "honest", "cleared") for tool in (TRUENAME, "modelproof")]
    rows += [row(TRUENAME, "swap", "cheat", "accused"), row("modelproof", "swap", "cheat", "error")]
    result = {
        "tools": {TRUENAME: "this checkout", "modelproof": "1.0.1"}, "arms": ["plain", "swap"], "figures": summary(rows), "rows": rows,
        "confined": True, "meanings": {}, "not_installable": NOT_INSTALLABLE,
    }  # fmt: skip
    told = tables.table(result)
    assert f"| {TRUENAME} | 0 / 1 / 0 of 1 | 0 / 1 / 0 of 1 | 1 / 0 / 0 of 1 |" in told
    assert "| modelproof | 0 / 1 / 0 of 1 | 0 / 1 / 0 of 1 | 0 / 0 / 0 of 1, 1 errors |" in told
    assert all(f"- {name}: not run: {why}." in told for name, why in NOT_INSTALLABLE.items())


@pytest.mark.long
def test_an_installed_peer_answers_on_every_arm_without_an_error_and_without_network() -> None:
    if not DATA.is_dir():
        pytest.skip("needs ../shared/corpora")
    result = run(limit=1, names=("modelproof",))
    assert [each for each in result["rows"] if each["outcome"] == "error" or each["requests"] == 0] == []
    assert result["figures"]["modelproof"]["arms"]["honest"]["accused"] == 0
    assert {each["tool"] for each in result["rows"]} == {"modelproof"}
