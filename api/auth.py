"""Who calls: a bearer token, what it may do, and whose rows it sees.

Without a valid token every route answers alike, so that none says whether something exists. A token of one owner sees that owner's
rows only; an admin token sees all.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import SecretStr

from api.problems import Problem
from api.state import Running
from verifier.service import tokens
from verifier.service.store.rows import Scope, TokenRow

_bearer = HTTPBearer(auto_error=False, bearerFormat="tn_…", description="A token from `truename token create`")


@dataclass(frozen=True, slots=True)
class Caller:
    """A valid token's row and what follows from it."""

    token: TokenRow

    @property
    def owner(self) -> str:
        """Whose rows new rows are."""
        return self.token.owner

    @property
    def sees(self) -> str | None:
        """Whose rows the caller may read and change; None means everybody's."""
        return None if tokens.allows(self.token, "admin") else self.token.owner


async def caller(service: Running, given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> Caller:
    """The caller of a request. Raises Problem 401 and 429."""
    row = None
    if given is not None:
        async with service.store.read() as tx:
            row = await tokens.authenticate(tx, SecretStr(given.credentials), service.now())
    if row is None:
        remedy = "send `Authorization: Bearer tn_…` with a token that is neither revoked nor expired"
        raise Problem(401, "no-token", f"there is no valid token; {remedy}", {"WWW-Authenticate": "Bearer"})
    await service.rates.call(row.id)
    return Caller(row)


def needs(scope: Scope) -> Callable[[Caller], Awaitable[Caller]]:
    """The dependency of a route that takes tokens with `scope`."""

    async def allowed(who: Annotated[Caller, Depends(caller)]) -> Caller:
        if not tokens.allows(who.token, scope):
            raise Problem(403, "wrong-scope", f"this token may not do this; use one with the scope {scope}")
        return who

    return allowed


Reader = Annotated[Caller, Depends(needs("read"))]
Submitter = Annotated[Caller, Depends(needs("submit"))]
Admin = Annotated[Caller, Depends(needs("admin"))]
