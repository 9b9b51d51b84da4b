"""The ledger: every byte is covered, several processes that append keep one chain, and a crash leaves no published report out of it."""

from __future__ import annotations

import itertools
import stat
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.verifier.signed import NOW, flips, signer, small_report
from verifier.canonical import TamperedError
from verifier.errors import CannotRunError
from verifier.key_store import KeyStore
from verifier.ledger import ENTRY_TYPE, Chain, Entry, Ledger, next_entry, read_chain, read_entry
from verifier.publishing import Publisher
from verifier.signing import Keys, Signer, UnknownKeyError
from verifier.transcript import digest


def reports(count: int) -> list[str]:
    return [digest(str(number).encode()) for number in range(count)]


def chain(count: int) -> list[Entry]:
    entries: list[Entry] = []
    for report in reports(count):
        entries.append(next_entry(entries[-1] if entries else None, report, signer(), NOW))
    return entries


def written(entries: list[Entry]) -> bytes:
    return b"".join(entry.to_bytes() + b"\n" for entry in entries)


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    return Publisher(KeyStore(tmp_path / "data" / "keys"), Ledger(tmp_path / "data" / "ledger.jsonl"))


def test_every_flipped_byte_of_a_ledger_is_refused() -> None:
    data = written(chain(3))
    for at, flipped in flips(data, every_bit=(range(len(data) - 400, len(data)),)):
        with pytest.raises(TamperedError) as stop:
            read_chain(flipped, signer().public)
        assert "line" in str(stop.value) and "ledger" in str(stop.value), at
    assert [entry.report for entry in read_chain(data, signer().public).entries] == reports(3)


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: lines[1:],
        lambda lines: [lines[0], lines[2]],
        lambda lines: [lines[0], lines[2], lines[1]],
        lambda lines: [lines[0], lines[0], lines[1], lines[2]],
        lambda lines: [*lines, b""],
        lambda lines: [b" " + lines[0], *lines[1:]],
        lambda lines: [lines[0] + b"\r", *lines[1:]],
        lambda lines: [lines[0].replace(b'"sequence":1', b'"sequence":1,"sequence":1'), *lines[1:]],
        lambda lines: [lines[0].replace(b'"sequence":1', b'"sequence":true'), *lines[1:]],
        lambda lines: [lines[0].replace(b'{"created"', b'{"a":1,"created"'), *lines[1:]],
        lambda lines: [b"[" * 990, *lines[1:]],
        lambda lines: [b"[" * 5_000, *lines[1:]],
    ],
)
def test_lines_that_were_removed_moved_repeated_or_rewritten_are_refused(change: Callable[[list[bytes]], list[bytes]]) -> None:
    lines = change([entry.to_bytes() for entry in chain(3)])
    with pytest.raises(TamperedError, match=r"line \d of the ledger"):
        read_chain(b"".join(line + b"\n" for line in lines), signer().public)


@pytest.mark.parametrize("sequence", [True, "1", None, [1]])
def test_a_trusted_key_makes_no_other_kind_of_entry_pass(sequence: object) -> None:
    odd = replace(chain(1)[0], sequence=sequence)  # type: ignore[arg-type]
    made = signer().envelope(odd.signed().payload, ENTRY_TYPE)
    odd = replace(odd, signature=made.signatures[signer().keyid].signature)
    with pytest.raises(TamperedError, match="is not an entry"):
        read_entry(odd.to_bytes(), signer().public)


def test_an_entry_by_another_key_is_refused() -> None:
    forged = next_entry(chain(2)[-1], "f" * 64, Signer.generate(), NOW)
    with pytest.raises(UnknownKeyError, match="line 3 of the ledger is signed by the key"):
        read_chain(written([*chain(2), forged]), signer().public)


