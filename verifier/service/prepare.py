"""From an audit's row to what can be asked: its secrets opened for their own origins, its request checked anew, its references loaded.

The guard looks at every URL again, because settings may have changed since the audit was submitted. Reference packs are read for each
audit, so that a pack which is put into the data directory speaks from the next audit on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import structlog
from pydantic import SecretStr

from fingerprints.packs import Pack
from verifier.endpoint.guard import GuardPolicy
from verifier.errors import CannotRunError
from verifier.multiple import Carried
from verifier.options import Settings
from verifier.pack_files import load
from verifier.references import for_claim, remember
from verifier.service.requested import Resolved, Role, check_addresses, joined, read_request
from verifier.service.secrets import Binding, Keyring, reveal
from verifier.service.settings import ServiceSettings
from verifier.service.store import schedules, sealed
from verifier.service.store.engine import Store, Transaction
from verifier.service.store.rows import AuditRow, ScheduleRow
from verifier.surroundings import Think
from verifier.target import Target

PACKS = "active-packs"
"""Folder in the data directory whose .pack files speak in every audit, beside those that ship."""
NOTHING_BEFORE = Carried(0, -10_000.0)
"""A schedule's e-process before its first audit: the exact state has an infinity, which JSON cannot hold, and weighs the same."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Prepared:
    """An audit that can be asked."""

    resolved: Resolved
    settings: Settings

    @property
    def endpoints(self) -> tuple[Target, ...]:
        """The target, and the reference where there is one."""
        beside = self.resolved.reference
        return (self.resolved.target,) if beside is None else (self.resolved.target, beside)

    @property
    def origins(self) -> tuple[str, ...]:
        """Every origin that is asked, once."""
        return tuple(dict.fromkeys(endpoint.origin for endpoint in self.endpoints))


async def prepared(
    audit: AuditRow, settings: ServiceSettings, store: Store, keyring: Keyring, policy: GuardPolicy, think: Think
) -> Prepared:
    """Everything for one audit. Raises StoreError, and TruenameError where it cannot be run (a key that is gone, a refused address)."""
    keyless = read_request(audit.request)
    asked: dict[Role, str | None] = {"target": keyless.origin, "reference": keyless.reference_origin}
    async with store.read() as tx:
        found = {role: await _secret(tx, keyring, audit, role, origin) for role, origin in asked.items()}
        schedule = await schedules.get(tx, audit.schedule_id) if audit.schedule_id is not None else None
    requested = read_request(joined(audit.request, {role: secret for role, secret in found.items() if secret is not None}))
    check_addresses(requested, policy)
    resolved = requested.resolved
    packs = await think(lambda: packs_for(resolved, settings.data_dir))
    return Prepared(resolved, replace(resolved.settings, packs=packs, carried=carried(audit, schedule, resolved)))


def carried(audit: AuditRow, schedule: ScheduleRow | None, resolved: Resolved) -> Carried | None:
    """What the schedule's earlier audits left to this one; None where it stands alone or accuses nobody."""
    if schedule is None or resolved.claim is None or not same_audit(audit, schedule):
        return None
    return schedule.carried if schedule.carried_looks else NOTHING_BEFORE


def same_audit(audit: AuditRow, schedule: ScheduleRow) -> bool:
    """Whether the schedule still runs the audit that this one was made from: else its evidence speaks of something else."""
    return (audit.request, audit.origin, audit.claim, audit.suite) == (schedule.request, schedule.origin, schedule.claim, schedule.suite)


async def _secret(tx: Transaction, keyring: Keyring, audit: AuditRow, role: Role, origin: str | None) -> SecretStr | None:
    if origin is None or audit.key_holder is None or await sealed.get(tx, audit.key_holder, role) is None:
        return None
    return await reveal(tx, keyring, Binding(audit.owner, audit.key_holder, role, origin))


def packs_for(resolved: Resolved, data_dir: Path) -> tuple[Pack, ...]:
    """The packs that speak in an audit: those that ship, and those of `active-packs`."""
    extra = [pack for file in sorted((data_dir / PACKS).glob("*.pack")) for pack in _loaded(file)]
    packs = for_claim(resolved.claim, extra)
    if extra:
        remember(packs)
    return packs


def _loaded(file: Path) -> tuple[Pack, ...]:
    try:
        state = file.stat()
        return _read(file, state.st_mtime_ns, state.st_size)
    except (CannotRunError, OSError) as error:
        _log.error("a pack cannot be used", pack=file.name, problem=str(error))
        return ()


@lru_cache(maxsize=64)
def _read(file: Path, changed_ns: int, size: int) -> tuple[Pack, ...]:
    return load(file).packs
