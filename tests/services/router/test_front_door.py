"""HAProxy's own part, with the product's configuration: which connection goes to which broker, and which to none."""

import asyncio
import signal
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from mqtt_router.routes import Route
from tests.services.router.conftest import HOSTS, OpenDoor, front_doors
from tests.support.client_hellos import SOON, client_hello, time_until_rejected
from tests.support.front_door import CONFIGURATION, Authority, Device, FrontDoor, Tenant, find_haproxy
from tests.support.servers import PATIENCE
from tests.support.waiting import wait_until

ACME, GLOBEX, INITECH = HOSTS
HALF_OPEN = 500


@pytest.fixture(scope="module")
def door(brokers: dict[str, Tenant]) -> Iterator[FrontDoor]:
    """An open front door with a route to every broker."""
    with front_doors() as make:
        door = make()
        door.write(*(tenant.route for tenant in brokers.values()))
        door.start()
        yield door


def visits(brokers: dict[str, Tenant]) -> dict[str, int]:
    return {host: tenant.visits() for host, tenant in brokers.items()}


def connections(brokers: dict[str, Tenant]) -> dict[str, int]:
    """Count what has come as far as TCP."""
    return {host: tenant.broker.server.log.count("New connection from") for host, tenant in brokers.items()}


def test_the_configuration_is_accepted_without_a_warning(open_door: OpenDoor) -> None:
    door = open_door()
    door.write()

    # -dW makes warnings errors.
    done = subprocess.run(
        [find_haproxy(), "-c", "-dW", "-f", CONFIGURATION], env=door.environment, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_device_reaches_the_broker_of_its_host_and_no_other(
    door: FrontDoor, brokers: dict[str, Tenant], authority: Authority, host: str, version: ssl.TLSVersion
) -> None:
    before, context = visits(brokers), authority.context()
    context.minimum_version = context.maximum_version = version

    # The certificate is verified against the host, and is the broker's own.
    device = await Device.connect(door.port, host=host, context=context)
    await device.ping()
    await device.close()

    assert visits(brokers) == {**before, host: before[host] + 1}


async def test_the_case_of_a_host_does_not_matter(
    door: FrontDoor, brokers: dict[str, Tenant], authority: Authority
) -> None:
    context = authority.context()
    context.check_hostname = False

    device = await Device.connect(door.port, host=ACME.upper(), context=context)
    await device.close()


async def test_a_broker_that_shows_another_hosts_certificate_is_not_believed(
    open_door: OpenDoor, brokers: dict[str, Tenant], authority: Authority
) -> None:
    door, other = open_door(), brokers[GLOBEX].broker
    door.write(Route(ACME, other.address, other.port))
    door.start()

    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        await Device.connect(door.port, host=ACME, context=authority.context())


def pieces_of(data: bytes) -> list[bytes]:
    return [data[index : index + 1] for index in range(len(data))]


REJECTED = {
    "an unknown host": [client_hello("mqtt.umbrella.iot.example.com")],
    "the parent domain of a host": [client_hello("iot.example.com")],
    "a name below a host": [client_hello(f"x.{ACME}")],
    "no host": [client_hello(None)],
    "plain HTTP": [b"GET / HTTP/1.1\r\nHost: mqtt.acme.iot.example.com\r\n\r\n"],
    "plain MQTT": [b"\x10\x12\x00\x04MQTT\x04\x02\x00\x3c\x00\x06device"],
    "a byte that no TLS begins with": [b"\x00"],
    "64 KiB of garbage": [bytes(range(1, 256)) * 257],
    "a ClientHello of more than 16 KiB": [client_hello(ACME, size=16_500)],
    "a record that says it is larger than any": [b"\x16\x03\x01\xff\xff\x01\x00\xff\xfb\x03\x03", bytes(16_384)],
    "an unknown host in single bytes": pieces_of(client_hello("mqtt.umbrella.iot.example.com")),
}


@pytest.mark.parametrize("what", REJECTED)
async def test_what_names_no_route_is_rejected_at_once_and_reaches_no_broker(
    door: FrontDoor, brokers: dict[str, Tenant], authority: Authority, what: str
) -> None:
    device = await Device.connect(door.port, host=GLOBEX, context=authority.context())
    before = connections(brokers)

    took = await asyncio.to_thread(time_until_rejected, door, *REJECTED[what])

    assert took < SOON
    assert connections(brokers) == before
    await device.ping()
    await device.close()


def old_hello(host: str) -> bytes:
    """Return a ClientHello of TLS 1.1, which this machine's OpenSSL would not make any more."""
    hello = bytearray(client_hello(host))
    hello[9:11] = b"\x03\x02"
    return bytes(hello)


def test_an_older_tls_than_1_2_is_rejected_at_once(door: FrontDoor, brokers: dict[str, Tenant]) -> None:
    before = connections(brokers)

    assert time_until_rejected(door, old_hello(ACME)) < SOON
    assert connections(brokers) == before


def test_half_a_client_hello_is_rejected_after_the_delay(open_door: OpenDoor, brokers: dict[str, Tenant]) -> None:
    door, hello = open_door(ROUTER_HELLO_DELAY="700ms"), client_hello(ACME)
    door.write(brokers[ACME].route)
    door.start()

    assert 0.6 < time_until_rejected(door, hello[: len(hello) // 2]) < 0.7 + SOON


def test_a_client_hello_in_single_bytes_arrives(door: FrontDoor) -> None:
    with socket.create_connection(("127.0.0.1", door.port), timeout=PATIENCE) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces_of(client_hello(ACME)):
            connection.sendall(piece)

        assert connection.recv(3)[:2] == b"\x16\x03"  # the broker's ServerHello


@pytest.fixture
def half_open(door: FrontDoor) -> Iterator[list[socket.socket]]:
    """Connections that have begun to say something."""
    hello = client_hello(ACME)[:40]
    connections = []
    for _ in range(HALF_OPEN):
        connection = socket.create_connection(("127.0.0.1", door.port), timeout=PATIENCE)
        connection.sendall(hello)
        connections.append(connection)
    yield connections
    for connection in connections:
        connection.close()


async def time_of_connections(door: FrontDoor, context: ssl.SSLContext) -> float:
    """Return the least of the seconds that a device needs to be let in: what the machine does beside it is no delay."""
    times = []
    for _ in range(9):
        began = time.monotonic()
        device = await Device.connect(door.port, host=GLOBEX, context=context)
        times.append(time.monotonic() - began)
        await device.close()
    return min(times)


async def test_half_open_connections_do_not_delay_a_good_one(
    door: FrontDoor, authority: Authority, request: pytest.FixtureRequest
) -> None:
    context = authority.context()
    alone = await time_of_connections(door, context)
    half_open = request.getfixturevalue("half_open")
    await asyncio.to_thread(wait_until, lambda: door.connections() >= len(half_open))

    beside = await time_of_connections(door, context)

    assert beside < alone + 0.1, f"{1000 * beside:.0f} ms instead of {1000 * alone:.0f} ms"


async def test_a_broker_that_is_away_is_told_at_once_and_harms_no_other(
    open_door: OpenDoor, brokers: dict[str, Tenant], authority: Authority
) -> None:
    door, away = open_door(), Route(ACME, "127.0.0.99", brokers[ACME].broker.port)
    door.write(away, brokers[GLOBEX].route)
    door.start()
    device = await Device.connect(door.port, host=GLOBEX, context=authority.context())

    assert await asyncio.to_thread(time_until_rejected, door, client_hello(ACME)) < SOON
    await device.ping()
    await device.close()


def test_a_value_without_an_address_is_rejected_and_not_sent_back_to_the_front_door(
    open_door: OpenDoor, brokers: dict[str, Tenant]
) -> None:
    door = open_door()
    door.write(brokers[ACME].route)
    door.start()
    before = door.accepted()
    door.ask(f"set map {door.map_file} {ACME} nowhere/{door.port}")

    assert time_until_rejected(door, client_hello(ACME)) < SOON
    # A loop would have gone on until there are no connections left; the knock of the start may be counted late.
    assert door.accepted() <= before + 2


async def test_after_a_soft_stop_devices_stay_for_the_time_of_the_drain_and_nobody_new_is_let_in(
    open_door: OpenDoor, brokers: dict[str, Tenant], authority: Authority
) -> None:
    door, context = open_door(ROUTER_DRAIN="2s"), authority.context()
    door.write(brokers[ACME].route)
    door.start()
    device = await Device.connect(door.port, host=ACME, context=context)

    door.server.send_signal(signal.SIGUSR1)
    await asyncio.to_thread(wait_until, lambda: not answers_at_all(door))

    await device.ping()
    began = time.monotonic()
    await device.ended()
    assert time.monotonic() - began < 2 + SOON


def answers_at_all(door: FrontDoor) -> bool:
    try:
        socket.create_connection(("127.0.0.1", door.port), timeout=PATIENCE).close()
    except ConnectionRefusedError:
        return False
    return True


def test_health_and_metrics_are_served_and_nothing_else(door: FrontDoor) -> None:
    address = f"http://127.0.0.1:{door.health_port}"
    with urllib.request.urlopen(f"{address}/healthz", timeout=PATIENCE) as answer:
        assert answer.status == 200
    with urllib.request.urlopen(f"{address}/metrics", timeout=PATIENCE) as answer:
        assert b"haproxy_process_current_connections" in answer.read()
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{address}/stats", timeout=PATIENCE)
