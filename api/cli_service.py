"""The commands of the service: `truename serve`, `worker`, `migrate`, `token` and `schedule`, on the server's own machine.

Reads arguments and the TRUENAME_* settings, and calls the library. Web framework, database and queue are imported inside the commands,
so that `truename --help` stays quick.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from verifier.errors import CannotRunError, UsageError

if TYPE_CHECKING:
    from verifier.service.settings import ServiceSettings
    from verifier.service.store.engine import Store
    from verifier.service.store.rows import Page

Result = TypeVar("Result")
PAGE = 200
"""Rows that are read at a time."""
ORPHAN_LOOK_S = 1.0
"""Seconds between a worker's looks at whether the server that started it is still there."""
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]

token_app = typer.Typer(help="API tokens of the service on this machine.", no_args_is_help=True)
schedule_app = typer.Typer(help="Schedules of the service on this machine.", no_args_is_help=True)
secrets_app = typer.Typer(help="Keys of other people's endpoints, as the service keeps them.", no_args_is_help=True)


def join(app: typer.Typer) -> None:
    """Add the service's commands to the console script."""
    app.command("serve")(serve)
    app.command("worker")(worker)
    app.command("migrate")(migrate)
    app.add_typer(token_app, name="token")
    app.add_typer(schedule_app, name="schedule")
    app.add_typer(secrets_app, name="secrets")


def serve(
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8080,
    workers: Annotated[
        int | None, typer.Option("--workers", min=0, help="Worker processes beside this one, kept running; this one then runs no audit.")
    ] = None,
) -> None:
    """Serve the REST API. On an empty data directory it prints the first token, once."""
    from api.server import serve as serve_until_stopped
    from verifier.prices import prices
    from verifier.service.settings import load_settings
    from verifier.service.telemetry import configure

    settings = load_settings()
    prices(settings.data_dir)  # a table of the operator's that is none is said now, and not at the first plan
    configure(settings)
    first = _run(settings, _first_token)
    if first is not None:
        # On stdout, once, and never in a log.
        typer.echo(f"first token (admin), shown once: {first}")
    if not serve_until_stopped(settings, host, port, workers):
        raise CannotRunError(f"the service could not start on {host}:{port}", "see the lines above; choose another --port if it is taken")


def worker(parent: Annotated[int | None, typer.Option("--parent", hidden=True, help="Stop when this process is gone.")] = None) -> None:
    """Run audits from the shared queue until told to stop; whatever is under way then goes back to the queue."""
    from verifier.service.settings import load_settings
    from verifier.service.telemetry import configure
    from verifier.service.worker import run_worker

    settings = load_settings()
    configure(settings)

    async def until_stopped() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        watch = asyncio.create_task(_until_orphaned(parent, stop))
        await run_worker(settings, stop)
        watch.cancel()

    asyncio.run(until_stopped())


def migrate() -> None:
    """Bring the database to this version's tables. `serve` and `worker` do so too; before an upgrade of many machines, do it once."""
    from verifier.service.settings import load_settings

    async def nothing(settings: ServiceSettings, store: Store) -> None:
        """Opening it was all."""

    _run(load_settings(), nothing)
    typer.echo("the database has this version's tables")


async def _until_orphaned(parent: int | None, stop: asyncio.Event) -> None:
    """Stop once `parent` is gone: a killed `truename serve` leaves no workers that the next one would not know of."""
    while parent is not None and os.getppid() == parent:  # noqa: ASYNC110 - the system tells of it no other way
        await asyncio.sleep(ORPHAN_LOOK_S)
    if parent is not None:
        stop.set()


@token_app.command("create")
def token_create(
    scope: Annotated[list[str], typer.Option("--scope", help="read, submit or admin; repeatable.")],
    owner: Annotated[str | None, typer.Option("--owner", help="Whose audits the token sees; default: admin.")] = None,
) -> None:
    """Make a token and print it, once."""
    from datetime import UTC, datetime

    from verifier.service import tokens
    from verifier.service.settings import load_settings

    async def make(settings: ServiceSettings, store: Store) -> str:
        async with store.write() as tx:
            made = await tokens.create(tx, owner or tokens.FIRST_OWNER, scope, datetime.now(UTC))
        return made.token.get_secret_value()

    typer.echo(_run(load_settings(), make))


@token_app.command("list")
def token_list(as_json: AsJson = False) -> None:
    """All tokens, newest first, without the tokens themselves."""
    from verifier.service.settings import load_settings
    from verifier.service.store import tokens
    from verifier.service.store.rows import TokenRow

    async def read(settings: ServiceSettings, store: Store) -> list[TokenRow]:
        async with store.read() as tx:
            return await _every(lambda cursor: tokens.page(tx, None, cursor=cursor, limit=PAGE))

    rows = [
        {
            "id": row.id,
            "owner": row.owner,
            "prefix": row.prefix,
            "scopes": ",".join(row.scopes),
            "created": row.created.isoformat(timespec="seconds"),
            "state": "revoked" if row.revoked else "expires " + row.expires.isoformat(timespec="seconds") if row.expires else "valid",
        }
        for row in _run(load_settings(), read)
    ]
    _print(rows, as_json)


