"""The front door on the node: device, HAProxy's pod, the broker's pod, the API and PostgreSQL, for two customers.

A device of the first is connected and publishes all the time, whatever is done to the front door. The tests go on with
what the ones before them have left.
"""

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import pytest
from cryptography import x509

from hack.files import log_tail
from hack.node import NodeCluster
from hack.platform.device import trusting
from tests.support.administration import served_certificate
from tests.support.client_hellos import SOON
from tests.support.devices import readings, register
from tests.support.failures import first_process, kill
from tests.support.kubernetes import Kubernetes
from tests.support.mqtt import Refused
from tests.support.platform import PATIENCE, Customer, Platform
from tests.support.router_pods import DEPLOYMENT, NAMESPACE, RouterPods
from tests.support.steady_device import SteadyDevice, publishing
from tests.support.waiting import wait_until

PLAIN_MQTT = b"\x10\x12\x00\x04MQTT\x04\x02\x00\x3c\x00\x06device"
# So many connections do not all come to the same one of two replicas.
MANY = 12
Record = Callable[[str, object], None]


@pytest.fixture(scope="module")
def routers(platform: Platform) -> RouterPods:
    """The front door's pods."""
    return RouterPods(cluster=platform.cluster, api=platform.api)


@pytest.fixture(scope="module")
def device(acme: Customer) -> Iterator[SteadyDevice]:
    """The first customer's device."""
    with publishing(acme, "meter") as device:
        yield device


@dataclass(frozen=True)
class Door:
    """The front door as a device finds it that trusts the platform's authority."""

    node: NodeCluster
    authority: str

    def greets(self, host: str, *, times: int = 1) -> bool:
        """Tell whether who names a host is shown its certificate, every time."""
        return all(self._greets(host) for _ in range(times))

    def seconds_until_rejected(self, host: str) -> float:
        """Name a host that is rejected, and return how long that took."""
        began = time.monotonic()
        assert not self._greets(host)
        return time.monotonic() - began

    def _greets(self, host: str) -> bool:
        with suppress(OSError), socket.create_connection(self.node.front_door) as plain:
            trusting(self.authority, host=host).wrap_socket(plain).close()
            return True
        return False


@pytest.fixture(scope="module")
def door(node: NodeCluster, acme: Customer) -> Door:
    """The front door."""
    return Door(node, acme.secret("mosquitto-tls")["ca.crt"])


def test_an_unknown_host_and_plain_mqtt_are_rejected_at_once(door: Door, acme: Customer) -> None:
    assert door.greets(acme.mqtt_host)
    assert door.seconds_until_rejected("mqtt.umbrella.iotistic.cloud") < SOON
    # The dashboard's host is none of the broker's.
    assert door.seconds_until_rejected(acme.host) < SOON
    began = time.monotonic()
    with socket.create_connection(door.node.front_door) as plain:
        plain.sendall(PLAIN_MQTT)
        assert plain.recv(1) == b""
    assert time.monotonic() - began < SOON


def test_a_newcomers_route_gets_live_without_a_reload(
    door: Door, device: SteadyDevice, routers: RouterPods, request: pytest.FixtureRequest
) -> None:
    device.go_on()
    started, restarts, connections = routers.started(), routers.restarts(), device.connections
    assert len(started) == 2
    assert all(started.values())

    globex: Customer = request.getfixturevalue("globex")
    wait_until(lambda: door.greets(globex.mqtt_host))
    assert door.greets(globex.mqtt_host, times=MANY)

    assert device.lost() == set()
    assert (routers.started(), routers.restarts(), device.connections) == (started, restarts, connections)


def test_each_host_leads_to_its_own_broker_which_shows_its_own_certificate(acme: Customer, globex: Customer) -> None:
    for customer in (acme, globex):
        kept = x509.load_pem_x509_certificate(customer.secret("mosquitto-tls")["tls.crt"].encode())
        assert served_certificate(customer) == kept
        names = kept.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert customer.mqtt_host in names.get_values_for_type(x509.DNSName)


def test_a_devices_login_opens_no_other_customers_broker(acme: Customer, globex: Customer) -> None:
    login = register(acme, "stranger")
    with pytest.raises(Refused), globex.broker(login):
        pass


def test_two_customers_hold_what_they_have_measured_apart(acme: Customer, globex: Customer) -> None:
    for customer, value in ((acme, "1"), (globex, "2")):
        with customer.broker(register(customer, "twin")) as device:
            assert device.publish("t/twin/number", value) == "Success"

    wait_until(lambda: readings(acme, "twin") == [1.0])
    wait_until(lambda: readings(globex, "twin") == [2.0])
    for customer in (acme, globex):
        assert customer.sql("SELECT count(*) FROM readings WHERE device = 'twin'") == "1"


def test_a_web_page_publishes_and_receives_by_websocket_through_the_ingress(acme: Customer, node: NodeCluster) -> None:
    login = register(acme, "page")
    with acme.browser(login, port=node.entrances["https"]) as page, acme.broker(login) as sensor:
        assert page.subscribe("t/page/answer") == "Granted QoS 1"
        assert sensor.publish("t/page/answer", "42") == "Success"
        assert page.receive() == ("t/page/answer", "42")
        assert page.publish("t/page/number", "7") == "Success"

    wait_until(lambda: 7.0 in readings(acme, "page"))


