"""A report's place in the service's ledger is found at a cost that does not grow with it, and no entry is changed unseen for long."""

from __future__ import annotations

import asyncio
import math
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import delete, update

from verifier import ledger as chains
from verifier.canonical import TamperedError
from verifier.ledger import Entry, next_entry, read_entry
from verifier.service import ledger_place
from verifier.service.ledger_place import LedgerWalk
from verifier.service.store import ledger
from verifier.service.store.engine import Store, Transaction
from verifier.service.store.models import ledger as table
from verifier.service.store.rows import LedgerRow
from verifier.signing import Signer
from verifier.transcript import digest

ENTRIES, PORTION = 40, 6
SIGNER = Signer.generate()
KEYS = SIGNER.public
REPORTS = [digest(f"report {n}".encode()) for n in range(ENTRIES)]


@pytest.fixture(autouse=True)
async def filled(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger of ENTRIES entries."""
    monkeypatch.setattr(ledger_place, "PORTION", PORTION)
    last: Entry | None = None
    async with store.write() as tx:
        for report in REPORTS:
            last = next_entry(last, report, SIGNER, datetime(2026, 1, 2, tzinfo=UTC))
            data = last.to_bytes()
            await ledger.append(tx, report, lambda sequence, previous, data=data: data, datetime(2026, 1, 2, tzinfo=UTC))  # type: ignore[misc]


async def change(store: Store, number: int, **values: Any) -> None:
    """Change a row of the ledger behind the service's back."""
    async with store.write() as tx:
        await tx.execute(update(table).where(table.c.sequence == number).values(**values))


async def looks_until_found(store: Store, report: str) -> int:
    walk = LedgerWalk()
    for look in range(1, ENTRIES):
        try:
            await walk.around(store, KEYS, report)
        except TamperedError:
            with pytest.raises(TamperedError):  # and never forgotten
                await walk.around(store, KEYS, report)
            return look
    raise AssertionError("nobody noticed")


async def test_every_report_is_found_with_the_one_before_it_and_the_newest(store: Store) -> None:
    walk = LedgerWalk()
    for number, report in enumerate(REPORTS, 1):
        chain = await walk.around(store, KEYS, report)
        previous = REPORTS[number - 2] if number > 1 else None
        assert chain.place(report, previous).sequence == number
        assert chain.entries[-1].sequence == ENTRIES
        with pytest.raises(TamperedError, match="another report before it"):
            chain.place(report, digest(b"another"))


async def test_a_look_reads_a_portion_and_no_more_however_long_the_ledger_is(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    read = 0

    def counted(*arguments: Any, **options: Any) -> Entry:
        nonlocal read
        read += 1
        return read_entry(*arguments, **options)

    monkeypatch.setattr(ledger_place, "read_entry", counted)
    monkeypatch.setattr(chains, "read_entry", counted)
    walk = LedgerWalk()
    for report in REPORTS[:9]:
        read = 0
        await walk.around(store, KEYS, report)
        assert read <= PORTION + 4


async def test_a_report_that_was_never_entered_is_not_in_the_ledger(store: Store) -> None:
    chain = await LedgerWalk().around(store, KEYS, digest(b"never"))
    with pytest.raises(TamperedError, match="not in the ledger"):
        chain.place(digest(b"never"), None)


async def test_an_empty_ledger_holds_nothing(store: Store) -> None:
    async with store.write() as tx:
        await tx.execute(delete(table))
    chain = await LedgerWalk().around(store, KEYS, REPORTS[0])
    with pytest.raises(TamperedError, match="not in the ledger"):
        chain.place(REPORTS[0], None)


async def test_a_changed_entry_is_found_at_once_beside_the_report_and_in_the_end_anywhere(store: Store) -> None:
    row = next_entry(None, digest(b"forged"), SIGNER, datetime(2026, 1, 2, tzinfo=UTC)).to_bytes()
    await change(store, 30, entry=row)
    assert await looks_until_found(store, REPORTS[29]) == await looks_until_found(store, REPORTS[30]) == 1
    assert 1 < await looks_until_found(store, REPORTS[0]) <= math.ceil(30 / PORTION)


async def test_an_entry_that_was_taken_out_is_missed(store: Store) -> None:
    async with store.write() as tx:
        await tx.execute(delete(table).where(table.c.sequence == 20))
    assert await looks_until_found(store, REPORTS[0]) <= math.ceil(20 / PORTION)
    chain = await LedgerWalk().around(store, KEYS, REPORTS[20])
    with pytest.raises(TamperedError):
        chain.place(REPORTS[20], REPORTS[19])


async def test_an_index_that_points_to_anothers_entry_is_not_believed(store: Store) -> None:
    await change(store, 5, report_sha256=digest(b"mine"))
    with pytest.raises(TamperedError, match="another's place"):
        await LedgerWalk().around(store, KEYS, digest(b"mine"))


async def test_an_entry_by_another_key_does_not_hold(store: Store) -> None:
    forger = Signer.generate()
    async with store.read() as tx:
        newest = await ledger.head(tx)
    assert newest is not None
    forged = next_entry(read_entry(newest.entry, KEYS), digest(b"forged"), forger, datetime(2026, 1, 2, tzinfo=UTC))
    async with store.write() as tx:
        await ledger.append(tx, digest(b"forged"), lambda *_: forged.to_bytes(), datetime(2026, 1, 2, tzinfo=UTC))
    with pytest.raises(TamperedError, match="not known"):
        await LedgerWalk().around(store, KEYS, REPORTS[0])


async def test_the_walk_begins_again_at_the_end_and_sees_what_was_changed_behind_it(store: Store) -> None:
    walk = LedgerWalk()
    for _ in range(math.ceil(ENTRIES / PORTION) - 1):
        await walk.around(store, KEYS, REPORTS[-1])
    assert walk.checked[0] > ENTRIES - PORTION - 1
    await change(store, 2, created=datetime(2030, 1, 1, tzinfo=UTC), entry=b"{}")
    await walk.around(store, KEYS, REPORTS[-1])
    assert walk.checked[0] == 0
    with pytest.raises(TamperedError):
        await walk.around(store, KEYS, REPORTS[-1])


async def test_a_look_that_another_one_overtakes_finds_no_fault_in_the_ledger(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both read the last portion; the one that ends first begins the walk again before the other one has checked."""
    walk, began, overtaken = LedgerWalk(), asyncio.Event(), asyncio.Event()
    for _ in range(ENTRIES // PORTION):
        await walk.around(store, KEYS, REPORTS[0])
    after = ledger.after

    async def late(tx: Transaction, sequence: int = 0, *, limit: int = 1000) -> tuple[LedgerRow, ...]:
        rows = await after(tx, sequence, limit=limit)
        if limit == PORTION and not began.is_set():
            began.set()
            await overtaken.wait()
        return rows

    monkeypatch.setattr(ledger, "after", late)
    first = asyncio.create_task(walk.around(store, KEYS, REPORTS[0]))
    await asyncio.wait_for(began.wait(), 60)
    await walk.around(store, KEYS, REPORTS[0])
    overtaken.set()
    assert (await first).entries[-1].sequence == ENTRIES
    await walk.around(store, KEYS, REPORTS[0])
