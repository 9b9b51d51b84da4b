"""A text is found in what others published by its digest, whatever the form of the file, and nothing in a file is ever run."""

from __future__ import annotations

import gzip
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fingerprints import pack_sources, published, question_sources
from fingerprints.packs import PackError
from fingerprints.questions import text_digest

WANTED = 'Why is the "sky"\nblue? 하늘은 왜 푸른가?'
DIGEST = text_digest(WANTED)
ROW = {"question_id": "q7", "turns": [{"content": WANTED}]}
DECOY = {"question_id": "q8", "turns": [{"content": "Another question."}]}

FILES = {
    "one JSON document": json.dumps({"prompts": [{"prompt_id": "p", "prompt": WANTED}]}).encode(),
    "JSON lines": (json.dumps(DECOY) + "\n" + json.dumps(ROW) + "\n").encode(),
    "JSON lines, one of them broken": (json.dumps(DECOY) + '\n{"cut\n' + json.dumps(ROW) + "\n").encode(),
    "ids and prompts": json.dumps({"q7": WANTED}).encode(),
    "gzip": gzip.compress(json.dumps({"q7": WANTED}).encode()),
    "a Python source": f"import os\nPROMPT = {WANTED!r}\nos.abort()\n".encode(),
    "prose that quotes it": f"# Data\nThe question, sent alone: `{WANTED}` Answers are words.".encode(),
    "nothing but the text": (WANTED + "\n").encode(),
}


@pytest.mark.parametrize("name", FILES)
def test_a_wanted_text_is_found_in_any_form(name: str) -> None:
    assert published.find(FILES[name], {DIGEST, "0" * 64}) == {DIGEST: WANTED}


@pytest.mark.parametrize(
    ("name", "position"),
    [
        ("one JSON document", {"id_key": "prompt_id", "id": "p", "key": "prompt"}),
        ("one JSON document", {"key": "prompt"}),
        ("JSON lines", {"id_key": "question_id", "id": "q7", "key": "content"}),
        ("a Python source", {"python_constant": "PROMPT"}),
    ],
)
def test_a_position_finds_the_text_and_another_does_not(name: str, position: dict[str, str]) -> None:
    assert published.find(FILES[name], {DIGEST}, position) == {DIGEST: WANTED}
    wrong = {key: value + "x" if key != "id_key" else value for key, value in position.items()}
    assert published.find(FILES[name], {DIGEST}, wrong) == {}


def test_a_changed_text_is_not_found() -> None:
    assert published.find(FILES["JSON lines"].replace(b"blue", b"green"), {DIGEST}) == {}


def test_a_gzip_that_unpacks_to_more_than_the_cap_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "MAX_FILE_BYTES", 1000)
    assert published.unzipped(gzip.compress(b"0" * 1_000_000)) is None
    assert published.unzipped(gzip.compress(b"0" * 1_000_000)[:40]) is None


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode("utf-8", "replace")))
def test_no_bytes_make_it_raise(data: bytes) -> None:
    assert published.find(data, {DIGEST}) == {}
    assert published.find(data, {DIGEST}, {"key": "a"}) == {}
    assert published.find(b"\x1f\x8b" + data, {DIGEST}) == {}


def test_every_known_source_is_one_that_a_pack_may_name() -> None:
    from fingerprints.packs import Pack, PackModel
    from fingerprints.questions import Question

    for name in question_sources.names():
        source = question_sources.source(name, "x1")
        question = Question("x", DIGEST, "open", "en", None, source, 8, None)
        Pack("n", "1", "answers", "2026-01-01", None, "o", "l", (question,), (PackModel("m", "m", "m", "m", 1),), {}, {})
        assert "{id}" not in str(source.position)


NUMBERS = [{"name": "GPT-4o", "model": "gpt-4o", "rawData": [7, 7, 42, "no", None]}, {"name": "nameless"}]
ALPACA = [
    {"instruction": "Say hi.", "output": " Hi! ", "generator": "claude-3-opus"},
    {"instruction": "Say hi.", "output": "", "generator": "x"},
]
ARENA = [
    {"question_id": "q1", "model_id": "gpt-4o", "choices": [{"index": 0, "turns": [{"content": "One."}]}]},
    {"question_id": "q1", "model_id": "gpt-4o", "choices": [{"index": 0, "turns": [{"content": "a"}, {"content": "b"}]}]},
    {"question_id": "q2", "model_id": "gpt-4o", "choices": [{"index": 0, "turns": [{"content": "Two."}]}]},
]
ASKED = [{"question_id": "q1", "turns": [{"content": "Count."}]}]
LINES = [
    {"prompt_id": "a", "model": "m1", "response": "yes"},
    {"prompt": "Written out.", "model": "m1", "response": ["one", "two"]},
    {"prompt_id": "a", "turn": 1, "model": "m1", "response": "of a second turn"},
    {"prompt_id": "lost", "model": "m2", "response": "no text for it"},
]


