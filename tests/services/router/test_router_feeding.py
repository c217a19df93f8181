"""mqtt-router with the real API server, HAProxy and brokers: what is published is live, whatever fails meanwhile."""

import asyncio
import os
import signal
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from hack.cluster import LocalCluster, Settings
from hack.paths import PROJECT_ROOT
from mqtt_router import mapping, routes
from mqtt_router.routes import Route
from tests.services.router.conftest import HOSTS, OpenDoor, front_doors
from tests.support.front_door import Authority, Device, FrontDoor, RouterProcess, Tenant
from tests.support.kubernetes import Kubernetes, administrator
from tests.support.published_routes import NAMESPACE, Publisher, many
from tests.support.servers import Server
from tests.support.waiting import eventually

ACME, GLOBEX, INITECH = HOSTS
MANIFESTS = PROJECT_ROOT / "manifests" / "base" / "mqtt-router"
RIGHTS = ("namespace", "service-account", "role", "role-binding")
# What a line could try to be: a second line, a second command, a comment, another form, too much.
HOSTILE = (
    "evil.example.com 127.0.0.2:8883; disable frontend mqtt_tls",
    "evil.example.com 127.0.0.2:8883\\ndel map x",
    "evil.example.com 127.0.0.2:8883\r",
    "evil.example.com 127.0.0.2/8883",
    "evil.example.com\t127.0.0.2:8883",
    "evil.example.com  127.0.0.2:8883",
    "<<",
    "# nothing",
    "*.example.com 127.0.0.2:8883",
    "evil.example.com 127.0.0.2:0",
    "evil.example.com 127.0.0.2:88830",
    "evil.example.com metadata.internal:80",
    "evil.example.com 169.254.169.254:80",
    "evil.example.com 10.0.0.1:8883",
    "x" * 70_000,
)


class StartRouter(Protocol):
    """Starts mqtt-router beside a front door, ready unless told not to wait for it."""

    def __call__(self, door: FrontDoor, *, ready: bool = True, **settings: str) -> RouterProcess: ...


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    with LocalCluster(
        f"router-{os.getpid()}", base=tmp_path_factory.mktemp("cluster"), settings=Settings(nodes=1)
    ) as running:
        for name in RIGHTS:
            running.kubectl("apply", "--server-side", "--filename", str(MANIFESTS / f"{name}.yaml"))
        yield running


@pytest.fixture(scope="module")
def api(cluster: LocalCluster) -> Iterator[Kubernetes]:
    with administrator(cluster) as access:
        yield access


@pytest.fixture(scope="module")
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
            cleanup.callback(stop, router.server)
            if ready:
                router.wait_until_ready()
            return router

        yield start


def stop(server: Server) -> None:
    server.stop()
    # Nothing that the router did not expect has happened.
    assert "Traceback" not in server.log


@pytest.fixture
def door(open_door: OpenDoor) -> FrontDoor:
    door = open_door()
    door.write()
    door.start()
    return door


class Steady:
    """A front door with its router that several tests use."""

    def __init__(self, door: FrontDoor, router: RouterProcess, publisher: Publisher) -> None:
        self.door, self.router, self.publisher = door, router, publisher


@pytest.fixture(scope="module")
def steady(kubeconfig: Path, api: Kubernetes) -> Iterator[Steady]:
    publisher = Publisher(api)
    with front_doors() as make, ExitStack() as cleanup:
        door = make()
        door.write()
        door.start()
        publisher.publish()
        cleanup.callback(publisher.remove_all)
        router = RouterProcess(door, KUBECONFIG=str(kubeconfig))
        cleanup.callback(stop, router.server)
        router.wait_until_ready()
        yield Steady(door, router, publisher)


def live(*wanted: Route) -> dict[str, str]:
    return mapping.values_of({route.host: route for route in wanted})


def ways(brokers: dict[str, Tenant], hosts: Sequence[str] = HOSTS) -> list[Route]:
    return [brokers[host].route for host in hosts]


async def is_reached(door: FrontDoor, authority: Authority, host: str) -> bool:
    try:
        device = await Device.connect(door.port, host=host, context=authority.context())
    except (ConnectionError, ssl.SSLError):
        return False
    await device.close()
    return True


