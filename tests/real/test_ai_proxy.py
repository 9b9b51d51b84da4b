"""A real gateway that drops usage and says `stop` at the end of every stream: nobody is accused or cleared for what it hides."""

from __future__ import annotations

import contextlib
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.real.command import CANARY
from tests.real.environments import free_port, programs, running
from verifier import Settings, audit

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("ai-proxy"), pytest.mark.timeout(400)]

LOCK = Path(__file__).parent / "requirements-ai-proxy.lock"


@contextlib.contextmanager
def _ai_proxy(folder: Path, **upstreams: str) -> Iterator[str]:
    """Base URL of ai-proxy-server: a model `NAME/…` goes to the upstream NAME, whatever it claims to be."""
    bin_folder = programs(LOCK, "real")
    port = free_port()
    lines = ['host = "127.0.0.1"', f"port = {port}"]
    for name, url in upstreams.items():
        lines += [f"[connections.{name}]", 'api_type = "open_ai"', f'api_base = "{url}"', 'api_key = "sk-local"']
    # The upstream's own name goes on: for a name that ends in -instruct this gateway asks for raw completions, without a chat template.
    lines += ["[routing]", *(f'"{name}/*" = "{name}.{name}"' for name in upstreams), "[groups.default]", f'api_keys = ["{CANARY}"]']
    config = folder / "config.toml"
    config.write_text("\n".join(lines) + "\n", encoding="utf-8")
    command = [str(bin_folder / "python"), "-m", "lm_proxy", "--config", str(config)]
    with running(command, f"http://127.0.0.1:{port}/v1/models", folder / "log.txt"):
        yield f"http://127.0.0.1:{port}/v1"


@pytest.fixture(scope="module")
def demo_models(smollm2: str, gemma3: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The gateway in front of the demo's models."""
    with _ai_proxy(tmp_path_factory.mktemp("ai-proxy"), smollm2=smollm2, gemma3=gemma3) as base_url:
        yield base_url


@pytest.fixture(scope="module")
def copying_model(llama3_echo: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The gateway in front of a model that copies strings."""
    with _ai_proxy(tmp_path_factory.mktemp("ai-proxy"), llama3=llama3_echo) as base_url:
        yield base_url


def _audit(base_url: str, route: str, claim: str) -> dict[str, Any]:
    """The report of an audit of `claim` on a route of the gateway."""
    report = audit(base_url, claim, model=f"{route}/{claim}", api_key=CANARY, settings=Settings(suite="quick", seed=3))
    assert CANARY not in report.to_json() and CANARY.encode() not in gzip.decompress(report.transcript)
    verdict = report.data["verdict"]
    print(route, claim, verdict["outcome"], [reason["text"] for reason in verdict["reasons"]], verdict["next"])
    return dict(report.data)


def _says_what_would_settle_it(report: dict[str, Any]) -> bool:
    """Whether an inconclusive report lists what was not tested and names a channel of the text as the next step."""
    codes = {reason["code"] for reason in report["verdict"]["reasons"]}
    return "not-tested" in codes and "max_tokens" in report["verdict"]["next"] and "chunks" in report["verdict"]["next"]


ROUTES = {"smollm2": "demo_models", "gemma3": "demo_models", "llama3": "copying_model"}


@pytest.mark.parametrize(
    ("route", "claim"), [("smollm2", "smollm2-135m-instruct"), ("gemma3", "gemma-3-270m-it"), ("llama3", "llama-3.1-8b-instruct")]
)
def test_an_honest_model_behind_a_gateway_without_usage_is_not_accused(request: pytest.FixtureRequest, route: str, claim: str) -> None:
    report = _audit(request.getfixturevalue(ROUTES[route]), route, claim)
    assert report["verdict"]["outcome"] != "inconsistent"
    assert "usage-missing" in {finding["code"] for finding in report["findings"]}
    assert report["verdict"]["outcome"] == "consistent" or _says_what_would_settle_it(report)


@pytest.mark.parametrize(("route", "claim"), [("gemma3", "smollm2-135m-instruct"), ("smollm2", "gpt-4o"), ("llama3", "gpt-4o")])
def test_a_swap_behind_a_gateway_without_usage_is_exposed_or_left_open_never_cleared(
    request: pytest.FixtureRequest, route: str, claim: str
) -> None:
    report = _audit(request.getfixturevalue(ROUTES[route]), route, claim)
    assert report["verdict"]["outcome"] != "consistent"
    assert report["verdict"]["outcome"] == "inconsistent" or _says_what_would_settle_it(report)
