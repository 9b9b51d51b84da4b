"""Conversations in a child process: what they ask is asked here, what they come to is what they come to in place."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest

from benchmarks.simulated import Endpoint
from fingerprints.catalog import Claim
from probes.probe import Reply
from tests.service.conversations import Counting, Failing, Surrounded, Unsaid
from verifier import auditing
from verifier.errors import CannotRunError
from verifier.options import Settings, resolve_claim
from verifier.service.aside import LARGE, Aside, AsideError
from verifier.surroundings import here
from verifier.target import Target


@pytest.fixture
async def aside() -> AsyncIterator[Aside]:
    made = Aside()
    yield made
    await made.close()


async def echo(asks: Any, *, retry_timeouts: bool = True) -> list[Reply]:
    await asyncio.sleep(0)
    return [Reply(ask, text=f"{ask.key} {retry_timeouts}") for ask in asks]


async def test_many_conversations_run_at_once_in_one_child_and_hear_their_own_replies(aside: Aside) -> None:
    told: list[Reply] = []
    results = await asyncio.gather(*(aside(Counting(n), echo, lambda reply, _: told.append(reply)) for n in (1, 3, 2)))
    assert [heard for _, heard, _ in results] == [["0 False"], ["0 False", "1 True", "2 True"], ["0 False", "1 True"]]
    assert len({pid for pid, _, _ in results}) == 1
    assert os.getpid() not in {pid for pid, _, _ in results}
    assert len(told) == 6


async def test_an_error_of_the_conversation_is_raised_here_as_it_is(aside: Aside) -> None:
    with pytest.raises(CannotRunError, match="nothing answers; try again"):
        await aside(Failing(), echo, None)


async def test_an_error_of_the_asking_ends_the_conversation_and_no_other(aside: Aside) -> None:
    async def refused(asks: Any, *, retry_timeouts: bool = True) -> list[Reply]:
        raise CannotRunError("refused", "do not")

    with pytest.raises(CannotRunError, match="refused"):
        await aside(Counting(2), refused, None)
    assert (await aside(Counting(1), echo, None))[1] == ["0 False"]


async def test_a_child_that_dies_ends_its_conversations_and_the_next_one_starts_another(aside: Aside) -> None:
    pid = (await aside(Counting(0), echo, None))[0]

    async def killing(asks: Any, *, retry_timeouts: bool = True) -> list[Reply]:
        os.kill(pid, signal.SIGKILL)
        await asyncio.sleep(0.2)
        return []

    with pytest.raises(AsideError):
        await aside(Counting(2), killing, None)
    assert (await aside(Counting(0), echo, None))[0] != pid


async def test_a_child_that_is_told_to_stop_goes_on_until_its_parent_has_handed_the_audits_back(aside: Aside) -> None:
    """As systemd tells every process of a service at once."""
    pid = (await aside(Counting(0), echo, None))[0]

    async def stopping(asks: Any, *, retry_timeouts: bool = True) -> list[Reply]:
        os.kill(pid, signal.SIGTERM)
        return await echo(asks, retry_timeouts=retry_timeouts)

    assert (await aside(Counting(1), stopping, None))[:2] == (pid, ["0 False"])


async def test_no_setting_of_the_service_is_in_the_childs_environment(aside: Aside, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TRUENAME_SECRET_KEY", "TRUENAME_DATABASE_URL", "TRUENAME_API_KEY"):
        monkeypatch.setenv(name, "canary")
    monkeypatch.setenv("TRUENAME_DATA_DIR", "/somewhere")
    found = await aside(Surrounded(), echo, None)
    assert {name: value for name, value in found.items() if name.startswith("TRUENAME_")} == {"TRUENAME_DATA_DIR": "/somewhere"}
    assert found["PATH"] == os.environ["PATH"]


async def test_an_error_that_cannot_be_sent_fails_its_own_conversation_and_no_other(aside: Aside) -> None:
    pid = (await aside(Counting(0), echo, None))[0]
    with pytest.raises(RuntimeError, match="TwoPartError, which cannot be sent") as found:
        await asyncio.wait_for(aside(Unsaid(raises=True), echo, None), 60)
    assert "oneother" in found.value.__notes__[0]
    assert (await aside(Counting(0), echo, None))[0] == pid


async def test_a_child_that_cannot_be_understood_is_ended_and_leaves_nobody_waiting(aside: Aside) -> None:
    pid = (await aside(Counting(0), echo, None))[0]
    with pytest.raises(AsideError):
        await asyncio.wait_for(aside(Unsaid(raises=False), echo, None), 60)
    assert (await aside(Counting(0), echo, None))[0] != pid


async def test_a_large_array_is_sent_once_however_many_conversations_name_it(aside: Aside) -> None:
    table = np.arange(LARGE)
    assert (await aside(Counting(0, table), echo, None))[2] == table.sum()
    kept = dict(aside._kept)
    assert (await aside(Counting(0, table), echo, None))[2] == table.sum()
    assert aside._kept == kept == {id(table): table}


async def test_an_audit_thought_of_aside_comes_to_the_report_that_it_comes_to_in_place(aside: Aside) -> None:
    claim: Claim | None = resolve_claim("gpt-4o", None)
    settings = Settings(suite="quick", seed=5)
    target = Target.parse("http://127.0.0.1:9/v1", "m")
    header = auditing.make_header(target, claim, settings)
    conversation = auditing._Conversation(header, claim, settings.packs)

    async def asked(asks: Any, *, retry_timeouts: bool = True) -> list[Reply]:
        return await Endpoint("llama3").ask_all(asks)

    assert (await aside(conversation, asked, None)).data == (await here(conversation, asked, None)).data
