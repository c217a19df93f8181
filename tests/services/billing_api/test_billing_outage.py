"""The database away, in every way it can be: an answer within a second, and everything as before when it is back."""

import asyncio
import signal
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, get_args

import httpx
import psutil
import psycopg
import pytest

from billing_api.db import embedded
from billing_api.db.migrate import migrate
from billing_api.db.pool import ANSWER_SECONDS, Database
from billing_api.errors import DatabaseUnavailable
from billing_api.settings import Settings
from tests.services.billing_api.harness import Billing, Query, Start, StartAt, changed
from tests.services.billing_api.relay import Failure, Relay, until
from tests.support.billing import PASSWORD, data_folder, session_of
from tests.support.clocks import idle_clock, pass_time

_PROBES = ("/health/ready", "/.well-known/jwks.json", "/metrics")
_EVERYBODY_IS_PROMISED = 1.0  # seconds


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


@pytest.fixture
def start(relay: Relay, start_at: StartAt) -> Start:
    """The app with its database at the far end of the relay."""
    return start_at(relay.dsn)


async def _timed(*requests: Coroutine[Any, Any, httpx.Response]) -> list[tuple[httpx.Response, float]]:
    """Make requests side by side; return each answer, and how long it was waited for."""
    async with idle_clock() as clock:

        async def timed(request: Coroutine[Any, Any, httpx.Response]) -> tuple[httpx.Response, float]:
            began = clock.seconds
            return await request, clock.seconds - began

        return await asyncio.gather(*(timed(request) for request in requests))


def _requests(billing: Billing, customer: dict[str, Any]) -> list[Coroutine[Any, Any, httpx.Response]]:
    """Every request that needs the database."""
    session, status = session_of(customer), customer["deployment"]["check_status_url"]
    return [
        billing.sign_up("new@example.com", key="a-key"),
        billing.sign_up("newer@example.com"),
        billing.client.post("/api/customers/login", json={"email": "john@example.com", "password": PASSWORD}),
        billing.client.post("/api/customers/logout", headers=session),
        billing.client.get(status, headers=session),
        *(billing.client.get(path) for path in _PROBES),
    ]


async def _assert_answered_in_time(billing: Billing, customer: dict[str, Any]) -> None:
    for response, seconds in await _timed(*_requests(billing, customer)):
        path = response.request.url.path
        assert seconds < _EVERYBODY_IS_PROMISED, f"{path} took {seconds:.2f} s"
        if path == "/metrics":
            assert response.status_code == 200
            assert 'billing_outbox_pending{kind="license.renew"} NaN' in response.text
        elif path == "/.well-known/jwks.json":
            # Known to the process: the operator goes on verifying licenses.
            assert response.status_code == 200
            assert response.json()["keys"]
        else:
            assert response.status_code == 503, path
            assert response.headers["content-type"] == "application/problem+json"
            assert response.headers["retry-after"] == "5"
    assert (await billing.client.get("/health/live")).status_code == 200


async def _until_ready(billing: Billing) -> None:
    async def ready() -> bool:
        return (await billing.client.get("/health/ready")).status_code == 200

    await until(ready)


@pytest.mark.parametrize("how", get_args(Failure))
async def test_without_the_database_everything_is_answered_within_a_second(
    billing: Billing, relay: Relay, how: Failure
) -> None:
    customer = await billing.new_customer()
    await relay.fail(how)
    # The first meets connections that were good until now, the second none.
    await _assert_answered_in_time(billing, customer)
    await _assert_answered_in_time(billing, customer)
    await relay.start()
    await _until_ready(billing)
    assert (await billing.log_in()).status_code == 200


async def test_many_requests_at_once_are_answered_as_fast(billing: Billing, relay: Relay) -> None:
    customer = await billing.new_customer()
    await relay.fail("silent")
    status = customer["deployment"]["check_status_url"]
    many = [billing.client.get(status, headers=session_of(customer)) for _ in range(50)]
    answers = await _timed(*many)
    assert {response.status_code for response, _ in answers} == {503}
    assert max(seconds for _, seconds in answers) < _EVERYBODY_IS_PROMISED


async def test_a_server_that_was_restarted_costs_no_request(billing: Billing, relay: Relay) -> None:
    customer = await billing.new_customer()
    await relay.fail("refused")
    await relay.start()
    answers = [await billing.status(customer) for _ in range(5)]
    assert len(answers) == 5


async def test_the_first_request_after_an_outage_is_served(billing: Billing, relay: Relay) -> None:
    customer = await billing.new_customer()
    await relay.fail("refused")
    for _ in range(3):
        assert (await billing.log_in()).status_code == 503
    await relay.start()
    assert await billing.status(customer)


async def test_who_waits_already_is_served_when_the_server_comes_back(
    relay: Relay, caplog: pytest.LogCaptureFixture
) -> None:
    await relay.fail("refused")
    async with Database(relay.dsn, size=1) as database:
        waiting = asyncio.create_task(_execute(database, "SELECT 1"))

        async def given_up() -> bool:
            return "reconnection attempt in pool 'billing' failed" in caplog.text

        await until(given_up)
        assert not waiting.done()
        await relay.start()
        await waiting


async def _hold_all(stack: AsyncExitStack, database: Database, count: int) -> None:
    for _ in range(count):
        await stack.enter_async_context(database.transaction(seconds=60))


