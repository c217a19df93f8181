"""mqtt-router with the real API server, HAProxy and brokers: what is published is live, whatever fails meanwhile."""

import asyncio
import signal
import ssl
from pathlib import Path

from hack.cluster import LocalCluster
from mqtt_router import mapping, routes
from mqtt_router.routes import Route
from tests.services.router.conftest import HOSTS, StartRouter, live, ways
from tests.support.front_door import Authority, Device, FrontDoor, Tenant
from tests.support.shards import Publisher, many
from tests.support.waiting import eventually

ACME, GLOBEX, INITECH = HOSTS


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


async def test_a_new_router_is_not_ready_while_a_config_map_is_missing_but_serves_what_it_knows(
    door: FrontDoor, start_router: StartRouter, publisher: Publisher, brokers: dict[str, Tenant], authority: Authority
) -> None:
    """Devices are sent to another replica meanwhile, which has kept the routes."""
    publisher.publish(*ways(brokers))
    publisher.delete(routes.shard_of(ACME))
    router = start_router(door, ready=False)

    await eventually(lambda: GLOBEX in door.entries())
    assert f"there is no ConfigMap {routes.config_map(routes.shard_of(ACME))}" in router.unready()
    assert await is_reached(door, authority, GLOBEX)
    router.server.stop(signal.SIGKILL)
    router = start_router(door, ready=False)
    await eventually(lambda: router.metric("mqtt_router_routes") == len(HOSTS) - 1)
    assert router.unready(), "a part of the routes is not taken for all there are"
    publisher.publish(*ways(brokers))

    await asyncio.to_thread(router.wait_until_ready)
    assert await is_reached(door, authority, ACME)
