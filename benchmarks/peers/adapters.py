"""The peers: how each is run, as its own documentation recommends, and what its output says by its own words.

Declared objects and small readers. A run's outcome is `accused` (it says that another model answers), `cleared` (it says that nothing
is wrong), `undecided` (it says that it cannot tell, or complains of something else than the model) or `error` (it broke). Readers
raise ValueError, KeyError or OSError on output they do not know, which is an error too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks.peers.sandbox import Ran

Outcome = Literal["accused", "cleared", "undecided", "error"]

TRUENAME = "truename"
KEY = "sk-local"
ROUNDS = 7
"""Of tokenwatt-verify: seven rounds of three graded probes are the first to reach the 20 answered pairs that it asks for."""


@dataclass(frozen=True, slots=True)
class Case:
    """What a peer is pointed at."""

    base_url: str
    claim: str
    other: str
    """A second model on sale at the same relay, for a peer that compares two."""
    genuine: str
    """Base URL of an endpoint that serves the claimed model."""
    baselines: Path
    """Folder of what was recorded from genuine endpoints beforehand."""


@dataclass(frozen=True, slots=True)
class Peer:
    """One installable peer."""

    name: str
    module: str
    arguments: Callable[[Case], tuple[str, ...]]
    read: Callable[[Ran], Outcome]
    meaning: str
    """How its own words map to outcomes, and where it says so."""
    variables: Callable[[Case], Mapping[str, str]] = lambda case: {}
    files: Callable[[Case], Mapping[str, str]] = lambda case: {}
    """Name -> text of what lies in its working directory."""
    compares: bool = False
    """Whether it compares two models of one relay; to the others the relay sells the claimed one alone."""
    collect: Callable[[str, str, str], tuple[str, ...]] | None = None
    """Arguments that record a genuine endpoint (base URL, model) into a file, where it needs that beforehand."""

    @property
    def lock(self) -> Path:
        """Its hashed lock."""
        return Path(__file__).parent / "locks" / f"requirements-{self.name}.lock"

    @property
    def version(self) -> str:
        """The version that the lock's source pins."""
        return self.lock.with_suffix(".in").read_text(encoding="utf-8").strip().partition("==")[2]

    def outcome(self, ran: Ran) -> Outcome:
        """What a run says; an error where it broke or says nothing known."""
        try:
            return self.read(ran)
        except (ValueError, KeyError, TypeError, IndexError, OSError):
            return "error"


NOT_INSTALLABLE = {
    "AI-Infra-Guard api_checker": "source on GitHub only; the package index has no such package",
    "veridrop": "source on GitHub only; the package index has no such package",
    "fpverify": "source on GitHub only; the package index has no such package",
    "llm-relay-auditor": "source on GitHub only; the package index has no such package",
    "api-relay-audit": "source on GitHub only; the package index has no such package",
    "llm-verify": "a Rust crate; its package index is not reachable here",
    "lmfpd / ModelTrace": "installs, but downloads its reference data when it first runs, and fails offline",
    "llm-fingerprinter": "installs, but downloads a sentence embedder, and knows no Claude",
    "model-equality-testing": "compares samples that are drawn beforehand, and needs torch",
    "proof-of-edition": "installs, but needs receipts signed by the provider, or a fingerprint trained into the model",
    "knowlyr-modelaudit": "installs, but asks the vendors' own APIs for its references",
}
"""Tools of the same trade that this run leaves out, each with its reason."""


def _modelproof(ran: Ran) -> Outcome:
    verdict = json.loads(ran.out)["audit"]["verdict"]
    told: dict[str, Outcome] = {"GENUINE": "cleared", "SUSPICIOUS": "undecided", "FAKE": "accused"}
    return told[verdict]


ABOUT_THE_MODEL = ("tok-", "twins-", "id-", "echo-")
"""Findings of relaycheck that speak of which model answers; the others speak of billing, availability, streams, parameters, lengths."""


def _relaycheck(ran: Ran) -> Outcome:
    report = json.loads((ran.folder / "report" / "report.json").read_text(encoding="utf-8"))
    found = report["findings"]
    if any(each["severity"] in ("critical", "high") and each["id"].startswith(ABOUT_THE_MODEL) for each in found):
        return "accused"
    compared = any(each["id"] in ("tok-clean", "twins-clean") for each in found)
    return "cleared" if ran.code == 0 and compared else "undecided"


def _sothstan(ran: Ran) -> Outcome:
    told: dict[int | None, Outcome] = {0: "cleared", 1: "undecided", 2: "accused", 3: "undecided"}
    return told[ran.code]


