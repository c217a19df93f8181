"""Who may do what on the generated broker, asked of Mosquitto, its plugin and the database themselves.

That something is not delivered shows by what is: one client's messages come in the order in which the broker took them.
"""

import time

import bcrypt
import pytest

from tests.services.conftest import DEVICE_PASSWORD, AddDevice, Connect, LoginAs, MakeBroker, Tenant
from tests.support.mqtt import Login, MqttClient, Refused
from tests.support.tenant_broker import TenantBroker

GRANTED, DENIED = "Granted QoS 1", "Not authorized"
NEXT = ("t/device/next", "sentinel")

# Shorter than the plugin's own default, so that a misspelt option would show; longer than a slow login.
CACHE = {
    "auth_opt_auth_cache_seconds 30": "auth_opt_auth_cache_seconds 1",
    "auth_opt_auth_jitter_seconds 3": "auth_opt_auth_jitter_seconds 0",
    "auth_opt_acl_cache_seconds 30": "auth_opt_acl_cache_seconds 1",
    "auth_opt_acl_jitter_seconds 3": "auth_opt_acl_jitter_seconds 0",
}
CACHE_PATIENCE = 10.0


def test_the_api_may_publish_and_subscribe_to_everything(tenant: Tenant, connect: Connect) -> None:
    api = connect(tenant.login("api"))

    assert [api.subscribe(topic) for topic in ("#", "$SYS/broker/version")] == [GRANTED, GRANTED]
    version, _ = api.receive()
    assert version == "$SYS/broker/version"
    assert api.publish("anything/at/all", "hello") == "Success"
    assert api.receive() == ("anything/at/all", "hello")


def test_the_exporter_reads_the_statistics(tenant: Tenant, connect: Connect) -> None:
    exporter = connect(tenant.login("mqtt-exporter"))

    assert exporter.subscribe("$SYS/#") == GRANTED
    assert exporter.receive()[0].startswith("$SYS/broker/")


def test_the_exporter_publishes_nothing(tenant: Tenant, connect: Connect) -> None:
    api, exporter = connect(tenant.login("api")), connect(tenant.login("mqtt-exporter"))
    api.subscribe("#")

    assert [exporter.publish(topic, "forged") for topic in ("t/device/x", "$SYS/broker/version")] == [DENIED, DENIED]
    api.publish(*NEXT)
    assert api.receive() == NEXT


def test_the_probe_has_one_topic_to_itself_and_no_other(tenant: Tenant, connect: Connect) -> None:
    api, probe = connect(tenant.login("api")), connect(tenant.probe)
    own, other = ("route_probe/echo", "token"), ("route_probe/other", "token")
    api.subscribe("#")

    assert probe.subscribe(own[0]) == GRANTED
    assert probe.publish(*own) == "Success"
    assert probe.receive() == own
    assert [probe.publish(topic, "forged") for topic in (other[0], "t/device/x", "$SYS/broker/version")] == [DENIED] * 3
    probe.subscribe("#")
    api.publish("t/device/x", "secret")
    probe.publish(*own)

    assert probe.receive() == own
    assert [api.receive() for _ in range(3)] == [own, ("t/device/x", "secret"), own]


@pytest.mark.parametrize("topic", ["#", "t/device/x", "t/#", "+/+/+", "$share/group/t/#"])
def test_the_exporter_receives_nothing_but_statistics(tenant: Tenant, connect: Connect, topic: str) -> None:
    api, exporter = connect(tenant.login("api")), connect(tenant.login("mqtt-exporter"))

    exporter.subscribe(topic)
    api.publish("t/device/x", "secret")
    exporter.subscribe("$SYS/broker/version")

    assert exporter.receive()[0] == "$SYS/broker/version"


def test_a_device_publishes_and_subscribes_to_its_own_topic(
    tenant: Tenant, connect: Connect, add_device: AddDevice
) -> None:
    api, device = connect(tenant.login("api")), connect(add_device("device"))
    api.subscribe("t/#")

    assert device.subscribe("t/device/#") == GRANTED
    assert device.publish("t/device/temperature", "21.5") == "Success"
    assert api.receive() == device.receive() == ("t/device/temperature", "21.5")
    api.publish("t/device/command", "restart")
    assert device.receive() == ("t/device/command", "restart")


@pytest.mark.parametrize("topic", ["t/other/x", "t/devices/x", "t", "anything", "$SYS/broker/version"])
def test_a_device_publishes_to_no_foreign_topic(
    tenant: Tenant, connect: Connect, add_device: AddDevice, topic: str
) -> None:
    api, device = connect(tenant.login("api")), connect(add_device("device"))
    api.subscribe("#")

    assert device.publish(topic, "forged") == DENIED
    assert device.publish(*NEXT) == "Success"
    assert api.receive() == NEXT