def test_a_reports_place_needs_its_entry_and_the_right_one_before() -> None:
    held = Chain(tuple(chain(3)))
    first, second, third = reports(3)
    assert held.place(first, None).sequence == 1 and held.place(third, second).sequence == 3
    assert Chain(held.entries[1:]).place(third, second).sequence == 3  # a part of a ledger will do
    for report, previous, why in (
        (second, None, "another report before"),
        (second, third, "another report"),
        ("f" * 64, third, "not in the"),
    ):
        with pytest.raises(TamperedError, match=why):
            held.place(report, previous)


def test_each_report_names_the_one_before_it_and_the_files_are_private(publisher: Publisher, tmp_path: Path) -> None:
    first, second = (publisher.publish(small_report(), tmp_path / name) for name in ("a", "b"))
    assert first.report.data["digests"]["previous"] is None
    assert second.report.data["digests"]["previous"] == digest(first.files["report.json"])
    assert second.entry.previous == first.entry.digest
    assert publisher.ledger.read(publisher.keys.trusted()).entries == (first.entry, second.entry)
    assert stat.S_IMODE(publisher.ledger.path.stat().st_mode) == 0o600


def test_entries_before_and_after_a_rotation_are_one_chain(publisher: Publisher, tmp_path: Path) -> None:
    before = publisher.publish(small_report(), tmp_path / "a").entry
    publisher.keys.rotate()
    after = publisher.publish(small_report(), tmp_path / "b").entry
    assert before.keyid != after.keyid and after.previous == before.digest
    assert len(publisher.ledger.read(publisher.keys.trusted()).entries) == 2


APPEND = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from verifier.key_store import KeyStore
from verifier.ledger import Ledger, next_entry
store, ledger = KeyStore(Path(sys.argv[1]) / "keys"), Ledger(Path(sys.argv[1]) / "ledger.jsonl")
signer = store.signer()
print("ready", flush=True)
sys.stdin.readline()
for number in range(25):
    with ledger.turn(store.trusted()) as turn:
        turn.enter(next_entry(turn.last, f"{int(sys.argv[2]):032x}{number:032x}", signer, datetime.now(UTC)))
