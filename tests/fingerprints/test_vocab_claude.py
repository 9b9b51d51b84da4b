"""Claude's tokenizers, counted by our own code over the published piece lists, against counts that the vendor's endpoint gave."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from fingerprints.build import claude as fitting
from fingerprints.claude import ClaudeVocabulary, Frame, frames
from fingerprints.claude_text import BEGIN, CAPS, END, SHIFT, Rewriting, mark_case, rewrite
from fingerprints.pieces import read_tokens
from fingerprints.tokenizers import DATA, vocabulary

V3 = Rewriting(allcaps=4, fold_quotes=True, opens_word=True)
ONE_IN = 40  # benchmarks/claude.py counts every row


def claude(name: str) -> ClaudeVocabulary:
    return cast(ClaudeVocabulary, vocabulary(name))


@pytest.mark.replay
@pytest.mark.parametrize("frame", ["v3", "v4.7", "v5"])
def test_recorded_counts_are_met_exactly(shared: Path, frame: str) -> None:
    counter = claude(fitting.VOCABULARIES[frame])
    rows = list(fitting.recorded(shared / "recorded"))[::ONE_IN]
    wrong = [row["id"] for row in rows if counter.message_tokens(row["text"], frame) != row["counts"][frame]]
    assert len(rows) > 50
    assert not wrong


@pytest.mark.replay
def test_the_frames_that_ship_are_the_ones_that_a_fit_finds(shared: Path) -> None:
    rows = list(fitting.recorded(shared / "recorded"))[::120]
    assert fitting.fit("v3", rows) == (frames()["v3"], 1.0)
    assert fitting.fit("v4.7", rows) == (frames()["v4.7"], 1.0)


def test_a_message_costs_its_frame_and_its_content() -> None:
    # The worked example in ctok's README: 10 tokens for v3, 15 for 4.7, 10 for later models.
    assert [claude("claude3").message_tokens("hello, world", "v3")] == [10]
    assert [claude("claude4.7").message_tokens("hello, world", frame) for frame in ("v4.7", "v5")] == [15, 10]
    assert claude("claude3").count("hello, world") == 3


@pytest.mark.parametrize(
    ("text", "v3", "v47"),
    [  # counted by ctok 1.3.0
        ("it's DON'T we'll 'First 'x ''s", 16, 18),
        ("NASA iPhone camelCase ÉCOLE İstanbul STRAßE", 14, 28),
        ("½ cup १२ ३ ٣٤ 1\u0300 \u0301a", 24, 25),
        ("！ 文？ 。々〆 （a） ⚖\ufe0f ❤\ufe0f\u200d🔥", 31, 31),
        (" lead", 1, 2),
        ("  lead", 2, 3),
        ("trail\n\n\n", 1, 2),
        ("a\u200bb\x00c\x07d\ue000e", 5, 5),
        ("ก\u0e4d\u0e32 \u0711\u0730 \u0940x", 12, 12),
        ("a\tb  c   d\r\ne", 9, 9),
    ],
)
def test_rewriting_rules_count_like_the_published_measurement(text: str, v3: int, v47: int) -> None:
    assert (claude("claude3").count(text), claude("claude4.7").count(text)) == (v3, v47)


def test_words_are_marked_and_the_space_between_them_disappears() -> None:
    stream, newlines = rewrite("The QUICK fox\n\n", V3)
    assert stream == f"{SHIFT}{BEGIN}the{END}{CAPS}{BEGIN}quick{END}{BEGIN}fox{END}"
    assert newlines == 2


def test_case_is_marked_for_whole_words_only() -> None:
    assert mark_case("Word", 4) == (SHIFT, "word")
    assert mark_case("WORD", 4) == (CAPS, "word")
    assert mark_case("WORD", 0) == ("", "WORD")
    assert mark_case("WOR", 4) == ("", "WOR")
    assert mark_case("wiFi", 4) == ("", "wiFi")
    assert mark_case("ΣΑΣ", 3) == (CAPS, "σασ"), "a final sigma is not special"


@pytest.mark.parametrize("name", ["claude3", "claude4.7"])
def test_no_piece_crosses_a_word_boundary(name: str) -> None:
    """Counting segment by segment is the same as counting the whole stream only because of this."""
    for token in read_tokens(DATA / "vocab" / f"{name}.npz.xz"):
        piece = token.decode("utf-8", "replace")
        assert END not in piece[:-1]
        assert BEGIN not in piece.lstrip(SHIFT + CAPS)[1:]


def test_a_frame_without_a_word_boundary_does_not_absorb_a_leading_space() -> None:
    counter = claude("claude4.7")
    closed = Frame(0, opens_word=False, trims_end=False)
    opened = Frame(0, opens_word=True, trims_end=False)
    assert counter.content_tokens(" a", opened) == counter.content_tokens("a", opened)
    assert counter.content_tokens(" a", closed) == counter.content_tokens("a", closed) + 1
