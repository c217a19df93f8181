"""Health, metrics, keys, documents, housekeeping."""

import asyncio
import json
from pathlib import Path

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from billing_api.app import create_app
from billing_api.db import housekeeping
from billing_api.db.pool import Database
from billing_api.licensing.keys import SigningKey
from billing_api.settings import Settings
from tests.services.billing_api.fake_kubernetes import FakeKubernetes
from tests.services.billing_api.harness import Billing, Query, Start, changed, instance_name


async def test_a_running_process_is_alive_and_ready(billing: Billing) -> None:
    live, ready = await billing.client.get("/health/live"), await billing.client.get("/health/ready")
    assert (live.status_code, live.json()) == (200, {"status": "alive"})
    assert (ready.status_code, ready.json()) == (
        200,
        {"status": "ready", "database": "connected", "kubernetes": "not configured"},
    )


async def test_readiness_tells_of_kubernetes_but_does_not_need_it(
    start: Start, settings: Settings, kubernetes: FakeKubernetes, tmp_path: Path
) -> None:
    connected = changed(settings, kubeconfig=kubernetes.write_kubeconfig(tmp_path / "kubeconfig"))
    async with start(connected) as billing:
        assert (await billing.until_kubernetes_is("connected")).status_code == 200
        await kubernetes.stop()
        assert (await billing.until_kubernetes_is("disconnected")).status_code == 200
        await kubernetes.start()
        assert (await billing.until_kubernetes_is("connected")).status_code == 200


async def test_without_the_database_the_process_is_alive_but_not_ready(
    billing: Billing, dsn: str, postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(billing.services.get(Database)._pool, "timeout", 0.2)
    with psycopg.connect(postgres, autocommit=True) as admin:
        database = psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]
        admin.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS false")
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [database])
        ready, live = await billing.client.get("/health/ready"), await billing.client.get("/health/live")
        signup = await billing.sign_up()
        admin.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS true")
    assert (ready.status_code, live.status_code, signup.status_code) == (503, 200, 503)
    assert ready.json()["type"] == "urn:iotistic:problem:service-unavailable"
    assert signup.headers["retry-after"] == "5"


async def test_a_background_task_that_dies_makes_the_process_not_alive(
    start: Start,
    settings: Settings,
    kubernetes: FakeKubernetes,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    connected = changed(settings, kubeconfig=kubernetes.write_kubeconfig(tmp_path / "kubeconfig"))
    async with start(connected) as billing:
        name = instance_name(await billing.new_customer())
        await kubernetes.wait_for(lambda: name in kubernetes.objects)
        [watching] = [task for task in asyncio.all_tasks() if task.get_name() == "watch"]
        await kubernetes.set_status(name, stages=[{"not": "a stage"}])
        await asyncio.wait([watching], timeout=10)
        response = await billing.client.get("/health/live")
    assert response.status_code == 503
    assert "watch" in response.json()["detail"]
    assert "The background task watch has failed" in caplog.text


async def test_metrics_count_what_happened(billing: Billing) -> None:
    await billing.new_customer()
    await billing.log_in()
    await billing.log_in(password="wrong password")
    text = (await billing.client.get("/metrics")).text
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert lines["billing_signups_total"] == "1.0"
    assert lines['billing_logins_total{outcome="success"}'] == "1.0"
    assert lines['billing_logins_total{outcome="wrong"}'] == "1.0"
    assert lines["billing_outbox_pending"] == "1.0"
    assert lines["billing_cluster_watch_connected"] == "0.0"
    route = 'method="POST",route="/api/customers/signup",status="201"'
    assert lines[f"billing_http_request_duration_seconds_count{{{route}}}"] == "1.0"


async def test_metrics_are_not_multiplied_by_paths_that_do_not_exist(billing: Billing) -> None:
    for number in range(3):
        await billing.client.request(f"METHOD{number}", f"/nowhere/{number}")
    text = (await billing.client.get("/metrics")).text
    assert "nowhere" not in text
    assert "METHOD" not in text


async def test_licenses_of_an_earlier_key_stay_verifiable_after_a_change_of_keys(
    settings: Settings, dsn: str, signing_key: SigningKey, query: Query
) -> None:
    newer = SigningKey.from_private(rsa.generate_private_key(public_exponent=65537, key_size=2048))
    for key in (signing_key, newer):
        app = create_app(settings, dsn=dsn, signing_key=key)
        async with app.router.lifespan_context(app):
            pass
    published = json.loads((settings.data_dir / "jwks.json").read_text())
    assert [key["kid"] for key in published["keys"]] == [signing_key.kid, newer.kid]
    query("UPDATE signing_keys SET revoked_at = now() WHERE kid = %s", signing_key.kid)
    app = create_app(settings, dsn=dsn, signing_key=newer)
    async with app.router.lifespan_context(app):
        pass
    assert [key["kid"] for key in json.loads((settings.data_dir / "jwks.json").read_text())["keys"]] == [newer.kid]


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