"""


def test_processes_that_append_at_once_make_one_chain(publisher: Publisher) -> None:
    folder = publisher.ledger.path.parent
    running = [
        subprocess.Popen(
            [sys.executable, "-c", APPEND, str(folder), str(name)], cwd=REPOSITORY, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for name in range(3)
    ]
    for each in running:  # all of them stand at the line before any goes
        assert each.stdout is not None and each.stdout.readline() == "ready\n"
    for each in running:
        each.communicate("go\n", timeout=60)
    assert [each.returncode for each in running] == [0, 0, 0]
    entries = publisher.ledger.read(publisher.keys.trusted()).entries
    assert len({entry.report for entry in entries}) == len(entries) == 75
    turns = sum(a.report[:32] != b.report[:32] for a, b in itertools.pairwise(entries))
    assert turns >= 2  # they did take turns


def test_threads_that_append_at_once_make_one_chain(publisher: Publisher) -> None:
    signs = publisher.keys.signer()

    def append(number: int) -> None:
        with publisher.ledger.turn(signs.public) as turn:
            turn.enter(next_entry(turn.last, f"{number:064x}", signs, NOW))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(append, range(64)))
    assert {entry.report for entry in publisher.ledger.read(signs.public).entries} == {f"{number:064x}" for number in range(64)}


def test_a_line_that_a_crash_cut_off_is_taken_over_by_the_next_entry(publisher: Publisher, tmp_path: Path) -> None:
    first = publisher.publish(small_report(), tmp_path / "a").entry
    whole = publisher.ledger.path.read_bytes()
    torn = next_entry(first, "f" * 64, publisher.keys.signer(), NOW).to_bytes()
    for cut_off in (torn[:1], torn[: len(torn) // 2], torn[:-1], torn[:50] + bytes(600)):  # a lost page is read as zeros
        publisher.ledger.path.write_bytes(whole + cut_off)
        with pytest.raises(TamperedError, match="no end"):
            publisher.ledger.read(publisher.keys.trusted())
        publisher.publish(small_report(), tmp_path / "b")
        assert [entry.sequence for entry in publisher.ledger.read(publisher.keys.trusted()).entries] == [1, 2]
    publisher.ledger.path.write_bytes(torn[:50])  # the very first line
    assert publisher.publish(small_report(), tmp_path / "c").entry.sequence == 1


@pytest.mark.parametrize(
    "spoil", [lambda data: data[:-1], lambda data: data[:-1] + b"x", lambda data: data + b"x}", lambda data: b"\n" + data[:9]]
)
def test_a_last_line_that_no_crash_explains_is_never_written_over(
    publisher: Publisher, tmp_path: Path, spoil: Callable[[bytes], bytes]
) -> None:
    publisher.publish(small_report(), tmp_path / "a")
    spoilt = spoil(publisher.ledger.path.read_bytes())
    publisher.ledger.path.write_bytes(spoilt)
    with pytest.raises(CannotRunError, match="the last line of") as stop:
        publisher.publish(small_report(), tmp_path / "b")
    assert stop.value.exit_code == 4  # never 1: that accuses the endpoint
    assert publisher.ledger.path.read_bytes() == spoilt and not (tmp_path / "b" / "report.json").exists()


def test_a_last_line_by_a_key_that_was_removed_says_how_to_go_on(publisher: Publisher) -> None:
    publisher.ledger.path.parent.mkdir(parents=True)
    publisher.ledger.path.write_bytes(written(chain(1)))
    with pytest.raises(CannotRunError, match="move the ledger away to begin another"), publisher.ledger.turn(Keys()):
        pass


def test_a_folder_that_cannot_be_written_leaves_no_entry_and_no_file(publisher: Publisher, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(CannotRunError, match=r"cannot be written to .*; give --out a folder that can be written"):
        publisher.publish(small_report(), tmp_path / "file")
    assert not publisher.ledger.exists()
    (tmp_path / "out" / "report.html").mkdir(parents=True)  # found out only when the files are moved: the entry stands, and is told
    with pytest.raises(CannotRunError, match="is in the ledger, but its files cannot be moved into"):
        publisher.publish(small_report(), tmp_path / "out")
    assert len(publisher.ledger.read(publisher.keys.trusted()).entries) == 1
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]


def test_a_data_directory_that_cannot_be_written_says_what_to_set(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file", encoding="utf-8")
    blocked = Publisher(KeyStore(tmp_path / "data" / "keys"), Ledger(tmp_path / "data" / "ledger.jsonl"))
    with pytest.raises(CannotRunError, match="TRUENAME_DATA_DIR") as stop:
        blocked.publish(small_report(), tmp_path / "out")
    assert stop.value.exit_code == 4 and not (tmp_path / "out").exists()


KILLED = """
import os, sys
from pathlib import Path
from verifier import load_report, publishing
from verifier.key_store import KeyStore
from verifier.ledger import Ledger
publishing.Staged.appear = lambda self: os.kill(os.getpid(), 9)
data = Path(sys.argv[1])
report = load_report(data.parent / "first")
publishing.Publisher(KeyStore(data / "keys"), Ledger(data / "ledger.jsonl")).publish(report, data.parent / "out")
"""


def test_what_dies_between_the_ledger_and_the_files_leaves_an_entry_and_no_report(publisher: Publisher, tmp_path: Path) -> None:
    """A process that is killed at the worst moment: the entry is on disk, the files are not. The next report goes on from there."""
    publisher.publish(small_report(), tmp_path / "first")
    killed = subprocess.run([sys.executable, "-c", KILLED, str(publisher.ledger.path.parent)], cwd=REPOSITORY, timeout=60, check=False)
    assert killed.returncode == -9
    assert not (tmp_path / "out" / "report.json").exists() and not (tmp_path / "out" / "report.dsse.json").exists()
    lost = publisher.ledger.read(publisher.keys.trusted()).entries
    after = publisher.publish(small_report(), tmp_path / "out")
    assert len(lost) == 2 and after.entry.sequence == 3 and after.report.data["digests"]["previous"] == lost[1].report
