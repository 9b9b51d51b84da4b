"""The REST service as an ASGI application.

Takes the settings; its lifespan opens the database and the keys and, where the queue lives in this process, does the work too. Routes
only insert rows and read them.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI

from api import audits, events, health, known, pages, problems, reports, schedules, tokens
from api.middleware import Envelope
from api.rates import Rates
from api.state import Service
from verifier.endpoint.guard import service_policy
from verifier.key_store import KeyStore
from verifier.service.secrets import open_keyring
from verifier.service.settings import ServiceSettings
from verifier.service.store.engine import open_store_of
from verifier.service.worker import embedded
from verifier.version import VERSION

DESCRIPTION = "Finds out which model really answers behind an LLM endpoint. Errors are application/problem+json."


def create_app(settings: ServiceSettings, works: bool | None = None) -> FastAPI:
    """The application; `works`: it runs audits too, by default where the queue is this process's own.

    Its lifespan raises ConfigError and StoreError where it cannot start.
    """

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            store = await open_store_of(settings)
            stack.push_async_callback(store.close)
            app.state.service = Service(
                settings=settings,
                store=store,
                keyring=open_keyring(settings),
                keys=KeyStore(settings.data_dir / "keys", settings.signing_key),
                policy=service_policy(settings.allowed_networks),
                rates=Rates(settings),
            )
            if settings.embedded if works is None else works:
                await stack.enter_async_context(embedded(settings, store))
            yield

    # No page that loads scripts from elsewhere: the OpenAPI document itself is at /openapi.json.
    app = _Application(title="Truename", version=VERSION, description=DESCRIPTION, lifespan=lifespan, docs_url=None, redoc_url=None)
    problems.install(app)
    for module in (audits, events, reports, schedules, tokens, known, health, pages):
        app.include_router(module.router)
    app.add_middleware(Envelope)
    return app


class _Application(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document, with the schema that every error's body has."""
        document = super().openapi()
        document["components"]["schemas"]["ProblemBody"] = problems.ProblemBody.model_json_schema()
        return document
