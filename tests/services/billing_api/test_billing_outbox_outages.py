"""What happens to the database and to the programs beneath the outbox; it ends in a restart, never in silence."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import psycopg
import pytest
from prometheus_client import CollectorRegistry

from billing_api.db import outbox as rows
from billing_api.db.outbox import Job
from billing_api.db.pool import Database
from billing_api.metrics import Metrics
from billing_api.outbox import listener
from billing_api.settings import Settings
from billing_api.tasks import Supervisor
from tests.services.billing_api.harness import Query, Start
from tests.services.billing_api.outbox_harness import Replica, add, states
from tests.support.waiting import eventually

_LISTENERS = """
    SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND strpos(query, 'transaction_read_only') > 0
"""


class Server:
    """The database server as its administrator sees it."""

    def __init__(self, admin: psycopg.Connection[Any]) -> None:
        self._admin = admin

    async def take_no_writes(self) -> None:
        """Make every session's transactions read-only, as those of a standby are."""
        await self._set("SET default_transaction_read_only = on", "on")

    async def take_writes(self) -> None:
        await self._set("RESET default_transaction_read_only", "off")

    async def _set(self, change: str, wanted: str) -> None:
        self._admin.execute(f"ALTER SYSTEM {change}".encode())
        self._admin.execute("SELECT pg_reload_conf()")
        await eventually(lambda: self._admin.execute("SHOW default_transaction_read_only").fetchone() == (wanted,))


@pytest.fixture
def server(postgres: str) -> Iterator[Server]:
    with psycopg.connect(postgres, autocommit=True) as admin:
        yield Server(admin)
        admin.execute("ALTER SYSTEM RESET default_transaction_read_only")
        admin.execute("SELECT pg_reload_conf()")


@pytest.fixture
async def attentive(dsn: str) -> AsyncIterator[Database]:
    """A database whose listener asks often whether the server takes writes."""
    async with Database(dsn, size=4, quiet_seconds=0.05) as opened:
        yield opened


async def _dig(_: Job) -> None:
    """Do nothing, which always works."""


async def test_a_lost_listen_is_replaced_and_what_came_meanwhile_is_found(
    database: Database, settings: Settings, query: Query
) -> None:
    async with Replica(database, {"dig": _dig}, settings).running() as replica:
        await eventually(lambda: len(query(_LISTENERS)) == 1)
        [lost] = query(_LISTENERS)
        query("SELECT pg_terminate_backend(%s)", lost["pid"])
        await add(database, "a")
        await eventually(lambda: states(query) == ["done"])
        await eventually(lambda: replica.restarts("outbox-listener") == 1)
        await eventually(lambda: len(query(_LISTENERS)) == 1)
        await add(database, "b")
        await eventually(lambda: states(query) == ["done", "done"])
        assert query(_LISTENERS) != [lost]


