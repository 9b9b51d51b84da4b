"""A stored key opens for what it was given for, and for nothing else; and it shows nowhere."""

from __future__ import annotations

import io
import json
import logging
import traceback
from collections.abc import Iterator
from dataclasses import replace

import pytest
import structlog
from pydantic import SecretStr

from tests.service.rows import FILES, NOW, ORIGIN, VERDICT, new_audit, new_schedule
from verifier.endpoint.redaction import REDACTED, Redactor
from verifier.service.errors import SecretError
from verifier.service.keys import new_key
from verifier.service.secrets import Binding, Keyring, keep, reencrypt_all, reveal
from verifier.service.store import audits, runs, schedules, sealed
from verifier.service.store.engine import Store
from verifier.service.telemetry import concealing, configure_logging
from verifier.target import Target

CANARY = "canary-Zk3v9Qw71xT-do-not-show"
SECRET = SecretStr(CANARY)
BINDING = Binding("alice", "aud_1", "target", ORIGIN)
OTHERS = [
    replace(BINDING, owner="bob"),
    replace(BINDING, holder="aud_2"),
    replace(BINDING, purpose="reference"),
    replace(BINDING, origin="https://evil.example"),
]


@pytest.fixture
def keyring() -> Keyring:
    """A keyring of one new key."""
    return Keyring([new_key()])


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What is logged at DEBUG, by us and by libraries."""
    root = logging.getLogger()
    handlers, level, httpx = root.handlers, root.level, logging.getLogger("httpx").level
    stream = io.StringIO()
    configure_logging("DEBUG", stream)
    yield stream
    root.handlers = handlers
    root.setLevel(level)
    logging.getLogger("httpx").setLevel(httpx)
    structlog.reset_defaults()


def test_a_sealed_secret_opens_for_what_it_was_sealed_for(keyring: Keyring) -> None:
    row = keyring.seal(SecretStr("비밀 키 🔑"), BINDING)
    assert keyring.open(row.sealed, BINDING).get_secret_value() == "비밀 키 🔑"
    assert row.sealed.startswith(row.key_id.encode()) and row.key_id == keyring.key_id
    assert keyring.seal(SECRET, BINDING).sealed != keyring.seal(SECRET, BINDING).sealed


@pytest.mark.parametrize("other", OTHERS, ids=["owner", "holder", "purpose", "origin"])
def test_it_opens_for_nothing_else(keyring: Keyring, other: Binding) -> None:
    row = keyring.seal(SECRET, BINDING)
    with pytest.raises(SecretError):
        keyring.open(row.sealed, other)


def test_fields_cannot_be_shifted_into_each_other() -> None:
    assert Binding("a", 'b", "c', "target", "o").associated_data != Binding('a", "b', "c", "target", "o").associated_data


def test_every_flipped_byte_is_refused(keyring: Keyring) -> None:
    data = keyring.seal(SECRET, BINDING).sealed
    for place in range(len(data)):
        with pytest.raises(SecretError):
            keyring.open(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :], BINDING)
    for short in range(0, len(data), 5):
        with pytest.raises(SecretError):
            keyring.open(data[:short], BINDING)


async def test_swapping_ciphertexts_between_rows_fails(store: Store, keyring: Keyring) -> None:
    other = replace(BINDING, holder="aud_2", origin="https://evil.example", owner="mallory")
    async with store.write() as tx:
        await keep(tx, keyring, SECRET, BINDING)
        await keep(tx, keyring, SecretStr("mallory's own"), other)
        row, theirs = await sealed.get(tx, "aud_1", "target"), await sealed.get(tx, "aud_2", "target")
        assert row is not None and theirs is not None
        assert await sealed.replace(tx, theirs, row.key_id, row.sealed)
        with pytest.raises(SecretError):
            await reveal(tx, keyring, other)
        assert (await reveal(tx, keyring, BINDING)).get_secret_value() == CANARY


async def test_editing_the_url_does_not_send_the_stored_key_elsewhere(store: Store, keyring: Keyring) -> None:
    async with store.write() as tx:
        await keep(tx, keyring, SECRET, BINDING)
        kept_elsewhere, another_origin = "no longer stored", "another endpoint"
        for other, why in zip(OTHERS, (another_origin, kept_elsewhere, kept_elsewhere, another_origin), strict=True):
            with pytest.raises(SecretError, match=why):
                await reveal(tx, keyring, other)
        # Whoever can write to the database and moves the row's plain fields gains nothing either.
        row = await sealed.get(tx, "aud_1", "target")
        assert row is not None
        await sealed.put(tx, replace(row, origin="https://evil.example"))
        with pytest.raises(SecretError):
            await reveal(tx, keyring, OTHERS[3])


async def test_rotation_seals_everything_again_and_the_old_key_can_go(store: Store) -> None:
    old, new = new_key(), new_key()
    bindings = [replace(BINDING, holder=f"aud_{number}") for number in range(120)]
    async with store.write() as tx:
        for binding in bindings:
            await keep(tx, Keyring([old]), SecretStr(binding.holder), binding)
    both = Keyring([new, old])
    async with store.read() as tx:
        assert (await reveal(tx, both, bindings[0])).get_secret_value() == "aud_0"
    assert await reencrypt_all(store, both) == 120
    assert await reencrypt_all(store, both) == 0
    async with store.read() as tx:
        assert await sealed.key_ids(tx) == {both.key_id: 120}
        for binding in bindings:
            assert (await reveal(tx, Keyring([new]), binding)).get_secret_value() == binding.holder
        with pytest.raises(SecretError, match="TRUENAME_OLD_SECRET_KEYS"):
            await reveal(tx, Keyring([old]), bindings[0])


async def test_an_audits_own_key_goes_when_it_ends_and_a_schedules_stays(store: Store, keyring: Keyring) -> None:
    async with store.write() as tx:
        schedule = await schedules.create(tx, new_schedule(), NOW)
        mine = replace(BINDING, holder=schedule.id)
        await keep(tx, keyring, SECRET, mine)
        ended = []
        for way in ("complete", "fail", "cancel", "unclaimed"):
            audit = (await audits.submit(tx, new_audit(schedule_id=schedule.id), NOW)).audit
            for purpose in ("target", "reference", "webhook"):
                await keep(tx, keyring, SECRET, Binding("alice", audit.id, purpose, ORIGIN))
            if way == "unclaimed":
                await audits.request_cancel(tx, audit.id, NOW)
            else:
                taken = await runs.claim(tx, audit.id, "one", NOW)
                assert taken is not None
                if way == "complete":
                    await runs.complete(tx, taken.run.id, outcome="consistent", verdict=VERDICT, files=FILES, requests=1, now=NOW)
                elif way == "fail":
                    await runs.fail(tx, taken.run.id, "no", NOW)
                else:
                    await runs.cancel(tx, taken.run.id, NOW)
            ended.append(audit.id)
        for audit_id in ended:
            assert await sealed.get(tx, audit_id, "target") is await sealed.get(tx, audit_id, "reference") is None
            assert await sealed.get(tx, audit_id, "webhook") is not None
        assert (await reveal(tx, keyring, mine)).get_secret_value() == CANARY
        await schedules.remove(tx, schedule.id)
        with pytest.raises(SecretError, match="no longer stored"):
            await reveal(tx, keyring, mine)


async def test_the_canary_shows_in_no_repr_error_row_or_log(store: Store, keyring: Keyring, log: io.StringIO) -> None:
    shown = [repr(keyring), repr(BINDING), repr(SECRET)]
    async with store.write() as tx:
        await keep(tx, keyring, SECRET, BINDING)
        row = await sealed.get(tx, BINDING.holder, BINDING.purpose)
        opened = await reveal(tx, keyring, BINDING)
        shown += [repr(row), str(row), repr(opened), str(opened), f"{opened}"]
        for attempt in (lambda: reveal(tx, keyring, OTHERS[0]), lambda: reveal(tx, Keyring([new_key()]), BINDING)):
            try:
                await attempt()
            except SecretError:
                shown.append(traceback.format_exc())
                structlog.get_logger("truename").exception("failed", sealed=row)
        await sealed.remove(tx, BINDING.holder)
    assert row is not None and CANARY.encode() not in row.sealed
    assert CANARY not in "".join(shown) + log.getvalue()
    assert "Traceback" in log.getvalue()


async def test_a_failing_statement_does_not_quote_its_parameters(store: Store) -> None:
    with pytest.raises(Exception, match=r"(?i)unique") as caught:
        async with store.write() as tx:
            await audits.submit(tx, new_audit(id="aud_twice", webhook=CANARY), NOW)
            await audits.submit(tx, new_audit(id="aud_twice", webhook=CANARY), NOW)
    assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_logs_are_json_lines_and_libraries_speak_the_same(log: io.StringIO) -> None:
    structlog.get_logger("truename").info("audit.claimed", audit="aud_1", attempt=1, note="감사")
    logging.getLogger("library").warning("task %s is late", "tick")
    ours, theirs = (json.loads(line) for line in log.getvalue().splitlines())
    assert {key: ours[key] for key in ("event", "audit", "attempt", "level", "note")} == {
        "event": "audit.claimed",
        "audit": "aud_1",
        "attempt": 1,
        "level": "info",
        "note": "감사",
    }
    assert (theirs["event"], theirs["level"], theirs["logger"]) == ("task tick is late", "warning", "library")


LEAKS = {
    "a name": {"api_key": CANARY, "headers": {"Authorization": CANARY, "x": [{"session_token": CANARY}]}},
    "a token": {"text": "got tn_" + "a" * 43},
    "a vendor's key": {"text": ["key sk-ant-api03-aaaaaaaaaaaaaaaaaaaaaa", ("AIzaSyaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",)]},
    "a scheme": {"text": "Authorization: Bearer aaaaaaaaaaaa"},
    "a URL": {"url": "postgresql://user:aaaaaaaaaaaa@host/x"},
}


@pytest.mark.parametrize("fields", LEAKS.values(), ids=LEAKS.keys())
def test_what_looks_like_a_secret_is_taken_out(log: io.StringIO, fields: dict[str, object]) -> None:
    structlog.get_logger("truename").info("event", **fields)
    logging.getLogger("library").info("%s", fields if "api_key" not in fields else "")
    text = log.getvalue()
    assert CANARY not in text and "aaaaaaaa" not in text and REDACTED in text


def test_a_known_secret_is_taken_out_whatever_it_looks_like(log: io.StringIO) -> None:
    target = Target.parse(f"{ORIGIN}/v1", "gpt-4o", api_key=CANARY)
    with concealing(Redactor(target)):
        structlog.get_logger("truename").info(f"sent {CANARY}", deep=[{"x": f"-{CANARY}-"}], seen={CANARY: 1})
        logging.getLogger("httpx").warning("GET %s", CANARY)
        try:
            raise ValueError(CANARY)
        except ValueError:
            logging.getLogger("library").exception("failed")
            structlog.get_logger("truename").exception("failed", error=ValueError(CANARY))
    assert CANARY not in log.getvalue() and log.getvalue().count(REDACTED) >= 6
    structlog.get_logger("truename").info(f"after: {CANARY}")
    assert CANARY in log.getvalue()


def test_plain_ids_stay_readable(log: io.StringIO) -> None:
    structlog.get_logger("truename").info("sealed", key_id="0a1b2c3d", key_holder="aud_1", tokens=5, audit="aud_1")
    line = json.loads(log.getvalue())
    assert (line["key_id"], line["key_holder"], line["tokens"], line["audit"]) == ("0a1b2c3d", "aud_1", 5, "aud_1")
