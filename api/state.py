"""What every route works with: the open store, the keys, the guard's policy and the rate limits of this process."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, cast

from fastapi import Depends, Request

from api.rates import Rates
from verifier.endpoint.guard import GuardPolicy
from verifier.key_store import KeyStore
from verifier.service.ledger_place import LedgerWalk
from verifier.service.secrets import Keyring
from verifier.service.settings import ServiceSettings
from verifier.service.store.engine import Store


@dataclass(frozen=True, slots=True)
class Service:
    """The parts of one running API process."""

    settings: ServiceSettings
    store: Store
    keyring: Keyring
    keys: KeyStore
    policy: GuardPolicy
    rates: Rates
    ledger: LedgerWalk = field(default_factory=LedgerWalk)
    """How far this process has checked the ledger."""
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the process is asked to stop: streams end, so that their readers come back to another process."""

    def now(self) -> datetime:
        """The time, aware and in UTC."""
        return datetime.now(UTC)


def service_of(request: Request) -> Service:
    """The service that the application was started with."""
    return cast(Service, request.app.state.service)


Running = Annotated[Service, Depends(service_of)]