async def test_nobody_can_use_up_what_readiness_needs(billing: Billing, query: Query) -> None:
    await billing.new_customer()
    query("BEGIN")
    query("LOCK TABLE outbox IN ACCESS EXCLUSIVE MODE")
    # Each waits for the lock as long as a statement may, and then for the next that is free.
    many = [asyncio.create_task(billing.client.get("/metrics")) for _ in range(40)]
    async with asyncio.timeout(30):
        while not query("SELECT 1 FROM pg_locks WHERE NOT granted"):  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(0.005)
    ready = [await billing.client.get("/health/ready") for _ in range(10)]
    metrics = await asyncio.gather(*many)
    query("ROLLBACK")
    assert {answer.status_code for answer in (*ready, *metrics)} == {200}
    assert 'billing_outbox_pending{kind="license.renew"} NaN' in metrics[0].text


async def test_probes_do_not_wait_behind_requests_that_hold_every_connection(
    billing: Billing, settings: Settings, relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer = await billing.new_customer()
    async with AsyncExitStack() as stack:
        await _hold_all(stack, billing.services.get(Database), settings.database_pool_size)
        for path in _PROBES:
            [(response, seconds)] = await _timed(billing.client.get(path))
            assert response.status_code == 200
            assert seconds < _EVERYBODY_IS_PROMISED
        assert await billing.count("billing_outbox_pending", kind="instance.apply") == 1
        status = customer["deployment"]["check_status_url"]
        [(response, seconds)] = await _timed(billing.client.get(status, headers=session_of(customer)))
        assert response.status_code == 503
        assert seconds < _EVERYBODY_IS_PROMISED
        await relay.fail("silent")
        # What was found out before is known for some seconds.
        pass_time(monkeypatch, 10)
        await _assert_answered_in_time(billing, customer)
        await relay.start()
    await _until_ready(billing)


async def _execute(database: Database, *statements: str) -> None:
    async with database.transaction() as connection:
        for statement in statements:
            await connection.execute(statement.encode())


async def test_a_transaction_ends_when_its_time_is_up_and_leaves_nothing_in_the_server(database: Database) -> None:
    with pytest.raises(DatabaseUnavailable):
        await _execute(database, "CREATE TABLE unfinished ()", "SELECT pg_sleep(600)")

    async def gone() -> bool:
        async with database.transaction() as connection:
            cursor = await connection.execute(
                "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
            )
            return await cursor.fetchone() is None

    await until(gone)
    async with database.transaction() as connection:
        cursor = await connection.execute("SELECT to_regclass('unfinished')")
        assert await cursor.fetchone() == (None,)


async def test_work_that_nobody_waits_for_may_take_longer(database: Database) -> None:
    async with database.transaction(seconds=10) as connection:
        cursor = await connection.execute("SELECT pg_sleep(1.5), 7")
        row = await cursor.fetchone()
    assert row is not None
    assert row[1] == 7


async def test_a_server_that_only_reads_is_an_outage_until_another_takes_over(database: Database) -> None:
    with pytest.raises(DatabaseUnavailable):
        await _execute(database, "SET TRANSACTION READ ONLY", "DELETE FROM sessions")
    await _execute(database, "DELETE FROM sessions")


@pytest.fixture
def own_server() -> Iterator[tuple[Path, str]]:
    """A server of the test's own, which it may treat badly: its folder and the URL."""
    with data_folder() as folder, embedded.running(folder) as url:
        migrate(url)
        yield folder / "postgres", url


def _postmaster(folder: Path) -> psutil.Process:
    return psutil.Process(int((folder / "postmaster.pid").read_text().split()[0]))


async def test_a_server_that_stands_still_is_answered_for_within_a_second(
    own_server: tuple[Path, str], settings: Settings, start_at: StartAt
) -> None:
    folder, url = own_server
    async with start_at(url)(settings) as billing:
        customer = await billing.new_customer()
        postmaster = _postmaster(folder)
        stopped = [postmaster, *postmaster.children(recursive=True)]
        for process in stopped:
            process.send_signal(signal.SIGSTOP)
        try:
            await _assert_answered_in_time(billing, customer)
            await _assert_answered_in_time(billing, customer)
        finally:
            for process in stopped:
                process.send_signal(signal.SIGCONT)
        await _until_ready(billing)
        assert (await billing.log_in()).status_code == 200


async def test_no_signup_is_lost_or_doubled_when_postgresql_is_killed(
    own_server: tuple[Path, str], settings: Settings, start_at: StartAt
) -> None:
    folder, url = own_server
    confirmed: list[str] = []
    some_are_confirmed = asyncio.Event()

    async def sign_up(billing: Billing, email: str) -> None:
        """Ask until it is done, as a client does that keeps its Idempotency-Key."""
        async with asyncio.timeout(60):
            while (response := await billing.sign_up(email, key=email)).status_code != 201:
                assert response.status_code == 503, response.text
                await asyncio.sleep(0.05)
        confirmed.append(email)
        if len(confirmed) == 8:
            some_are_confirmed.set()

    async with start_at(url)(
        changed(settings, signups_per_address=1000, unverified_stacks_per_address=1000)
    ) as billing:
        emails = [f"customer-{number}@example.com" for number in range(24)]
        signups = [asyncio.create_task(sign_up(billing, email)) for email in emails]
        async with asyncio.timeout(60):
            await some_are_confirmed.wait()
        killed = _postmaster(folder)
        killed.kill()
        await asyncio.gather(*signups)
        await _until_ready(billing)
        assert _postmaster(folder) != killed
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT email, count(*) FROM customers GROUP BY email").fetchall()
        waiting = connection.execute("SELECT count(*) FROM outbox").fetchone()
    assert dict(found) == dict.fromkeys(emails, 1)
    assert waiting == (len(emails),)
    assert "redo done" in (folder / "log").read_text()


async def test_listening_ends_with_an_error_when_the_server_is_gone(relay: Relay) -> None:
    async with Database(relay.dsn, size=1) as database:
        notifications = database.notifications("anything")
        await anext(notifications)
        await relay.fail("refused")
        with pytest.raises(DatabaseUnavailable):
            await anext(notifications)
