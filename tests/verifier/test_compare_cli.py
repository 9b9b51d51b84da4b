"""`truename compare` and `audit --reference` against two stand-in servers: exit codes, keys, budgets, and the report's replay."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import math
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from api.cli import main
from tests.endpoints import header_for
from tests.verifier.stand_ins import Handler, Request, StandIn, completion, reply, stand_in
from verifier import Settings, audit_async
from verifier.errors import CannotRunError, UsageError
from verifier.report import comparison
from verifier.transcript import Transcript

DEAD = "http://127.0.0.1:9/v1"
SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "report.schema.json").read_text(encoding="utf-8"))
ONE = ("42", "Tokyo", "호랑이", "苹果", "seven", "blue", "river", "stone", "night", "cloud", "amber", "finch")
OTHER = ("73", "Paris", "고양이", "香蕉", "eleven", "red", "sea", "sand", "dawn", "rain", "jade", "wren")


async def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of one command, which runs in a thread beside the stand-ins."""

    def command() -> int:
        try:
            main(list(arguments))
        except SystemExit as stop:
            return int(stop.code or 0)
        return 0

    code = await asyncio.to_thread(command)
    out, err = capsys.readouterr()
    return code, out, err


def answering(words: Sequence[str], seed: int) -> Handler:
    """A server that answers every question with one of these words, drawn anew each time."""
    rng = random.Random(seed)

    async def handle(request: Request, writer: asyncio.StreamWriter) -> None:
        await reply(completion(rng.choice(words)))(request, writer)

    return handle


@asynccontextmanager
async def two(first: Sequence[str] = ONE, second: Sequence[str] = ONE) -> AsyncIterator[tuple[StandIn, StandIn]]:
    async with stand_in(answering(first, 1)) as a, stand_in(answering(second, 2)) as b:
        yield a, b


def judged(report: dict[str, Any]) -> dict[str, Any]:
    return {name: report[name] for name in ("verdict", "findings", "blocks", "target", "reference")}


async def test_two_servers_with_one_law_are_the_same_at_a_printed_resolution(capsys: pytest.CaptureFixture[str]) -> None:
    async with two() as (a, b):
        code, out, err = await run(capsys, "compare", a.base_url, b.base_url, "--model", "m", "--seed", "1")
    assert code == 0 and out.startswith("SAME") and "Resolution" in out and "150 pairs" in out
    assert len(a.requests) == len(b.requests) == 150 and "paired/0/" in err