def test_devices_come_back_by_themselves_when_haproxy_is_killed(
    door: Door, acme: Customer, device: SteadyDevice, routers: RouterPods, record_property: Record
) -> None:
    device.go_on()
    holder = pod_of_the_only_device(routers)
    restarts, connections = routers.restarts(), device.connections

    process = first_process([routers.named()[holder]], "haproxy")
    killed = time.monotonic()
    kill(process)

    wait_until(lambda: device.connections > connections, timeout=PATIENCE)
    record_property("HAProxy killed, seconds until the device is connected again", time.monotonic() - killed)
    assert device.lost() == set()
    wait_until(lambda: routers.restarts() != restarts and routers.are_ready(), timeout=PATIENCE)
    assert routers.restarts() == {**restarts, (holder, "haproxy"): restarts[holder, "haproxy"] + 1}
    # It has begun with the routes of the file.
    assert door.greets(acme.mqtt_host, times=MANY)


def test_without_its_sidecars_the_front_door_goes_on_and_what_is_changed_meanwhile_gets_live(
    door: Door, device: SteadyDevice, globex: Customer, routers: RouterPods, api: Kubernetes, record_property: Record
) -> None:
    device.go_on()
    started, connections = routers.started(), device.connections
    before = api.get("Service", "mqtt", namespace=globex.namespace)["spec"]["clusterIP"]
    processes = [first_process([pod], "router") for pod in routers.all()]

    for process in processes:
        kill(process)
    killed = time.monotonic()
    # The operator makes it again, with another address.
    api.delete("Service", "mqtt", namespace=globex.namespace)

    wait_until(lambda: not door.greets(globex.mqtt_host), timeout=PATIENCE)
    wait_until(lambda: door.greets(globex.mqtt_host, times=MANY), timeout=PATIENCE)
    record_property("routers killed, a Service replaced, seconds until its route is live", time.monotonic() - killed)
    wait_until(routers.are_ready, timeout=PATIENCE)
    assert api.get("Service", "mqtt", namespace=globex.namespace)["spec"]["clusterIP"] != before
    assert device.lost() == set()
    assert (routers.started(), device.connections) == (started, connections)


def test_a_rollout_cuts_nobody_off_and_turns_nobody_away(
    door: Door, acme: Customer, device: SteadyDevice, routers: RouterPods, record_property: Record
) -> None:
    """The connection that there is stays with the pod that ends; those that come meanwhile are all let in."""
    device.go_on()
    before, connections, visits = list(routers.named()), device.connections, 0
    login = register(acme, "passer-by")

    routers.cluster.kubectl("rollout", "restart", *DEPLOYMENT)
    began = time.monotonic()
    while not all(routers.has_stopped(name) for name in before):
        assert time.monotonic() - began < PATIENCE
        try:
            with acme.broker(login) as passer_by:
                assert passer_by.publish("t/passer-by/number", str(visits)) == "Success"
        except OSError as error:
            pytest.fail(f"visit {visits}, after {time.monotonic() - began:.1f} s: {error}\n{turned_away(door.node)}")
        visits += 1

    record_property("rollout, seconds until both have been told to end", time.monotonic() - began)
    record_property("rollout, devices that came meanwhile", visits)
    routers.cluster.kubectl("rollout", "status", *DEPLOYMENT, f"--timeout={PATIENCE:g}s")
    assert device.lost() == set()
    assert device.connections == connections
    wait_until(lambda: len(routers.ending()) == 1)
    assert routers.ending() < set(before)
    assert door.greets(acme.mqtt_host, times=MANY)


def test_a_deleted_customers_host_is_rejected_and_nobody_elses(
    door: Door, acme: Customer, globex: Customer, device: SteadyDevice
) -> None:
    connections = device.connections
    assert globex.mqtt_host in published(door.node)

    globex.delete()

    wait_until(lambda: globex.mqtt_host not in published(door.node), timeout=PATIENCE)
    wait_until(lambda: not door.greets(globex.mqtt_host))
    assert door.seconds_until_rejected(globex.mqtt_host) < SOON
    assert door.greets(acme.mqtt_host)
    assert device.lost() == set()
    assert device.connections == connections


def pod_of_the_only_device(routers: RouterPods) -> str:
    """Wait until nobody else is connected, as the operator is for moments, and return whose pod has the device."""
    counts: dict[str, int] = {}

    def is_alone() -> bool:
        counts.clear()
        counts.update({name: routers.devices(name) for name in routers.named()})
        return sum(counts.values()) == 1

    wait_until(is_alone)
    return max(counts, key=lambda name: counts[name])


def turned_away(node: NodeCluster) -> str:
    """Return what the node knows of why somebody was turned away: pods, endpoints, and who could not be carried on."""
    slices = "--selector=kubernetes.io/service-name=mqtt-router"
    return "\n".join(
        (
            node.kubectl("get", "pods", "--namespace", NAMESPACE, "--output=wide"),
            node.kubectl("get", "endpointslices", "--namespace", NAMESPACE, slices, "--output=yaml"),
            *(log_tail(node.files.logs / f"{name}.log") for name in ("keeper", "kube-proxy")),
        )
    )


def published(cluster: NodeCluster) -> str:
    """Return all routes that the operator has published."""
    found = json.loads(cluster.kubectl("get", "configmaps", "--namespace", NAMESPACE, "--output=json"))
    return "".join(item["data"].get("routes.map", "") for item in found["items"])
