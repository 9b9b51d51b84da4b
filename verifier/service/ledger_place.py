"""A report's place in the service's ledger, at a cost that does not grow with the ledger.

Takes the store, the trusted keys and a report's digest; gives the part of the chain that decides about it: its own entry, found by the
index, those beside it, and the newest. Each look also checks the next portion of the whole chain, where the last look of this process
stopped, so that an entry that was changed or taken out anywhere is found in the end, and every look fails from then on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from verifier.canonical import TamperedError
from verifier.ledger import Chain, Entry, follow, read_entry
from verifier.service.store import ledger
from verifier.service.store.engine import Store
from verifier.service.store.rows import LedgerRow
from verifier.signing import Keys

PORTION = 500
"""Entries of the whole chain that one look checks besides: about 0.2 s of processor time."""
_RESTORE = "restore the service's database from a copy"


@dataclass(slots=True)
class LedgerWalk:
    """How far this process has checked the whole chain, from its beginning; at the end it begins again."""

    checked: tuple[int, str | None] = (0, None)
    """The number of the last entry that was checked, and its digest. Looks overlap: each follows from where it began itself."""

    async def around(self, store: Store, keys: Keys, report: str) -> Chain:
        """The entries that decide about the report with this digest, and the newest one. Raises StoreError.

        Raises UnknownKeyError for an entry by a key that is not among `keys`, TamperedError for whatever else does not hold.
        """
        began = self.checked
        async with store.read() as tx:
            newest, own = await ledger.head(tx), await ledger.of_report(tx, report)
            beside = await ledger.after(tx, max(0, own.sequence - 2), limit=3) if own is not None else ()
            portion = await ledger.after(tx, began[0], limit=PORTION)
        walked = await asyncio.to_thread(follow, [row.entry for row in portion], keys, *began)
        at_end = newest is None or not walked or walked[-1].sequence >= newest.sequence
        chain = Chain(_decisive(newest, beside, keys))
        self.checked = (0, None) if at_end else (walked[-1].sequence, walked[-1].digest)
        return chain


def _decisive(newest: LedgerRow | None, beside: Sequence[LedgerRow], keys: Keys) -> tuple[Entry, ...]:
    """The entries beside the report, which follow one another, and the newest."""
    found = [_entry(row, keys) for row in beside]
    for before, entry in pairwise(found):
        if (entry.sequence, entry.previous) != (before.sequence + 1, before.digest):
            raise TamperedError(f"entry {entry.sequence} of the ledger does not follow the one before it", _RESTORE)
    if newest is not None and all(entry.sequence != newest.sequence for entry in found):
        found.append(_entry(newest, keys))
    return tuple(found)


def _entry(row: LedgerRow, keys: Keys) -> Entry:
    """The entry of a row, which says of it what it says itself."""
    entry = read_entry(row.entry, keys, f"entry {row.sequence} of the ledger")
    if (entry.sequence, entry.report) != (row.sequence, row.report_sha256):
        raise TamperedError(f"entry {row.sequence} of the ledger stands in another's place", _RESTORE)
    return entry
