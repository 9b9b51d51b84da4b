"""The REST application without a network: an httpx client in front of it, and tokens of several owners."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI
from pydantic import SecretStr

from api.app import create_app
from api.state import Service
from verifier.service import tokens
from verifier.service.settings import ServiceSettings

CANARY = "sk-canary-1f9c0a7e55d24b6d8c3e"
NO_WORKER = SecretStr("redis://127.0.0.1:1/0")
"""A queue that is not this process's: the application then runs no audit, and nothing connects to the queue."""


def settings(folder: Path, database_url: str, **changes: Any) -> ServiceSettings:
    """Settings of a service whose audits nobody runs."""
    given = {"data_dir": folder, "database_url": SecretStr(database_url), "redis_url": NO_WORKER, "allowed_networks": ("127.0.0.0/8",)}
    return ServiceSettings(**(given | changes))


@dataclass(frozen=True, slots=True)
class Api:
    """A started application and a client of it."""

    app: FastAPI
    client: httpx.AsyncClient
    tokens: dict[str, str]
    """"owner:scope" -> token; "root" is an admin's."""

    @property
    def service(self) -> Service:
        return self.app.state.service  # type: ignore[no-any-return]

    async def call(self, who: str | None, method: str, path: str, **more: Any) -> httpx.Response:
        """One request of `who` ("alice:submit"), or of somebody without a token."""
        headers = more.pop("headers", {}) | ({"Authorization": f"Bearer {self.tokens[who]}"} if who else {})
        return await self.client.request(method, path, headers=headers, **more)

    async def submit(self, who: str = "alice:submit", **changes: Any) -> str:
        """Submit an audit and give its id."""
        answer = await self.call(who, "POST", "/v1/audits", json=audit(**changes))
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])


def audit(**changes: Any) -> dict[str, Any]:
    """The body of a submission."""
    target = {"base_url": "https://api.example.com/v1", "model": "gpt-4o", "api_key": CANARY, "headers": {"X-Tenant": CANARY}}
    return {"target": target, "claim": {"model": "gpt-4o"}, "suite": "quick"} | changes


@contextlib.asynccontextmanager
async def started(given: ServiceSettings) -> AsyncIterator[Api]:
    """The application with its lifespan, and tokens for alice and bob with each scope."""
    app = create_app(given)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        made: dict[str, str] = {}
        async with app.state.service.store.write() as tx:
            for owner in ("alice", "bob"):
                for scope in ("read", "submit"):
                    # Who submits wants to read too, as the documentation says.
                    scopes = ["read", "submit"] if scope == "submit" else ["read"]
                    new = await tokens.create(tx, owner, scopes, datetime.now(UTC))
                    made[f"{owner}:{scope}"] = new.token.get_secret_value()
            only = await tokens.create(tx, "alice", ["submit"], datetime.now(UTC))
            made["alice:submit-only"] = only.token.get_secret_value()
            root = await tokens.create(tx, "root", ["admin"], datetime.now(UTC))
            made["root"] = root.token.get_secret_value()
        yield Api(app, client, made)
