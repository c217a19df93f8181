"""The whole way with logins: the API's own as generated, a device's as the API has told it, checked by the broker."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.services.conftest import Tenant
from tests.services.reference.conftest import Database, new_api, rows
from tests.support.mqtt import Login, MqttClient, Refused
from tests.support.pods import new_root
from tests.support.reference import ReferenceApi
from tests.support.tenant_broker import Programs, TenantBroker
from tests.support.tenant_database import TenantDatabase
from tests.support.waiting import eventually

_RIGHTS = "UPDATE mqtt.mqtt_users SET is_superuser = %s WHERE username = 'api'"


@pytest.fixture
def guarded_broker(
    tenant: Tenant, folder: Path, programs: Programs, own_server: TenantDatabase
) -> Iterator[TenantBroker]:
    """The generated broker, which asks for logins."""
    broker = TenantBroker(tenant.manifests, root=new_root(folder), programs=programs, database_port=own_server.port)
    try:
        broker.start()
        yield broker
    finally:
        broker.close()


@pytest.fixture
def guarded_api(
    tenant: Tenant, folder: Path, own_server: TenantDatabase, own_database: Database, guarded_broker: TenantBroker
) -> Iterator[ReferenceApi]:
    api = new_api(tenant, folder, own_server, broker_port=guarded_broker.plain)
    try:
        api.start()
        yield api
    finally:
        api.close()


async def test_a_registered_device_logs_in_and_its_reading_arrives(
    guarded_api: ReferenceApi, guarded_broker: TenantBroker, own_database: Database
) -> None:
    login = Login("greenhouse-1", guarded_api.register("greenhouse-1"))

    with MqttClient(guarded_broker.plain, login) as device:
        assert device.publish("t/greenhouse-1/temperature", "21.5") == "Success"

    await eventually(lambda: rows(own_database, "greenhouse-1") == [("temperature", 21.5)])


def test_a_device_logs_in_with_its_own_password_only(guarded_api: ReferenceApi, guarded_broker: TenantBroker) -> None:
    guarded_api.register("first")
    other = guarded_api.register("second")

    with pytest.raises(Refused, match="Not authorized"), MqttClient(guarded_broker.plain, Login("first", other)):
        pass


async def test_no_device_writes_readings_of_another(
    guarded_api: ReferenceApi, guarded_broker: TenantBroker, own_database: Database
) -> None:
    login = Login("first", guarded_api.register("first"))
    guarded_api.register("second")

    with MqttClient(guarded_broker.plain, login) as device:
        assert device.publish("t/second/temperature", "99") == "Not authorized"
        assert device.publish("t/first/temperature", "21.5") == "Success"

    await eventually(lambda: rows(own_database, "first") == [("temperature", 21.5)])
    assert rows(own_database, "second") == []


async def test_an_api_that_may_not_subscribe_does_so_as_soon_as_it_may(
    tenant: Tenant, folder: Path, programs: Programs, own_server: TenantDatabase, own_database: Database
) -> None:
    """The broker says no once, and would never say yes by itself."""
    with ExitStack() as cleanup:
        broker = TenantBroker(
            tenant.manifests,
            root=new_root(folder),
            programs=programs,
            database_port=own_server.port,
            changes={"auth_opt_cache true": "auth_opt_cache false"},
        )
        cleanup.callback(broker.close)
        broker.start()
        cleanup.callback(own_database.execute, _RIGHTS, ["true"])
        own_database.execute(_RIGHTS, ["false"])
        api = new_api(tenant, folder, own_server, broker_port=broker.plain)
        cleanup.callback(api.close)
        api.listen()
        api.server.wait_for("the broker refuses the subscription to t/")
        assert api.health["broker"] == "away"

        own_database.execute(_RIGHTS, ["true"])

        await eventually(lambda: api.health["broker"] == "subscribed")
        assert api.server.log.count("refuses the subscription") == 1
