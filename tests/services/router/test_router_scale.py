"""A thousand devices that stay connected while routes change, and ten thousand routes; with the real API server."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest

from hack.bench.mqtt.report import percentile
from hack.front_door.device import sources
from mqtt_router.routes import Route, render, shard_of
from tests.services.router.conftest import HOSTS, StartRouter, live, ways
from tests.support.front_door import Authority, Device, FrontDoor, RouterProcess, Tenant
from tests.support.shards import Publisher, many
from tests.support.waiting import eventually

ACME, GLOBEX, INITECH = HOSTS
Record = Callable[[str, object], None]
DEVICES, AT_ONCE = 1000, 50
NETWORK = 201  # 127.201.0.0/16
CHANGES = 40
ROUTES = 10_000


def distribution(values: list[float]) -> str:
    parts = {"p50": 0.5, "p95": 0.95, "max": 1.0}
    return ", ".join(f"{name} {1000 * percentile(values, part):.0f} ms" for name, part in parts.items())


async def let_in(door: FrontDoor, authority: Authority, *, count: int) -> list[Device]:
    """Connect devices of two hosts by turns, so many at a time that TLS keeps the machine busy and no more.

    From many addresses: of one, the front door takes no thousand within ten seconds.
    """
    context, room, addresses = authority.context(), asyncio.Semaphore(AT_ONCE), sources(NETWORK)

    async def one(number: int) -> Device:
        async with room:
            host = (ACME, GLOBEX)[number % 2]
            return await Device.connect(door.port, host=host, context=context, source=next(addresses))

    return list(await asyncio.gather(*(one(number) for number in range(count))))


@pytest.fixture
async def devices(
    door: FrontDoor, publisher: Publisher, start_router: StartRouter, brokers: dict[str, Tenant], authority: Authority
) -> AsyncIterator[list[Device]]:
    publisher.publish(*ways(brokers))
    start_router(door)
    connected = await let_in(door, authority, count=DEVICES)
    yield connected
    await asyncio.gather(*(device.close() for device in connected))


async def test_none_of_a_thousand_devices_is_dropped_while_routes_come_change_and_go(
    devices: list[Device],
    door: FrontDoor,
    publisher: Publisher,
    brokers: dict[str, Tenant],
    record_property: Record,
) -> None:
    record_property("HAProxy with 1,000 devices, MiB", round(door.resident_mib(), 1))
    kept, times = ways(brokers, [ACME, GLOBEX]), []

    for number in range(CHANGES):
        # Another one each time, then a change of it, then none.
        extra = [Route(f"mqtt.new-{number // 3}.iot.example.com", f"127.0.1.{number % 3 + 1}", 8883)]
        wanted = live(*kept, *(extra if number % 3 < 2 else []))
        began = time.monotonic()
        await asyncio.to_thread(publisher.publish, *kept, *(extra if number % 3 < 2 else []))
        await eventually(lambda wanted=wanted: door.entries() == wanted)  # type: ignore[misc]
        times.append(time.monotonic() - began)

    record_property(f"{CHANGES} changes, from before they were written until live", distribution(times))
    assert percentile(times, 0.95) < 5
    assert door.connections() == DEVICES
    await asyncio.gather(*(device.ping() for device in devices))


def change_time(door: FrontDoor, publisher: Publisher, route: Route, others: list[Route]) -> float:
    """Write one more route into its shard, and return the seconds until it is live."""
    shard = shard_of(route.host)
    text = render([route, *(other for other in others if shard_of(other.host) == shard)])
    began = time.monotonic()
    publisher.write(shard, text)
    while "found=yes" not in door.ask(f"get map {door.map_file} {route.host}"):
        time.sleep(0.002)
    return time.monotonic() - began


async def test_ten_thousand_routes_are_loaded_at_once_and_one_more_is_a_matter_of_a_moment(
    door: FrontDoor,
    start_router: StartRouter,
    publisher: Publisher,
    brokers: dict[str, Tenant],
    record_property: Record,
) -> None:
    empty, routes = door.resident_mib(), list(many(ROUTES, address=brokers[ACME].broker.address))
    publisher.publish(*routes)
    largest = max(len(render(route for route in routes if shard_of(route.host) == number)) for number in range(16))

    began = time.monotonic()
    router = start_router(door)
    loaded = time.monotonic() - began
    assert door.entries() == live(*routes)
    times = [
        await asyncio.to_thread(
            change_time, door, publisher, Route(f"mqtt.more-{each}.example.com", "127.0.0.9", 1), routes
        )
        for each in range(20)
    ]
    assert router.metric("mqtt_router_loads_total") == 1

    _record(record_property, door, router, empty=empty)
    record_property("largest shard, KiB", round(largest / 1024, 1))
    record_property("start of the router until 10,000 routes are live, s", round(loaded, 2))
    record_property("one change at 10,000 routes", distribution(times))
    assert percentile(times, 0.95) < 5
    assert door.resident_mib() < 64


def _record(record: Record, door: FrontDoor, router: RouterProcess, *, empty: float) -> None:
    record("HAProxy without a route, MiB", round(empty, 1))
    record("HAProxy with 10,000 routes, MiB", round(door.resident_mib(), 1))
    record("mqtt-router with 10,000 routes, MiB", round(router.resident_mib(), 1))
    door.kill()
    door.start()
    record("HAProxy started with the file of 10,000 routes, MiB", round(door.resident_mib(), 1))