def _tokenwatt(ran: Ran) -> Outcome:
    overall = json.loads((ran.folder / "verdict.json").read_text(encoding="utf-8"))["overall"]
    told: dict[str, Outcome] = {"consistent": "cleared", "inconsistent": "accused", "inconclusive": "undecided"}
    return told[overall]


def _provenance(ran: Ran) -> Outcome:
    report = sorted((ran.folder / "report").glob("*.json"))[0]
    level = json.loads(report.read_text(encoding="utf-8"))["user_warning"]["level"]
    told: dict[str, Outcome] = {"red": "accused", "orange": "undecided", "yellow": "undecided", "green": "cleared"}
    return told[level]


def _relay_audit(ran: Ran) -> Outcome:
    findings = json.loads(ran.out[ran.out.index("{") :])["findings"]
    severe = [each for each in findings if str(each["severity"]).lower() in ("high", "critical")]
    if any(each["category"] == "identity" for each in severe):
        return "accused"
    told: dict[int | None, Outcome] = {0: "cleared", 1: "undecided"}
    return told[ran.code] if not severe else "undecided"


PEERS = (
    Peer(
        "modelproof",
        "modelproof.cli",
        lambda case: ("-u", case.base_url, "-k", KEY, "-m", case.claim, "--all", "--json"),
        _modelproof,
        'the JSON report\'s verdict: GENUINE clears ("Target verified consistent with genuine foundational weights"), FAKE accuses '
        '("CONFIRMED SPOOFED / MASKED"), SUSPICIOUS is undecided; all ten probes, as its README does for CI',
    ),
    Peer(
        "relaycheck",
        "relaycheck.cli",
        lambda case: ("-u", case.base_url, "-m", f"{case.claim},{case.other}", "--delay", "0", "--out-dir", "report"),
        _relaycheck,
        "two models of different vendors, as its README recommends; a finding about the model of severity high or critical accuses "
        '("strong, verified evidence of misconduct"); exit code 0 with a finished comparison clears; `*-000` means "not tested"',
        variables=lambda case: {"RELAYCHECK_API_KEY": KEY},
        compares=True,
    ),
    Peer(
        "sothstan",
        "sothstan.cli",
        lambda case: ("check", case.base_url, "--model", case.claim, "--registry", str(case.baselines), "--json"),
        _sothstan,
        "its exit codes: 0 AUTHENTIC, 1 SUSPICIOUS, 2 MISMATCH, 3 INCONCLUSIVE, 4 could not run; baselines of the claimed "
        "model and of models with other tokenizers were recorded from genuine endpoints beforehand, as it asks for, and are not counted",
        collect=lambda url, model, file: ("collect", url, "--model", model, "--family", model, "--out", file),
    ),
    Peer(
        "tokenwatt-verify",
        "tokenwatt_verify.cli",
        lambda case: ("run", "--target", "env:EP", "--reference", "env:REF", "--rounds", str(ROUNDS), "--json", "verdict.json"),
        _tokenwatt,
        "its verdict: consistent, inconsistent, inconclusive; against a live genuine endpoint, whose requests count too",
        variables=lambda case: {
            "EP_URL": case.base_url,
            "EP_MODEL": case.claim,
            "EP_KEY": KEY,
            "EP_API": "openai",
            "REF_URL": case.genuine,
            "REF_MODEL": case.claim,
            "REF_KEY": KEY,
            "REF_API": "openai",
        },
    ),
    Peer(
        "llm-provenance-probe",
        "provenance_probe",
        lambda case: ("assess", "--config", "targets.json", "--out", "report", "--offline", "--i-am-authorized"),
        _provenance,
        'the level of its user warning: red accuses ("This app is not what it says it is"), green clears ("No signs of a hidden or '
        'misrepresented AI model"), orange and yellow are undecided; it looks for models of Chinese origin alone',
        variables=lambda case: {"PEER_KEY": KEY},
        files=lambda case: {
            "targets.json": json.dumps(
                [{"name": "relay", "base_url": case.base_url, "model": case.claim, "auth_value_env": "PEER_KEY", "authorized": True}]
            )
        },
    ),
    Peer(
        "relay-audit",
        "relay_audit",
        lambda case: ("--base-url", case.base_url, "--model", case.claim, "--stream", "--json", "--no-html"),
        _relay_audit,
        "a finding of category identity and severity high or critical accuses; other such findings are undecided; its exit code 0 "
        "(no high risk found) clears",
        variables=lambda case: {"RELAY_API_KEY": KEY},
    ),
)