async def test_a_published_route_is_live_and_the_file_holds_it_too(
    door: FrontDoor, start_router: StartRouter, publisher: Publisher, brokers: dict[str, Tenant], authority: Authority
) -> None:
    publisher.publish(brokers[ACME].route)
    router = start_router(door)
    assert door.entries() == live(brokers[ACME].route)
    assert await is_reached(door, authority, ACME)
    assert not await is_reached(door, authority, GLOBEX)

    publisher.publish(brokers[ACME].route, brokers[GLOBEX].route)
    await eventually(lambda: GLOBEX in door.entries())

    assert await is_reached(door, authority, GLOBEX)
    assert door.map_file.read_text() == mapping.render(live(*ways(brokers, [GLOBEX, ACME])))
    await eventually(lambda: router.metric("mqtt_router_lag_seconds_count") == 1)
    assert router.metric("mqtt_router_lag_seconds_sum") < 5
    assert router.metric("mqtt_router_routes") == 2


async def test_connections_live_on_while_other_routes_are_added_changed_and_removed(
    door: FrontDoor, start_router: StartRouter, publisher: Publisher, brokers: dict[str, Tenant], authority: Authority
) -> None:
    publisher.publish(*ways(brokers, [ACME, GLOBEX]))
    router = start_router(door)
    context = authority.context()
    devices = [await Device.connect(door.port, host=ACME, context=context) for _ in range(20)]
    moved = Route(GLOBEX, "127.0.0.99", brokers[GLOBEX].broker.port)

    for wanted in (
        ways(brokers),
        [*ways(brokers, [ACME, INITECH]), moved],
        ways(brokers, [ACME]),
        [*ways(brokers, [ACME]), *many(500)],  # loaded as a whole
        ways(brokers),
    ):
        publisher.publish(*wanted)
        await eventually(lambda wanted=wanted: door.entries() == live(*wanted))  # type: ignore[misc]
        for device in devices:
            await device.ping()

    assert router.metric("mqtt_router_loads_total") >= 1
    assert router.metric("mqtt_router_mismatches_total") == 0
    for device in devices:
        await device.close()


async def test_a_removed_route_lets_nobody_new_in_and_cuts_nobody_off(
    door: FrontDoor, start_router: StartRouter, publisher: Publisher, brokers: dict[str, Tenant], authority: Authority
) -> None:
    publisher.publish(*ways(brokers))
    start_router(door)
    device = await Device.connect(door.port, host=ACME, context=authority.context())

    publisher.publish(*ways(brokers, [GLOBEX, INITECH]))
    await eventually(lambda: ACME not in door.entries())

    assert not await is_reached(door, authority, ACME)
    await device.ping()
    await device.close()


async def test_a_haproxy_that_is_killed_comes_back_with_the_newest_routes_from_the_file(
    door: FrontDoor, start_router: StartRouter, publisher: Publisher, brokers: dict[str, Tenant], authority: Authority
) -> None:
    publisher.publish(brokers[ACME].route)
    router = start_router(door)
    device = await Device.connect(door.port, host=ACME, context=authority.context())

    door.kill()
    await device.ended()
    await eventually(lambda: "HAProxy" in router.unready())
    publisher.publish(*ways(brokers))
    await eventually(lambda: INITECH in door.map_file.read_text())
    door.start()

    # At once: it has read the file, and has been told nothing yet.
    assert await is_reached(door, authority, INITECH)
    await asyncio.to_thread(router.wait_until_ready)
    assert door.entries() == live(*ways(brokers))
    assert router.metric("mqtt_router_resyncs_total", reason="restart") == 1


async def test_a_haproxy_that_has_come_back_with_an_old_file_is_brought_up_to_date(
    door: FrontDoor, start_router: StartRouter, publisher: Publisher, brokers: dict[str, Tenant]
) -> None:
    publisher.publish(*ways(brokers))
    start_router(door)

    door.kill()
    door.write(Route(ACME, "127.0.0.99", 1), Route("gone.example.com", "127.0.0.99", 1))
    door.start()

    await eventually(lambda: door.entries() == live(*ways(brokers)))


async def test_a_router_that_is_killed_disturbs_nobody_and_catches_up_when_it_is_back(
    door: FrontDoor, start_router: StartRouter, publisher: Publisher, brokers: dict[str, Tenant], authority: Authority
) -> None:
    publisher.publish(*ways(brokers, [ACME, GLOBEX]))
    router = start_router(door)
    device = await Device.connect(door.port, host=ACME, context=authority.context())

    router.server.stop(signal.SIGKILL)
    publisher.publish(*ways(brokers, [ACME, INITECH]))

    await device.ping()
    assert await is_reached(door, authority, GLOBEX)
    assert not await is_reached(door, authority, INITECH)
    start_router(door)
    await eventually(lambda: door.entries() == live(*ways(brokers, [ACME, INITECH])))
    assert await is_reached(door, authority, INITECH)
    await device.ping()
    await device.close()


