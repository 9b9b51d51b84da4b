"""API tokens: shown once, stored as a digest, valid until revoked or expired, and only for what they are for."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import timedelta

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from tests.service.rows import NOW
from verifier.errors import UsageError
from verifier.service.store import tokens as rows
from verifier.service.store.engine import Store
from verifier.service.store.rows import Scope
from verifier.service.tokens import FIRST_OWNER, NewToken, allows, authenticate, create, create_first

HOUR = timedelta(hours=1)


async def made(store: Store, owner: str = "alice", scopes: tuple[str, ...] = ("read",), **end: object) -> NewToken:
    async with store.write() as tx:
        return await create(tx, owner, scopes, NOW, **end)  # type: ignore[arg-type]


async def test_a_token_is_its_owners_key_until_it_is_revoked(store: Store) -> None:
    new = await made(store)
    async with store.write() as tx:
        assert await authenticate(tx, new.token, NOW) == new.row
        assert not await rows.revoke(tx, new.row.id, NOW, owner="bob")
        assert await rows.revoke(tx, new.row.id, NOW, owner="alice")
        assert await authenticate(tx, new.token, NOW) is None
        assert await rows.revoke(tx, new.row.id, NOW + HOUR)
        (kept,) = (await rows.page(tx, "alice")).rows
        assert kept.revoked == NOW
        assert not await rows.revoke(tx, "tok_none", NOW)


async def test_a_token_ends_when_it_was_meant_to(store: Store) -> None:
    new = await made(store, expires=NOW + HOUR)
    async with store.read() as tx:
        assert await authenticate(tx, new.token, NOW + HOUR - timedelta(microseconds=1)) is not None
        assert await authenticate(tx, new.token, NOW + HOUR) is None


async def test_a_token_is_256_random_bits_and_stored_only_as_a_digest(store: Store) -> None:
    new = await made(store)
    token = new.token.get_secret_value()
    assert token.startswith("tn_") and len(token) == 3 + 43
    assert new.row.prefix == token[:9] and new.row.sha256 == hashlib.sha256(token.encode()).hexdigest()
    assert token not in repr(new) and new.row.sha256 not in repr(new)
    async with store.read() as tx:
        stored = repr((await tx.execute(text("SELECT * FROM tokens"))).all())
    assert token not in stored and token[3:] not in stored and new.row.sha256 in stored
    assert len({(await made(store)).token.get_secret_value() for _ in range(5)}) == 5


async def test_what_is_not_exactly_the_token_is_nobodys(store: Store) -> None:
    token = (await made(store)).token.get_secret_value()
    other = token[:-1] + ("A" if token[-1] != "A" else "B")
    digest = hashlib.sha256(token.encode()).hexdigest()
    async with store.read() as tx:
        near = [other, token + "\n", f" {token}", token[3:], token.upper(), token.replace("tn_", "tn-"), digest]
        for wrong in ("", "tn_", *near, "tn_" + "é" * 43, "\0"):
            assert await authenticate(tx, SecretStr(wrong), NOW) is None, wrong


@pytest.mark.parametrize(
    ("held", "may"),
    [
        (("read",), {"read"}),
        (("submit",), {"submit"}),
        (("submit", "read"), {"read", "submit"}),
        (("admin",), {"read", "submit", "admin"}),
    ],
)
async def test_scopes_allow_what_they_name_and_admin_allows_all(store: Store, held: tuple[str, ...], may: set[Scope]) -> None:
    row = (await made(store, scopes=held)).row
    assert {scope for scope in ("read", "submit", "admin") if allows(row, scope)} == may


@pytest.mark.parametrize(
    ("owner", "scopes", "expires"),
    [
        *[(owner, ["read"], None) for owner in ("", " ", "a\0b", "x" * 101)],
        *[("alice", scopes, None) for scopes in ([], ["read", "root"])],
        ("alice", ["read"], NOW),
    ],
)
async def test_a_token_that_makes_no_sense_is_refused(store: Store, owner: str, scopes: list[str], expires: object) -> None:
    with pytest.raises(UsageError):
        await made(store, owner, tuple(scopes), expires=expires)
    async with store.read() as tx:
        assert (await rows.page(tx, None)).rows == ()


async def test_an_empty_database_gives_one_first_token_however_many_ask(store: Store) -> None:
    async def first() -> NewToken | None:
        async with store.write() as tx:
            return await create_first(tx, NOW)

    given = [each for each in await asyncio.gather(*(first() for _ in range(6))) if each is not None]
    assert len(given) == 1
    assert (given[0].row.owner, given[0].row.scopes) == (FIRST_OWNER, ("admin",))
    async with store.write() as tx:
        await rows.revoke(tx, given[0].row.id, NOW)
        assert await create_first(tx, NOW) is None


async def test_tokens_are_listed_by_owner(store: Store) -> None:
    mine, theirs = await made(store), await made(store, "bob")
    async with store.read() as tx:
        assert [each.id for each in (await rows.page(tx, "alice")).rows] == [mine.row.id]
        assert {each.id for each in (await rows.page(tx, None)).rows} == {mine.row.id, theirs.row.id}