def lines(rows: list[dict[str, object]]) -> bytes:
    return "\n".join(json.dumps(row) for row in rows).encode()


def test_number_picks_are_read_as_answers_to_their_one_question() -> None:
    recorded = pack_sources.read({"baselines.json": json.dumps(NUMBERS).encode()})
    assert recorded.form == "number-picks" and recorded.left_out == 3
    (question,) = recorded.questions
    assert question.text is None and question.source is not None and question.kind == "choice"
    assert recorded.answers == {("number-picks", "gpt-4o"): ["7", "7", "42"]}


def test_alpaca_outputs_are_read_and_name_where_their_questions_are_published() -> None:
    recorded = pack_sources.read({"model_outputs.json": json.dumps(ALPACA).encode()})
    (question,) = recorded.questions
    assert (recorded.form, question.sha256, recorded.left_out) == ("alpaca-eval", text_digest("Say hi."), 1)
    assert question.source is not None and recorded.answers == {(question.id, "claude-3-opus"): ["Hi!"]}


def test_arena_answers_are_read_with_the_file_of_their_questions() -> None:
    recorded = pack_sources.read({"question.jsonl": lines(ASKED), "gpt-4o.jsonl": lines(ARENA)}, language="ko")
    assert (recorded.form, recorded.unknown_questions, recorded.left_out) == ("arena-hard", ["q2"], 2)
    (question,) = recorded.questions
    assert question.language == "ko" and question.source is not None and question.source.position["id"] == "q1"
    assert recorded.answers == {("q1", "gpt-4o"): ["One."]}
    with pytest.raises(PackError, match="2 questions have no text here"):
        pack_sources.read({"gpt-4o.jsonl": lines(ARENA)})


def test_json_lines_are_read_with_texts_of_their_own_or_of_a_prompts_file() -> None:
    recorded = pack_sources.read({"rows.jsonl": lines(LINES), "x.prompts.json": json.dumps({"a": "Asked by id."}).encode()})
    assert (recorded.form, recorded.unknown_questions, recorded.left_out) == ("jsonl", ["lost"], 2)
    assert sorted(str(question.text) for question in recorded.questions) == ["Asked by id.", "Written out."]
    assert sorted(recorded.answers.values()) == [["one", "two"], ["yes"]]
    assert all(question.source is None for question in recorded.questions)


def test_models_have_the_catalogs_spelling_unless_two_of_them_would_become_one() -> None:
    rows = [{"prompt": "p", "model": name, "response": "r"} for name in ("openai/gpt-4o-mini", "gpt-4o-2024-05-13", "gpt-4o-2024-08-06")]
    models, answers = pack_sources.models(pack_sources.read({"rows.jsonl": lines(rows)}))
    assert [model.name for model in models] == ["gpt-4o-mini", "gpt-4o-2024-05-13", "gpt-4o-2024-08-06"]
    assert {model.weights for model in models[1:]} == {"gpt-4o"}
    assert {name for _, name in answers} == {model.name for model in models}


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"[1, 2]", b'{"question_id": "q1", "turns": []}', b"\x1f\x8bnot gzip"])
def test_files_without_answers_are_refused_with_one_line(data: bytes) -> None:
    with pytest.raises(PackError) as refused:
        pack_sources.read({"x": data})
    assert "\n" not in str(refused.value)


_ROWS = st.lists(
    st.dictionaries(
        st.sampled_from(["rawData", "name", "model", "instruction", "output", "generator", "question_id", "choices", "model_id", "prompt"]),
        st.none() | st.integers() | st.text(max_size=3) | st.lists(st.integers() | st.dictionaries(st.just("turns"), st.lists(st.text()))),
    ),
    max_size=4,
)


@settings(max_examples=200, deadline=None)
@given(_ROWS)
def test_no_rows_raise_anything_but_a_pack_error(rows: list[dict[str, object]]) -> None:
    try:
        pack_sources.read({"x": json.dumps(rows).encode()})
    except PackError as refused:
        assert "\n" not in str(refused)


def test_the_recorded_number_picks_are_read_whole(shared: object) -> None:
    from pathlib import Path

    folder = Path(str(shared)) / "packs"
    recorded = pack_sources.read({"number-picks.json": (folder / "number-picks.json").read_bytes()})
    models, answers = pack_sources.models(recorded)
    assert len(models) == len(answers) == 29 and recorded.left_out == 0
    assert min(len(each) for each in answers.values()) >= 200
    assert published.find((folder / "README.md").read_bytes(), {pack_sources.NUMBER_PICKS_SHA256})