async def test_two_laws_are_different_before_the_suite_ends_and_the_report_replays(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    async with two(ONE, OTHER) as (a, b):
        arguments = ("compare", a.base_url, b.base_url, "--model", "m", "--reference-model", "n", "--seed", "1", "--out", str(tmp_path))
        code, out, _ = await run(capsys, *arguments, "--json")
    report = json.loads(out)
    jsonschema.validate(report, SCHEMA)
    assert code == 1 and report["verdict"]["outcome"] == "inconsistent" and report["cost"]["stopped_early"]
    assert report["verdict"]["e_value"] >= 100 and [r["code"] for r in report["verdict"]["reasons"]] == ["paired-differ"]
    assert report["cost"]["requests"] == len(a.requests) + len(b.requests) < 200
    assert report["reference"] == {"origin": b.base_url.removesuffix("/v1"), "model": "n", "wire": "openai"}
    assert {request.json["model"] for request in a.requests} == {"m"} and {request.json["model"] for request in b.requests} == {"n"}
    code, out, _ = await run(capsys, "judge", str(tmp_path), "--json")
    assert code == 1 and judged(json.loads(out)) == judged(report)
    assert (await run(capsys, "judge", str(tmp_path)))[1].startswith("DIFFERENT")


async def test_too_few_pairs_are_unknown_never_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    async with two() as (a, b):
        code, out, _ = await run(capsys, "compare", a.base_url, b.base_url, "--model", "m", "--suite", "quick")
    assert code == 3 and out.startswith("UNKNOWN") and "too few" in out
    assert len(a.requests) == len(b.requests) == 7


async def test_canned_replies_are_unknown_never_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    async with two(("No.",), ("No.",)) as (a, b):
        code, out, _ = await run(capsys, "compare", a.base_url, b.base_url, "--model", "m")
    assert code == 3 and "only 1 different answer" in " ".join(out.split())


@pytest.mark.parametrize("dead", ["A", "B"])
async def test_one_dead_endpoint_is_exit_4_and_is_named(capsys: pytest.CaptureFixture[str], dead: str) -> None:
    async with stand_in(answering(ONE, 1)) as alive:
        urls = (DEAD, alive.base_url) if dead == "A" else (alive.base_url, DEAD)
        code, out, err = await run(capsys, "compare", *urls, "--model", "m")
    (line,) = [line for line in err.splitlines() if line.startswith("truename:")]
    assert code == 4 and out == "" and "http://127.0.0.1:9:" in line and "unreachable" in line


async def test_failing_answers_drop_their_pairs_and_are_reported(capsys: pytest.CaptureFixture[str]) -> None:
    flaky = [reply({"error": {"message": "no"}}, 400) if n in (4, 9) else answering(ONE, n) for n in range(60)]
    async with stand_in(*flaky) as a, stand_in(answering(ONE, 2)) as b:
        arguments = ("compare", a.base_url, b.base_url, "--model", "m", "--suite", "standard", "--json")
        code, out, _ = await run(capsys, *arguments)
    report = json.loads(out)
    shown = {row["key"]: row["measured"] for row in report["blocks"]["choice"]["paired"]["measured"]}
    assert code in (0, 3) and shown["pairs complete"] == 28 and shown["pairs with a missing answer"] == 2
    assert "probe-refused" in {finding["code"] for finding in report["findings"]}


async def test_the_request_limit_counts_both_endpoints(capsys: pytest.CaptureFixture[str]) -> None:
    async with two() as (a, b):
        code, out, _ = await run(capsys, "compare", a.base_url, b.base_url, "--model", "m", "--max-requests", "25", "--json")
    assert code == 3 and len(a.requests) + len(b.requests) == 25 == json.loads(out)["cost"]["requests"]


async def test_a_key_reaches_only_the_endpoint_that_it_was_given_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUENAME_API_KEY", "sk-canary-a")
    monkeypatch.setenv("KEY_OF_B", "sk-canary-b")
    async with two() as (a, b):
        urls = ("compare", a.base_url, b.base_url, "--model", "m", "--max-requests", "4")
        await run(capsys, *urls)
        assert {request.headers.get("authorization") for request in b.requests} == {None}
        code, out, err = await run(capsys, *urls, "--reference-key-env", "KEY_OF_B", "--json")
    assert {request.headers["authorization"] for request in a.requests} == {"Bearer sk-canary-a"}
    assert b.requests[-1].headers["authorization"] == "Bearer sk-canary-b"
    assert code == 3 and "canary" not in out + err


async def test_one_origin_gets_its_one_key_under_both_names(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUENAME_API_KEY", "sk-canary-a")
    async with stand_in(answering(ONE, 1)) as a:
        names = ("--model", "m", "--reference-model", "n", "--max-requests", "4")
        await run(capsys, "compare", a.base_url, a.base_url, *names)
    assert {(request.json["model"], request.headers["authorization"]) for request in a.requests} == {
        ("m", "Bearer sk-canary-a"),
        ("n", "Bearer sk-canary-a"),
    }


@pytest.mark.parametrize(
    "arguments",
    [
        ("compare", DEAD, DEAD),
        ("compare", DEAD, "--model", "m"),
        ("compare", DEAD, DEAD, "--model", "m", "--tolerance", "1.5"),
        ("compare", DEAD, DEAD, "--model", "m", "--suite", "huge"),
        ("compare", DEAD, DEAD, "--model", "m", "--reference-wire", "smoke"),
        ("compare", DEAD, DEAD, "--model", "m", "--reference-key-env", "NO_SUCH_VARIABLE_HERE"),
        ("compare", DEAD, "no url", "--model", "m"),
        ("audit", DEAD, "--claim", "gpt-4o", "--reference-model", "n"),
    ],
)
async def test_wrong_usage_is_exit_2(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
    code, out, err = await run(capsys, *arguments)
    assert code == 2 and out == "" and err and "Traceback" not in err


async def test_a_dry_run_sends_nothing_and_states_the_cost_of_both_sides(capsys: pytest.CaptureFixture[str]) -> None:
    async with two() as (a, b):
        names = ("--model", "gpt-4o", "--reference-model", "claude-3-opus", "--suite", "standard", "--seed", "5", "--dry-run")
        code, out, _ = await run(capsys, "compare", a.base_url, b.base_url, *names, "--json")
        text = (await run(capsys, "compare", a.base_url, b.base_url, *names))[1]
    plan = json.loads(out)
    first, other = plan["sides"]["target"], plan["sides"]["reference"]
    assert (code, plan["requests"], first["requests"], other["requests"]) == (0, 60, 30, 30)
    assert [question["to"] for question in plan["questions"]].count("reference") == 30
    assert first["prompt_tokens"] > 300 and first["completion_tokens"] == 30 * 12
    assert 0 < first["dollars"] < other["dollars"] and plan["dollars"] == pytest.approx(first["dollars"] + other["dollars"], rel=0.01)
    assert "Nothing was sent" in text and "    reference: 30 requests" in text
    assert a.accepts == b.accepts == 0


async def test_the_dry_run_of_an_audit_with_a_reference_lists_the_paired_questions(capsys: pytest.CaptureFixture[str]) -> None:
    names = ("--claim", "gpt-4o", "--reference", DEAD, "--reference-model", "nobody-knows-it", "--dry-run")
    code, out, _ = await run(capsys, "audit", DEAD, *names, "--suite", "standard", "--json")
    plan = json.loads(out)
    keys = {question["key"] for question in plan["questions"] if question["to"] == "reference"}
    assert code == 0 and plan["requests"] == len(plan["questions"]) <= 60
    assert len(keys) == plan["sides"]["reference"]["requests"] > 3 and "paired" in plan["probes"]
    assert all(key.startswith("paired/") for key in keys)
    assert plan["sides"]["target"]["dollars"] > 0 and plan["dollars"] is plan["sides"]["reference"]["dollars"] is None
    code, out, _ = await run(capsys, "audit", DEAD, *names, "--suite", "quick")
    assert code == 0 and "No paired question fits" in out


def sampled_only(words: Sequence[str], seed: int) -> Handler:
    """A server of a model that takes no temperature, as OpenAI's reasoning models are."""
    answer = answering(words, seed)

    async def handle(request: Request, writer: asyncio.StreamWriter) -> None:
        refusal = {"error": {"message": "Unsupported value: 'temperature' does not support 0.0 with this model."}}
        await (reply(refusal, 400) if "temperature" in request.json else answer)(request, writer)

    return handle


async def test_where_one_side_takes_no_temperature_neither_is_given_one(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    async with stand_in(answering(ONE, 1)) as a, stand_in(sampled_only(ONE, 2)) as b:
        arguments = ("--model", "m", "--suite", "standard", "--out", str(tmp_path), "--json")
        code, out, _ = await run(capsys, "compare", a.base_url, b.base_url, *arguments)
    shown = {row["key"]: row["measured"] for row in json.loads(out)["blocks"]["choice"]["paired"]["measured"]}
    left_out = shown["pairs asked at two temperatures, left out"]
    assert code == 3 and left_out <= 5 and shown["pairs complete"] >= 20  # refusals count towards the 60 requests
    assert all("temperature" not in request.json for request in a.requests[5:])
    replies = Transcript.load(tmp_path)[0].replies
    assert {r.ask.temperature for r in replies if r.ask.to == "reference"} == {None}
    assert sum(r.ask.temperature is not None for r in replies) == sum("temperature" in request.json for request in a.requests)


async def test_python_code_audits_beside_a_reference_and_compares_without_a_claim() -> None:
    settings = Settings(suite="standard", seed=1)
    async with two() as (a, b):
        report = await audit_async(a.base_url, "llama-3.1-8b-instruct", reference=b.base_url, api_key="sk-canary-a", settings=settings)
        assert report.data["reference"] == {"origin": b.base_url.removesuffix("/v1"), "model": "llama-3.1-8b-instruct", "wire": "openai"}
        assert {request.headers.get("authorization") for request in b.requests} == {None}
        named = {"reference": b.base_url, "reference_model": "n", "reference_api_key": "sk-canary-b"}
        report = await audit_async(a.base_url, None, model="m", **named, settings=settings)  # type: ignore[arg-type]
    assert comparison.is_comparison(report) and report.data["reference"]["model"] == "n"
    assert b.requests[-1].headers["authorization"] == "Bearer sk-canary-b" and "canary" not in report.to_json()
    with pytest.raises(UsageError, match="reference"):
        await audit_async(DEAD, "gpt-4o", reference_model="n")


async def test_an_audit_with_a_reference_reports_the_paired_channel_and_replays(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    async with two(ONE, OTHER) as (a, b):
        arguments = ("audit", a.base_url, "--claim", "llama-3.1-8b-instruct", "--reference", b.base_url, "--out", str(tmp_path), "--json")
        code, out, _ = await run(capsys, *arguments)
    report = json.loads(out)
    jsonschema.validate(report, SCHEMA)
    assert len(a.requests) > len(b.requests) >= 10 and len(a.requests) + len(b.requests) <= 60
    assert report["blocks"]["choice"]["paired"]["tested"] and report["reference"]["origin"] == b.base_url.removesuffix("/v1")
    transcript, _ = Transcript.load(tmp_path)
    assert {r.ask.to for r in transcript.replies} == {"target", "reference"} and transcript.header.reference == report["reference"]
    again, out, _ = await run(capsys, "judge", str(tmp_path), "--json")
    assert again == code and judged(json.loads(out)) == judged(report)


async def test_an_audit_without_a_reference_has_none(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    async with stand_in(answering(ONE, 1)) as a:
        arguments = ("audit", a.base_url, "--claim", "gpt-4o", "--suite", "quick", "--out", str(tmp_path), "--json")
        _, out, _ = await run(capsys, *arguments)
    report = json.loads(out)
    jsonschema.validate(report, SCHEMA)
    assert report["reference"] is None and "paired" not in report["blocks"].get("choice", {})
    transcript, data = Transcript.load(tmp_path)
    assert transcript.header.reference is None and transcript.to_bytes() == data


@pytest.mark.parametrize(
    "changes",
    [
        {"paired": None},
        {"reference": None},
        {"paired": {"tolerance": 2.0, "pairs": 5}},
        {"paired": {"tolerance": 0.1, "pairs": math.inf}},
        {"paired": {"tolerance": math.nan, "pairs": 5}},
        {"paired": {"tolerance": 0.1, "pairs": 10**9}},
        {"paired": [1]},
        {"reference": {"origin": "http://x", "model": "m", "wire": "smoke"}},
        {"reference": {"origin": [1], "model": "m", "wire": "openai"}},
        {"reference": {"wire": "openai"}},
        {"reference": "x"},
    ],
)
def test_a_transcript_with_a_reference_that_no_audit_asked_is_refused(changes: dict[str, Any]) -> None:
    target = {"origin": "http://x", "model": "m", "wire": "openai"}
    header = dataclasses.replace(header_for(None), reference=target, paired={"tolerance": 0.1, "pairs": 30.0})
    sound = Transcript(header, ()).to_bytes()
    assert Transcript.from_bytes(sound).header == header
    with pytest.raises(CannotRunError):
        Transcript.from_bytes(Transcript(dataclasses.replace(header, **changes), ()).to_bytes())
