"""Sessions in both databases: found by their key alone, and gone with their token or their time."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import text

from tests.service.rows import NOW
from verifier.service import sessions, tokens
from verifier.service.sessions import LIFE, begin, end, form_token, form_token_holds, new_key, token_of
from verifier.service.store import tokens as rows
from verifier.service.store.engine import Store

MOMENT = timedelta(microseconds=1)


async def test_a_session_stands_for_its_token_until_it_ends(store: Store) -> None:
    async with store.write() as tx:
        token = (await tokens.create(tx, "alice", ["read"], NOW)).row
        key, other = await begin(tx, token, NOW), await begin(tx, token, NOW)
        assert await token_of(tx, key, NOW + LIFE - MOMENT) == token
        assert await token_of(tx, key, NOW + LIFE) is None
        assert await token_of(tx, new_key(), NOW) is None
        await end(tx, key)
        await end(tx, key)
        assert await token_of(tx, key, NOW) is None
        assert await token_of(tx, other, NOW) == token
        assert key.get_secret_value() not in repr((await tx.execute(text("SELECT * FROM sessions"))).all())


async def test_a_session_ends_with_its_token(store: Store) -> None:
    async with store.write() as tx:
        revoked = (await tokens.create(tx, "alice", ["read"], NOW)).row
        short = (await tokens.create(tx, "alice", ["read"], NOW, NOW + timedelta(hours=1))).row
        keys = [await begin(tx, each, NOW) for each in (revoked, short)]
        await rows.revoke(tx, revoked.id, NOW)
        assert await token_of(tx, keys[0], NOW) is None
        assert await token_of(tx, keys[1], NOW + timedelta(hours=1) - MOMENT) is not None
        assert await token_of(tx, keys[1], NOW + timedelta(hours=1)) is None


async def test_ended_sessions_go_when_another_begins(store: Store) -> None:
    async with store.write() as tx:
        token = (await tokens.create(tx, "alice", ["read"], NOW)).row
        for _ in range(3):
            await begin(tx, token, NOW)
        await begin(tx, token, NOW + LIFE)
        assert await tx.scalar(text("SELECT count(*) FROM sessions")) == 1


def test_a_forms_token_holds_for_its_key_and_action_only() -> None:
    key, other = new_key(), new_key()
    token = form_token(key, "/audits")
    assert form_token_holds(key, "/audits", token)
    for wrong in (form_token(other, "/audits"), form_token(key, "/tokens"), token[:-1], token.upper(), "", "모델", "\udc80"):
        assert not form_token_holds(key, "/audits", wrong)
    assert key.get_secret_value() not in token
    assert sessions.well_formed(key.get_secret_value()) and not sessions.well_formed(token)