async def test_a_server_that_turns_read_only_is_left_by_the_listener_until_it_takes_writes(
    attentive: Database, settings: Settings, query: Query, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    async with Replica(attentive, {"dig": _dig}, settings).running() as replica:
        await eventually(lambda: len(query(_LISTENERS)) == 1)
        await server.take_no_writes()
        await eventually(lambda: replica.restarts("outbox-listener") >= 3)
        assert (
            "outbox-listener is interrupted, and tried until it works: DATABASE_URL: PostgreSQL is read-only"
            in caplog.text
        )
        await server.take_writes()
        await eventually(lambda: replica.tasks.down == () and len(query(_LISTENERS)) == 1)
        await add(attentive, "a")
        await eventually(lambda: states(query) == ["done"])
        assert replica.tasks.hopeless == ()


async def test_while_the_server_takes_no_writes_the_worker_waits_and_then_goes_on(
    database: Database, settings: Settings, query: Query, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    await add(database, "a")
    await server.take_no_writes()
    async with Replica(database, {"dig": _dig}, settings).running() as replica:
        await eventually(
            lambda: "The outbox waits for the database: DATABASE_URL: PostgreSQL is read-only" in caplog.text
        )
        assert states(query) == ["pending"]
        await server.take_writes()
        await eventually(lambda: states(query) == ["done"])
        assert replica.restarts("outbox") == 0


async def test_while_the_server_takes_no_writes_requests_are_told_to_come_back(
    start: Start, settings: Settings, server: Server
) -> None:
    async with start(settings) as billing:
        await server.take_no_writes()
        refused = await billing.sign_up()
        await server.take_writes()
        assert (refused.status_code, refused.json()["type"]) == (503, "urn:iotistic:problem:service-unavailable")
        assert (await billing.sign_up()).status_code == 201


async def test_an_outcome_is_recorded_when_the_database_is_back_and_the_work_not_done_twice(
    database: Database, settings: Settings, query: Query, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    calls = []

    async def dig(job: Job) -> None:
        await server.take_no_writes()
        calls.append(job.id)

    async with Replica(database, {"dig": dig}, settings).running():
        await add(database, "a")
        await eventually(lambda: "What became of outbox row 1 waits for the database" in caplog.text)
        await server.take_writes()
        await eventually(lambda: states(query) == ["done"])
    assert len(calls) == 1


async def _divide(_: Job) -> dict[str, Any]:
    raise ZeroDivisionError("with hunter2 in its text")


async def _cancel_a_part(_: Job) -> dict[str, Any]:
    part = asyncio.create_task(asyncio.sleep(60))
    part.cancel()
    await part
    return {}


async def _return_what_json_cannot_hold(_: Job) -> dict[str, Any]:
    return {"result": object()}


async def _return_what_postgresql_cannot_hold(_: Job) -> dict[str, Any]:
    return {"result": "\0"}


@pytest.mark.parametrize(
    ("defect", "reason"),
    [
        (_divide, "ZeroDivisionError"),
        (_cancel_a_part, "CancelledError"),
        (_return_what_json_cannot_hold, "TypeError"),
        (_return_what_postgresql_cannot_hold, "UntranslatableCharacter"),
    ],
)
async def test_a_defect_of_a_handler_is_logged_and_its_row_tried_again_while_others_are_done(
    defect: Callable[[Job], Awaitable[dict[str, Any]]],
    reason: str,
    database: Database,
    settings: Settings,
    query: Query,
    caplog: pytest.LogCaptureFixture,
) -> None:
    broken = True

    async def dig(job: Job) -> dict[str, Any]:
        return await defect(job) if job.subject == "a" and broken else {}

    async with Replica(database, {"dig": dig}, settings).running() as replica:
        await add(database, "a", "b")
        await eventually(lambda: states(query) == ["pending", "done"] and (replica.attempts("postponed") or 0) >= 2)
        [row] = query("SELECT last_error FROM outbox WHERE subject = 'a'")
        broken = False
        await eventually(lambda: states(query) == ["done", "done"])
        assert replica.restarts("outbox") == 0
    assert row["last_error"] == f"{reason}: a defect of the billing API; its log has the details"
    assert any(record.exc_info for record in caplog.records if "outbox row 1 (dig) has failed" in record.message)


async def test_a_defect_of_the_worker_starts_it_again_and_its_rows_are_free_at_once(
    database: Database, settings: Settings, query: Query, caplog: pytest.LogCaptureFixture
) -> None:
    calls, begun = [], asyncio.Event()

    async def dig(job: Job) -> None:
        calls.append(job.subject)
        begun.set()
        if calls == ["a"]:
            await asyncio.sleep(3600)

    async with Replica(database, {"dig": dig}, settings).running() as replica:
        await add(database, "a")
        await begun.wait()
        query("ALTER TABLE outbox RENAME COLUMN payload TO away")
        replica.worker.wake()
        await eventually(lambda: replica.restarts("outbox") >= 2)
        query("ALTER TABLE outbox RENAME COLUMN away TO payload")
        await eventually(lambda: states(query) == ["done"])
    assert calls == ["a", "a"]
    assert "The background task outbox has failed and is started again" in caplog.text


async def test_a_defect_of_the_listener_starts_it_again(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    wakes = 0

    def wake() -> None:
        nonlocal wakes
        wakes += 1
        if wakes <= 2:
            raise ZeroDivisionError("a defect")

    metrics = Metrics(CollectorRegistry())
    async with Supervisor(metrics, first=0.01, longest=0.05) as tasks:
        tasks.start("outbox-listener", lambda: listener.listen(database, wake))
        await eventually(lambda: wakes == 3)
        async with database.transaction() as connection:
            await rows.notify(connection)
        await eventually(lambda: wakes == 4)
    assert "The background task outbox-listener has failed" in caplog.text
