"""Brokers, their authority and an API server; front doors and routers that end with the test that has started them."""

import itertools
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

import pytest

from hack.cluster import LocalCluster, Settings
from hack.paths import PROJECT_ROOT
from hack.ports import PortReservation
from mqtt_router import mapping
from mqtt_router.routes import Route
from tests.support.front_door import Authority, FrontDoor, RouterProcess, Tenant, find_haproxy
from tests.support.kubernetes import Kubernetes, administrator
from tests.support.plain_broker import PlainBroker
from tests.support.servers import Server
from tests.support.shards import NAMESPACE, Publisher

HOSTS = ("mqtt.acme.iot.example.com", "mqtt.globex.iot.example.com", "devices.initech.example.net")
MANIFESTS = PROJECT_ROOT / "manifests" / "base"
RIGHTS = ("namespace-mqtt-router", "mqtt-router-service-account", "mqtt-router-role", "mqtt-router-role-binding")
# The broker says who has come, and how TLS was refused.
_LOGGED: Mapping[str, str | Path] = {"log_type": "all"}


class StartRouter(Protocol):
    """Starts mqtt-router beside a front door, ready unless told not to wait for it."""

    def __call__(self, door: FrontDoor, *, ready: bool = True, **settings: str) -> RouterProcess: ...


class OpenDoor(Protocol):
    """Gives a front door that has a folder of its own and is not started; settings are variables of haproxy.cfg."""

    def __call__(self, **settings: str) -> FrontDoor: ...


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority.create()


@pytest.fixture(scope="session")
def brokers(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Tenant]]:
    """One broker for each host, all on one port: the address alone tells them apart, as with Services."""
    ports = PortReservation(1)
    with ExitStack() as cleanup:
        cleanup.callback(ports.release)
        found = {}
        for number, host in enumerate(HOSTS, start=2):
            folder = tmp_path_factory.mktemp("broker")
            listener = {**authority.files(folder, host=host), **_LOGGED}
            broker = PlainBroker(folder, listener=listener, address=f"127.0.0.{number}", port=ports.ports[0])
            cleanup.callback(broker.close)
            broker.start()
            found[host] = Tenant(host, broker)
        yield found


@contextmanager
def front_doors() -> Iterator[OpenDoor]:
    """Give what makes front doors, which end with the block."""
    numbers = itertools.count(1)
    # A socket's path has 107 characters at most, and pytest's own folders are deep.
    find_haproxy()
    with tempfile.TemporaryDirectory(prefix="door-") as name, ExitStack() as cleanup:

        def make(**settings: str) -> FrontDoor:
            folder = Path(name) / str(next(numbers))
            folder.mkdir()
            door = FrontDoor(folder, **settings)
            cleanup.callback(door.close)
            return door

        yield make


@pytest.fixture
def open_door() -> Iterator[OpenDoor]:
    with front_doors() as make:
        yield make


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    with LocalCluster(
        f"router-{os.getpid()}", base=tmp_path_factory.mktemp("cluster"), settings=Settings(nodes=1)
    ) as running:
        for name in RIGHTS:
            running.kubectl("apply", "--server-side", "--filename", str(MANIFESTS / f"{name}.yaml"))
        yield running


@pytest.fixture(scope="session")
def api(cluster: LocalCluster) -> Iterator[Kubernetes]:
    with administrator(cluster) as access:
        yield access


@pytest.fixture(scope="session")
def kubeconfig(cluster: LocalCluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The router's own access."""
    return cluster.service_account_kubeconfig(NAMESPACE, "mqtt-router", tmp_path_factory.mktemp("access") / "router")


@pytest.fixture
def publisher(api: Kubernetes) -> Iterator[Publisher]:
    publisher = Publisher(api)
    yield publisher
    publisher.remove_all()


@pytest.fixture
def start_router(kubeconfig: Path) -> Iterator[StartRouter]:
    with ExitStack() as cleanup:

        def start(door: FrontDoor, *, ready: bool = True, **settings: str) -> RouterProcess:
            router = RouterProcess(door, **{"KUBECONFIG": str(kubeconfig), **settings})
            cleanup.callback(stop_router, router.server)
            if ready:
                router.wait_until_ready()
            return router

        yield start


def stop_router(server: Server) -> None:
    server.stop()
    # Nothing that the router did not expect has happened.
    assert "Traceback" not in server.log


@pytest.fixture
def door(open_door: OpenDoor) -> FrontDoor:
    door = open_door()
    door.write()
    door.start()
    return door


def live(*wanted: Route) -> dict[str, str]:
    return mapping.values_of({route.host: route for route in wanted})


def ways(brokers: dict[str, Tenant], hosts: Sequence[str] = HOSTS) -> list[Route]:
    return [brokers[host].route for host in hosts]
