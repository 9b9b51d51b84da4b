"""An enrolment asks what it announced, loses no answer, goes on where it stopped, and never mixes two endpoints under one name."""

from __future__ import annotations

import asyncio
import json
import random
import stat
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.verifier.pack_stubs import CHOICE, OPEN, question, stubs
from tests.verifier.stand_ins import Handler, Request, completion, reply, stand_in
from tests.verifier.truename import truename
from verifier import enrolling, pack_files
from verifier.enrolment_journal import Enrolment, Journal
from verifier.errors import CannotRunError, UsageError
from verifier.question_store import QuestionStore
from verifier.target import Target

__all__ = ["stubs"]

SIZES = ("--samples", "4", "--open-samples", "2", "--yes", "--wire", "openai")


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stubs: None) -> Path:
    monkeypatch.setenv("TRUENAME_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


def answers(text: str = "pear", *, fail: Counter[str] | None = None) -> Handler:
    """A model that always says `text`; a question named in `fail` is refused that many times first."""

    async def handle(request: Request, writer: asyncio.StreamWriter) -> None:
        asked = request.json["messages"][-1]["content"]
        if fail is not None and fail[asked] > 0:
            fail[asked] -= 1
            await reply({"error": {"message": "no"}}, 400)(request, writer)
            return
        await reply(completion(text))(request, writer)

    return handle


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `truename enroll`."""
    return truename(capsys, "enroll", *arguments)


def asked(server: Any) -> Counter[str]:
    return Counter(request.json["messages"][-1]["content"] for request in server.requests)


async def test_every_question_is_asked_as_often_as_was_announced_and_a_pack_per_kind_comes_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "mine.pack"
    async with stand_in(answers()) as server:
        code, said, err = await asyncio.to_thread(run, capsys, server.base_url, "--as", "openai/gpt-4o", "--out", str(out), *SIZES)
        assert asked(server) == {CHOICE.text: 4, OPEN.text: 2}
        assert {request.json["model"] for request in server.requests} == {"openai/gpt-4o"}
    assert code == 0 and "2 questions, 6 requests" in err and "6 of 6 answers" in err
    choices, opens = pack_files.load(out).packs
    assert (choices.kind, opens.kind, choices.name) == ("choices", "answers", "mine")
    assert [(m.name, m.family, m.samples) for m in choices.models] == [("gpt-4o", "gpt-4o", 4)]
    assert choices.arrays["counts"].tolist() == [[4]] and opens.arrays["counts"].tolist() == [[2]]
    assert "127.0.0.1" in choices.origin and choices.expires is not None
    assert len(said.splitlines()) == 2


async def test_a_second_model_joins_with_the_same_questions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "mine.pack"
    async with stand_in(answers("pear")) as one, stand_in(answers("plum")) as two:
        await asyncio.to_thread(run, capsys, one.base_url, "--as", "gpt-4o", "--out", str(out), *SIZES)
        code, _, _ = await asyncio.to_thread(run, capsys, two.base_url, "--as", "made-up-1", "--out", str(out), *SIZES, "--questions", "9")
        assert code == 0 and asked(one) == asked(two)
    choices, _ = pack_files.load(out).packs
    assert [m.name for m in choices.models] == ["gpt-4o", "made-up-1"] and choices.arrays["counts"].tolist() == [[4, 4]]


async def test_a_run_that_broke_off_goes_on_and_asks_nothing_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "mine.pack"
    command = ("--as", "gpt-4o", "--out", str(out), *SIZES)
    async with stand_in(answers(fail=Counter({OPEN.text: 2}))) as server:
        code, said, err = await asyncio.to_thread(run, capsys, server.base_url, *command)
        assert code == 4 and said == "" and "too few" in err and "run the same command again" in err and not out.exists()
        assert asked(server) == {CHOICE.text: 4, OPEN.text: 2}
        code, _, err = await asyncio.to_thread(run, capsys, server.base_url, *command, "--resume")
        assert code == 0 and asked(server) == {CHOICE.text: 4, OPEN.text: 4}
        code, _, err = await asyncio.to_thread(run, capsys, server.base_url, *command)
        assert code == 0 and "all answers are here" in err and asked(server) == {CHOICE.text: 4, OPEN.text: 4}


async def test_an_interrupted_run_keeps_every_answer_that_had_come(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "mine.pack")
    enrolment = Enrolment("gpt-4o", "http://x", "2026-01-02", {"choice": 4, "open": 2})
    journal.begin((CHOICE, OPEN), enrolment)
    came = asyncio.Event()

    async def slow(request: Request, writer: asyncio.StreamWriter) -> None:
        if came.is_set():
            await asyncio.Event().wait()
        await reply(completion("pear"))(request, writer)

    async with stand_in(slow) as server:
        task = asyncio.create_task(
            enrolling.ask(Target.parse(server.base_url, "m"), journal, enrolment, QuestionStore(), tell=lambda reply, left: came.set())
        )
        await came.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    again = Journal(tmp_path / "mine.pack")
    assert sum(len(given) for given in again.answers.values()) >= 1
    assert again.answers == journal.answers and again.questions == (CHOICE, OPEN)
    assert stat.S_IMODE(again.path.stat().st_mode) == 0o600


def test_a_line_that_was_cut_by_a_crash_is_dropped_and_the_rest_is_kept(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "mine.pack")
    journal.begin((CHOICE,), Enrolment("m", "http://x", "2026-01-02", {"choice": 2}))
    journal.add(CHOICE.id, "m", "하나")
    with journal.path.open("ab") as file:
        file.write(b'{"question": "fru')
    again = Journal(tmp_path / "mine.pack")
    assert journal.path.read_bytes().endswith(b"fru")  # reading changes nothing
    again.add(CHOICE.id, "m", "둘")
    again.add(CHOICE.id, "m", "셋")
    assert Journal(tmp_path / "mine.pack").answers == {(CHOICE.id, "m"): ["하나", "둘", "셋"]}


@pytest.mark.parametrize(
    "content", ["nonsense\n", "[]\n", '{"schema": "other"}\n', '{"schema": "truename.enrolment/1", "questions": [1]}\n']
)
def test_a_file_that_is_no_journal_is_refused_and_left_alone(content: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.pack.answers.jsonl"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(CannotRunError, match="not the record"):
        Journal(tmp_path / "mine.pack")
    assert path.read_text(encoding="utf-8") == content


async def test_a_refused_key_stops_after_the_first_question(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with stand_in(reply({"error": {"message": "bad key"}}, 401)) as server:
        code, _, err = await asyncio.to_thread(run, capsys, server.base_url, "--as", "m", "--out", str(tmp_path / "x.pack"), *SIZES)
        assert code == 4 and len(server.requests) == 1 and "refused-key" in err.splitlines()[-1]


async def test_nothing_is_sent_before_somebody_agrees(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with stand_in(answers()) as server:
        out = tmp_path / "x.pack"
        code, _, err = await asyncio.to_thread(run, capsys, server.base_url, "--as", "m", "--out", str(out))
        assert code == 2 and "--yes" in err and "53 requests" in err and server.accepts == 0


async def test_a_signed_enrolment_names_the_key_that_signed_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with stand_in(answers()) as server:
        for name, options in (("plain", ()), ("signed", ("--sign",))):
            out = str(tmp_path / f"{name}.pack")
            assert (await asyncio.to_thread(run, capsys, server.base_url, "--as", "m", "--out", out, *SIZES, *options))[0] == 0
    assert pack_files.load(tmp_path / "plain.pack").signed_by is None
    assert pack_files.load(tmp_path / "signed.pack").signed_by == pack_files.own_signature()(b"").public_key


async def test_one_name_is_never_enrolled_from_two_endpoints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "x.pack"
    async with stand_in(answers()) as one, stand_in(answers()) as two:
        await asyncio.to_thread(run, capsys, one.base_url, "--as", "gpt-4o", "--out", str(out), *SIZES)
        code, _, err = await asyncio.to_thread(run, capsys, two.base_url, "--as", "gpt-4o", "--out", str(out), *SIZES)
        assert code == 2 and "was enrolled from" in err and two.accepts == 0


async def test_a_pack_without_its_answers_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "x.pack"
    out.write_bytes(b"precious")
    code, _, err = await asyncio.to_thread(run, capsys, "http://127.0.0.1:9/v1", "--as", "m", "--out", str(out), *SIZES)
    assert code == 2 and out.read_bytes() == b"precious" and len(err.splitlines()) == 1
    out.unlink()
    assert (await asyncio.to_thread(run, capsys, "http://127.0.0.1:9/v1", "--as", "m", "--out", str(out), "--resume"))[0] == 2


async def test_answers_that_are_all_the_same_are_said_to_look_cached(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    many = ("--samples", "10", "--open-samples", "2", "--yes", "--wire", "openai")
    fruits = iter(["pear", "plum"] * 20)

    async def varied(request: Request, writer: asyncio.StreamWriter) -> None:
        await reply(completion(next(fruits)))(request, writer)

    async with stand_in(answers()) as same, stand_in(varied) as other:
        _, _, err = await asyncio.to_thread(run, capsys, same.base_url, "--as", "m", "--out", str(tmp_path / "x.pack"), *many)
        assert "a cache" in err
        _, _, err = await asyncio.to_thread(run, capsys, other.base_url, "--as", "m", "--out", str(tmp_path / "y.pack"), *many)
        assert "a cache" not in err


async def test_empty_answers_are_no_answers_and_said_to_be_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with stand_in(answers(" \n")) as server:
        code, _, err = await asyncio.to_thread(run, capsys, server.base_url, "--as", "m", "--out", str(tmp_path / "x.pack"), *SIZES)
    assert code == 4 and "6 of them empty" in err


def test_the_questions_of_a_pack_are_asked_as_far_as_their_texts_are_here(tmp_path: Path) -> None:
    from tests.verifier.test_packs_cli import TEXTS, made

    store = QuestionStore()
    with pytest.raises(UsageError, match="packs fetch"):
        enrolling.questions_for([made()], store)
    store.put(TEXTS[0])
    store.put(TEXTS[2])
    assert [q.text for q in enrolling.questions_for([made()], store)] == [TEXTS[0], TEXTS[2]]
    assert len(enrolling.questions_for([made()], store, most=1)) == 1
    other = made((question("Quite another.", id="q0"),), "other")
    ids = [q.id for q in enrolling.questions_for([made(), other], store)]
    assert len(set(ids)) == 3


def test_the_cost_counts_what_is_still_open(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "mine.pack")
    enrolment = Enrolment("gpt-4o", "http://x", "2026-01-02", {"choice": 4, "open": 2})
    journal.begin((CHOICE, OPEN), enrolment)
    whole = enrolling.cost(journal, enrolment, QuestionStore())
    assert (whole.requests, whole.completion_tokens) == (6, 96) and whole.prompt_tokens > 6 * 12
    journal.add(CHOICE.id, "gpt-4o", "pear")
    assert enrolling.cost(journal, enrolment, QuestionStore()).requests == 5


async def test_two_enrolled_models_are_told_apart_by_the_pack_that_comes_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from fingerprints import choices

    monkeypatch.setattr(enrolling, "choices", choices)  # the real statistics, on the real questions

    def likes(low: int) -> Handler:
        async def handle(request: Request, writer: asyncio.StreamWriter) -> None:
            drawn = random.Random(f"{low}{len(served)}").randrange(low, low + 20)
            served.append(drawn)
            await reply(completion(str(drawn)))(request, writer)

        return handle

    served: list[int] = []
    out = tmp_path / "mine.pack"
    some = ("--questions", "3", "--samples", "40", "--open-samples", "1", "--yes", "--wire", "openai", "--concurrency", "16")
    async with stand_in(likes(5)) as one, stand_in(likes(60)) as two:
        await asyncio.to_thread(run, capsys, one.base_url, "--as", "gpt-4o", "--out", str(out), *some)
        code, _, _ = await asyncio.to_thread(run, capsys, two.base_url, "--as", "made-up-1", "--out", str(out), *some)
    assert code == 0
    pack = next(pack for pack in pack_files.load(out).packs if pack.kind == "choices")
    asked = [q.id for q in pack.questions]
    fresh = {name: [str(n) for n in range(63, 75)] for name in asked}
    scored = choices.score(pack, fresh, "gpt-4o")
    assert scored.best == "made-up-1" and not scored.supports_claim
    assert choices.score(pack, fresh, "made-up-1").supports_claim


def test_the_journal_holds_no_text_that_others_wrote(tmp_path: Path) -> None:
    from dataclasses import replace

    from tests.verifier.test_packs_cli import TEXTS, theirs

    journal = Journal(tmp_path / "mine.pack")
    journal.begin((replace(theirs(TEXTS[0], 0), text=TEXTS[0]),), Enrolment("m", "http://x", "2026-01-02", {"open": 1}))
    assert TEXTS[0] not in journal.path.read_text(encoding="utf-8")
    assert json.loads(journal.path.read_text(encoding="utf-8").splitlines()[0])["questions"][0]["text"] is None
