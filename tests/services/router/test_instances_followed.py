"""The whole way of a route: from an instance, by the operator and the router, to who is let in by HAProxy.

Behind every ClusterIP is a real broker, so that each route is tried by a device; one stays connected all the while.
"""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from customer_operator import naming
from hack.bench.mqtt import stage
from hack.bench.mqtt.stage import Stage, host_of
from hack.front_door.device import leave, open_session
from mqtt_router.routes import config_map, shard_of
from tests.support.front_door import Device, find_haproxy
from tests.support.kubernetes import PATIENCE, Kubernetes, administrator, condition_of, in_phase, is_ready, order
from tests.support.operators import SHORT_LEASE, OperatorProcess, Operators
from tests.support.published import NAMESPACE, mqtt_host
from tests.support.tenant_broker import find_mosquitto
from tests.support.waiting import wait_until

STEADY, MOVED, READDRESSED, DELETED = "steady", "moved", "readdressed", "deleted"
FIRST, SECOND, LATER = "first", "second", "later"
ORDERED = (STEADY, MOVED, READDRESSED, DELETED)
CUSTOM = "devices.followed.example"
SETTINGS = {**stage.SETTINGS, "ROUTE_PUBLISH_INTERVAL": "0.2"}


@dataclass
class Way:
    """Instances at one end, the front door at the other."""

    stage: Stage
    api: Kubernetes

    def change(self, name: str, **spec: Any) -> None:
        """Change fields of an instance's spec."""
        self.api.patch(naming.KIND, name, {"spec": spec})

    def target(self, name: str) -> str:
        """Return where the devices of an instance have to be sent, as HAProxy's map has it."""
        service = self.api.get("Service", "mqtt", namespace=naming.namespace_of(name))
        return f"{service['spec']['clusterIP']}/8883"

    def entry(self, host: str) -> str | None:
        """Return where HAProxy sends the devices of a host."""
        return self.stage.door.entries().get(host)

    def lets_in(self, name: str) -> bool:
        """Tell whether a device of an instance is let in."""
        try:
            leave(open_session(self.stage.entrance(name), context=self.stage.authority.context(), source="127.0.0.1"))
        except OSError:
            return False
        return True

    def wait_let_in(self, name: str) -> None:
        """Wait until the route of an instance is live, and leads to its Service."""
        wait_until(lambda: self.lets_in(name), timeout=PATIENCE)
        wait_until(lambda: self.entry(host_of(name)) == self.target(name), timeout=PATIENCE)

    def wait_shut_out(self, name: str) -> None:
        """Wait until HAProxy has no route of an instance."""
        wait_until(lambda: self.entry(host_of(name)) is None, timeout=PATIENCE)
        assert not self.lets_in(name)


@pytest.fixture(scope="module")
def way() -> Iterator[Way]:
    find_haproxy()
    find_mosquitto()
    # A socket's path has 107 characters at most, and pytest's own folders are deep.
    with tempfile.TemporaryDirectory(prefix="way-") as folder:
        everybody = (*ORDERED, FIRST, SECOND, LATER)
        with stage.running(Path(folder), name=f"followed-{os.getpid()}", instances=everybody) as running:
            with administrator(running.cluster) as api:
                yield Way(running, api)
            running.router.server.stop()
            assert "Traceback" not in running.router.server.log


@pytest.fixture(scope="module")
def operators(way: Way) -> Iterator[Operators]:
    folder = way.stage.folder
    account = (naming.OPERATOR_NAMESPACE, naming.OPERATOR_SERVICE_ACCOUNT)
    access = way.stage.cluster.service_account_kubeconfig(*account, folder / "operator.kubeconfig")
    running = Operators(api=way.api, kubeconfig=access, folder=folder, environment=SETTINGS)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def leader(operators: Operators) -> OperatorProcess:
    return operators.start("leader", **SHORT_LEASE)


@pytest.fixture(scope="module")
def ordered(way: Way, leader: OperatorProcess) -> tuple[str, ...]:
    """The instances of this module, provisioned side by side."""
    assert leader.runs
    for name in ORDERED:
        way.api.create(order(name))
    for name in (FIRST, SECOND):
        way.api.create(order(name, hostname=CUSTOM))
    return ORDERED


@pytest.fixture
async def device(way: Way, ordered: tuple[str, ...]) -> AsyncIterator[Device]:
    """A device of an instance that nothing happens to; it is there before the test, and has to be there after it."""
    assert ordered
    await asyncio.to_thread(way.wait_let_in, STEADY)
    context, worker = way.stage.authority.context(), way.stage.door.worker()
    device = await Device.connect(way.stage.door.port, host=host_of(STEADY), context=context)
    yield device
    await device.ping()
    await device.close()
    assert way.stage.door.worker() == worker


