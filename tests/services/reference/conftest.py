"""The reference API beside the database and a broker of one generated stack; every test begins without devices."""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import psycopg
import pytest

from customer_operator.components import api
from customer_operator.naming import Manifest
from tests.services.conftest import Tenant
from tests.support import licenses
from tests.support.pods import new_root, secret_values
from tests.support.reference import OpenBroker, ReferenceApi, ReferenceDashboard
from tests.support.tenant_broker import find_mosquitto
from tests.support.tenant_database import TenantDatabase

Database = psycopg.Connection[tuple[Any, ...]]

UNLIMITED: Mapping[str, Any] = {"features": {"maxDevices": -1, "dataRetentionDays": 90}, "limits": {}}


class MakeApi(Protocol):
    """Makes an API, not started, with a license of these claims."""

    def __call__(self, broker: OpenBroker, **claims: Any) -> ReferenceApi: ...


@pytest.fixture(scope="session")
def shared_server(tenant: Tenant, folder: Path) -> Iterator[TenantDatabase]:
    """The database of the API that all tests share."""
    with new_database_server(tenant, folder) as server:
        yield server


@pytest.fixture(scope="session")
def own_server(tenant: Tenant, folder: Path) -> Iterator[TenantDatabase]:
    """The database of the APIs that single tests make: of all APIs of a database one receives."""
    with new_database_server(tenant, folder) as server:
        yield server


@contextmanager
def new_database_server(tenant: Tenant, folder: Path) -> Iterator[TenantDatabase]:
    server = TenantDatabase(tenant.manifests, root=new_root(folder))
    try:
        server.start()
        done = server.bootstrap()
        assert done.returncode == 0, done.stderr
        yield server
    finally:
        server.close()


@pytest.fixture
def shared_database(shared_server: TenantDatabase) -> Iterator[Database]:
    with empty_database(shared_server) as connection:
        yield connection


@pytest.fixture
def own_database(own_server: TenantDatabase) -> Iterator[Database]:
    with empty_database(own_server) as connection:
        yield connection


@contextmanager
def empty_database(server: TenantDatabase) -> Iterator[Database]:
    """Give the superuser's view of a database, without what earlier tests have left."""
    with server.superuser() as connection:
        if connection.execute("SELECT to_regclass('public.devices')").fetchone() != (None,):
            connection.execute("TRUNCATE public.devices, public.daily_usage CASCADE")
        connection.execute("DELETE FROM mqtt.mqtt_users WHERE username NOT IN ('api', 'exporter')")
        yield connection


@pytest.fixture(scope="session")
def shared_broker(folder: Path) -> Iterator[OpenBroker]:
    """For the API that all tests share."""
    with new_broker(folder) as broker:
        yield broker


@pytest.fixture
def broker(folder: Path) -> Iterator[OpenBroker]:
    """For one test, which may stop it."""
    with new_broker(folder) as broker:
        yield broker


@contextmanager
def new_broker(folder: Path) -> Iterator[OpenBroker]:
    broker = OpenBroker(find_mosquitto(), root=new_root(folder))
    try:
        broker.start()
        yield broker
    finally:
        broker.close()


def new_api(tenant: Tenant, folder: Path, server: TenantDatabase, *, broker_port: int, **claims: Any) -> ReferenceApi:
    """Return an API, not started, with a license of these claims."""
    manifests = manifests_of(tenant, **claims)
    url = server.local_url(secret_values(manifests, "api")["DATABASE_URL"])
    return ReferenceApi(manifests, database_url=url, broker_port=broker_port, root=new_root(folder))


def manifests_of(tenant: Tenant, **claims: Any) -> list[Manifest]:
    """Return the API's objects with a license that has these claims beside, or instead of, the usual ones."""
    issuer = tenant.context.platform.license_issuer
    token = licenses.sign(**{"aud": licenses.AUDIENCE, "iss": issuer, **UNLIMITED, **claims})
    keys = json.dumps({"keys": [licenses.jwk()]})
    return api.build(replace(tenant.context, license_key=token, license_jwks=keys))


@pytest.fixture(scope="session")
def shared_api(
    tenant: Tenant, folder: Path, shared_server: TenantDatabase, shared_broker: OpenBroker
) -> Iterator[ReferenceApi]:
    made = new_api(tenant, folder, shared_server, broker_port=shared_broker.port)
    try:
        made.start()
        yield made
    finally:
        made.close()


@pytest.fixture
def reference_api(shared_api: ReferenceApi, shared_database: Database) -> ReferenceApi:
    """An API without limits, which is subscribed, and has no devices yet."""
    return shared_api


@pytest.fixture
def make_api(tenant: Tenant, folder: Path, own_server: TenantDatabase, own_database: Database) -> Iterator[MakeApi]:
    """Makes an API for one test."""
    with ExitStack() as cleanup:

        def make(broker: OpenBroker, **claims: Any) -> ReferenceApi:
            made = new_api(tenant, folder, own_server, broker_port=broker.port, **claims)
            cleanup.callback(made.close)
            return made

        yield make


@pytest.fixture(scope="session")
def dashboard(tenant: Tenant, folder: Path, shared_api: ReferenceApi) -> Iterator[ReferenceDashboard]:
    made = ReferenceDashboard(tenant.manifests, api_url=shared_api.url, root=new_root(folder))
    try:
        made.listen()
        yield made
    finally:
        made.close()


def rows(database: Database, device: str) -> list[tuple[str, float]]:
    """Return names and values of a device's rows, the earliest first."""
    found = database.execute("SELECT name, value FROM public.readings WHERE device = %s ORDER BY time", [device])
    return [(str(name), float(value)) for name, value in found]


def waiting_for_locks(database: Database) -> int:
    """Return how many of the API's sessions wait for a lock."""
    return database.execute("SELECT FROM pg_stat_activity WHERE usename = 'api' AND wait_event_type = 'Lock'").rowcount