@token_app.command("revoke")
def token_revoke(token_id: Annotated[str, typer.Argument(metavar="ID", help="As `truename token list` shows it.")]) -> None:
    """Make a token useless, at once and for good."""
    from datetime import UTC, datetime

    from verifier.service.settings import load_settings
    from verifier.service.store import tokens

    async def revoke(settings: ServiceSettings, store: Store) -> bool:
        async with store.write() as tx:
            return await tokens.revoke(tx, token_id, datetime.now(UTC))

    if not _run(load_settings(), revoke):
        raise UsageError("there is no such token", "see `truename token list`")
    typer.echo("revoked")


@schedule_app.command("list")
def schedule_list(as_json: AsJson = False) -> None:
    """All schedules: id, whether it runs, cron and time zone, claim, origin, next run, last verdict."""
    from verifier.service.settings import load_settings
    from verifier.service.store import schedules
    from verifier.service.store.rows import ScheduleRow

    async def read(settings: ServiceSettings, store: Store) -> list[ScheduleRow]:
        async with store.read() as tx:
            return await _every(lambda cursor: schedules.page(tx, None, cursor=cursor, limit=PAGE))

    rows = [
        {
            "id": row.id,
            "state": "enabled" if row.enabled else "disabled",
            "cron": row.cron,
            "timezone": row.timezone,
            "claim": row.claim or "-",
            "origin": row.origin,
            "next_due": row.next_due.isoformat(timespec="seconds"),
            "last_outcome": row.last_outcome or "-",
        }
        for row in _run(load_settings(), read)
    ]
    _print(rows, as_json)


def _switch(schedule_id: str, enabled: bool) -> None:
    from datetime import UTC, datetime

    from verifier.service import submitting
    from verifier.service.secrets import open_keyring
    from verifier.service.settings import load_settings
    from verifier.service.store import schedules

    async def switch(settings: ServiceSettings, store: Store) -> bool:
        async with store.write() as tx:
            row = await schedules.get(tx, schedule_id)
            if row is None:
                return False
            keyring = open_keyring(settings)
            return await submitting.change_schedule(tx, keyring, settings, row, datetime.now(UTC), enabled=enabled) is not None

    if not _run(load_settings(), switch):
        raise UsageError("there is no such schedule", "see `truename schedule list`")


@schedule_app.command("enable")
def schedule_enable(schedule_id: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Let a schedule run again, from its next time on."""
    _switch(schedule_id, True)


@schedule_app.command("disable")
def schedule_disable(schedule_id: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Keep a schedule from running."""
    _switch(schedule_id, False)


@schedule_app.command("remove")
def schedule_remove(schedule_id: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Remove a schedule and its sealed keys; its audits and their reports stay."""
    from verifier.service.settings import load_settings
    from verifier.service.store import schedules

    async def remove(settings: ServiceSettings, store: Store) -> bool:
        async with store.write() as tx:
            return await schedules.remove(tx, schedule_id)

    if not _run(load_settings(), remove):
        raise UsageError("there is no such schedule", "see `truename schedule list`")


@secrets_app.command("rotate")
def secrets_rotate() -> None:
    """Seal every stored key again under the current TRUENAME_SECRET_KEY; earlier ones are in TRUENAME_OLD_SECRET_KEYS meanwhile."""
    from verifier.service.secrets import open_keyring, reencrypt_all
    from verifier.service.settings import load_settings

    async def rotate(settings: ServiceSettings, store: Store) -> int:
        return await reencrypt_all(store, open_keyring(settings))

    typer.echo(f"{_run(load_settings(), rotate)} stored keys were sealed again")


def _print(rows: list[dict[str, str]], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    for row in rows:
        typer.echo("\t".join(row.values()))


async def _every(page: Callable[[str | None], Awaitable[Page[Result]]]) -> list[Result]:
    """The rows of all pages."""
    found: list[Result] = []
    cursor: str | None = None
    while True:
        one = await page(cursor)
        found += one.rows
        cursor = one.next_cursor
        if cursor is None:
            return found


async def _first_token(settings: ServiceSettings, store: Store) -> str | None:
    from datetime import UTC, datetime

    from verifier.service import tokens

    async with store.write() as tx:
        made = await tokens.create_first(tx, datetime.now(UTC))
    return made.token.get_secret_value() if made is not None else None


def _run(settings: ServiceSettings, work: Callable[[ServiceSettings, Store], Awaitable[Result]]) -> Result:
    """Do something with the open database. Raises StoreError, ConfigError."""
    from verifier.service.store.engine import open_store_of

    async def opened() -> Result:
        store = await open_store_of(settings)
        try:
            return await work(settings, store)
        finally:
            await store.close()

    return asyncio.run(opened())
