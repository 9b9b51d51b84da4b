"""`truename packs`: texts come from where they are published or from disk, each by its digest, and never from a refused address."""

from __future__ import annotations

import asyncio
import gzip
import json
import stat
from pathlib import Path
from typing import Any

import httpx
import pytest

from fingerprints.pack_file import Signature, pack_bytes, packs_bytes
from fingerprints.packs import Pack, PackModel
from fingerprints.questions import Question, Source, text_digest
from tests.verifier.pack_stubs import build_pack, question, stubs
from tests.verifier.stand_ins import raw_then_stall, reply, stand_in
from tests.verifier.truename import truename
from verifier import pack_files, question_fetching
from verifier.endpoint.fetch import fetch
from verifier.endpoint.guard import service_policy
from verifier.errors import CannotRunError, TargetRefusedError
from verifier.pack_files import DoesNotHoldError
from verifier.places import data_directory
from verifier.question_fetching import fetch_published, take_from
from verifier.question_store import QuestionStore

__all__ = ["stubs"]

TEXTS = ("Was ist schwerer?", "왜 하늘은 푸른가?", "Which door do you take?")
LOOPBACK = service_policy(["127.0.0.0/8"])


def theirs(text: str, number: int) -> Question:
    position = {"id_key": "id", "id": str(number), "key": "prompt"}
    return question(text, id=f"q{number}", published=Source("some/body", "b" * 40, "data/q 1.jsonl", position, "CC0-1.0"))


def made(questions: tuple[Question, ...] = tuple(theirs(text, n) for n, text in enumerate(TEXTS)), name: str = "doors") -> Pack:
    return build_pack(
        name=name,
        version="1",
        created="2026-01-02",
        questions=questions,
        answers={(questions[0].id, "gpt-4o"): ["x"]},
        models=[PackModel("gpt-4o", "gpt-4o", "gpt-4o", "gpt-4o", 7)],
        origin="a test",
        licence="CC0-1.0",
        expires="2027-01-02",
    )