@pytest.mark.parametrize("topic", ["t/other/#", "t/#", "t/+/x", "#", "$SYS/#", "$share/group/t/other/#"])
def test_a_device_receives_nothing_of_another(connect: Connect, add_device: AddDevice, topic: str) -> None:
    device, other = connect(add_device("device")), connect(add_device("other"))
    device.subscribe("t/device/#")

    device.subscribe(topic)
    assert other.publish("t/other/x", "secret") != DENIED
    device.publish(*NEXT)

    assert device.receive() == NEXT


def test_a_device_that_speaks_another_version_of_the_protocol_has_the_same_rights(
    tenant: Tenant, connect: Connect, add_device: AddDevice
) -> None:
    api, device = connect(tenant.login("api")), connect(add_device("device"), version="3.1.1")
    api.subscribe("t/#")

    device.publish("t/other/x", "forged")
    device.publish(*NEXT)

    assert api.receive() == NEXT


@pytest.mark.parametrize(
    "login",
    [
        pytest.param(None, id="anonymous"),
        pytest.param(Login("api"), id="no password"),
        pytest.param(Login("api", ""), id="an empty password"),
        pytest.param(Login("api", "wrong"), id="a wrong password"),
        pytest.param(Login("unknown", DEVICE_PASSWORD), id="an unknown user"),
        pytest.param(Login("' OR true --", DEVICE_PASSWORD), id="SQL"),
    ],
)
def test_who_cannot_prove_who_they_are_is_refused(connect: Connect, login: Login | None) -> None:
    with pytest.raises(Refused):
        connect(login)


def test_the_password_of_one_user_does_not_open_the_account_of_another(tenant: Tenant, connect: Connect) -> None:
    with pytest.raises(Refused, match=DENIED):
        connect(Login("api", tenant.login("mqtt-exporter").password))


def test_an_inactive_device_is_refused(connect: Connect, add_device: AddDevice) -> None:
    with pytest.raises(Refused, match=DENIED):
        connect(add_device("retired", active=False))


def test_a_changed_password_takes_effect_when_the_cache_has_expired(
    make_broker: MakeBroker,
    add_device: AddDevice,
    login_as: LoginAs,
) -> None:
    broker, old = make_broker(changes=CACHE), add_device("rotated")
    broker.start()
    with MqttClient(broker.plain, old):
        pass

    hashed = bcrypt.hashpw(b"new", bcrypt.gensalt(10)).decode()
    login_as("api").execute("UPDATE mqtt_users SET password_hash = %s WHERE username = 'rotated'", [hashed])

    with MqttClient(broker.plain, Login("rotated", "new")):
        pass
    wait_until_refused(broker, old)
    broker.close()


def test_a_withdrawn_right_ends_when_the_cache_has_expired(
    make_broker: MakeBroker, add_device: AddDevice, login_as: LoginAs
) -> None:
    broker = make_broker(changes=CACHE)
    broker.start()
    with MqttClient(broker.plain, add_device("demoted")) as device:
        assert device.publish("t/demoted/x", "") != DENIED

        login_as("api").execute("DELETE FROM mqtt_acls WHERE username = 'demoted'")

        wait_until_denied(device, "t/demoted/x")
    broker.close()


def test_the_log_holds_no_password(tenant: Tenant, tenant_broker: TenantBroker, connect: Connect) -> None:
    connect(tenant.login("api"))
    with pytest.raises(Refused):
        connect(Login("api", "a-wrong-password"))

    log, secrets = tenant_broker.server.log, tenant.context.credentials
    assert "backend registered: Postgres" in log
    known = (secrets.mqtt_api_password, secrets.broker_db_password, "a-wrong-password")
    # At the level debug the plugin writes them as lists of bytes.
    assert [text for text in known if text in log or " ".join(map(str, text.encode())) in log] == []


def wait_until_refused(broker: TenantBroker, login: Login) -> None:
    """Log in again and again; AssertionError when that never fails. Nothing tells when the cache forgets."""
    deadline = time.monotonic() + CACHE_PATIENCE
    while time.monotonic() < deadline:
        try:
            with MqttClient(broker.plain, login):
                time.sleep(0.05)
        except Refused:
            return
    raise AssertionError(f"the old password still opens the account after {CACHE_PATIENCE:g} s")


def wait_until_denied(client: MqttClient, topic: str) -> None:
    """Publish again and again; AssertionError when that never fails."""
    deadline = time.monotonic() + CACHE_PATIENCE
    while client.publish(topic, "") != DENIED:
        assert time.monotonic() < deadline, f"still allowed after {CACHE_PATIENCE:g} s"
        time.sleep(0.05)
