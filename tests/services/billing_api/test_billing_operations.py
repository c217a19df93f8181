"""Health, metrics, keys, documents, housekeeping."""

import asyncio

import psycopg
import pytest

from billing_api.db import housekeeping
from billing_api.db.pool import ANSWER_SECONDS, Database
from billing_api.licensing.keys import SigningKey
from billing_api.settings import Settings
from tests.services.billing_api.fake_kubernetes import FakeKubernetes
from tests.services.billing_api.harness import Billing, Query, Start
from tests.support.billing import instance_name


async def test_a_running_process_is_alive_and_ready(billing: Billing) -> None:
    live, ready = await billing.client.get("/health/live"), await billing.client.get("/health/ready")
    assert (live.status_code, live.json()) == (200, {"status": "alive"})
    assert (ready.status_code, ready.json()) == (
        200,
        {"status": "ready", "database": "connected", "kubernetes": "not configured", "outbox_refused": 0},
    )


async def test_readiness_tells_how_much_was_refused_for_good_and_does_not_mind(billing: Billing, query: Query) -> None:
    for email in ("john@example.com", "jane@example.com", "jim@example.com"):
        await billing.new_customer(email)
    query("UPDATE outbox SET state = 'refused' WHERE id <> (SELECT min(id) FROM outbox)")
    ready = await billing.client.get("/health/ready")
    assert (ready.status_code, ready.json()["outbox_refused"]) == (200, 2)


async def test_a_server_that_takes_no_writes_is_not_ready_until_another_does(
    billing: Billing, dsn: str, postgres: str
) -> None:
    database = psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]
    with psycopg.connect(postgres, autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
        # As after a failover: connections are made anew, and find a standby. They are ended, and not only told to: a
        # request on one that is about to end would find a server that does not answer.
        admin.execute("SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity WHERE datname = %s", [database])
        ready, live = await billing.client.get("/health/ready"), await billing.client.get("/health/live")
        signup = await billing.sign_up()
        admin.execute(f"ALTER DATABASE {database} RESET default_transaction_read_only")
    assert (ready.status_code, live.status_code, signup.status_code) == (503, 200, 503)
    for answer in (ready, signup):
        assert answer.json()["detail"].startswith("The database takes no writes at the moment; try again shortly")
        assert answer.headers["retry-after"] == "5"
    # Nobody has ended the connections that found it: each is given up by the one who finds that it takes no writes.
    async with asyncio.timeout(60):
        while (await billing.client.get("/health/ready")).status_code != 200:
            pass


async def test_readiness_tells_of_kubernetes_but_does_not_need_it(
    start: Start, connected: Settings, kubernetes: FakeKubernetes
) -> None:
    async with start(connected) as billing:
        assert (await billing.until_kubernetes_is("connected")).status_code == 200
        await kubernetes.stop()
        assert (await billing.until_kubernetes_is("disconnected")).status_code == 200
        await kubernetes.start()
        assert (await billing.until_kubernetes_is("connected")).status_code == 200


@pytest.mark.parametrize("answer_seconds", [ANSWER_SECONDS])
async def test_without_the_database_the_process_is_alive_but_not_ready_and_says_so_at_once(
    billing: Billing, dsn: str, postgres: str
) -> None:
    with psycopg.connect(postgres, autocommit=True) as admin:
        database = psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]
        admin.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS false")
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [database])
        # A second each for PostgreSQL, and the hash, on a busy machine; the pool's own time limit is half a minute.
        async with asyncio.timeout(20):
            ready, live = await billing.client.get("/health/ready"), await billing.client.get("/health/live")
            signup = await billing.sign_up()
        admin.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS true")
    assert (ready.status_code, live.status_code, signup.status_code) == (503, 200, 503)
    assert ready.json()["type"] == "urn:iotistic:problem:service-unavailable"
    assert signup.headers["retry-after"] == "5"


async def test_an_instance_that_cannot_be_read_leaves_the_process_alive_and_its_customer_informed(
    start: Start, connected: Settings, kubernetes: FakeKubernetes
) -> None:
    async with start(connected) as billing:
        signup = await billing.new_customer()
        await kubernetes.wait_for(lambda: instance_name(signup) in kubernetes.objects)
        await kubernetes.set_status(instance_name(signup), stages=[{"not": "a stage"}])
        async with asyncio.timeout(60):
            while "cannot be read at the moment" not in (await billing.status(signup))["message"]:
                pass
        response = await billing.client.get("/health/live")
    assert response.status_code == 200


async def test_metrics_count_what_happened(billing: Billing) -> None:
    await billing.new_customer()
    await billing.log_in()
    await billing.log_in(password="wrong password")
    assert await billing.count("billing_signups_total") == 1
    assert await billing.count("billing_logins_total", outcome="success") == 1
    assert await billing.count("billing_logins_total", outcome="wrong") == 1
    assert await billing.count("billing_outbox_pending", kind="instance.apply") == 1
    assert await billing.count("billing_outbox_refused", kind="instance.apply") == 0
    assert await billing.count("billing_outbox_oldest_pending_seconds", kind="instance.apply") > 0
    assert await billing.count("billing_cluster_watch_connected") == 0
    route = {"method": "POST", "route": "/api/customers/signup", "status": "201"}
    assert await billing.count("billing_http_request_duration_seconds_count", **route) == 1


async def test_metrics_are_not_multiplied_by_paths_that_do_not_exist(billing: Billing) -> None:
    for number in range(3):
        await billing.client.request(f"METHOD{number}", f"/nowhere/{number}")
    text = (await billing.client.get("/metrics")).text
    assert "nowhere" not in text
    assert "METHOD" not in text


async def test_the_keys_are_served_and_hold_nothing_private(billing: Billing, signing_key: SigningKey) -> None:
    response = await billing.client.get("/.well-known/jwks.json")
    assert response.json() == {"keys": [signing_key.jwk]}
    assert set(signing_key.jwk) == {"kty", "n", "e", "kid", "use", "alg"}


async def test_housekeeping_deletes_what_has_expired_and_nothing_else(
    billing: Billing, database: Database, query: Query
) -> None:
    tables = ("sessions", "idempotency_keys", "limits")

    def count(condition: str) -> list[int]:
        return [len(query(f"SELECT 1 FROM {table} WHERE expires_at {condition} now()")) for table in tables]

    await billing.sign_up("john@example.com", key="old")
    await billing.log_in(password="wrong password")
    for table in tables:
        query(f"UPDATE {table} SET expires_at = now() - interval '1 second'")
    await billing.sign_up("jane@example.com", key="new")
    expired, valid = count("<"), count(">")
    assert all(expired)
    assert all(valid)
    assert await housekeeping.sweep(database) == sum(expired)
    assert (count("<"), count(">")) == ([0, 0, 0], valid)
    assert [row["key"] for row in query("SELECT key FROM idempotency_keys")] == ["new"]