PUBLISHED = "\n".join(json.dumps({"id": n, "prompt": text}) for n, text in enumerate(TEXTS)).encode()


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory of the test's own."""
    monkeypatch.setenv("TRUENAME_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def pack_path(tmp_path: Path) -> Path:
    path = tmp_path / "doors.pack"
    path.write_bytes(pack_bytes(made()))
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `truename packs`."""
    return truename(capsys, "packs", *arguments)


def test_the_store_is_private_and_believes_a_text_for_its_digest_alone(data: Path) -> None:
    store = QuestionStore()
    digest = store.put(TEXTS[1])
    file = data / "questions" / f"{digest}.txt"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert store.get(digest) == TEXTS[1]
    file.write_text("another question", encoding="utf-8")
    assert store.get(digest) is None
    assert [q.id for q in store.missing([made()])] == ["q0", "q1", "q2"]
    assert store.get("../../etc/passwd") is None


def test_the_data_directory_is_what_the_variable_names_or_the_platforms_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUENAME_DATA_DIR", str(tmp_path))
    assert data_directory() == tmp_path
    monkeypatch.setenv("TRUENAME_DATA_DIR", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
    assert data_directory() == tmp_path / "xdg" / "truename"
    monkeypatch.setenv("XDG_DATA_HOME", "not/absolute")
    assert data_directory() == tmp_path / ".local" / "share" / "truename"
    monkeypatch.setattr("sys.platform", "darwin")
    assert data_directory() == tmp_path / "Library" / "Application Support" / "truename"


def test_a_data_directory_that_cannot_be_made_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("TRUENAME_DATA_DIR", str(tmp_path / "file" / "data"))
    with pytest.raises(CannotRunError, match="TRUENAME_DATA_DIR"):
        QuestionStore().put("x")


def test_texts_fill_a_pack_in_without_changing_its_digest(data: Path) -> None:
    store = QuestionStore()
    store.put(TEXTS[0])
    filled = store.with_texts(made())
    assert [q.text for q in filled.questions] == [TEXTS[0], None, None] and filled.digest == made().digest


async def test_texts_are_fetched_with_one_request_per_published_file_and_kept(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with stand_in(reply(PUBLISHED)) as server:
        monkeypatch.setattr(question_fetching, "RAW_BASE", server.base_url)
        result = await fetch_published([made()], QuestionStore(), lambda url: fetch(url, LOOPBACK))
        assert (result.questions, result.came, result.lacking, result.problems) == (3, 3, 0, [])
        (request,) = server.requests
        assert request.line == f"GET /v1/some/body/{'b' * 40}/data/q%201.jsonl HTTP/1.1"
        assert not {"authorization", "cookie", "referer"} & request.headers.keys()
        again = await fetch_published([made()], QuestionStore(), lambda url: fetch(url, LOOPBACK))
        assert (again.present, again.came) == (3, 0) and len(server.requests) == 1


async def test_a_text_that_was_changed_where_it_is_published_is_refused_and_the_others_are_kept(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stand_in(reply(PUBLISHED.replace(b"Which door", b"Which hole"))) as server:
        monkeypatch.setattr(question_fetching, "RAW_BASE", server.base_url)
        result = await fetch_published([made()], QuestionStore(), lambda url: fetch(url, LOOPBACK))
    assert (result.came, result.lacking) == (2, 1)
    assert "no text with the digest of 1 questions (q2)" in result.problems[0]
    assert QuestionStore().get(text_digest("Which hole do you take?")) is None


@pytest.mark.parametrize(
    ("handler", "why"),
    [
        (reply("gone", 404), "HTTP 404"),
        (reply("", 302, [("location", "http://169.254.169.254/")]), "redirects are not followed"),
        (reply(b"x" * 5000), "larger than 4000 bytes"),
        (reply(gzip.compress(b"x"), headers=[("content-encoding", "gzip")]), "compressed"),
        (raw_then_stall(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx"), "not complete within"),
        (raw_then_stall(b""), "not complete within"),
    ],
)
async def test_a_file_that_does_not_come_as_it_should_is_one_line(handler: Any, why: str) -> None:
    async with stand_in(handler) as server:
        with pytest.raises(CannotRunError, match=why) as refused:
            await fetch(f"{server.base_url}/f?secret=1", LOOPBACK, max_bytes=4000, timeout_s=0.5)
        assert len(server.requests) == 1
    assert "\n" not in str(refused.value) and "secret" not in str(refused.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "10.0.0.1", "169.254.169.254", "0.0.0.0"])
async def test_a_fetch_never_connects_to_an_address_that_is_not_public(host: str) -> None:
    async with stand_in(reply(PUBLISHED)) as server:
        with pytest.raises((TargetRefusedError, CannotRunError)):
            await fetch(f"http://{host}:{server.port}/f", service_policy(), timeout_s=3)
        assert server.accepts == 0


async def test_control_the_same_address_is_reached_where_nothing_guards_it() -> None:
    async with stand_in(reply(PUBLISHED)) as server:
        assert await fetch(f"http://localhost:{server.port}/f", service_policy(), transport=httpx.AsyncHTTPTransport()) == PUBLISHED
        assert server.accepts == 1


async def test_the_command_refuses_a_private_address_unless_it_is_allowed(
    data: Path, pack_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with stand_in(reply(PUBLISHED)) as server:
        monkeypatch.setattr(question_fetching, "RAW_BASE", server.base_url)
        code, out, err = await asyncio.to_thread(run, capsys, "fetch", str(pack_path))
        assert code == 4 and out == "" and "refused" in err and server.accepts == 0
        monkeypatch.setenv("TRUENAME_ALLOWED_NETWORKS", "127.0.0.0/8")
        code, out, err = await asyncio.to_thread(run, capsys, "fetch", str(pack_path), "--json")
    assert code == 0 and json.loads(out) == {"questions": 3, "present": 0, "fetched": 3, "lacking": 0, "problems": []}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("q 1.jsonl", PUBLISHED),
        ("some.prompts.json.gz", gzip.compress(json.dumps(dict(enumerate(TEXTS))).encode())),
        ("own.jsonl", "\n".join(json.dumps({"id": f"x{n}", "prompt": text}) for n, text in enumerate(TEXTS)).encode()),
        ("common.py", "\n".join(f"P{n} = {text!r}" for n, text in enumerate(TEXTS)).encode()),
        ("README.md", "\n".join(f"- asked `{text}` once" for text in TEXTS).encode()),
    ],
)
def test_texts_are_taken_from_any_file_at_hand(name: str, content: bytes, data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "at-hand"
    folder.mkdir()
    (folder / name).write_bytes(content)
    (folder / "noise.json").write_bytes(b'{"a": ["b", {"c": null}]}')
    result = take_from(folder, [made()], QuestionStore())
    assert (result.came, result.lacking) == (3, 0)


def test_the_command_says_how_many_came_and_how_many_are_lacking(
    data: Path, pack_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "one.json").write_text(json.dumps([TEXTS[0]]), encoding="utf-8")
    code, out, _ = run(capsys, "fetch", str(pack_path), "--from", str(tmp_path / "one.json"))
    assert (code, out) == (4, "3 questions: 0 were here, 1 came, 2 are lacking\n")
    (tmp_path / "all.jsonl").write_bytes(PUBLISHED)
    code, out, _ = run(capsys, "fetch", str(pack_path), "--from", str(tmp_path / "all.jsonl"))
    assert (code, out) == (0, "3 questions: 1 were here, 2 came, 0 are lacking\n")
    code, _, err = run(capsys, "fetch", str(pack_path), "--from", str(tmp_path / "nowhere"))
    assert code == 4 and len(err.splitlines()) == 1


def test_list_and_show_say_what_is_in_a_pack_and_what_is_here(data: Path, pack_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    QuestionStore().put(TEXTS[0])
    code, out, _ = run(capsys, "list", str(pack_path), "--json")
    (row,) = json.loads(out)
    assert code == 0 and (row["texts"], row["questions"], row["models"]) == (1, 3, 1)
    assert row["stale"] is None or "expired" in row["stale"]
    code, out, _ = run(capsys, "show", str(pack_path))
    assert code == 0 and "gpt-4o\t7 answers" in out and "not fetched" in out and "expires 2027-01-02" in out
    code, out, _ = run(capsys, "show", str(pack_path), "--json")
    shown = json.loads(out)[0]
    assert [q["text_here"] for q in shown["questions"]] == [True, False, False]
    assert not any(text in out for text in TEXTS)
    assert run(capsys, "show", "no-such-pack")[0] == 2
    assert run(capsys, "list")[0] == 0


def test_verify_holds_does_not_hold_and_cannot_be_read(
    data: Path, pack_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, "verify", str(pack_path), "--json")
    assert code == 0 and json.loads(out)[0]["digest"] == made().digest
    broken = tmp_path / "broken.pack"
    whole = bytearray(pack_bytes(made()))
    whole[len(whole) // 2] ^= 1
    broken.write_bytes(whole)
    assert run(capsys, "verify", str(broken))[0] in (1, 4)
    from tests.fingerprints.test_packs import HOSTILE

    broken.write_bytes(HOSTILE["other numbers"])
    code, out, _ = run(capsys, "verify", str(pack_path), str(broken))
    assert code == 1 and out.splitlines()[1].startswith("DOES NOT HOLD")
    broken.write_bytes(b"no pack")
    code, out, _ = run(capsys, "verify", str(pack_path), str(broken))
    assert code == 4 and out.splitlines()[1].startswith("UNREADABLE")
    assert run(capsys, "verify")[0] == 0


def test_a_signed_pack_names_its_signer_and_one_whose_signature_does_not_hold_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "signed.pack"
    pack_files.save(path, [made()], pack_files.own_signature())
    code, out, _ = run(capsys, "verify", str(path))
    signer = pack_files.load(path).signed_by
    assert code == 0 and signer is not None and f"signed by {signer[:16]}" in out
    sign = pack_files.own_signature()
    assert sign(b"").public_key == signer  # the same key every time
    for forged in (lambda manifest: sign(manifest + b" "), lambda manifest: Signature("ab" * 32, sign(manifest).signature)):
        path.write_bytes(packs_bytes([made()], forged))
        with pytest.raises(DoesNotHoldError, match="signature"):
            pack_files.load(path)
        assert run(capsys, "verify", str(path))[0] == 1


def test_import_makes_a_pack_and_keeps_the_questions_texts(
    data: Path, tmp_path: Path, stubs: None, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"instruction": text, "output": "An answer.", "generator": "gpt-4o"} for text in TEXTS] + [{"instruction": "?", "output": ""}]
    source = tmp_path / "model_outputs.json"
    source.write_text(json.dumps(rows), encoding="utf-8")
    out_path = tmp_path / "mine.pack"
    code, out, err = run(capsys, "import", str(source), "--out", str(out_path), "--licence", "CC0-1.0", "--expires", "never")
    assert code == 0 and "1 models, 3 questions, read as alpaca-eval" in out
    (pack,) = pack_files.load(out_path).packs
    assert (pack.name, pack.kind, pack.expires, pack.licence) == ("mine", "answers", None, "CC0-1.0")
    assert all(q.text is None for q in pack.questions) and not QuestionStore().missing([pack])
    source.write_text("[]", encoding="utf-8")
    code, _, err = run(capsys, "import", str(source), "--out", str(out_path))
    assert code == 4 and len(err.splitlines()) == 1 and "AlpacaEval" in err
    assert run(capsys, "import", str(source), "--out", str(out_path), "--kind", "tea-leaves")[0] == 2
    assert run(capsys, "import", str(tmp_path / "none"), "--out", str(out_path))[0] == 4


def test_the_shipped_packs_are_not_built_from_a_folder_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "build", "--data", str(tmp_path / "none"), "--out", str(tmp_path / "out"))
    assert code == 4 and len(err.splitlines()) == 1 and not (tmp_path / "out").exists()


def test_the_published_question_files_at_hand_give_every_text_of_their_sets(data: Path, shared: Path) -> None:
    prompts = json.loads(gzip.decompress((shared / "corpora" / "misguided_attention.prompts.json.gz").read_bytes()))
    asked = tuple(question(text, id=name, published=theirs("x", 0).source) for name, text in prompts.items())
    result = take_from(shared / "corpora" / "misguided_attention.prompts.json.gz", [made(asked)], QuestionStore())
    assert (result.came, result.lacking) == (len(prompts), 0)
