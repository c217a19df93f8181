"""The generated broker's listeners, its certificate and its volume, with Mosquitto itself."""

import socket
import ssl
from pathlib import Path

import pytest

from customer_operator.credentials import certificates
from tests.services.conftest import Connect, MakeBroker, Tenant
from tests.support.mqtt import Login, MqttClient, NamedContext, Refused
from tests.support.pods import new_root, secret_values
from tests.support.servers import is_open
from tests.support.tenant_broker import Programs, TenantBroker, find_mosquitto
from tests.support.tenant_database import TenantDatabase


def trusting(authority: str, *, name: str) -> ssl.SSLContext:
    """Return what a device is given: whom to trust, and the broker's name."""
    context = NamedContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=authority)
    context.server_name = name
    return context


def shake_hands(port: int, context: ssl.SSLContext) -> None:
    """Connect as far as TLS goes. Not with paho, which leaves the socket open when the handshake fails."""
    with socket.create_connection(("127.0.0.1", port)) as plain, context.wrap_socket(plain):
        pass


@pytest.fixture
def authority(tenant: Tenant) -> str:
    """The authority's certificate, as the operator publishes it beside the broker's."""
    return secret_values(tenant.manifests, "mosquitto-tls")["ca.crt"]


@pytest.mark.parametrize("host", ["mqtt.acme.iot.example.com", "mosquitto", "mqtt.customer-acme.svc"])
def test_a_device_verifies_the_broker_by_its_name_and_the_authority(
    tenant: Tenant, tenant_broker: TenantBroker, connect: Connect, authority: str, host: str
) -> None:
    assert tenant.context.mqtt_host == "mqtt.acme.iot.example.com"

    api = connect(tenant.login("api"), port=tenant_broker.tls, tls=trusting(authority, name=host))

    assert api.subscribe("t/#") == "Granted QoS 1"


def test_the_broker_does_not_pass_for_another_host(tenant_broker: TenantBroker, authority: str) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        shake_hands(tenant_broker.tls, trusting(authority, name="mqtt.other.iot.example.com"))


def test_the_broker_is_not_trusted_without_its_authority(tenant: Tenant, tenant_broker: TenantBroker) -> None:
    foreign = certificates.create_authority(now=tenant.generated_at).certificate

    with pytest.raises(ssl.SSLCertVerificationError, match=r"unable to get local issuer|self-signed|signature failure"):
        shake_hands(tenant_broker.tls, trusting(foreign, name=tenant.context.mqtt_host))


def test_a_wrong_password_is_refused_within_tls_as_well(
    tenant: Tenant, tenant_broker: TenantBroker, connect: Connect, authority: str
) -> None:
    with pytest.raises(Refused, match="Not authorized"):
        connect(Login("api", "wrong"), port=tenant_broker.tls, tls=trusting(authority, name=tenant.context.mqtt_host))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_devices_may_speak_either_sound_version_of_tls(
    tenant: Tenant, tenant_broker: TenantBroker, connect: Connect, authority: str, version: ssl.TLSVersion
) -> None:
    context = trusting(authority, name=tenant.context.mqtt_host)
    context.minimum_version = context.maximum_version = version

    connect(tenant.login("api"), port=tenant_broker.tls, tls=context)


def test_a_connection_without_tls_is_refused_on_the_tls_port(
    tenant: Tenant, tenant_broker: TenantBroker, connect: Connect
) -> None:
    with pytest.raises(Refused):
        connect(tenant.login("api"), port=tenant_broker.tls)


def test_browsers_connect_by_websocket(tenant: Tenant, tenant_broker: TenantBroker, connect: Connect) -> None:
    browser = connect(tenant.login("api"), port=tenant_broker.websocket, transport="websockets")
    api = connect(tenant.login("api"))

    assert browser.subscribe("t/#") == "Granted QoS 1"
    api.publish("t/device/x", "hello")
    assert browser.receive() == ("t/device/x", "hello")
    with pytest.raises(Refused, match="Not authorized"):
        connect(Login("api", "wrong"), port=tenant_broker.websocket, transport="websockets")


def test_the_broker_listens_only_once_the_database_answers(
    tenant: Tenant, tenant_database: TenantDatabase, make_broker: MakeBroker
) -> None:
    broker = make_broker()
    with tenant_database.away():
        broker.launch()
        broker.server.wait_for("will retry in 2s")
        assert [is_open(port) for port in (broker.plain, broker.tls, broker.websocket)] == [False, False, False]

    broker.wait_until_running()
    with MqttClient(broker.plain, tenant.login("api")) as api:
        assert api.subscribe("t/#") == "Granted QoS 1"
    broker.close()


def test_the_probes_of_the_kubelet_leave_nothing_in_the_log(tenant: Tenant, make_broker: MakeBroker) -> None:
    broker = make_broker()
    broker.start()

    assert [is_open(port) for port in broker.probed_ports] == [True, True, True]
    with MqttClient(broker.plain, tenant.login("api")) as api:
        api.publish("after/the/probes", "")
    broker.stop()  # until then it may keep back what it logs

    known = ("level=info", "running mosquitto as user")  # the plugin, and that no user can be changed
    lines = broker.server.log.splitlines()
    assert [line for line in lines if not any(text in line for text in known)] == []


def test_retained_messages_and_sessions_survive_a_restart(tenant: Tenant, make_broker: MakeBroker) -> None:
    broker, login = make_broker(), tenant.login("api")
    broker.start()
    with MqttClient(broker.plain, login, client_id="sleeper") as sleeper:
        sleeper.subscribe("queue/#")
    with MqttClient(broker.plain, login) as api:
        api.publish("retained/state", "on", retain=True)
        api.publish("queue/job", "wake up")

    broker.stop()
    broker.start()

    with MqttClient(broker.plain, login) as api:
        api.subscribe("retained/#")
        assert api.receive() == ("retained/state", "on")
    with MqttClient(broker.plain, login, client_id="sleeper") as sleeper:
        assert sleeper.receive() == ("queue/job", "wake up")
    broker.close()


def test_mosquitto_understands_every_line_of_the_configuration(tenant: Tenant, folder: Path) -> None:
    """It looks for the plugin when it has read all of it, so this needs none, and finds none."""
    programs = Programs(mosquitto=find_mosquitto(), plugin=Path("/absent/go-auth.so"))
    broker = TenantBroker(tenant.manifests, root=new_root(folder), programs=programs, database_port=5432)

    broker.launch()
    status = broker.server.wait()
    broker.close()

    known = ("/absent/go-auth.so", "running mosquitto as user")
    assert status != 0
    assert known[0] in broker.server.log
    assert [line for line in broker.server.log.splitlines() if not any(text in line for text in known)] == []
