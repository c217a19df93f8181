"""Ready means reachable: a real operator tries a real broker through a real HAProxy; only pods and Services are not."""

import base64
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from customer_operator import naming
from customer_operator.naming import Manifest
from mqtt_router import mapping
from mqtt_router.routes import Route
from tests.support.front_door import FrontDoor
from tests.support.kubernetes import Condition, Kubernetes, condition_of, in_phase, is_ready
from tests.support.mqtt import Login
from tests.support.operators import OperatorProcess, Operators
from tests.support.plain_broker import PlainBroker
from tests.support.published import mqtt_host
from tests.support.tenants import Tenants
from tests.support.waiting import wait_until

SETTINGS = {
    "FRONT_DOOR": "true",
    "BASE_DOMAIN": "iot.example.com",
    "ROUTE_PUBLISH_INTERVAL": "0.2",
    "ROUTE_PROBE_INTERVAL": "1",
    "ROUTE_PROBE_TIMEOUT": "5",
}
USER, TOPIC = "route_probe", "route_probe/echo"


@pytest.fixture(scope="module")
def door() -> Iterator[FrontDoor]:
    """HAProxy with the product's configuration; the address of a simulated Service leads nowhere, so no router."""
    # A socket's path has 107 characters at most, and pytest's own folders are deep.
    with tempfile.TemporaryDirectory(prefix="door-") as folder:
        door = FrontDoor(Path(folder))
        door.write()
        try:
            door.start()
            yield door
        finally:
            door.close()


@pytest.fixture(scope="module")
def operator(operators: Operators, door: FrontDoor) -> Iterator[OperatorProcess]:
    """An operator that tries brokers through that door."""
    operators.stop()
    yield start(operators, door)
    operators.stop()


def start(operators: Operators, door: FrontDoor) -> OperatorProcess:
    return operators.start("reachability", ROUTE_PROBE_ADDRESS=f"127.0.0.1:{door.port}", **SETTINGS)


class Brokers:
    """Brokers of instances, with what their Secrets hold."""

    def __init__(self, api: Kubernetes, door: FrontDoor, folder: Path) -> None:
        self._api, self._door, self._folder = api, door, folder
        self.all: list[PlainBroker] = []

    def serve(self, name: str) -> PlainBroker:
        """Start the broker of an instance, and have the front door lead to it."""
        folder = self._folder / name
        folder.mkdir()
        tls = self._secret(name, "mosquitto-tls")
        files: dict[str, str | Path] = {"certfile": folder / "tls.crt", "keyfile": folder / "tls.key"}
        Path(files["certfile"]).write_text(tls["tls.crt"])
        Path(files["keyfile"]).write_text(tls["tls.key"])
        login = Login(USER, self._secret(name, "credentials")["mqtt_probe_password"])
        topics = (f"user {USER}", f"topic readwrite {TOPIC}")
        broker = PlainBroker(folder, logins=[login], listener=files, topics=topics)
        self.all.append(broker)
        broker.start()
        route = Route(mqtt_host(self._api.get(naming.KIND, name)), broker.address, broker.port)
        self._door.ask(
            f"add map {self._door.map_file} {route.host} {mapping.values_of({route.host: route})[route.host]}"
        )
        return broker

    def _secret(self, name: str, secret: str) -> dict[str, str]:
        data = self._api.get("Secret", secret, namespace=naming.namespace_of(name))["data"]
        return {key: base64.b64decode(value).decode() for key, value in data.items()}


@pytest.fixture(scope="module")
def brokers(api: Kubernetes, door: FrontDoor, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Brokers]:
    brokers = Brokers(api, door, tmp_path_factory.mktemp("brokers"))
    yield brokers
    for broker in brokers.all:
        broker.close()


def fails_at(step: str, phase: str) -> Condition:
    """Return the condition that no device comes through, since a step fails, and that the phase is this."""

    def holds(live: Manifest | None) -> bool:
        route = condition_of(live, "RouteReady")
        return bool(
            in_phase(phase)(live)
            and (route.get("status"), route.get("reason")) == ("False", f"{step}Failed")
            and route["message"].startswith(f"{step}: ")
        )

    return holds


def test_an_instance_is_ready_only_while_a_device_reaches_its_broker(
    api: Kubernetes, tenants: Tenants, operator: OperatorProcess, brokers: Brokers
) -> None:
    name = tenants.order()
    live = api.wait_for(naming.KIND, name, fails_at("TLS", "Provisioning"))
    assert "no route" in condition_of(live, "RouteReady")["message"]
    api.wait_for(naming.KIND, name, lambda live: condition_of(live, "MosquittoReady").get("status") == "True")
    assert not is_ready(tenants.get(name))

    broker = brokers.serve(name)
    live = api.wait_for(naming.KIND, name, is_ready)
    assert condition_of(live, "RouteReady")["reason"] == "Reachable"
    wait_until(lambda: operator.metric("customer_operator_routes_unreachable") == 0)

    broker.kill()
    live = api.wait_for(naming.KIND, name, fails_at("TLS", "Degraded"))
    assert condition_of(live, "Ready")["status"] == "False"
    assert operator.metric("customer_operator_routes_unreachable") == 1

    broker.start()
    api.wait_for(naming.KIND, name, is_ready)
    assert operator.metric("customer_operator_route_probes_total", outcome="success") > 1
    assert operator.metric("customer_operator_route_probe_seconds_count") > 1


def is_ready_again(live: Manifest | None) -> bool:
    """Tell whether an instance is ready by its second spec."""
    return live is not None and bool(is_ready(live)) and bool(live["status"]["observedGeneration"] == 2)


def test_a_restart_of_the_operator_makes_nobody_worse(
    api: Kubernetes,
    tenants: Tenants,
    operator: OperatorProcess,
    operators: Operators,
    brokers: Brokers,
    door: FrontDoor,
) -> None:
    name = tenants.order()
    api.wait_for(naming.KIND, name, fails_at("TLS", "Provisioning"))
    brokers.serve(name)
    tenants.ready(name)
    since = api.version(naming.KIND)

    operator.kill()
    successor = start(operators, door)
    tenants.change(name, resources={"api": {"limits": {"cpu": "300m"}}})
    wait_until(lambda: successor.metric("customer_operator_route_probes_total", outcome="success") > 0)
    versions = api.follow(naming.KIND, name, is_ready_again, since=since)

    assert {condition_of(live, "RouteReady")["status"] for live in versions} == {"True"}


def test_a_suspended_instance_is_not_tried_and_one_that_is_resumed_is(
    api: Kubernetes, tenants: Tenants, operators: Operators, door: FrontDoor, brokers: Brokers
) -> None:
    names = tenants.order(), tenants.order()
    for one in names:
        api.wait_for(naming.KIND, one, fails_at("TLS", "Provisioning"))
    name, broker, steady = names[0], *map(brokers.serve, names)
    for one in names:
        tenants.ready(one)
    tenants.change(name, suspend=True)
    api.wait_for(naming.KIND, name, in_phase("Suspended"))

    # The other one tells the time; the first of these tries may have been under way already.
    visits = []
    for _ in range(2):
        come = steady.visits()
        wait_until(lambda come=come: steady.visits() >= come + 4)  # type: ignore[misc]
        visits.append(broker.visits())
    assert visits[0] == visits[1]

    broker.kill()
    tenants.change(name, suspend=False)
    live = api.wait_for(naming.KIND, name, fails_at("TLS", "Updating"))
    assert not is_ready(live)
    broker.start()
    api.wait_for(naming.KIND, name, is_ready)
