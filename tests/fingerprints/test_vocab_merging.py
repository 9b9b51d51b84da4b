"""Pieces merged together, in every vocabulary at once, against the same pieces merged one by one."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from fingerprints import strings, tokenizers
from fingerprints.bpe import BytePairVocabulary, Recipe, learn
from fingerprints.merging import MOST_BYTES, Start, merge, merge_many
from fingerprints.pieces import ANY_SPLIT, PieceTable, Shelf

TOKENS = [b"a", b"b", b"c", b"d", b"ab", b"abc", b"aa", b"aaa", b"bc", b"", b"abcdabcdabcd", b"cd", b"abcd", b"abcdabcd"]


@pytest.fixture
def families() -> Iterator[tuple[str, ...]]:
    """A few families of every kind, loaded for one test alone: their tables are put on shelves."""
    tokenizers.release()
    yield ("smollm", "llama2", "deepseek-coder", "gemma2", "claude2")
    tokenizers.release()


def one_by_one(table: PieceTable, pieces: list[bytes]) -> list[list[int]]:
    return [merge(table, piece, range(len(piece) + 1)) for piece in pieces]


def random_pieces(seed: int, count: int, alphabet: bytes = b"abcd") -> list[bytes]:
    rng = random.Random(seed)
    return [bytes(rng.choices(alphabet, k=rng.randint(1, MOST_BYTES))) for _ in range(count)]


@pytest.mark.parametrize("seed", range(4))
def test_pieces_merged_together_end_as_each_of_them_alone(seed: int) -> None:
    rng = random.Random(seed)
    ranks = rng.sample(range(1000), len(TOKENS))
    tables = [PieceTable(TOKENS), PieceTable(TOKENS, ranks), PieceTable(TOKENS, ranks, [0, 0, 0, 0, 1, 1, 1, 2, 1, 0, 4, 1, 2, 4])]
    pieces = random_pieces(seed, 60)
    expected = [kept for table in tables for kept in one_by_one(table, pieces)]
    starts = [Start(row, piece, range(len(piece) + 1)) for row in range(len(tables)) for piece in pieces]
    assert merge_many(Shelf(tables), starts) == expected


def test_of_pairs_of_one_rank_the_leftmost_merges_first() -> None:
    assert merge_many(Shelf([PieceTable([b"a", b"aa"])]), [Start(0, b"aaaaa", range(6))]) == [[0, 2, 4, 5]]


def test_nothing_to_merge_gives_nothing_and_single_units_stay() -> None:
    shelf = Shelf([PieceTable(TOKENS)])
    assert merge_many(shelf, []) == []
    assert merge_many(shelf, [Start(0, b"a", (0, 1)), Start(0, b"zz", (0, 1, 2))]) == [[0, 1], [0, 1, 2]]


def test_tables_on_a_shelf_answer_as_before_even_when_they_move_to_another() -> None:
    ranks, splits = list(range(100, 100 + len(TOKENS))), [ANY_SPLIT] * len(TOKENS)
    tables = [PieceTable(TOKENS), PieceTable([b"xy", *TOKENS]), PieceTable(TOKENS, ranks, splits)]

    def answers(table: PieceTable) -> list[object]:
        return [
            *(table.token(i) for i in range(-1, len(TOKENS) + 2)),
            *(table.rank(token) for token in [*TOKENS[:9], b"xy", b"zz"]),
            *(token in table for token in [*TOKENS[:9], b"xy", b"zz"]),
        ]

    before = [answers(table) for table in tables]
    Shelf(tables[1:])
    assert [answers(table) for table in tables] == before
    Shelf(tables[::-1])
    assert [answers(table) for table in tables] == before


def test_what_was_learnt_together_counts_and_cuts_as_what_was_not(families: tuple[str, ...]) -> None:
    rng = random.Random(7)
    texts = (
        [strings.echo_text(rng) for _ in range(6)]
        + [strings.line(kind, rng) for kind in strings.kinds()]
        + ["", "x", "가각 é\u0301 🙂" * 9]
    )
    alone = [(tokenizers.vocabulary(name).count(text), tokenizers.vocabulary(name).cuts(text)) for name in families for text in texts]
    tokenizers.release()
    tokenizers.learn(families, texts)
    learnt = tokenizers.vocabulary("smollm")
    assert isinstance(learnt, BytePairVocabulary)
    assert len(learnt._cache) > len(texts)
    assert [
        (tokenizers.vocabulary(name).count(text), tokenizers.vocabulary(name).cuts(text)) for name in families for text in texts
    ] == alone


def test_the_first_cuts_are_the_first_of_all_cuts(families: tuple[str, ...]) -> None:
    for name in families:
        every = tokenizers.vocabulary(name).cuts("Ein GANZ neuer Satz 가각")
        assert every is not None
        assert tokenizers.vocabulary(name).cuts("Ein GANZ neuer Satz 가각", 3) == every[:3]


def test_what_is_learnt_never_outgrows_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fingerprints.bpe.CACHED_PIECES", 10)
    vocabulary = BytePairVocabulary("own", PieceTable(TOKENS), Recipe(splits=(r"[a-d]+| ",)))
    for start in range(0, 40, 4):
        learn([vocabulary], [" ".join("abcd" * (start + n) + "a" for n in range(4))])
        assert len(vocabulary._cache) <= 10