async def test_without_the_api_server_everything_serves_and_a_new_router_starts_from_the_file(
    cluster: LocalCluster,
    door: FrontDoor,
    start_router: StartRouter,
    publisher: Publisher,
    brokers: dict[str, Tenant],
    authority: Authority,
) -> None:
    publisher.publish(*ways(brokers, [ACME, GLOBEX]))
    router = start_router(door)
    device = await Device.connect(door.port, host=ACME, context=authority.context())

    await asyncio.to_thread(cluster.stop_component, "kube-apiserver")
    try:
        await eventually(lambda: router.metric("mqtt_router_cluster_connected") == 0)
        assert router.unready() == ""
        assert await is_reached(door, authority, GLOBEX)
        router.server.stop(signal.SIGKILL)
        door.kill()
        door.start()
        router = start_router(door)
        assert door.entries() == live(*ways(brokers, [ACME, GLOBEX]))
        assert await is_reached(door, authority, ACME)
    finally:
        await asyncio.to_thread(cluster.start_component, "kube-apiserver")

    publisher.publish(*ways(brokers))
    await eventually(lambda: INITECH in door.entries())
    await device.close()


async def test_without_api_server_and_file_a_router_is_not_ready_and_leaves_the_map_alone(
    door: FrontDoor, start_router: StartRouter, tmp_path: Path, brokers: dict[str, Tenant]
) -> None:
    door.ask(f"add map {door.map_file} {ACME} 127.0.0.2/8883")
    nowhere = tmp_path / "kubeconfig"
    nowhere.write_text(
        "{apiVersion: v1, kind: Config, clusters: [{name: x, cluster: {server: 'http://127.0.0.1:1'}}], users: [],"
        " contexts: [{name: x, context: {cluster: x, user: ''}}], current-context: x}"
    )

    router = start_router(door, ready=False, KUBECONFIG=str(nowhere))
    await eventually(lambda: router.metric("mqtt_router_errors_total", what="cluster") >= 2)

    assert "the routes are not known" in router.unready()
    assert door.entries() == {ACME: "127.0.0.2/8883"}


async def test_a_config_map_deleted_by_hand_cuts_nobody_off(
    door: FrontDoor, start_router: StartRouter, publisher: Publisher, brokers: dict[str, Tenant], authority: Authority
) -> None:
    publisher.publish(*ways(brokers))
    router = start_router(door)
    device = await Device.connect(door.port, host=ACME, context=authority.context())

    publisher.delete(routes.shard_of(ACME))
    await eventually(lambda: router.metric("mqtt_router_shards") == routes.SHARDS - 1)
    assert await is_reached(door, authority, ACME)
    router.server.stop()
    start_router(door)

    assert await is_reached(door, authority, ACME)
    await device.ping()
    await device.close()


@pytest.mark.parametrize("line", HOSTILE, ids=lambda line: ascii(line)[:40])
async def test_a_hostile_line_becomes_no_command_and_harms_no_other_line(
    steady: Steady, brokers: dict[str, Tenant], line: str
) -> None:
    number = routes.shard_of(ACME)
    before = steady.router.metric("mqtt_router_errors_total", what="line")

    steady.publisher.write(number, f"{line}\n{brokers[ACME].route}\nlast line without an end")
    await eventually(lambda: steady.router.metric("mqtt_router_errors_total", what="line") >= before + 2)
    await eventually(lambda: steady.router.unready() == "")

    assert steady.door.entries() == live(brokers[ACME].route)


MEDDLING: dict[str, Callable[[FrontDoor], str]] = {
    "deleted": lambda door: f"del map {door.map_file} {ACME}",
    "set to another value": lambda door: f"set map {door.map_file} {ACME} 127.0.0.99/1",
    "added twice": lambda door: f"add map {door.map_file} {ACME} 127.0.0.99/1",
    "added for nobody": lambda door: f"add map {door.map_file} evil.example.com 127.0.0.99/1",
    "added with a name that could be a command": lambda door: f"add map {door.map_file} evil<<x 127.0.0.99/1",
    "cleared": lambda door: f"clear map {door.map_file}",
}


@pytest.mark.parametrize("how", MEDDLING)
async def test_a_map_that_somebody_else_has_changed_is_put_right(
    door: FrontDoor, start_router: StartRouter, publisher: Publisher, brokers: dict[str, Tenant], how: str
) -> None:
    publisher.publish(*ways(brokers))
    router = start_router(door, COMPARE_INTERVAL="0.2")

    door.ask(MEDDLING[how](door))

    await eventually(lambda: door.entries() == live(*ways(brokers)))
    assert len(door.ask(f"show map {door.map_file}").split()) == 3 * len(HOSTS)
    assert router.metric("mqtt_router_routes") == len(HOSTS)
