"""A database that is slow, and not away: callers are let go in time, and the connections outlive it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic

import psycopg
import pytest

from billing_api.db import pool
from billing_api.db.outage import Outages
from billing_api.db.pool import ANSWER_SECONDS, Database
from billing_api.errors import DatabaseUnavailable
from tests.services.billing_api.harness import Query
from tests.services.billing_api.relay import Relay, until
from tests.support.billing import PASSWORD, billing_process, replica_environment, signup_body
from tests.support.clocks import pass_time
from tests.support.waiting import PATIENCE, eventually

_PIDS = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() ORDER BY pid"


@pytest.fixture
def answer_seconds() -> float:
    """What users are promised."""
    return ANSWER_SECONDS


@pytest.fixture
async def relay(dsn: str) -> AsyncIterator[Relay]:
    relay = Relay(dsn)
    await relay.start()
    yield relay
    await relay.stop()


async def _ask(database: Database, statement: str = "SELECT 1") -> None:
    async with database.transaction() as connection:
        await connection.execute(statement.encode())


async def _use_all(database: Database, count: int) -> None:
    await asyncio.gather(*(_ask(database, "SELECT pg_sleep(0.1)") for _ in range(count)))


async def test_a_server_that_was_silent_for_a_while_keeps_its_connections(relay: Relay, query: Query) -> None:
    async with Database(relay.dsn, size=2) as database:
        await _use_all(database, 2)
        before = query(_PIDS)
        await relay.fail("silent")
        for _ in range(2):
            failed = await asyncio.gather(*(_ask(database) for _ in range(4)), return_exceptions=True)
            assert {type(error) for error in failed} == {DatabaseUnavailable}
        await relay.start()

        async def served() -> bool:
            try:
                await _ask(database)
            except DatabaseUnavailable:
                return False
            return True

        await until(served)
        assert query(_PIDS) == before


async def test_a_statement_that_takes_too_long_is_ended_by_the_server_and_costs_no_connection(
    database: Database, query: Query
) -> None:
    async with asyncio.timeout(30):
        await _use_all(database, 4)
        before = query(_PIDS)
        with pytest.raises(DatabaseUnavailable, match=r"PostgreSQL took longer than 0\.8 s"):
            await _ask(database, "SELECT pg_sleep(600)")
        while query("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"):  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)
        await _use_all(database, 4)
    assert query(_PIDS) == before


async def test_a_server_that_stays_silent_is_hung_up_on(
    relay: Relay, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pool, "_SILENCE_SECONDS", 0.05)
    async with Database(relay.dsn, size=1) as database:
        await _ask(database)
        await relay.fail("silent")
        with pytest.raises(DatabaseUnavailable, match="took longer"):
            await _ask(database)
        await eventually(lambda: "discarding closed connection" in caplog.text)


async def test_who_waits_for_a_connection_has_less_time_than_who_has_one(dsn: str) -> None:
    async with Database(dsn, size=1) as one, one.transaction(seconds=60):
        began = monotonic()
        # The words tell which limit it was: less than the 0.8 s of who has one.
        with pytest.raises(DatabaseUnavailable, match=r"gave no connection within 0\.48 s"):
            await _ask(one)
        assert monotonic() - began >= 0.48


async def test_a_caller_who_gives_up_does_not_wait_for_a_silent_server(relay: Relay) -> None:
    async with Database(relay.dsn, size=1, answer_seconds=60) as database:
        await _ask(database)
        await relay.fail("silent")
        asking = asyncio.create_task(_ask(database))
        await asyncio.sleep(0)
        asking.cancel()
        done, _ = await asyncio.wait({asking}, timeout=PATIENCE)
        assert done == {asking}
        assert asking.cancelled()


async def test_when_our_own_event_loop_stood_still_the_server_is_not_to_blame(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with database.transaction() as connection:
        await connection.execute("SELECT 1")
        with monkeypatch.context() as later:
            pass_time(later, 2)
            await connection.execute("SELECT pg_sleep(0.1)")


async def test_an_outage_is_told_once_and_a_request_is_one_line_in_the_log(relay: Relay, tmp_path: Path) -> None:
    async with billing_process(replica_environment(relay.dsn, tmp_path)) as process, await process.client() as client:
        await client.post("/api/customers/signup", json=signup_body())
        before = len(process.log.splitlines())
        await relay.fail("refused")
        for _ in range(20):
            response = await client.post("/api/customers/login", json={"email": "a@example.com", "password": PASSWORD})
            assert response.status_code == 503
        assert await process.end() == 0
        told = process.log.splitlines()[before:]
    # On a busy machine it may begin before this one, with a slow answer; begun twice it would also have ended.
    begun, ended = process.log.count("What needs the database fails from now on"), process.log.count("works again")
    assert begun == ended + 1
    assert len([line for line in told if "/api/customers/login 503" in line]) == 20
    # The outage, the tasks that are interrupted, and the steps of the stop.
    assert len(told) <= 20 + 18, "\n".join(told)


def test_an_outage_has_a_beginning_and_an_end_however_many_fail_in_between(caplog: pytest.LogCaptureFixture) -> None:
    now = 100.0
    outages = Outages(dsn="postgresql://billing@db/billing", clock=lambda: now)
    outages.worked()
    for _ in range(3):
        now += 1
        outages.failed(psycopg.OperationalError("gone"))
        outages.worked()
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    now = 109.0
    outages.worked()
    outages.worked()
    assert [record.message for record in caplog.records][1:] == [
        "The database works again: 3 times it did not, within 2 s"
    ]
    outages.failed(psycopg.OperationalError("gone"))
    assert len(caplog.records) == 3
