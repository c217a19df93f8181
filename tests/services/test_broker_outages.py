"""The broker while its database is away: what is remembered goes on, nothing else does, and nobody restarts it."""

import pytest

from tests.services.conftest import AddDevice, LoginAs, MakeBroker
from tests.support.mqtt import Login, MqttClient, Refused
from tests.support.tenant_broker import TenantBroker
from tests.support.tenant_database import TenantDatabase


@pytest.fixture(scope="module")
def broker(make_broker: MakeBroker) -> TenantBroker:
    """One whose cache forgets nothing while these tests last."""
    changes = {
        "auth_opt_auth_cache_seconds 30": "auth_opt_auth_cache_seconds 600",
        "auth_opt_acl_cache_seconds 30": "auth_opt_acl_cache_seconds 600",
    }
    broker = make_broker(changes=changes)
    broker.start()
    return broker


def test_a_connected_device_goes_on_with_what_it_has_done_before(
    broker: TenantBroker, tenant_database: TenantDatabase, add_device: AddDevice
) -> None:
    with MqttClient(broker.plain, add_device("steady")) as device:
        device.subscribe("t/steady/#")
        device.publish("t/steady/x", "before")
        assert device.receive() == ("t/steady/x", "before")

        with tenant_database.away():
            assert device.publish("t/steady/x", "while away") == "Success"
            assert device.receive() == ("t/steady/x", "while away")


def test_a_device_that_was_there_before_is_let_in_again(
    broker: TenantBroker, tenant_database: TenantDatabase, add_device: AddDevice
) -> None:
    login = add_device("returning")
    with MqttClient(broker.plain, login):
        pass

    with tenant_database.away():
        with MqttClient(broker.plain, login):
            pass
        with pytest.raises(Refused), MqttClient(broker.plain, Login("returning", "wrong")):
            pass


def test_what_could_not_be_asked_is_neither_allowed_nor_remembered(
    broker: TenantBroker, tenant_database: TenantDatabase, add_device: AddDevice
) -> None:
    login, process = add_device("newcomer"), broker.server
    with tenant_database.away(), pytest.raises(Refused), MqttClient(broker.plain, login):
        pass

    with MqttClient(broker.plain, login) as device:
        assert device.subscribe("t/newcomer/#") == "Granted QoS 1"
        assert device.publish("t/newcomer/x", "hello") == "Success"
    assert broker.server is process
    assert not process.ended


def test_a_new_topic_ends_the_connection_of_a_device_which_may_come_back(
    broker: TenantBroker, tenant_database: TenantDatabase, add_device: AddDevice
) -> None:
    login = add_device("curious")
    with MqttClient(broker.plain, login) as device, tenant_database.away():
        assert device.publish("t/curious/new", "") == "Unspecified error"

    with MqttClient(broker.plain, login) as device:
        assert device.publish("t/curious/new", "") == "No matching subscribers"


def test_a_session_that_the_server_ends_costs_no_device_its_login(
    broker: TenantBroker, tenant_database: TenantDatabase, add_device: AddDevice
) -> None:
    login = add_device("unaffected")
    with tenant_database.superuser() as connection:
        ended = connection.execute(
            "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity WHERE usename = 'broker'"
        ).fetchone()
    assert ended is not None
    assert ended[0]

    with MqttClient(broker.plain, login):
        pass


def test_a_refusal_is_remembered_for_the_seconds_of_the_cache(
    broker: TenantBroker, add_device: AddDevice, login_as: LoginAs
) -> None:
    """So a device that comes before it is registered waits that long: as mosquitto-go-auth does."""
    login = add_device("early", active=False)
    with pytest.raises(Refused, match="Not authorized"), MqttClient(broker.plain, login):
        pass

    login_as("api").execute("UPDATE mqtt_users SET is_active = true WHERE username = 'early'")

    with pytest.raises(Refused, match="Not authorized"), MqttClient(broker.plain, login):
        pass