@pytest.mark.usefixtures("device")
async def test_a_new_instance_is_reached_at_the_address_of_its_service(way: Way) -> None:
    way.wait_let_in(STEADY)
    way.api.wait_for(naming.KIND, STEADY, is_ready)

    assert mqtt_host(way.api.get(naming.KIND, STEADY)) == host_of(STEADY)


@pytest.mark.usefixtures("device")
async def test_a_suspended_instance_is_reached_again_when_it_is_resumed(way: Way) -> None:
    way.wait_let_in(MOVED)

    way.change(MOVED, suspend=True)
    way.wait_shut_out(MOVED)

    way.change(MOVED, suspend=False)
    way.wait_let_in(MOVED)


@pytest.mark.usefixtures("device")
async def test_an_instance_leaves_the_front_door_for_a_node_port_and_comes_back(way: Way) -> None:
    way.wait_let_in(MOVED)

    way.change(MOVED, mqtt={"exposure": "NodePort"})
    way.wait_shut_out(MOVED)

    way.change(MOVED, mqtt={"exposure": "SNI"})
    way.wait_let_in(MOVED)


@pytest.mark.usefixtures("device")
async def test_a_service_that_is_made_anew_is_reached_at_its_new_address(way: Way) -> None:
    way.wait_let_in(READDRESSED)
    home = naming.namespace_of(READDRESSED)
    before = way.api.get("Service", "mqtt", namespace=home)["metadata"]["uid"]

    way.api.delete("Service", "mqtt", namespace=home)

    # One time in some two hundred the next one gets the same address, which has to do, too.
    way.api.wait_for(
        "Service", "mqtt", lambda live: live is not None and live["metadata"]["uid"] != before, namespace=home
    )
    way.wait_let_in(READDRESSED)


@pytest.mark.usefixtures("device")
async def test_a_deleted_instance_is_shut_out(way: Way) -> None:
    way.wait_let_in(DELETED)

    way.api.delete(naming.KIND, DELETED)

    way.wait_shut_out(DELETED)


@pytest.mark.usefixtures("device")
async def test_a_config_map_deleted_by_hand_is_made_anew_while_everybody_is_let_in(way: Way) -> None:
    way.wait_let_in(STEADY)
    name = config_map(shard_of(host_of(STEADY)))
    before = way.api.get("ConfigMap", name, namespace=NAMESPACE)

    way.api.delete("ConfigMap", name, namespace=NAMESPACE)

    assert way.lets_in(STEADY)
    after = way.api.wait_for("ConfigMap", name, lambda live: live is not None, namespace=NAMESPACE)
    assert (after["data"], after["metadata"]["uid"] != before["metadata"]["uid"]) == (before["data"], True)
    wait_until(lambda: way.stage.router.metric("mqtt_router_shards") == 16)
    assert way.entry(host_of(STEADY)) == way.target(STEADY)
    assert way.stage.router.unready() == ""


@pytest.mark.usefixtures("device")
async def test_of_two_that_ask_for_one_hostname_one_is_reached_and_the_other_told_until_its_turn_comes(
    way: Way,
) -> None:
    """Which of them depends on their uids, as both were ordered within one second. Hosts for MQTT are their own."""

    def is_told(name: str) -> bool:
        live = way.api.get(naming.KIND, name)
        return bool(in_phase("Failed")(live) and condition_of(live, "Stalled")["reason"] == "HostnameTaken")

    wait_until(lambda: is_told(FIRST) != is_told(SECOND), timeout=PATIENCE)
    told, holder = (FIRST, SECOND) if is_told(FIRST) else (SECOND, FIRST)
    way.wait_let_in(holder)
    assert way.entry(host_of(told)) != way.target(holder)

    way.api.delete(naming.KIND, holder)
    way.wait_shut_out(holder)
    way.wait_let_in(told)


@pytest.mark.usefixtures("device")
async def test_no_route_is_lost_when_the_leader_is_killed(way: Way, operators: Operators) -> None:
    (leader,) = [replica for replica in operators.all if replica.runs]
    way.wait_let_in(READDRESSED)
    successor = operators.stand_by("successor", **SHORT_LEASE)
    before, router = way.stage.door.entries(), way.stage.router
    changes, loads = (router.metric(f"mqtt_router_{what}_total") for what in ("changes", "loads"))

    leader.kill()
    way.api.create(order(LATER))
    successor.wait_until_leads(way.api)
    way.wait_let_in(LATER)

    after = way.stage.door.entries()
    assert after.pop(host_of(LATER)) == way.target(LATER)
    assert after == before
    # Not for a moment either: the map was changed once, for the newcomer.
    wait_until(lambda: router.metric("mqtt_router_changes_total") == changes + 1)
    assert router.metric("mqtt_router_loads_total") == loads
